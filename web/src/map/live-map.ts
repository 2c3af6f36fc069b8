// The map: camera, base map, overlays, vehicles, pins. Plain TypeScript; pages tell it what to show and listen to it.
import { Map as MapLibre, Marker, setWorkerUrl } from "maplibre-gl";
import workerUrl from "maplibre-gl/dist/maplibre-gl-worker.mjs?worker&url";
import type { Language } from "../i18n";
import type { Box } from "../live/channel";
import type { Fleet } from "../live/fleet";
import { type RasterMap, restyle, setSource, style } from "./base-style";
import { type Datum, fromDisplay, type LonLat, toDisplay } from "./datum";
import { DARK, LIGHT, type Palette } from "./palette";
import { VehicleLayer } from "./vehicle-layer";

setWorkerUrl(workerUrl);

export type Look = { dark: boolean; language: Language };
export type Base = { datum: Datum; raster: RasterMap | null; roads: GeoJSON.FeatureCollection | null };
export type Pin = { id: number; lon: number; lat: number; element: () => HTMLElement };
type Events = {
  /** The view came to rest: WGS-84. */
  view?: (box: Box) => void;
  /** A vehicle was chosen, or nothing was hit. */
  pick?: (slot: number | null) => void;
  /** People moved the map themselves. */
  moved?: () => void;
};

const PICK_PIXELS = 22;
const LONGEST_FRAME_MS = 500;

export class LiveMap {
  readonly map: MapLibre;
  readonly vehicles: VehicleLayer;
  readonly ready: Promise<void>;
  private readonly markers = new Map<number, Marker>();
  private palette: Palette;
  private followed: (() => number | undefined) | null = null;
  private timer = 0;
  private frameMs = 33;
  private removed = false;

  constructor(
    container: HTMLElement, private readonly fleet: Fleet, private look: Look, readonly base: Base, private readonly events: Events = {},
  ) {
    this.palette = look.dark ? DARK : LIGHT;
    this.map = new MapLibre({
      container,
      style: style(this.palette, look.language, base.raster, base.roads),
      center: [10, 30],
      zoom: 2,
      maxZoom: 20,
      dragRotate: false,
      pitchWithRotate: false,
      touchPitch: false,
      attributionControl: false,
      fadeDuration: 0,
      canvasContextAttributes: { antialias: devicePixelRatio < 1.5 && !look.dark },
      // Browsers without a fast renderer still get a map.
      validateStyle: false,
    });
    this.map.touchZoomRotate.disableRotation();
    this.map.keyboard.disableRotation();
    this.vehicles = new VehicleLayer(fleet, this.palette);
    this.vehicles.datum = base.datum;
    this.ready = new Promise((resolve) => {
      this.map.on("style.load", () => {
        this.map.addLayer(this.vehicles);
        resolve();
      });
    });
    this.map.on("moveend", () => this.events.view?.(this.box()));
    this.map.on("click", (event) => this.events.pick?.(this.pick(event.point.x, event.point.y)));
    for (const name of ["dragstart", "wheel"] as const) this.map.on(name, () => this.events.moved?.());
    this.animate();
  }

  remove(): void {
    this.removed = true;
    clearTimeout(this.timer);
    this.map.remove();
  }

  /** What the map shows, WGS-84. */
  box(): Box {
    const bounds = this.map.getBounds();
    const clamp = (value: number, most: number) => Math.max(-most, Math.min(most, value));
    const [west, south] = fromDisplay(this.base.datum, bounds.getWest(), bounds.getSouth());
    const [east, north] = fromDisplay(this.base.datum, bounds.getEast(), bounds.getNorth());
    if (east - west >= 360) return [-180, clamp(south, 90), 180, clamp(north, 90)];
    const wrap = (lon: number) => ((((lon + 180) % 360) + 360) % 360) - 180;
    return [wrap(west), clamp(south, 90), wrap(east), clamp(north, 90)];
  }

  sees(slot: number): boolean {
    const [x, y] = this.toScreen(this.fleet.lon[slot]!, this.fleet.lat[slot]!);
    const { clientWidth, clientHeight } = this.map.getContainer();
    return x >= 0 && x <= clientWidth && y >= 0 && y <= clientHeight;
  }

  toScreen(lon: number, lat: number): [number, number] {
    const { x, y } = this.map.project(toDisplay(this.base.datum, lon, lat));
    return [x, y];
  }

  fit([west, south, east, north]: Box, animate = false): void {
    const corners = [toDisplay(this.base.datum, west, south), toDisplay(this.base.datum, east, north)] as [LonLat, LonLat];
    this.map.fitBounds(corners, { padding: 24, maxZoom: 16, animate });
  }

  centre(lon: number, lat: number, leastZoom = 15, animate = true): void {
    const center = toDisplay(this.base.datum, lon, lat);
    const zoom = Math.max(this.map.getZoom(), leastZoom);
    if (animate && !this.calm) this.map.easeTo({ center, zoom, duration: 500 });
    else this.map.jumpTo({ center, zoom });
  }

  /** Take in what the fleet knows now. */
  refresh(): void {
    this.vehicles.refresh();
  }

  choose(slot: number | undefined, accuracyM = 0): void {
    this.vehicles.chosen = slot ?? -1;
    this.vehicles.accuracyM = accuracyM;
    this.map.triggerRepaint();
  }

  /** Keep a vehicle in the middle; null stops. */
  follow(slot: (() => number | undefined) | null): void {
    this.followed = slot;
  }

  setLook(look: Look): void {
    this.look = look;
    this.palette = look.dark ? DARK : LIGHT;
    this.vehicles.setPalette(this.palette);
    void this.ready.then(() => !this.removed && restyle(this.map, this.palette, this.look.language));
  }

  async setLines(source: "trail" | "fences", features: GeoJSON.Feature[]): Promise<void> {
    await this.ready;
    if (!this.removed) setSource(this.map, source, features.map((feature) => this.displayed(feature)));
  }

  /** Pins are elements above the canvas: never clustered away, reachable by keyboard. */
  setPins(pins: readonly Pin[]): void {
    const wanted = new Set(pins.map((pin) => pin.id));
    for (const [id, marker] of this.markers)
      if (!wanted.has(id)) {
        marker.remove();
        this.markers.delete(id);
      }
    for (const pin of pins) {
      const at = toDisplay(this.base.datum, pin.lon, pin.lat);
      const there = this.markers.get(pin.id);
      if (there) there.setLngLat(at);
      else this.markers.set(pin.id, new Marker({ element: pin.element(), anchor: "bottom" }).setLngLat(at).addTo(this.map));
    }
  }

  pick(x: number, y: number): number | null {
    const now = performance.now();
    let best = PICK_PIXELS ** 2;
    let found: number | null = null;
    for (let slot = 0; slot < this.fleet.size; slot++) {
      if (!this.fleet.present[slot] || !this.vehicles.shows(slot)) continue;
      const [px, py] = this.toScreen(...this.fleet.placeAt(slot, now));
      const far = (px - x) ** 2 + (py - y) ** 2;
      if (far < best) [best, found] = [far, slot];
    }
    return found;
  }

  private get calm(): boolean {
    return matchMedia("(prefers-reduced-motion: reduce)").matches;
  }

  private displayed(feature: GeoJSON.Feature): GeoJSON.Feature {
    if (this.base.datum === "wgs84") return feature;
    const move = (value: unknown): unknown =>
      Array.isArray(value) && typeof value[0] === "number"
        ? toDisplay(this.base.datum, value[0], value[1] as number)
        : Array.isArray(value) ? value.map(move) : value;
    const geometry = feature.geometry as { coordinates: unknown };
    return { ...feature, geometry: { ...geometry, coordinates: move(geometry.coordinates) } as GeoJSON.Geometry };
  }

  /** Draw while something moves, at a pace that leaves this machine half its time; without motion, only on news. */
  private animate(): void {
    if (this.removed) return;
    const now = performance.now();
    const slot = this.followed?.();
    if (slot !== undefined) this.map.jumpTo({ center: toDisplay(this.base.datum, ...this.fleet.placeAt(slot, now)) });
    if (now < this.fleet.restlessUntilMs && !this.calm && !document.hidden) {
      this.map.once("render", () => {
        const took = performance.now() - now;
        this.frameMs = Math.min(LONGEST_FRAME_MS, 0.7 * this.frameMs + 0.3 * Math.max(33, 2 * took));
      });
      this.map.triggerRepaint();
    }
    this.timer = window.setTimeout(() => this.animate(), this.frameMs);
  }
}
