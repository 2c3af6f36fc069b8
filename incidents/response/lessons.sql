-- name: recurrences
-- Later incidents of the same kind after a countermeasure was carried out (or entered): of the same vehicle, or at the
-- same place. Metres by the local plane, good enough within a few hundred.
SELECT j.incident_id, j.vehicle_id, j.level, j.status, j.occurred_at, j.vehicle_id = i.vehicle_id,
       coalesce(near.metres <= %(within_m)s, false), near.metres
FROM countermeasures AS c
JOIN incidents AS i USING (incident_id)
JOIN incidents AS j
    ON j.kind = i.kind AND j.drill = i.drill AND j.incident_id <> i.incident_id
       AND j.occurred_at > coalesce(c.done_at, c.created_at)
CROSS JOIN LATERAL (
    SELECT 111320.0 * sqrt(
        (j.lat_deg - i.lat_deg) ^ 2 + ((j.lon_deg - i.lon_deg) * cos(radians(i.lat_deg))) ^ 2) AS metres) AS near
WHERE c.countermeasure_id = %(countermeasure_id)s AND j.status <> 'dismissed'
  AND (j.vehicle_id = i.vehicle_id OR near.metres <= %(within_m)s)
ORDER BY j.occurred_at, j.incident_id

-- name: false_alarms
-- Detections of closed incidents by detector version and device: how many of these incidents were false alarms.
SELECT d.detector, d.version, d.kind, v.device_id, count(DISTINCT i.incident_id),
       count(DISTINCT i.incident_id) FILTER (WHERE i.status = 'dismissed')
FROM detections AS d
JOIN incidents AS i USING (incident_id)
LEFT JOIN devices AS v ON v.vehicle_id = d.vehicle_id
WHERE i.status IN ('resolved', 'dismissed') AND NOT i.drill
  AND i.occurred_at >= %(since)s AND i.occurred_at < %(until)s
  AND (%(depots)s::text[] IS NULL
       OR i.vehicle_id IN (SELECT w.vehicle_id FROM vehicles w WHERE w.depot = ANY(%(depots)s)))
GROUP BY GROUPING SETS ((d.detector, d.version, d.kind), (d.detector, d.version, d.kind, v.device_id))
HAVING GROUPING(v.device_id) = 1 OR v.device_id IS NOT NULL
ORDER BY d.detector, d.version, d.kind, v.device_id NULLS FIRST
