// Geofences and the trail of the last hour, as the map draws them.
import { get, type Schemas } from "../../api/client";

const HOUR_MS = 3_600_000;
// A line across a longer silence would claim a way that nobody saw.
const LONGEST_GAP_MS = 120_000;

export async function readFences(): Promise<GeoJSON.Feature[]> {
  const found: Schemas["GeofenceOut"][] = [];
  for (let cursor: string | null = ""; cursor !== null;) {
    const page: Schemas["GeofencePage"] = await get("/api/geofences", {}, { cursor, limit: 500 });
    found.push(...page.geofences);
    cursor = page.next_cursor;
  }
  return found
    .filter((one) => one.retired_at === null)
    .map((one) => ({ type: "Feature", properties: { name: one.name }, geometry: one.area as unknown as GeoJSON.Geometry }));
}

export async function readTrail(vehicleId: string | null): Promise<GeoJSON.Feature[]> {
  if (vehicleId === null) return [];
  const to = Date.now();
  const track = await get("/api/vehicles/{vehicle_id}/track", { vehicle_id: vehicleId }, {
    from: new Date(to - HOUR_MS).toISOString(), to: new Date(to).toISOString(), max_points: 1500,
  });
  const parts: [number, number][][] = [];
  let before = -Infinity;
  for (const point of track.points) {
    const at = Date.parse(point.device_time);
    if (at - before > LONGEST_GAP_MS) parts.push([]);
    parts.at(-1)!.push([point.lon_deg, point.lat_deg]);
    before = at;
  }
  const coordinates = parts.filter((part) => part.length > 1);
  return coordinates.length ? [{ type: "Feature", properties: {}, geometry: { type: "MultiLineString", coordinates } }] : [];
}
