// The vehicles as text: what the map shows, for those who read, type or listen.
import { signal, type Signal } from "@preact/signals";
import { Level, levelName } from "../../incidents/level";
import { levels } from "../../incidents/store";
import { number, span, t } from "../../i18n";
import { fleet } from "../../live/channel";
import { KINDS } from "../../live/fleet";
import { register } from "../../live/register";
import { VirtualList } from "../../virtual-list";
import { chosen, showOnMap } from "./chosen";
import { anyFilter, filters, type Ignition, type Listed, LOW_PCT, NONE, type Row, toggleKind } from "./filters";

const ROW = 42;

export const speedText = (kmh: number): string => (Number.isNaN(kmh) ? t("unknown") : t("kmh", { n: number(kmh) }));

function label({ id, slot }: Row): string {
  const level = levels.value.get(id) ?? 0;
  const plate = register.value.get(id)?.plate;
  const incident = level ? t("row.incident", { level, name: levelName(level) }) : "";
  const name = plate ? t("row.with_plate", { vehicle: id, plate }) : id;
  if (slot < 0) return t("row.away", { vehicle: name, incident });
  return t("row.label", {
    vehicle: name, state: t(`state.${fleet.kindOf(slot)}`), speed: speedText(fleet.speed[slot]!),
    age: span(fleet.ageSeconds(slot)), incident,
  });
}

/** Not a component: what it shows comes from the fleet, which no component knows to have changed. */
function line({ id, slot }: Row) {
  const level = levels.value.get(id) ?? 0;
  const known = register.value.get(id);
  const kind = slot < 0 ? "away" : fleet.kindOf(slot);
  return (
    <>
      <i class={`mark ${kind}`} />
      <span class="who">{level > 0 && <Level level={level} />}<b>{known?.plate ?? id}</b>{known?.plate && <span>{id}</span>}</span>
      <span class="value">{slot < 0 ? t("away") : speedText(fleet.speed[slot]!)}</span>
      <span class="value faint">{slot < 0 ? "" : span(fleet.ageSeconds(slot))}</span>
    </>
  );
}

const opened = signal(false);

function Filters() {
  const { ignition, lowFuel, leastLevel, kinds } = filters.value;
  const change = (values: Partial<typeof filters.value>) => { filters.value = { ...filters.value, ...values }; };
  return (
    <details class="filters" open={opened.value} onToggle={(event) => { opened.value = event.currentTarget.open; }}>
      <summary>{t("filters")}</summary>
      <fieldset><legend>{t("filter.state")}</legend>
        <div class="chips">{KINDS.map((kind) => (
          <button key={kind} aria-pressed={kinds.includes(kind)} onClick={() => toggleKind(kind)}><i class={`mark ${kind}`} />{t(`state.${kind}`)}</button>
        ))}</div>
      </fieldset>
      <fieldset><legend>{t("filter.ignition")}</legend>
        <div class="chips">{(["any", "on", "off"] as Ignition[]).map((one) => (
          <button key={one} aria-pressed={ignition === one} onClick={() => change({ ignition: one })}>{t(`ignition.${one}`)}</button>
        ))}</div>
      </fieldset>
      <fieldset><legend>{t("filter.incident")}</legend>
        <div class="chips">{[0, 1, 2, 3].map((one) => (
          <button key={one} aria-pressed={leastLevel === one} onClick={() => change({ leastLevel: one })}>
            {one === 0 ? t("filter.any") : t("filter.from_level", { n: one })}
          </button>
        ))}</div>
      </fieldset>
      <fieldset><legend class="hidden">{t("filter.fuel")}</legend>
        <div class="chips">
          <button aria-pressed={lowFuel} onClick={() => change({ lowFuel: !lowFuel })}>{t("filter.low_fuel", { n: LOW_PCT })}</button>
          {anyFilter() && <button onClick={() => change({ ...NONE, text: filters.value.text })}>{t("filter.clear")}</button>}
        </div>
      </fieldset>
    </details>
  );
}

export function VehicleList({ list }: { list: Signal<Listed> }) {
  const { rows, inView } = list.value;
  return (
    <>
      <div class="search">
        <label><span class="hidden">{t("search")}</span>
          <input
            id="search" type="search" placeholder={t("search")} autocomplete="off" spellcheck={false} value={filters.value.text}
            onInput={(event) => { filters.value = { ...filters.value, text: event.currentTarget.value }; }}
            onKeyDown={(event) => { if (event.key === "Enter" && rows[0]) showOnMap(rows[0].id); }}
          />
        </label>
        <Filters />
        <div class="list-head"><h2 id="list-title">{t("list.title", { n: inView })}</h2><span aria-hidden="true">{t("list.columns")}</span></div>
      </div>
      {rows.length === 0
        ? <p class="empty" role="status">{t(filters.value.text || anyFilter() ? "list.no_match" : "list.empty")}</p>
        : <VirtualList
            id="vehicles" label={t("list.title", { n: inView })} count={rows.length} rowHeight={ROW}
            selected={rows.findIndex((row) => row.id === chosen.value)} keyOf={(i) => rows[i]!.id}
            row={(i) => line(rows[i]!)} rowLabel={(i) => label(rows[i]!)} question={filters.value.text} onChoose={(i) => showOnMap(rows[i]!.id)}
          />}
    </>
  );
}
