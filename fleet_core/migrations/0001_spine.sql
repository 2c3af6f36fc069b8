-- The spine: vehicles, devices, readings, live state, device events, message log, dead letters.
-- Runs the same on TimescaleDB (either licence) and on plain PostgreSQL; what only Timescale has is arranged afterwards
-- by fleet_core/storage_layout.py.

CREATE TABLE vehicles (
    vehicle_id      text COLLATE "C" PRIMARY KEY CHECK (vehicle_id ~ '^[A-Za-z0-9_-]{1,64}$'),
    plate           text,
    vin             text,
    model           text,
    vehicle_class   text NOT NULL DEFAULT 'car' CHECK (vehicle_class IN ('car', 'van', 'heavy')),
    depot           text,
    note            text,
    -- first_sight: registered by ingest when its first message came; people: created through the API.
    registered_by   text NOT NULL DEFAULT 'people' CHECK (registered_by IN ('first_sight', 'people')),
    registered_at   timestamptz NOT NULL DEFAULT now(),
    retired_at      timestamptz,
    revision        bigint NOT NULL DEFAULT 1
);
-- Two vehicles in service never carry the same plate: search by plate finds one vehicle.
CREATE UNIQUE INDEX vehicles_plate_in_service ON vehicles (plate) WHERE plate IS NOT NULL AND retired_at IS NULL;

CREATE TABLE devices (
    device_id       text COLLATE "C" PRIMARY KEY CHECK (length(device_id) BETWEEN 1 AND 128),
    vehicle_id      text COLLATE "C" REFERENCES vehicles,
    -- Codec or gateway that reads it: native, owntracks, traccar, ...
    kind            text NOT NULL DEFAULT 'native',
    imei            text,
    firmware        text,
    note            text,
    registered_at   timestamptz NOT NULL DEFAULT now(),
    revision        bigint NOT NULL DEFAULT 1
);
-- Serves "which devices does this vehicle carry".
CREATE INDEX devices_by_vehicle ON devices (vehicle_id);

CREATE TABLE readings (
    vehicle_id      text COLLATE "C" NOT NULL,
    -- The device's own event time, the same in every retransmission. Part of the identity.
    device_time     timestamptz NOT NULL,
    -- boot << 32 | seq as 64 bits read as signed, or a hash of the payload for devices without a counter.
    seq             bigint NOT NULL,
    received_at     timestamptz NOT NULL,
    lat_deg         double precision,
    lon_deg         double precision,
    altitude_m      double precision,
    accuracy_m      double precision,
    hdop            double precision,
    satellites      double precision,
    speed_kmh       double precision,
    obd_speed_kmh   double precision,
    heading_deg     double precision,
    accel_x_mps2    double precision,
    accel_y_mps2    double precision,
    accel_z_mps2    double precision,
    gyro_x_dps      double precision,
    gyro_y_dps      double precision,
    gyro_z_dps      double precision,
    odometer_km     double precision,
    fuel_pct        double precision,
    soc_pct         double precision,
    rpm             double precision,
    engine_hours    double precision,
    coolant_c       double precision,
    battery_v       double precision,
    external_v      double precision,
    ignition        boolean,
    brake           boolean,
    brake_pct       double precision,
    throttle_pct    double precision,
    steering_deg    double precision,
    gear            double precision,
    seatbelt_driver boolean,
    door_open       boolean,
    tyre_fl_kpa     double precision,
    tyre_fr_kpa     double precision,
    tyre_rl_kpa     double precision,
    tyre_rr_kpa     double precision,
    ambient_c       double precision,
    speed_limit_kmh double precision,
    accel_gravity   boolean,
    fix_valid       boolean,
    buffered        boolean,
    crs             text,
    lat_sent_deg    double precision,
    lon_sent_deg    double precision,
    -- Columns the contract does not know, kept as sent.
    extra           jsonb,
    -- The promise "stored once". Timescale asks for the time column in every unique key; it also serves every read of
    -- one vehicle over a span, so it is the only btree on this table.
    PRIMARY KEY (vehicle_id, device_time, seq)
);

-- Live state: one row a vehicle, moved forward only.
CREATE TABLE latest_positions (
    vehicle_id      text COLLATE "C" PRIMARY KEY,
    -- Newest reading of any kind, with or without a fix.
    last_reading_at timestamptz NOT NULL,
    received_at     timestamptz NOT NULL,
    -- Time and counter of the newest valid fix; NULL until there was one.
    device_time     timestamptz,
    seq             bigint,
    lat_deg         double precision,
    lon_deg         double precision,
    accuracy_m      double precision,
    speed_kmh       double precision,
    heading_deg     double precision,
    ignition        boolean,
    odometer_km     double precision,
    fuel_pct        double precision,
    soc_pct         double precision,
    -- Transaction that last moved the row. A reader asks for rows at or after the oldest transaction that was still
    -- open when it last looked, so a writer that commits late is never skipped.
    changed_xid     xid8 NOT NULL DEFAULT pg_current_xact_id()
) WITH (fillfactor = 50); -- updated all the time: leave room so that updates stay in their page (HOT)

-- What a device said that is not a reading: alarms, bursts, diagnostics, command results.
CREATE TABLE device_events (
    vehicle_id      text COLLATE "C" NOT NULL,
    stream          text NOT NULL CHECK (stream IN ('alarm', 'burst', 'diagnostics', 'command/result')),
    device_time     timestamptz NOT NULL,
    seq             bigint NOT NULL,
    -- When it happened as far as we can tell: device_time, or received_at when the device's clock was not set.
    occurred_at     timestamptz NOT NULL,
    clock_valid     boolean NOT NULL,
    received_at     timestamptz NOT NULL,
    kind            text,
    body            jsonb NOT NULL,
    changed_xid     xid8 NOT NULL DEFAULT pg_current_xact_id(),
    -- The promise "stored once".
    PRIMARY KEY (vehicle_id, stream, device_time, seq)
);
-- Serves the live feed: events at or after the oldest transaction still open at the last look.
CREATE INDEX device_events_by_xid ON device_events (changed_xid);

-- Newest status (online, last will, firmware) of each vehicle.
CREATE TABLE device_status (
    vehicle_id      text COLLATE "C" PRIMARY KEY,
    online          boolean,
    firmware        text,
    boot            bigint,
    reported_at     timestamptz,
    received_at     timestamptz NOT NULL,
    body            jsonb NOT NULL
);

-- Every message as received: one row a batch. The source of truth for evidence, replay and re-detection.
CREATE TABLE message_log (
    id              bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    received_from   timestamptz NOT NULL,
    received_to     timestamptz NOT NULL,
    -- Lanes (one a session: p07, a07) whose messages the row holds, sorted, and for each the row_hash of the previous
    -- row of that lane (32 zero bytes at the beginning). So each lane is a hash chain, whichever worker wrote it.
    lanes           text[] NOT NULL CHECK (cardinality(lanes) > 0),
    previous_hashes bytea[] NOT NULL,
    message_count   integer NOT NULL CHECK (message_count > 0),
    raw_bytes       bigint NOT NULL,
    -- RFC 9162 Merkle tree hash (SHA-256) over the messages of the row.
    merkle_root     bytea NOT NULL CHECK (octet_length(merkle_root) = 32),
    row_hash        bytea NOT NULL CHECK (octet_length(row_hash) = 32),
    -- zstd of MessagePack [[received_us, topic, payload], ...]
    messages        bytea NOT NULL,
    CHECK (cardinality(lanes) = cardinality(previous_hashes))
);
-- Compressed already by zstd: do not let TOAST try again.
ALTER TABLE message_log ALTER COLUMN messages SET STORAGE EXTERNAL;
-- Serves evidence: the rows that may hold what was received at an instant.
CREATE INDEX message_log_by_received ON message_log (received_to, received_from);

-- Newest row of each lane. Writers change it by compare-and-set, so a chain cannot fork: it is the fence behind the
-- advisory lock.
CREATE TABLE message_log_heads (
    lane            text PRIMARY KEY,
    log_id          bigint NOT NULL,
    row_hash        bytea NOT NULL CHECK (octet_length(row_hash) = 32)
) WITH (fillfactor = 50);

-- Messages that could not be read or were refused, whole, with the reason. Never dropped, replayable.
CREATE TABLE dead_letter (
    id              bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    received_at     timestamptz NOT NULL,
    topic           text NOT NULL,
    payload         bytea NOT NULL,
    -- Short code for counting (undecodable, wrong_type, clock_ahead, ...) and a sentence for people.
    reason_code     text NOT NULL,
    reason          text NOT NULL,
    vehicle_id      text COLLATE "C",
    -- SHA-256 of topic, NUL, payload: the same message redelivered is the same dead letter.
    digest          bytea NOT NULL CHECK (octet_length(digest) = 32),
    times_received  integer NOT NULL DEFAULT 1,
    replayed_at     timestamptz
);
CREATE UNIQUE INDEX dead_letter_once ON dead_letter (digest);
CREATE INDEX dead_letter_by_received ON dead_letter (received_at);
