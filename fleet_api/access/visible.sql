-- name: vehicle_in_depots
-- Whether a vehicle is in one of some depots.
SELECT 1 FROM vehicles WHERE vehicle_id = %(id)s AND depot = ANY(%(depots)s)

-- name: incident_in_depots
-- Whether an incident's vehicle is in one of some depots.
SELECT 1 FROM incidents i JOIN vehicles v USING (vehicle_id)
WHERE i.incident_id = %(id)s::bigint AND v.depot = ANY(%(depots)s)

-- name: detection_in_depots
-- Whether a detection's vehicle is in one of some depots.
SELECT 1 FROM detections d JOIN vehicles v USING (vehicle_id)
WHERE d.detection_id = %(id)s::bigint AND v.depot = ANY(%(depots)s)

-- name: device_in_depots
-- Whether the vehicle that carries a device is in one of some depots.
SELECT 1 FROM devices d JOIN vehicles v USING (vehicle_id) WHERE d.device_id = %(id)s AND v.depot = ANY(%(depots)s)
