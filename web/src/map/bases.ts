// What lies under the vehicles: the city pack's roads, or one of the raster maps that the operator configured.
import { signal } from "@preact/signals";
import { get, type Schemas } from "../api/client";
import { readyToDraw } from "../fonts";
import { type Named, named, t } from "../i18n";
import { remembered } from "../remembered";
import type { Box } from "../live/channel";
import type { Base } from "./live-map";

export type Pack = Schemas["BasemapOut"] & { attribution: Named };
export const pack = signal<Pack | null>(null);

/** Further maps that the operator configured, and the one that people chose; empty for the city pack. */
export const maps = signal<readonly Schemas["BaseMap"][]>([]);
export const chosenMap = remembered("base-map", "");

let roads: GeoJSON.FeatureCollection | null = null;
let asked: Promise<void> | null = null;

async function readPack(): Promise<void> {
  pack.value = await get("/api/basemap");
  const text = await (await fetch("/api/basemap/roads")).text();
  await readyToDraw(text);
  roads = JSON.parse(text) as GeoJSON.FeatureCollection;
}

/** Read once what base map there is. A server without a city pack has a map without roads. */
export function readBases(): Promise<void> {
  asked ??= Promise.all([
    readPack().catch(() => undefined),
    get("/api/basemap/maps").then((found) => { maps.value = found.maps; }, () => undefined),
  ]).then(() => undefined);
  return asked;
}

const chosen = () => maps.value.find((one) => one.id === chosenMap.value);

export function base(): Base {
  const map = chosen();
  if (!map) return { datum: "wgs84", raster: null, roads };
  return { datum: map.crs, raster: { url: map.url, minzoom: map.min_zoom, maxzoom: map.max_zoom }, roads: null };
}

export function attribution(): string {
  const source = chosen() ?? pack.value;
  return source ? named(source.attribution) : t("map.no_roads");
}

/** Where the map begins: the city pack's bounds, or round all vehicles. */
export async function firstBox(): Promise<Box | null> {
  const bounds = pack.value?.bounds;
  if (bounds) return bounds as Box;
  const answer = await get("/api/vehicles/live", {}, { limit: 10_000 }).catch(() => null);
  const placed = (answer?.vehicles ?? []).filter((one) => one.lon_deg !== null && one.lat_deg !== null);
  if (placed.length === 0) return null;
  const lons = placed.map((one) => one.lon_deg!);
  const lats = placed.map((one) => one.lat_deg!);
  const least = (values: number[]) => values.reduce((a, b) => Math.min(a, b));
  const most = (values: number[]) => values.reduce((a, b) => Math.max(a, b));
  return [least(lons), least(lats), most(lons), most(lats)];
}
