// The live map and the list beside it.
import "../../style/map.css";
import { useSignal, useSignalEffect } from "@preact/signals";
import { useEffect, useRef } from "preact/hooks";
import { language, named, number, t } from "../../i18n";
import { incidents, levels } from "../../incidents/store";
import { fleet, framesTaken, look } from "../../live/channel";
import { KINDS } from "../../live/fleet";
import { readEnergy, readRegister, register } from "../../live/register";
import { attribution, base, chosenMap, firstBox, maps, pack, readBases } from "../../map/bases";
import { fromDisplay, toDisplay } from "../../map/datum";
import { LiveMap } from "../../map/live-map";
import { dark } from "../../theme";
import { now } from "../../ticking";
import { VehicleCard, useDetail } from "./card";
import { chosen, lookAt } from "./chosen";
import { anyFilter, filters, type Listed, listed, passes } from "./filters";
import { readFences, readTrail } from "./lines";
import { VehicleList } from "./list";
import { pinsOf } from "./pins";
import { place } from "./remembered-place";

const NOTHING: Listed = { rows: [], inView: 0, counts: { moving: 0, idling: 0, parked: 0, stale: 0 } };
const FENCES_AGAIN_MS = 60_000;
const ENERGY_AGAIN_MS = 60_000;
const TRAIL_AGAIN_MS = 15_000;

/** Another base map is another map: what is drawn on it may be in another datum. */
export default function MapPage() {
  return <LivePage key={chosenMap.value} />;
}

function LivePage() {
  const container = useRef<HTMLDivElement>(null);
  const live = useSignal<LiveMap | null>(null);
  const list = useSignal<Listed>(NOTHING);
  const followed = useSignal<string | null>(null);
  const trail = useSignal(false);
  const detail = useDetail();

  useEffect(() => {
    let left = false;
    let map: LiveMap | null = null;
    void readRegister();
    void readBases().then(async () => {
      if (left) return;
      map = new LiveMap(container.current!, fleet, { dark: dark.value, language: language.value }, base(), {
        view: (box) => {
          place.box = box;
          look(box);
          if (map) list.value = listed((slot) => map!.sees(slot));
        },
        pick: (slot) => { chosen.value = slot === null ? null : fleet.ids[slot]!; },
        moved: () => { followed.value = null; },
      });
      map.vehicles.levelOf = (slot) => levels.peek().get(fleet.ids[slot]!) ?? 0;
      map.vehicles.shows = (slot) => !anyFilter() || passes(slot);
      const first = place.box ?? (await firstBox());
      if (left) return;
      if (first) map.fit(first);
      else look(map.box());
      live.value = map;
      (window as unknown as { fleetward: unknown }).fleetward = { map, fleet, toDisplay, fromDisplay };
    });
    return () => {
      left = true;
      look(null);
      map?.remove();
    };
  }, []);

  // Every frame goes to the map at once; the list follows once a second.
  useSignalEffect(() => {
    void framesTaken.value;
    void levels.value;
    void filters.value;
    live.value?.refresh();
    const map = live.value;
    if (map) map.choose(chosen.value === null ? undefined : fleet.slotOf(chosen.value), detail.value?.position?.accuracy_m ?? 0);
  });
  useSignalEffect(() => {
    void now.value;
    void filters.value;
    const map = live.value;
    if (map) list.value = listed((slot) => map.sees(slot));
    if (list.peek().rows.some((row) => !register.peek().has(row.id))) void readRegister();
  });
  useSignalEffect(() => live.value?.setLook({ dark: dark.value, language: language.value }));
  useSignalEffect(() => {
    void language.value;
    live.value?.setPins(pinsOf([...incidents.value.values()].map((one) => {
      // Evidence without a place of its own is where its vehicle is.
      const slot = one.lon_deg === null ? fleet.slotOf(one.vehicle_id) : undefined;
      if (slot === undefined) return one;
      void now.value;
      return { ...one, lon_deg: fleet.lon[slot]!, lat_deg: fleet.lat[slot]! };
    })));
  });
  useSignalEffect(() => {
    const id = followed.value;
    live.value?.follow(id === null ? null : () => fleet.slotOf(id));
  });
  useSignalEffect(() => {
    const map = live.value;
    const wanted = lookAt.value;
    if (!map || !wanted) return;
    lookAt.value = null;
    const slot = wanted.vehicleId === null ? undefined : fleet.slotOf(wanted.vehicleId);
    if (slot !== undefined) map.centre(fleet.lon[slot]!, fleet.lat[slot]!);
    else if (wanted.lon !== null && wanted.lat !== null) map.centre(wanted.lon, wanted.lat);
    else awaited.value = wanted.vehicleId;
  });
  // A vehicle out of view: go where the server knows it to be.
  const awaited = useSignal<string | null>(null);
  useSignalEffect(() => {
    const position = detail.value?.position;
    if (!awaited.value || detail.value?.vehicle_id !== awaited.value) return;
    awaited.value = null;
    if (position?.lon_deg != null && position.lat_deg != null) live.peek()?.centre(position.lon_deg, position.lat_deg, 15, false);
  });
  useRepeated(FENCES_AGAIN_MS, () => {
    const map = live.value;
    if (map) void readFences().then((found) => map.setLines("fences", found), () => undefined);
  });
  useRepeated(TRAIL_AGAIN_MS, () => {
    const map = live.value;
    const id = trail.value ? chosen.value : null;
    if (map) void readTrail(id).then((found) => { if (chosen.peek() === id || id === null) void map.setLines("trail", found); }, () => undefined);
  });
  useRepeated(ENERGY_AGAIN_MS, () => { if (filters.value.lowFuel) void readEnergy(); });

  const zoom = (by: number) => live.value?.map.easeTo({ zoom: live.value.map.getZoom() + by, duration: 200 });
  const fit = () => void firstBox().then((box) => { if (box) live.value?.fit(box); });
  return (
    <div class="live">
      <section class="map" aria-label={t("map")}>
        <a class="skip" href="#search" onClick={skipTo("search")}>{t("skip.list")}</a>
        <div class="canvas" ref={container} id="map" />
        {followed.value === null
          ? <ul class="legend">{KINDS.map((kind) => (
              <li key={kind}><i class={`mark ${kind}`} aria-hidden="true" />{t(`state.${kind}`)} <b class="num" id={`n-${kind}`}>{number(list.value.counts[kind])}</b></li>
            ))}</ul>
          : <p class="follow">{t("following", { vehicle: register.value.get(followed.value)?.plate ?? followed.value })}
              <button class="plain" onClick={() => { followed.value = null; }}>{t("follow.stop")}</button></p>}
        <div class="zoom">
          <button aria-label={t("zoom.in")} title={t("zoom.in")} onClick={() => zoom(1)}>+</button>
          <button aria-label={t("zoom.out")} title={t("zoom.out")} onClick={() => zoom(-1)}>−</button>
          <button id="zoom-fit" aria-label={t("zoom.fit")} title={t("zoom.fit")} onClick={fit}>⤢</button>
        </div>
        {maps.value.length > 0 && (
          <label class="base"><span class="hidden">{t("base_map")}</span>
            <select id="base-map" value={chosenMap.value} onChange={(event) => { chosenMap.value = event.currentTarget.value; }}>
              <option value="">{pack.value ? named(pack.value.name) : t("base_map.none")}</option>
              {maps.value.map((one) => <option key={one.id} value={one.id}>{named(one.name)}</option>)}
            </select>
          </label>
        )}
        <p class="attribution">{attribution()}</p>
      </section>
      <section class="side" aria-label={t("vehicles")}>
        <VehicleCard detail={detail} followed={followed} trail={trail} />
        <VehicleList list={list} />
      </section>
    </div>
  );
}

const skipTo = (id: string) => (event: Event) => {
  event.preventDefault();
  document.getElementById(id)?.focus();
};

/** Do it now, whenever a signal that it reads changes, and again and again. */
function useRepeated(everyMs: number, work: () => void): void {
  useSignalEffect(() => {
    work();
    const timer = setInterval(work, everyMs);
    return () => clearInterval(timer);
  });
}
