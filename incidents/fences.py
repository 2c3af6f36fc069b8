"""Geofences: named areas, looked up for a whole batch of points at once. WGS-84 degrees at the edge, metres inside."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import shapely
from numpy.typing import NDArray

Floats = NDArray[np.float64]

# Equirectangular metres a degree of latitude: WGS-84 mean. Good to 0.3 % over a fence, which is what hysteresis hides.
METRES_A_DEGREE: Final = 111_320.0
_CELL_DEG: Final = 0.01


@dataclass(frozen=True, slots=True)
class Fence:
    """An area. `area` is a shapely polygon or multipolygon in degrees (lon, lat).

    `rules` says what of it is an incident: entry, exit, dwell, with `dwell_s` and `level` where given.
    `speed_limit_kmh` is a limit that holds inside; `vehicle_ids` None means that it concerns every vehicle.
    """

    fence_id: str
    name: str
    area: shapely.Geometry
    rules: frozenset[str] = frozenset({"entry", "exit"})
    level: int = 1
    dwell_s: float | None = None
    speed_limit_kmh: float | None = None
    vehicle_ids: frozenset[str] | None = None

    def concerns(self, vehicle_id: str) -> bool:
        """Whether the fence is about a vehicle."""
        return self.vehicle_ids is None or vehicle_id in self.vehicle_ids


class FenceSet:
    """Fences with an index over them. Immutable; a change makes a new set."""

    def __init__(self, fences: Sequence[Fence] = ()) -> None:
        self.fences = tuple(fences)
        self.by_id: Mapping[str, Fence] = {fence.fence_id: fence for fence in self.fences}
        self._tree = shapely.STRtree([fence.area for fence in self.fences])
        for fence in self.fences:
            shapely.prepare(fence.area)
        self._cells = self._touched_cells()

    def __len__(self) -> int:
        return len(self.fences)

    def _touched_cells(self) -> NDArray[np.int64]:
        cells: set[int] = set()
        for fence in self.fences:
            west, south, east, north = fence.area.bounds
            # A cell more on every side: a fix beside the border matters to hysteresis.
            for row in range(math.floor(south / _CELL_DEG) - 1, math.floor(north / _CELL_DEG) + 2):
                start = math.floor(west / _CELL_DEG) - 1
                cells.update(row * 100_000 + column for column in range(start, math.floor(east / _CELL_DEG) + 2))
        return np.array(sorted(cells), dtype=np.int64)

    def near(self, lat_deg: Floats, lon_deg: Floats) -> NDArray[np.bool_]:
        """Which points lie in or near any fence: cheap, for whole batches. NaN is near none."""
        if not len(self._cells):
            return np.zeros(len(lat_deg), dtype=np.bool_)
        known = np.isfinite(lat_deg) & np.isfinite(lon_deg)
        rows = np.floor(np.where(known, lat_deg, 0.0) / _CELL_DEG).astype(np.int64)
        columns = np.floor(np.where(known, lon_deg, 0.0) / _CELL_DEG).astype(np.int64)
        near: NDArray[np.bool_] = known & np.isin(rows * 100_000 + columns, self._cells)
        return near

    def containing(self, lat_deg: Floats, lon_deg: Floats) -> NDArray[np.int64]:
        """Pairs (point, fence) of points that lie in fences, shape (2, pairs), by point."""
        points = shapely.points(lon_deg, lat_deg)
        pairs: NDArray[Any] = self._tree.query(points, predicate="intersects")
        return pairs.astype(np.int64)

    def distance_m(self, fence: Fence, lat_deg: Floats, lon_deg: Floats) -> Floats:
        """Distance of points from a fence's border, negative inside, metres (local equirectangular plane)."""
        west, south, east, north = fence.area.bounds
        scale = np.array([METRES_A_DEGREE * math.cos(math.radians((south + north) / 2)), METRES_A_DEGREE])
        origin = np.array([(west + east) / 2, (south + north) / 2])
        area = shapely.transform(fence.area, lambda xy: (xy - origin) * scale)
        points = shapely.points((np.column_stack((lon_deg, lat_deg)) - origin) * scale)
        border: Floats = shapely.distance(points, shapely.boundary(area))
        return np.where(shapely.intersects(points, area), -border, border)


NO_FENCES: Final = FenceSet()
