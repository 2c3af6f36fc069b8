// What must not be overlooked, on every page: the gravest unanswered incidents, and alarms as devices raise them.
import { coded, kindName, span, t, timeOfDay } from "../i18n";
import { alarms, hideAlarm, LEAST_LEVEL } from "./alerts";
import { Level } from "./level";
import { showOnMap } from "../pages/map/chosen";
import { now } from "../ticking";
import { plateOf } from "../live/register";
import { unanswered } from "./store";

const MOST = 2;

export function AlertBar() {
  const grave = unanswered.value.filter((one) => one.level >= LEAST_LEVEL && !one.drill);
  const first = grave.slice(0, MOST);
  return (
    <section class="alerts" role="alert" aria-label={t("alerts")}>
      {first.map((one) => (
        <div key={one.incident_id} data-level={one.level}>
          <Level level={one.level} />
          <a class="what" href={`/incidents/${one.incident_id}`}>
            {t("alert.incident", { kind: kindName(one.kind), vehicle: one.plate ?? one.vehicle_id })}
          </a>
          <span class="num faint" aria-hidden="true">{t("ago", { span: span((now.value - Date.parse(one.occurred_at)) / 1000) })}</span>
          <button class="plain" onClick={() => showOnMap(one.vehicle_id, one.lon_deg, one.lat_deg)}>{t("show_on_map")}</button>
        </div>
      ))}
      {grave.length > MOST && <div data-level={grave[MOST]!.level}><a class="what" href="/incidents">{t("alert.more", { n: grave.length - MOST })}</a></div>}
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
