// A small map: Web Mercator camera, roads as paths, vehicles as shapes. World units: the whole Earth is 1 x 1.
const TILE = 256;
const MIN_ZOOM = 2, MAX_ZOOM = 20;

const toWorldX = (lon) => (lon + 180) / 360;
const toWorldY = (lat) => {
  const sine = Math.sin((Math.max(-85, Math.min(85, lat)) * Math.PI) / 180);
  return 0.5 - Math.log((1 + sine) / (1 - sine)) / (4 * Math.PI);
};
const toLon = (x) => x * 360 - 180;
const toLat = (y) => (Math.atan(Math.sinh(Math.PI * (1 - 2 * y))) * 180) / Math.PI;

export function palette() {
  const style = getComputedStyle(document.documentElement);
  return (name) => style.getPropertyValue(`--${name}`).trim();
}

export class Camera {
  constructor(element) {
    Object.assign(this, { element, x: toWorldX(10), y: toWorldY(30), zoom: 3, changed: true, width: 1, height: 1 });
    new ResizeObserver(() => this.measure()).observe(element);
    this.measure();
  }
  measure() {
    this.width = this.element.clientWidth || 1;
    this.height = this.element.clientHeight || 1;
    this.changed = true;
  }
  get scale() { return TILE * 2 ** this.zoom; }
  toScreen(lon, lat) {
    return [(toWorldX(lon) - this.x) * this.scale + this.width / 2, (toWorldY(lat) - this.y) * this.scale + this.height / 2];
  }
  bounds() {
    const w = this.width / 2 / this.scale, h = this.height / 2 / this.scale;
    const lon = (x) => Math.max(-180, Math.min(180, toLon(x)));
    return [lon(this.x - w), toLat(Math.min(1, this.y + h)), lon(this.x + w), toLat(Math.max(0, this.y - h))];
  }
  sees(lon, lat) {
    const [x, y] = this.toScreen(lon, lat);
    return x >= 0 && x <= this.width && y >= 0 && y <= this.height;
  }
  fit([west, south, east, north]) {
    const wide = Math.max(toWorldX(east) - toWorldX(west), 1e-6), high = Math.max(toWorldY(south) - toWorldY(north), 1e-6);
    this.x = (toWorldX(east) + toWorldX(west)) / 2;
    this.y = (toWorldY(south) + toWorldY(north)) / 2;
    this.setZoom(Math.min(17, Math.log2(Math.min(this.width / wide, this.height / high) / TILE) - 0.1));
  }
  centre(lon, lat, zoom) {
    this.x = toWorldX(lon);
    this.y = toWorldY(lat);
    this.setZoom(Math.max(this.zoom, zoom));
  }
  setZoom(zoom) {
    this.zoom = Math.max(MIN_ZOOM, Math.min(MAX_ZOOM, zoom));
    this.changed = true;
  }
  zoomBy(steps, px = this.width / 2, py = this.height / 2) {
    const before = this.scale;
    this.setZoom(this.zoom + steps);
    // The place under the pointer stays under it.
    const shift = 1 / before - 1 / this.scale;
    this.move((px - this.width / 2) * shift * this.scale, (py - this.height / 2) * shift * this.scale);
  }
  move(dx, dy) {
    this.x = (((this.x + dx / this.scale) % 1) + 1) % 1;
    this.y = Math.max(0, Math.min(1, this.y + dy / this.scale));
    this.changed = true;
  }

  listen(canvas, { onFit, onPick }) {
    const pointers = new Map();
    let travelled = 0;
    canvas.addEventListener("wheel", (event) => {
      event.preventDefault();
      const pixels = event.deltaY * (event.deltaMode ? 20 : 1);
      this.zoomBy(Math.max(-1, Math.min(1, -pixels / 200)), event.offsetX, event.offsetY);
    }, { passive: false });
    canvas.addEventListener("dblclick", (event) => this.zoomBy(1, event.offsetX, event.offsetY));
    canvas.addEventListener("pointerdown", (event) => {
      canvas.setPointerCapture(event.pointerId);
      pointers.set(event.pointerId, [event.offsetX, event.offsetY]);
      canvas.classList.add("dragging");
      if (pointers.size === 1) travelled = 0;
    });
    canvas.addEventListener("pointermove", (event) => {
      const before = pointers.get(event.pointerId);
      if (!before) return;
      const after = [event.offsetX, event.offsetY];
      travelled += Math.hypot(after[0] - before[0], after[1] - before[1]);
      this.move((before[0] - after[0]) / pointers.size, (before[1] - after[1]) / pointers.size);
      const other = [...pointers].find(([id]) => id !== event.pointerId)?.[1];
      if (other) {
        const reach = ([x, y]) => Math.max(1, Math.hypot(x - other[0], y - other[1]));
        this.zoomBy(Math.log2(reach(after) / reach(before)), (after[0] + other[0]) / 2, (after[1] + other[1]) / 2);
      }
      pointers.set(event.pointerId, after);
    });
    const end = (event) => {
      if (!pointers.delete(event.pointerId)) return;
      if (!pointers.size) canvas.classList.remove("dragging");
      if (event.type === "pointerup" && !pointers.size && travelled < 5) onPick(event.offsetX, event.offsetY);
    };
    canvas.addEventListener("pointerup", end);
    canvas.addEventListener("pointercancel", end);
    canvas.addEventListener("keydown", (event) => {
      const step = 80;
      const action = {
        ArrowLeft: () => this.move(-step, 0), ArrowRight: () => this.move(step, 0),
        ArrowUp: () => this.move(0, -step), ArrowDown: () => this.move(0, step),
        "+": () => this.zoomBy(1), "=": () => this.zoomBy(1), "-": () => this.zoomBy(-1), 0: onFit, Home: onFit,
      }[event.key];
      if (!action || event.ctrlKey || event.metaKey || event.altKey) return;
      event.preventDefault();
      action();
    });
  }
}

function prepare(canvas, camera) {
  const ratio = window.devicePixelRatio || 1;
  const width = Math.round(camera.width * ratio), height = Math.round(camera.height * ratio);
  if (canvas.width !== width || canvas.height !== height) Object.assign(canvas, { width, height });
  const context = canvas.getContext("2d");
  context.setTransform(ratio, 0, 0, ratio, 0, 0);
  context.clearRect(0, 0, camera.width, camera.height);
  return [context, ratio];
}

// Line width in pixels at zoom 15 by rank (1 motorway to 6 service), and the zoom a rank begins to be drawn at.
const WIDTH = [0, 9, 8, 7, 6, 4.5, 3], FROM_ZOOM = [0, 0, 0, 0, 12, 13, 14.5];

export class Roads {
  constructor(canvas) {
    Object.assign(this, { canvas, paths: new Map(), labels: [], bounds: null, ox: 0, oy: 0 });
  }
  load(collection) {
    let box = [180, 90, -180, -90];
    for (const feature of collection.features) {
      if (feature.geometry?.type !== "LineString") continue;
      const { rank, name, name_en: english } = feature.properties ?? {};
      const level = Math.max(1, Math.min(6, Math.round(rank) || 5));
      const line = feature.geometry.coordinates;
      // Paths lie near an origin of their own: canvas coordinates are single precision.
      if (!this.paths.size) [this.ox, this.oy] = [toWorldX(line[0][0]), toWorldY(line[0][1])];
      if (!this.paths.has(level)) this.paths.set(level, new Path2D());
      const path = this.paths.get(level);
      const points = line.map(([lon, lat]) => [(toWorldX(lon) - this.ox) * 1e6, (toWorldY(lat) - this.oy) * 1e6]);
      points.forEach(([x, y], at) => (at ? path.lineTo(x, y) : path.moveTo(x, y)));
      for (const [lon, lat] of line) box = [Math.min(box[0], lon), Math.min(box[1], lat), Math.max(box[2], lon), Math.max(box[3], lat)];
      if (name) this.labels.push({ level, name, english: english ?? name, ...longestPiece(points) });
    }
    this.labels.sort((a, b) => a.level - b.level || b.length - a.length);
    if (this.paths.size) this.bounds = box;
  }
  draw(camera, colour, language) {
    const [context, ratio] = prepare(this.canvas, camera);
    const k = camera.scale / 1e6;
    const left = (this.ox - camera.x) * camera.scale + camera.width / 2, top = (this.oy - camera.y) * camera.scale + camera.height / 2;
    context.setTransform(k * ratio, 0, 0, k * ratio, left * ratio, top * ratio);
    context.lineCap = context.lineJoin = "round";
    const grow = 2 ** ((Math.max(11, Math.min(19, camera.zoom)) - 15) * 0.7);
    const drawn = [...this.paths].filter(([level]) => camera.zoom >= FROM_ZOOM[level]).sort(([a], [b]) => b - a);
    for (const [edge, extra] of [[true, 2], [false, 0]]) {
      for (const [level, path] of drawn) {
        context.lineWidth = (Math.max(1, WIDTH[level] * grow) + extra) / k;
        context.strokeStyle = colour(edge ? "road-edge" : level <= 2 ? "road-main" : "road");
        context.stroke(path);
      }
    }
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    if (camera.zoom >= 13) this.drawLabels(context, ratio, camera, colour, language, k, left, top);
  }
  drawLabels(context, ratio, camera, colour, language, k, left, top) {
    Object.assign(context, { font: font(12), textAlign: "center", textBaseline: "middle", lineWidth: 3.5, strokeStyle: colour("ground"), fillStyle: colour("road-text") });
    const taken = [];
    for (const label of this.labels) {
      const x = label.x * k + left, y = label.y * k + top, text = language === "zh-CN" ? label.name : label.english;
      if (x < 0 || y < 0 || x > camera.width || y > camera.height || camera.zoom < FROM_ZOOM[label.level] + 1) continue;
      const wide = context.measureText(text).width;
      const near = (t) => Math.hypot(t.x - x, t.y - y) < (t.text === text ? 400 : (t.wide + wide) / 2 + 14);
      if (wide > label.length * k * 1.8 || taken.some(near)) continue;
      if (taken.push({ x, y, text, wide }) > 60) break;
      const cosine = Math.cos(label.angle) * ratio, sine = Math.sin(label.angle) * ratio;
      context.setTransform(cosine, sine, -sine, cosine, x * ratio, y * ratio);
      context.strokeText(text, 0, 0);
      context.fillText(text, 0, 0);
    }
  }
}

function longestPiece(points) {
  let best = { length: -1 };
  for (let i = 1; i < points.length; i++) {
    const [ax, ay] = points[i - 1], [bx, by] = points[i], length = Math.hypot(bx - ax, by - ay);
    // Modulo half a turn, so that no name stands on its head.
    if (length > best.length) best = { length, angle: Math.atan((by - ay) / (bx - ax || 1e-9)), x: (ax + bx) / 2, y: (ay + by) / 2 };
  }
  return best;
}

const font = (size) => `${size}px ${getComputedStyle(document.body).fontFamily}`;

export function drawVehicles(canvas, camera, live, chosen, colour, now) {
  const [context] = prepare(canvas, camera);
  const size = Math.max(4, Math.min(11, (camera.zoom - 8) * 1.3));
  const paths = { moving: new Path2D(), standing: new Path2D(), stale: new Path2D() };
  let mark = null;
  for (const vehicle of live.vehicles.values()) {
    const [x, y] = camera.toScreen(...live.placeOf(vehicle, now));
    if (x < -20 || y < -20 || x > camera.width + 20 || y > camera.height + 20) continue;
    const state = live.stateOf(vehicle);
    if (state === "moving" && vehicle.heading !== null) arrow(paths.moving, x, y, size, vehicle.heading);
    else circle(paths[state], x, y, size * (state === "moving" ? 0.75 : 0.6));
    if (vehicle.id === chosen) mark = [x, y, vehicle.id];
  }
  context.lineJoin = "round";
  context.strokeStyle = colour("panel");
  for (const state of ["standing", "moving"]) {
    Object.assign(context, { fillStyle: colour(state), lineWidth: size > 6 ? 2.5 : 1 });
    context.stroke(paths[state]);
    context.fill(paths[state]);
  }
  Object.assign(context, { strokeStyle: colour("stale"), lineWidth: 2 });
  context.stroke(paths.stale);
  if (!mark) return;
  Object.assign(context, { font: `600 ${font(14)}`, lineWidth: 3, strokeStyle: colour("chosen"), fillStyle: colour("chosen") });
  context.beginPath();
  context.arc(mark[0], mark[1], size + 7, 0, 7);
  context.stroke();
  Object.assign(context, { lineWidth: 4, strokeStyle: colour("panel") });
  context.strokeText(mark[2], mark[0] + size + 12, mark[1] + 5);
  context.fillText(mark[2], mark[0] + size + 12, mark[1] + 5);
}

function arrow(path, x, y, size, heading) {
  const sine = Math.sin((heading * Math.PI) / 180) * size, cosine = Math.cos((heading * Math.PI) / 180) * size;
  [[0, -1], [0.7, 0.8], [0, 0.4], [-0.7, 0.8]].forEach(([px, py], corner) =>
    path[corner ? "lineTo" : "moveTo"](x + px * cosine - py * sine, y + px * sine + py * cosine));
  path.closePath();
}

function circle(path, x, y, radius) {
  path.moveTo(x + radius, y);
  path.arc(x, y, radius, 0, 7);
}
