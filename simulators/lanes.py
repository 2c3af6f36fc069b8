"""Lanes to drive on, derived from a road graph: smooth edges, and an arc (connector) for every turn at a node.

Every lane has its own length, curve and highest comfortable speed, so that a vehicle that keeps to them brakes before
a turn and never jumps sideways. Lanes 0 to `edges - 1` are the graph's edges, the connectors follow.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from simulators.roads import CLASSES, RoadGraph

F64 = NDArray[np.float64]
I32 = NDArray[np.int32]
I64 = NDArray[np.int64]
Bools = NDArray[np.bool_]

# Comfortable lateral acceleration in a turn, m/s2 (AASHTO's low-speed side friction of about 0.17 to 0.2 g).
LATERAL_MPS2: Final = 1.7
TRIM_M: Final = 12.0
SLOWEST_TURN_MPS: Final = 1.5
MAX_CHOICES: Final = 8
_ARC_POINTS: Final = 9
_STRAIGHT_MPS: Final = 99.0
_NEAR_M: Final = 4.0
SIGNAL_CYCLE_S: Final = 60
NO_SIGNAL: Final = 2 * SIGNAL_CYCLE_S
_SHARPEST_COS: Final = -0.6  # 127 degrees
_TERTIARY: Final = CLASSES.index("tertiary_link")
_SHORTEST_SIGNAL_EDGE_M: Final = 30.0


@dataclass(frozen=True, slots=True)
class Lanes:
    """Arrays over lanes, and over the points of their centre lines.

    The key of a point grows over all lanes: a place `s` metres along lane `i` lies at key `key_start_m[i] + s`.
    `choices[i]` are the lanes one may go on to and `choice_cum[i]` their cumulative probability.
    """

    edges: int
    edge: I32  # edge of the graph whose limit holds
    length_m: F64
    cap_mps: F64  # highest comfortable speed by curvature
    limit_mps: F64
    limit_mapped: Bools
    may_park: Bools
    signal: I32  # offset in the cycle + group * SIGNAL_CYCLE_S of a signal at the lane's end, NO_SIGNAL elsewhere
    choices: I32
    choice_cum: F64
    key_start_m: F64
    points: F64  # shape (points, 4): key and place in metres, heading in degrees, unwrapped within a lane
    near: I32  # point at or before each multiple of _NEAR_M of the key

    def find(self, key_m: F64) -> I64:
        """Index of the last point at or before each key."""
        index = self.near[(key_m / _NEAR_M).astype(np.int64)].astype(np.int64)
        late = np.flatnonzero(self.points[index + 1, 0] <= key_m)
        while len(late):
            index[late] += 1
            late = late[self.points[index[late] + 1, 0] <= key_m[late]]
        return index


class Cursor:
    """Where on the centre lines each of `size` things is; remembers the piece it was on, since most stay there."""

    def __init__(self, lanes: Lanes, size: int) -> None:
        self._lanes = lanes
        self._start = np.full((size, 4), np.inf)
        self._stop = np.full((size, 4), -np.inf)

    def place(self, key_start_m: F64, along_m: F64, length_m: F64) -> tuple[F64, F64, F64]:
        """East and north in metres and heading in degrees clockwise from north, `along_m` along lanes."""
        key = key_start_m + np.clip(along_m, 0.0, length_m - 1e-6)
        moved = np.flatnonzero((key >= self._stop[:, 0]) | (key < self._start[:, 0]))
        if len(moved):
            index = self._lanes.find(key[moved])
            self._start[moved] = self._lanes.points[index]
            self._stop[moved] = self._lanes.points[index + 1]
        share = (key - self._start[:, 0]) / (self._stop[:, 0] - self._start[:, 0])
        place = self._start + share[:, None] * (self._stop - self._start)
        return np.ascontiguousarray(place[:, 1]), np.ascontiguousarray(place[:, 2]), place[:, 3] % 360.0


def lay(graph: RoadGraph) -> Lanes:
    """Lanes of `graph`. Traffic keeps to the right."""
    lines = [_edge_line(graph, edge) for edge in range(graph.edges)]
    origins, targets = _turns(graph, lines)
    arcs = _arcs(lines, origins, targets)
    edge_of = np.concatenate((np.arange(graph.edges), origins)).astype(np.int32)
    headings = [_headings(line) for line in lines]
    counts = np.concatenate(([len(line) for line in lines], np.full(len(arcs), _ARC_POINTS)))
    first = np.concatenate(([0], np.cumsum(counts)))
    xy = np.concatenate([*lines, arcs.reshape(-1, 2)])
    step = np.hypot(np.diff(xy[:, 0]), np.diff(xy[:, 1]))
    # A gap of 1 m in the key between lanes keeps them apart; it is never driven on.
    step[first[1:-1] - 1] = 1.0
    key = np.concatenate(([0.0], np.cumsum(step)))
    length = key[first[1:] - 1] - key[first[:-1]]
    arc_headings = _headings(arcs)
    caps = np.concatenate(([_cap(*pair) for pair in zip(lines, headings, strict=True)], _arc_caps(arcs, arc_headings)))
    choices, cumulative = _choices(graph, lines, origins, targets)
    arc_zeros = np.zeros(len(origins))
    return Lanes(
        edges=graph.edges,
        edge=edge_of,
        length_m=length,
        cap_mps=caps,
        limit_mps=graph.edge_limit_kmh[edge_of] / 3.6,
        limit_mapped=graph.edge_limit_mapped[edge_of],
        may_park=np.concatenate(((graph.edge_class >= _TERTIARY - 1) & (length[: graph.edges] > 40), arc_zeros > 0)),
        signal=np.concatenate((_signals(graph, lines), np.full(len(origins), NO_SIGNAL))).astype(np.int32),
        choices=choices,
        choice_cum=cumulative,
        key_start_m=key[first[:-1]],
        points=np.column_stack((key, xy, np.concatenate([*headings, arc_headings.ravel()]))),
        near=(np.searchsorted(key, np.arange(0.0, key[-1], _NEAR_M), side="right") - 1).astype(np.int32),
    )


def _headings(line: F64) -> F64:
    """Heading at each point, degrees clockwise from north: the mean of the pieces that meet there.

    `line` has the shape (.., points, 2), the answer (.., points).
    """
    span = np.diff(line, axis=-2)
    piece = np.degrees(np.unwrap(np.arctan2(span[..., 0], span[..., 1])))
    return np.concatenate((piece[..., :1], (piece[..., :-1] + piece[..., 1:]) / 2, piece[..., -1:]), axis=-1)


def _edge_line(graph: RoadGraph, edge: int) -> F64:
    """Centre line of an edge: rounded bends, moved to the right of a two-way road, cut back before its nodes."""
    part = slice(graph.shape_start[edge], graph.shape_start[edge + 1])
    line = np.column_stack((graph.shape_x_m[part], graph.shape_y_m[part]))
    for _ in range(2):
        line = _round_corners(line)
    if graph.edge_reverse[edge] >= 0:
        line = _shift_right(line, 3.2 if graph.edge_class[edge] < _TERTIARY - 1 else 1.8)
    length = float(graph.edge_length_m[edge])
    return _cut(line, min(TRIM_M, 0.35 * length))


def _round_corners(line: F64) -> F64:
    if len(line) < 3:
        return line
    span = np.diff(line, axis=0)
    length = np.maximum(np.hypot(span[:, 0], span[:, 1]), 1e-6)
    share = np.minimum(0.25, 12.0 / length)[:, None]
    near, far = line[:-1] + share * span, line[1:] - share * span
    inner = np.empty((2 * len(span), 2))
    inner[0::2], inner[1::2] = near, far
    return np.concatenate((line[:1], inner[1:-1], line[-1:]))


def _shift_right(line: F64, by_m: float) -> F64:
    span = np.diff(line, axis=0)
    normal = np.column_stack((span[:, 1], -span[:, 0])) / np.maximum(np.hypot(span[:, 0], span[:, 1]), 1e-9)[:, None]
    at = np.concatenate((normal[:1], normal[:-1] + normal[1:], normal[-1:]))
    at /= np.maximum(np.hypot(at[:, 0], at[:, 1]), 1e-9)[:, None]
    return line + by_m * at


def _cut(line: F64, trim_m: float) -> F64:
    span = np.diff(line, axis=0)
    along = np.concatenate(([0.0], np.cumsum(np.hypot(span[:, 0], span[:, 1]))))
    low, high = trim_m, float(along[-1]) - trim_m
    if high - low < 0.5:  # a very short edge: keep its middle
        low, high = along[-1] * 0.4, along[-1] * 0.6
    inner = line[(along > low + 0.2) & (along < high - 0.2)]
    ends = np.column_stack((np.interp([low, high], along, line[:, 0]), np.interp([low, high], along, line[:, 1])))
    return np.concatenate((ends[:1], inner, ends[1:]))


def _turns(graph: RoadGraph, lines: list[F64]) -> tuple[I32, I32]:
    """Pairs of edges that one may drive in turn; turning back, or nearly back, only where nothing else is left."""
    leaving: list[list[int]] = [[] for _ in range(graph.nodes)]
    for edge, origin in enumerate(graph.edge_from.tolist()):
        leaving[origin].append(edge)
    _, _, away, arriving = _end_directions(lines)
    origins: list[int] = []
    targets: list[int] = []
    reverse = graph.edge_reverse
    for edge, node in enumerate(graph.edge_to.tolist()):
        there = np.array(leaving[node])
        ahead = there[there != reverse[edge]]
        smooth = ahead[away[ahead] @ arriving[edge] > _SHARPEST_COS]
        onward = next(some for some in (smooth, ahead, there) if len(some))[:MAX_CHOICES]
        origins += [edge] * len(onward)
        targets += onward.tolist()
    return np.array(origins, dtype=np.int32), np.array(targets, dtype=np.int32)


def _end_directions(lines: list[F64]) -> tuple[F64, F64, F64, F64]:
    """First point, last point, first and last unit direction of each line, shape (lines, 2)."""
    first = np.array([line[0] for line in lines])
    last = np.array([line[-1] for line in lines])
    leaving = np.array([line[1] - line[0] for line in lines])
    arriving = np.array([line[-1] - line[-2] for line in lines])
    return first, last, _unit(leaving), _unit(arriving)


def _unit(direction: F64) -> F64:
    return np.asarray(direction / np.maximum(np.hypot(direction[:, 0], direction[:, 1]), 1e-9)[:, None])


def _arcs(lines: list[F64], origins: I32, targets: I32) -> F64:
    """Cubic curves from the end of each origin to the start of its target, tangent to both: (turns, points, 2)."""
    first, last, leaving, arriving = _end_directions(lines)
    p0, p3 = last[origins], first[targets]
    d0, d3 = arriving[origins], leaving[targets]
    distance = np.hypot(*(p3 - p0).T)
    backwards = (d0 * d3).sum(axis=1) < -0.8
    # 0.39 of the chord makes a quarter circle; turning back needs room to swing out.
    reach = np.where(backwards, np.maximum(0.4 * distance, 6.0), 0.39 * distance)[:, None]
    p1, p2 = p0 + reach * d0, p3 - reach * d3
    t = np.linspace(0.0, 1.0, _ARC_POINTS)[:, None, None]
    curve = (1 - t) ** 3 * p0 + 3 * (1 - t) ** 2 * t * p1 + 3 * (1 - t) * t**2 * p2 + t**3 * p3
    return np.ascontiguousarray(curve.transpose(1, 0, 2))


def _cap(line: F64, heading_deg: F64) -> float:
    """Highest speed in m/s that keeps the lateral acceleration of an edge's tightest bend comfortable."""
    if len(line) == 2:
        return _STRAIGHT_MPS
    span = np.diff(line, axis=0)
    along = np.concatenate(([0.0], np.cumsum(np.hypot(span[:, 0], span[:, 1]))))
    # Curvature over 5 m: what is felt in a vehicle of that length, and blind to kinks of the map's drawing.
    window = min(5.0, float(along[-1]))
    at = np.interp(np.arange(0.0, along[-1] - window + 1.0, 2.0), along, heading_deg)
    on = np.interp(np.arange(0.0, along[-1] - window + 1.0, 2.0) + window, along, heading_deg)
    return float(_comfortable(np.abs(on - at).max() / window))


def _arc_caps(arcs: F64, heading_deg: F64) -> F64:
    span = np.diff(arcs, axis=1)
    along = np.cumsum(np.hypot(span[..., 0], span[..., 1]), axis=1)
    over = along[:, 3:] - along[:, :-3]
    turn = np.abs(heading_deg[:, 4:] - heading_deg[:, 1:-3])
    return _comfortable((turn / np.maximum(over, 0.5)).max(axis=1))


def _comfortable(bend_deg_m: F64) -> F64:
    bend = np.maximum(np.radians(bend_deg_m), LATERAL_MPS2 / _STRAIGHT_MPS**2)
    return np.maximum(SLOWEST_TURN_MPS, np.sqrt(LATERAL_MPS2 / bend))


def _choices(graph: RoadGraph, lines: list[F64], origins: I32, targets: I32) -> tuple[I32, F64]:
    _, _, leaving, arriving = _end_directions(lines)
    straight = (arriving[origins] * leaving[targets]).sum(axis=1)
    # Drivers prefer to go on and prefer the greater road.
    weight = (0.35 + 0.65 * (straight > 0.75)) * (1.0 + 3.0 * np.exp(-graph.edge_class[targets] / 5.0))
    lanes = graph.edges + len(origins)
    choices = np.zeros((lanes, MAX_CHOICES), dtype=np.int32)
    share = np.zeros((lanes, MAX_CHOICES))
    slot = np.arange(len(origins)) - np.searchsorted(origins, origins)
    choices[origins, slot] = graph.edges + np.arange(len(origins))
    share[origins, slot] = weight
    choices[graph.edges :, 0] = targets
    share[graph.edges :, 0] = 1.0
    cumulative = np.cumsum(share, axis=1)
    cumulative /= cumulative[:, -1:]
    cumulative[share[:, ::-1].cumsum(axis=1)[:, ::-1] == share] = 1.0  # the last choice takes the rounding
    return choices, cumulative


def _signals(graph: RoadGraph, lines: list[F64]) -> I32:
    """Signals stand where two roads of at least tertiary class cross; two groups by compass axis take turns."""
    major = np.zeros(graph.nodes, dtype=np.int64)
    np.add.at(major, graph.edge_to[graph.edge_class <= _TERTIARY], 1)
    _, _, _, arriving = _end_directions(lines)
    group = (np.abs(arriving[:, 0]) > np.abs(arriving[:, 1])).astype(np.int32)
    axes = np.zeros((graph.nodes, 2), dtype=bool)
    axes[graph.edge_to[graph.edge_class <= _TERTIARY], group[graph.edge_class <= _TERTIARY]] = True
    stands = (major >= 3) & axes.all(axis=1)
    here = stands[graph.edge_to] & (graph.edge_length_m > _SHORTEST_SIGNAL_EDGE_M)
    x_m, y_m = graph.plane.to_xy(graph.node_lat_deg, graph.node_lon_deg)
    # Nodes of one wide crossing share a 150 m cell and so one cycle.
    cell = np.floor(x_m / 150.0) * 37 + np.floor(y_m / 150.0) * 61
    offset = (cell % SIGNAL_CYCLE_S).astype(np.int32)[graph.edge_to]
    return np.where(here, offset + group * SIGNAL_CYCLE_S, NO_SIGNAL).astype(np.int32)
