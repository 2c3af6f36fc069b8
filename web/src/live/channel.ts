// The connection to /api/live: comes back by itself, tells everybody what it hears.
import { signal } from "@preact/signals";
import { signedOut } from "../api/client";
import { decode } from "./frames";
import { Fleet } from "./fleet";

export type LinkState = "connecting" | "live" | "store" | "lost" | "not_allowed";
export type IncidentMessage = {
  incident_id: number; vehicle_id: string; family: string; kind: string; level: number; status: string; drill: boolean;
  occurred_at: string; detected_at: string; delay_s: number; lat_deg: number | null; lon_deg: number | null;
  acknowledged_by: string | null; assigned_to: string | null; revision: number;
};
export type AlarmMessage = {
  vehicle_id: string; kind: string; occurred_at: string; clock_valid: boolean; lat_deg: number | null; lon_deg: number | null;
};
export type Box = [west: number, south: number, east: number, north: number];
type Text =
  | ({ type: "incident" } & IncidentMessage)
  | ({ type: "alarm" } & AlarmMessage)
  | { type: "incidents_left_out" | "alarms_left_out"; count: number }
  | { type: "hello"; feed: string }
  | { type: "feed"; state: string };

const SIGN_IN = 4401;
const NOT_ALLOWED = 4403;
const SILENCE_MS = 15_000; // three heartbeats
const FIRST_WAIT_MS = 500;
const LONGEST_WAIT_MS = 10_000;

export const link = signal<LinkState>("connecting");
export const fleet = new Fleet();
/** Frames with positions taken in: whoever shows vehicles looks at this. */
export const framesTaken = signal(0);

type Listeners = {
  incident: (message: IncidentMessage) => void;
  alarm: (message: AlarmMessage) => void;
  /** Something was missed: what was pushed must be read anew. */
  missed: () => void;
};
const listeners: { [N in keyof Listeners]: Set<Listeners[N]> } = { incident: new Set(), alarm: new Set(), missed: new Set() };

export function listen<N extends keyof Listeners>(name: N, heard: Listeners[N]): () => void {
  listeners[name].add(heard);
  return () => listeners[name].delete(heard);
}

let socket: WebSocket | null = null;
let viewport: Box | null = null;
let waitMs = FIRST_WAIT_MS;
let heardAt = 0;

export function look(box: Box | null): void {
  viewport = box;
  if (box && socket?.readyState === WebSocket.OPEN) socket.send(JSON.stringify({ viewport: box }));
}

export function connect(): void {
  const opened = new WebSocket(`${location.protocol === "https:" ? "wss" : "ws"}://${location.host}/api/live`);
  socket = opened;
  opened.binaryType = "arraybuffer";
  heardAt = performance.now();
  fleet.startAgain();
  opened.onopen = () => look(viewport);
  opened.onmessage = ({ data }: MessageEvent<string | ArrayBuffer>) => {
    heardAt = performance.now();
    if (typeof data === "string") onText(JSON.parse(data) as Text);
    else onFrame(data, opened);
  };
  opened.onclose = ({ code }) => {
    link.value = code === NOT_ALLOWED ? "not_allowed" : "lost";
    if (code === NOT_ALLOWED) return;
    // Nobody is signed in any more; it is tried again all the same, and comes back once somebody is.
    if (code === SIGN_IN) signedOut.value++;
    // Everyone comes back after a restart: not all in the same instant.
    setTimeout(connect, waitMs * (0.5 + Math.random()));
    waitMs = Math.min(waitMs * 2, LONGEST_WAIT_MS);
  };
}

function onFrame(buffer: ArrayBuffer, from: WebSocket): void {
  try {
    if (!fleet.take(decode(buffer), performance.now())) return from.close();
  } catch {
    return from.close();
  }
  framesTaken.value++;
}

function onText(message: Text): void {
  switch (message.type) {
    case "incident":
      return listeners.incident.forEach((heard) => heard(message));
    case "alarm":
      return listeners.alarm.forEach((heard) => heard(message));
    case "incidents_left_out":
    case "alarms_left_out":
      return listeners.missed.forEach((heard) => heard());
    case "hello":
    case "feed": {
      const lost = (message.type === "hello" ? message.feed : message.state) === "lost";
      link.value = lost ? "store" : "live";
      waitMs = FIRST_WAIT_MS;
      // What was pushed while we, or the server's database, were away was not heard.
      if (!lost) listeners.missed.forEach((heard) => heard());
    }
  }
}

setInterval(() => {
  if (socket?.readyState === WebSocket.OPEN && performance.now() - heardAt > SILENCE_MS) socket.close();
}, 2000);
