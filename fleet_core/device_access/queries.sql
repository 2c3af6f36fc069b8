-- name: accounts
-- Accounts that may sign in: not revoked, and of a device that is still in the vehicle it was given them for.
SELECT credential.mqtt_user, credential.vehicle_id, device.kind, credential.nats_hash, credential.mosquitto_hash
FROM device_credentials AS credential
JOIN devices AS device USING (device_id)
WHERE credential.revoked_at IS NULL AND device.vehicle_id = credential.vehicle_id
ORDER BY credential.mqtt_user

-- name: lock_device
-- The vehicle a device is in, kept from changing until the transaction ends.
SELECT vehicle_id FROM devices WHERE device_id = %(device_id)s FOR UPDATE

-- name: lock_vehicle
-- Hold a vehicle's row, so that two devices added at once get names one after the other.
SELECT 1 FROM vehicles WHERE vehicle_id = %(vehicle_id)s FOR UPDATE

-- name: names_given
-- Names a vehicle's accounts ever had.
SELECT mqtt_user FROM device_credentials
WHERE mqtt_user = %(vehicle_id)s OR starts_with(mqtt_user, %(vehicle_id)s || '.')

-- name: valid_credential
-- The account of a device that was not revoked.
SELECT mqtt_user, vehicle_id, certificate_ends_at FROM device_credentials
WHERE device_id = %(device_id)s AND revoked_at IS NULL

-- name: insert_credential
-- Give a device an account.
INSERT INTO device_credentials (mqtt_user, device_id, vehicle_id, nats_hash, mosquitto_hash, certificate_ends_at)
VALUES (%(mqtt_user)s, %(device_id)s, %(vehicle_id)s, %(nats_hash)s, %(mosquitto_hash)s, %(certificate_ends_at)s)

-- name: replace_password
-- Give an account another password.
UPDATE device_credentials
SET nats_hash = %(nats_hash)s, mosquitto_hash = %(mosquitto_hash)s, rotated_at = now()
WHERE mqtt_user = %(mqtt_user)s

-- name: revoke_credential
-- Take the account of a device away.
UPDATE device_credentials SET revoked_at = now() WHERE device_id = %(device_id)s AND revoked_at IS NULL
RETURNING mqtt_user

-- name: newest_credentials
-- The newest account of each of these devices.
SELECT DISTINCT ON (device_id)
    device_id, mqtt_user, vehicle_id, certificate_ends_at, issued_at, rotated_at, revoked_at
FROM device_credentials
WHERE device_id = ANY(%(device_ids)s)
ORDER BY device_id, revoked_at IS NOT NULL, revoked_at DESC, issued_at DESC

-- name: cut_off_vehicles
-- Vehicles that had accounts, all of which were revoked.
SELECT vehicle_id FROM device_credentials
WHERE vehicle_id = ANY(%(vehicle_ids)s)
GROUP BY vehicle_id
HAVING bool_and(revoked_at IS NOT NULL)
