// Sound and browser notifications for new incidents. Both only after people asked for them.
import { signal } from "@preact/signals";
import { kindName, t } from "../i18n";
import { type AlarmMessage, listen } from "../live/channel";
import { remembered } from "../remembered";
import { go } from "../router";
import { type Incident, onNewcomer } from "./store";

export const soundOn = remembered("sound", false);
export const notificationsOn = remembered("notifications", false);
/** Alarms that devices raised and nobody put away yet, newest first. */
export const alarms = signal<readonly AlarmMessage[]>([]);
export const LEAST_LEVEL = 2;
const MOST_ALARMS = 3;

let audio: AudioContext | null = null;

/** Two tones for urgent, five for an emergency: told apart without looking. */
function sound(level: number): void {
  audio ??= new AudioContext();
  void audio.resume();
  const begin = audio.currentTime + 0.03;
  const tones = level >= 3 ? [880, 660, 880, 660, 880] : [660, 880];
  tones.forEach((hertz, i) => {
    const tone = audio!.createOscillator();
    const loudness = audio!.createGain();
    const at = begin + i * 0.24;
    tone.frequency.value = hertz;
    loudness.gain.setValueAtTime(0, at);
    loudness.gain.linearRampToValueAtTime(0.22, at + 0.02);
    loudness.gain.linearRampToValueAtTime(0, at + 0.2);
    tone.connect(loudness).connect(audio!.destination);
    tone.start(at);
    tone.stop(at + 0.22);
  });
}

export function toggleSound(): void {
  soundOn.value = !soundOn.value;
  // The click is what lets the browser play, and what people hear is what they will hear.
  if (soundOn.value) sound(LEAST_LEVEL);
}

export async function toggleNotifications(): Promise<void> {
  if (notificationsOn.value) {
    notificationsOn.value = false;
    return;
  }
  if (!("Notification" in window)) return;
  notificationsOn.value = (await Notification.requestPermission()) === "granted";
}

function announce(incident: Incident): void {
  if (incident.level < LEAST_LEVEL || incident.drill) return;
  if (soundOn.value) sound(incident.level);
  if (!notificationsOn.value || !document.hidden || Notification.permission !== "granted") return;
  const shown = new Notification(t("notification", { level: incident.level, kind: kindName(incident.kind), vehicle: incident.plate ?? incident.vehicle_id }), {
    tag: `incident-${incident.incident_id}`,
    icon: "/web/icon.svg",
  });
  shown.onclick = () => {
    window.focus();
    go(`/incidents/${incident.incident_id}`);
    shown.close();
  };
}

export function hideAlarm(alarm: AlarmMessage): void {
  alarms.value = alarms.value.filter((one) => one !== alarm);
}

export function startAlerts(): void {
  onNewcomer(announce);
  listen("alarm", (alarm) => { alarms.value = [alarm, ...alarms.value].slice(0, MOST_ALARMS); });
}
