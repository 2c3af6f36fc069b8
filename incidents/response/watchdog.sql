-- name: beat
-- A job ran.
INSERT INTO worker_heartbeats (name, ticked_at, every_s, detail)
VALUES (%(name)s, %(now)s, %(every_s)s, %(detail)s::jsonb)
ON CONFLICT (name) DO UPDATE SET
    ticked_at = excluded.ticked_at, every_s = excluded.every_s, detail = excluded.detail

-- name: beats
-- When each job last ran.
SELECT name, ticked_at, every_s, detail FROM worker_heartbeats ORDER BY name

-- name: left_undone
-- The oldest step that is due and not done, the oldest notice that waits without having been tried, the number of open
-- incidents no plan of which has begun, and of notices given up in the last day.
SELECT
    (SELECT min(due_at) FROM escalation_steps WHERE done_at IS NULL AND due_at <= %(now)s),
    (SELECT min(next_try_at) FROM outbox
     WHERE (state = 'queued' AND next_try_at <= %(now)s AND attempts = 0)
        OR (state = 'sending' AND lease_until <= %(now)s AND next_try_at <= %(now)s)),
    (SELECT count(*) FROM incidents
     WHERE followed_revision IS DISTINCT FROM revision AND detected_at < %(now)s::timestamptz - interval '30 seconds'
       AND status IN ('open', 'acknowledged') AND followed_revision IS NULL),
    (SELECT count(*) FROM outbox WHERE state = 'failed' AND created_at > %(now)s::timestamptz - interval '2 days'),
    (SELECT count(*) FROM escalation_steps
     WHERE outcome = 'nobody_reachable' AND done_at > %(now)s::timestamptz - interval '1 day')
