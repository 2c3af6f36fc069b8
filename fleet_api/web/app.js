// Live map without a build step: frames as in docs/live-protocol.md, a canvas, and a list that says the same in text.
import { Camera, Roads, drawVehicles, palette } from "./map.js";
import { connect } from "./live.js";
import { door } from "./session.js";

const $ = (id) => document.getElementById(id);
const LIST_ROWS = 100;
const MAX_ALARMS = 4;

let words = {};
let language = pickLanguage();
let chosen = null;
let linkState = "connecting";
let basemap = null;
const alarms = [];
const camera = new Camera($("map"));
const roads = new Roads($("roads"));
const live = connect({ onLink: setLink, onAlarm: addAlarm, onLeftOut: (leftOut) => addAlarm({ leftOut }), onSignedOut: () => entrance.knock() });
const entrance = door({ say, onIn: begin });
let begun = false;

function pickLanguage() {
  let kept = null;
  try { kept = localStorage.getItem("language"); } catch { /* storage may be forbidden */ }
  return kept ?? (navigator.language.toLowerCase().startsWith("zh") ? "zh-CN" : "en");
}

function say(key, values = {}) {
  return (words[key] ?? key).replace(/\{(\w+)\}/g, (_, name) => values[name] ?? "");
}

async function setLanguage(name) {
  const answer = await fetch(`/web/i18n/${name}.json`);
  words = await answer.json();
  language = name;
  try { localStorage.setItem("language", name); } catch { /* as above */ }
  document.documentElement.lang = name;
  document.title = say("title");
  for (const item of document.querySelectorAll("[data-i18n]")) item.textContent = say(item.dataset.i18n);
  $("language").value = name;
  $("filter").placeholder = say("filter");
  for (const [id, key] of [["filter", "filter"], ["vehicles", "map"], ["zoom-in", "zoom_in"], ["zoom-out", "zoom_out"], ["zoom-fit", "fit"]]) {
    $(id).setAttribute("aria-label", say(key));
    if (id.startsWith("zoom")) $(id).title = say(key);
  }
  setLink(linkState);
  showAttribution();
  showAlarms();
  showList();
}

function setLink(state) {
  linkState = state;
  $("link").dataset.state = state;
  $("link").textContent = say(`link.${state}`);
}

function showAttribution() {
  if (!basemap) return;
  $("attribution").textContent = basemap.attribution[language === "zh-CN" ? "zh" : "en"];
  camera.changed = true;
}

// ---- alarms

function addAlarm(alarm) {
  alarms.unshift(alarm);
  alarms.length = Math.min(alarms.length, MAX_ALARMS);
  showAlarms();
}

function alarmText(alarm) {
  if (alarm.leftOut) return say("alarms.left_out", { count: alarm.leftOut });
  const kind = say(`alarm.${alarm.kind}` in words ? `alarm.${alarm.kind}` : "alarm.other", { kind: alarm.kind });
  const time = new Date(alarm.occurred_at).toLocaleTimeString(language);
  return say("alarm", { kind, vehicle: alarm.vehicle_id, time });
}

function showAlarms() {
  $("alarms").replaceChildren(...alarms.map((alarm) => {
    const [row, go, hide] = ["div", "button", "button"].map((tag) => document.createElement(tag));
    Object.assign(go, { className: "go", textContent: alarmText(alarm), onclick: () => alarm.vehicle_id && goTo(alarm.vehicle_id, alarm) });
    Object.assign(hide, { textContent: "✕", ariaLabel: say("dismiss") });
    hide.onclick = () => { alarms.splice(alarms.indexOf(alarm), 1); showAlarms(); };
    row.append(go, hide);
    return row;
  }));
}

function goTo(vehicleId, alarm = null) {
  chosen = vehicleId;
  const vehicle = live.vehicles.get(vehicleId);
  if (vehicle) camera.centre(vehicle.lon, vehicle.lat, 16);
  else if (alarm && alarm.lat_deg !== null) camera.centre(alarm.lon_deg, alarm.lat_deg, 16);
  showList();
}

// ---- list

const order = new Intl.Collator("en", { numeric: true });

function ageText(seconds) {
  const whole = Math.max(0, Math.round(seconds));
  if (whole < 120) return say("seconds", { n: whole });
  if (whole < 7200) return say("minutes", { n: Math.round(whole / 60) });
  return whole < 172800 ? say("hours", { n: Math.round(whole / 3600) }) : say("days", { n: Math.round(whole / 86400) });
}

function showList() {
  const counts = { moving: 0, standing: 0, stale: 0 };
  const wanted = $("filter").value.trim().toLowerCase();
  const inView = [];
  let visible = 0;
  for (const vehicle of live.vehicles.values()) {
    if (!camera.sees(vehicle.lon, vehicle.lat)) continue;
    visible += 1;
    counts[live.stateOf(vehicle)] += 1;
    if (vehicle.id.toLowerCase().includes(wanted)) inView.push(vehicle);
  }
  for (const name of Object.keys(counts)) $(`n-${name}`).textContent = counts[name].toLocaleString(language);
  inView.sort((a, b) => order.compare(a.id, b.id));
  $("list-title").textContent = visible ? say("list", { n: visible.toLocaleString(language) }) : say("none");
  const shown = inView.slice(0, LIST_ROWS);
  $("more").textContent = inView.length > shown.length ? say("more", { shown: shown.length, n: inView.length }) : "";
  const body = $("rows");
  while (body.rows.length > shown.length) body.deleteRow(-1);
  while (body.rows.length < shown.length) addRow(body);
  shown.forEach((vehicle, at) => fillRow(body.rows[at], vehicle));
}

function addRow(body) {
  const row = body.insertRow();
  const [button, mark, name] = ["button", "i", "span"].map((tag) => document.createElement(tag));
  button.append(mark, name);
  button.onclick = () => goTo(row.dataset.vehicle);
  for (const content of [[button], [], []]) row.insertCell().append(...content);
}

function fillRow(row, vehicle) {
  const [name, speed, age] = row.cells;
  const button = name.firstChild;
  const state = live.stateOf(vehicle);
  row.dataset.vehicle = vehicle.id;
  row.setAttribute("aria-current", vehicle.id === chosen);
  button.firstChild.className = `mark ${state}`;
  button.lastChild.textContent = vehicle.id;
  button.title = say(state);
  button.setAttribute("aria-label", `${say("show", { vehicle: vehicle.id })} (${say(state)})`);
  const text = vehicle.speed === null ? say("unknown") : say("km/h", { n: Math.round(vehicle.speed) });
  if (speed.textContent !== text) speed.textContent = text;
  age.textContent = ageText(live.ageOf(vehicle));
}

// ---- drawing

function draw(now) {
  if (camera.changed) {
    camera.changed = false;
    roads.draw(camera, palette(), language);
    live.look(camera.bounds());
  }
  drawVehicles($("vehicles"), camera, live, chosen, palette(), now);
  requestAnimationFrame(draw);
}

async function loadRoads() {
  try {
    const about = await fetch("/api/basemap");
    if (!about.ok) return;
    basemap = await about.json();
    roads.load(await (await fetch("/api/basemap/roads")).json());
    showAttribution();
  } catch { /* the map works without roads */ }
}

async function fit() {
  const box = basemap?.bounds ?? roads.bounds;
  if (box) return camera.fit(box);
  // Without roads, look where the vehicles are.
  const { vehicles = [] } = await (await fetch("/api/vehicles/live")).json();
  const lons = vehicles.map((v) => v.lon_deg), lats = vehicles.map((v) => v.lat_deg);
  if (lons.length) camera.fit([Math.min(...lons), Math.min(...lats), Math.max(...lons), Math.max(...lats)]);
}

$("language").onchange = (event) => setLanguage(event.target.value);
$("filter").oninput = showList;
$("zoom-in").onclick = () => camera.zoomBy(1);
$("zoom-out").onclick = () => camera.zoomBy(-1);
$("zoom-fit").onclick = fit;
camera.listen($("vehicles"), {
  onFit: fit,
  onPick: (x, y) => {
    let best = 20 ** 2;
    for (const vehicle of live.vehicles.values()) {
      const [px, py] = camera.toScreen(vehicle.lon, vehicle.lat);
      const distance = (px - x) ** 2 + (py - y) ** 2;
      if (distance < best) [best, chosen] = [distance, vehicle.id];
    }
    showList();
  },
});
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => { camera.changed = true; });

// Somebody is signed in, for the first time on this page or again.
async function begin() {
  if (!begun) {
    begun = true;
    await loadRoads();
    await fit().catch(() => {});
    setInterval(showList, 1000);
    requestAnimationFrame(draw);
  }
  live.start();
}

await setLanguage(language);
await entrance.knock();
