// The base map: the city pack's roads as vectors, or a raster map that the operator configured, and what lies on it.
import type { GeoJSONSource, LayerSpecification, Map as MapLibre, StyleSpecification } from "maplibre-gl";
import { OUR_FONT } from "../fonts";
import type { Language } from "../i18n";
import type { Palette } from "./palette";

// No glyph files: MapLibre draws from the browser's own fonts. The first one it has is taken.
const FONT = ["Noto Sans CJK SC", "Noto Sans SC", "PingFang SC", "Microsoft YaHei", OUR_FONT, "sans-serif"];
const EMPTY = { type: "FeatureCollection" as const, features: [] };

export type RasterMap = { url: string; minzoom: number; maxzoom: number };

const width = (scale: number) => [
  "interpolate", ["exponential", 1.6], ["zoom"],
  10, ["*", scale, ["match", ["get", "rank"], [1, 2], 1.6, 3, 1, 0.4]],
  18, ["*", scale, ["match", ["get", "rank"], [1, 2], 26, 3, 20, 4, 16, 5, 12, 8]],
] as never;

const visibleRoads = ["step", ["zoom"], ["<=", ["get", "rank"], 3], 12, ["<=", ["get", "rank"], 4], 13, true] as never;

export const roadName = (language: Language) =>
  (language === "zh-CN"
    ? ["coalesce", ["get", "name"], ["get", "name_en"], ""]
    : ["coalesce", ["get", "name_en"], ["get", "name"], ""]) as never;

export function style(palette: Palette, language: Language, raster: RasterMap | null, roads: GeoJSON.FeatureCollection | null): StyleSpecification {
  const base: LayerSpecification[] = [{ id: "ground", type: "background", paint: { "background-color": palette.ground } }];
  const sources: StyleSpecification["sources"] = {
    fences: { type: "geojson", data: EMPTY },
    trail: { type: "geojson", data: EMPTY },
  };
  if (raster) {
    sources["raster"] = { type: "raster", tiles: [raster.url], tileSize: 256, minzoom: raster.minzoom, maxzoom: raster.maxzoom };
    base.push({ id: "raster", type: "raster", source: "raster" });
  } else if (roads) {
    sources["roads"] = { type: "geojson", data: roads, tolerance: 0.5 };
    base.push(...roadLayers(palette, language));
  }
  return { version: 8, sources, layers: [...base, ...overlays(palette)] };
}

function roadLayers(palette: Palette, language: Language): LayerSpecification[] {
  const layout = { "line-cap": "round", "line-join": "round", "line-sort-key": ["-", 0, ["get", "rank"]] } as never;
  return [
    {
      id: "road-edges", type: "line", source: "roads", minzoom: 12.5, layout,
      paint: { "line-color": palette.roadEdge, "line-width": width(1.3) },
    },
    {
      id: "roads", type: "line", source: "roads", filter: visibleRoads, layout,
      paint: { "line-color": roadColour(palette), "line-width": width(1) },
    },
    {
      id: "road-names", type: "symbol", source: "roads", minzoom: 13.5,
      layout: {
        "symbol-placement": "line", "text-field": roadName(language), "text-font": FONT, "text-size": 12,
        "symbol-spacing": 320, "text-max-angle": 35, "symbol-sort-key": ["get", "rank"] as never,
      },
      paint: { "text-color": palette.label, "text-halo-color": palette.halo, "text-halo-width": 1.4 },
    },
  ];
}

const roadColour = (palette: Palette) => ["match", ["get", "rank"], [1, 2, 3], palette.mainRoad, palette.road] as never;

function overlays(palette: Palette): LayerSpecification[] {
  return [
    { id: "fence-areas", type: "fill", source: "fences", paint: { "fill-color": palette.fence, "fill-opacity": 0.07 } },
    {
      id: "fence-lines", type: "line", source: "fences",
      paint: { "line-color": palette.fence, "line-width": 1.6, "line-dasharray": [3, 2] },
    },
    {
      id: "fence-names", type: "symbol", source: "fences", minzoom: 11,
      layout: { "text-field": ["get", "name"], "text-font": FONT, "text-size": 12, "text-optional": true },
      paint: { "text-color": palette.fence, "text-halo-color": palette.halo, "text-halo-width": 1.4 },
    },
    {
      id: "trail-edge", type: "line", source: "trail", layout: { "line-cap": "round", "line-join": "round" },
      paint: { "line-color": palette.halo, "line-width": 6, "line-opacity": 0.8 },
    },
    {
      id: "trail", type: "line", source: "trail", layout: { "line-cap": "round", "line-join": "round" },
      paint: { "line-color": palette.trail, "line-width": 3, "line-opacity": 0.9 },
    },
  ];
}

/** Repaint a map in another theme and language without loading anything anew. */
export function restyle(map: MapLibre, palette: Palette, language: Language): void {
  const paint = (layer: string, values: Record<string, unknown>) => {
    if (!map.getLayer(layer)) return;
    for (const [name, value] of Object.entries(values)) map.setPaintProperty(layer, name as never, value as never);
  };
  paint("ground", { "background-color": palette.ground });
  paint("road-edges", { "line-color": palette.roadEdge });
  paint("roads", { "line-color": roadColour(palette) });
  paint("road-names", { "text-color": palette.label, "text-halo-color": palette.halo });
  paint("fence-areas", { "fill-color": palette.fence });
  paint("fence-lines", { "line-color": palette.fence });
  paint("fence-names", { "text-color": palette.fence, "text-halo-color": palette.halo });
  paint("trail-edge", { "line-color": palette.halo });
  paint("trail", { "line-color": palette.trail });
  if (map.getLayer("road-names")) map.setLayoutProperty("road-names", "text-field", roadName(language));
}

export function setSource(map: MapLibre, name: string, features: GeoJSON.Feature[]): void {
  map.getSource<GeoJSONSource>(name)?.setData({ type: "FeatureCollection", features });
}
