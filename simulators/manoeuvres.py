"""A scripted vehicle: manoeuvre after manoeuvre becomes true motion, exact in its parts.

Motion is held in steps of STEP_S: what is felt and how fast it turns as means over the step, place and speed at its
end. Where something is over in less than a step (an impact, a knock), its course at FINE_HZ is kept beside the steps.
Angles are mathematical here: radians, counter-clockwise from east.
"""

import math
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from simulators.pulses import FINE_HZ, GRAVITY_MPS2, Fall, Knock

F64 = NDArray[np.float64]
Bools = NDArray[np.bool_]

STEP_S: Final = 0.02
STEPS_A_SECOND: Final = round(1 / STEP_S)
FINE_A_STEP: Final = round(STEP_S * FINE_HZ)
# How long drivers take to reach a braking or a turn: shorter would be felt as a blow.
RAMP_S: Final = 0.4
# Gentle driving, below every product's harsh threshold for any class (lowest seen: 0.20 g, Positrace).
GENTLE_ACCEL_MPS2: Final = 1.1
GENTLE_BRAKE_MPS2: Final = 1.5
GENTLE_LATERAL_MPS2: Final = 1.3


@dataclass(frozen=True, slots=True)
class Overlay:
    """What steps leave out: added to the steps' means it gives the true course, (n, 6) at FINE_HZ from `step` on."""

    step: int
    values: F64


@dataclass(frozen=True, slots=True)
class Drop:
    """The device falls at `at_s` and lies turned by `rotation` (device axes after = rotation @ device axes before)."""

    at_s: float
    fall: Fall
    rotation: F64


@dataclass(frozen=True, slots=True)
class Motion:
    """True motion, one row a step, all (n,) but `felt` (n, 6): m/s2 with gravity, then deg/s, in vehicle axes.

    course_rad   direction of travel; kept while standing
    forward_mps  what the wheels say
    """

    east_m: F64
    north_m: F64
    speed_mps: F64
    course_rad: F64
    forward_mps: F64
    felt: F64
    ignition: Bools
    running: Bools
    brake: Bools
    throttle_pct: F64
    overlays: tuple[Overlay, ...]
    drops: tuple[Drop, ...]
    alarms: tuple[tuple[float, str], ...]

    def __len__(self) -> int:
        return len(self.east_m)


class Script:
    """Writes a vehicle's motion. Speeds in km/h where drivers speak of them, accelerations in m/s2, times in seconds.

    `east_m`, `north_m`, `yaw_rad` begin where it stands; each call goes on from where the last one ended.
    """

    def __init__(self, east_m: float, north_m: float, yaw_rad: float) -> None:
        self.east_m, self.north_m, self.yaw_rad = east_m, north_m, yaw_rad
        self.speed_mps = 0.0
        self.ignition = self.running = False
        # How the vehicle has come to lie: the direction of gravity in its axes after a rollover.
        self.upright = np.array([0.0, 0.0, GRAVITY_MPS2])
        self._steps = 0
        self._rows: list[F64] = []
        self._overlays: list[Overlay] = []
        self._knocks: list[tuple[float, Knock]] = []
        self._drops: list[Drop] = []
        self._alarms: list[tuple[float, str]] = []

    @property
    def time_s(self) -> float:
        """Where the script has got to."""
        return self._steps * STEP_S

    @property
    def speed_kmh(self) -> float:
        """Speed at the end of what is written."""
        return self.speed_mps * 3.6

    # -- manoeuvres ----------------------------------------------------------------------------------------------------

    def stand(self, seconds: float) -> None:
        """Nothing moves."""
        assert self.speed_mps < 0.01, "a vehicle that drives cannot stand"
        self.speed_mps = 0.0
        count = _steps(seconds)
        self._drive(np.zeros(count), np.zeros(count), braking=self.running)

    def park(self, seconds: float) -> None:
        """Engine and ignition off."""
        self.ignition = self.running = False
        self.stand(seconds)

    def start_engine(self, seconds: float = 4.0) -> None:
        """Engine on, still standing."""
        self.ignition = self.running = True
        self.stand(seconds)

    def accelerate(self, to_kmh: float, mps2: float = GENTLE_ACCEL_MPS2) -> None:
        """Gain speed with a peak of `mps2`."""
        self._change(to_kmh / 3.6 - self.speed_mps, mps2)

    def brake(self, to_kmh: float, mps2: float = GENTLE_BRAKE_MPS2) -> None:
        """Lose speed with a peak of `mps2`."""
        self._change(to_kmh / 3.6 - self.speed_mps, -mps2)

    def cruise(self, seconds: float) -> None:
        """Keep the speed as people do: it swings a little and comes back."""
        count = _steps(seconds)
        swings = max(1, round(seconds / 9.0))
        wave = np.sin(2 * np.pi * swings * (np.arange(count) + 0.5) / count)
        self._drive(0.25 * wave * min(1.0, self.speed_mps / 5.0), np.zeros(count), throttle_pct=18.0)

    def turn(self, lateral_mps2: float, seconds: float) -> None:
        """Turn at even speed with a peak of `lateral_mps2`, positive to the left, ramps included in `seconds`."""
        count = _steps(seconds)
        yaw_rate = _trapezium(count) * (lateral_mps2 / self.speed_mps)
        self._drive(np.zeros(count), yaw_rate, throttle_pct=20.0)

    # -- what happens to it --------------------------------------------------------------------------------------------

    def knock(self, knock: Knock, at_s: float | None = None) -> None:
        """The vehicle is shaken, now or at a time of the script."""
        self._knocks.append((self.time_s if at_s is None else at_s, knock))

    def drop_device(self, fall: Fall, rotation: F64, at_s: float | None = None) -> None:
        """The device comes off its mount."""
        self._drops.append(Drop(self.time_s if at_s is None else at_s, fall, rotation))

    def alarm(self, kind: str, at_s: float) -> None:
        """The vehicle's own electronics raise an alarm."""
        self._alarms.append((at_s, kind))

    def thrown(self, velocity_mps: F64, yaw_rad: F64, felt: F64, *, drives_on: bool) -> None:
        """Motion that no driver commands, at FINE_HZ: world velocity (n, 2), yaw (n,), what is felt (n, 6).

        A vehicle that does not drive on has come to rest at its end.
        """
        count = len(yaw_rad) // FINE_A_STEP
        whole = count * FINE_A_STEP
        east = self.east_m + np.cumsum(velocity_mps[:, 0]) / FINE_HZ
        north = self.north_m + np.cumsum(velocity_mps[:, 1]) / FINE_HZ
        means = felt[:whole].reshape(count, FINE_A_STEP, 6).mean(axis=1)
        self._overlays.append(Overlay(self._steps, felt[:whole] - np.repeat(means, FINE_A_STEP, axis=0)))
        end = slice(FINE_A_STEP - 1, whole, FINE_A_STEP)
        speed = np.hypot(velocity_mps[end, 0], velocity_mps[end, 1])
        course = np.where(speed > 0.1, np.arctan2(velocity_mps[end, 1], velocity_mps[end, 0]), yaw_rad[end])
        forward = np.abs(velocity_mps[end, 0] * np.cos(yaw_rad[end]) + velocity_mps[end, 1] * np.sin(yaw_rad[end]))
        path = np.column_stack((east[end], north[end], speed, course, forward))
        self._append(path, means, braking=not drives_on, throttle_pct=0.0)
        self.east_m, self.north_m, self.yaw_rad = float(east[end][-1]), float(north[end][-1]), float(yaw_rad[end][-1])
        self.speed_mps = float(speed[-1]) if drives_on else 0.0

    def motion(self) -> Motion:
        """All that was written."""
        rows = np.concatenate(self._rows)
        felt = rows[:, 5:11]
        for at_s, knock in self._knocks:
            self._overlays.append(_shaken(felt, at_s, knock))
        return Motion(
            east_m=rows[:, 0],
            north_m=rows[:, 1],
            speed_mps=rows[:, 2],
            course_rad=rows[:, 3],
            forward_mps=rows[:, 4],
            felt=felt,
            ignition=rows[:, 11] > 0,
            running=rows[:, 12] > 0,
            brake=rows[:, 13] > 0,
            throttle_pct=rows[:, 14],
            overlays=tuple(self._overlays),
            drops=tuple(self._drops),
            alarms=tuple(self._alarms),
        )

    # -- steps ---------------------------------------------------------------------------------------------------------

    def _change(self, by_mps: float, peak_mps2: float) -> None:
        if by_mps * peak_mps2 <= 0:
            return
        # A trapezium with ramps on both sides covers its plateau and one ramp.
        seconds = by_mps / peak_mps2 + RAMP_S
        shape = _trapezium(_steps(max(seconds, 2 * RAMP_S)))
        accel = shape * (by_mps / (shape.sum() * STEP_S))
        braking = peak_mps2 < 0
        self._drive(accel, np.zeros(len(accel)), braking=braking, throttle_pct=0.0 if braking else 20 + 9 * peak_mps2)

    def _drive(self, accel: F64, yaw_rate: F64, *, braking: bool = False, throttle_pct: float = 0.0) -> None:
        speed = np.maximum(self.speed_mps + np.cumsum(accel) * STEP_S, 0.0)
        before = np.concatenate(([self.speed_mps], speed[:-1]))
        middle = (before + speed) / 2
        yaw = self.yaw_rad + np.cumsum(yaw_rate) * STEP_S
        yaw_middle = yaw - yaw_rate * STEP_S / 2
        east = self.east_m + np.cumsum(middle * np.cos(yaw_middle)) * STEP_S
        north = self.north_m + np.cumsum(middle * np.sin(yaw_middle)) * STEP_S
        felt = np.zeros((len(accel), 6))
        felt[:, :3] = self.upright
        felt[:, 0] += (speed - before) / STEP_S
        felt[:, 1] += middle * yaw_rate
        felt[:, 5] = np.degrees(yaw_rate)
        path = np.column_stack((east, north, speed, yaw, speed))
        self._append(path, felt, braking=braking, throttle_pct=throttle_pct)
        self.east_m, self.north_m, self.yaw_rad = float(east[-1]), float(north[-1]), float(yaw[-1])
        self.speed_mps = float(speed[-1])

    def _append(self, path: F64, felt: F64, *, braking: bool, throttle_pct: float) -> None:
        """`path` (n, 5): east, north, speed, course and what the wheels say, at the end of each step."""
        state = (self.ignition, self.running, braking and self.ignition, throttle_pct)
        self._rows.append(np.column_stack((path, felt, np.broadcast_to(state, (len(path), len(state))))))
        self._steps += len(path)


def _steps(seconds: float) -> int:
    return max(1, round(seconds / STEP_S))


def _trapezium(count: int) -> F64:
    """A plateau of 1 with ramps of RAMP_S at both ends, (count,)."""
    ramp = max(1.0, min(RAMP_S / STEP_S, count / 2))
    at = np.arange(count) + 0.5
    return np.asarray(np.minimum(np.minimum(at, count - at) / ramp, 1.0))


def _shaken(felt: F64, at_s: float, knock: Knock) -> Overlay:
    """Add a knock to the steps' means; returns what the steps leave out of it."""
    fine = math.floor(at_s * FINE_HZ)
    step, lead = divmod(fine, FINE_A_STEP)
    length = lead + len(knock.accel_mps2)
    count = min(-(-length // FINE_A_STEP), len(felt) - step)
    values = np.zeros((count * FINE_A_STEP, 6))
    room = len(values) - lead
    values[lead : lead + len(knock.accel_mps2), :3] = knock.accel_mps2[:room]
    values[lead : lead + len(knock.rates_dps), 3:] = knock.rates_dps[:room]
    means = values.reshape(count, FINE_A_STEP, 6).mean(axis=1)
    felt[step : step + count] += means
    return Overlay(step, values - np.repeat(means, FINE_A_STEP, axis=0))
