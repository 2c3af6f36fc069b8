// What is known of the vehicles in the area served: plain arrays, one slot a vehicle, the slot is the server's index.
import { NAMES, SNAPSHOT, type NamesFrame, type PositionsFrame } from "./frames";

export const KINDS = ["moving", "idling", "parked", "stale"] as const;
export type Kind = (typeof KINDS)[number];

const IGNITION_ON = 1;
const MOVING = 4;
const UNKNOWN = 65535;
const STALE_AFTER_MS = 120_000;
// Devices send ten seconds at a time: drive through them rather than jump. After a longer silence, jump.
const LONGEST_GAP_MS = 20_000;
const LONGEST_DRIVE_MS = 12_000;

export class Fleet {
  /** Slots in use or once used; `present` says which hold a vehicle. */
  size = 0;
  ids: string[] = [];
  present = new Uint8Array(1024);
  lon = new Float64Array(1024);
  lat = new Float64Array(1024);
  fromLon = new Float64Array(1024);
  fromLat = new Float64Array(1024);
  /** When the motion to the newest place began, on the page's clock, and how long it takes. */
  startMs = new Float64Array(1024);
  spanMs = new Float64Array(1024);
  /** Device time of the fix, UTC. */
  fixMs = new Float64Array(1024);
  /** NaN when unknown. */
  heading = new Float32Array(1024);
  speed = new Float32Array(1024);
  state = new Uint8Array(1024);
  revision = 0n;
  /** Goes up when an index got another name. */
  namesVersion = 0;
  /** The page's clock at which the last motion ends: until then there is something to animate. */
  restlessUntilMs = 0;
  private slots = new Map<string, number>();
  private clockAheadMs = 0;
  private startsAgain = true;

  /** Another connection: its indices mean other vehicles. What is known stays until it has said something. */
  startAgain(): void {
    this.startsAgain = true;
  }

  /** Take in a frame. Returns false when it does not continue what is here: connect again. */
  take(frame: PositionsFrame | NamesFrame, nowMs: number): boolean {
    this.clockAheadMs = frame.serverTimeMs - Date.now();
    if (this.startsAgain) this.clear();
    if (frame.kind === NAMES) {
      for (const [slot, id] of frame.names) this.name(slot, id);
      return true;
    }
    if (frame.kind === SNAPSHOT) this.present.fill(0);
    else if (frame.baseRevision !== this.revision) return false;
    for (let i = 0; i < frame.count; i++) this.place(frame, i, nowMs);
    this.revision = frame.revision;
    return true;
  }

  slotOf(id: string): number | undefined {
    const slot = this.slots.get(id);
    return slot !== undefined && this.present[slot] ? slot : undefined;
  }

  /** Where it is drawn now. */
  placeAt(slot: number, nowMs: number): [number, number] {
    const part = Math.min(1, (nowMs - this.startMs[slot]!) / this.spanMs[slot]!);
    return [
      this.fromLon[slot]! + (this.lon[slot]! - this.fromLon[slot]!) * part,
      this.fromLat[slot]! + (this.lat[slot]! - this.fromLat[slot]!) * part,
    ];
  }

  get serverNowMs(): number {
    return Date.now() + this.clockAheadMs;
  }

  ageSeconds(slot: number): number {
    return (this.serverNowMs - this.fixMs[slot]!) / 1000;
  }

  kindOf(slot: number): Kind {
    return KINDS[this.kindIndex(slot, this.serverNowMs)]!;
  }

  /** Index of its kind in KINDS, for those who ask for all of them at one time. */
  kindIndex(slot: number, serverNowMs: number): number {
    if (serverNowMs - this.fixMs[slot]! > STALE_AFTER_MS) return 3;
    const state = this.state[slot]!;
    if (state & MOVING) return 0;
    return state & IGNITION_ON ? 1 : 2;
  }

  private place(frame: PositionsFrame, i: number, nowMs: number): void {
    const slot = frame.index[i]!;
    if (slot >= this.size || this.ids[slot] === undefined) return;
    const lon = frame.lonE7[i]! / 1e7;
    const lat = frame.latE7[i]! / 1e7;
    const fixMs = frame.serverTimeMs - frame.fixAgeMs[i]!;
    const known = this.spanMs[slot]! > 0;
    // Go on from where it is drawn, over the time that lies between the two fixes.
    const [fromLon, fromLat] = known ? this.placeAt(slot, nowMs) : [lon, lat];
    const gap = known ? fixMs - this.fixMs[slot]! : 0;
    const moved = fromLon !== lon || fromLat !== lat;
    if (gap !== 0 || !known || this.lon[slot] !== lon || this.lat[slot] !== lat) {
      const span = moved && gap > 0 && gap < LONGEST_GAP_MS ? Math.min(gap, LONGEST_DRIVE_MS) : 1;
      this.fromLon[slot] = fromLon;
      this.fromLat[slot] = fromLat;
      this.startMs[slot] = nowMs;
      this.spanMs[slot] = span;
      this.restlessUntilMs = Math.max(this.restlessUntilMs, nowMs + span);
    }
    this.lon[slot] = lon;
    this.lat[slot] = lat;
    this.fixMs[slot] = fixMs;
    this.heading[slot] = frame.headingCdeg[i] === UNKNOWN ? NaN : frame.headingCdeg[i]! / 100;
    this.speed[slot] = frame.speedCkmh[i] === UNKNOWN ? NaN : frame.speedCkmh[i]! / 100;
    this.state[slot] = frame.state[i]!;
    this.present[slot] = 1;
  }

  private name(slot: number, id: string): void {
    if (slot >= this.present.length) this.grow(Math.max(slot + 1, 2 * this.present.length));
    this.size = Math.max(this.size, slot + 1);
    this.ids[slot] = id;
    this.slots.set(id, slot);
    this.namesVersion++;
  }

  private clear(): void {
    this.startsAgain = false;
    this.size = 0;
    this.ids = [];
    this.slots.clear();
    this.present.fill(0);
    this.spanMs.fill(0);
    this.revision = 0n;
  }

  private grow(capacity: number): void {
    const grown = <A extends Float64Array | Float32Array | Uint8Array>(old: A, fresh: A): A => {
      fresh.set(old);
      return fresh;
    };
    for (const name of ["lon", "lat", "fromLon", "fromLat", "startMs", "spanMs", "fixMs"] as const)
      this[name] = grown(this[name], new Float64Array(capacity));
    for (const name of ["heading", "speed"] as const) this[name] = grown(this[name], new Float32Array(capacity));
    for (const name of ["present", "state"] as const) this[name] = grown(this[name], new Uint8Array(capacity));
  }
}
