// The chosen vehicle: what is known of it, and what can be done.
import { type Signal, useSignal, useSignalEffect } from "@preact/signals";
import { get, type Schemas } from "../../api/client";
import { kindName, number, span, t } from "../../i18n";
import { Level } from "../../incidents/level";
import { queue } from "../../incidents/store";
import { fleet, framesTaken } from "../../live/channel";
import { now } from "../../ticking";
import { chosen, showOnMap } from "./chosen";
import { speedText } from "./list";

export type Detail = Schemas["VehicleDetail"];
const READ_AGAIN_MS = 15_000;

/** What the server knows of the chosen vehicle, read again every quarter of a minute. */
export function useDetail(): Signal<Detail | null> {
  const detail = useSignal<Detail | null>(null);
  useSignalEffect(() => {
    const id = chosen.value;
    if (detail.peek()?.vehicle_id !== id) detail.value = null;
    if (id === null) return;
    const read = () => get("/api/vehicles/{vehicle_id}", { vehicle_id: id })
      .then((found) => { if (chosen.peek() === id) detail.value = found; }, () => undefined);
    void read();
    const timer = setInterval(() => void read(), READ_AGAIN_MS);
    return () => clearInterval(timer);
  });
  return detail;
}

type Props = { detail: Signal<Detail | null>; followed: Signal<string | null>; trail: Signal<boolean> };

export function VehicleCard({ detail, followed, trail }: Props) {
  const id = chosen.value;
  if (id === null) return null;
  void framesTaken.value;
  void now.value;
  const known = detail.value;
  const position = known?.position;
  const slot = fleet.slotOf(id);
  const fixMs = slot !== undefined ? fleet.fixMs[slot]! : position?.device_time ? Date.parse(position.device_time) : null;
  const left = position?.fuel_pct ?? position?.soc_pct ?? null;
  const its = queue.value.filter((one) => one.vehicle_id === id);
  return (
    <section class="vehicle-card stack" aria-label={t("card", { vehicle: id })}>
      <div class="row">
        <h2>{known?.plate ?? id}</h2>
        {known?.plate && <span class="faint">{id}</span>}
        <button class="plain push" aria-label={t("card.close")} onClick={() => { chosen.value = null; followed.value = null; }}>{t("close")}</button>
      </div>
      {its.map((one) => (
        <a key={one.incident_id} class="row" href={`/incidents/${one.incident_id}`}>
          <Level level={one.level} />{kindName(one.kind)}{one.drill && <span class="tag drill">{t("drill")}</span>}
        </a>
      ))}
      <div class="row wrap">
        <button aria-pressed={followed.value === id} onClick={() => { followed.value = followed.value === id ? null : id; }}>{t("follow")}</button>
        <button aria-pressed={trail.value} onClick={() => { trail.value = !trail.value; }}>{t("trail")}</button>
        <button onClick={() => showOnMap(id)}>{t("centre")}</button>
        <a class="button" href={`/incidents/report/${id}`}>{t("report")}</a>
      </div>
      <dl class="facts">
        {slot !== undefined && <><dt>{t("fact.state")}</dt><dd class="row"><i class={`mark ${fleet.kindOf(slot)}`} />{t(`state.${fleet.kindOf(slot)}`)}</dd></>}
        {slot !== undefined && <><dt>{t("fact.speed")}</dt><dd>{speedText(fleet.speed[slot]!)}</dd></>}
        <dt>{t("fact.fix")}</dt><dd>{fixMs === null ? t("unknown") : t("ago", { span: span((fleet.serverNowMs - fixMs) / 1000) })}</dd>
        {position && <><dt>{t("fact.ignition")}</dt><dd>{position.ignition === null ? t("unknown") : t(position.ignition ? "ignition.on" : "ignition.off")}</dd></>}
        {left !== null && <><dt>{t(position?.fuel_pct == null ? "fact.charge" : "fact.fuel")}</dt><dd>{t("percent", { n: number(left) })}</dd></>}
        {position?.odometer_km != null && <><dt>{t("fact.odometer")}</dt><dd>{t("km", { n: number(position.odometer_km) })}</dd></>}
        {position?.accuracy_m != null && <><dt>{t("fact.accuracy")}</dt><dd>{t("metres", { n: number(position.accuracy_m) })}</dd></>}
        {known?.model && <><dt>{t("fact.model")}</dt><dd>{known.model}</dd></>}
        {known?.depot && <><dt>{t("fact.depot")}</dt><dd>{known.depot}</dd></>}
        {known && known.devices.length > 0 && <><dt>{t("fact.devices")}</dt><dd>{known.devices.map((one) => one.device_id).join(", ")}</dd></>}
      </dl>
    </section>
  );
}
