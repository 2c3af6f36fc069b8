"""The binary frames of the live channel, byte for byte as in docs/live-protocol.md. Pure.

Little-endian throughout. Columns, each of `count` values, follow the header without padding and are aligned to their
own size, so that a browser lays typed arrays over the message instead of reading it value by value.
"""

import math
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

MAGIC: Final = b"FL"
VERSION: Final = 1

NAMES: Final = 1
SNAPSHOT: Final = 2
DELTA: Final = 3

# magic, version, kind, count, revision, base_revision, server_time_ms
_HEADER: Final = struct.Struct("<2sBBIQQq")
HEADER_BYTES: Final = _HEADER.size  # 32

COLUMNS: Final[tuple[tuple[str, str], ...]] = (
    ("index", "<u4"),
    ("lon_e7", "<i4"),
    ("lat_e7", "<i4"),
    ("fix_age_ms", "<i4"),
    ("heading_cdeg", "<u2"),
    ("speed_ckmh", "<u2"),
    ("state", "u1"),
)
VEHICLE_BYTES: Final = sum(np.dtype(kind).itemsize for _, kind in COLUMNS)  # 21

UNKNOWN_U16: Final = 65_535
IGNITION_ON: Final = 1
IGNITION_KNOWN: Final = 2
MOVING: Final = 4
STALE: Final = 8

# From walking speed on a vehicle counts as moving: GNSS noise of a parked car stays below it.
MOVING_FROM_KMH: Final = 3.0
# A fix older than this may be far from where the vehicle is: at 50 km/h it is 1.7 km off.
STALE_AFTER_MS: Final = 120_000

_INT32_MAX: Final = 2_147_483_647


class FrameError(ValueError):
    """Bytes that are not a frame; the text says why."""


@dataclass(frozen=True, slots=True)
class Header:
    """The first 32 bytes. `base_revision` is 0 but in a delta; times are UTC epoch milliseconds."""

    kind: int
    count: int
    revision: int
    base_revision: int
    server_time_ms: int


@dataclass(frozen=True, slots=True)
class Frame:
    """A decoded frame: either `names` (index -> vehicle id) or `columns` by name."""

    header: Header
    columns: dict[str, NDArray[Any]]
    names: dict[int, str]


@dataclass(frozen=True, slots=True)
class Box:
    """An area in 1e-7 degrees, borders included. `west` above `east` crosses 180 degrees."""

    west: int
    south: int
    east: int
    north: int

    def holds(self, lon_e7: NDArray[np.int32], lat_e7: NDArray[np.int32]) -> NDArray[np.bool_]:
        """Which of the positions lie inside."""
        inside: NDArray[np.bool_] = (lat_e7 >= self.south) & (lat_e7 <= self.north)
        if self.west <= self.east:
            inside &= (lon_e7 >= self.west) & (lon_e7 <= self.east)
        else:
            inside &= (lon_e7 >= self.west) | (lon_e7 <= self.east)
        return inside


def parse_viewport(value: object) -> tuple[float, float, float, float]:
    """[west, south, east, north] in degrees from a client. Raises ValueError with a sentence."""
    if not isinstance(value, list) or len(value) != 4:
        raise ValueError("viewport: expected [west, south, east, north] in degrees")
    numbers = [
        float(part)
        for part in value
        if isinstance(part, int | float) and not isinstance(part, bool) and math.isfinite(part)
    ]
    if len(numbers) != 4:
        raise ValueError("viewport: expected four finite numbers")
    west, south, east, north = numbers
    if not (-180 <= west <= 180 and -180 <= east <= 180 and -90 <= south <= north <= 90):
        raise ValueError("viewport: longitudes are -180 to 180, latitudes -90 to 90, and south is not above north")
    return west, south, east, north


def widen(viewport: tuple[float, float, float, float]) -> Box:
    """The box that is served for a viewport: an eighth wider on every side at least, on a grid of that size.

    The margin lets vehicles be there before they come into view; the grid lets clients that look at nearly the same
    place share one encoded frame.
    """
    west, south, east, north = viewport
    width = east - west if east >= west else east - west + 360.0
    step = 2.0 ** math.floor(math.log2(max(width, north - south, 1e-4) / 8))
    low, high = math.floor(south / step - 1) * step, math.ceil(north / step + 1) * step
    left, right = math.floor(west / step - 1) * step, math.ceil((west + width) / step + 1) * step
    if right - left >= 360.0:
        left, right = -180.0, 180.0
    else:
        left = left + 360.0 if left < -180.0 else left
        right = right - 360.0 if right > 180.0 else right
    return Box(_e7(left), _e7(max(low, -90.0)), _e7(right), _e7(min(high, 90.0)))


def encode_positions(
    kind: int,
    revision: int,
    base_revision: int,
    server_time_ms: int,
    *,
    index: NDArray[np.uint32],
    lon_e7: NDArray[np.int32],
    lat_e7: NDArray[np.int32],
    device_time_ms: NDArray[np.int64],
    heading_cdeg: NDArray[np.uint16],
    speed_ckmh: NDArray[np.uint16],
    ignition: NDArray[np.int8],
) -> bytes:
    """A snapshot or delta. `ignition` is -1 (unknown), 0, 1; the arrays have one length."""
    age_ms = server_time_ms - device_time_ms
    state = np.where(ignition < 0, 0, IGNITION_KNOWN | (ignition > 0) * IGNITION_ON)
    state |= ((speed_ckmh != UNKNOWN_U16) & (speed_ckmh >= round(MOVING_FROM_KMH * 100))) * MOVING
    state |= (age_ms > STALE_AFTER_MS) * STALE
    columns: tuple[NDArray[Any], ...] = (
        index,
        lon_e7,
        lat_e7,
        np.clip(age_ms, -_INT32_MAX, _INT32_MAX),
        heading_cdeg,
        speed_ckmh,
        state,
    )
    header = _HEADER.pack(MAGIC, VERSION, kind, len(index), revision, base_revision, server_time_ms)
    body = (column.astype(dtype, copy=False).tobytes() for column, (_, dtype) in zip(columns, COLUMNS, strict=True))
    return b"".join((header, *body))


def encode_heartbeat(revision: int, server_time_ms: int) -> bytes:
    """A delta without vehicles that leaves the client at `revision`: the server lives and this is its time."""
    return _HEADER.pack(MAGIC, VERSION, DELTA, 0, revision, revision, server_time_ms)


def encode_names(revision: int, server_time_ms: int, index: NDArray[np.uint32], names: Sequence[bytes]) -> bytes:
    """Which vehicle each index stands for. `names` are ASCII ids of 1 to 64 bytes, one for each index."""
    header = _HEADER.pack(MAGIC, VERSION, NAMES, len(names), revision, 0, server_time_ms)
    lengths = bytes(map(len, names))
    return b"".join((header, index.astype("<u4", copy=False).tobytes(), lengths, *names))


def speed_ckmh(speed_kmh: NDArray[np.float64]) -> NDArray[np.uint16]:
    """Speed in 0.01 km/h, at most 655.34; 65535 for NaN, infinite and negative values."""
    known = np.isfinite(speed_kmh) & (speed_kmh >= 0)
    return np.where(known, np.rint(np.minimum(np.where(known, speed_kmh, 0), 655.34) * 100), UNKNOWN_U16).astype("<u2")


def heading_cdeg(heading_deg: NDArray[np.float64]) -> NDArray[np.uint16]:
    """Heading in 0.01 degrees, 0 to 35999; 65535 for NaN, infinite and absurd values."""
    known = np.isfinite(heading_deg) & (np.abs(heading_deg) <= 36_000)
    return np.where(known, np.rint(np.where(known, heading_deg, 0) * 100) % 36_000, UNKNOWN_U16).astype("<u2")


def decode(message: bytes) -> Frame:
    """Read a frame, as a client would. Raises FrameError."""
    if len(message) < HEADER_BYTES:
        raise FrameError(f"{len(message)} bytes are less than a header")
    magic, version, kind, count, revision, base_revision, server_time_ms = _HEADER.unpack_from(message)
    if magic != MAGIC or version != VERSION:
        raise FrameError(f"magic {magic!r} version {version} is not {MAGIC!r} version {VERSION}")
    header = Header(kind, count, revision, base_revision, server_time_ms)
    if kind == NAMES:
        return Frame(header, {}, _decode_names(message, count))
    if kind not in (SNAPSHOT, DELTA):
        raise FrameError(f"kind {kind} is unknown")
    if len(message) != HEADER_BYTES + count * VEHICLE_BYTES:
        raise FrameError(f"{len(message)} bytes do not hold {count} vehicles")
    columns, offset = {}, HEADER_BYTES
    for name, dtype in COLUMNS:
        columns[name] = np.frombuffer(message, dtype=dtype, count=count, offset=offset)
        offset += columns[name].nbytes
    return Frame(header, columns, {})


def _decode_names(message: bytes, count: int) -> dict[int, str]:
    lengths_at = HEADER_BYTES + 4 * count
    lengths = message[lengths_at : lengths_at + count]
    if len(message) != lengths_at + count + sum(lengths):
        raise FrameError(f"{len(message)} bytes do not hold {count} names")
    index = np.frombuffer(message, dtype="<u4", count=count, offset=HEADER_BYTES)
    names, offset = {}, lengths_at + count
    for number, length in zip(index.tolist(), lengths, strict=True):
        names[number] = message[offset : offset + length].decode("ascii")
        offset += length
    return names


def _e7(degrees: float) -> int:
    return round(degrees * 1e7)
