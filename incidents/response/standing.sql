-- name: lock_incident
-- Hold an incident to the commit: whoever works on its response does this first.
SELECT incident_id FROM incidents WHERE incident_id = %(incident_id)s FOR NO KEY UPDATE

-- name: lock_incident_if_free
-- The same, but not of one that somebody is just working on: its turn comes at the next tick.
SELECT incident_id FROM incidents WHERE incident_id = %(incident_id)s FOR NO KEY UPDATE SKIP LOCKED

-- name: standing
-- An incident as far as the response asks, with its newest round.
SELECT i.incident_id, i.kind, i.level, i.status, i.detected_at, v.depot, i.acknowledged_by, i.closed_by, m.incident_id,
       i.family, i.vehicle_id, v.plate, i.occurred_at, i.delay_s, i.lat_deg, i.lon_deg, i.drill, i.revision,
       i.followed_revision, i.score,
       coalesce(i.injured, EXISTS (SELECT 1 FROM reports r WHERE r.incident_id = i.incident_id AND r.injured)),
       i.policy, e.round, e.kind, e.level, e.stopped_at IS NULL
FROM incidents AS i
LEFT JOIN vehicles AS v USING (vehicle_id)
-- An incident that stands for many calls for all of them, as long as it is not found to be none.
LEFT JOIN incidents AS m
    ON m.incident_id = i.mass_incident_id AND m.incident_id <> i.incident_id AND m.status <> 'dismissed'
       AND m.level >= i.level
LEFT JOIN LATERAL (
    SELECT round, kind, level, stopped_at FROM escalations
    WHERE incident_id = i.incident_id ORDER BY round DESC LIMIT 1) AS e ON true
WHERE i.incident_id = %(incident_id)s
