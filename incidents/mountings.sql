-- name: keep_mounting
-- Keep how a device sits; the same stretch learned again changes nothing.
INSERT INTO mountings (vehicle_id, learned_from, learned_until, rotation, quality)
VALUES (%(vehicle_id)s, to_timestamp(%(learned_from_us)s / 1000000.0), to_timestamp(%(learned_until_us)s / 1000000.0),
        %(rotation)s::double precision[], %(quality)s)
ON CONFLICT (vehicle_id, learned_until) DO NOTHING
