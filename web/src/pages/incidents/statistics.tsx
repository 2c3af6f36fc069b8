// How often, how grave, how fast answered, how often false; and how drills were answered.
import { useSignal, useSignalEffect } from "@preact/signals";
import { get, type Schemas } from "../../api/client";
import { dateAndTime, kindName, number, span, t } from "../../i18n";
import { Level } from "../../incidents/level";

const SPANS = [1, 7, 30, 365] as const;
const DAY_MS = 86_400_000;

type Found = {
  kinds: Schemas["KindCountOut"][];
  drills: Schemas["DrillAnswerOut"][];
  falseAlarms: Schemas["FalseAlarmsOut"][];
};

const maybe = (seconds: number | null): string => (seconds === null ? t("unknown") : span(seconds));

export function Statistics() {
  const days = useSignal<number>(7);
  const found = useSignal<Found | null>(null);
  const failed = useSignal(false);
  useSignalEffect(() => {
    const from = new Date(Date.now() - days.value * DAY_MS).toISOString();
    failed.value = false;
    Promise.all([
      get("/api/incidents/counts", {}, { from }), get("/api/incidents/drills", {}, { from }), get("/api/response/false-alarms", {}, { from }),
    ]).then(([counts, drills, alarms]) => {
      found.value = { kinds: counts.kinds, drills: drills.incidents, falseAlarms: alarms.false_alarms.filter((one) => one.device_id === null) };
    }, () => { failed.value = true; });
  });
  return (
    <section class="stack" aria-labelledby="statistics">
      <div class="row wrap">
        <h1 id="statistics">{t("statistics")}</h1>
        <div class="chips push" role="group" aria-label={t("statistics.span")}>
          {SPANS.map((one) => <button key={one} aria-pressed={days.value === one} onClick={() => { days.value = one; }}>{t("span.days", { n: one })}</button>)}
        </div>
      </div>
      {failed.value && <p class="notice bad" role="alert">{t("link.lost")}</p>}
      {found.value === null ? <p class="empty" role="status">{t("loading")}</p> : <Tables {...found.value} />}
    </section>
  );
}

function Tables({ kinds, drills, falseAlarms }: Found) {
  return (
    <>
      <div class="card"><table>
        <caption>{t("statistics.kinds")}</caption>
        <thead><tr>
          <th scope="col">{t("column.kind")}</th><th scope="col" class="num">{t("column.incidents")}</th>
          {[1, 2, 3].map((one) => <th scope="col" class="num" key={one}>{t("level.short", { n: one })}</th>)}
          <th scope="col" class="num">{t("column.vehicles")}</th><th scope="col" class="num">{t("column.dismissed")}</th>
          <th scope="col" class="num">{t("column.acknowledged")}</th><th scope="col" class="num">{t("column.closed")}</th>
        </tr></thead>
        <tbody>
          {kinds.map((one) => (
            <tr key={one.kind}>
              <th scope="row">{kindName(one.kind)}</th><td class="num">{number(one.incidents)}</td>
              <td class="num">{number(one.level_1)}</td><td class="num">{number(one.level_2)}</td><td class="num">{number(one.level_3)}</td>
              <td class="num">{number(one.vehicles)}</td><td class="num">{number(one.dismissed)}</td>
              <td class="num">{maybe(one.median_acknowledge_s)}</td><td class="num">{maybe(one.median_close_s)}</td>
            </tr>
          ))}
          {kinds.length === 0 && <tr><td colSpan={9} class="faint">{t("statistics.none")}</td></tr>}
        </tbody>
      </table></div>
      {falseAlarms.length > 0 && <div class="card"><table>
        <caption>{t("statistics.false")}</caption>
        <thead><tr><th scope="col">{t("column.detector")}</th><th scope="col">{t("column.kind")}</th><th scope="col" class="num">{t("column.closed_count")}</th><th scope="col" class="num">{t("column.false")}</th></tr></thead>
        <tbody>{falseAlarms.map((one) => (
          <tr key={`${one.detector} ${one.version} ${one.kind}`}>
            <th scope="row">{one.detector.replaceAll("_", " ")} {one.version}</th><td>{kindName(one.kind)}</td>
            <td class="num">{number(one.closed)}</td><td class="num">{t("percent", { n: number(one.rate * 100) })}</td>
          </tr>
        ))}</tbody>
      </table></div>}
      {drills.length > 0 && <div class="card"><table>
        <caption>{t("statistics.drills")}</caption>
        <thead><tr>
          <th scope="col">{t("column.kind")}</th><th scope="col">{t("fact.happened")}</th><th scope="col" class="num">{t("column.known")}</th>
          <th scope="col" class="num">{t("column.first_notice")}</th><th scope="col" class="num">{t("column.acknowledged")}</th><th scope="col">{t("column.by")}</th>
        </tr></thead>
        <tbody>{drills.map((one) => (
          <tr key={one.incident_id}>
            <td><a class="row" href={`/incidents/${one.incident_id}`}><Level level={one.level} />{kindName(one.kind)}</a></td>
            <td class="when">{dateAndTime(one.occurred_at)}</td><td class="num">{span(one.known_s)}</td>
            <td class="num">{maybe(one.first_notice_s)}</td><td class="num">{maybe(one.acknowledged_s)}</td><td>{one.acknowledged_by ?? t("unknown")}</td>
          </tr>
        ))}</tbody>
      </table></div>}
    </>
  );
}
