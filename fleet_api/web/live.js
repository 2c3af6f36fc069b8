// The live channel as docs/live-protocol.md has it: what is known of each vehicle, and a connection that comes back.
const NAMES = 1, SNAPSHOT = 2;
const MOVING = 4;
const STALE_SECONDS = 120;
const UNKNOWN = 65535;
const SILENCE_MS = 15000; // three heartbeats
const MAX_WAIT_MS = 10000;
const SIGN_IN = 4401, NOT_ALLOWED = 4403;

export function connect({ onLink, onAlarm, onLeftOut, onSignedOut }) {
  const vehicles = new Map(); // id -> {id, lon, lat, fromLon, fromLat, at, span, heading, speed, state, time}
  let names = new Map();
  let socket = null, viewport = null, waitMs = 500, revision = 0, heardAt = 0, clockAhead = 0, store = true;

  function open() {
    socket = new WebSocket(`${location.protocol === "https:" ? "wss" : "ws"}://${location.host}/api/live`);
    socket.binaryType = "arraybuffer";
    names = new Map();
    heardAt = performance.now();
    socket.onopen = () => { if (viewport) socket.send(JSON.stringify({ viewport })); };
    socket.onmessage = ({ data }) => {
      heardAt = performance.now();
      if (typeof data === "string") onText(JSON.parse(data));
      else onFrame(data);
    };
    socket.onclose = ({ code }) => {
      // Nobody is signed in any more: somebody must, before it is tried again.
      if (code === SIGN_IN) return onSignedOut();
      if (code === NOT_ALLOWED) return onLink("not_allowed");
      onLink("lost");
      // Everyone comes back after a restart: not all in the same instant.
      setTimeout(open, waitMs * (0.5 + Math.random()));
      waitMs = Math.min(waitMs * 2, MAX_WAIT_MS);
    };
  }

  function onText(message) {
    if (message.type === "alarm") onAlarm(message);
    else if (message.type === "alarms_left_out") onLeftOut(message.count);
    else if (message.type === "hello" || message.type === "feed") {
      store = (message.feed ?? message.state) !== "lost";
      onLink(store ? "live" : "store");
      waitMs = 500;
    }
  }

  function onFrame(buffer) {
    const header = new DataView(buffer);
    if (header.getUint16(0, false) !== 0x464c || header.getUint8(2) !== 1) return socket.close();
    const kind = header.getUint8(3), n = header.getUint32(4, true);
    const serverTime = Number(header.getBigInt64(24, true));
    clockAhead = serverTime - Date.now();
    if (kind === NAMES) return onNames(buffer, n);
    if (kind === SNAPSHOT) {
      const kept = new Set();
      takePositions(buffer, n, serverTime, kept);
      for (const id of vehicles.keys()) if (!kept.has(id)) vehicles.delete(id);
    } else {
      // A gap cannot happen on one connection; if it does, start again from a snapshot.
      if (Number(header.getBigUint64(16, true)) !== revision) return socket.close();
      takePositions(buffer, n, serverTime, null);
    }
    revision = Number(header.getBigUint64(8, true));
  }

  function onNames(buffer, n) {
    const index = new Uint32Array(buffer, 32, n), lengths = new Uint8Array(buffer, 32 + 4 * n, n);
    const text = new TextDecoder();
    let at = 32 + 5 * n;
    for (let i = 0; i < n; i++) {
      names.set(index[i], text.decode(new Uint8Array(buffer, at, lengths[i])));
      at += lengths[i];
    }
  }

  function takePositions(buffer, n, serverTime, kept) {
    const index = new Uint32Array(buffer, 32, n), lon = new Int32Array(buffer, 32 + 4 * n, n);
    const lat = new Int32Array(buffer, 32 + 8 * n, n), age = new Int32Array(buffer, 32 + 12 * n, n);
    const heading = new Uint16Array(buffer, 32 + 16 * n, n), speed = new Uint16Array(buffer, 32 + 18 * n, n);
    const state = new Uint8Array(buffer, 32 + 20 * n, n);
    const now = performance.now();
    for (let i = 0; i < n; i++) {
      const id = names.get(index[i]);
      kept?.add(id);
      const before = vehicles.get(id);
      const vehicle = before ?? { id, at: 0, span: 1 };
      // Go on from where it is drawn now, over the time that passed since the fix before.
      const [fromLon, fromLat] = before ? placeOf(before, now) : [lon[i] / 1e7, lat[i] / 1e7];
      const time = serverTime - age[i];
      const gap = before ? time - before.time : 0;
      // Devices send ten seconds at a time: drive through them rather than jump. After a longer silence jump.
      vehicle.span = gap > 0 && gap < 20000 ? Math.min(gap, 12000) : 1;
      Object.assign(vehicle, { fromLon, fromLat, lon: lon[i] / 1e7, lat: lat[i] / 1e7, at: now, time });
      vehicle.heading = heading[i] === UNKNOWN ? null : heading[i] / 100;
      vehicle.speed = speed[i] === UNKNOWN ? null : speed[i] / 100;
      vehicle.state = state[i];
      vehicles.set(id, vehicle);
    }
  }

  function placeOf(vehicle, now) {
    const part = Math.min(1, (now - vehicle.at) / vehicle.span);
    return [vehicle.fromLon + (vehicle.lon - vehicle.fromLon) * part, vehicle.fromLat + (vehicle.lat - vehicle.fromLat) * part];
  }

  const ageOf = (vehicle) => (Date.now() + clockAhead - vehicle.time) / 1000;
  const stateOf = (vehicle) => (ageOf(vehicle) > STALE_SECONDS ? "stale" : vehicle.state & MOVING ? "moving" : "standing");

  setInterval(() => {
    if (socket?.readyState === WebSocket.OPEN && performance.now() - heardAt > SILENCE_MS) socket.close();
  }, 2000);

  return {
    vehicles, ageOf, stateOf, placeOf,
    // Open the connection, unless it is.
    start() {
      if (socket === null || socket.readyState === WebSocket.CLOSED) open();
    },
    look(box) {
      viewport = box;
      if (socket?.readyState === WebSocket.OPEN) socket.send(JSON.stringify({ viewport }));
    },
  };
}
