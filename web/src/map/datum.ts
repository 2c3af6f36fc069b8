// China's shifted datums. Everything is stored and computed in WGS-84; only what is drawn on a base map in GCJ-02 or
// BD-09, and where people click on one, goes through this pair.
export type Datum = "wgs84" | "gcj02" | "bd09";
export type LonLat = [lon: number, lat: number];

const A = 6378245.0;
const EE = 0.00669342162296594323;
const BD = (Math.PI * 3000) / 180;

function outsideChina(lon: number, lat: number): boolean {
  return lon < 72.004 || lon > 137.8347 || lat < 0.8293 || lat > 55.8271;
}

function gcjShift(lon: number, lat: number): LonLat {
  const x = lon - 105;
  const y = lat - 35;
  const root = 0.2 * Math.sqrt(Math.abs(x));
  const wave = (20 * Math.sin(6 * x * Math.PI) + 20 * Math.sin(2 * x * Math.PI)) * (2 / 3);
  const dLat = -100 + 2 * x + 3 * y + 0.2 * y * y + 0.1 * x * y + root + wave +
    ((20 * Math.sin(y * Math.PI) + 40 * Math.sin((y / 3) * Math.PI)) * 2) / 3 +
    ((160 * Math.sin((y / 12) * Math.PI) + 320 * Math.sin((y * Math.PI) / 30)) * 2) / 3;
  const dLon = 300 + x + 2 * y + 0.1 * x * x + 0.1 * x * y + root / 2 + wave +
    ((20 * Math.sin(x * Math.PI) + 40 * Math.sin((x / 3) * Math.PI)) * 2) / 3 +
    ((150 * Math.sin((x / 12) * Math.PI) + 300 * Math.sin((x / 30) * Math.PI)) * 2) / 3;
  const radLat = (lat / 180) * Math.PI;
  const magic = 1 - EE * Math.sin(radLat) ** 2;
  return [
    (dLon * 180) / ((A / Math.sqrt(magic)) * Math.cos(radLat) * Math.PI),
    (dLat * 180) / (((A * (1 - EE)) / (magic * Math.sqrt(magic))) * Math.PI),
  ];
}

function toGcj(lon: number, lat: number): LonLat {
  if (outsideChina(lon, lat)) return [lon, lat];
  const [dLon, dLat] = gcjShift(lon, lat);
  return [lon + dLon, lat + dLat];
}

function gcjToBd(lon: number, lat: number): LonLat {
  const far = Math.hypot(lon, lat) + 0.00002 * Math.sin(lat * BD);
  const angle = Math.atan2(lat, lon) + 0.000003 * Math.cos(lon * BD);
  return [far * Math.cos(angle) + 0.0065, far * Math.sin(angle) + 0.006];
}

export function toDisplay(datum: Datum, lon: number, lat: number): LonLat {
  if (datum === "wgs84") return [lon, lat];
  const gcj = toGcj(lon, lat);
  return datum === "gcj02" || outsideChina(lon, lat) ? gcj : gcjToBd(...gcj);
}

/** The inverse by iteration: after three rounds less than a millimetre off. */
export function fromDisplay(datum: Datum, lon: number, lat: number): LonLat {
  let guess: LonLat = [lon, lat];
  if (datum === "wgs84") return guess;
  for (let round = 0; round < 5; round++) {
    const [shownLon, shownLat] = toDisplay(datum, ...guess);
    guess = [guess[0] + lon - shownLon, guess[1] + lat - shownLat];
  }
  return guess;
}
