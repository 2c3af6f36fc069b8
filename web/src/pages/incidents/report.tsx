// What a customer, a passer-by or our own staff tells us on the telephone, taken down while they speak.
import { useSignal } from "@preact/signals";
import type { TargetedSubmitEvent } from "preact";
import { useEffect, useMemo } from "preact/hooks";
import { ApiError, post } from "../../api/client";
import { t } from "../../i18n";
import { readRegister, register } from "../../live/register";
import { go } from "../../router";
import { actor } from "../../session";

const KINDS = ["accident", "breakdown", "theft", "assistance"] as const;
const ANSWERS = ["yes", "no", "unknown"] as const;
type Kind = (typeof KINDS)[number];

const answered = (text: string): boolean | null => (text === "yes" ? true : text === "no" ? false : null);

function localNow(): string {
  const now = new Date();
  return new Date(now.getTime() - now.getTimezoneOffset() * 60_000).toISOString().slice(0, 16);
}

/** The vehicle people mean by what they typed: its id, or its plate. */
function vehicleOf(typed: string): string {
  const wanted = typed.trim().toLowerCase();
  for (const one of register.value.values()) if (one.plate?.toLowerCase() === wanted) return one.vehicle_id;
  return typed.trim();
}

export function ReportForm({ vehicleId }: { vehicleId: string }) {
  const trouble = useSignal("");
  const busy = useSignal(false);
  const kept = useSignal<number | null>(null);
  // The same form sent twice is one report.
  const key = useMemo(() => crypto.randomUUID?.() ?? String(Math.random()).slice(2).padEnd(16, "0"), []);
  useEffect(() => { void readRegister(); }, []);

  async function submit(event: TargetedSubmitEvent<HTMLFormElement>) {
    event.preventDefault();
    const data = new FormData(event.currentTarget);
    const given = (name: string) => String(data.get(name) ?? "").trim();
    busy.value = true;
    trouble.value = "";
    try {
      const report = await post("/api/reports", {}, {
        vehicle_id: vehicleOf(given("vehicle")), kind: given("kind") as Kind, occurred_at: new Date(given("occurred_at")).toISOString(),
        told: given("told"), taken_by: given("taken_by"), reporter: given("reporter") || null, contact: given("contact") || null,
        injured: answered(given("injured")), drivable: answered(given("drivable")),
      }, { "Idempotency-Key": key });
      if (report.incident_id !== null) go(`/incidents/${report.incident_id}`);
      else kept.value = report.report_id;
    } catch (error) {
      trouble.value = error instanceof ApiError ? (error.status === 404 ? t("report.no_vehicle") : error.detail) : t("link.lost");
    } finally {
      busy.value = false;
    }
  }

  return (
    <form class="card stack report" onSubmit={(event) => void submit(event)}>
      <h1>{t("report.title")}</h1>
      {trouble.value && <p class="notice bad" role="alert">{trouble.value}</p>}
      {kept.value !== null && <p class="notice" role="status">{t("report.kept", { n: String(kept.value) })}</p>}
      <div class="two">
        <label class="field">{t("report.vehicle")}<input name="vehicle" required maxLength={64} defaultValue={vehicleId} list="known-vehicles" autocomplete="off" /></label>
        <datalist id="known-vehicles">{[...register.value.values()].slice(0, 2000).map((one) => <option key={one.vehicle_id} value={one.plate ?? one.vehicle_id}>{one.vehicle_id}</option>)}</datalist>
        <label class="field">{t("report.kind")}<select name="kind">{KINDS.map((one) => <option key={one} value={one}>{t(`report.kind.${one}`)}</option>)}</select></label>
        <label class="field">{t("report.occurred")}<input name="occurred_at" type="datetime-local" required defaultValue={localNow()} /></label>
        <label class="field">{t("report.taken_by")}<input name="taken_by" required maxLength={100} defaultValue={actor()} /></label>
        <label class="field">{t("report.reporter")}<input name="reporter" maxLength={100} autocomplete="off" /></label>
        <label class="field">{t("report.contact")}<input name="contact" maxLength={100} autocomplete="off" /></label>
        {(["injured", "drivable"] as const).map((name) => (
          <fieldset key={name} class="row wrap choices"><legend>{t(`report.${name}`)}</legend>
            {ANSWERS.map((one) => <label class="tick" key={one}><input type="radio" name={name} value={one} defaultChecked={one === "unknown"} />{t(`answer.${one}`)}</label>)}
          </fieldset>
        ))}
      </div>
      <label class="field">{t("report.told")}<textarea name="told" required maxLength={4000} rows={4} /></label>
      <div class="row"><button class="primary" disabled={busy.value}>{t("report.send")}</button><a class="button" href="/incidents">{t("cancel")}</a></div>
    </form>
  );
}
