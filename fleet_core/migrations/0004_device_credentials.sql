-- Credentials of devices at the MQTT broker. The brokers' files are written from here; no password is kept, only the
-- hashes that the brokers compare with.

CREATE TABLE device_credentials (
    -- Name the device signs in with, and the CN of its certificate: the vehicle's id, from the second on with a number
    -- behind a dot. A dot is in no vehicle id, so a number never makes one vehicle's name another's. Never given twice:
    -- whoever still holds what was revoked must not become somebody else.
    mqtt_user           text COLLATE "C" PRIMARY KEY CHECK (mqtt_user ~ '^[A-Za-z0-9_-]{1,64}([.][0-9]{1,9})?$'),
    device_id           text COLLATE "C" NOT NULL REFERENCES devices,
    -- The vehicle it may speak for. A device that was put into another vehicle speaks for neither until it is rotated.
    vehicle_id          text COLLATE "C" NOT NULL REFERENCES vehicles,
    -- bcrypt, as NATS reads it.
    nats_hash           text NOT NULL CHECK (nats_hash ~ '^[$]2[aby][$]'),
    -- PBKDF2-SHA512, as Mosquitto reads it.
    mosquitto_hash      text NOT NULL CHECK (mosquitto_hash ~ '^[$]7[$][0-9]+[$]'),
    -- When its client certificate ends; NULL without one.
    certificate_ends_at timestamptz,
    issued_at           timestamptz NOT NULL DEFAULT now(),
    rotated_at          timestamptz,
    revoked_at          timestamptz
);
-- The promise "one valid account a device".
CREATE UNIQUE INDEX device_credentials_valid ON device_credentials (device_id) WHERE revoked_at IS NULL;
-- Serves "are all accounts of these vehicles revoked", which ingest asks each batch, and the next free name.
CREATE INDEX device_credentials_by_vehicle ON device_credentials (vehicle_id);

-- The door-bell of whoever writes the brokers' files: at most one ring a transaction, the tables are the truth.
CREATE FUNCTION ring_device_accounts() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_notify('fleet_device_accounts', '');
    RETURN NULL;
END
$$;
CREATE TRIGGER device_accounts_changed AFTER INSERT OR UPDATE OR DELETE ON device_credentials
    FOR EACH STATEMENT EXECUTE FUNCTION ring_device_accounts();
-- A device that moves to another vehicle loses its rights.
CREATE TRIGGER device_moved AFTER UPDATE OF vehicle_id, kind ON devices
    FOR EACH STATEMENT EXECUTE FUNCTION ring_device_accounts();
