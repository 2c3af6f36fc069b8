-- name: current_snapshot
-- What the following reads of this transaction see; the next read asks for everything outside it.
SELECT pg_current_snapshot()::text

-- name: positions
-- Live state of vehicles with a fix that moved in no transaction seen before (all of them when there was no read
-- before), packed into one row of big-endian columns: decoding ten thousand rows one by one would hold up the sockets.
SELECT count(*),
       coalesce(string_agg(p.vehicle_id, ','), ''),
       coalesce(string_agg(float8send(p.lat_deg), ''), ''),
       coalesce(string_agg(float8send(p.lon_deg), ''), ''),
       coalesce(string_agg(int8send((extract(epoch FROM p.device_time) * 1000)::bigint), ''), ''),
       coalesce(string_agg(float8send(coalesce(p.speed_kmh, 'NaN')), ''), ''),
       coalesce(string_agg(float8send(coalesce(p.heading_deg, 'NaN')), ''), ''),
       coalesce(string_agg(int2send(CASE WHEN p.ignition THEN 1 WHEN NOT p.ignition THEN 0 ELSE -1 END::int2), ''), '')
FROM latest_positions p
WHERE p.device_time IS NOT NULL AND p.lat_deg IS NOT NULL AND p.lon_deg IS NOT NULL
  AND (%(seen)s::pg_snapshot IS NULL
       OR (p.changed_xid >= pg_snapshot_xmin(%(seen)s::pg_snapshot)
           AND NOT pg_visible_in_snapshot(p.changed_xid, %(seen)s::pg_snapshot)))

-- name: depots_of_vehicles
-- Which depot each vehicle is in, for clients who are shown some.
SELECT vehicle_id, depot FROM vehicles WHERE depot IS NOT NULL

-- name: retired_vehicles
-- Vehicles that are not shown although the store still has their last position.
SELECT vehicle_id FROM vehicles WHERE retired_at IS NOT NULL

-- name: alarms
-- Alarms stored by no transaction seen before, newest first and bounded; the count says how many there were in all.
SELECT count(*) OVER (), vehicle_id, kind, occurred_at, device_time, received_at, clock_valid,
       body->'lat_deg', body->'lon_deg', body->'crs'
FROM device_events
WHERE stream = 'alarm'
  AND changed_xid >= pg_snapshot_xmin(%(seen)s::pg_snapshot)
  AND NOT pg_visible_in_snapshot(changed_xid, %(seen)s::pg_snapshot)
ORDER BY received_at DESC, vehicle_id, device_time DESC, seq DESC
LIMIT %(limit)s
