// How the response stands: what is to be done, who is called next and when, and what runs by a clock of its own.
import { useSignal } from "@preact/signals";
import { coded, dateAndTime, inLanguage, span, t, timeOfDay } from "../../i18n";
import { obligationText, roleName } from "../../incidents/policy";
import { now } from "../../ticking";
import type { OpenIncident, Response } from "./open-incident";

export function Checklist({ incident }: { incident: OpenIncident }) {
  // A tick shows at once and is taken back when the server refuses it.
  const asked = useSignal<{ item: string; done: boolean } | null>(null);
  const items = incident.response.value?.checklist ?? [];
  const status = incident.detail.value!.status;
  const alive = status === "open" || status === "acknowledged";
  if (items.length === 0) return null;
  const left = items.filter((one) => one.required && !one.done_at).length;
  return (
    <section class="card stack" aria-labelledby="checklist">
      <div class="row"><h2 id="checklist">{t("checklist")}</h2><span class="faint push">{t(left ? "checklist.left" : "checklist.complete", { n: left })}</span></div>
      <ul class="stack tight">{items.map((one) => (
        <li key={one.item}>
          <label class="tick">
            <input
              type="checkbox" disabled={!alive || incident.busy.value}
              checked={asked.value?.item === one.item ? asked.value.done : one.done_at !== null}
              onChange={(event) => {
                const done = event.currentTarget.checked;
                asked.value = { item: one.item, done };
                void incident.act(`checklist/${one.item}${done ? "" : "/undo"}`).then(() => { asked.value = null; });
              }}
            />
            <span>{inLanguage(one.text)}{one.required && <span class="tag required">{t("required")}</span>}
              {one.done_at && <span class="faint by">{t("done_by", { who: one.done_by ?? "", time: timeOfDay(one.done_at) })}</span>}
            </span>
          </label>
        </li>
      ))}</ul>
    </section>
  );
}

type Step = Response["steps"][number];

function Call({ step }: { step: Step }) {
  const seconds = (Date.parse(step.due_at) - now.value) / 1000;
  const purpose = coded("purpose", step.purpose);
  return (
    <li class={step.outcome === null ? "row coming" : "row"}>
      <span class="num when">{timeOfDay(step.done_at ?? step.due_at)}</span>
      <span><b>{roleName(step.role)}</b> {purpose}{step.repeat > 0 && t("call.again", { n: step.repeat + 1 })}</span>
      <span class={step.outcome === "nobody_reachable" || step.outcome === "missed" ? "push bad" : "push faint"}>
        {step.outcome === null ? t(seconds > 0 ? "call.in" : "call.due", { span: span(seconds) }) : coded("outcome", step.outcome)}
      </span>
    </li>
  );
}

export function Calls({ incident }: { incident: OpenIncident }) {
  const all = useSignal(false);
  const response = incident.response.value;
  if (!response || response.steps.length === 0) return null;
  const coming = response.steps.filter((one) => one.outcome === null).sort((a, b) => a.due_at.localeCompare(b.due_at));
  const done = response.steps.filter((one) => one.outcome !== null).sort((a, b) => (b.done_at ?? "").localeCompare(a.done_at ?? ""));
  const sent = response.notices.filter((one) => one.state === "sent").length;
  const shown = all.value ? done : done.slice(0, 4);
  return (
    <section class="card stack" aria-labelledby="calls">
      <div class="row"><h2 id="calls">{t("calls")}</h2><span class="faint push">{t("calls.sent", { n: sent })}</span></div>
      {coming.length === 0 && <p class="faint">{t("calls.none_coming")}</p>}
      <ol class="lines" aria-label={t("calls.coming")}>{coming.slice(0, 3).map((one) => <Call key={`${one.round} ${one.purpose} ${one.step} ${one.repeat}`} step={one} />)}</ol>
      {done.length > 0 && <h3>{t("calls.done")}</h3>}
      <ol class="lines" aria-label={t("calls.done")}>{shown.map((one) => <Call key={`${one.round} ${one.purpose} ${one.step} ${one.repeat}`} step={one} />)}</ol>
      {done.length > 4 && <button class="plain" aria-expanded={all.value} onClick={() => { all.value = !all.value; }}>{t(all.value ? "fewer" : "more", { n: done.length - 4 })}</button>}
    </section>
  );
}

export function Obligations({ incident }: { incident: OpenIncident }) {
  const found = incident.response.value?.obligations ?? [];
  if (found.length === 0) return null;
  return (
    <section class="card stack" aria-labelledby="obligations">
      <h2 id="obligations">{t("obligations")}</h2>
      <ul class="lines">{found.map((one) => {
        const seconds = (Date.parse(one.due_at) - now.value) / 1000;
        const open = one.done_at === null && one.waived_because === null;
        return (
          <li key={one.obligation_id} class="row wrap">
            <span><b>{obligationText(one.kind) ?? coded("obligation", one.kind)}</b> <span class="faint">{roleName(one.role)}</span></span>
            {open
              ? <>
                  <span class={seconds < 0 ? "push bad" : "push faint"} title={dateAndTime(one.due_at)}>{t(seconds < 0 ? "obligation.overdue" : "obligation.due", { span: span(Math.abs(seconds)) })}</span>
                  <button disabled={incident.busy.value} onClick={() => void incident.act(`obligations/${one.obligation_id}/done`)}>{t("obligation.met")}</button>
                </>
              : <span class="push faint">{one.done_at ? t("done_by", { who: one.done_by ?? "", time: dateAndTime(one.done_at) }) : t("obligation.waived")}</span>}
          </li>
        );
      })}</ul>
    </section>
  );
}
