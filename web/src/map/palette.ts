// Colours of what is drawn on the map. The same states have the same colours, and shapes, in lists (style/marks.css).
import { type Kind, KINDS } from "../live/fleet";

export type Palette = {
  ground: string; road: string; roadEdge: string; mainRoad: string; label: string; halo: string;
  fence: string; trail: string; chosen: string;
  kinds: Record<Kind, string>;
  levels: [string, string, string];
};

export const LIGHT: Palette = {
  ground: "#e9edef", road: "#ffffff", roadEdge: "#c3ccd2", mainRoad: "#f8e3a8", label: "#4a565e", halo: "#ffffff",
  fence: "#6b4fa0", trail: "#0b6e8a", chosen: "#111a20",
  kinds: { moving: "#0b6e8a", idling: "#b35c00", parked: "#53479c", stale: "#6d777d" },
  levels: ["#9a6700", "#c2410c", "#b3121d"],
};

export const DARK: Palette = {
  ground: "#10161a", road: "#2f3b44", roadEdge: "#1a2228", mainRoad: "#4d4930", label: "#a3b1ba", halo: "#0b1013",
  fence: "#b9a1ee", trail: "#4cc3e6", chosen: "#ffffff",
  kinds: { moving: "#4cc3e6", idling: "#f2b45c", parked: "#b3a4f0", stale: "#8e9ba3" },
  levels: ["#e3b341", "#ff8a3d", "#ff5c5c"],
};

export const rgb = (hex: string): [number, number, number] =>
  [1, 3, 5].map((at) => parseInt(hex.slice(at, at + 2), 16) / 255) as [number, number, number];

export const kindColours = (palette: Palette): Float32Array => new Float32Array(KINDS.flatMap((kind) => rgb(palette.kinds[kind])));
export const levelColours = (palette: Palette): Float32Array => new Float32Array(palette.levels.flatMap(rgb));
