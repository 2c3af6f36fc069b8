-- Who may do what: depots, users, sessions, tokens, failed sign-ins; and the audit log of what was done.

-- `vehicles.depot`, `people.depot` and `users.depot_ids` name a depot by this id.
CREATE TABLE depots (
    depot_id        text COLLATE "C" PRIMARY KEY CHECK (length(depot_id) BETWEEN 1 AND 100),
    name            text NOT NULL CHECK (name <> ''),
    created_at      timestamptz NOT NULL DEFAULT now(),
    revision        bigint NOT NULL DEFAULT 1
);
INSERT INTO depots (depot_id, name)
SELECT depot, depot FROM vehicles WHERE length(depot) BETWEEN 1 AND 100
UNION SELECT depot, depot FROM people WHERE length(depot) BETWEEN 1 AND 100;
-- Serves every read of somebody who has depots.
CREATE INDEX vehicles_by_depot ON vehicles (depot) WHERE depot IS NOT NULL;

-- People who sign in. One whose id is that of somebody in `people` is that person. Never deleted, only disabled: the
-- audit log speaks of them.
CREATE TABLE users (
    user_id         text COLLATE "C" PRIMARY KEY CHECK (user_id ~ '^[A-Za-z0-9_.@-]{1,64}$'),
    display_name    text NOT NULL CHECK (display_name <> ''),
    language        text NOT NULL DEFAULT 'en' CHECK (language IN ('en', 'zh-CN')),
    -- Argon2id in the PHC form, parameters and salt within.
    password_hash   text NOT NULL,
    -- Nothing else can be done before the password is changed.
    must_change_password boolean NOT NULL DEFAULT false,
    password_changed_at timestamptz NOT NULL DEFAULT now(),
    roles           text[] NOT NULL CHECK (
        cardinality(roles) > 0
        AND roles <@ ARRAY['dispatcher', 'supervisor', 'maintenance', 'claims', 'auditor', 'admin']),
    -- NULL: every depot, and vehicles that are in none.
    depot_ids       text[] CHECK (depot_ids IS NULL OR cardinality(depot_ids) > 0),
    -- Base 32. Set when enrolling begins, asked for once a code of it was confirmed.
    totp_secret     text,
    totp_confirmed_at timestamptz,
    -- The promise "a code works once": the time step of the last one taken.
    totp_last_step  bigint,
    created_at      timestamptz NOT NULL DEFAULT now(),
    created_by      text NOT NULL,
    last_sign_in_at timestamptz,
    disabled_at     timestamptz,
    revision        bigint NOT NULL DEFAULT 1,
    CHECK (totp_confirmed_at IS NULL OR totp_secret IS NOT NULL)
);
-- The promise "no two names that look the same".
CREATE UNIQUE INDEX users_by_lower_id ON users (lower(user_id));

-- What a browser holds. Only the hash of the token is here; the token that guards against forged requests is made from
-- the session's own, so it needs no place.
CREATE TABLE sessions (
    token_hash      bytea PRIMARY KEY CHECK (octet_length(token_hash) = 32),
    user_id         text COLLATE "C" NOT NULL REFERENCES users,
    created_at      timestamptz NOT NULL,
    last_seen_at    timestamptz NOT NULL,
    expires_at      timestamptz NOT NULL,
    address         text,
    agent           text
) WITH (fillfactor = 50);
-- Serves ending the sessions of a user, and the bound on how many there are.
CREATE INDEX sessions_by_user ON sessions (user_id, created_at);
CREATE INDEX sessions_by_expiry ON sessions (expires_at);

-- What programs send. A token acts for a user, within its scopes.
CREATE TABLE api_tokens (
    token_id        bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    token_hash      bytea NOT NULL UNIQUE CHECK (octet_length(token_hash) = 32),
    user_id         text COLLATE "C" NOT NULL REFERENCES users,
    name            text NOT NULL CHECK (name <> ''),
    scopes          text[] NOT NULL CHECK (
        cardinality(scopes) > 0 AND scopes <@ ARRAY['read', 'incidents', 'fleet', 'audit', 'admin']),
    created_at      timestamptz NOT NULL,
    created_by      text NOT NULL,
    expires_at      timestamptz NOT NULL,
    revoked_at      timestamptz,
    last_used_at    timestamptz
);
CREATE INDEX api_tokens_by_user ON api_tokens (user_id, token_id);

-- Failed sign-ins by what was tried: the SHA-256 of a name, whether or not anybody has it, and an address. A name that
-- nobody has is held up like any other, so that holding up tells nobody who has an account.
CREATE TABLE sign_in_failures (
    subject         text PRIMARY KEY,
    failures        integer NOT NULL CHECK (failures > 0),
    last_at         timestamptz NOT NULL,
    blocked_until   timestamptz
) WITH (fillfactor = 50);
-- Serves forgetting: the table is bounded in age and in rows.
CREATE INDEX sign_in_failures_by_age ON sign_in_failures (last_at);

-- Who did what, when, from where, why. Written in the transaction of what it speaks of.
CREATE TABLE audit_log (
    entry_id        bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at              timestamptz NOT NULL,
    -- NULL: nobody signed in, as when a sign-in fails. `tried` in the details is the name that was typed.
    user_id         text,
    roles           text[] NOT NULL DEFAULT '{}',
    -- session, token:<id>, command, none.
    via             text NOT NULL,
    action          text NOT NULL,
    object_kind     text,
    object_id       text,
    purpose         text,
    request_id      text,
    address         text,
    outcome         text NOT NULL CHECK (outcome IN ('done', 'refused', 'failed')),
    details         jsonb NOT NULL DEFAULT '{}' CHECK (jsonb_typeof(details) = 'object')
);
-- Serve "what did this person do" and "who saw or changed this vehicle".
CREATE INDEX audit_log_by_user ON audit_log (user_id, entry_id);
CREATE INDEX audit_log_by_object ON audit_log (object_kind, object_id, entry_id);

-- The promise "nothing in the audit log changes": a trigger for everybody, the owner and administrators too, and no
-- rights to begin with. docs/guide/access.md says how to run under a role that can neither drop the trigger.
CREATE FUNCTION refuse_audit_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'the audit log is never changed' USING ERRCODE = 'insufficient_privilege';
END $$;
CREATE TRIGGER audit_log_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON audit_log
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_audit_change();
-- Also when changes are applied as a replica's, in which ordinary triggers rest.
ALTER TABLE audit_log ENABLE ALWAYS TRIGGER audit_log_append_only;
REVOKE UPDATE, DELETE, TRUNCATE ON audit_log FROM PUBLIC, CURRENT_USER;
