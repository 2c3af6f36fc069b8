-- name: hours_due
-- Whole hours whose facts are to be computed: they are over, and so is the time in which their readings usually come.
SELECT vehicle_id, hour FROM vehicle_hours_due
WHERE hour < %(now)s::timestamptz - interval '65 minutes'
ORDER BY hour, vehicle_id
LIMIT %(max_rows)s
FOR UPDATE SKIP LOCKED

-- name: keep_hours
-- Keep facts of hours.
INSERT INTO vehicle_hours (vehicle_id, hour, facts, computed_at)
SELECT u.vehicle_id, u.hour, u.facts, %(now)s
FROM unnest(%(vehicle_ids)s::text[], %(hours)s::timestamptz[], %(facts)s::jsonb[]) AS u (vehicle_id, hour, facts)
ON CONFLICT (vehicle_id, hour) DO UPDATE SET facts = excluded.facts, computed_at = excluded.computed_at

-- name: hours_computed
-- Their facts are known.
DELETE FROM vehicle_hours_due d
USING unnest(%(vehicle_ids)s::text[], %(hours)s::timestamptz[]) AS u (vehicle_id, hour)
WHERE d.vehicle_id = u.vehicle_id COLLATE "C" AND d.hour = u.hour

-- name: swept_until
-- When a detector last looked.
SELECT swept_until FROM sweeps_done WHERE detector = %(detector)s FOR UPDATE

-- name: note_swept
-- A detector has looked.
INSERT INTO sweeps_done (detector, swept_until) VALUES (%(detector)s, %(now)s)
ON CONFLICT (detector) DO UPDATE SET swept_until = excluded.swept_until

-- name: candidates_active
-- Vehicles that sent a reading since the last look.
SELECT vehicle_id FROM latest_positions
WHERE received_at >= %(since)s AND received_at <= %(now)s
ORDER BY vehicle_id

-- name: candidates_moving
-- Vehicles whose newest reading is fresh and moves.
SELECT vehicle_id FROM latest_positions
WHERE received_at >= %(since)s AND received_at <= %(now)s AND speed_kmh >= 5
ORDER BY vehicle_id

-- name: candidates_long_moving
-- Vehicles that move and have moved in every 20 minutes of the last three hours and twenty minutes (heavy: of the last
-- hour and forty): whoever rested is not even read.
SELECT p.vehicle_id
FROM latest_positions p JOIN vehicles v USING (vehicle_id)
WHERE p.received_at >= %(since)s AND p.received_at <= %(now)s AND p.last_reading_at >= %(now)s::timestamptz - interval '30 minutes'
  AND (SELECT bool_and(EXISTS (
        SELECT 1 FROM readings r
        WHERE r.vehicle_id = p.vehicle_id
          AND r.device_time > p.last_reading_at - make_interval(mins => 20 * (n + 1))
          AND r.device_time <= p.last_reading_at - make_interval(mins => 20 * n)
          AND r.speed_kmh >= 5
        LIMIT 1))
       FROM generate_series(0, CASE WHEN v.vehicle_class = 'heavy' THEN 4 ELSE 9 END) AS n)
ORDER BY p.vehicle_id

-- name: candidates_silent
-- Vehicles that sent nothing for a minute, and something in the last day.
SELECT vehicle_id FROM latest_positions
WHERE received_at < %(now)s::timestamptz - interval '1 minute' AND received_at >= %(now)s::timestamptz - interval '1 day'
ORDER BY vehicle_id

-- name: candidates_hourly
-- Vehicles of which facts of an hour became known since the last look.
SELECT DISTINCT vehicle_id FROM vehicle_hours
WHERE computed_at >= %(since)s AND computed_at <= %(now)s
ORDER BY vehicle_id

-- name: late_spans
-- Spans that late readings touched.
SELECT due_id, vehicle_id, (extract(epoch FROM span_from) * 1000000)::bigint,
       (extract(epoch FROM span_until) * 1000000)::bigint
FROM sweeps_due ORDER BY due_id LIMIT %(max_rows)s
FOR UPDATE SKIP LOCKED

-- name: late_spans_done
-- They were looked at.
DELETE FROM sweeps_due WHERE due_id = ANY(%(due_ids)s)

-- name: revisits_due
-- Detections that wait for silence, whose time has come.
SELECT detection_id, detector, vehicle_id, (extract(epoch FROM started_at) * 1000000)::bigint,
       (extract(epoch FROM ended_at) * 1000000)::bigint
FROM detections
WHERE standing AND revisit_at IS NOT NULL AND revisit_at <= %(now)s
ORDER BY revisit_at LIMIT %(max_rows)s

-- name: revisited
-- Looked at: not again before something new is known.
UPDATE detections SET revisit_at = NULL
WHERE detection_id = ANY(%(detection_ids)s) AND revisit_at <= %(now)s
