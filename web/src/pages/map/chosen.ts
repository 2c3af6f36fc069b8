// Which vehicle is chosen, and where the map shall look. Kept outside the map page: other pages point at vehicles too.
import { signal } from "@preact/signals";
import { go } from "../../router";

export const chosen = signal<string | null>(null);
/** Where to look next; the map takes it away when it has looked there. */
export const lookAt = signal<{ vehicleId: string | null; lon: number | null; lat: number | null } | null>(null);

export function showOnMap(vehicleId: string, lon: number | null = null, lat: number | null = null): void {
  chosen.value = vehicleId;
  lookAt.value = { vehicleId, lon, lat };
  go("/");
}
