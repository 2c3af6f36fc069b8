// Incidents: the queue on the left, one of them, a report or the statistics on the right.
import "../../style/incidents.css";
import { computed } from "@preact/signals";
import { useEffect } from "preact/hooks";
import { t } from "../../i18n";
import { readPolicy } from "../../incidents/policy";
import { path } from "../../router";
import { IncidentView } from "./detail";
import { Queue } from "./queue";
import { ReportForm } from "./report";
import { Statistics } from "./statistics";

const parts = computed(() => path.value.split("/").slice(2).map(decodeURIComponent));
const chosen = computed(() => (/^\d+$/.test(parts.value[0] ?? "") ? Number(parts.value[0]) : null));

function Right() {
  const [first, second] = parts.value;
  if (chosen.value !== null) return <IncidentView key={chosen.value} id={chosen.value} />;
  if (first === "report") return <ReportForm vehicleId={second ?? ""} />;
  if (first === "statistics") return <Statistics />;
  return <p class="empty">{t("incident.choose")}</p>;
}

export default function IncidentsPage() {
  useEffect(readPolicy, []);
  return (
    <div class={parts.value[0] ? "incidents open" : "incidents"}>
      <Queue chosen={chosen} />
      <div class="right" id="incident"><Right /></div>
    </div>
  );
}
