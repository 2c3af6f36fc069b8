"""A fleet in motion: N vehicles on the lanes of a city, advanced together in steps of one second.

Deterministic: the same lanes, number and seed give the same motion. Speeds are in m/s, places in metres on the graph's
plane, time in seconds since the fleet was made.
"""

from enum import IntEnum
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from simulators.lanes import SIGNAL_CYCLE_S, Cursor, Lanes

F64 = NDArray[np.float64]
I32 = NDArray[np.int32]
I64 = NDArray[np.int64]
Bools = NDArray[np.bool_]

LOOKAHEAD: Final = 6  # lanes, the current one included
BRAKE_MPS2: Final = 1.5  # planned braking before turns, signals and the vehicle ahead
HARDEST_BRAKE_MPS2: Final = 2.2  # never exceeded in ordinary driving
CAN_STOP_MPS2: Final = 1.9  # a signal that needs harder braking is driven through (amber)
VEHICLE_M: Final = 4.6
STANDSTILL_GAP_M: Final = 2.0
FASTEST_OF_LIMIT: Final = 1.03  # ordinary driving does not speed
SIGNAL_GREEN_S: Final = 27  # of half a cycle; the rest is amber and all red
PATIENCE_S: Final = 45.0  # after standing this long behind somebody, squeeze past: keeps a full town from locking
_WARM_UP_S: Final = 180
_KEY_M: Final = 1.0e5  # longer than any lane


class Mode(IntEnum):
    """What a vehicle is doing. Only DRIVING vehicles are in the lane; the others stand or roll at its side."""

    DRIVING = 0
    PULLING_OVER = 1
    IDLING = 2  # standing with the engine on, before it is parked or goes on
    PARKED = 3
    STARTING = 4  # engine on, about to leave


class Fleet:
    """State of all vehicles as arrays of length `size`.

    `force_mps2` is where a scenario causes something: a finite value replaces the driver's longitudinal acceleration
    for the next step, NaN leaves the driver alone.
    """

    def __init__(self, lanes: Lanes, size: int, seed: int) -> None:
        if size < 1:
            raise ValueError("a fleet has at least one vehicle")
        self.lanes = lanes
        self.size = size
        self.time_s = 0
        self._rng = np.random.default_rng([seed, 1])
        rng = self._rng
        # Driver styles: sedate to brisk. One draw moves speed, acceleration and headway together.
        self.style: F64 = rng.beta(2.5, 2.5, size)
        self._speed_factor: F64 = 0.82 + 0.24 * self.style
        self._accel_mps2: F64 = 0.9 + 0.8 * self.style
        self._headway_s: F64 = 1.1 - 0.7 * self.style
        self._mood: F64 = np.zeros(size)
        self.speed_mps: F64 = np.zeros(size)
        self.accel_mps2: F64 = np.zeros(size)
        self.lateral_mps2: F64 = np.zeros(size)
        self.yaw_dps: F64 = np.zeros(size)
        self.odometer_m: F64 = np.zeros(size)
        self.force_mps2: F64 = np.full(size, np.nan)
        # Lanes ahead, and their properties looked up once, when a lane comes into sight: shape (LOOKAHEAD, size).
        self._plan: I32 = np.zeros((LOOKAHEAD, size), dtype=np.int32)
        self._plan[0] = _spread(lanes, size, rng)
        for ahead in range(1, LOOKAHEAD):
            self._plan[ahead] = self._choose(self._plan[ahead - 1])
        self._length_m: F64 = lanes.length_m[self._plan]
        self._limit_mps: F64 = lanes.limit_mps[self._plan]
        self._cap_mps: F64 = lanes.cap_mps[self._plan]
        self._signal: I32 = lanes.signal[self._plan]
        self._known: list[tuple[NDArray[Any], NDArray[Any]]] = [
            (self._length_m, lanes.length_m),
            (self._limit_mps, lanes.limit_mps),
            (self._cap_mps, lanes.cap_mps),
            (self._signal, lanes.signal),
        ]
        self.along_m: F64 = rng.random(size) * self._length_m[0]
        parked = rng.random(size) < 0.2
        self.mode: NDArray[np.int8] = np.where(parked, Mode.PARKED, Mode.DRIVING).astype(np.int8)
        self._timer_s: F64 = np.where(parked, rng.uniform(5, 600, size), 0.0)
        self._trip_left_s: F64 = self._trip_lengths(size) * rng.random(size)
        self._order: I64 = np.arange(size)
        self._blocked_s: F64 = np.zeros(size)
        self._entry_mps: F64 = _entry_speeds(lanes)
        self._cursor = Cursor(lanes, size)
        self._key_m: F64 = lanes.key_start_m[self._plan[0]]
        self.x_m, self.y_m, self.heading_deg = self._cursor.place(self._key_m, self.along_m, self._length_m[0])
        for _ in range(_WARM_UP_S):
            self.step()
        self.time_s = 0
        self.odometer_m[:] = 0.0

    @property
    def lane(self) -> I32:
        """Lane each vehicle is on."""
        return np.asarray(self._plan[0])

    @property
    def ignition(self) -> Bools:
        """Whether the engine (or the drive) is on."""
        return np.asarray(self.mode != Mode.PARKED)

    @property
    def limit_kmh(self) -> F64:
        """Speed limit where each vehicle is."""
        return np.asarray(self._limit_mps[0] * 3.6)

    def step(self) -> None:
        """Advance everything by one second."""
        speed = self.speed_mps
        following = self._decide()
        accel = np.where(np.isnan(self.force_mps2), following - speed, self.force_mps2)
        after = np.maximum(speed + accel, 0.0)
        self.accel_mps2 = after - speed
        moved = (speed + after) / 2
        self.speed_mps = after
        self.odometer_m += moved
        self.along_m += moved
        self._advance()
        self._change_modes()
        before_deg = self.heading_deg
        self.x_m, self.y_m, self.heading_deg = self._cursor.place(self._key_m, self.along_m, self._length_m[0])
        # Clockwise heading change; ISO 8855 turns left (counter-clockwise) positive.
        change = (self.heading_deg - before_deg + 180.0) % 360.0 - 180.0
        self.yaw_dps = -change
        self.lateral_mps2 = np.radians(self.yaw_dps) * moved
        self.force_mps2[:] = np.nan
        self.time_s += 1

    def _decide(self) -> F64:
        """Speed each driver wants at the end of this second."""
        speed, plan = self.speed_mps, self._plan
        self._mood += -0.05 * self._mood + self._rng.normal(0.0, 0.012, self.size)
        factor = np.minimum(self._speed_factor + self._mood, FASTEST_OF_LIMIT)
        caps = np.minimum(self._limit_mps * factor, self._cap_mps)
        caps[-1] = np.minimum(caps[-1], self._entry_mps[plan[-1]])
        wish = caps[0]
        ratio = speed / np.maximum(wish, 0.5)
        faster = speed + self._accel_mps2 * np.clip(1.15 - ratio * ratio * ratio, 0.0, 1.0)
        free = np.where(speed < wish, np.minimum(faster, wish), np.maximum(speed - 0.9, wish))
        free = np.minimum(free, speed + np.maximum(self.accel_mps2, 0.0) + 0.9)
        # "Room" is v^2 + 2 b d: the square of the speed from which the target is just reached with braking b.
        left = self._length_m[0] - self.along_m
        ahead_m = np.cumsum(np.concatenate((left[None], self._length_m[1:-1])), axis=0)
        room = (caps[1:] * caps[1:] + 2 * BRAKE_MPS2 * ahead_m).min(axis=0)
        red = self._red()
        for step in (0, 2):
            room = np.minimum(room, self._signal_room(ahead_m[step], red[self._signal[step]]))
        room = np.minimum(room, self._leader_room(left))
        # Solves v1^2 + b v1 = room - b v, for one second of even braking to v1.
        safe = -BRAKE_MPS2 / 2 + np.sqrt(np.maximum(BRAKE_MPS2**2 / 4 + room - BRAKE_MPS2 * speed, 0.0))
        wanted = np.maximum(np.minimum(free, safe), speed - HARDEST_BRAKE_MPS2)
        rolling = self.mode == Mode.PULLING_OVER
        wanted = np.where(rolling, np.minimum(wanted, speed - 1.1), wanted)
        wanted[self.mode > Mode.PULLING_OVER] = 0.0
        return np.asarray(np.maximum(wanted, 0.0))

    def _red(self) -> Bools:
        """Whether each signal code (see Lanes.signal) shows red now."""
        offset = np.arange(SIGNAL_CYCLE_S)
        half = SIGNAL_CYCLE_S // 2
        green = [(self.time_s + offset + half * group) % SIGNAL_CYCLE_S < SIGNAL_GREEN_S for group in (0, 1)]
        return np.concatenate((~green[0], ~green[1], np.zeros(1, bool)))

    def _signal_room(self, distance_m: F64, red: Bools) -> F64:
        """Room left by a red signal `distance_m` ahead; infinite without one."""
        stop_m = distance_m - 1.5
        # A metre over the line still counts as before it, or rounding would let those who stand drive off on red.
        must = red & (stop_m + 1.0 > self.speed_mps * self.speed_mps / (2 * CAN_STOP_MPS2))
        return np.where(must, 2 * BRAKE_MPS2 * np.maximum(stop_m, 0.0), np.inf)

    def _leader_room(self, left_m: F64) -> F64:
        """Room left by the vehicle ahead, in the same lane or at the start of the next two."""
        size, lane = self.size, self._plan[0]
        in_lane = self.mode == Mode.DRIVING
        key = np.where(in_lane, lane * _KEY_M + self.along_m, np.inf)
        # Last second's order is nearly this one's, which a stable sort turns to account.
        self._order = self._order[np.argsort(key[self._order], kind="stable")]
        order = self._order[: int(in_lane.sum())]
        room = np.full(size, np.inf)
        if len(order) == 0:
            return room
        sorted_lane = lane[order]
        same = sorted_lane[1:] == sorted_lane[:-1]
        leader = np.full(size, -1)
        gap = np.full(size, np.inf)
        behind, ahead = order[:-1][same], order[1:][same]
        leader[behind] = ahead
        gap[behind] = self.along_m[ahead] - self.along_m[behind]
        tail = np.full(len(self.lanes.length_m), -1)
        starts = np.concatenate(([True], ~same))
        tail[sorted_lane[starts]] = order[starts]
        seen = left_m
        for step in (1, 2):
            nxt = self._plan[step]
            found = np.where((leader < 0) & in_lane, tail[nxt], -1)
            has = found >= 0
            leader = np.where(has, found, leader)
            gap = np.where(has, seen + self.along_m[found], gap)
            seen = seen + self._length_m[step]
        impatient = self._blocked_s > PATIENCE_S
        follows = (leader >= 0) & ~impatient
        spare = gap - VEHICLE_M - STANDSTILL_GAP_M - self._headway_s * self.speed_mps
        room = np.where(follows, self.speed_mps[leader] ** 2 + 2 * BRAKE_MPS2 * spare, np.inf)
        held = follows & (self.speed_mps < 0.3) & (spare < 2.0) & (self.speed_mps[leader] < 0.3)
        self._blocked_s = np.where(held | (impatient & (self._blocked_s < PATIENCE_S + 6)), self._blocked_s + 1, 0.0)
        return room

    def _advance(self) -> None:
        """Move vehicles that passed the end of their lane on to the next, and plan one lane further."""
        passed = np.flatnonzero(self.along_m >= self._length_m[0])
        while len(passed):
            self.along_m[passed] -= self._length_m[0, passed]
            self._plan[:-1, passed] = self._plan[1:, passed]
            self._plan[-1, passed] = self._choose(self._plan[-2, passed])
            for known, all_lanes in self._known:
                known[:-1, passed] = known[1:, passed]
                known[-1, passed] = all_lanes[self._plan[-1, passed]]
            self._key_m[passed] = self.lanes.key_start_m[self._plan[0, passed]]
            passed = passed[self.along_m[passed] >= self._length_m[0, passed]]

    def _choose(self, lane: I32) -> I32:
        draw = self._rng.random(len(lane))
        slot = (draw[:, None] >= self.lanes.choice_cum[lane]).sum(axis=1)
        return np.asarray(self.lanes.choices[lane, slot])

    def _change_modes(self) -> None:
        mode = self.mode
        driving = mode == Mode.DRIVING
        self._trip_left_s[driving] -= 1.0
        self._timer_s[mode >= Mode.IDLING] -= 1.0
        lane = self._plan[0]
        room = self._length_m[0] - self.along_m > self.speed_mps**2 / 2 + 10.0
        ends = driving & (self._trip_left_s <= 0) & self.lanes.may_park[lane] & room & (self.along_m > 5.0)
        done = np.flatnonzero((mode >= Mode.IDLING) & (self._timer_s <= 0))
        stood = np.flatnonzero((mode == Mode.PULLING_OVER) & (self.speed_mps == 0.0))
        mode[ends] = Mode.PULLING_OVER
        mode[stood] = Mode.IDLING
        self._timer_s[stood] = self._rng.uniform(4, 20, len(stood))
        if len(done) == 0:
            return
        draw, length = self._rng.random(len(done)), self._rng.random(len(done))
        was = mode[done].copy()
        # Three of ten stops are short ones with the engine on: a passenger, a delivery.
        parks, goes = (was == Mode.IDLING) & (draw >= 0.3), (was == Mode.IDLING) & (draw < 0.3)
        wakes, leaves = was == Mode.PARKED, was == Mode.STARTING
        mode[done[parks]], self._timer_s[done[parks]] = Mode.PARKED, 60 + 540 * length[parks]
        mode[done[goes]], self._timer_s[done[goes]] = Mode.STARTING, 20 + 100 * length[goes]
        mode[done[wakes]], self._timer_s[done[wakes]] = Mode.STARTING, 3 + 9 * length[wakes]
        mode[done[leaves]] = Mode.DRIVING
        self._trip_left_s[done[leaves]] = self._trip_lengths(int(leaves.sum()))

    def _trip_lengths(self, count: int) -> F64:
        return 120.0 + self._rng.exponential(900.0, count)


def _spread(lanes: Lanes, size: int, rng: np.random.Generator) -> I32:
    """Starting lanes, drawn by length, so that vehicles are even over the roads."""
    weight = np.maximum(lanes.length_m[: lanes.edges], 0.0)
    return rng.choice(lanes.edges, size=size, p=weight / weight.sum()).astype(np.int32)


def _entry_speeds(lanes: Lanes) -> F64:
    """Speed at which each lane may be entered whatever comes after it; the look-ahead ends with this."""
    own = np.minimum(lanes.limit_mps * 0.85, lanes.cap_mps)
    entry = own
    for _ in range(60):
        after = entry[lanes.choices]
        valid = np.concatenate((np.ones((len(own), 1), bool), lanes.choice_cum[:, :-1] < 1.0), axis=1)
        worst = np.where(valid, after, np.inf).min(axis=1)
        settled = np.minimum(own, np.sqrt(worst**2 + 2 * BRAKE_MPS2 * lanes.length_m))
        if np.array_equal(settled, entry):
            break
        entry = settled
    return entry
