-- name: queue_notices
-- Put notices into the outbox; one that is there already, by its key, is not put there again.
INSERT INTO outbox (
    incident_id, round, purpose, step, repeat, level, person_id, channel_kind, target, language, subject, body, facts,
    idempotency_key, created_at, next_try_at, drill)
SELECT incident_id, round, purpose, step, repeat, level, person_id, channel_kind, target, language, subject, body,
       facts, idempotency_key, %(now)s::timestamptz, %(now)s::timestamptz, drill
FROM unnest(
    %(incident_id)s::bigint[], %(round)s::int[], %(purpose)s::text[], %(step)s::int[], %(repeat)s::int[],
    %(level)s::smallint[], %(person_id)s::text[], %(channel_kind)s::text[], %(target)s::text[], %(language)s::text[],
    %(subject)s::text[], %(body)s::text[], %(facts)s::jsonb[], %(idempotency_key)s::text[], %(drill)s::bool[])
    AS n (incident_id, round, purpose, step, repeat, level, person_id, channel_kind, target, language, subject, body,
          facts, idempotency_key, drill)
ON CONFLICT (idempotency_key) DO NOTHING

-- name: withdraw_queued
-- Take back notices of an incident that were not sent yet; one that somebody is just sending is not tried again.
UPDATE outbox SET
    state = CASE state WHEN 'queued' THEN 'withdrawn' ELSE state END,
    withdrawn_because = %(because)s
WHERE incident_id = %(incident_id)s AND state IN ('queued', 'sending') AND withdrawn_because IS NULL
  AND purpose = ANY(%(purposes)s)

-- name: withdraw_left_behind
-- Notices that were taken back while a worker that is gone now was sending them.
UPDATE outbox SET state = 'withdrawn', lease_until = NULL
WHERE state = 'sending' AND lease_until <= %(now)s AND withdrawn_because IS NOT NULL

-- name: claim_notices
-- Take notices to send, the gravest first, one at a time for each target, with a lease; also those whose lease ran out.
WITH waiting AS (
    SELECT DISTINCT ON (target) outbox_id
    FROM outbox AS o
    WHERE ((state = 'queued' AND next_try_at <= %(now)s) OR (state = 'sending' AND lease_until <= %(now)s))
      AND NOT EXISTS (
        SELECT 1 FROM outbox AS busy
        WHERE busy.target = o.target AND busy.state = 'sending' AND busy.lease_until > %(now)s)
    ORDER BY target, level DESC, next_try_at, outbox_id
), taken AS (
    SELECT o.outbox_id FROM outbox AS o JOIN waiting USING (outbox_id)
    WHERE (o.state = 'queued' AND o.next_try_at <= %(now)s) OR (o.state = 'sending' AND o.lease_until <= %(now)s)
    ORDER BY o.level DESC, o.next_try_at, o.outbox_id
    LIMIT %(max_rows)s
    FOR UPDATE OF o SKIP LOCKED
)
UPDATE outbox SET state = 'sending', attempts = attempts + 1, lease_until = %(lease_until)s
FROM taken, people
WHERE outbox.outbox_id = taken.outbox_id AND people.person_id = outbox.person_id
RETURNING outbox.outbox_id, incident_id, round, purpose, step, repeat, outbox.level, outbox.person_id, channel_kind,
          target, outbox.language, subject, body, facts, idempotency_key, drill, attempts, created_at, lease_until,
          people.channels

-- name: settle_sent
-- It was sent. Nothing happens when the lease was lost meanwhile.
UPDATE outbox SET state = 'sent', sent_at = %(now)s, lease_until = NULL, last_error = NULL
WHERE outbox_id = %(outbox_id)s AND state = 'sending' AND attempts = %(attempts)s

-- name: settle_failed
-- It was not sent: again later, never, or no longer wanted.
UPDATE outbox SET
    state = CASE WHEN withdrawn_because IS NOT NULL THEN 'withdrawn' ELSE %(state)s END,
    next_try_at = %(next_try_at)s, lease_until = NULL, last_error = %(error)s,
    withdrawn_because = coalesce(withdrawn_because, %(because)s)
WHERE outbox_id = %(outbox_id)s AND state = 'sending' AND attempts = %(attempts)s
RETURNING state

-- name: still_hopeful
-- Whether another notice of the same call was sent or has not failed often yet.
SELECT EXISTS (
    SELECT 1 FROM outbox
    WHERE incident_id = %(incident_id)s AND round = %(round)s AND purpose = %(purpose)s AND step = %(step)s
      AND outbox_id <> %(outbox_id)s
      AND (state = 'sent' OR (state IN ('queued', 'sending') AND attempts < %(troubled_after)s)))

-- name: bring_forward
-- Nobody of a step could be reached: the next step of the plan that is still to come is due now.
UPDATE escalation_steps SET due_at = %(now)s
WHERE (incident_id, round, purpose, step, repeat) IN (
    SELECT incident_id, round, purpose, step, repeat FROM escalation_steps
    WHERE incident_id = %(incident_id)s AND round = %(round)s AND purpose = 'call' AND repeat = 0
      AND step > %(step)s AND done_at IS NULL
    ORDER BY step LIMIT 1)
  AND due_at > %(now)s
RETURNING step, role

-- name: called_people
-- Whom notices of an incident have reached or are just reaching.
SELECT DISTINCT person_id FROM outbox WHERE incident_id = %(incident_id)s AND state IN ('sent', 'sending')

-- name: notices_of
-- The notices of an incident, in order.
SELECT outbox_id, purpose, step, repeat, level, person_id, channel_kind, subject, state, attempts, created_at,
       next_try_at, sent_at, last_error, withdrawn_because, drill
FROM outbox WHERE incident_id = %(incident_id)s ORDER BY outbox_id
