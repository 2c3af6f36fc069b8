// Incidents that are not closed, everywhere the same. The server pushes changes; what was missed is read anew.
import { computed, signal } from "@preact/signals";
import { get, type Schemas } from "../api/client";
import { type IncidentMessage, listen } from "../live/channel";
import { plateOf } from "../live/register";

export type Incident = Schemas["IncidentOut"];
export type Due = { revision: number; dueAt: number; role: string };

export const incidents = signal<ReadonlyMap<number, Incident>>(new Map());
export const dues = signal<ReadonlyMap<number, Due | null>>(new Map());
/** Read at least once: before that "none" is not known. */
export const incidentsRead = signal(false);

const READ_AGAIN_MS = 60_000;
const SETTLE_MS = 800;
const PAGE = 500;

const urgency = (one: Incident): number => dues.value.get(one.incident_id)?.dueAt ?? Infinity;

/** Gravest first, then what is due first, then the newest. Drills come after what is real. */
export const queue = computed(() =>
  [...incidents.value.values()].sort((a, b) =>
    Number(a.drill) - Number(b.drill) || b.level - a.level ||
    Number(a.status !== "open") - Number(b.status !== "open") || compare(urgency(a), urgency(b)) ||
    b.occurred_at.localeCompare(a.occurred_at)));

export const unanswered = computed(() => queue.value.filter((one) => one.status === "open"));

/** Level of the gravest incident of each vehicle that has one. */
export const levels = computed(() => {
  const found = new Map<string, number>();
  for (const one of incidents.value.values()) found.set(one.vehicle_id, Math.max(one.level, found.get(one.vehicle_id) ?? 0));
  return found;
});

const compare = (a: number, b: number): number => (a === b ? 0 : a < b ? -1 : 1);
const newcomers = new Set<(incident: Incident) => void>();

/** Hear of an incident that was opened or became graver. */
export function onNewcomer(heard: (incident: Incident) => void): void {
  newcomers.add(heard);
}

export async function readIncidents(): Promise<void> {
  const page = await get("/api/incidents", {}, { status: ["open", "acknowledged"], limit: PAGE });
  const before = incidents.value;
  incidents.value = new Map(page.incidents.map((one) => {
    const held = before.get(one.incident_id);
    return [one.incident_id, held && held.revision > one.revision ? held : one];
  }));
  if (incidentsRead.value) for (const one of page.incidents) announce(before.get(one.incident_id), one);
  incidentsRead.value = true;
  void readDues();
}

/** Take in an incident that was read or changed elsewhere on the page. */
export function keep(one: Incident): void {
  const held = incidents.value.get(one.incident_id);
  if (held && held.revision > one.revision) return;
  const next = new Map(incidents.value);
  if (one.status === "open" || one.status === "acknowledged") next.set(one.incident_id, one);
  else next.delete(one.incident_id);
  incidents.value = next;
  announce(held, one);
  readDuesSoon();
}

function announce(before: Incident | undefined, now: Incident): void {
  if (now.status === "open" && (!before || now.level > before.level)) newcomers.forEach((heard) => heard(now));
}

function onMessage(message: IncidentMessage): void {
  const held = incidents.value.get(message.incident_id);
  if (held && held.revision >= message.revision) return;
  const { status } = message as { status: Incident["status"] };
  const unknown = {
    plate: plateOf(message.vehicle_id), depot: null, score: 0, last_evidence_at: message.occurred_at, acknowledged_at: null,
    closed_at: null, closed_by: null, close_reason: null, level_set_by: null, mass_incident_id: null, policy_version: null,
  };
  keep({ ...unknown, ...held, ...message, status });
  readSoon();
}

// ---- when somebody is called next, from the response to each incident

let readingDues = false;

async function readDues(): Promise<void> {
  if (readingDues) return;
  readingDues = true;
  try {
    for (const one of unanswered.value.slice(0, 60)) {
      const held = dues.value.get(one.incident_id);
      if (held !== undefined && (held === null || (held.revision === one.revision && held.dueAt > Date.now()))) continue;
      const response = await get("/api/incidents/{incident_id}/response", { incident_id: one.incident_id });
      const next = response.steps.filter((step) => step.outcome === null).sort((a, b) => a.due_at.localeCompare(b.due_at))[0];
      const due = next ? { revision: one.revision, dueAt: Date.parse(next.due_at), role: next.role } : null;
      dues.value = new Map(dues.value).set(one.incident_id, due);
    }
  } catch { /* without it the queue is ordered by level and time */ } finally {
    readingDues = false;
  }
}

function later(work: () => Promise<void>): () => void {
  let timer = 0;
  return () => {
    clearTimeout(timer);
    timer = window.setTimeout(() => void work().catch(() => undefined), SETTLE_MS);
  };
}
const readSoon = later(readIncidents);
const readDuesSoon = later(readDues);

export function startIncidents(): void {
  listen("incident", onMessage);
  listen("missed", readSoon);
  readSoon();
  setInterval(readSoon, READ_AGAIN_MS);
  setInterval(readDuesSoon, READ_AGAIN_MS / 4);
}
