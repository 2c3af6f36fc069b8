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
        self._borders = shapely.STRtree([shapely.boundary(fence.area) for fence in self.fences])
        for fence in self.fences:
            shapely.prepare(fence.area)
        self._cells = self._touched_cells()
        # Around all cells, so that most points are known to be far without a search.
        west, south, east, north = shapely.GeometryCollection([fence.area for fence in self.fences]).bounds
        self._box = (west - 2 * _CELL_DEG, south - 2 * _CELL_DEG, east + 2 * _CELL_DEG, north + 2 * _CELL_DEG)

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
        near = np.zeros(len(lat_deg), dtype=np.bool_)
        if not len(self._cells):
            return near
        west, south, east, north = self._box
        with np.errstate(invalid="ignore"):
            boxed = np.flatnonzero((lat_deg >= south) & (lat_deg < north) & (lon_deg >= west) & (lon_deg < east))
        rows = np.floor(lat_deg[boxed] / _CELL_DEG).astype(np.int64)
        columns = np.floor(lon_deg[boxed] / _CELL_DEG).astype(np.int64)
        cells = rows * 100_000 + columns
        at = np.minimum(np.searchsorted(self._cells, cells), len(self._cells) - 1)
        near[boxed] = self._cells[at] == cells
        return near

    def containing(self, lat_deg: Floats, lon_deg: Floats) -> NDArray[np.int64]:
        """Pairs (point, fence) of points that lie in fences, shape (2, pairs), by point."""
        points = shapely.points(lon_deg, lat_deg)
        pairs: NDArray[Any] = self._tree.query(points, predicate="intersects")
        return pairs.astype(np.int64)

    def bordering(self, lat_deg: Floats, lon_deg: Floats, within_m: float) -> NDArray[np.bool_]:
        """Which points lie within some metres of the border of any fence, and a little further at high latitudes."""
        mask = np.zeros(len(lat_deg), dtype=np.bool_)
        if len(lat_deg) and self.fences:
            narrow = math.cos(math.radians(min(float(np.abs(lat_deg).max()), 80.0)))
            points = shapely.points(lon_deg, lat_deg)
            pairs = self._borders.query(points, predicate="dwithin", distance=within_m / METRES_A_DEGREE / narrow)
            mask[pairs[0]] = True
        return mask

    def crossed(self, lat_a: Floats, lon_a: Floats, lat_b: Floats, lon_b: Floats) -> NDArray[np.bool_]:
        """Which straight lines from points a to points b cross the border of any fence."""
        mask = np.zeros(len(lat_a), dtype=np.bool_)
        if len(lat_a) and self.fences:
            ends = np.stack((np.column_stack((lon_a, lat_a)), np.column_stack((lon_b, lat_b))), axis=1)
            mask[self._borders.query(shapely.linestrings(ends), predicate="intersects")[0]] = True
        return mask

    def touching(self, west: float, south: float, east: float, north: float) -> list[Fence]:
        """Fences whose bounds meet a box, degrees, in the order of the set."""
        return [self.fences[at] for at in sorted(self._tree.query(shapely.box(west, south, east, north)).tolist())]

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
