-- name: users
-- Users by id, with how sign-in at each is held up.
SELECT u.user_id, u.display_name, u.language, u.roles, u.depot_ids, u.must_change_password,
       u.totp_confirmed_at IS NOT NULL AS totp_enabled, p.person_id, u.created_at, u.created_by, u.last_sign_in_at,
       u.disabled_at, coalesce(f.failures, 0) AS failed_sign_ins, f.blocked_until AS locked_until, u.revision
FROM users u
LEFT JOIN people p ON p.person_id = u.user_id
LEFT JOIN sign_in_failures f ON f.subject = 'name:' || encode(sha256(convert_to(lower(u.user_id), 'UTF8')), 'hex')
WHERE (%(user_id)s::text IS NULL OR u.user_id = %(user_id)s)
  AND u.user_id > %(after)s
  AND (%(with_disabled)s OR u.disabled_at IS NULL)
ORDER BY u.user_id
LIMIT %(limit)s

-- name: secrets_of
-- What signing in compares with; the name is looked for in any case of letters.
SELECT user_id, password_hash, must_change_password, totp_secret, totp_confirmed_at IS NOT NULL AS totp_enabled,
       totp_last_step, disabled_at
FROM users WHERE lower(user_id) = lower(%(user_id)s)

-- name: insert_user
-- Create a user; nothing comes back when the name, in any case of letters, is taken.
INSERT INTO users (user_id, display_name, language, password_hash, must_change_password, roles, depot_ids, created_by)
VALUES (%(user_id)s, %(display_name)s, %(language)s, %(password_hash)s, %(must_change_password)s, %(roles)s,
        %(depot_ids)s, %(created_by)s)
ON CONFLICT DO NOTHING
RETURNING user_id

-- name: update_user
-- Change a user only if it still is at the revision the editor saw.
UPDATE users
SET display_name = %(display_name)s, language = %(language)s, roles = %(roles)s, depot_ids = %(depot_ids)s,
    disabled_at = CASE WHEN %(disabled)s THEN coalesce(disabled_at, %(now)s) END,
    revision = revision + 1
WHERE user_id = %(user_id)s AND revision = %(revision)s
RETURNING user_id

-- name: set_password
-- Keep the hash of a new password.
UPDATE users
SET password_hash = %(password_hash)s, must_change_password = %(must_change_password)s, password_changed_at = %(now)s
WHERE user_id = %(user_id)s
RETURNING user_id

-- name: rehash_password
-- Keep the same password under today's parameters, if it is still the same.
UPDATE users SET password_hash = %(password_hash)s WHERE user_id = %(user_id)s AND password_hash = %(was)s

-- name: begin_totp
-- Keep the secret of an enrolment that is to be confirmed; nothing comes back when codes are asked for already.
UPDATE users SET totp_secret = %(secret)s, totp_last_step = NULL
WHERE user_id = %(user_id)s AND totp_confirmed_at IS NULL
RETURNING user_id

-- name: confirm_totp
-- From now on codes are asked for.
UPDATE users SET totp_confirmed_at = %(now)s, totp_last_step = %(step)s
WHERE user_id = %(user_id)s AND totp_secret IS NOT NULL AND totp_confirmed_at IS NULL
RETURNING user_id

-- name: remove_totp
-- From now on codes are not asked for.
UPDATE users SET totp_secret = NULL, totp_confirmed_at = NULL, totp_last_step = NULL
WHERE user_id = %(user_id)s
RETURNING user_id

-- name: take_totp_step
-- Use up the code of a time step; nothing comes back when it, or a later one, was used before.
UPDATE users SET totp_last_step = %(step)s
WHERE user_id = %(user_id)s AND (totp_last_step IS NULL OR totp_last_step < %(step)s)
RETURNING user_id

-- name: note_sign_in
-- When somebody last signed in.
UPDATE users SET last_sign_in_at = %(now)s WHERE user_id = %(user_id)s

-- name: lock_administration
-- One at a time where it is decided whether an administrator remains.
SELECT pg_advisory_xact_lock(7310589016211457)

-- name: user_count
-- How many users there are, and how many administrators of every depot that can sign in.
SELECT count(*), count(*) FILTER (WHERE 'admin' = ANY(roles) AND depot_ids IS NULL AND disabled_at IS NULL) FROM users

-- name: depots
-- Depots by id, with how many vehicles in service each has; `only` narrows to some.
SELECT d.depot_id, d.name, d.created_at, d.revision,
       (SELECT count(*) FROM vehicles v WHERE v.depot = d.depot_id AND v.retired_at IS NULL) AS vehicles
FROM depots d
WHERE (%(only)s::text[] IS NULL OR d.depot_id = ANY(%(only)s))
ORDER BY d.depot_id

-- name: insert_depot
-- Create a depot; nothing comes back when the id is taken.
INSERT INTO depots (depot_id, name) VALUES (%(depot_id)s, %(name)s) ON CONFLICT DO NOTHING RETURNING depot_id

-- name: rename_depot
-- Give a depot another name, if it is as the editor has seen it.
UPDATE depots SET name = %(name)s, revision = revision + 1
WHERE depot_id = %(depot_id)s AND revision = %(revision)s
RETURNING depot_id
