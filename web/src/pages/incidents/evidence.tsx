// Why it is an incident: each detection and report with its reasons, its score and what was measured.
import { coded, inLanguage, kindName, number, span, t, timeOfDay } from "../../i18n";
import { Level } from "../../incidents/level";
import type { Detail } from "./open-incident";

type Reasons = Detail["detections"][number]["reasons"];

function Because({ reasons }: { reasons: Reasons }) {
  return <ul class="because">{reasons.map((one, i) => <li key={i}>{inLanguage(one.text)}</li>)}</ul>;
}

function Score({ score }: { score: number }) {
  return (
    <span class="row score"><meter min={0} max={1} value={score} aria-label={t("score")} /><span class="num">{t("percent", { n: number(score * 100) })}</span></span>
  );
}

export function Evidence({ detail }: { detail: Detail }) {
  return (
    <section class="card stack" aria-labelledby="evidence">
      <h2 id="evidence">{t("evidence")}</h2>
      {detail.detections.map((one) => (
        <article key={one.detection_id} class={one.standing ? "stack tight" : "stack tight withdrawn"}>
          <div class="row wrap">
            <Level level={one.level} /><b>{kindName(one.kind)}</b>
            <span class="num faint">{timeOfDay(one.occurred_at)}</span>
            {!one.standing && <span class="tag">{t("evidence.withdrawn")}</span>}
            {one.stale && <span class="tag">{t("evidence.stale")}</span>}
            <span class="push"><Score score={one.score} /></span>
          </div>
          <Because reasons={one.reasons} />
          <p class="faint small">{t("evidence.detector", { detector: one.detector.replaceAll("_", " "), version: String(one.version), delay: span(one.delay_s) })}</p>
        </article>
      ))}
      {detail.evidence.map((one) => (
        <article key={`${one.source} ${one.reference}`} class="stack tight">
          <div class="row wrap">
            <Level level={one.level} /><b>{kindName(one.kind)}</b><span class="tag">{coded("source", one.source)}</span>
            <span class="num faint">{timeOfDay(one.occurred_at)}</span><span class="push"><Score score={one.score} /></span>
          </div>
          <Because reasons={one.reasons} />
          {typeof one.measured["told"] === "string" && <p class="said">{one.measured["told"]}</p>}
        </article>
      ))}
    </section>
  );
}
