// What can be done with an incident: a row of buttons, and one form below it for the one that is being done.
import { useSignal } from "@preact/signals";
import type { TargetedSubmitEvent } from "preact";
import { useEffect, useRef } from "preact/hooks";
import { type Key, t } from "../../i18n";
import { levelName } from "../../incidents/level";
import { actor } from "../../session";
import type { OpenIncident } from "./open-incident";

const FORMS = ["assign", "comment", "level", "injury", "resolve", "dismiss", "reopen"] as const;
type Form = (typeof FORMS)[number];

const possible = (status: string): readonly Form[] =>
  status === "open" || status === "acknowledged" ? ["assign", "comment", "level", "injury", "resolve", "dismiss"] : ["comment", "reopen"];

function values(form: Form, given: (name: string) => string): Record<string, unknown> {
  const note = given("note") || null;
  switch (form) {
    case "assign": return { to: given("to") || null, note };
    case "comment": return { reason: given("reason") };
    case "level": return { level: Number(given("level")), reason: given("reason") };
    case "injury": return { injured: given("injured") === "yes", note };
    case "resolve": return { reason: given("reason"), cause: given("cause") || null };
    case "dismiss": return { reason: given("reason") };
    case "reopen": return { reason: given("reason") };
  }
}

const PRESETS = ["pothole", "maintenance", "driver_ok", "test", "device_fault"] as const;

function Reason({ words, presets }: { words: Key; presets?: boolean }) {
  const field = useRef<HTMLTextAreaElement>(null);
  return (
    <>
      <label class="field">{t(words)}<textarea name="reason" required maxLength={4000} ref={field} /></label>
      {presets && <div class="chips">{PRESETS.map((one) => (
        <button key={one} type="button" onClick={() => { field.current!.value = t(`preset.${one}`); field.current!.focus(); }}>{t(`preset.${one}`)}</button>
      ))}</div>}
    </>
  );
}

function Fields({ form, level, assignee }: { form: Form; level: number; assignee: string | null }) {
  switch (form) {
    case "assign": return (
      <>
        <label class="field">{t("assign.to")}<input name="to" maxLength={100} defaultValue={assignee ?? actor()} /></label>
        <label class="field">{t("act.note")}<input name="note" maxLength={4000} /></label>
      </>
    );
    case "level": return (
      <>
        <fieldset class="row wrap choices"><legend>{t("level.new")}</legend>
          {[1, 2, 3].map((one) => (
            <label class="tick" key={one}><input type="radio" name="level" value={one} required disabled={one === level} />{t("level.number", { n: one, name: levelName(one) })}</label>
          ))}
        </fieldset>
        <Reason words="act.reason" />
      </>
    );
    case "injury": return (
      <>
        <fieldset class="row wrap choices"><legend>{t("injury.question")}</legend>
          {(["yes", "no"] as const).map((one) => <label class="tick" key={one}><input type="radio" name="injured" value={one} required />{t(`injury.${one}`)}</label>)}
        </fieldset>
        <label class="field">{t("act.note")}<input name="note" maxLength={4000} /></label>
      </>
    );
    case "resolve": return (
      <>
        <Reason words="resolve.done" />
        <label class="field">{t(level >= 2 ? "resolve.cause_needed" : "resolve.cause")}<textarea name="cause" maxLength={4000} required={level >= 2} /></label>
      </>
    );
    case "dismiss": return <Reason words="dismiss.why" presets />;
    case "comment": return <Reason words="comment.text" />;
    case "reopen": return <Reason words="reopen.why" />;
  }
}

export function Actions({ incident }: { incident: OpenIncident }) {
  const open = useSignal<Form | null>(null);
  const form = useRef<HTMLFormElement>(null);
  const detail = incident.detail.value!;
  useEffect(() => {
    form.current?.querySelector<HTMLElement>("input:not(:disabled), textarea")?.focus();
  }, [open.value]);

  async function submit(event: TargetedSubmitEvent<HTMLFormElement>) {
    event.preventDefault();
    const which = open.value!;
    const given = new FormData(event.currentTarget);
    const done = await incident.act(which, values(which, (name) => String(given.get(name) ?? "").trim()));
    // Meanwhile people may have opened another form.
    if (done && open.value === which) open.value = null;
  }
  return (
    <div class="stack">
      <div class="row wrap" role="toolbar" aria-label={t("actions")}>
        {detail.status === "open" && (
          <button class="primary" disabled={incident.busy.value} onClick={() => void incident.act("acknowledge")}>{t("act.acknowledge")}</button>
        )}
        {possible(detail.status).map((one) => (
          <button key={one} aria-expanded={open.value === one} aria-pressed={open.value === one} onClick={() => { open.value = open.value === one ? null : one; }}>
            {t(`act.${one}`)}
          </button>
        ))}
      </div>
      {incident.trouble.value && <p class="notice bad" role="alert">{incident.trouble.value}</p>}
      {open.value && (
        <form
          class="card stack" ref={form} key={open.value} aria-label={t(`act.${open.value}`)} onSubmit={(event) => void submit(event)}
          onKeyDown={(event) => { if (event.key === "Escape") open.value = null; }}
        >
          <Fields form={open.value} level={detail.level} assignee={detail.assigned_to} />
          <div class="row">
            <button class={open.value === "dismiss" ? "danger" : "primary"} disabled={incident.busy.value}>{t(`act.${open.value}`)}</button>
            <button type="button" onClick={() => { open.value = null; }}>{t("cancel")}</button>
          </div>
        </form>
      )}
    </div>
  );
}
