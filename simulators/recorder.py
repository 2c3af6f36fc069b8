"""The motion part of a telematics unit: a value a second for telemetry, and a burst around whatever shook it.

A burst begins a second before the trigger and lasts until the vehicle is quiet again. The trigger is low, as units in
the field have it: kerbs, slammed doors and falls cause bursts too; telling them from crashes is not the unit's task.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from simulators.manoeuvres import FINE_A_STEP, STEP_S, STEPS_A_SECOND, Motion
from simulators.pulses import FINE_HZ, GRAVITY_MPS2
from simulators.sensor import FILTER_SHARE, SATURATED, Sensor, low_pass, sampled

F64 = NDArray[np.float64]
I64 = NDArray[np.int64]

MOTION_COLUMNS: Final = (
    "accel_x_mps2", "accel_y_mps2", "accel_z_mps2", "gyro_x_dps", "gyro_y_dps", "gyro_z_dps",
)  # fmt: skip

# The part watches itself at 100 Hz, whatever the rate of the bursts. Thresholds are deviations from rest on all axes.
WATCH_HZ: Final = 100
DRIVING_TRIGGER_G: Final = 0.9
PARKED_TRIGGER_G: Final = 0.3
QUIET_SHARE: Final = 0.35
BEFORE_S: Final = 1.0
AFTER_S: Final = 2.0
LONGEST_S: Final = 9.0
_SLACK_S: Final = 0.3  # filters smear a blow
# Some firmware calls anything above this for 10 ms a crash.
CRASH_FLAG_G: Final = 2.5
CRASH_FLAG_S: Final = 0.010

# Shaking by road and engine, m/s2 rms below 60 Hz, greatest upward. Judgement after recordings of ordinary cars.
ROAD_MPS2: Final = 0.45  # at 50 km/h
IDLE_MPS2: Final = 0.08
STILL_MPS2: Final = 0.004
SHAKING_HZ: Final = 60.0
ROAD_AXES: Final = np.array([0.7, 0.7, 1.5, 1.5, 1.5, 0.7])  # deg/s for m/s2 in the last three
# Means over a second: what is left of the shaking, as in simulators/traffic.py.
SECOND_MOVING: Final = np.array([0.12, 0.12, 0.12, 0.5, 0.5, 0.24])
SECOND_STILL: Final = np.array([0.02, 0.02, 0.02, 0.05, 0.05, 0.05])


class Burst(NamedTuple):
    """A recording: when it was triggered and closed, when its first sample was taken, and what it holds."""

    trigger_s: float
    first_s: float
    closed_s: float
    flagged_s: float | None
    saturated: bool
    body: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Recorder:
    """What a unit does with its sensor.

    bursts        it records impacts
    flags_crash   it raises an alarm `crash` by CRASH_FLAG_G
    lost_share    samples of a burst that never made it: null
    """

    sensor: Sensor
    bursts: bool = True
    flags_crash: bool = False
    lost_share: float = 0.0

    def seconds(self, motion: Motion, at_s: F64, rng: np.random.Generator) -> dict[str, F64]:
        """Motion columns of telemetry: means over the second before each time of `at_s` (n,)."""
        device = self._in_device_axes(motion)
        total = np.concatenate((np.zeros((1, 6)), np.cumsum(device, axis=0)))
        end = np.clip(np.round(at_s / STEP_S).astype(np.int64), 1, len(motion))
        begin = np.maximum(end - STEPS_A_SECOND, 0)
        means = (total[end] - total[begin]) / (end - begin)[:, None]
        moving = motion.speed_mps[end - 1] > 0.3
        means += rng.normal(0.0, 1.0, means.shape) * np.where(moving[:, None], SECOND_MOVING, SECOND_STILL)
        read = self.sensor.read(means, rng)
        return {name: read[:, axis] for axis, name in enumerate(MOTION_COLUMNS)}

    def recorded(self, motion: Motion, rng: np.random.Generator) -> Iterator[Burst]:
        """Bursts in order of time."""
        if not self.bursts:
            return
        device = self._in_device_axes(motion)
        quiet_s = 0.0
        for begin_s, length_s in self._candidates(motion):
            # A recording in progress holds what happens during it; what goes on after it makes another one.
            looks_s = max(begin_s, quiet_s)
            if looks_s > begin_s + length_s:
                continue
            before = round(begin_s / STEP_S)
            rest = device[max(0, before - STEPS_A_SECOND) : max(1, before)].mean(axis=0)[:3]
            burst = self._watch(motion, (looks_s, length_s + begin_s - looks_s), rest, rng)
            if burst is not None:
                quiet_s = burst.closed_s
                yield burst

    # -- true motion as the device sees it -----------------------------------------------------------------------------

    def _rotations(self, motion: Motion) -> list[tuple[float, F64]]:
        """From when on the device sits how: (seconds, rotation), the first from the start."""
        turned = [(0.0, self.sensor.rotation)]
        for drop in motion.drops:
            turned.append((drop.at_s, drop.rotation @ turned[-1][1]))
        return turned

    def _in_device_axes(self, motion: Motion) -> F64:
        device = np.empty_like(motion.felt)
        for from_s, rotation in self._rotations(motion):
            step = round(from_s / STEP_S)
            device[step:] = self.sensor.mounted(motion.felt[step:], rotation)
        for drop in motion.drops:
            step = round(drop.at_s / STEP_S)
            fall = np.column_stack((drop.fall.force_mps2, drop.fall.rates_dps))
            count = min(len(fall) // FINE_A_STEP, len(device) - step)
            device[step : step + count] = fall[: count * FINE_A_STEP].reshape(count, FINE_A_STEP, 6).mean(axis=1)
        return device

    def _fine(self, motion: Motion, first_step: int, last_step: int, rng: np.random.Generator) -> F64:
        """True values at FINE_HZ in device axes, road and engine included, of steps first to last."""
        steps = np.clip(np.arange(first_step, last_step), 0, len(motion) - 1)
        values = np.repeat(motion.felt[steps], FINE_A_STEP, axis=0)
        for overlay in motion.overlays:
            _laid_over(values, overlay.values, (overlay.step - first_step) * FINE_A_STEP)
        rms = np.where(motion.running[steps], IDLE_MPS2, STILL_MPS2)
        rms = rms + ROAD_MPS2 * np.minimum(motion.speed_mps[steps] / (50 / 3.6), 1.5)
        white = rng.normal(0.0, 1.0, values.shape) * math.sqrt(FINE_HZ / 2 / SHAKING_HZ)
        values += white * np.repeat(rms, FINE_A_STEP)[:, None] * ROAD_AXES
        device = np.empty_like(values)
        for from_s, rotation in self._rotations(motion):
            at = max(0, round(from_s * FINE_HZ) - first_step * FINE_A_STEP)
            device[at:] = self.sensor.mounted(values[at:], rotation)
        for drop in motion.drops:
            at = round(drop.at_s * FINE_HZ) - first_step * FINE_A_STEP
            fall = np.column_stack((drop.fall.force_mps2, drop.fall.rates_dps))
            begin, end = max(0, at), min(len(device), at + len(fall))
            if begin < end:
                device[begin:end] = fall[begin - at : end - at]
        return device

    # -- triggers ------------------------------------------------------------------------------------------------------

    def _candidates(self, motion: Motion) -> list[tuple[float, float]]:
        """Spans in which a trigger is possible, (begin, length) in seconds: blows, falls, and what steps show."""
        found = [(overlay.step * STEP_S, len(overlay.values) / FINE_HZ) for overlay in motion.overlays]
        found += [(drop.at_s, len(drop.fall.force_mps2) / FINE_HZ) for drop in motion.drops]
        strong = np.hypot(motion.felt[:, 0], motion.felt[:, 1]) > 0.7 * DRIVING_TRIGGER_G * GRAVITY_MPS2
        edges = np.flatnonzero(np.diff(np.concatenate(([False], strong, [False])).astype(np.int8)))
        found += [(begin * STEP_S, (end - begin) * STEP_S) for begin, end in edges.reshape(-1, 2).tolist()]
        return sorted(found)

    def _watch(self, motion: Motion, span: tuple[float, float], rest: F64, rng: np.random.Generator) -> Burst | None:
        """The burst that a span (begin and length, seconds) triggers; `rest` is what was felt before it."""
        from_s, length_s = span
        first = round(from_s / STEP_S) - round((BEFORE_S + 1.5) / STEP_S)
        last = round((from_s + min(length_s, LONGEST_S) + AFTER_S + 1.5) / STEP_S)
        fine = self._fine(motion, first, last, rng)
        begin_s = first * STEP_S
        limit = self.sensor.range_mps2
        watched = np.clip(low_pass(fine[:, :3], FILTER_SHARE * WATCH_HZ), -limit, limit)
        strength_g = np.linalg.norm(watched - rest, axis=1) / GRAVITY_MPS2
        step = min(max(round(from_s / STEP_S), 0), len(motion) - 1)
        threshold_g = DRIVING_TRIGGER_G if motion.ignition[step] else PARKED_TRIGGER_G
        # What was over before it looks belongs to the burst before, what begins after the span to the next.
        looks = round((from_s - begin_s) * FINE_HZ)
        until = looks + round((length_s + _SLACK_S) * FINE_HZ)
        over = np.flatnonzero(strength_g[looks:until] >= threshold_g)
        if not len(over):
            return None
        trigger_s = begin_s + (looks + int(over[0])) / FINE_HZ
        active = np.flatnonzero(strength_g >= QUIET_SHARE * threshold_g)
        busy_s = begin_s + int(active[-1]) / FINE_HZ
        end_s = min(max(trigger_s + AFTER_S, busy_s + 1.0), trigger_s + LONGEST_S, last * STEP_S - 0.1)
        spacing_ms = 1000.0 / self.sensor.rate_hz
        first_ms = round(trigger_s * 1000) - round(BEFORE_S * 1000) - int(rng.uniform(0.0, spacing_ms))
        count = math.floor((end_s * 1000 - first_ms) / spacing_ms) + 1
        smooth = low_pass(fine, FILTER_SHARE * self.sensor.rate_hz)
        read = self.sensor.read(sampled(smooth, first_ms / 1000 - begin_s, count, self.sensor.rate_hz), rng)
        saturated = bool(np.abs(read[:, :3]).max() >= SATURATED * limit)
        flagged_s = self._flagged(strength_g, begin_s)
        return Burst(trigger_s, first_ms / 1000, end_s, flagged_s, saturated, self._body(read, rng))

    def _flagged(self, strength_g: F64, begin_s: float) -> float | None:
        """When the firmware calls it a crash."""
        if not self.flags_crash:
            return None
        needed = round(CRASH_FLAG_S * FINE_HZ)
        over = np.convolve(strength_g >= min(CRASH_FLAG_G, 0.8 * self.sensor.range_g), np.ones(needed), "valid")
        at = np.flatnonzero(over >= needed - 0.5)
        return begin_s + (int(at[0]) + needed) / FINE_HZ if len(at) else None

    def _body(self, read: F64, rng: np.random.Generator) -> dict[str, Any]:
        body: dict[str, Any] = {
            "rate_hz": self.sensor.rate_hz,
            "range_mps2": round(self.sensor.range_mps2, 3),
        }
        if self.sensor.keeps_gravity:
            body["accel_gravity"] = True
        lost = np.flatnonzero(rng.random(len(read)) < self.lost_share).tolist()
        for axis, name in enumerate(MOTION_COLUMNS):
            values: list[float | None] = np.round(read[:, axis], 3).tolist()
            for row in lost:
                values[row] = None
            body[name] = values
        return body


def _laid_over(values: F64, overlay: F64, at: int) -> None:
    """Add `overlay` to `values` where it begins at row `at`, as far as the two meet."""
    begin, end = max(0, at), min(len(values), at + len(overlay))
    if begin < end:
        values[begin:end] += overlay[begin - at : end - at]
