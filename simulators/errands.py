"""A vehicle's errands: driven, stood, parked, towed or ferried in turn, weeks of them in milliseconds.

`Errands` writes the script, a `Life` is what came of it: the truth at every instant at which the unit takes a sample,
once a second or slower under way, once a minute or less while parked. What sensors make of it is told elsewhere
(condition.py: the vehicle's own, reception.py: the receiver's, unit.py: what is sent).
"""

import math
from dataclasses import dataclass
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from simulators import routes
from simulators.routes import Driver, Place, Roads, Wish

F64 = NDArray[np.float64]
Bools = NDArray[np.bool_]

HOUR_S: Final = 3_600.0
DAY_S: Final = 86_400.0
STARTING_S: Final = (5.0, 14.0)  # from the key to the first metre
# A unit that sleeps wakes when it is tilted or moved, and reports more often until it rests again.
TOWED_EVERY_S: Final = (10.0, 30.0)
TILTING_EVERY_S: Final = 5.0


class Span(NamedTuple):
    """From when to when, seconds of the life."""

    from_s: float
    until_s: float

    @property
    def lasts_s(self) -> float:
        """Its length."""
        return self.until_s - self.from_s

    def inner(self, share: float) -> float:
        """The instant at a share of it."""
        return self.from_s + share * (self.until_s - self.from_s)


@dataclass(slots=True)
class Life:
    """The truth at each sample (n,), in order of time. Places in metres on the graph's plane.

    t_s          seconds of the life
    wheel_mps    speed by the wheels: 0 on a truck or a ferry that moves
    rolled_m     distance the wheels rolled since the sample before
    accel_mps2, lateral_mps2, yaw_dps   means over the last second, ISO 8855
    cranking     the starter turns; `engine` the engine runs
    pitch_deg    nose up positive; `roll_deg` left side up positive
    seen_*       what the receiver's antenna is made to see; the same as the truth unless somebody deceives it
    """

    t_s: F64
    x_m: F64
    y_m: F64
    speed_mps: F64
    heading_deg: F64
    wheel_mps: F64
    rolled_m: F64
    accel_mps2: F64
    lateral_mps2: F64
    yaw_dps: F64
    limit_kmh: F64
    pitch_deg: F64
    roll_deg: F64
    ignition: Bools
    engine: Bools
    cranking: Bools
    door_open: Bools
    seen_x_m: F64
    seen_y_m: F64
    seen_speed_mps: F64
    seen_heading_deg: F64

    def __len__(self) -> int:
        return len(self.t_s)

    def within(self, span: Span) -> Bools:
        """Samples in a span, both ends included."""
        return np.asarray((self.t_s >= span.from_s) & (self.t_s <= span.until_s))

    def since(self, mark: Bools, never_s: float = math.inf) -> F64:
        """Seconds since the newest marked sample, itself included; `never_s` before the first."""
        at = np.maximum.accumulate(np.where(mark, np.arange(len(self)), -1))
        return np.where(at >= 0, self.t_s - self.t_s[np.maximum(at, 0)], never_s)

    def trips(self) -> list[Span]:
        """Spans with the ignition on."""
        on = np.concatenate(([False], self.ignition, [False])).astype(np.int8)
        starts, ends = np.flatnonzero(np.diff(on) == 1), np.flatnonzero(np.diff(on) == -1)
        return [
            Span(float(self.t_s[start]), float(self.t_s[min(int(end), len(self) - 1)]))
            for start, end in zip(starts, ends, strict=True)
        ]


_NUMBERS: Final = (
    "t_s", "x_m", "y_m", "speed_mps", "heading_deg", "wheel_mps", "rolled_m", "accel_mps2", "lateral_mps2", "yaw_dps",
    "limit_kmh", "pitch_deg", "roll_deg",
)  # fmt: skip
_FLAGS: Final = ("ignition", "engine", "cranking", "door_open")


class Errands:
    """Writes the script of one vehicle. `every_s` is how often its unit samples while the ignition is on."""

    def __init__(
        self,
        roads: Roads,
        rng: np.random.Generator,
        *,
        vehicle_class: str = "car",
        every_s: float = 1.0,
        heartbeat_s: float = 60.0,
        start: Place | None = None,
    ) -> None:
        self._roads, self._rng = roads, rng
        self.driver = Driver.drawn(rng, vehicle_class)
        self.every_s, self.heartbeat_s = every_s, heartbeat_s
        self.place = roads.anywhere(rng) if start is None else start
        self._x_m, self._y_m, self._heading_deg = roads.position(self.place)
        self._limit_kmh = float(roads.lanes.limit_mps[self.place.lane] * 3.6)
        # Units sample on a beat of their own within the second.
        self.now_s = float(rng.integers(0, 1000)) / 1000.0
        self._on = False
        self._owed_m = 0.0  # rolled after the last sample of a drive
        self._blocks: list[dict[str, F64 | Bools]] = []

    def park(self, seconds: float, *, heartbeat_s: float | None = None) -> Span:
        """Ignition off, for so long."""
        beat_s = self.heartbeat_s if heartbeat_s is None else heartbeat_s
        begin_s = self.now_s
        if self._on:
            self._on = False
            # The driver gets out: his door wakes the unit twice.
            out_s = float(self._rng.uniform(4.0, 15.0))
            times = np.array([0.0, out_s, out_s + 5.0])
            self._still(begin_s + times[times < seconds], door_open=(times == out_s)[times < seconds])
            begin_s += 1.0
        # Not at the very end, where the next errand takes its first sample.
        self._still(np.arange(begin_s + beat_s, self.now_s + seconds - 0.5, beat_s))
        return self._passed(seconds)

    def stand(self, seconds: float) -> Span:
        """Engine on, not moving."""
        self._start()
        self._still(np.arange(self.now_s, self.now_s + seconds, self.every_s))
        return self._passed(seconds)

    def drive(
        self,
        seconds: float,
        *,
        bold: bool = False,
        stops: bool = True,
        wish: Wish | None = None,
        emergency_mps2: float | None = None,
        crank_s: int = 1,
    ) -> Span:
        """Drive for about so long, from standing to standing, starting the engine first where it is off."""
        begin_s = self.now_s
        self._start(crank_s)
        motion = routes.plan(
            self._roads, self._rng, self.driver, self.place, seconds,
            bold=bold, stops=stops, wish=wish, emergency_mps2=emergency_mps2,
        )  # fmt: skip
        self._cover(motion, np.arange(0.0, motion.lasts_s, self.every_s), carried=False)
        return Span(begin_s, self.now_s)

    def towed(self, seconds: float, *, tilt_deg: float, tilting_s: float, speed_kmh: float) -> Span:
        """Lifted at the nose over `tilting_s`, then carried along the roads with the wheels still."""
        begin_s, every_s = self.now_s, float(self._rng.uniform(*TOWED_EVERY_S))
        self._off()
        lift = np.arange(TILTING_EVERY_S, tilting_s + TILTING_EVERY_S, TILTING_EVERY_S)
        self._still(begin_s + lift, pitch_deg=tilt_deg * np.minimum(lift / tilting_s, 1.0))
        self._passed(tilting_s + float(self._rng.uniform(60.0, 180.0)))
        motion = routes.plan(
            self._roads, self._rng, self.driver, self.place, seconds,
            wish=lambda _route, wanted, _turning: np.minimum(wanted, speed_kmh / 3.6),
        )  # fmt: skip
        self._cover(motion, np.arange(0.0, motion.lasts_s, every_s), carried=True, pitch_deg=tilt_deg)
        return Span(begin_s, self.now_s)

    def ferried(self, seconds: float, *, speed_kmh: float, to: Place) -> Span:
        """On a ferry's deck, straight to another place: a gentle swell, no lift."""
        begin_s, every_s = self.now_s, float(self._rng.uniform(*TOWED_EVERY_S))
        self._off()
        x_m, y_m, heading_deg = self._roads.position(to)
        distance_m = math.hypot(x_m - self._x_m, y_m - self._y_m)
        cruise_mps = max(speed_kmh / 3.6, distance_m / max(seconds - 120.0, 60.0))
        lasts_s = distance_m / cruise_mps + 60.0
        times = np.arange(every_s, lasts_s, every_s)
        # One minute to gather way, one to lose it.
        speed = cruise_mps * np.clip(np.minimum(times, lasts_s - times) / 60.0, 0.0, 1.0)
        way = np.cumsum(speed)
        share = way / way[-1]
        course = math.degrees(math.atan2(x_m - self._x_m, y_m - self._y_m)) % 360.0
        swell = 2 * math.pi * times / float(self._rng.uniform(6.0, 11.0))
        self._add(
            t_s=begin_s + times,
            x_m=self._x_m + share * (x_m - self._x_m),
            y_m=self._y_m + share * (y_m - self._y_m),
            speed_mps=speed,
            heading_deg=np.full(len(times), course),
            pitch_deg=0.5 * np.sin(swell),
            roll_deg=1.2 * np.sin(0.8 * swell + 1.0),
        )
        self._at(to, x_m, y_m, heading_deg)
        self._passed(lasts_s)
        return Span(begin_s, self.now_s)

    def tilted(self, seconds: float, *, pitch_deg: float, roll_deg: float, over_s: float) -> Span:
        """Parked, and raised on one side or end for a while (a jack), then let down again."""
        begin_s = self.now_s
        self._off()
        up = np.arange(TILTING_EVERY_S, over_s + TILTING_EVERY_S, TILTING_EVERY_S)
        held = np.arange(over_s + self.heartbeat_s, seconds - over_s, self.heartbeat_s)
        down = seconds - over_s + up
        times = np.concatenate((up, held, down))
        share = np.concatenate((np.minimum(up / over_s, 1.0), np.ones(len(held)), 1.0 - np.minimum(up / over_s, 1.0)))
        self._still(begin_s + times, pitch_deg=pitch_deg * share, roll_deg=roll_deg * share)
        self._passed(seconds + 2 * TILTING_EVERY_S)
        return Span(begin_s, self.now_s)

    def life(self, until_s: float) -> Life:
        """What came of it; parked for the rest up to `until_s`."""
        if self.now_s < until_s:
            self.park(until_s - self.now_s)
        columns = {name: np.concatenate([block[name] for block in self._blocks]) for name in (*_NUMBERS, *_FLAGS)}
        seen = {f"seen_{name}": columns[name].copy() for name in ("x_m", "y_m", "speed_mps", "heading_deg")}
        return Life(**columns, **seen)

    # -- how blocks of samples are added -------------------------------------------------------------------------------

    def _off(self) -> None:
        if self._on:
            self.park(60.0)

    def _start(self, crank_s: int = 1) -> None:
        if self._on:
            return
        self._on = True
        # The first seconds are sampled every second whatever the pace: a start is an event that wakes the unit.
        ready_s = math.ceil(self._rng.uniform(*STARTING_S)) + crank_s
        times = np.arange(0.0, ready_s)
        cranking = (times >= 2.0) & (times < 2.0 + crank_s)
        self._still(self.now_s + times, engine=times >= 2.0 + crank_s, cranking=cranking, door_open=times < 1.0)
        self._passed(float(ready_s))

    def _cover(self, motion: routes.Motion, times: F64, *, carried: bool, pitch_deg: float = 0.0) -> None:
        """Samples of a drive at `times` from its start."""
        route = motion.route
        s_m, v_mps = motion.at(times)
        before_m, before_mps = motion.at(times - 1.0)
        heading, before_deg = (np.interp(at, route.s_m, route.heading_deg) for at in (s_m, before_m))
        # Clockwise heading change; ISO 8855 turns left (counter-clockwise) positive.
        yaw_dps = before_deg - heading
        at = np.searchsorted(route.s_m, s_m, side="right") - 1
        rolled = np.zeros(len(times)) if carried else np.diff(s_m, prepend=0.0)
        self._add(
            t_s=self.now_s + times,
            x_m=np.interp(s_m, route.s_m, route.x_m),
            y_m=np.interp(s_m, route.s_m, route.y_m),
            speed_mps=v_mps,
            heading_deg=heading % 360.0,
            wheel_mps=np.zeros(len(times)) if carried else v_mps,
            rolled_m=rolled,
            accel_mps2=v_mps - before_mps,
            lateral_mps2=np.radians(yaw_dps) * (v_mps + before_mps) / 2,
            yaw_dps=yaw_dps,
            limit_kmh=route.limit_mps[at] * 3.6,
            pitch_deg=np.full(len(times), pitch_deg),
        )
        self._owed_m += 0.0 if carried else float(motion.s_m[-1] - s_m[-1])
        self._at(route.end, float(route.x_m[-1]), float(route.y_m[-1]), float(route.heading_deg[-1]) % 360.0)
        self._passed(motion.lasts_s)

    def _still(self, t_s: F64, **columns: F64 | Bools) -> None:
        if len(t_s):
            self._add(t_s=t_s, **columns)

    def _add(self, t_s: F64, **columns: F64 | Bools) -> None:
        n = len(t_s)
        usual: dict[str, float] = {
            "x_m": self._x_m, "y_m": self._y_m, "heading_deg": self._heading_deg, "limit_kmh": self._limit_kmh,
        }  # fmt: skip
        block: dict[str, F64 | Bools] = {name: np.full(n, usual.get(name, 0.0)) for name in _NUMBERS}
        block |= {name: np.full(n, self._on and name in ("ignition", "engine")) for name in _FLAGS}
        block |= {"t_s": t_s} | columns
        block["rolled_m"][0] += self._owed_m
        self._owed_m = 0.0
        self._blocks.append(block)

    def _at(self, place: Place, x_m: float, y_m: float, heading_deg: float) -> None:
        self.place, self._x_m, self._y_m, self._heading_deg = place, x_m, y_m, heading_deg
        self._limit_kmh = float(self._roads.lanes.limit_mps[place.lane] * 3.6)

    def _passed(self, seconds: float) -> Span:
        begin_s = self.now_s
        # Whole seconds, so that the unit keeps its beat.
        self.now_s = round(self.now_s + math.ceil(seconds), 3)
        return Span(begin_s, self.now_s)
