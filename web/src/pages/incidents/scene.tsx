// Where and how fast: a small map with the way round the moment, and the speed over the same time.
import { useSignal, useSignalEffect } from "@preact/signals";
import { useEffect, useRef } from "preact/hooks";
import { get } from "../../api/client";
import { language, t, timeOfDay } from "../../i18n";
import { type Readings, ReadingsPlot } from "../../incidents/readings-plot";
import { fleet, framesTaken, look } from "../../live/channel";
import { attribution, base, readBases } from "../../map/bases";
import { LiveMap } from "../../map/live-map";
import { dark } from "../../theme";
import { showOnMap } from "../map/chosen";
import { pinsOf } from "../map/pins";
import type { Detail } from "./open-incident";

const BEFORE_MS = 5 * 60_000;
const AFTER_MS = 5 * 60_000;

async function readingsRound(detail: Detail): Promise<Readings> {
  const moment = Date.parse(detail.occurred_at);
  const track = await get("/api/vehicles/{vehicle_id}/track", { vehicle_id: detail.vehicle_id }, {
    from: new Date(moment - BEFORE_MS).toISOString(), to: new Date(moment + AFTER_MS).toISOString(), max_points: 2000,
  });
  return track.points;
}

/** Where it was by the reading next to the moment, when the evidence itself has no place. */
function nearest(readings: Readings, momentMs: number): Readings[number] | null {
  const far = (one: Readings[number]) => Math.abs(Date.parse(one.device_time) - momentMs);
  return readings.reduce<Readings[number] | null>((best, one) => (best === null || far(one) < far(best) ? one : best), null);
}

export function Scene({ detail }: { detail: Detail }) {
  const place = useRef<HTMLDivElement>(null);
  const plotted = useRef<HTMLDivElement>(null);
  const live = useSignal<LiveMap | null>(null);
  const readings = useSignal<Readings | null>(null);
  const told = detail.lon_deg !== null && detail.lat_deg !== null;
  const near = told ? null : nearest(readings.value ?? [], Date.parse(detail.occurred_at));
  const lon = detail.lon_deg ?? near?.lon_deg ?? null;
  const lat = detail.lat_deg ?? near?.lat_deg ?? null;
  const placed = lon !== null && lat !== null;

  useEffect(() => {
    let left = false;
    readingsRound(detail).then((found) => { if (!left) readings.value = found; }, () => { if (!left) readings.value = []; });
    return () => { left = true; };
  }, [detail.incident_id, detail.occurred_at]);

  useEffect(() => {
    if (!placed) return;
    let left = false;
    let map: LiveMap | null = null;
    void readBases().then(() => {
      if (left) return;
      map = new LiveMap(place.current!, fleet, { dark: dark.value, language: language.value }, base(), { view: look });
      map.map.scrollZoom.disable();
      map.centre(lon, lat, 15, false);
      map.setPins(pinsOf([{ ...detail, lon_deg: lon, lat_deg: lat }]));
      live.value = map;
    });
    return () => {
      left = true;
      look(null);
      live.value = null;
      map?.remove();
    };
  }, [detail.incident_id, placed]);

  useSignalEffect(() => {
    void framesTaken.value;
    const map = live.value;
    map?.refresh();
    map?.choose(fleet.slotOf(detail.vehicle_id));
  });
  useSignalEffect(() => live.value?.setLook({ dark: dark.value, language: language.value }));
  useSignalEffect(() => {
    const way = (readings.value ?? []).map((one) => [one.lon_deg, one.lat_deg]);
    if (live.value && way.length > 1) void live.value.setLines("trail", [{ type: "Feature", properties: {}, geometry: { type: "LineString", coordinates: way } }]);
  });
  useSignalEffect(() => {
    void dark.value;
    void language.value;
    const found = readings.value;
    const container = plotted.current;
    if (!found || found.length < 2 || !container) return;
    const style = getComputedStyle(document.documentElement);
    const colour = (name: string) => style.getPropertyValue(`--${name}`).trim();
    const plot = new ReadingsPlot(container, found, Date.parse(detail.occurred_at), {
      ink: colour("accent"), faint: colour("faint"), line: colour("line"), moment: colour("level-3"),
      font: `12px ${getComputedStyle(document.body).fontFamily}`, speed: t("plot.speed"), time: timeOfDay,
    });
    return () => plot.remove();
  });

  return (
    <section class="card stack" aria-labelledby="scene">
      <div class="row"><h2 id="scene">{t("scene")}</h2><button class="push" onClick={() => showOnMap(detail.vehicle_id, lon, lat)}>{t("show_on_map")}</button></div>
      {!placed
        ? <p class="faint">{t("scene.no_place")}</p>
        : <>
            <div class="map small"><div class="canvas" ref={place} /><p class="attribution">{attribution()}</p></div>
            <p class="faint small num">{!told && t("scene.nearest")} {t("scene.place", { lat: lat.toFixed(5), lon: lon.toFixed(5) })}</p>
          </>}
      <div ref={plotted} role="img" aria-label={t("plot", { time: timeOfDay(detail.occurred_at) })} />
      {readings.value !== null && readings.value.length < 2 && <p class="faint">{t("plot.none")}</p>}
    </section>
  );
}
