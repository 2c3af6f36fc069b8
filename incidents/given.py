"""What is known beside recorded messages: vehicles with their contracts, fences. JSON Lines, as simulators write them.

    {"kind": "vehicle", "vehicle_id", "vehicle_class", "tenures": [{"kind", "from_ms", "until_ms", "fence_ids"}]}
    {"kind": "fence", "fence_id", "name", "geojson", "rules", "level", "dwell_s", "speed_limit_kmh", "vehicle_ids"}

Other kinds of line are passed over, so that a file of simulated truth can be given as it is.
"""

from pathlib import Path
from typing import Any

import msgspec
import shapely

from incidents.fences import Fence, FenceSet
from incidents.remembered import Memory
from incidents.window import Tenure, Vehicle


class GivenError(ValueError):
    """A line that cannot be used; the text names the file and the line."""


class _Tenure(msgspec.Struct):
    kind: str
    from_ms: int
    until_ms: int | None = None
    fence_ids: tuple[str, ...] = ()


class _Vehicle(msgspec.Struct):
    vehicle_id: str
    vehicle_class: str = "car"
    tenures: tuple[_Tenure, ...] | None = None


class _Fence(msgspec.Struct):
    fence_id: str
    geojson: dict[str, Any]
    name: str = ""
    rules: tuple[str, ...] = ("entry", "exit")
    level: int = 1
    dwell_s: float | None = None
    speed_limit_kmh: float | None = None
    vehicle_ids: tuple[str, ...] | None = None


def read(path: Path) -> Memory:
    """A source in memory that knows what the file says. Raises GivenError."""
    try:
        lines = path.read_bytes().splitlines()
    except OSError as error:
        raise GivenError(f"{path} cannot be read: {error.strerror or error}") from None
    records = []
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            record = msgspec.json.decode(line, type=dict[str, Any])
            records.append(record)
            _check(record)
        except (msgspec.MsgspecError, shapely.errors.GEOSException, ValueError) as error:
            raise GivenError(f"{path}, line {number}: {error}") from None
    return of(records)


def of(records: list[dict[str, Any]]) -> Memory:
    """The same of records."""
    vehicles, fences = {}, []
    for record in records:
        known = _check(record)
        if isinstance(known, Vehicle):
            vehicles[known.vehicle_id] = known
        elif isinstance(known, Fence):
            fences.append(known)
    return Memory(FenceSet(fences), vehicles)


def _check(record: dict[str, Any]) -> Vehicle | Fence | None:
    if record.get("kind") == "vehicle":
        told = msgspec.convert(record, _Vehicle)
        if told.vehicle_class not in ("car", "van", "heavy"):
            raise ValueError(f"vehicle_class: {told.vehicle_class!r} is none of car, van, heavy")
        tenures = tuple(
            Tenure(one.kind, one.from_ms * 1000, None if one.until_ms is None else one.until_ms * 1000, one.fence_ids)
            for one in told.tenures or ()
        )
        return Vehicle(told.vehicle_id, told.vehicle_class, told.tenures is not None, tenures)
    if record.get("kind") == "fence":
        fence = msgspec.convert(record, _Fence)
        area = shapely.from_geojson(msgspec.json.encode(fence.geojson).decode())
        if area.geom_type not in ("Polygon", "MultiPolygon") or not area.is_valid or area.is_empty:
            raise ValueError("geojson: expected a valid Polygon or MultiPolygon")
        return Fence(
            fence.fence_id, fence.name or fence.fence_id, area, frozenset(fence.rules), fence.level, fence.dwell_s,
            fence.speed_limit_kmh, None if fence.vehicle_ids is None else frozenset(fence.vehicle_ids),
        )  # fmt: skip
    return None
