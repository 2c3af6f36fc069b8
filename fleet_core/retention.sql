-- name: drop_old_chunks
-- Drop the chunks of a hypertable that lie wholly before an instant.
SELECT drop_chunks('readings', older_than => %(before)s::timestamptz)

-- name: delete_old_readings
-- Remove a bounded number of readings before an instant, on plain PostgreSQL.
DELETE FROM readings
WHERE ctid IN (SELECT ctid FROM readings WHERE device_time < %(before)s LIMIT %(max_rows)s)

-- name: delete_old_device_events
-- Remove a bounded number of alarms, bursts and diagnostics before an instant.
DELETE FROM device_events
WHERE ctid IN (SELECT ctid FROM device_events WHERE received_at < %(before)s LIMIT %(max_rows)s)

-- name: delete_old_messages
-- Remove a bounded number of message log rows, oldest first, all of whose messages came before an instant.
DELETE FROM message_log
WHERE id IN (SELECT id FROM message_log WHERE received_to < %(before)s ORDER BY id LIMIT %(max_rows)s)
