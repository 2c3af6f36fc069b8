// Incidents on the map: buttons with the level's number, shape and colour.
import { kindName, t } from "../../i18n";
import { levelName } from "../../incidents/level";
import type { Incident } from "../../incidents/store";
import type { Pin } from "../../map/live-map";
import { go } from "../../router";

export function pinsOf(found: Iterable<Incident>): Pin[] {
  return [...found]
    .filter((one) => one.lon_deg !== null && one.lat_deg !== null)
    .map((one) => ({
      // Another look is another pin.
      id: one.incident_id * 1000 + one.revision % 1000,
      lon: one.lon_deg!,
      lat: one.lat_deg!,
      element: () => element(one),
    }));
}

function element(one: Incident): HTMLElement {
  const button = document.createElement("button");
  const level = document.createElement("span");
  const name = t("pin", {
    kind: kindName(one.kind), vehicle: one.plate ?? one.vehicle_id, level: one.level, name: levelName(one.level), status: t(`status.${one.status}`),
  });
  button.className = "pin";
  button.dataset["new"] = String(one.status === "open");
  button.dataset["drill"] = String(one.drill);
  button.dataset["incident"] = String(one.incident_id);
  button.setAttribute("aria-label", name);
  button.title = name;
  level.className = `level level-${one.level}`;
  level.textContent = String(one.level);
  button.append(level);
  button.addEventListener("click", (event) => {
    event.stopPropagation();
    go(`/incidents/${one.incident_id}`);
  });
  return button;
}
