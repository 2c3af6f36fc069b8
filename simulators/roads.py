"""A road graph in NumPy arrays: nodes, directed edges with class, limit and shape, joined where ways share a point."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np
from numpy.typing import NDArray

F64 = NDArray[np.float64]
I32 = NDArray[np.int32]
Bools = NDArray[np.bool_]

# Order is importance; the index is `RoadGraph.edge_class`.
CLASSES: Final = (
    "motorway",
    "motorway_link",
    "trunk",
    "trunk_link",
    "primary",
    "primary_link",
    "secondary",
    "secondary_link",
    "tertiary",
    "tertiary_link",
    "unclassified",
    "residential",
    "living_street",
    "service",
)

# Limit in km/h where a way carries no `maxspeed`. Urban values of the Chinese road traffic safety regulations
# (State Council decree 405, article 45: 50 km/h without and 70 km/h with separated lanes) and of GB 50220 for the
# lesser classes. A limit from here is an assumption: `edge_limit_mapped` says which edges have a real one.
ASSUMED_LIMIT_KMH: Final = dict(zip(CLASSES, (100, 60, 80, 50, 60, 40, 50, 40, 40, 30, 30, 30, 20, 20), strict=True))

# A point inside a way where the road turns this sharply becomes a node, so that vehicles slow down for it.
SHARP_BEND_DEG: Final = 35.0

EARTH_AXIS_M: Final = 6_378_137.0  # WGS-84 semi-major axis
EARTH_ECC2: Final = 6.694379990141e-3  # WGS-84 first eccentricity squared


@dataclass(frozen=True, slots=True)
class Plane:
    """Local plane round an origin: metres east (x) and north (y). Good to 1 in 10,000 within 20 km."""

    lat_deg: float
    lon_deg: float

    @property
    def _scale(self) -> tuple[float, float]:
        sin2 = math.sin(math.radians(self.lat_deg)) ** 2
        prime = EARTH_AXIS_M / math.sqrt(1 - EARTH_ECC2 * sin2)
        meridian = prime * (1 - EARTH_ECC2) / (1 - EARTH_ECC2 * sin2)
        return (
            math.radians(1) * prime * math.cos(math.radians(self.lat_deg)),
            math.radians(1) * meridian,
        )

    def to_xy(self, lat_deg: F64, lon_deg: F64) -> tuple[F64, F64]:
        """Metres east and north of the origin."""
        per_lon, per_lat = self._scale
        return (lon_deg - self.lon_deg) * per_lon, (lat_deg - self.lat_deg) * per_lat

    def to_latlon(self, x_m: F64, y_m: F64) -> tuple[F64, F64]:
        """WGS-84 latitude and longitude, degrees."""
        per_lon, per_lat = self._scale
        return self.lat_deg + y_m / per_lat, self.lon_deg + x_m / per_lon


@dataclass(frozen=True, slots=True)
class Way:
    """One stretch of road as on the map: `points` are (lon, lat) degrees in driving order."""

    points: tuple[tuple[float, float], ...]
    road_class: str
    name: str = ""
    name_en: str = ""
    maxspeed_kmh: float | None = None
    oneway: bool = False
    tags: dict[str, object] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class RoadGraph:
    """Directed graph. Edge `e` has the points `shape_start[e]:shape_start[e + 1]` of `shape_x_m`, `shape_y_m`."""

    plane: Plane
    node_lat_deg: F64
    node_lon_deg: F64
    edge_from: I32
    edge_to: I32
    edge_length_m: F64
    edge_class: I32
    edge_limit_kmh: F64
    edge_limit_mapped: Bools
    edge_way: I32
    edge_reverse: I32
    shape_start: I32
    shape_x_m: F64
    shape_y_m: F64

    @property
    def nodes(self) -> int:
        """Number of nodes."""
        return len(self.node_lat_deg)

    @property
    def edges(self) -> int:
        """Number of directed edges."""
        return len(self.edge_from)

    @property
    def length_km(self) -> float:
        """Length of all edges; a two-way road counts twice."""
        return float(self.edge_length_m.sum()) / 1000


def rank_of(road_class: str) -> int:
    """Importance on the map, 1 (motorway, trunk) to 5 (residential and below)."""
    return max(1, min(5, CLASSES.index(road_class) // 2))


def limit_of(way: Way) -> tuple[float, bool]:
    """Speed limit of a way in km/h, and whether the map states it."""
    if way.maxspeed_kmh:
        return way.maxspeed_kmh, True
    return float(ASSUMED_LIMIT_KMH[way.road_class]), False


def build(ways: Sequence[Way]) -> RoadGraph:
    """Join `ways` where they share a coordinate (7 decimals), keep the largest strongly connected part.

    Raises ValueError when no two ways meet, so that nothing could drive.
    """
    if not ways:
        raise ValueError("the roads hold no drivable way")
    points = _Points(ways)
    rows = list(_edges_of(ways, points))
    graph = _assemble(ways, points, rows)
    kept = _strongest(graph)
    if not kept.any():
        raise ValueError("no two roads of the city pack are joined")
    return _assemble(ways, points, [row for row, keep in zip(rows, kept, strict=True) if keep])


class _Points:
    """Numbers the distinct points of all ways and knows at which of them the graph has a node."""

    def __init__(self, ways: Sequence[Way]) -> None:
        self.index: dict[tuple[float, float], int] = {}
        self.of_way: list[list[int]] = []
        uses: list[int] = []
        for way in ways:
            numbers: list[int] = []
            for lon, lat in way.points:
                number = self.index.setdefault((round(lon, 7), round(lat, 7)), len(self.index))
                if number == len(uses):
                    uses.append(0)
                if numbers and numbers[-1] == number:
                    continue
                uses[number] += 1
                numbers.append(number)
            for end in (numbers[0], numbers[-1]):
                uses[end] += 1
            self.of_way.append(numbers)
        coordinates = np.array(list(self.index), dtype=np.float64)
        self.lon_deg, self.lat_deg = coordinates[:, 0], coordinates[:, 1]
        self.plane = Plane(float(self.lat_deg.mean()), float(self.lon_deg.mean()))
        self.x_m, self.y_m = self.plane.to_xy(self.lat_deg, self.lon_deg)
        self.is_node = np.array(uses) > 1
        for numbers in self.of_way:
            self._mark_bends(numbers)

    def _mark_bends(self, numbers: list[int]) -> None:
        if len(numbers) < 3:
            return
        heading = np.arctan2(np.diff(self.y_m[numbers]), np.diff(self.x_m[numbers]))
        turn = np.abs(np.degrees((np.diff(heading) + np.pi) % (2 * np.pi) - np.pi))
        for inner in np.flatnonzero(turn > SHARP_BEND_DEG):
            self.is_node[numbers[inner + 1]] = True


_Row = tuple[int, tuple[int, ...], bool]


def _edges_of(ways: Sequence[Way], points: _Points) -> Iterable[_Row]:
    for number, (way, along) in enumerate(zip(ways, points.of_way, strict=True)):
        start = 0
        for stop in range(1, len(along)):
            if not points.is_node[along[stop]]:
                continue
            piece = tuple(along[start : stop + 1])
            start = stop
            yield number, piece, False
            if not way.oneway:
                yield number, piece[::-1], True


def _assemble(ways: Sequence[Way], points: _Points, rows: list[_Row]) -> RoadGraph:
    ends = np.array([(piece[0], piece[-1]) for _, piece, _ in rows], dtype=np.int64)
    used, joined = np.unique(ends, return_inverse=True)
    joined = joined.reshape(ends.shape)
    counts = np.array([len(piece) for _, piece, _ in rows])
    start = np.concatenate(([0], np.cumsum(counts))).astype(np.int32)
    flat = np.concatenate([np.array(piece) for _, piece, _ in rows])
    x_m, y_m = points.x_m[flat], points.y_m[flat]
    step = np.hypot(np.diff(x_m), np.diff(y_m))
    step[start[1:-1] - 1] = 0.0
    travelled = np.concatenate(([0.0], np.cumsum(step)))
    limits = [limit_of(ways[number]) for number, _, _ in rows]
    return RoadGraph(
        plane=points.plane,
        node_lat_deg=points.lat_deg[used],
        node_lon_deg=points.lon_deg[used],
        edge_from=joined[:, 0].astype(np.int32),
        edge_to=joined[:, 1].astype(np.int32),
        edge_length_m=travelled[start[1:] - 1] - travelled[start[:-1]],
        edge_class=np.array([CLASSES.index(ways[number].road_class) for number, _, _ in rows], dtype=np.int32),
        edge_limit_kmh=np.array([limit for limit, _ in limits]),
        edge_limit_mapped=np.array([mapped for _, mapped in limits]),
        edge_way=np.array([number for number, _, _ in rows], dtype=np.int32),
        edge_reverse=_reverse(rows),
        shape_start=start,
        shape_x_m=x_m,
        shape_y_m=y_m,
    )


def _reverse(rows: list[_Row]) -> I32:
    by_piece = {piece: index for index, (_, piece, _) in enumerate(rows)}
    return np.array([by_piece.get(piece[::-1], -1) for _, piece, _ in rows], dtype=np.int32)


def _strongest(graph: RoadGraph) -> Bools:
    """Edges inside the largest strongly connected component: from each, every other can be reached.

    Iterative Tarjan (1972); without this a vehicle could drive into a one-way dead end of the extract.
    """
    out: list[list[int]] = [[] for _ in range(graph.nodes)]
    for origin, target in zip(graph.edge_from.tolist(), graph.edge_to.tolist(), strict=True):
        out[origin].append(target)
    component = _components(out)
    same = component[graph.edge_from] == component[graph.edge_to]
    if not same.any():
        return np.asarray(same)
    biggest = np.bincount(component[graph.edge_from[same]]).argmax()
    return np.asarray(same & (component[graph.edge_from] == biggest))


def _components(out: list[list[int]]) -> I32:
    count = len(out)
    order, low, component = [-1] * count, [0] * count, [-1] * count
    stack: list[int] = []
    clock = found = 0
    for root in range(count):
        if order[root] >= 0:
            continue
        work = [(root, 0)]
        while work:
            node, child = work.pop()
            if child == 0:
                order[node] = low[node] = clock
                clock += 1
                stack.append(node)
            elif component[out[node][child - 1]] < 0:
                low[node] = min(low[node], low[out[node][child - 1]])
            descended = False
            for index in range(child, len(out[node])):
                target = out[node][index]
                if order[target] < 0:
                    work.append((node, index + 1))
                    work.append((target, 0))
                    descended = True
                    break
                if component[target] < 0:
                    low[node] = min(low[node], order[target])
            if not descended and low[node] == order[node]:
                while True:
                    member = stack.pop()
                    component[member] = found
                    if member == node:
                        break
                found += 1
    return np.array(component, dtype=np.int32)
