-- name: list_cases
-- One page of incidents, newest first, by (occurred_at, id); NULL parameters do not narrow.
SELECT i.incident_id, i.vehicle_id, v.plate, v.depot, i.family, i.kind, i.level, i.score, i.status, i.drill,
       i.occurred_at, i.detected_at, i.last_evidence_at, i.delay_s, i.lat_deg, i.lon_deg, i.acknowledged_at,
       i.acknowledged_by, i.assigned_to, i.closed_at, i.closed_by, i.close_reason, i.level_set_by, i.mass_incident_id,
       i.policy_version, i.revision
FROM incidents i LEFT JOIN vehicles v USING (vehicle_id)
WHERE (%(statuses)s::text[] IS NULL OR i.status = ANY(%(statuses)s))
  AND (%(min_level)s::int IS NULL OR i.level >= %(min_level)s)
  AND (%(vehicle_id)s::text IS NULL OR i.vehicle_id = %(vehicle_id)s)
  AND (%(family)s::text IS NULL OR i.family = %(family)s)
  AND (%(kind)s::text IS NULL OR i.kind = %(kind)s)
  AND (%(depot)s::text IS NULL OR v.depot = %(depot)s)
  AND (%(depots)s::text[] IS NULL OR v.depot = ANY(%(depots)s))
  AND (%(drill)s::boolean IS NULL OR i.drill = %(drill)s)
  AND (%(since)s::timestamptz IS NULL OR i.occurred_at >= %(since)s)
  AND (%(until)s::timestamptz IS NULL OR i.occurred_at < %(until)s)
  AND (%(before_at)s::timestamptz IS NULL OR (i.occurred_at, i.incident_id) < (%(before_at)s, %(before_id)s))
ORDER BY i.occurred_at DESC, i.incident_id DESC
LIMIT %(limit)s

-- name: case_by_id
-- One incident.
SELECT i.incident_id, i.vehicle_id, v.plate, v.depot, i.family, i.kind, i.level, i.score, i.status, i.drill,
       i.occurred_at, i.detected_at, i.last_evidence_at, i.delay_s, i.lat_deg, i.lon_deg, i.acknowledged_at,
       i.acknowledged_by, i.assigned_to, i.closed_at, i.closed_by, i.close_reason, i.level_set_by, i.mass_incident_id,
       i.policy_version, i.revision
FROM incidents i LEFT JOIN vehicles v USING (vehicle_id)
WHERE i.incident_id = %(incident_id)s

-- name: timeline_of
-- Everything that happened to an incident, in order.
SELECT event_id, at, actor, kind, reason, data FROM incident_events WHERE incident_id = %(incident_id)s ORDER BY event_id

-- name: detections_of
-- Detections, newest first; NULL parameters do not narrow.
SELECT detection_id, vehicle_id, kind, subject, detector, version, level, score, started_at, occurred_at, ended_at,
       measured, reasons, first_judged_at, delay_s, judged_at, stale, standing, drill, incident_id
FROM detections
WHERE (%(incident_id)s::bigint IS NULL OR incident_id = %(incident_id)s)
  AND (%(vehicle_id)s::text IS NULL OR vehicle_id = %(vehicle_id)s)
  AND (%(kind)s::text IS NULL OR kind = %(kind)s)
  AND (%(since)s::timestamptz IS NULL OR ended_at >= %(since)s)
  AND (%(until)s::timestamptz IS NULL OR started_at < %(until)s)
  AND (%(with_withdrawn)s OR standing)
  AND (%(depots)s::text[] IS NULL
       OR vehicle_id IN (SELECT v.vehicle_id FROM vehicles v WHERE v.depot = ANY(%(depots)s)))
ORDER BY occurred_at DESC, detection_id DESC
LIMIT %(limit)s

-- name: judgements_of
-- How a detection was judged over time.
SELECT judged_at, change, version, level, score, reasons, measured, into_detection
FROM detection_judgements WHERE detection_id = %(detection_id)s ORDER BY judgement_id

-- name: other_evidence_of
-- Evidence of an incident that is no detection.
SELECT evidence_id, source, reference, kind, level, score, occurred_at, attached_at, measured, reasons
FROM incident_evidence WHERE incident_id = %(incident_id)s ORDER BY occurred_at, evidence_id

-- name: case_counts
-- The incident database by kind: how many, how grave, how long people took, how many were false. Drills apart.
SELECT kind, family, count(*),
       count(*) FILTER (WHERE level = 1), count(*) FILTER (WHERE level = 2), count(*) FILTER (WHERE level = 3),
       count(*) FILTER (WHERE status = 'dismissed'), count(DISTINCT vehicle_id),
       percentile_cont(0.5) WITHIN GROUP (ORDER BY extract(epoch FROM acknowledged_at - detected_at)),
       percentile_cont(0.5) WITHIN GROUP (ORDER BY extract(epoch FROM closed_at - detected_at)),
       max(occurred_at)
FROM incidents
WHERE drill = %(drill)s AND occurred_at >= %(since)s AND occurred_at < %(until)s
  AND (%(depots)s::text[] IS NULL
       OR vehicle_id IN (SELECT v.vehicle_id FROM vehicles v WHERE v.depot = ANY(%(depots)s)))
GROUP BY kind, family
ORDER BY count(*) DESC, kind

-- name: drill_report
-- How incidents of drills were answered: seconds from the event to each step; NULL where it has not come.
SELECT i.incident_id, i.vehicle_id, i.kind, i.level, i.status, i.occurred_at, i.detected_at,
       extract(epoch FROM i.detected_at - i.occurred_at)::float8,
       extract(epoch FROM n.first_sent_at - i.detected_at)::float8,
       extract(epoch FROM i.acknowledged_at - i.detected_at)::float8,
       extract(epoch FROM i.closed_at - i.detected_at)::float8,
       i.acknowledged_by, coalesce(n.sent, 0), coalesce(n.failed, 0), coalesce(s.roles, '{}')
FROM incidents i
LEFT JOIN LATERAL (
    SELECT min(sent_at) AS first_sent_at, count(*) FILTER (WHERE state = 'sent') AS sent,
           count(*) FILTER (WHERE state = 'failed') AS failed
    FROM outbox WHERE outbox.incident_id = i.incident_id) n ON true
LEFT JOIN LATERAL (
    SELECT array_agg(DISTINCT role ORDER BY role) AS roles FROM escalation_steps
    WHERE escalation_steps.incident_id = i.incident_id AND done_at IS NOT NULL) s ON true
WHERE i.drill AND i.occurred_at >= %(since)s AND i.occurred_at < %(until)s
  AND (%(depots)s::text[] IS NULL
       OR i.vehicle_id IN (SELECT v.vehicle_id FROM vehicles v WHERE v.depot = ANY(%(depots)s)))
ORDER BY i.occurred_at, i.incident_id
LIMIT %(limit)s

-- name: changed_cases
-- Incidents changed by no transaction seen before, bounded; the count says how many there were in all.
SELECT count(*) OVER (), incident_id, vehicle_id, family, kind, level, status, drill, occurred_at, detected_at,
       delay_s, lat_deg, lon_deg, acknowledged_by, assigned_to, revision
FROM incidents
WHERE changed_xid >= pg_snapshot_xmin(%(seen)s::pg_snapshot)
  AND NOT pg_visible_in_snapshot(changed_xid, %(seen)s::pg_snapshot)
ORDER BY level DESC, occurred_at DESC, incident_id
LIMIT %(limit)s

-- name: insert_report
-- Keep what somebody told us; nothing comes back when the same request was kept before.
INSERT INTO reports (
    vehicle_id, reported_at, occurred_at, kind, reporter, contact, injured, drivable, told, lat_deg, lon_deg, taken_by,
    drill, request_key)
VALUES (
    %(vehicle_id)s, %(reported_at)s, %(occurred_at)s, %(kind)s, %(reporter)s, %(contact)s, %(injured)s, %(drivable)s,
    %(told)s, %(lat_deg)s, %(lon_deg)s, %(taken_by)s, %(drill)s, %(request_key)s)
ON CONFLICT (request_key) DO NOTHING
RETURNING report_id

-- name: report_by_key
-- The report a request was kept as.
SELECT report_id, incident_id FROM reports WHERE request_key = %(request_key)s

-- name: set_report_incident
-- Which incident a report belongs to.
UPDATE reports SET incident_id = %(incident_id)s WHERE report_id = %(report_id)s

-- name: vehicle_exists
-- Whether there is such a vehicle.
SELECT 1 FROM vehicles WHERE vehicle_id = %(vehicle_id)s

-- name: upsert_warning
-- Keep a weather warning; the same one sent again replaces what it said.
INSERT INTO weather_warnings AS held (
    source, source_key, kind, level, area, valid_from, valid_until, told, received_at)
VALUES (
    %(source)s, %(source_key)s, %(kind)s, %(level)s, %(area)s::jsonb, %(valid_from)s, %(valid_until)s, %(told)s,
    %(received_at)s)
ON CONFLICT (source, source_key) DO UPDATE SET
    kind = excluded.kind, level = excluded.level, area = excluded.area, valid_from = excluded.valid_from,
    valid_until = excluded.valid_until, told = excluded.told, received_at = excluded.received_at
RETURNING warning_id

-- name: cases_in_time
-- Collisions being worked on in a span, with a place: those a warning may explain.
SELECT incident_id, occurred_at, lat_deg, lon_deg FROM incidents
WHERE family = 'collision' AND status IN ('open', 'acknowledged') AND lat_deg IS NOT NULL AND lon_deg IS NOT NULL
  AND occurred_at BETWEEN %(valid_from)s AND %(valid_until)s

-- name: warnings_now
-- Warnings that hold at some time from an instant on, soonest first.
SELECT warning_id, source, source_key, kind, level, area, valid_from, valid_until, told, received_at
FROM weather_warnings WHERE valid_until >= %(at)s ORDER BY valid_from, warning_id LIMIT 500

-- name: fences_all
-- Geofences by id; for some depots those that concern one of their vehicles, naming no others.
SELECT g.fence_id, g.name, g.area, g.rules, g.level, g.dwell_s, g.speed_limit_kmh,
       CASE WHEN %(depots)s::text[] IS NULL OR g.vehicle_ids IS NULL THEN g.vehicle_ids ELSE named.vehicle_ids END
           AS vehicle_ids,
       g.retired_at, g.revision, g.changed_at
FROM geofences g
CROSS JOIN LATERAL (
    SELECT array_agg(v.vehicle_id ORDER BY v.vehicle_id) AS vehicle_ids FROM vehicles v
    WHERE v.vehicle_id = ANY(g.vehicle_ids) AND v.depot = ANY(%(depots)s::text[])) AS named
WHERE g.fence_id > %(after)s AND (%(with_retired)s OR g.retired_at IS NULL)
  AND (%(depots)s::text[] IS NULL OR g.vehicle_ids IS NULL OR named.vehicle_ids IS NOT NULL)
ORDER BY fence_id LIMIT %(limit)s

-- name: fence_by_id
-- One geofence.
SELECT fence_id, name, area, rules, level, dwell_s, speed_limit_kmh, vehicle_ids, retired_at, revision, changed_at
FROM geofences WHERE fence_id = %(fence_id)s

-- name: insert_fence
-- Create a geofence; nothing comes back when the id is taken.
INSERT INTO geofences (fence_id, name, area, rules, level, dwell_s, speed_limit_kmh, vehicle_ids)
VALUES (
    %(fence_id)s, %(name)s, %(area)s::jsonb, %(rules)s, %(level)s, %(dwell_s)s, %(speed_limit_kmh)s, %(vehicle_ids)s)
ON CONFLICT (fence_id) DO NOTHING
RETURNING fence_id, name, area, rules, level, dwell_s, speed_limit_kmh, vehicle_ids, retired_at, revision, changed_at

-- name: update_fence
-- Change a geofence only if it still is at the revision the editor saw.
UPDATE geofences SET
    name = %(name)s, area = %(area)s::jsonb, rules = %(rules)s, level = %(level)s, dwell_s = %(dwell_s)s,
    speed_limit_kmh = %(speed_limit_kmh)s, vehicle_ids = %(vehicle_ids)s,
    retired_at = CASE WHEN %(retired)s THEN coalesce(retired_at, now()) END, revision = revision + 1,
    changed_at = clock_timestamp()
WHERE fence_id = %(fence_id)s AND revision = %(revision)s
RETURNING fence_id, name, area, rules, level, dwell_s, speed_limit_kmh, vehicle_ids, retired_at, revision, changed_at
