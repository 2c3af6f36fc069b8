// All vehicles in one WebGL layer: 0.6 ms to take in 10,000 of them, motion costs nothing but drawing.
import type { CustomLayerInterface, CustomRenderMethodInput, Map as MapLibre } from "maplibre-gl";
import type { Fleet } from "../live/fleet";
import { type Datum, toDisplay } from "./datum";
import { kindColours, levelColours, type Palette, rgb } from "./palette";
import { DISC_FRAGMENT, DISC_VERTEX, VEHICLES_FRAGMENT, VEHICLES_VERTEX } from "./vehicle-shaders";

const FLOATS = 11;
const EARTH_M = 40_075_016.7;

export const mercatorX = (lon: number): number => (lon + 180) / 360;
export const mercatorY = (lat: number): number =>
  0.5 - Math.log(Math.tan(Math.PI / 4 + (Math.max(-85, Math.min(85, lat)) * Math.PI) / 360)) / (2 * Math.PI);

export class VehicleLayer implements CustomLayerInterface {
  readonly id = "vehicles";
  readonly type = "custom" as const;
  datum: Datum = "wgs84";
  chosen = -1;
  accuracyM = 0;
  /** Level of the gravest open incident of a slot, 0 for none. */
  levelOf: (slot: number) => number = () => 0;
  /** Which slots are drawn. */
  shows: (slot: number) => boolean = () => true;
  /** Vehicles in the last upload. */
  count = 0;
  private map: MapLibre | null = null;
  private gl: WebGL2RenderingContext | null = null;
  private programs: { vehicles: WebGLProgram; disc: WebGLProgram } | null = null;
  private array: WebGLVertexArrayObject | null = null;
  private buffer: WebGLBuffer | null = null;
  private data = new Float32Array(FLOATS * 1024);
  private dirty = false;
  // float32 is only exact enough near an origin; times are counted from the page's begin for the same reason.
  private origin: [number, number] | null = null;
  private readonly clockOriginMs = Date.now();

  constructor(private readonly fleet: Fleet, private palette: Palette) {}

  onAdd(map: MapLibre, context: WebGLRenderingContext | WebGL2RenderingContext): void {
    const gl = context as WebGL2RenderingContext;
    this.map = map;
    this.gl = gl;
    this.programs = {
      vehicles: link(gl, VEHICLES_VERTEX, VEHICLES_FRAGMENT),
      disc: link(gl, DISC_VERTEX, DISC_FRAGMENT),
    };
    this.buffer = gl.createBuffer();
    this.array = gl.createVertexArray();
    gl.bindVertexArray(this.array);
    gl.bindBuffer(gl.ARRAY_BUFFER, this.buffer);
    for (const [at, size, offset] of [[0, 4, 0], [1, 4, 4], [2, 3, 8]] as const) {
      gl.enableVertexAttribArray(at);
      gl.vertexAttribPointer(at, size, gl.FLOAT, false, FLOATS * 4, offset * 4);
      gl.vertexAttribDivisor(at, 1);
    }
    gl.bindVertexArray(null);
    gl.bindBuffer(gl.ARRAY_BUFFER, null);
    this.refresh();
  }

  onRemove(): void {
    if (this.gl && this.programs) {
      this.gl.deleteProgram(this.programs.vehicles);
      this.gl.deleteProgram(this.programs.disc);
      this.gl.deleteBuffer(this.buffer);
      this.gl.deleteVertexArray(this.array);
    }
    this.gl = this.map = null;
  }

  setPalette(palette: Palette): void {
    this.palette = palette;
    this.map?.triggerRepaint();
  }

  /** Take the fleet's places in anew: after a frame, or when what is shown changed. */
  refresh(): void {
    const { fleet } = this;
    if (this.data.length < fleet.size * FLOATS) this.data = new Float32Array(fleet.size * FLOATS * 2);
    const data = this.data;
    const serverNowMs = fleet.serverNowMs;
    let at = 0;
    for (let slot = 0; slot < fleet.size; slot++) {
      if (!fleet.present[slot] || !this.shows(slot)) continue;
      this.put(at + 2, fleet.lon[slot]!, fleet.lat[slot]!);
      if (fleet.spanMs[slot]! > 1) this.put(at, fleet.fromLon[slot]!, fleet.fromLat[slot]!);
      else {
        data[at] = data[at + 2]!;
        data[at + 1] = data[at + 3]!;
      }
      data[at + 4] = fleet.startMs[slot]! / 1000;
      data[at + 5] = fleet.spanMs[slot]! / 1000;
      data[at + 6] = (fleet.fixMs[slot]! - this.clockOriginMs) / 1000;
      const heading = fleet.heading[slot]!;
      data[at + 7] = Number.isNaN(heading) ? -10 : (heading * Math.PI) / 180;
      data[at + 8] = fleet.kindIndex(slot, serverNowMs);
      data[at + 9] = this.levelOf(slot);
      data[at + 10] = slot;
      at += FLOATS;
    }
    this.count = at / FLOATS;
    this.dirty = true;
    this.map?.triggerRepaint();
  }

  /** Write a place as Mercator coordinates counted from the origin. No array is made: this runs for all of them. */
  private put(at: number, lon: number, lat: number): void {
    if (this.datum !== "wgs84") [lon, lat] = toDisplay(this.datum, lon, lat);
    const x = mercatorX(lon);
    const y = mercatorY(lat);
    this.origin ??= [x, y];
    this.data[at] = x - this.origin[0];
    this.data[at + 1] = y - this.origin[1];
  }

  render(context: WebGLRenderingContext | WebGL2RenderingContext, options: CustomRenderMethodInput): void {
    if (!this.programs || !this.origin || !this.map) return;
    const gl = context as WebGL2RenderingContext;
    const matrix = translated(options.defaultProjectionData.mainMatrix, this.origin);
    const nowMs = performance.now();
    if (this.chosen >= 0 && this.accuracyM > 0 && this.fleet.present[this.chosen]) this.drawDisc(gl, matrix, nowMs);
    const { vehicles } = this.programs;
    gl.useProgram(vehicles);
    gl.bindVertexArray(this.array);
    if (this.dirty) {
      gl.bindBuffer(gl.ARRAY_BUFFER, this.buffer);
      gl.bufferData(gl.ARRAY_BUFFER, this.data.subarray(0, this.count * FLOATS), gl.DYNAMIC_DRAW);
      this.dirty = false;
    }
    const place = (name: string) => gl.getUniformLocation(vehicles, name);
    const scale = devicePixelRatio;
    gl.uniformMatrix4fv(place("u_matrix"), false, matrix);
    gl.uniform2f(place("u_pixel"), (2 * scale) / gl.drawingBufferWidth, (2 * scale) / gl.drawingBufferHeight);
    gl.uniform1f(place("u_size"), sizeAt(this.map.getZoom()));
    gl.uniform1f(place("u_now"), nowMs / 1000);
    gl.uniform1f(place("u_clock"), (this.fleet.serverNowMs - this.clockOriginMs) / 1000);
    gl.uniform1f(place("u_chosen"), this.chosen);
    gl.uniform3fv(place("u_kinds"), kindColours(this.palette));
    gl.uniform3fv(place("u_levels"), levelColours(this.palette));
    gl.uniform3fv(place("u_halo"), rgb(this.palette.halo));
    gl.uniform3fv(place("u_ink"), rgb(this.palette.chosen));
    gl.enable(gl.BLEND);
    gl.blendFunc(gl.ONE, gl.ONE_MINUS_SRC_ALPHA);
    gl.disable(gl.DEPTH_TEST);
    gl.drawArraysInstanced(gl.TRIANGLE_STRIP, 0, 4, this.count);
    gl.bindVertexArray(null);
  }

  private drawDisc(gl: WebGL2RenderingContext, matrix: Float32Array, nowMs: number): void {
    const disc = this.programs!.disc;
    const wgs = this.fleet.placeAt(this.chosen, nowMs);
    const [lon, lat] = toDisplay(this.datum, ...wgs);
    gl.useProgram(disc);
    gl.bindVertexArray(null);
    gl.uniformMatrix4fv(gl.getUniformLocation(disc, "u_matrix"), false, matrix);
    gl.uniform2f(gl.getUniformLocation(disc, "u_centre"), mercatorX(lon) - this.origin![0], mercatorY(lat) - this.origin![1]);
    gl.uniform1f(gl.getUniformLocation(disc, "u_radius"), this.accuracyM / EARTH_M / Math.cos((lat * Math.PI) / 180));
    gl.uniform3fv(gl.getUniformLocation(disc, "u_ink"), rgb(this.palette.trail));
    gl.enable(gl.BLEND);
    gl.blendFunc(gl.ONE, gl.ONE_MINUS_SRC_ALPHA);
    gl.disable(gl.DEPTH_TEST);
    gl.drawArrays(gl.TRIANGLE_STRIP, 0, 4);
  }
}

/** Half the edge of a vehicle's quad, in pixels. */
const sizeAt = (zoom: number): number => Math.max(9, Math.min(19, 9 + (zoom - 9) * 1.7));

/** The matrix for coordinates counted from an origin, worked out in float64. */
function translated(matrix: ArrayLike<number>, [x, y]: [number, number]): Float32Array {
  const moved = new Float32Array(16);
  for (let i = 0; i < 16; i++) moved[i] = matrix[i]!;
  for (let row = 0; row < 4; row++) moved[12 + row] = matrix[row]! * x + matrix[4 + row]! * y + matrix[12 + row]!;
  return moved;
}

function link(gl: WebGL2RenderingContext, vertex: string, fragment: string): WebGLProgram {
  const program = gl.createProgram();
  for (const [type, source] of [[gl.VERTEX_SHADER, vertex], [gl.FRAGMENT_SHADER, fragment]] as const) {
    const shader = gl.createShader(type)!;
    gl.shaderSource(shader, source);
    gl.compileShader(shader);
    gl.attachShader(program, shader);
    gl.deleteShader(shader);
  }
  gl.linkProgram(program);
  if (!gl.getProgramParameter(program, gl.LINK_STATUS)) throw new Error(gl.getProgramInfoLog(program) ?? "shader");
  return program;
}
