-- name: insert_entry
-- Write one line of the audit log.
INSERT INTO audit_log (at, user_id, roles, via, action, object_kind, object_id, purpose, request_id, address, outcome,
                       details)
VALUES (%(at)s, %(user_id)s, %(roles)s, %(via)s, %(action)s, %(object_kind)s, %(object_id)s, %(purpose)s,
        %(request_id)s, %(address)s, %(outcome)s, %(details)s::jsonb)

-- name: entries
-- One page of the audit log, newest first; NULL parameters do not narrow.
SELECT entry_id, at, user_id, roles, via, action, object_kind, object_id, purpose, request_id, address, outcome, details
FROM audit_log
WHERE (%(user_id)s::text IS NULL OR user_id = %(user_id)s)
  AND (%(action)s::text IS NULL OR action = %(action)s)
  AND (%(object_kind)s::text IS NULL OR object_kind = %(object_kind)s)
  AND (%(object_id)s::text IS NULL OR object_id = %(object_id)s)
  AND (%(outcome)s::text IS NULL OR outcome = %(outcome)s)
  AND (%(since)s::timestamptz IS NULL OR at >= %(since)s)
  AND (%(until)s::timestamptz IS NULL OR at < %(until)s)
  AND (%(before)s::bigint IS NULL OR entry_id < %(before)s)
ORDER BY entry_id DESC
LIMIT %(limit)s
