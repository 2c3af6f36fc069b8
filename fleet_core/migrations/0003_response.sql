-- The response to incidents: people and duty, escalation, notices, checklists, obligations, countermeasures.

ALTER TABLE incidents
    -- Whether anybody is hurt, once a person has said so; NULL: not known.
    ADD COLUMN injured boolean,
    -- What caused it, stated when it is resolved.
    ADD COLUMN cause text,
    -- The revision that the response has taken notice of: behind `revision`, something is still to be done about it.
    ADD COLUMN followed_revision bigint;
-- Serves the escalation sweep: incidents whose change the response has not followed yet, nearly always none.
CREATE INDEX incidents_to_follow ON incidents (incident_id) WHERE followed_revision IS DISTINCT FROM revision;
CREATE INDEX incidents_by_mass ON incidents (mass_incident_id) WHERE mass_incident_id IS NOT NULL;
-- Serves recurrences: later incidents of a kind.
CREATE INDEX incidents_by_kind ON incidents (kind, occurred_at);

-- Who can be called. `channels`: [{"kind": "apprise", "url": ..}, {"kind": "webhook", "url": .., "secret": ..}].
CREATE TABLE people (
    person_id       text COLLATE "C" PRIMARY KEY CHECK (person_id ~ '^[A-Za-z0-9_.@-]{1,64}$'),
    name            text NOT NULL CHECK (name <> ''),
    roles           text[] NOT NULL DEFAULT '{}',
    -- NULL: for every depot.
    depot           text,
    language        text NOT NULL DEFAULT 'en' CHECK (language IN ('en', 'zh-CN')),
    channels        jsonb NOT NULL DEFAULT '[]' CHECK (jsonb_typeof(channels) = 'array'),
    active          boolean NOT NULL DEFAULT true,
    revision        bigint NOT NULL DEFAULT 1
);

-- Who is on duty for a role. A shift that overrides beats the plan; of several the newest does.
CREATE TABLE duty_shifts (
    shift_id        bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    role            text NOT NULL,
    depot           text,
    person_id       text COLLATE "C" NOT NULL REFERENCES people,
    starts_at       timestamptz NOT NULL,
    ends_at         timestamptz NOT NULL,
    override        boolean NOT NULL DEFAULT false,
    entered_by      text NOT NULL,
    entered_at      timestamptz NOT NULL DEFAULT now(),
    CHECK (ends_at > starts_at)
);
-- Serves "who is on duty now" and the search for holes in the days to come.
CREATE INDEX duty_shifts_by_end ON duty_shifts (ends_at, starts_at);

-- A round: the plan of one level running for an incident. Opening, every change of level and reopening begin another.
CREATE TABLE escalations (
    incident_id     bigint NOT NULL REFERENCES incidents,
    round           integer NOT NULL CHECK (round > 0),
    -- The plan that runs is that of this kind and level in the incident's frozen policy.
    kind            text NOT NULL,
    level           smallint NOT NULL CHECK (level BETWEEN 1 AND 3),
    occasion        text NOT NULL CHECK (occasion IN ('opened', 'raised', 'lowered', 'reopened')),
    started_at      timestamptz NOT NULL,
    stopped_at      timestamptz,
    stopped_because text,
    PRIMARY KEY (incident_id, round),
    CHECK ((stopped_at IS NULL) = (stopped_because IS NULL))
);
-- The promise "one plan at a time".
CREATE UNIQUE INDEX escalations_one_running ON escalations (incident_id) WHERE stopped_at IS NULL;

-- What falls due in a round, and the proof that it was done.
CREATE TABLE escalation_steps (
    incident_id     bigint NOT NULL,
    round           integer NOT NULL,
    -- call: a step of the plan. deadline: it should have been acknowledged by then. The others tell people of a change.
    purpose         text NOT NULL CHECK (purpose IN (
        'call', 'deadline', 'opened', 'raised', 'lowered', 'reopened', 'resolved', 'dismissed')),
    step            integer NOT NULL CHECK (step >= 0),
    repeat          integer NOT NULL DEFAULT 0 CHECK (repeat >= 0),
    role            text NOT NULL,
    due_at          timestamptz NOT NULL,
    done_at         timestamptz,
    -- notified, nobody_reachable, missed, stopped: what came of it.
    outcome         text CHECK (outcome IN ('notified', 'nobody_reachable', 'missed', 'stopped')),
    detail          jsonb NOT NULL DEFAULT '{}',
    -- The promise "neither skipped nor doubled": a step is a row before it is due, and is done in the transaction that
    -- writes its notices and the row of what comes next.
    PRIMARY KEY (incident_id, round, purpose, step, repeat),
    FOREIGN KEY (incident_id, round) REFERENCES escalations,
    CHECK ((done_at IS NULL) = (outcome IS NULL))
);
-- Serves the sweep: what is due and not done.
CREATE INDEX escalation_steps_due ON escalation_steps (due_at) WHERE done_at IS NULL;

-- Notices to be sent, being sent, sent. Written in the transaction that decides, sent outside of it.
CREATE TABLE outbox (
    outbox_id       bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    incident_id     bigint REFERENCES incidents,
    -- The step it carries out; NULL for what is not escalation (obligations, holes in the rota).
    round           integer,
    purpose         text NOT NULL,
    step            integer,
    repeat          integer,
    level           smallint NOT NULL CHECK (level BETWEEN 1 AND 3),
    person_id       text COLLATE "C" NOT NULL REFERENCES people,
    channel_kind    text NOT NULL CHECK (channel_kind IN ('apprise', 'webhook')),
    target          text NOT NULL,
    language        text NOT NULL,
    subject         text NOT NULL,
    body            text NOT NULL,
    -- What a machine may read of it; the body of a web hook is made of it.
    facts           jsonb NOT NULL DEFAULT '{}',
    -- The promise "never sent twice under another key": made from what the notice is about, the same in every attempt.
    idempotency_key text NOT NULL UNIQUE,
    -- queued > sending > sent. A failed attempt goes back to queued until the time is up (failed). withdrawn: no longer
    -- wanted before it was sent.
    state           text NOT NULL DEFAULT 'queued'
        CHECK (state IN ('queued', 'sending', 'sent', 'failed', 'withdrawn')),
    attempts        integer NOT NULL DEFAULT 0,
    created_at      timestamptz NOT NULL,
    next_try_at     timestamptz NOT NULL,
    -- While sending: whoever holds it has until then; after that another worker takes it, under the same key.
    lease_until     timestamptz,
    last_error      text,
    sent_at         timestamptz,
    -- Set when it is no longer wanted while somebody is sending it: not tried again.
    withdrawn_because text,
    drill           boolean NOT NULL DEFAULT false,
    CHECK ((state = 'sending') = (lease_until IS NOT NULL)),
    CHECK ((state = 'sent') = (sent_at IS NOT NULL)),
    CHECK (state <> 'withdrawn' OR withdrawn_because IS NOT NULL),
    FOREIGN KEY (incident_id, round, purpose, step, repeat) REFERENCES escalation_steps
);
-- Serves the sender: what waits and what was left behind by a worker that is gone.
CREATE INDEX outbox_to_send ON outbox (next_try_at) WHERE state IN ('queued', 'sending');
CREATE INDEX outbox_by_incident ON outbox (incident_id, outbox_id) WHERE incident_id IS NOT NULL;

-- Items of an incident's checklist that were ticked; the list itself is in its policy.
CREATE TABLE incident_checklist (
    incident_id     bigint NOT NULL REFERENCES incidents,
    item            text NOT NULL,
    done_at         timestamptz NOT NULL,
    done_by         text NOT NULL,
    note            text,
    PRIMARY KEY (incident_id, item)
);

-- Countermeasures after an incident, and whether they worked.
CREATE TABLE countermeasures (
    countermeasure_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    incident_id     bigint NOT NULL REFERENCES incidents,
    cause           text NOT NULL,
    countermeasure  text NOT NULL,
    owner           text NOT NULL,
    due_on          date NOT NULL,
    check_on        date NOT NULL CHECK (check_on >= due_on),
    created_at      timestamptz NOT NULL,
    created_by      text NOT NULL,
    done_at         timestamptz,
    done_by         text,
    checked_at      timestamptz,
    checked_by      text,
    worked          boolean,
    note            text,
    CHECK ((checked_at IS NULL) = (worked IS NULL)),
    CHECK (checked_at IS NULL OR done_at IS NOT NULL)
);
CREATE INDEX countermeasures_by_incident ON countermeasures (incident_id);

-- What has to be done by a clock of its own: reports, claims, feedback, countermeasures and their checks.
CREATE TABLE obligations (
    obligation_id   bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    incident_id     bigint NOT NULL REFERENCES incidents,
    kind            text NOT NULL,
    countermeasure_id bigint REFERENCES countermeasures,
    role            text NOT NULL,
    due_at          timestamptz NOT NULL,
    done_at         timestamptz,
    done_by         text,
    note            text,
    -- No longer asked for (level lowered, incident dismissed): kept, with the reason.
    waived_at       timestamptz,
    waived_because  text,
    -- Next reminder, NULL when none is wanted any more.
    remind_at       timestamptz,
    reminders       integer NOT NULL DEFAULT 0,
    -- The promise "asked for once".
    UNIQUE NULLS NOT DISTINCT (incident_id, kind, countermeasure_id),
    CHECK ((done_at IS NULL) = (done_by IS NULL)),
    CHECK ((waived_at IS NULL) = (waived_because IS NULL))
);
-- Serves the reminders.
CREATE INDEX obligations_to_remind ON obligations (remind_at) WHERE done_at IS NULL AND waived_at IS NULL;

-- The proof that each job of the workers runs: when it last did, and how often it means to.
CREATE TABLE worker_heartbeats (
    name            text PRIMARY KEY,
    ticked_at       timestamptz NOT NULL,
    every_s         double precision NOT NULL,
    detail          jsonb NOT NULL DEFAULT '{}'
) WITH (fillfactor = 50);
