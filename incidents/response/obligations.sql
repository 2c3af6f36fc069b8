-- name: require_obligation
-- Ask for something by a clock; what was waived is asked for again, with the clock it has now.
INSERT INTO obligations AS held (incident_id, kind, countermeasure_id, role, due_at, remind_at)
VALUES (%(incident_id)s, %(kind)s, %(countermeasure_id)s, %(role)s, %(due_at)s, %(remind_at)s)
ON CONFLICT (incident_id, kind, countermeasure_id) DO UPDATE SET
    waived_at = NULL, waived_because = NULL, role = excluded.role, due_at = excluded.due_at,
    remind_at = excluded.remind_at, done_at = NULL, done_by = NULL
WHERE held.waived_at IS NOT NULL OR (%(again)s AND held.done_at IS NOT NULL)
RETURNING obligation_id

-- name: obligations_held
-- The obligations of an incident that come from its policy and what became of them.
SELECT kind, done_at IS NOT NULL, waived_at IS NOT NULL FROM obligations
WHERE incident_id = %(incident_id)s AND countermeasure_id IS NULL

-- name: waive_obligations
-- No longer asked for, with the reason; what was done stays done.
UPDATE obligations SET waived_at = %(now)s, waived_because = %(because)s
WHERE incident_id = %(incident_id)s AND done_at IS NULL AND waived_at IS NULL
  AND (%(kinds)s::text[] IS NULL OR kind = ANY(%(kinds)s))
RETURNING kind

-- name: finish_obligation
-- It was done.
UPDATE obligations SET done_at = %(now)s, done_by = %(actor)s, note = %(note)s
WHERE obligation_id = %(obligation_id)s AND done_at IS NULL
RETURNING incident_id, kind, due_at

-- name: finish_obligation_of
-- Something was done by which an obligation is met.
UPDATE obligations SET done_at = %(now)s, done_by = %(actor)s, note = %(note)s
WHERE incident_id = %(incident_id)s AND kind = %(kind)s AND done_at IS NULL
  AND countermeasure_id IS NOT DISTINCT FROM %(countermeasure_id)s

-- name: obligation
-- The incident of an obligation, to lock it first, and its kind.
SELECT incident_id, kind FROM obligations WHERE obligation_id = %(obligation_id)s

-- name: obligations_of
-- The obligations of one incident, or all that are still open, by due time.
SELECT obligation_id, incident_id, kind, countermeasure_id, role, due_at, done_at, done_by, note, waived_at,
       waived_because, remind_at, reminders
FROM obligations
WHERE CASE WHEN %(incident_id)s::bigint IS NULL THEN done_at IS NULL AND waived_at IS NULL
           ELSE incident_id = %(incident_id)s END
ORDER BY due_at, obligation_id

-- name: reminders_due
-- Obligations whose reminder is due.
SELECT obligation_id, incident_id FROM obligations
WHERE remind_at <= %(now)s AND done_at IS NULL AND waived_at IS NULL
ORDER BY remind_at, obligation_id
LIMIT %(max_rows)s

-- name: reminder
-- One of them, once its incident is locked.
SELECT kind, role, due_at, reminders FROM obligations
WHERE obligation_id = %(obligation_id)s AND remind_at <= %(now)s AND done_at IS NULL AND waived_at IS NULL

-- name: mark_reminded
-- A reminder is in the outbox; the next one, if any.
UPDATE obligations SET reminders = reminders + 1, remind_at = %(remind_at)s WHERE obligation_id = %(obligation_id)s
