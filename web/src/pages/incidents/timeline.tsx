// What happened, newest first; machines and people told apart.
import { useSignal } from "@preact/signals";
import { coded, dateAndTime, t } from "../../i18n";
import { roleName } from "../../incidents/policy";
import type { Detail } from "./open-incident";

type Line = Detail["timeline"][number];
const FIRST = 12;

function Told({ line }: { line: Line }) {
  const machine = line.actor.startsWith("machine:");
  const role = typeof line.data["role"] === "string" ? roleName(line.data["role"]) : null;
  const level = line.data["level"];
  // The machines' own sentences are in English; the code says the same in each language.
  const reason = machine ? null : line.reason;
  return (
    <li>
      <span class="num when faint">{dateAndTime(line.at)}</span>
      <div>
        <b>{coded("event", line.kind)}</b>
        {typeof level === "number" && <span> {t("level.short", { n: level })}</span>}
        {role && <span> {role}</span>}
        <span class="faint"> {machine ? t("by_machine") : line.actor}</span>
        {reason && <p class="said">{reason}</p>}
      </div>
    </li>
  );
}

export function Timeline({ lines }: { lines: Detail["timeline"] }) {
  const all = useSignal(false);
  const newest = [...lines].reverse();
  const shown = all.value ? newest : newest.slice(0, FIRST);
  return (
    <section class="card stack" aria-labelledby="timeline">
      <h2 id="timeline">{t("timeline")}</h2>
      <ol class="timeline">{shown.map((line) => <Told key={line.event_id} line={line} />)}</ol>
      {newest.length > FIRST && <button class="plain" aria-expanded={all.value} onClick={() => { all.value = !all.value; }}>{t(all.value ? "fewer" : "more", { n: newest.length - FIRST })}</button>}
    </section>
  );
}
