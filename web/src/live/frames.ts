// Binary frames as docs/live-protocol.md has them. The arrays are views of the message, nothing is copied.
export const NAMES = 1;
export const SNAPSHOT = 2;
export const DELTA = 3;

const HEADER_BYTES = 32;
const VEHICLE_BYTES = 21;

export type PositionsFrame = {
  kind: typeof SNAPSHOT | typeof DELTA;
  revision: bigint;
  baseRevision: bigint;
  serverTimeMs: number;
  count: number;
  index: Uint32Array;
  lonE7: Int32Array;
  latE7: Int32Array;
  fixAgeMs: Int32Array;
  headingCdeg: Uint16Array;
  speedCkmh: Uint16Array;
  state: Uint8Array;
};
export type NamesFrame = { kind: typeof NAMES; serverTimeMs: number; names: Map<number, string> };

/** Throws RangeError for bytes that are no frame. */
export function decode(buffer: ArrayBuffer): PositionsFrame | NamesFrame {
  const header = new DataView(buffer);
  if (header.getUint16(0) !== 0x464c || header.getUint8(2) !== 1) throw new RangeError("not a frame of version 1");
  const kind = header.getUint8(3);
  const count = header.getUint32(4, true);
  const serverTimeMs = Number(header.getBigInt64(24, true));
  if (kind === NAMES) return { kind, serverTimeMs, names: decodeNames(buffer, count) };
  if (kind !== SNAPSHOT && kind !== DELTA) throw new RangeError(`kind ${kind} is unknown`);
  if (buffer.byteLength !== HEADER_BYTES + count * VEHICLE_BYTES) throw new RangeError("length and count differ");
  return {
    kind,
    revision: header.getBigUint64(8, true),
    baseRevision: header.getBigUint64(16, true),
    serverTimeMs,
    count,
    index: new Uint32Array(buffer, 32, count),
    lonE7: new Int32Array(buffer, 32 + 4 * count, count),
    latE7: new Int32Array(buffer, 32 + 8 * count, count),
    fixAgeMs: new Int32Array(buffer, 32 + 12 * count, count),
    headingCdeg: new Uint16Array(buffer, 32 + 16 * count, count),
    speedCkmh: new Uint16Array(buffer, 32 + 18 * count, count),
    state: new Uint8Array(buffer, 32 + 20 * count, count),
  };
}

function decodeNames(buffer: ArrayBuffer, count: number): Map<number, string> {
  const index = new Uint32Array(buffer, HEADER_BYTES, count);
  const lengths = new Uint8Array(buffer, HEADER_BYTES + 4 * count, count);
  const text = new TextDecoder();
  const names = new Map<number, string>();
  let at = HEADER_BYTES + 5 * count;
  for (let i = 0; i < count; i++) {
    names.set(index[i]!, text.decode(new Uint8Array(buffer, at, lengths[i]!)));
    at += lengths[i]!;
  }
  return names;
}
