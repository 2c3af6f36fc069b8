-- name: create_staging
-- A session's scratch copy of readings, emptied at each commit; made once, because making it per batch bloats the catalog.
CREATE TEMPORARY TABLE IF NOT EXISTS staged_readings (LIKE readings) ON COMMIT DELETE ROWS

-- name: keep_fresh
-- Move staged rows into readings, skipping those already stored, and say which were new.
INSERT INTO readings SELECT * FROM staged_readings
ON CONFLICT (vehicle_id, device_time, seq) DO NOTHING
RETURNING vehicle_id, (extract(epoch FROM device_time) * 1000000)::bigint, seq

-- name: known_vehicles
-- Which of these vehicles exist.
SELECT vehicle_id FROM vehicles WHERE vehicle_id = ANY(%(vehicle_ids)s)

-- name: register_vehicles
-- Register vehicles on first sight.
INSERT INTO vehicles (vehicle_id, registered_by)
SELECT unnest(%(vehicle_ids)s::text[]), 'first_sight'
ON CONFLICT (vehicle_id) DO NOTHING

-- name: move_latest_positions
-- Move live state forward: position and what came with it only by a newer fix, last_reading_at by any newer reading.
INSERT INTO latest_positions AS held (
    vehicle_id, last_reading_at, received_at, device_time, seq, lat_deg, lon_deg, accuracy_m, speed_kmh, heading_deg,
    ignition, odometer_km, fuel_pct, soc_pct)
SELECT * FROM unnest(
    %(vehicle_id)b::text[], %(last_reading_at)b::timestamptz[], %(received_at)b::timestamptz[],
    %(device_time)b::timestamptz[], %(seq)b::bigint[], %(lat_deg)b::float8[], %(lon_deg)b::float8[],
    %(accuracy_m)b::float8[], %(speed_kmh)b::float8[], %(heading_deg)b::float8[], %(ignition)b::bool[],
    %(odometer_km)b::float8[], %(fuel_pct)b::float8[], %(soc_pct)b::float8[])
ON CONFLICT (vehicle_id) DO UPDATE SET
    last_reading_at = greatest(held.last_reading_at, excluded.last_reading_at),
    received_at = greatest(held.received_at, excluded.received_at),
    device_time = excluded.device_time,
    seq = excluded.seq,
    lat_deg = excluded.lat_deg,
    lon_deg = excluded.lon_deg,
    accuracy_m = excluded.accuracy_m,
    speed_kmh = excluded.speed_kmh,
    heading_deg = excluded.heading_deg,
    ignition = coalesce(excluded.ignition, held.ignition),
    odometer_km = coalesce(excluded.odometer_km, held.odometer_km),
    fuel_pct = coalesce(excluded.fuel_pct, held.fuel_pct),
    soc_pct = coalesce(excluded.soc_pct, held.soc_pct),
    changed_xid = excluded.changed_xid
WHERE held.device_time IS NULL OR (excluded.device_time, excluded.seq) > (held.device_time, held.seq)

-- name: touch_without_fix
-- Note vehicles that report without a fix, leaving their last position where it is.
INSERT INTO latest_positions AS held (vehicle_id, last_reading_at, received_at)
SELECT * FROM unnest(%(vehicle_id)s::text[], %(last_reading_at)s::timestamptz[], %(received_at)s::timestamptz[])
ON CONFLICT (vehicle_id) DO UPDATE SET
    last_reading_at = excluded.last_reading_at,
    received_at = greatest(held.received_at, excluded.received_at),
    changed_xid = excluded.changed_xid
WHERE excluded.last_reading_at > held.last_reading_at

-- name: keep_fresh_events
-- Store alarms, bursts, diagnostics and command results once, and say which were new.
INSERT INTO device_events (
    vehicle_id, stream, device_time, seq, occurred_at, clock_valid, received_at, kind, body)
SELECT * FROM unnest(
    %(vehicle_id)s::text[], %(stream)s::text[], %(device_time)s::timestamptz[], %(seq)s::bigint[],
    %(occurred_at)s::timestamptz[], %(clock_valid)s::bool[], %(received_at)s::timestamptz[], %(kind)s::text[],
    %(body)s::jsonb[])
ON CONFLICT (vehicle_id, stream, device_time, seq) DO NOTHING
RETURNING vehicle_id, stream, (extract(epoch FROM device_time) * 1000000)::bigint, seq

-- name: move_device_status
-- Keep the newest status of a vehicle, by time of arrival.
INSERT INTO device_status AS held (vehicle_id, online, firmware, boot, reported_at, received_at, body)
VALUES (%(vehicle_id)s, %(online)s, %(firmware)s, %(boot)s, %(reported_at)s, %(received_at)s, %(body)s::jsonb)
ON CONFLICT (vehicle_id) DO UPDATE SET
    online = excluded.online,
    firmware = coalesce(excluded.firmware, held.firmware),
    boot = coalesce(excluded.boot, held.boot),
    reported_at = excluded.reported_at,
    received_at = excluded.received_at,
    body = excluded.body
WHERE excluded.received_at >= held.received_at

-- name: keep_dead_letters
-- Keep refused messages whole, each once however often the broker sends it.
INSERT INTO dead_letter AS held (received_at, topic, payload, reason_code, reason, vehicle_id, digest)
SELECT * FROM unnest(
    %(received_at)s::timestamptz[], %(topic)s::text[], %(payload)s::bytea[], %(reason_code)s::text[],
    %(reason)s::text[], %(vehicle_id)s::text[], %(digest)s::bytea[])
ON CONFLICT (digest) DO UPDATE SET times_received = held.times_received + 1

-- name: heads
-- Newest row of each of these lanes.
SELECT lane, row_hash FROM message_log_heads WHERE lane = ANY(%(lanes)s)

-- name: append_to_log
-- Append one row to the message log and move its lanes' heads, if they are where the writer believes them.
WITH row AS (
    INSERT INTO message_log (
        received_from, received_to, lanes, previous_hashes, message_count, raw_bytes, merkle_root, row_hash, messages)
    VALUES (
        %(received_from)s, %(received_to)s, %(lanes)s, %(previous_hashes)s, %(message_count)s, %(raw_bytes)s,
        %(merkle_root)s, %(row_hash)s, %(messages)s)
    RETURNING id
), moved AS (
    INSERT INTO message_log_heads AS head (lane, log_id, row_hash)
    SELECT believed.lane, row.id, %(row_hash)s
    FROM row, unnest(%(lanes)s::text[], %(previous_hashes)s::bytea[]) AS believed (lane, previous_hash)
    ON CONFLICT (lane) DO UPDATE SET log_id = excluded.log_id, row_hash = excluded.row_hash
    WHERE head.row_hash = (
        SELECT b.previous_hash FROM unnest(%(lanes)s::text[], %(previous_hashes)s::bytea[]) AS b (lane, previous_hash)
        WHERE b.lane = head.lane)
    RETURNING 1
)
SELECT count(*) FROM moved

-- name: ring_door_bell
-- Tell readers that something changed, and whether it is urgent; the tables are the truth. At most once a batch.
SELECT pg_notify('fleet_live', %(payload)s)

-- name: dead_letters
-- Dead letters, newest first, optionally of one reason or since an instant.
SELECT id, received_at, topic, payload, reason_code, reason, vehicle_id, times_received, replayed_at
FROM dead_letter
WHERE (%(reason_code)s::text IS NULL OR reason_code = %(reason_code)s)
  AND (%(since)s::timestamptz IS NULL OR received_at >= %(since)s)
ORDER BY id DESC
LIMIT %(max_rows)s

-- name: dead_letters_to_replay
-- The next page of dead letters to send again, oldest first, among those that were there at the beginning.
SELECT id, received_at, topic, payload, reason_code, reason, vehicle_id, times_received, replayed_at
FROM dead_letter
WHERE id > %(after_id)s
  AND received_at <= %(until)s
  AND (%(reason_code)s::text IS NULL OR reason_code = %(reason_code)s)
  AND (%(since)s::timestamptz IS NULL OR received_at >= %(since)s)
  AND (%(ids)s::bigint[] IS NULL OR id = ANY(%(ids)s))
  AND (NOT %(only_unreplayed)s OR replayed_at IS NULL)
ORDER BY id
LIMIT %(max_rows)s

-- name: mark_replayed
-- Note that dead letters were sent to the broker again.
UPDATE dead_letter SET replayed_at = now() WHERE id = ANY(%(ids)s::bigint[])

-- name: logged_rows
-- Message log rows that may hold what was received in a span, in order.
SELECT messages FROM message_log
WHERE received_to >= %(since)s AND received_from < %(until)s
ORDER BY id
