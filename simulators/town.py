"""An invented town, made from a seed: a warped street grid, arterials, a river with bridges, a ring road.

It lies in the open sea on purpose, so that nobody takes its traffic for that of a real place.

    python -m simulators.town FOLDER      writes the demo city pack
"""

import itertools
import math
import sys
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from simulators import citypack, roads
from simulators.citypack import CityPack
from simulators.roads import Plane, Way

DEMO_SEED: Final = 7
DEMO_ORIGIN: Final = Plane(lat_deg=31.05, lon_deg=123.60)

COLUMNS: Final = 23
ROWS: Final = 21
BLOCK_M: Final = 170.0
RING_SCALE: Final = 1.10
RIVER_BELOW_ROW: Final = 7  # the river flows between this row of streets and the one above it
RIVER_WIDTH_M: Final = 150.0

LIMITS_KMH: Final = {"primary": 60.0, "secondary": 50.0, "tertiary": 40.0, "residential": 30.0}
RING_LIMIT_KMH: Final = 70.0

_ARTERIAL_NAMES = [
    ("人民路", "Renmin Road"),
    ("解放路", "Jiefang Road"),
    ("中山路", "Zhongshan Road"),
    ("建设路", "Jianshe Road"),
    ("迎宾路", "Yingbin Road"),
    ("文化路", "Wenhua Road"),
    ("和平路", "Heping Road"),
    ("新华路", "Xinhua Road"),
    ("滨河路", "Binhe Road"),
    ("车站路", "Chezhan Road"),
    ("体育路", "Tiyu Road"),
    ("学府路", "Xuefu Road"),
]
_FIRST = [
    ("桂花", "Guihua"),
    ("梧桐", "Wutong"),
    ("银杏", "Yinxing"),
    ("玉兰", "Yulan"),
    ("海棠", "Haitang"),
    ("芙蓉", "Furong"),
    ("翠竹", "Cuizhu"),
    ("青松", "Qingsong"),
    ("丹枫", "Danfeng"),
    ("明珠", "Mingzhu"),
    ("锦绣", "Jinxiu"),
    ("朝阳", "Chaoyang"),
]
_SECOND = [("街", "Street"), ("巷", "Lane"), ("东街", "East Street"), ("西街", "West Street")]

_Grid = NDArray[np.float64]


def make(seed: int = DEMO_SEED, origin: Plane = DEMO_ORIGIN) -> tuple[dict[str, Any], list[Way]]:
    """Description and ways of the town of `seed`, the same for the same seed."""
    streets = _Streets(np.random.default_rng(seed), origin)
    streets.lay_grid()
    streets.lay_ring()
    # Side streets that the gaps left without any connection are not built.
    joined = set(roads.build(streets.ways).edge_way.tolist())
    ways = [way for number, way in enumerate(streets.ways) if number in joined]
    meta = {
        "name": {"zh": "临江镇（虚构）", "en": "Rivermouth (invented)"},
        "licence": "CC0-1.0",
        "attribution": "Invented town, generated",
        "seed": seed,
    }
    return meta, ways


def write_demo_pack(path: Path) -> CityPack:
    """Write the demo town as a city pack into the folder `path` and return it."""
    meta, ways = make()
    return citypack.write(path, meta, ways)


class _Streets:
    """The drawing board: grid points in metres, and the ways laid so far."""

    def __init__(self, rng: np.random.Generator, origin: Plane) -> None:
        self.rng = rng
        self.origin = origin
        self.ways: list[Way] = []
        self.x_m, self.y_m = _warped(rng)
        radius_x, radius_y = COLUMNS * BLOCK_M / 2 * 0.97, ROWS * BLOCK_M / 2 * 1.0
        self.radii_m = (radius_x, radius_y)
        self.inside = (self.x_m / radius_x) ** 2 + (self.y_m / radius_y) ** 2 < 1.0
        self.arterial_columns = {3: 1, 7: 0, 11: 0, 15: 1, 19: 1}
        self.arterial_rows = {2: 1, RIVER_BELOW_ROW: 2, RIVER_BELOW_ROW + 1: 1, 12: 0, 17: 1}
        self.names = self._names()
        self.phases = rng.uniform(0, 2 * math.pi, 2)
        self.ring_ends: list[tuple[float, float]] = []

    def _names(self) -> dict[tuple[str, int], tuple[str, str]]:
        side = [(zh + end, f"{en} {end_en}") for zh, en in _FIRST for end, end_en in _SECOND]
        order = iter(self.rng.permutation(len(side)).tolist())
        arterial = iter(_ARTERIAL_NAMES)
        lines = [("column", i) for i in range(COLUMNS)] + [("row", i) for i in range(ROWS)]
        return {
            (kind, i): next(arterial)
            if i in (self.arterial_columns if kind == "column" else self.arterial_rows)
            else side[next(order)]
            for kind, i in lines
        }

    def lay_grid(self) -> None:
        """Streets along the columns and rows of the grid; some blocks are merged, the river has few bridges."""
        for column in range(COLUMNS):
            self._line("column", column, [(row, column) for row in range(ROWS)])
        for row in range(ROWS):
            self._line("row", row, [(row, column) for column in range(COLUMNS)])

    def _line(self, kind: str, number: int, cells: list[tuple[int, int]]) -> None:
        arterials = self.arterial_columns if kind == "column" else self.arterial_rows
        rank = arterials.get(number)
        main = rank is not None
        road_class = ("primary", "secondary", "tertiary")[rank] if rank is not None else "residential"
        if not main and number % 2 == 0 and self.rng.random() < 0.5:
            road_class = "tertiary"
        run: list[tuple[int, int]] = []
        for here, there in itertools.pairwise(cells):
            if not self._open(here, there, main):
                self._lay(kind, number, road_class, run)
                run = []
                continue
            crosses = kind == "column" and here[0] == RIVER_BELOW_ROW
            if crosses:
                self._lay(kind, number, road_class, run)
                self._lay(kind, number, road_class, [here, there], bridge=True)
                run = [there]
            else:
                run = [*(run or [here]), there]
        self._lay(kind, number, road_class, run)
        if main:
            self._reach_ring(kind, number, road_class, cells)

    def _open(self, here: tuple[int, int], there: tuple[int, int], main: bool) -> bool:
        if not (self.inside[here] and self.inside[there]):
            return False
        if main:
            return True
        if {here[0], there[0]} == {RIVER_BELOW_ROW, RIVER_BELOW_ROW + 1}:
            return False
        # Blocks grow towards the edge of the town: fewer side streets there.
        out = math.hypot(self.x_m[here] / self.radii_m[0], self.y_m[here] / self.radii_m[1])
        return bool(self.rng.random() > 0.04 + 0.40 * out**2)

    def _lay(self, kind: str, number: int, road_class: str, cells: list[tuple[int, int]], bridge: bool = False) -> None:
        if len(cells) < 2:
            return
        name, name_en = self.names[kind, number]
        points = self._curve(cells)
        oneway = road_class == "residential" and len(cells) > 3 and self.rng.random() < 0.15
        if bridge:
            name, name_en = f"{name}桥", f"{name_en} Bridge"
        self._add(
            points,
            road_class,
            (name, name_en),
            LIMITS_KMH[road_class],
            oneway=oneway,
            tags={"bridge": 1} if bridge else {},
        )

    def _curve(self, cells: list[tuple[int, int]]) -> list[tuple[float, float]]:
        """Points of a street through grid points: a Catmull-Rom curve that also minds the points before and after."""
        step = cells[1][0] - cells[0][0], cells[1][1] - cells[0][1]

        def at(cell: tuple[int, int], offset: int) -> NDArray[np.float64]:
            row = min(max(cell[0] + offset * step[0], 0), ROWS - 1)
            column = min(max(cell[1] + offset * step[1], 0), COLUMNS - 1)
            return np.array([self.x_m[row, column], self.y_m[row, column]])

        points = [at(cells[0], 0)]
        for cell in cells[:-1]:
            p0, p1, p2, p3 = (at(cell, offset) for offset in (-1, 0, 1, 2))
            for t in (0.25, 0.5, 0.75):
                points.append(
                    p1 + 0.5 * t * (p2 - p0 + t * (2 * p0 - 5 * p1 + 4 * p2 - p3 + t * (3 * (p1 - p2) + p3 - p0)))
                )
            points.append(p2)
        return [(float(x), float(y)) for x, y in points]

    def _reach_ring(self, kind: str, number: int, road_class: str, cells: list[tuple[int, int]]) -> None:
        inside = [cell for cell in cells if self.inside[cell]]
        if kind == "row" and number == RIVER_BELOW_ROW:
            return  # the lower bank road ends at the last bridges
        for end, before in ((inside[0], inside[1]), (inside[-1], inside[-2])):
            start = float(self.x_m[end]), float(self.y_m[end])
            along = start[0] - float(self.x_m[before]), start[1] - float(self.y_m[before])
            target = self._on_ring(start, along)
            self.ring_ends.append(target)
            self._add([start, target], road_class, self.names[kind, number], LIMITS_KMH[road_class])

    def _on_ring(self, start: tuple[float, float], along: tuple[float, float]) -> tuple[float, float]:
        a, b = (radius * RING_SCALE for radius in self.radii_m)
        dx, dy = along[0] / a, along[1] / b
        x, y = start[0] / a, start[1] / b
        qa, qb, qc = dx * dx + dy * dy, 2 * (x * dx + y * dy), x * x + y * y - 1
        t = (-qb + math.sqrt(qb * qb - 4 * qa * qc)) / (2 * qa)
        x, y = x + t * dx, y + t * dy
        swell = self._swell(math.atan2(y, x))
        return swell * a * x, swell * b * y

    def _swell(self, angle: float) -> float:
        """How far outside the ellipse the ring road runs at this angle: no ring road is a compass line."""
        return 1.02 + 0.035 * math.sin(2 * angle + self.phases[0]) + 0.03 * math.sin(3 * angle + self.phases[1])

    def lay_ring(self) -> None:
        """The ring road through all ends of the arterials."""
        a, b = (radius * RING_SCALE for radius in self.radii_m)
        ends = sorted((math.atan2(y / b, x / a), (x, y)) for x, y in self.ring_ends)
        for (angle, point), (next_angle, next_point) in zip(ends, [*ends[1:], ends[0]], strict=True):
            span = (next_angle - angle) % (2 * math.pi)
            steps = max(2, round(span * a / 60))
            curve = [
                (self._swell(turn) * a * math.cos(turn), self._swell(turn) * b * math.sin(turn))
                for turn in (angle + span * i / steps for i in range(1, steps))
            ]
            self._add([point, *curve, next_point], "primary", ("环城路", "Huancheng Ring Road"), RING_LIMIT_KMH)

    def _add(
        self,
        points_m: list[tuple[float, float]],
        road_class: str,
        name: tuple[str, str],
        limit_kmh: float,
        *,
        oneway: bool = False,
        tags: dict[str, object] | None = None,
    ) -> None:
        xy = np.array(points_m)
        lat, lon = self.origin.to_latlon(xy[:, 0], xy[:, 1])
        points = tuple((round(x, 7), round(y, 7)) for x, y in zip(lon.tolist(), lat.tolist(), strict=True))
        self.ways.append(Way(points, road_class, *name, maxspeed_kmh=limit_kmh, oneway=oneway, tags=tags or {}))


def _warped(rng: np.random.Generator) -> tuple[_Grid, _Grid]:
    """Grid points in metres round the centre, bent by slow waves, tighter in the middle, parted by the river."""
    v, u = np.meshgrid(np.arange(ROWS) - (ROWS - 1) / 2, np.arange(COLUMNS) - (COLUMNS - 1) / 2, indexing="ij")
    spread = 0.82 + 0.22 * np.hypot(u / COLUMNS, v / ROWS) * 2
    x_m, y_m = u * BLOCK_M * spread, v * BLOCK_M * spread
    river_row = RIVER_BELOW_ROW + 0.5 - (ROWS - 1) / 2
    y_m += np.where(v > river_row, 1, -1) * (RIVER_WIDTH_M - BLOCK_M * 0.82) / 2
    for wave in (1.1, 1.9, 3.1):
        phase = rng.uniform(0, 2 * math.pi, 4)
        size = 55.0 / wave
        x_m += size * np.sin(wave * v / 3.2 + phase[0]) + 0.5 * size * np.sin(wave * u / 4 + phase[1])
        y_m += 1.7 * size * np.sin(wave * u / 4.6 + phase[2]) + 0.4 * size * np.sin(wave * v / 4 + phase[3])
    jitter = rng.normal(0, 7.0, (2, ROWS, COLUMNS))
    return x_m + jitter[0], y_m + jitter[1]


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: python -m simulators.town FOLDER")
    write_demo_pack(Path(sys.argv[1]))
