-- name: incidents_to_work_on
-- Incidents whose change the response has not followed yet, or in which something is due; the gravest first.
SELECT i.incident_id
FROM (
    SELECT incident_id, detected_at AS since FROM incidents WHERE followed_revision IS DISTINCT FROM revision
    UNION ALL
    SELECT incident_id, due_at FROM escalation_steps WHERE done_at IS NULL AND due_at <= %(now)s
) AS waiting
JOIN incidents AS i USING (incident_id)
WHERE i.incident_id <> ALL(%(but)s::bigint[])
GROUP BY i.incident_id
ORDER BY max(i.level) DESC, min(waiting.since), i.incident_id
LIMIT %(max_rows)s

-- name: freeze_policy
-- Keep the policy by which an incident is worked on; the first one stays.
UPDATE incidents SET policy = %(policy)s::jsonb, policy_version = %(version)s
WHERE incident_id = %(incident_id)s AND policy IS NULL

-- name: mark_followed
-- The response has taken notice of an incident as it is.
UPDATE incidents SET followed_revision = revision
WHERE incident_id = %(incident_id)s AND followed_revision IS DISTINCT FROM revision

-- name: take_back_acknowledgement
-- An acknowledgement was for a lower level.
UPDATE incidents SET
    status = 'open', acknowledged_at = NULL, acknowledged_by = NULL, revision = revision + 1, changed_xid = DEFAULT
WHERE incident_id = %(incident_id)s

-- name: stop_round
-- End the running round.
UPDATE escalations SET stopped_at = %(now)s, stopped_because = %(because)s
WHERE incident_id = %(incident_id)s AND stopped_at IS NULL

-- name: stop_steps
-- What was still to come of some purposes does not come any more.
UPDATE escalation_steps SET
    done_at = %(now)s, outcome = 'stopped', detail = jsonb_build_object('because', %(because)s::text)
WHERE incident_id = %(incident_id)s AND done_at IS NULL AND purpose = ANY(%(purposes)s)

-- name: start_round
-- Begin a round; one that calls nobody ends where it begins.
INSERT INTO escalations (incident_id, round, kind, level, occasion, started_at, stopped_at, stopped_because)
VALUES (
    %(incident_id)s, %(round)s, %(kind)s, %(level)s, %(occasion)s, %(started_at)s, %(stopped_at)s,
    %(stopped_because)s)

-- name: write_steps
-- What will be due, each once.
INSERT INTO escalation_steps (incident_id, round, purpose, step, repeat, role, due_at)
SELECT %(incident_id)s, %(round)s, * FROM unnest(
    %(purpose)s::text[], %(step)s::int[], %(repeat)s::int[], %(role)s::text[], %(due_at)s::timestamptz[])
ON CONFLICT (incident_id, round, purpose, step, repeat) DO NOTHING

-- name: due_steps
-- What is due of an incident, in order, with the round it belongs to. The incident is locked.
SELECT s.round, s.purpose, s.step, s.repeat, s.role, s.due_at, e.kind, e.level
FROM escalation_steps AS s JOIN escalations AS e USING (incident_id, round)
WHERE s.incident_id = %(incident_id)s AND s.done_at IS NULL AND s.due_at <= %(now)s
ORDER BY s.due_at, s.round, s.purpose, s.step, s.repeat

-- name: finish_step
-- A step is done.
UPDATE escalation_steps SET done_at = %(now)s, outcome = %(outcome)s, detail = %(detail)s::jsonb
WHERE incident_id = %(incident_id)s AND round = %(round)s AND purpose = %(purpose)s AND step = %(step)s
  AND repeat = %(repeat)s AND done_at IS NULL

-- name: steps_of
-- Everything that was or will be due of an incident: the proof that escalation ran.
SELECT s.round, e.level, s.purpose, s.step, s.repeat, s.role, s.due_at, s.done_at, s.outcome, s.detail
FROM escalation_steps AS s JOIN escalations AS e USING (incident_id, round)
WHERE s.incident_id = %(incident_id)s
ORDER BY s.round, s.due_at, s.purpose, s.step, s.repeat
