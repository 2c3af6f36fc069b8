-- name: lock_vehicle
-- One writer at a time gathers evidence of a vehicle, be it ingest, a person's report or a sweep; held to the commit.
SELECT pg_advisory_xact_lock(%(lock_class)s, hashtext(%(vehicle_id)s))

-- name: incident_near
-- The newest incident of a family to which evidence of a span belongs.
SELECT incident_id, kind, level, score, status, level_set_by, lower_level, lower_since,
       (extract(epoch FROM occurred_at) * 1000000)::bigint, (extract(epoch FROM last_evidence_at) * 1000000)::bigint
FROM incidents
WHERE vehicle_id = %(vehicle_id)s AND family = %(family)s
  AND occurred_at <= %(span_until)s::timestamptz + make_interval(secs => %(fuse_s)s)
  AND last_evidence_at >= %(span_from)s::timestamptz - make_interval(secs => %(fuse_s)s)
ORDER BY (status IN ('open', 'acknowledged')) DESC, occurred_at DESC
LIMIT 1

-- name: incident_by_id
-- The same of one incident.
SELECT incident_id, kind, level, score, status, level_set_by, lower_level, lower_since,
       (extract(epoch FROM occurred_at) * 1000000)::bigint, (extract(epoch FROM last_evidence_at) * 1000000)::bigint
FROM incidents
WHERE incident_id = %(incident_id)s
FOR UPDATE

-- name: place_at
-- Where a vehicle was at an instant: its newest valid fix until then, at most ten minutes old.
SELECT lat_deg, lon_deg FROM readings
WHERE vehicle_id = %(vehicle_id)s AND device_time <= %(at)s AND device_time > %(at)s::timestamptz - interval '10 minutes'
  AND lat_deg IS NOT NULL AND lon_deg IS NOT NULL AND fix_valid IS NOT FALSE AND (lat_deg <> 0 OR lon_deg <> 0)
ORDER BY device_time DESC, seq DESC
LIMIT 1

-- name: open_incident
-- Open a case.
INSERT INTO incidents (
    vehicle_id, family, kind, level, score, drill, occurred_at, detected_at, last_evidence_at, delay_s, lat_deg, lon_deg)
VALUES (
    %(vehicle_id)s, %(family)s, %(kind)s, %(level)s, %(score)s, %(drill)s, %(occurred_at)s, %(detected_at)s,
    %(last_evidence_at)s, %(delay_s)s, %(lat_deg)s, %(lon_deg)s)
RETURNING incident_id

-- name: regrade_incident
-- What the evidence supports now.
UPDATE incidents SET
    kind = %(kind)s, level = %(level)s, score = %(score)s,
    occurred_at = %(occurred_at)s, last_evidence_at = %(last_evidence_at)s,
    lower_level = %(lower_level)s, lower_since = %(lower_since)s, revision = revision + 1, changed_xid = DEFAULT
WHERE incident_id = %(incident_id)s

-- name: reopen_incident
-- Graver evidence came for a case that was closed.
UPDATE incidents SET
    status = 'open', closed_at = NULL, closed_by = NULL, close_reason = NULL, acknowledged_at = NULL,
    acknowledged_by = NULL, revision = revision + 1, changed_xid = DEFAULT
WHERE incident_id = %(incident_id)s

-- name: attach_detection
-- A detection belongs to a case.
UPDATE detections SET incident_id = %(incident_id)s, changed_xid = DEFAULT WHERE detection_id = %(detection_id)s

-- name: incident_of_detection
-- The case a detection belongs to.
SELECT incident_id FROM detections WHERE detection_id = %(detection_id)s

-- name: attach_evidence
-- Evidence that is no detection, once however often it comes.
INSERT INTO incident_evidence (
    incident_id, source, reference, kind, level, score, occurred_at, attached_at, measured, reasons)
VALUES (
    %(incident_id)s, %(source)s, %(reference)s, %(kind)s, %(level)s, %(score)s, %(occurred_at)s, %(attached_at)s,
    %(measured)s::jsonb, %(reasons)s::jsonb)
ON CONFLICT (incident_id, source, reference) DO NOTHING
RETURNING evidence_id

-- name: evidence_of
-- All that stands for a case.
SELECT 'detection', detection_id::text, kind, level, score, (extract(epoch FROM occurred_at) * 1000000)::bigint,
       (extract(epoch FROM ended_at) * 1000000)::bigint, measured::text
FROM detections WHERE incident_id = %(incident_id)s AND standing
UNION ALL
SELECT source, reference, kind, level, score, (extract(epoch FROM occurred_at) * 1000000)::bigint,
       (extract(epoch FROM occurred_at) * 1000000)::bigint, measured::text
FROM incident_evidence WHERE incident_id = %(incident_id)s
ORDER BY 1, 2

-- name: loose_detections
-- Detections near a case that belong to none yet: what was recorded before there was a case.
SELECT detection_id, kind FROM detections
WHERE vehicle_id = %(vehicle_id)s AND standing AND incident_id IS NULL
  AND ended_at >= %(span_from)s::timestamptz - make_interval(secs => %(near_s)s)
  AND started_at <= %(span_until)s::timestamptz + make_interval(secs => %(near_s)s)

-- name: note_event
-- One line of a case's timeline.
INSERT INTO incident_events (incident_id, at, actor, kind, reason, data)
VALUES (%(incident_id)s, %(at)s, %(actor)s, %(kind)s, %(reason)s, %(data)s::jsonb)

-- name: weather_at
-- Warnings that hold at an instant; where, is looked at in the polygons.
SELECT warning_id, kind, level, area::text, told FROM weather_warnings
WHERE valid_from <= %(at)s AND valid_until >= %(at)s

-- name: conditions_of
-- Trouble codes of a vehicle that stand for a while before an instant: its condition when something happened.
SELECT detection_id, level, measured::text, (extract(epoch FROM occurred_at) * 1000000)::bigint
FROM detections
WHERE vehicle_id = %(vehicle_id)s AND standing AND kind IN ('trouble_code', 'tyre_leak', 'overheating') AND level >= 2
  AND occurred_at <= %(at)s AND ended_at >= %(at)s::timestamptz - interval '7 days'

-- name: ring_incidents
-- Tell readers that incidents changed; the tables are the truth. At most once a transaction.
SELECT pg_notify('fleet_live', 'i')

-- name: lowering_due
-- Cases whose evidence has supported only a lower level for long enough to lower them.
SELECT incident_id, lower_level FROM incidents
WHERE status IN ('open', 'acknowledged') AND lower_level IS NOT NULL AND level_set_by IS NULL
  AND lower_since <= %(since)s
ORDER BY incident_id
LIMIT 200
FOR UPDATE SKIP LOCKED

-- name: case_place
-- Where and when a case is.
SELECT incident_id, vehicle_id, level, lat_deg, lon_deg, mass_incident_id, occurred_at, drill
FROM incidents WHERE incident_id = %(incident_id)s

-- name: cases_around
-- Open cases of a family near a place and an instant, the oldest first, and this one: a box, narrowed by distance later.
SELECT i.incident_id, i.vehicle_id, i.level, i.lat_deg, i.lon_deg, i.mass_incident_id
FROM incidents i
WHERE i.family = %(family)s AND i.drill = %(drill)s AND i.status IN ('open', 'acknowledged')
  AND i.occurred_at BETWEEN %(at)s::timestamptz - make_interval(secs => %(within_s)s)
                        AND %(at)s::timestamptz + make_interval(secs => %(within_s)s)
  AND i.lat_deg BETWEEN %(lat_deg)s::float8 - %(box_deg)s::float8 AND %(lat_deg)s::float8 + %(box_deg)s::float8
  AND i.lon_deg IS NOT NULL
ORDER BY i.incident_id
LIMIT 1000

-- name: join_mass
-- One incident stands for several.
UPDATE incidents SET mass_incident_id = %(mass_incident_id)s, revision = revision + 1, changed_xid = DEFAULT
WHERE incident_id = ANY(%(incident_ids)s) AND mass_incident_id IS DISTINCT FROM %(mass_incident_id)s
RETURNING incident_id
