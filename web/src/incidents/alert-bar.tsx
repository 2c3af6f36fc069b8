// What must not be overlooked, on every page: the gravest unanswered incidents, and alarms as devices raise them.
import { coded, kindName, span, t, timeOfDay } from "../i18n";
import { alarms, hideAlarm, LEAST_LEVEL } from "./alerts";
import { Level } from "./level";
import { showOnMap } from "../pages/map/chosen";
import { now } from "../ticking";
import { plateOf } from "../live/register";
import { unanswered } from "./store";

export function AlertBar({ withIncidents }: { withIncidents: boolean }) {
  const grave = withIncidents ? unanswered.value.filter((one) => one.level >= LEAST_LEVEL && !one.drill) : [];
  const first = grave[0];
  return (
    <section class="alerts" role="alert" aria-label={t("alerts")}>
      {first && (
        <div key={first.incident_id} data-level={first.level}>
          <Level level={first.level} />
          <a class="what" href={`/incidents/${first.incident_id}`}>
            {t("alert.incident", { kind: kindName(first.kind), vehicle: first.plate ?? first.vehicle_id })}
          </a>
          <span class="num faint" aria-hidden="true">{t("ago", { span: span((now.value - Date.parse(first.occurred_at)) / 1000) })}</span>
          <button class="plain" onClick={() => showOnMap(first.vehicle_id, first.lon_deg, first.lat_deg)}>{t("show_on_map")}</button>
          {grave.length > 1 && <a class="button" href="/incidents">{t("alert.more", { n: grave.length - 1 })}</a>}
        </div>
      )}
      {alarms.value.map((alarm) => (
        <div key={`${alarm.vehicle_id} ${alarm.kind} ${alarm.occurred_at}`} data-level="1">
          <a class="what" href="/" onClick={() => showOnMap(alarm.vehicle_id, alarm.lon_deg, alarm.lat_deg)}>
            {t("alert.alarm", { kind: coded("alarm", alarm.kind), vehicle: plateOf(alarm.vehicle_id) ?? alarm.vehicle_id, time: timeOfDay(alarm.occurred_at) })}
          </a>
          <button class="plain" aria-label={t("alert.hide")} onClick={() => hideAlarm(alarm)}>{t("hide")}</button>
        </div>
      ))}
    </section>
  );
}
