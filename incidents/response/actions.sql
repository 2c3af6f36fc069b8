-- name: acknowledge
-- Somebody takes notice.
UPDATE incidents SET
    status = 'acknowledged', acknowledged_at = %(now)s, acknowledged_by = %(actor)s, revision = revision + 1,
    changed_xid = DEFAULT
WHERE incident_id = %(incident_id)s AND revision = %(revision)s
RETURNING revision

-- name: assign
-- Somebody is to work on it; NULL: nobody in particular.
UPDATE incidents SET assigned_to = %(to)s, revision = revision + 1, changed_xid = DEFAULT
WHERE incident_id = %(incident_id)s AND revision = %(revision)s
RETURNING revision

-- name: touch
-- Something about it changed that has a row of its own.
UPDATE incidents SET revision = revision + 1, changed_xid = DEFAULT
WHERE incident_id = %(incident_id)s AND revision = %(revision)s
RETURNING revision

-- name: set_level
-- A person sets the level: the machine may raise it from there, never lower it.
UPDATE incidents SET
    level = %(level)s, level_set_by = %(actor)s, lower_level = NULL, lower_since = NULL, revision = revision + 1,
    changed_xid = DEFAULT
WHERE incident_id = %(incident_id)s AND revision = %(revision)s
RETURNING revision

-- name: state_injury
-- A person says whether anybody is hurt.
UPDATE incidents SET injured = %(injured)s, revision = revision + 1, changed_xid = DEFAULT
WHERE incident_id = %(incident_id)s AND revision = %(revision)s
RETURNING revision

-- name: close
-- It is dealt with, or was none.
UPDATE incidents SET
    status = %(status)s, closed_at = %(now)s, closed_by = %(actor)s, close_reason = %(reason)s,
    cause = coalesce(%(cause)s, cause), lower_level = NULL, lower_since = NULL, revision = revision + 1,
    changed_xid = DEFAULT
WHERE incident_id = %(incident_id)s AND revision = %(revision)s
RETURNING revision

-- name: reopen
-- It is worked on again.
UPDATE incidents SET
    status = 'open', closed_at = NULL, closed_by = NULL, close_reason = NULL, acknowledged_at = NULL,
    acknowledged_by = NULL, revision = revision + 1, changed_xid = DEFAULT
WHERE incident_id = %(incident_id)s AND revision = %(revision)s
RETURNING revision

-- name: follow_members_anew
-- Incidents that another one stood for, which was none: each is to be seen on its own.
UPDATE incidents SET followed_revision = NULL
WHERE mass_incident_id = %(incident_id)s AND incident_id <> %(incident_id)s AND status IN ('open', 'acknowledged')

-- name: tick_item
-- An item of the checklist is done.
INSERT INTO incident_checklist (incident_id, item, done_at, done_by, note)
VALUES (%(incident_id)s, %(item)s, %(now)s, %(actor)s, %(note)s)
ON CONFLICT (incident_id, item) DO NOTHING

-- name: untick_item
-- It is not done after all.
DELETE FROM incident_checklist WHERE incident_id = %(incident_id)s AND item = %(item)s

-- name: ticked
-- Items of the checklist that are done.
SELECT item, done_at, done_by, note FROM incident_checklist WHERE incident_id = %(incident_id)s ORDER BY done_at, item
