-- name: insert_person
-- Enter somebody who can be called.
INSERT INTO people (person_id, name, roles, depot, language, channels, active)
VALUES (%(person_id)s, %(name)s, %(roles)s, %(depot)s, %(language)s, %(channels)s::jsonb, %(active)s)
ON CONFLICT (person_id) DO NOTHING
RETURNING revision

-- name: update_person
-- Change a person, if it is as the editor has seen it.
UPDATE people SET
    name = %(name)s, roles = %(roles)s, depot = %(depot)s, language = %(language)s, channels = %(channels)s::jsonb,
    active = %(active)s, revision = revision + 1
WHERE person_id = %(person_id)s AND revision = %(revision)s
RETURNING revision

-- name: people
-- Everybody, by id.
SELECT person_id, name, roles, depot, language, channels, active, revision FROM people ORDER BY person_id

-- name: insert_shift
-- Put somebody on duty.
INSERT INTO duty_shifts (role, depot, person_id, starts_at, ends_at, override, entered_by, entered_at)
VALUES (%(role)s, %(depot)s, %(person_id)s, %(starts_at)s, %(ends_at)s, %(override)s, %(entered_by)s, %(entered_at)s)
RETURNING shift_id

-- name: delete_shift
-- Take a shift back.
DELETE FROM duty_shifts WHERE shift_id = %(shift_id)s

-- name: shifts
-- Shifts that touch a span, by begin.
SELECT shift_id, role, person_id, starts_at, ends_at, depot, override FROM duty_shifts
WHERE ends_at > %(from)s AND starts_at < %(until)s
ORDER BY starts_at, shift_id

-- name: depots
-- Depots of the vehicles in service.
SELECT DISTINCT depot FROM vehicles WHERE retired_at IS NULL
