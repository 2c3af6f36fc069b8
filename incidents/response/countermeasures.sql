-- name: insert_countermeasure
-- What keeps it from happening again.
INSERT INTO countermeasures (
    incident_id, cause, countermeasure, owner, due_on, check_on, created_at, created_by)
VALUES (
    %(incident_id)s, %(cause)s, %(countermeasure)s, %(owner)s, %(due_on)s, %(check_on)s, %(now)s, %(actor)s)
RETURNING countermeasure_id

-- name: finish_countermeasure
-- It was carried out.
UPDATE countermeasures SET done_at = %(now)s, done_by = %(actor)s, note = coalesce(%(note)s, note)
WHERE countermeasure_id = %(countermeasure_id)s AND done_at IS NULL

-- name: check_countermeasure
-- Somebody looked whether it worked.
UPDATE countermeasures SET
    checked_at = %(now)s, checked_by = %(actor)s, worked = %(worked)s, note = coalesce(%(note)s, note)
WHERE countermeasure_id = %(countermeasure_id)s AND done_at IS NOT NULL AND checked_at IS NULL

-- name: countermeasures
-- Countermeasures of an incident, or one of them.
SELECT countermeasure_id, incident_id, cause, countermeasure, owner, due_on, check_on, created_at, created_by, done_at,
       done_by, checked_at, checked_by, worked, note
FROM countermeasures
WHERE incident_id = %(incident_id)s OR countermeasure_id = %(countermeasure_id)s
ORDER BY countermeasure_id
