-- Detection and incidents: what detectors found, the cases people work on, and what else is known when they judge.

-- What a detector says of a vehicle over a span of its own time. Revised in place when more becomes known; every
-- judgement stays in detection_judgements.
CREATE TABLE detections (
    detection_id    bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    vehicle_id      text COLLATE "C" NOT NULL,
    kind            text NOT NULL,
    -- Tells apart episodes of one kind that may run side by side, such as two trouble codes; mostly empty.
    subject         text NOT NULL DEFAULT '',
    detector        text NOT NULL,
    version         integer NOT NULL CHECK (version > 0),
    level           smallint NOT NULL CHECK (level BETWEEN 1 AND 3),
    score           double precision NOT NULL CHECK (score BETWEEN 0 AND 1),
    started_at      timestamptz NOT NULL,
    occurred_at     timestamptz NOT NULL,
    ended_at        timestamptz NOT NULL,
    measured        jsonb NOT NULL,
    reasons         jsonb NOT NULL,
    -- Examine again then, even if the vehicle stays silent.
    revisit_at      timestamptz,
    -- When it was first judged, and how long after its end that was.
    first_judged_at timestamptz NOT NULL,
    delay_s         double precision NOT NULL,
    judged_at       timestamptz NOT NULL,
    -- Too old when first judged to open an incident: recorded all the same.
    stale           boolean NOT NULL,
    -- False once data that came later showed otherwise, or it became part of another; see detection_judgements for why.
    standing        boolean NOT NULL DEFAULT true,
    drill           boolean NOT NULL DEFAULT false,
    incident_id     bigint,
    changed_xid     xid8 NOT NULL DEFAULT pg_current_xact_id(),
    CHECK (started_at <= occurred_at AND occurred_at <= ended_at)
);
-- The promise "an episode is found once": whoever judges the same stored data again meets the row that is there.
CREATE UNIQUE INDEX detections_once ON detections (vehicle_id, detector, kind, subject, started_at) WHERE standing;
-- Serves the judge: standing detections of a vehicle near a span.
CREATE INDEX detections_by_vehicle ON detections (vehicle_id, ended_at) WHERE standing;
-- Serves the sweep of detections that wait for silence.
CREATE INDEX detections_to_revisit ON detections (revisit_at) WHERE standing AND revisit_at IS NOT NULL;
CREATE INDEX detections_by_incident ON detections (incident_id) WHERE incident_id IS NOT NULL;
-- Serves frequency and false-alarm reports.
CREATE INDEX detections_by_kind ON detections (kind, occurred_at);

-- Each judgement of a detection, in order: found, revised, withdrawn. Append only.
CREATE TABLE detection_judgements (
    judgement_id    bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    detection_id    bigint NOT NULL REFERENCES detections,
    judged_at       timestamptz NOT NULL,
    change          text NOT NULL CHECK (change IN ('found', 'revised', 'withdrawn')),
    version         integer NOT NULL,
    level           smallint NOT NULL,
    score           double precision NOT NULL,
    reasons         jsonb NOT NULL,
    measured        jsonb NOT NULL,
    -- The detection that a withdrawn one became part of; NULL when it was refuted.
    into_detection  bigint
);
CREATE INDEX detection_judgements_by_detection ON detection_judgements (detection_id);

-- A detector that failed on a window: the readings are stored, the judgement is missing and somebody must look.
CREATE TABLE detector_faults (
    fault_id        bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    detector        text NOT NULL,
    version         integer NOT NULL,
    vehicle_id      text COLLATE "C" NOT NULL,
    span_from       timestamptz NOT NULL,
    span_until      timestamptz NOT NULL,
    error           text NOT NULL,
    failed_at       timestamptz NOT NULL
);

-- The case people work on. It gathers evidence of one vehicle and one family of kinds.
CREATE TABLE incidents (
    incident_id     bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    vehicle_id      text COLLATE "C" NOT NULL,
    family          text NOT NULL,
    -- Kind of its gravest evidence.
    kind            text NOT NULL,
    level           smallint NOT NULL CHECK (level BETWEEN 1 AND 3),
    score           double precision NOT NULL CHECK (score BETWEEN 0 AND 1),
    status          text NOT NULL DEFAULT 'open' CHECK (status IN ('open', 'acknowledged', 'resolved', 'dismissed')),
    drill           boolean NOT NULL DEFAULT false,
    -- Its own time: when the first of its evidence happened. Detected: when we first knew.
    occurred_at     timestamptz NOT NULL,
    detected_at     timestamptz NOT NULL,
    last_evidence_at timestamptz NOT NULL,
    delay_s         double precision NOT NULL,
    lat_deg         double precision,
    lon_deg         double precision,
    acknowledged_at timestamptz,
    acknowledged_by text,
    assigned_to     text,
    closed_at       timestamptz,
    closed_by       text,
    close_reason    text,
    -- Who set the level by hand: the machine may then raise it, never lower it.
    level_set_by    text,
    -- Since when evidence supports only this lower level; lowered when that lasts (hysteresis).
    lower_level     smallint CHECK (lower_level BETWEEN 1 AND 3),
    lower_since     timestamptz,
    contract_id     bigint,
    policy_version  text,
    policy          jsonb,
    -- Several vehicles at one place and time (hail, flood): the incident that stands for all of them.
    mass_incident_id bigint REFERENCES incidents,
    revision        bigint NOT NULL DEFAULT 1,
    changed_xid     xid8 NOT NULL DEFAULT pg_current_xact_id(),
    CHECK ((status IN ('resolved', 'dismissed')) = (closed_at IS NOT NULL)),
    CHECK (closed_at IS NULL OR close_reason IS NOT NULL)
);
-- The promise "one case, not ten": what happens again within the family's time joins the case that is there. It also
-- serves that look-up.
CREATE UNIQUE INDEX incidents_once ON incidents (vehicle_id, family, occurred_at);
-- Serves the queue of a dispatcher and the live feed.
CREATE INDEX incidents_by_status ON incidents (status, level DESC, occurred_at DESC);
CREATE INDEX incidents_by_xid ON incidents (changed_xid);
ALTER TABLE detections ADD FOREIGN KEY (incident_id) REFERENCES incidents;

-- The timeline: everything that happened to an incident, who did it and why. Append only.
CREATE TABLE incident_events (
    event_id        bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    incident_id     bigint NOT NULL REFERENCES incidents,
    at              timestamptz NOT NULL,
    -- A person, or `machine:<rule> v<version>`.
    actor           text NOT NULL,
    kind            text NOT NULL,
    reason          text,
    data            jsonb NOT NULL DEFAULT '{}'
);
CREATE INDEX incident_events_by_incident ON incident_events (incident_id, event_id);

-- Evidence that is not a detection: device alarms, customer reports, weather warnings, the vehicle's condition.
CREATE TABLE incident_evidence (
    evidence_id     bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    incident_id     bigint NOT NULL REFERENCES incidents,
    source          text NOT NULL CHECK (source IN ('alarm', 'report', 'weather', 'condition')),
    -- Names the row it came from, so that it is attached once.
    reference       text NOT NULL,
    kind            text NOT NULL,
    level           smallint NOT NULL CHECK (level BETWEEN 1 AND 3),
    score           double precision NOT NULL CHECK (score BETWEEN 0 AND 1),
    occurred_at     timestamptz NOT NULL,
    attached_at     timestamptz NOT NULL,
    measured        jsonb NOT NULL DEFAULT '{}',
    reasons         jsonb NOT NULL DEFAULT '[]',
    UNIQUE (incident_id, source, reference)
);

-- What somebody told us: a customer on the phone, a passer-by, our own staff.
CREATE TABLE reports (
    report_id       bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    vehicle_id      text COLLATE "C" NOT NULL REFERENCES vehicles,
    reported_at     timestamptz NOT NULL,
    occurred_at     timestamptz NOT NULL,
    kind            text NOT NULL,
    reporter        text,
    contact         text,
    injured         boolean,
    drivable        boolean,
    told            text NOT NULL,
    lat_deg         double precision,
    lon_deg         double precision,
    taken_by        text NOT NULL,
    drill           boolean NOT NULL DEFAULT false,
    -- Given by the caller, so that a report sent twice is one report.
    request_key     text UNIQUE,
    incident_id     bigint REFERENCES incidents
);
CREATE INDEX reports_by_vehicle ON reports (vehicle_id, occurred_at);

-- Warnings of the weather service: an area (GeoJSON polygon, WGS-84) and a span.
CREATE TABLE weather_warnings (
    warning_id      bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    source          text NOT NULL,
    source_key      text NOT NULL,
    kind            text NOT NULL CHECK (kind IN ('hail', 'flood', 'rain', 'storm', 'snow', 'ice', 'fog', 'heat', 'cold')),
    level           smallint NOT NULL CHECK (level BETWEEN 1 AND 3),
    area            jsonb NOT NULL,
    valid_from      timestamptz NOT NULL,
    valid_until     timestamptz NOT NULL CHECK (valid_until > valid_from),
    told            text,
    received_at     timestamptz NOT NULL,
    UNIQUE (source, source_key)
);
CREATE INDEX weather_warnings_by_time ON weather_warnings (valid_until, valid_from);

-- Geofences. `revision` of the newest row tells readers that their index is old.
CREATE TABLE geofences (
    fence_id        text COLLATE "C" PRIMARY KEY CHECK (fence_id ~ '^[A-Za-z0-9_-]{1,64}$'),
    name            text NOT NULL,
    area            jsonb NOT NULL,
    rules           text[] NOT NULL DEFAULT '{entry,exit}' CHECK (rules <@ '{entry,exit,dwell}'),
    level           smallint NOT NULL DEFAULT 1 CHECK (level BETWEEN 1 AND 3),
    dwell_s         double precision CHECK (dwell_s > 0),
    speed_limit_kmh double precision CHECK (speed_limit_kmh > 0),
    vehicle_ids     text[],
    retired_at      timestamptz,
    revision        bigint NOT NULL DEFAULT 1,
    changed_at      timestamptz NOT NULL DEFAULT now()
);

-- How a device sits in its vehicle, learned from driving: 3 x 3 by rows, rotation @ device axes = vehicle axes.
CREATE TABLE mountings (
    vehicle_id      text COLLATE "C" NOT NULL,
    learned_from    timestamptz NOT NULL,
    learned_until   timestamptz NOT NULL,
    rotation        double precision[] NOT NULL CHECK (cardinality(rotation) = 9),
    quality         double precision NOT NULL CHECK (quality BETWEEN 0 AND 1),
    PRIMARY KEY (vehicle_id, learned_until)
);

-- Facts of whole hours (incidents/hours.py), for detectors whose window is weeks.
CREATE TABLE vehicle_hours (
    vehicle_id      text COLLATE "C" NOT NULL,
    hour            timestamptz NOT NULL,
    facts           jsonb NOT NULL,
    computed_at     timestamptz NOT NULL,
    PRIMARY KEY (vehicle_id, hour)
);
-- Serves the sweeps: vehicles of which something new is known.
CREATE INDEX vehicle_hours_by_computed ON vehicle_hours (computed_at);
-- Hours whose facts are to be computed: new ones, and old ones that late readings touched.
CREATE TABLE vehicle_hours_due (
    vehicle_id      text COLLATE "C" NOT NULL,
    hour            timestamptz NOT NULL,
    PRIMARY KEY (vehicle_id, hour)
);
CREATE INDEX vehicle_hours_due_by_hour ON vehicle_hours_due (hour);

-- When each sweeping detector last looked: a restart goes on from there.
CREATE TABLE sweeps_done (
    detector        text PRIMARY KEY,
    swept_until     timestamptz NOT NULL
);
-- Spans that late readings touched and that sweeping detectors must look at again.
CREATE TABLE sweeps_due (
    due_id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    vehicle_id      text COLLATE "C" NOT NULL,
    span_from       timestamptz NOT NULL,
    span_until      timestamptz NOT NULL
);
