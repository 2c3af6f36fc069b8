// One incident: what it is, what can be done, why it is one, and how the response stands.
import { useEffect, useMemo } from "preact/hooks";
import { dateAndTime, kindName, span, t } from "../../i18n";
import { Level } from "../../incidents/level";
import { now } from "../../ticking";
import { Actions } from "./actions";
import { Evidence } from "./evidence";
import { type Detail, OpenIncident } from "./open-incident";
import { dueText } from "./queue";
import { Calls, Checklist, Obligations } from "./response";
import { Scene } from "./scene";
import { Timeline } from "./timeline";

function Head({ detail }: { detail: Detail }) {
  const due = detail.status === "open" ? dueText(detail.incident_id) : null;
  return (
    <header class="stack">
      {detail.drill && <p class="notice drill">{t("drill.banner")}</p>}
      <div class="row wrap title">
        <Level level={detail.level} named />
        <h1 tabIndex={-1} id="incident-title">{kindName(detail.kind)}</h1>
        <span class={`tag status-${detail.status}`}>{t(`status.${detail.status}`)}</span>
        <span class="faint num push">{t("incident.number", { n: String(detail.incident_id) })}</span>
      </div>
      {due && <p class={due.late ? "notice bad" : "notice"} role="timer">{due.text}</p>}
      <dl class="facts wide">
        <dt>{t("fact.vehicle")}</dt><dd><b>{detail.plate ?? detail.vehicle_id}</b>{detail.plate && <span class="faint"> {detail.vehicle_id}</span>}</dd>
        <dt>{t("fact.happened")}</dt><dd>{dateAndTime(detail.occurred_at)} <span class="faint">{t("ago", { span: span((now.value - Date.parse(detail.occurred_at)) / 1000) })}</span></dd>
        <dt>{t("fact.known")}</dt><dd>{t("known_after", { span: span(detail.delay_s) })}</dd>
        {detail.acknowledged_by && <><dt>{t("fact.acknowledged")}</dt><dd>{detail.acknowledged_by}</dd></>}
        {detail.assigned_to && <><dt>{t("fact.assigned")}</dt><dd>{detail.assigned_to}</dd></>}
        {detail.close_reason && <><dt>{t("fact.closed")}</dt><dd>{detail.close_reason} <span class="faint">{detail.closed_by}</span></dd></>}
      </dl>
    </header>
  );
}

export function IncidentView({ id }: { id: number }) {
  const incident = useMemo(() => new OpenIncident(id), [id]);
  useEffect(() => incident.start(), [incident]);
  const detail = incident.detail.value;
  const there = detail !== null;
  useEffect(() => {
    // Whoever chose it in the queue goes on here.
    if (there) document.getElementById("incident-title")?.focus({ preventScroll: true });
  }, [there]);
  if (!detail) return incident.trouble.value ? <p class="notice bad" role="alert">{incident.trouble.value}</p> : <p class="empty" role="status">{t("loading")}</p>;
  return (
    <article class="incident" aria-labelledby="incident-title">
      <div class="card stack lead"><Head detail={detail} /><Actions incident={incident} /></div>
      <div class="columns">
        <div class="stack"><Checklist incident={incident} /><Calls incident={incident} /><Obligations incident={incident} /></div>
        <div class="stack"><Scene detail={detail} /><Evidence detail={detail} /><Timeline lines={detail.timeline} /></div>
      </div>
    </article>
  );
}
