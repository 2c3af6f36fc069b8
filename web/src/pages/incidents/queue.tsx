// The queue: gravest first, then what is due first. One list, worked with arrows and Enter.
import type { ReadonlySignal } from "@preact/signals";
import { kindName, span, t } from "../../i18n";
import { Level, levelName } from "../../incidents/level";
import { roleName } from "../../incidents/policy";
import { dues, type Incident, incidentsRead, queue } from "../../incidents/store";
import { go } from "../../router";
import { now } from "../../ticking";
import { VirtualList } from "../../virtual-list";

const ROW = 74;

/** When the next call falls due, in words. */
export function dueText(id: number): { text: string; late: boolean } | null {
  const due = dues.value.get(id);
  if (!due) return null;
  const seconds = (due.dueAt - now.value) / 1000;
  return { text: t("due.next", { role: roleName(due.role), span: span(seconds) }), late: seconds < 60 };
}

const vehicleName = (one: Incident): string => one.plate ?? one.vehicle_id;
const since = (one: Incident): string => span((now.value - Date.parse(one.occurred_at)) / 1000);

function label(one: Incident): string {
  return t("queue.label", {
    level: one.level, name: levelName(one.level), kind: kindName(one.kind), vehicle: vehicleName(one), since: since(one),
    status: t(`status.${one.status}`), due: dueText(one.incident_id)?.text ?? "", drill: one.drill ? t("drill") : "",
  });
}

function line(one: Incident) {
  const due = one.status === "open" ? dueText(one.incident_id) : null;
  return (
    <>
      <Level level={one.level} />
      <span class="what">
        <span class="row"><b>{kindName(one.kind)}</b>{one.drill && <span class="tag drill">{t("drill")}</span>}</span>
        <span class="faint">{vehicleName(one)}{one.depot ? t("joined", { text: one.depot }) : ""}</span>
        {one.status === "open"
          ? <span class={due?.late ? "due late" : "due"}>{due?.text ?? t("status.open")}</span>
          : <span class="faint">{t("queue.by", { who: one.assigned_to ?? one.acknowledged_by ?? t("unknown") })}</span>}
      </span>
      <span class="value">{t("ago", { span: since(one) })}</span>
    </>
  );
}

export function Queue({ chosen }: { chosen: ReadonlySignal<number | null> }) {
  const rows = queue.value;
  const waiting = rows.filter((one) => one.status === "open").length;
  return (
    <section class="queue" aria-label={t("queue")}>
      <div class="head">
        <h1>{t("queue")}</h1>
        <p class="faint" role="status">{t("queue.counts", { open: waiting, all: rows.length })}</p>
        <div class="row wrap">
          <a class="button" href="/incidents/report">{t("report")}</a>
          <a class="button" href="/incidents/statistics">{t("statistics")}</a>
        </div>
      </div>
      {rows.length === 0
        ? <p class="empty">{t(incidentsRead.value ? "queue.empty" : "loading")}</p>
        : <VirtualList
            id="queue" label={t("queue")} count={rows.length} rowHeight={ROW}
            selected={rows.findIndex((one) => one.incident_id === chosen.value)}
            keyOf={(i) => String(rows[i]!.incident_id)} row={(i) => line(rows[i]!)} rowLabel={(i) => label(rows[i]!)}
            onChoose={(i) => go(`/incidents/${rows[i]!.incident_id}`)}
          />}
    </section>
  );
}
