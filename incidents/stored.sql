-- name: vehicles_of
-- Class and newest mounting of vehicles; a device that came loose since sits nobody knows how.
SELECT v.vehicle_id, v.vehicle_class, m.rotation, m.quality,
       (extract(epoch FROM m.learned_from) * 1000000)::bigint, (extract(epoch FROM m.learned_until) * 1000000)::bigint
FROM vehicles v
LEFT JOIN LATERAL (
    SELECT rotation, quality, learned_from, learned_until FROM mountings
    WHERE mountings.vehicle_id = v.vehicle_id
      AND NOT EXISTS (
        SELECT FROM detections d
        WHERE d.vehicle_id = v.vehicle_id AND d.standing AND d.kind = 'loose_mounting'
          AND d.ended_at > mountings.learned_until)
    ORDER BY learned_until DESC LIMIT 1) m ON true
WHERE v.vehicle_id = ANY(%(vehicle_ids)s)

-- name: readings_in
-- Readings of each span as one row of packed big-endian arrays: `array_send` of all number and flag columns in the order
-- of fleet_core.columns, absent as NaN or -1. Decoding values one by one would cost more than judging them.
SELECT s.ordinality, count(r.vehicle_id),
       coalesce(string_agg(timestamptz_send(r.device_time), '' ORDER BY r.device_time, r.seq), ''),
       coalesce(string_agg(int8send(r.seq), '' ORDER BY r.device_time, r.seq), ''),
       coalesce(string_agg(timestamptz_send(r.received_at), '' ORDER BY r.device_time, r.seq), ''),
       coalesce(string_agg(array_send(ARRAY[
           coalesce(r.lat_deg, 'NaN'), coalesce(r.lon_deg, 'NaN'), coalesce(r.altitude_m, 'NaN'),
           coalesce(r.accuracy_m, 'NaN'), coalesce(r.hdop, 'NaN'), coalesce(r.satellites, 'NaN'),
           coalesce(r.speed_kmh, 'NaN'), coalesce(r.obd_speed_kmh, 'NaN'), coalesce(r.heading_deg, 'NaN'),
           coalesce(r.accel_x_mps2, 'NaN'), coalesce(r.accel_y_mps2, 'NaN'), coalesce(r.accel_z_mps2, 'NaN'),
           coalesce(r.gyro_x_dps, 'NaN'), coalesce(r.gyro_y_dps, 'NaN'), coalesce(r.gyro_z_dps, 'NaN'),
           coalesce(r.odometer_km, 'NaN'), coalesce(r.fuel_pct, 'NaN'), coalesce(r.soc_pct, 'NaN'),
           coalesce(r.rpm, 'NaN'), coalesce(r.engine_hours, 'NaN'), coalesce(r.coolant_c, 'NaN'),
           coalesce(r.battery_v, 'NaN'), coalesce(r.external_v, 'NaN'), coalesce(r.ignition::int::float8, -1),
           coalesce(r.brake::int::float8, -1), coalesce(r.brake_pct, 'NaN'), coalesce(r.throttle_pct, 'NaN'),
           coalesce(r.steering_deg, 'NaN'), coalesce(r.gear, 'NaN'), coalesce(r.seatbelt_driver::int::float8, -1),
           coalesce(r.door_open::int::float8, -1), coalesce(r.tyre_fl_kpa, 'NaN'), coalesce(r.tyre_fr_kpa, 'NaN'),
           coalesce(r.tyre_rl_kpa, 'NaN'), coalesce(r.tyre_rr_kpa, 'NaN'), coalesce(r.ambient_c, 'NaN'),
           coalesce(r.speed_limit_kmh, 'NaN'), coalesce(r.accel_gravity::int::float8, -1),
           coalesce(r.fix_valid::int::float8, -1), coalesce(r.buffered::int::float8, -1),
           coalesce(r.lat_sent_deg, 'NaN'), coalesce(r.lon_sent_deg, 'NaN')]), '' ORDER BY r.device_time, r.seq), ''),
       (SELECT (extract(epoch FROM p.last_reading_at) * 1000000)::bigint FROM latest_positions p
        WHERE p.vehicle_id = s.vehicle_id)
FROM unnest(%(vehicle_ids)s::text[], %(span_from)s::timestamptz[], %(span_until)s::timestamptz[])
     WITH ORDINALITY AS s (vehicle_id, span_from, span_until, ordinality)
LEFT JOIN readings r ON r.vehicle_id = s.vehicle_id COLLATE "C" AND r.device_time BETWEEN s.span_from AND s.span_until
GROUP BY s.ordinality, s.vehicle_id
ORDER BY s.ordinality

-- name: widen_spans
-- Each span widened to some readings before it (at most a week back) and one after it.
SELECT (extract(epoch FROM coalesce(
           (SELECT min(b.device_time) FROM (
                SELECT r.device_time FROM readings r
                WHERE r.vehicle_id = s.vehicle_id COLLATE "C" AND r.device_time < s.span_from
                  AND r.device_time > s.span_from - interval '7 days'
                ORDER BY r.device_time DESC, r.seq DESC LIMIT %(back)s) b), s.span_from)) * 1000000)::bigint,
       (extract(epoch FROM coalesce(
           (SELECT r.device_time FROM readings r
            WHERE r.vehicle_id = s.vehicle_id COLLATE "C" AND r.device_time > s.span_until
              AND r.device_time < s.span_until + interval '7 days'
            ORDER BY r.device_time, r.seq LIMIT 1), s.span_until)) * 1000000)::bigint
FROM unnest(%(vehicle_ids)s::text[], %(span_from)s::timestamptz[], %(span_until)s::timestamptz[])
     WITH ORDINALITY AS s (vehicle_id, span_from, span_until, ordinality)
ORDER BY s.ordinality

-- name: events_in
-- Device events of spans and streams, by span and time.
SELECT s.ordinality, e.stream, (extract(epoch FROM e.occurred_at) * 1000000)::bigint,
       (extract(epoch FROM e.received_at) * 1000000)::bigint, e.seq, e.kind, e.body::text, e.clock_valid
FROM unnest(%(vehicle_ids)s::text[], %(span_from)s::timestamptz[], %(span_until)s::timestamptz[])
     WITH ORDINALITY AS s (vehicle_id, span_from, span_until, ordinality)
JOIN device_events e ON e.vehicle_id = s.vehicle_id COLLATE "C" AND e.stream = ANY(%(streams)s)
     AND e.occurred_at BETWEEN s.span_from AND s.span_until
ORDER BY s.ordinality, e.occurred_at, e.seq

-- name: hours_in
-- Facts of the hours of spans.
SELECT s.ordinality, (extract(epoch FROM h.hour) * 1000000)::bigint, h.facts::text
FROM unnest(%(vehicle_ids)s::text[], %(span_from)s::timestamptz[], %(span_until)s::timestamptz[])
     WITH ORDINALITY AS s (vehicle_id, span_from, span_until, ordinality)
JOIN vehicle_hours h ON h.vehicle_id = s.vehicle_id COLLATE "C" AND h.hour BETWEEN s.span_from AND s.span_until
ORDER BY s.ordinality, h.hour

-- name: detections_near
-- Standing detections of vehicles that touch one of the spans, each once.
SELECT DISTINCT ON (d.detection_id) d.detection_id, d.vehicle_id, d.detector, d.version, d.kind, d.subject, d.level,
       d.score, (extract(epoch FROM d.occurred_at) * 1000000)::bigint,
       (extract(epoch FROM d.started_at) * 1000000)::bigint, (extract(epoch FROM d.ended_at) * 1000000)::bigint,
       d.measured::text, d.reasons::text, (extract(epoch FROM d.revisit_at) * 1000000)::bigint
FROM unnest(%(vehicle_ids)s::text[], %(span_from)s::timestamptz[], %(span_until)s::timestamptz[])
     AS s (vehicle_id, span_from, span_until)
JOIN detections d ON d.standing AND d.vehicle_id = s.vehicle_id COLLATE "C" AND d.ended_at >= s.span_from
     AND d.started_at <= s.span_until
ORDER BY d.detection_id

-- name: find_detection
-- Keep a detection for the first time. A sweep that looks at the same silence may have been faster: then it is revised.
INSERT INTO detections (
    vehicle_id, kind, subject, detector, version, level, score, started_at, occurred_at, ended_at, measured, reasons,
    revisit_at, first_judged_at, delay_s, judged_at, stale, drill)
VALUES (
    %(vehicle_id)s, %(kind)s, %(subject)s, %(detector)s, %(version)s, %(level)s, %(score)s, %(started_at)s,
    %(occurred_at)s, %(ended_at)s, %(measured)s::jsonb, %(reasons)s::jsonb, %(revisit_at)s, %(judged_at)s,
    extract(epoch FROM %(judged_at)s::timestamptz - %(ended_at)s::timestamptz), %(judged_at)s, %(stale)s, %(drill)s)
ON CONFLICT (vehicle_id, detector, kind, subject, started_at) WHERE standing DO UPDATE SET
    version = excluded.version, level = excluded.level, score = excluded.score, occurred_at = excluded.occurred_at,
    ended_at = excluded.ended_at, measured = excluded.measured, reasons = excluded.reasons,
    revisit_at = excluded.revisit_at, judged_at = excluded.judged_at, changed_xid = DEFAULT
RETURNING detection_id

-- name: revise_detection
-- Judge a detection anew.
UPDATE detections SET
    version = %(version)s, level = %(level)s, score = %(score)s, started_at = %(started_at)s,
    occurred_at = %(occurred_at)s, ended_at = %(ended_at)s, measured = %(measured)s::jsonb,
    reasons = %(reasons)s::jsonb, revisit_at = %(revisit_at)s, judged_at = %(judged_at)s, changed_xid = DEFAULT
WHERE detection_id = %(detection_id)s

-- name: withdraw_detection
-- What came later showed otherwise, or made it part of another.
UPDATE detections SET standing = false, revisit_at = NULL, judged_at = %(judged_at)s, changed_xid = DEFAULT
WHERE detection_id = %(detection_id)s

-- name: note_judgement
-- Every judgement stays, with the version of the rule that made it.
INSERT INTO detection_judgements (
    detection_id, judged_at, change, version, level, score, reasons, measured, into_detection)
VALUES (
    %(detection_id)s, %(judged_at)s, %(change)s, %(version)s, %(level)s, %(score)s, %(reasons)s::jsonb,
    %(measured)s::jsonb, %(into_detection)s)

-- name: note_fault
-- A detector failed on a window.
INSERT INTO detector_faults (detector, version, vehicle_id, span_from, span_until, error, failed_at)
VALUES (%(detector)s, %(version)s, %(vehicle_id)s, %(span_from)s, %(span_until)s, %(error)s, %(failed_at)s)

-- name: fences_changed
-- Tells whether an index of fences is still the newest: number of rows, newest change.
SELECT count(*), max(changed_at) FROM geofences

-- name: fences
-- Geofences in service.
SELECT fence_id, name, area::text, rules, level, dwell_s, speed_limit_kmh, vehicle_ids
FROM geofences WHERE retired_at IS NULL ORDER BY fence_id

-- name: hours_touched
-- Note hours whose facts must be computed.
INSERT INTO vehicle_hours_due (vehicle_id, hour)
SELECT * FROM unnest(%(vehicle_ids)s::text[], %(hours)s::timestamptz[])
ON CONFLICT DO NOTHING

-- name: sweep_later
-- Note spans that late readings touched.
INSERT INTO sweeps_due (vehicle_id, span_from, span_until)
SELECT * FROM unnest(%(vehicle_ids)s::text[], %(span_from)s::timestamptz[], %(span_until)s::timestamptz[])
