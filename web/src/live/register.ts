// Plates and models of the vehicles, which the live frames do not carry.
import { signal } from "@preact/signals";
import { get, type Schemas } from "../api/client";

export type Registered = Pick<Schemas["VehicleOut"], "vehicle_id" | "plate" | "model" | "depot" | "vehicle_class">;

export const register = signal<ReadonlyMap<string, Registered>>(new Map());
/** Percent of fuel or charge; read only while somebody filters by it. */
export const energy = signal<ReadonlyMap<string, number>>(new Map());

const PAGE = 500;
const LEAST_MS = 15_000;
let readAt = -Infinity;
let reading = false;

export const plateOf = (id: string): string | null => register.value.get(id)?.plate ?? null;

export async function readRegister(): Promise<void> {
  if (reading || performance.now() - readAt < LEAST_MS) return;
  reading = true;
  try {
    const found = new Map<string, Registered>();
    for (let cursor: string | null = ""; cursor !== null;) {
      const page: Schemas["VehiclePage"] = await get("/api/vehicles", {}, { cursor, limit: PAGE });
      page.vehicles.forEach((one) => found.set(one.vehicle_id, one));
      cursor = page.next_cursor;
    }
    register.value = found;
  } catch { /* ids alone will do until the next time */ } finally {
    reading = false;
    readAt = performance.now();
  }
}

export async function readEnergy(): Promise<void> {
  const answer = await get("/api/vehicles/live", {}, { limit: 50_000 }).catch(() => null);
  if (!answer) return;
  const found = new Map<string, number>();
  for (const one of answer.vehicles) {
    const left = one.fuel_pct ?? one.soc_pct;
    if (left !== null) found.set(one.vehicle_id, left);
  }
  energy.value = found;
}
