// Which vehicles are shown, on the map and in the list.
import { signal } from "@preact/signals";
import { levels } from "../../incidents/store";
import { fleet } from "../../live/channel";
import { KINDS, type Kind } from "../../live/fleet";
import { energy, register } from "../../live/register";

export type Ignition = "any" | "on" | "off";
export type Filters = {
  text: string;
  /** Empty: every state. */
  kinds: readonly Kind[];
  ignition: Ignition;
  lowFuel: boolean;
  /** Only vehicles with an incident of this level and above; 0 shows all. */
  leastLevel: number;
};
/** A vehicle of the list: `slot` -1 stands for one that is not in view. */
export type Row = { id: string; slot: number };

export const NONE: Filters = { text: "", kinds: [], ignition: "any", lowFuel: false, leastLevel: 0 };
export const filters = signal<Filters>(NONE);
export const LOW_PCT = 15;
const MOST_ELSEWHERE = 100;
const IGNITION_ON = 1;
const IGNITION_KNOWN = 2;

export const anyFilter = (): boolean => {
  const { kinds, ignition, lowFuel, leastLevel } = filters.value;
  return kinds.length > 0 || ignition !== "any" || lowFuel || leastLevel > 0;
};

export function passes(slot: number): boolean {
  const { kinds, ignition, lowFuel, leastLevel } = filters.value;
  const id = fleet.ids[slot]!;
  if (kinds.length && !kinds.includes(fleet.kindOf(slot))) return false;
  if (ignition !== "any") {
    const state = fleet.state[slot]!;
    if (!(state & IGNITION_KNOWN) || Boolean(state & IGNITION_ON) !== (ignition === "on")) return false;
  }
  if (lowFuel && (energy.value.get(id) ?? 100) > LOW_PCT) return false;
  return leastLevel === 0 || (levels.value.get(id) ?? 0) >= leastLevel;
}

function says(id: string, wanted: string): boolean {
  if (id.toLowerCase().includes(wanted)) return true;
  const known = register.value.get(id);
  return Boolean(known && (known.plate?.toLowerCase().includes(wanted) || known.model?.toLowerCase().includes(wanted)));
}

// Sorting ten thousand names takes a while, so the order is kept until there are other names.
const collator = new Intl.Collator("en", { numeric: true });
let ordered: number[] = [];
let orderedVersion = -1;

function slotsInOrder(): number[] {
  if (orderedVersion !== fleet.namesVersion) {
    orderedVersion = fleet.namesVersion;
    ordered = Array.from({ length: fleet.size }, (_, slot) => slot).sort((a, b) => collator.compare(fleet.ids[a]!, fleet.ids[b]!));
  }
  return ordered;
}

export type Listed = { rows: Row[]; inView: number; counts: Record<Kind, number> };

/** The list: vehicles with incidents first, then by id; while searching also those elsewhere. */
export function listed(sees: (slot: number) => boolean): Listed {
  const wanted = filters.value.text.trim().toLowerCase();
  const counts: Record<Kind, number> = { moving: 0, idling: 0, parked: 0, stale: 0 };
  const first: Row[] = [];
  const rest: Row[] = [];
  const elsewhere: Row[] = [];
  let inView = 0;
  for (const slot of slotsInOrder()) {
    if (!fleet.present[slot] || !sees(slot)) continue;
    counts[fleet.kindOf(slot)]++;
    if (!passes(slot)) continue;
    inView++;
    const id = fleet.ids[slot]!;
    if (wanted && !says(id, wanted)) continue;
    (levels.value.has(id) ? first : rest).push({ id, slot });
  }
  if (wanted) {
    const here = new Set([...first, ...rest].map((row) => row.id));
    for (const id of register.value.keys()) {
      if (elsewhere.length >= MOST_ELSEWHERE) break;
      if (!here.has(id) && says(id, wanted)) elsewhere.push({ id, slot: -1 });
    }
  }
  first.sort((a, b) => levels.value.get(b.id)! - levels.value.get(a.id)!);
  return { rows: [...first, ...rest, ...elsewhere], inView, counts };
}

export function toggleKind(kind: Kind): void {
  const { kinds } = filters.value;
  const next = kinds.includes(kind) ? kinds.filter((one) => one !== kind) : KINDS.filter((one) => one === kind || kinds.includes(one));
  filters.value = { ...filters.value, kinds: next.length === KINDS.length ? [] : next };
}
