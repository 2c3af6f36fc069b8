-- name: session_holder
-- Who holds a session that lives, as they are now.
SELECT u.user_id, u.display_name, u.roles, u.depot_ids, u.must_change_password, s.expires_at
FROM sessions s JOIN users u USING (user_id)
WHERE s.token_hash = %(token_hash)s AND s.expires_at > %(now)s AND s.last_seen_at > %(idle_since)s
  AND u.disabled_at IS NULL

-- name: user_as_holder
-- A user who just proved who they are.
SELECT display_name, roles, depot_ids, must_change_password FROM users WHERE user_id = %(user_id)s

-- name: touch_session
-- Note that a session is in use, once a minute. Requests side by side do not wait for each other.
UPDATE sessions SET last_seen_at = %(now)s
WHERE token_hash = (SELECT token_hash FROM sessions WHERE token_hash = %(token_hash)s
                    AND last_seen_at < %(now)s::timestamptz - interval '1 minute' FOR UPDATE SKIP LOCKED)

-- name: insert_session
-- Keep a session.
INSERT INTO sessions (token_hash, user_id, created_at, last_seen_at, expires_at, address, agent)
VALUES (%(token_hash)s, %(user_id)s, %(now)s, %(now)s, %(expires_at)s, %(address)s, %(agent)s)

-- name: delete_session
-- End a session.
DELETE FROM sessions WHERE token_hash = %(token_hash)s RETURNING user_id

-- name: delete_sessions_of
-- End the sessions of a user, but for the newest `keep` of them.
DELETE FROM sessions
WHERE user_id = %(user_id)s AND token_hash NOT IN (
    SELECT token_hash FROM sessions WHERE user_id = %(user_id)s ORDER BY created_at DESC, token_hash LIMIT %(keep)s)

-- name: delete_dead_sessions
-- Sessions that nobody can use any more.
DELETE FROM sessions WHERE expires_at < %(now)s OR last_seen_at < %(idle_since)s

-- name: token_holder
-- Who acts by a token that is valid, as they are now.
SELECT u.user_id, u.display_name, u.roles, u.depot_ids, t.expires_at, t.token_id, t.scopes
FROM api_tokens t JOIN users u USING (user_id)
WHERE t.token_hash = %(token_hash)s AND t.expires_at > %(now)s AND t.revoked_at IS NULL AND u.disabled_at IS NULL

-- name: touch_token
-- Note that a token is in use, once a minute. Requests side by side do not wait for each other.
UPDATE api_tokens SET last_used_at = %(now)s
WHERE token_id = (SELECT token_id FROM api_tokens WHERE token_id = %(token_id)s
                  AND (last_used_at IS NULL OR last_used_at < %(now)s::timestamptz - interval '1 minute') FOR UPDATE SKIP LOCKED)

-- name: insert_token
-- Keep a token.
INSERT INTO api_tokens (token_hash, user_id, name, scopes, created_at, created_by, expires_at)
VALUES (%(token_hash)s, %(user_id)s, %(name)s, %(scopes)s, %(now)s, %(created_by)s, %(expires_at)s)
RETURNING token_id

-- name: revoke_token
-- End a token for good; the row stays, because the audit log speaks of it.
UPDATE api_tokens SET revoked_at = coalesce(revoked_at, %(now)s) WHERE token_id = %(token_id)s RETURNING token_id

-- name: tokens
-- Tokens, newest first; NULL does not narrow.
SELECT token_id, user_id, name, scopes, created_at, created_by, expires_at, revoked_at, last_used_at
FROM api_tokens
WHERE (%(user_id)s::text IS NULL OR user_id = %(user_id)s) AND (%(token_id)s::bigint IS NULL OR token_id = %(token_id)s)
ORDER BY token_id DESC
LIMIT %(limit)s

-- name: lock_standing
-- What is known of a name or an address, and nobody else decides on it until we have.
SELECT failures, last_at, blocked_until FROM sign_in_failures WHERE subject = %(subject)s FOR UPDATE

-- name: keep_standing
-- How a name or an address stands.
INSERT INTO sign_in_failures (subject, failures, last_at, blocked_until)
VALUES (%(subject)s, %(failures)s, %(last_at)s, %(blocked_until)s)
ON CONFLICT (subject) DO UPDATE
SET failures = excluded.failures, last_at = excluded.last_at, blocked_until = excluded.blocked_until

-- name: forget_standing
-- A name or an address without failures.
DELETE FROM sign_in_failures WHERE subject = %(subject)s

-- name: lock_attempts
-- Attempts are counted one after the other, or two at once would be one.
SELECT pg_advisory_xact_lock(7310589016211458)

-- name: forget_old_standings
-- Bound the table in age and in rows: what was tried longest ago goes first.
DELETE FROM sign_in_failures
WHERE last_at < %(before)s OR subject IN (
    SELECT subject FROM sign_in_failures ORDER BY last_at DESC OFFSET %(most)s LIMIT 1000)
