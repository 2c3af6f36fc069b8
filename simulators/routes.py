"""Routes over a city's lanes, and how a calm driver covers one: his speed along it, where he stands, when he is where.

A whole drive is planned at once with array arithmetic, without stepping through its seconds, so that weeks of driving
cost milliseconds. Metres on the graph's plane, seconds from the start of the drive.
"""

from bisect import bisect_right
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from simulators import lanes
from simulators.lanes import NO_SIGNAL, Lanes
from simulators.roads import Plane, RoadGraph

F64 = NDArray[np.float64]

GRID_M: Final = 3.0
# Comfortable driving (AASHTO takes 3.4 m/s2 as the comfortable limit of braking; calm drivers stay at half of it).
ACCELERATE_MPS2: Final = (0.8, 1.5)
BRAKE_MPS2: Final = (1.1, 1.7)
# Share of the limit that a driver keeps to; none of them speeds by himself.
OF_LIMIT: Final = (0.82, 0.96)
# How calm drivers of each class turn (sideways, m/s2) and what part of a car's acceleration and braking they use: a
# laden lorry turns over at about half of what a car holds (judgement, below every published threshold by class).
MANNER: Final = {"car": (1.7, 1.0), "van": (1.4, 0.9), "heavy": (1.1, 0.65)}
STOP_SHARE: Final = 0.4  # of the signals that are red when one comes to them
STOP_S: Final = (4.0, 35.0)
_MEAN_MPS: Final = 11.5  # faster than most drives in a town on average, so a route of this length mostly suffices
_FREE_M: Final = 12.0  # stops keep this distance from each other and from the ends of a drive

# What a driver wants at each point in place of his own wish: from the route, his own wish and the highest speed at
# which he still turns calmly, all metres a second.
Wish = Callable[["Route", F64, F64], F64]


@dataclass(frozen=True, slots=True)
class Place:
    """A place on a lane."""

    lane: int
    along_m: float


@dataclass(frozen=True, slots=True)
class Route:
    """Points every 3 m (n,) along a chain of lanes. `heading_deg` is unwrapped; `signals_m` are stop lines.

    cap_mps    highest comfortable speed by curvature
    lane       lane of each point; `lane_from_m` is where along the route that lane began
    """

    s_m: F64
    x_m: F64
    y_m: F64
    heading_deg: F64
    cap_mps: F64
    limit_mps: F64
    lane: NDArray[np.int64]
    lane_from_m: F64
    signals_m: F64

    def until(self, s_m: float) -> "Route":
        """The part of the route up to `s_m`."""
        n = max(8, int(np.searchsorted(self.s_m, s_m, side="right")))
        return Route(
            self.s_m[:n],
            self.x_m[:n],
            self.y_m[:n],
            self.heading_deg[:n],
            self.cap_mps[:n],
            self.limit_mps[:n],
            self.lane[:n],
            self.lane_from_m[:n],
            self.signals_m[self.signals_m < self.s_m[n - 1]],
        )

    @property
    def end(self) -> Place:
        """Where the route ends."""
        return Place(int(self.lane[-1]), float(self.s_m[-1] - self.lane_from_m[-1]))


class Roads:
    """Lanes of a city, prepared for walking along them."""

    def __init__(self, graph: RoadGraph) -> None:
        self.lanes: Lanes = lanes.lay(graph)
        self.plane: Plane = graph.plane
        key = self.lanes.points[:, 0]
        self._first = np.searchsorted(key, self.lanes.key_start_m)
        self._stop = np.searchsorted(key, self.lanes.key_start_m + self.lanes.length_m + 1e-6, side="right")
        share = np.diff(self.lanes.choice_cum, axis=1, prepend=0.0)
        self._cumulative = self.lanes.choice_cum.tolist()
        # The fourth power makes the greater road and the straight one nearly certain.
        bold = np.cumsum(share**4, axis=1)
        self._bold = (bold / bold[:, -1:]).tolist()
        self._choices = self.lanes.choices.tolist()
        self._length = self.lanes.length_m.tolist()
        greater = np.where(self.lanes.limit_mps[: self.lanes.edges] >= self._greater_mps(), 1.0, 0.05)
        self._weight = self.lanes.length_m[: self.lanes.edges] * greater
        self._weight /= self._weight.sum()
        self._even = self.lanes.length_m[: self.lanes.edges] / self.lanes.length_m[: self.lanes.edges].sum()

    def _greater_mps(self) -> float:
        """Speed limit of the city's greater roads: the upper quarter by length."""
        order = np.argsort(self.lanes.limit_mps[: self.lanes.edges])
        along = np.cumsum(self.lanes.length_m[order])
        return float(self.lanes.limit_mps[order][np.searchsorted(along, 0.75 * along[-1])])

    def anywhere(self, rng: np.random.Generator, *, greater: bool = False) -> Place:
        """A place on a road, drawn by length; on one of the greater roads if wanted."""
        lane = int(rng.choice(self.lanes.edges, p=self._weight if greater else self._even))
        return Place(lane, float(rng.uniform(0.1, 0.5) * self.lanes.length_m[lane]))

    def position(self, place: Place) -> tuple[float, float, float]:
        """East and north in metres and heading in degrees of a place."""
        part = self.lanes.points[self._first[place.lane] : self._stop[place.lane]]
        key = float(self.lanes.key_start_m[place.lane]) + place.along_m
        x, y, heading = (float(np.interp(key, part[:, 0], part[:, column])) for column in (1, 2, 3))
        return x, y, heading % 360.0

    def wander(self, rng: np.random.Generator, start: Place, length_m: float, *, bold: bool = False) -> Route:
        """A route of at least `length_m`. `bold` keeps to the greater roads and goes straight on where it can."""
        cumulative = self._bold if bold else self._cumulative
        chain = [start.lane]
        total = -start.along_m + self._length[start.lane]
        while total < length_m:
            lane = chain[-1]
            slot = min(bisect_right(cumulative[lane], rng.random()), len(cumulative[lane]) - 1)
            chain.append(self._choices[lane][slot])
            total += self._length[chain[-1]]
        return self._route(np.array(chain), start.along_m)

    def _route(self, chain: NDArray[np.int64], skip_m: float) -> Route:
        first, stop = self._first[chain], self._stop[chain]
        counts = stop - first
        within = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
        points = self.lanes.points[np.repeat(first, counts) + within]
        length = self.lanes.length_m[chain]
        begin = np.cumsum(length) - length - skip_m
        along = np.repeat(begin, counts) + points[:, 0] - np.repeat(self.lanes.key_start_m[chain], counts)
        s_m = np.arange(0.0, begin[-1] + length[-1], GRID_M)
        at = np.clip(np.searchsorted(begin, s_m, side="right") - 1, 0, len(chain) - 1)
        lane = chain[at]
        signal = np.flatnonzero(self.lanes.signal[chain] != NO_SIGNAL)
        return Route(
            s_m,
            np.interp(s_m, along, points[:, 1]),
            np.interp(s_m, along, points[:, 2]),
            np.interp(s_m, along, np.unwrap(points[:, 3], period=360.0)),
            self.lanes.cap_mps[lane],
            self.lanes.limit_mps[lane],
            lane,
            begin[at],
            begin[signal] + length[signal] - 2.0,
        )


# Laying the lanes of a large city takes a second; a score plays dozens of scenarios on the same one.
_LAID: Final[list[tuple[RoadGraph, Roads]]] = []
_LAID_MOST: Final = 2


def roads_of(graph: RoadGraph) -> Roads:
    """Roads of a graph; those of the last two graphs are kept."""
    for known, laid in _LAID:
        if known is graph:
            return laid
    _LAID.append((graph, Roads(graph)))
    del _LAID[:-_LAID_MOST]
    return _LAID[-1][1]


@dataclass(frozen=True, slots=True)
class Motion:
    """How a route is covered: place `s_m` and speed `v_mps` at times `t_s`, evenly accelerated in between."""

    route: Route
    t_s: F64
    s_m: F64
    v_mps: F64

    @property
    def lasts_s(self) -> float:
        """Length of the drive."""
        return float(self.t_s[-1])

    def at(self, t_s: F64) -> tuple[F64, F64]:
        """Metres along the route and speed at times; still before the first and after the last."""
        inner = np.clip(t_s, 0.0, self.t_s[-1])
        index = np.clip(np.searchsorted(self.t_s, inner, side="right") - 1, 0, len(self.t_s) - 2)
        lasts = np.maximum(self.t_s[index + 1] - self.t_s[index], 1e-9)
        since = inner - self.t_s[index]
        gain = (self.v_mps[index + 1] - self.v_mps[index]) / lasts
        speed = self.v_mps[index] + gain * since
        return self.s_m[index] + self.v_mps[index] * since + 0.5 * gain * since * since, np.maximum(speed, 0.0)

    def when(self, s_m: float) -> float:
        """Time at which a point of the route is passed (first reached)."""
        return float(self.t_s[np.searchsorted(self.s_m, s_m)])


@dataclass(frozen=True, slots=True)
class Driver:
    """A driver's manner: share of the limit he keeps to, how he accelerates, brakes and turns."""

    of_limit: float
    accelerate_mps2: float
    brake_mps2: float
    lateral_mps2: float

    @classmethod
    def drawn(cls, rng: np.random.Generator, vehicle_class: str = "car") -> "Driver":
        """A calm driver, sedate to brisk."""
        style = float(rng.beta(2.5, 2.5))
        lateral, share = MANNER[vehicle_class]
        limit, accelerate, brake = (low + style * (high - low) for low, high in (OF_LIMIT, ACCELERATE_MPS2, BRAKE_MPS2))
        return cls(limit, share * accelerate, share * brake, lateral)


def plan(
    roads: Roads,
    rng: np.random.Generator,
    driver: Driver,
    start: Place,
    lasts_s: float,
    *,
    bold: bool = False,
    stops: bool = True,
    wish: Wish | None = None,
    emergency_mps2: float | None = None,
) -> Motion:
    """A drive of about `lasts_s` seconds, from standing to standing.

    `emergency_mps2`: somewhere in its second half the driver brakes to a stop this hard.
    """
    mean_mps = _MEAN_MPS
    while True:
        route = roads.wander(rng, start, lasts_s * mean_mps + 100.0, bold=bold)
        mood = np.interp(route.s_m, np.arange(0.0, route.s_m[-1] + 150.0, 150.0), _slow_noise(rng, route.s_m[-1]))
        turning = _turning(route, driver)
        wanted = np.minimum(turning, route.limit_mps * np.clip(driver.of_limit + 0.03 * mood, 0.5, 0.985))
        if wish is not None:
            wanted = wish(route, wanted, turning)
        stop_m, stop_s = _stops(rng, route.signals_m) if stops else (np.empty(0), np.empty(0))
        rough = _cover(route, wanted, driver, (stop_m, stop_s))
        if rough.lasts_s >= lasts_s:
            break
        mean_mps *= 1.5
    end_m = float(rough.at(np.array([lasts_s]))[0][0])
    cut = route.until(max(end_m, 60.0))
    wanted = wanted[: len(cut.s_m)]
    hard = None
    if emergency_mps2 is not None:
        hard = (_fast_point(rough, cut), emergency_mps2)
        # No red light near the place: the driver comes at full speed.
        far = np.abs(stop_m - hard[0]) > 150.0
        stop_m, stop_s = np.append(stop_m[far], hard[0]), np.append(stop_s[far], 6.0)
        order = np.argsort(stop_m)
        stop_m, stop_s = stop_m[order], stop_s[order]
    return _cover(cut, wanted, driver, (stop_m, stop_s), hard)


def _turning(route: Route, driver: Driver) -> F64:
    """Speed that keeps the sideways acceleration at each point within what the driver likes."""
    bend = np.zeros(len(route.s_m))
    bend[1:-1] = np.radians(np.abs(route.heading_deg[2:] - route.heading_deg[:-2])) / (2 * GRID_M)
    # Half a vehicle's length before and after: what is felt in it, and what a mean over a second shows.
    bend[1:-1] = np.maximum(np.maximum(bend[:-2], bend[1:-1]), bend[2:])
    return np.minimum(route.cap_mps, np.sqrt(driver.lateral_mps2 / np.maximum(bend, 1e-4)))


def _slow_noise(rng: np.random.Generator, length_m: float) -> F64:
    return rng.normal(0.0, 1.0, len(np.arange(0.0, length_m + 150.0, 150.0)))


def _stops(rng: np.random.Generator, signals_m: F64) -> tuple[F64, F64]:
    red = rng.random(len(signals_m)) < STOP_SHARE
    return signals_m[red], rng.uniform(*STOP_S, int(red.sum()))


def _fast_point(rough: Motion, route: Route) -> float:
    """Where in the second half of a route the driver is fastest."""
    inner = (rough.s_m > 0.5 * route.s_m[-1]) & (rough.s_m < 0.9 * route.s_m[-1])
    return float(rough.s_m[inner][np.argmax(rough.v_mps[inner])])


def _cover(
    route: Route, wanted_mps: F64, driver: Driver, halts_at: tuple[F64, F64], hard: tuple[float, float] | None = None
) -> Motion:
    """`halts_at`: where and how long he stands; `hard`: where he brakes to a stop, and how hard."""
    s_m, (stop_m, stop_s) = route.s_m, halts_at
    brake = np.full(len(s_m), driver.brake_mps2)
    if hard is not None:
        # Within 45 m a car stops from 85 km/h at 0.65 g: the whole of the braking is as hard as that.
        brake[(s_m > hard[0] - 45.0) & (s_m <= hard[0])] = hard[1]
    inner = (stop_m > _FREE_M) & (stop_m < s_m[-1] - _FREE_M)
    halts = np.searchsorted(s_m, stop_m[inner])
    spread = np.diff(halts, prepend=-100) > _FREE_M / GRID_M
    halts, dwell = halts[spread], stop_s[inner][spread]
    square = np.minimum(wanted_mps, 60.0) ** 2
    square[[0, -1]] = 0.0
    square[halts] = 0.0
    # v^2 grows by at most 2 a ds a step and falls by at most 2 b ds: two running minima.
    rise = np.concatenate(([0.0], np.cumsum(np.full(len(s_m) - 1, 2 * driver.accelerate_mps2 * GRID_M))))
    square = np.minimum.accumulate(square - rise) + rise
    fall = np.concatenate(([0.0], np.cumsum(2 * brake[1:] * GRID_M)))
    square = np.minimum.accumulate((square + fall)[::-1])[::-1] - fall
    speed = np.sqrt(np.maximum(square, 0.0))
    step = 2 * GRID_M / np.maximum(speed[1:] + speed[:-1], 0.5)
    t_s = np.concatenate(([0.0], np.cumsum(step)))
    waited = np.zeros(len(s_m))
    waited[halts] = dwell
    before = np.concatenate(([0.0], np.cumsum(waited)[:-1]))
    t_s = t_s + before
    # A halt is two points at one place: arriving and leaving.
    after = halts + 1
    return Motion(
        route,
        np.insert(t_s, after, t_s[halts] + dwell),
        np.insert(s_m, after, s_m[halts]),
        np.insert(speed, after, 0.0),
    )
