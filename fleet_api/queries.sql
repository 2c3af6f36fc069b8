-- name: list_vehicles
-- One page of vehicles by id, with their newest position; text is looked for in id, plate, VIN and model.
SELECT v.vehicle_id, v.plate, v.vin, v.model, v.vehicle_class, v.depot, v.note, v.registered_by, v.registered_at,
       v.retired_at, v.revision
FROM vehicles v
WHERE v.vehicle_id > %(after)s
  AND (%(depot)s::text IS NULL OR v.depot = %(depot)s)
  AND (%(depots)s::text[] IS NULL OR v.depot = ANY(%(depots)s))
  AND (%(with_retired)s OR v.retired_at IS NULL)
  AND (%(pattern)s::text IS NULL
       OR v.vehicle_id ILIKE %(pattern)s OR v.plate ILIKE %(pattern)s OR v.vin ILIKE %(pattern)s
       OR v.model ILIKE %(pattern)s)
ORDER BY v.vehicle_id
LIMIT %(limit)s

-- name: vehicle_by_id
-- One vehicle.
SELECT vehicle_id, plate, vin, model, vehicle_class, depot, note, registered_by, registered_at, retired_at, revision
FROM vehicles
WHERE vehicle_id = %(vehicle_id)s

-- name: insert_vehicle
-- Create a vehicle; nothing comes back when the id is taken, so that first sight by ingest is no error here.
INSERT INTO vehicles (vehicle_id, plate, vin, model, vehicle_class, depot, note, registered_by)
VALUES (%(vehicle_id)s, %(plate)s, %(vin)s, %(model)s, %(vehicle_class)s, %(depot)s, %(note)s, 'people')
ON CONFLICT (vehicle_id) DO NOTHING
RETURNING vehicle_id, plate, vin, model, vehicle_class, depot, note, registered_by, registered_at, retired_at, revision

-- name: update_vehicle
-- Change a vehicle only if it still is at the revision the editor saw.
UPDATE vehicles
SET plate = %(plate)s, vin = %(vin)s, model = %(model)s, vehicle_class = %(vehicle_class)s, depot = %(depot)s,
    note = %(note)s,
    retired_at = CASE WHEN %(retired)s THEN coalesce(retired_at, now()) END,
    revision = revision + 1
WHERE vehicle_id = %(vehicle_id)s AND revision = %(revision)s
RETURNING vehicle_id, plate, vin, model, vehicle_class, depot, note, registered_by, registered_at, retired_at, revision

-- name: list_depot
-- A depot that a vehicle is in is a depot.
INSERT INTO depots (depot_id, name) VALUES (%(depot)s, %(depot)s) ON CONFLICT DO NOTHING

-- name: ring_vehicles_changed
-- Tell the live feed that a vehicle was created, retired or brought back; delivered at commit.
SELECT pg_notify('fleet_live', 'v')

-- name: list_devices
-- One page of devices by id; text is looked for in id, IMEI and firmware.
SELECT device_id, vehicle_id, kind, imei, firmware, note, registered_at, revision
FROM devices
WHERE device_id > %(after)s
  AND (%(vehicle_id)s::text IS NULL OR vehicle_id = %(vehicle_id)s)
  AND (%(depots)s::text[] IS NULL
       OR vehicle_id IN (SELECT v.vehicle_id FROM vehicles v WHERE v.depot = ANY(%(depots)s)))
  AND (%(pattern)s::text IS NULL
       OR device_id ILIKE %(pattern)s OR imei ILIKE %(pattern)s OR firmware ILIKE %(pattern)s)
ORDER BY device_id
LIMIT %(limit)s

-- name: device_by_id
-- One device.
SELECT device_id, vehicle_id, kind, imei, firmware, note, registered_at, revision
FROM devices
WHERE device_id = %(device_id)s

-- name: insert_device
-- Create a device; nothing comes back when the id is taken.
INSERT INTO devices (device_id, vehicle_id, kind, imei, firmware, note)
VALUES (%(device_id)s, %(vehicle_id)s, %(kind)s, %(imei)s, %(firmware)s, %(note)s)
ON CONFLICT (device_id) DO NOTHING
RETURNING device_id, vehicle_id, kind, imei, firmware, note, registered_at, revision

-- name: update_device
-- Change a device only if it still is at the revision the editor saw.
UPDATE devices
SET vehicle_id = %(vehicle_id)s, kind = %(kind)s, imei = %(imei)s, firmware = %(firmware)s, note = %(note)s,
    revision = revision + 1
WHERE device_id = %(device_id)s AND revision = %(revision)s
RETURNING device_id, vehicle_id, kind, imei, firmware, note, registered_at, revision

-- name: latest_positions
-- Newest position of every vehicle in service that had a fix, optionally within a box (west > east crosses 180 degrees).
SELECT p.vehicle_id, p.device_time, p.received_at, p.last_reading_at, p.lat_deg, p.lon_deg, p.accuracy_m, p.speed_kmh,
       p.heading_deg, p.ignition, p.odometer_km, p.fuel_pct, p.soc_pct
FROM latest_positions p
WHERE p.device_time IS NOT NULL
  AND p.lat_deg BETWEEN -90 AND 90 AND p.lon_deg BETWEEN -180 AND 180
  AND (%(south)s::float8 IS NULL OR (
        p.lat_deg BETWEEN %(south)s AND %(north)s
        AND CASE WHEN %(west)s::float8 <= %(east)s THEN p.lon_deg BETWEEN %(west)s AND %(east)s
                 ELSE p.lon_deg >= %(west)s OR p.lon_deg <= %(east)s END))
  AND NOT EXISTS (SELECT 1 FROM vehicles v WHERE v.vehicle_id = p.vehicle_id AND v.retired_at IS NOT NULL)
  AND (%(depots)s::text[] IS NULL
       OR p.vehicle_id IN (SELECT v.vehicle_id FROM vehicles v WHERE v.depot = ANY(%(depots)s)))
ORDER BY p.vehicle_id
LIMIT %(limit)s

-- name: latest_position_of
-- Newest position of one vehicle; time and place are NULL until it had a fix.
SELECT vehicle_id, device_time, received_at, last_reading_at, lat_deg, lon_deg, accuracy_m, speed_kmh, heading_deg,
       ignition, odometer_km, fuel_pct, soc_pct
FROM latest_positions
WHERE vehicle_id = %(vehicle_id)s

-- name: recent_alarms
-- Newest alarms by arrival, of one vehicle or of all; the arrival order is that of the index on changed_xid.
SELECT vehicle_id, kind, occurred_at, device_time, received_at, clock_valid,
       body->'lat_deg', body->'lon_deg', body->'crs'
FROM device_events
WHERE stream = 'alarm' AND (%(vehicle_id)s::text IS NULL OR vehicle_id = %(vehicle_id)s)
  AND (%(depots)s::text[] IS NULL
       OR vehicle_id IN (SELECT v.vehicle_id FROM vehicles v WHERE v.depot = ANY(%(depots)s)))
ORDER BY changed_xid DESC, received_at DESC
LIMIT %(limit)s

-- name: track
-- Valid fixes of a span, thinned by choosing stored rows only: of each run of consecutive fixes the first, the last, the
-- fastest, the slowest and the one farthest from the straight line first-last, so that corners and speed peaks survive.
WITH valid AS (
    SELECT device_time, seq, received_at, lat_deg, lon_deg, accuracy_m, speed_kmh, heading_deg, ignition, buffered,
           row_number() OVER (ORDER BY device_time, seq) AS n,
           count(*) OVER () AS total
    FROM readings
    WHERE vehicle_id = %(vehicle_id)s AND device_time >= %(since)s AND device_time < %(until)s
      AND fix_valid IS NOT FALSE
      AND lat_deg BETWEEN -90 AND 90 AND lon_deg BETWEEN -180 AND 180 AND NOT (lat_deg = 0 AND lon_deg = 0)
), runs AS (
    SELECT *, (n - 1) * greatest(%(max_points)s / 5, 1) / total AS run FROM valid
), ends AS (
    SELECT *,
           first_value(n) OVER whole AS first_n, last_value(n) OVER whole AS last_n,
           first_value(lat_deg) OVER whole AS lat_a, last_value(lat_deg) OVER whole AS lat_b,
           first_value(lon_deg) OVER whole AS lon_a, last_value(lon_deg) OVER whole AS lon_b,
           max(nullif(speed_kmh, 'NaN')) OVER whole AS top_speed, min(nullif(speed_kmh, 'NaN')) OVER whole AS low_speed
    FROM runs
    WINDOW whole AS (PARTITION BY run ORDER BY n ROWS BETWEEN UNBOUNDED PRECEDING AND UNBOUNDED FOLLOWING)
), bends AS (
    SELECT *,
           -- Twice the area of the triangle fix-first-last; where the run ends where it began, the distance from there.
           CASE WHEN lat_a = lat_b AND lon_a = lon_b
                THEN (lat_deg - lat_a) ^ 2 + ((lon_deg - lon_a) * cosd(lat_a)) ^ 2
                ELSE abs((lat_b - lat_a) * (lon_deg - lon_a) - (lon_b - lon_a) * (lat_deg - lat_a)) END AS off_line
    FROM ends
), candidates AS (
    -- Ranking every row of a long span would sort it three times: only those that can win are ranked.
    SELECT *
    FROM (SELECT *, max(off_line) OVER (PARTITION BY run) AS farthest FROM bends) AS measured
    WHERE total <= %(max_points)s OR n IN (first_n, last_n)
       OR off_line = farthest OR speed_kmh = top_speed OR speed_kmh = low_speed
), ranked AS (
    SELECT *,
           row_number() OVER (PARTITION BY run ORDER BY off_line DESC, n) AS bend,
           row_number() OVER (PARTITION BY run ORDER BY nullif(speed_kmh, 'NaN') DESC NULLS LAST, n) AS fast,
           row_number() OVER (PARTITION BY run ORDER BY nullif(speed_kmh, 'NaN') NULLS LAST, n) AS slow
    FROM candidates
)
SELECT total, device_time, seq, received_at, lat_deg, lon_deg, accuracy_m, speed_kmh, heading_deg, ignition, buffered
FROM ranked
WHERE total <= %(max_points)s OR n IN (first_n, last_n) OR bend = 1 OR fast = 1 OR slow = 1
ORDER BY n

-- name: health
-- Newest arrival of anything from a vehicle, and the migration level.
SELECT (SELECT max(received_at) FROM latest_positions),
       (SELECT max(number) FROM schema_migrations),
       current_setting('server_version')
