"""Harsh manoeuvres in readings about once a second: speed and course in whatever way the device sits, accelerations
where their axes are the vehicle's, and each asked for the other's consent where both are there.

A witness that is missing never suppresses; one that spoke all the time and saw nothing does.
"""

from typing import Final

import numpy as np

from incidents.detectors._around import believed_speed_kmh
from incidents.detectors._burst import G_MPS2
from incidents.detectors._manoeuvre import (
    BEYOND_G,
    CONSENTS,
    FAST_STEP_S,
    KMH_S_PER_G,
    MOVING_KMH,
    OVER_S,
    Manoeuvre,
    Rows,
    Run,
    in_vehicle,
    mean_of_last,
    shaken_g,
)
from incidents.window import Floats, Ints, S, Window

# Speeds lag accelerations by up to 2 s: what did not show in any reading of this span was not felt. A course scatters
# more than a speed does, so it needs more of a witness. Judgement.
_LAG_S: Final = 3.5
_FELT_SHARE: Final = {"speed": 0.5, "course": 0.75}
_MEASURED: Final = 1.3  # no more of a witness is asked than this multiple of the limit would
_GRAVITY_S: Final = 8.0
# An episode lasts while it is above this share of the limit (15 to 20 % hysteresis).
_HOLDS: Final = 0.83
# Courses are noise at town speeds and below.
_COURSE_FROM_KMH: Final = 20.0
# A change that is taken back at once, or a turn that has no beginning and no end, was a fault of the receiver.
_TAKEN_BACK: Final = 0.6
_ALONE: Final = 0.25
# So near a change that no vehicle makes, nothing is believed: it was a fault, or an impact.
_NEAR_FAULT_S: Final = 3.0


def slow_runs(window: Window, manoeuvre: Manoeuvre) -> list[Run]:
    """Every run of readings beyond the lowest limit. `manoeuvre` has the limits of the vehicle's class."""
    limit, times = manoeuvre.limits_g[0], window.device_time_us
    changed = _by_course(window) if manoeuvre.by_course else _by_speed(window, manoeuvre)
    felt_g = manoeuvre.directed(in_vehicle(window, "accel", "mps2")[:, manoeuvre.axis]) / G_MPS2
    shaken = shaken_g(window, _GRAVITY_S)
    step_s = np.append(np.inf, np.diff(times) / S)[: len(window)]
    with np.errstate(invalid="ignore"):
        before_g = np.append(np.nan, felt_g[:-1])[: len(window)]
        felt_then = np.fmax(felt_g, np.where(step_s <= OVER_S[1], before_g, np.nan))
        # Where both witnesses speak of the same axis, the middle of them counts and each must show half of it.
        heard = np.isfinite(felt_then) & (step_s > FAST_STEP_S)
        strength = np.where(heard, (changed + np.minimum(felt_then, BEYOND_G)) / 2, changed)
        beyond = (strength >= limit) & (changed >= CONSENTS * limit) & ~(heard & (felt_then < CONSENTS * limit))
    share = _FELT_SHARE["course" if manoeuvre.by_course else "speed"]
    runs = []
    for rows in _groups(np.flatnonzero(beyond), times):
        peak = int(rows[int(np.argmax(strength[rows]))])
        felt = _was_felt(times, shaken, int(times[peak]), share * min(float(strength[peak]), _MEASURED * limit))
        if felt is False or (felt is None and _is_fault(changed, peak, manoeuvre)):
            continue
        first, last = _extended(changed, rows, times, _HOLDS * limit)
        near = slice(*np.searchsorted(times, [times[first] - _NEAR_FAULT_S * S, times[last] + _NEAR_FAULT_S * S + 1]))
        if float(np.nanmax(np.abs(changed[near]), initial=0.0)) > BEYOND_G:
            continue
        starts = first - 1 if first and times[first] - times[first - 1] <= OVER_S[1] * S else first
        source = "speed" if changed[peak] >= limit else "accel"
        runs.append(Run(source, int(times[peak]), int(times[starts]), int(times[last]), float(strength[peak]), felt))
    return runs


def _by_speed(window: Window, manoeuvre: Manoeuvre) -> Floats:
    """(n,) acceleration over the last second by speed, in g, the manoeuvre's direction positive; NaN where unknown."""
    ground, own = believed_speed_kmh(window), window.number("obd_speed_kmh")
    by_ground, by_own = (manoeuvre.directed(_over_a_second(window, speed)) for speed in (ground, own))
    with np.errstate(invalid="ignore"):
        # Where the vehicle's own speed hardly changed, that over ground did not either.
        denied = by_own < CONSENTS * CONSENTS * manoeuvre.limits_g[0]
        moving = np.fmax(ground, _second_before(window, ground)) >= MOVING_KMH
    return np.where(moving, np.where(denied, 0.0, by_ground), np.nan)


def _by_course(window: Window) -> Floats:
    """(n,) acceleration across the vehicle over the last second by course or turning rate, in g; NaN where unknown."""
    speed, heading = believed_speed_kmh(window), window.number("heading_deg")
    mean_kmh = (speed + _second_before(window, speed)) / 2
    with np.errstate(invalid="ignore", divide="ignore"):
        turned = np.abs((heading - _second_before(window, heading) + 180.0) % 360.0 - 180.0)
        course = np.radians(turned) / _step_s(window, heading) * mean_kmh / 3.6 / G_MPS2
        course = np.where(mean_kmh >= _COURSE_FROM_KMH, course, np.nan)
        rate = np.radians(np.abs(in_vehicle(window, "gyro", "dps")[:, 2]))
        # Speeds may come less often than turning rates do.
        turning = rate * _newest(speed, window.device_time_us) / 3.6 / G_MPS2
        known = np.flatnonzero(np.isfinite(turning))
        mean, _ = mean_of_last(window.device_time_us[known], turning[known])
        turning[known] = np.where(np.isnan(mean), turning[known], mean)
    # A gyroscope knows better than a course, which scatters.
    return np.where(np.isnan(turning), course, turning)


def _newest(speed: Floats, times: Ints) -> Floats:
    """Each reading's newest known speed, of vehicles that move; NaN where it is too old."""
    known = np.isfinite(speed)
    at = np.maximum.accumulate(np.where(known, np.arange(len(speed)), -1))
    fresh = (at >= 0) & (times - times[np.maximum(at, 0)] <= OVER_S[1] * S)
    newest = np.where(fresh, speed[np.maximum(at, 0)], np.nan)
    return np.where(newest >= MOVING_KMH, newest, np.nan)


def _over_a_second(window: Window, speed: Floats) -> Floats:
    with np.errstate(invalid="ignore", divide="ignore"):
        change: Floats = (speed - _second_before(window, speed)) / _step_s(window, speed) / KMH_S_PER_G
    return change


def _earlier(window: Window, values: Floats) -> Rows:
    """For each reading with a value the newest one that is a second older and has one; -1 where there is none."""
    known = np.flatnonzero(np.isfinite(values))
    found = np.full(len(values), -1, dtype=np.intp)
    if len(known):
        times = window.device_time_us[known]
        at = np.searchsorted(times, times - round(OVER_S[0] * S), side="right") - 1
        near = (at >= 0) & (times - times[np.maximum(at, 0)] <= OVER_S[1] * S)
        found[known[near]] = known[at[near]]
    return found


def _second_before(window: Window, values: Floats) -> Floats:
    at = _earlier(window, values)
    return np.where(at >= 0, values[at], np.nan)


def _step_s(window: Window, values: Floats) -> Floats:
    at = _earlier(window, values)
    return np.where(at >= 0, (window.device_time_us - window.device_time_us[at]) / S, np.nan)


def _was_felt(times: Ints, shaken: Floats, at_us: int, least_g: float) -> bool | None:
    """Whether an accelerometer felt it; None where there is none, or where it did not speak all the time."""
    near = (times >= at_us - round(_LAG_S * S)) & (times <= at_us) & np.isfinite(shaken)
    if (shaken[near] >= least_g).any():
        return True
    heard_us = np.concatenate(([at_us - round(_LAG_S * S)], times[near], [at_us]))
    return False if np.diff(heard_us).max() <= OVER_S[1] / 2 * S else None


def _is_fault(changed: Floats, peak: int, manoeuvre: Manoeuvre) -> bool:
    """Whether a change that nobody felt looks like a fault of the receiver."""
    beside = [changed[row] for row in (peak - 1, peak + 1) if 0 <= row < len(changed) and np.isfinite(changed[row])]
    if manoeuvre.by_course:
        return len(beside) == 2 and max(beside) < _ALONE * changed[peak]
    return any(other <= -_TAKEN_BACK * changed[peak] for other in beside)


def _groups(rows: Rows, times: Ints) -> list[Rows]:
    """Rows in runs, each the next reading after the one before."""
    if not len(rows):
        return []
    cuts = np.flatnonzero((np.diff(rows) > 1) | (np.diff(times[rows]) > OVER_S[1] * S)) + 1
    return list(np.split(rows, cuts))


def _extended(values: Floats, rows: Rows, times: Ints, least: float) -> tuple[int, int]:
    """First and last row of a run with what still holds beside it."""
    first, last = int(rows[0]), int(rows[-1])
    while first > 0 and values[first - 1] >= least and times[first] - times[first - 1] <= OVER_S[1] * S:
        first -= 1
    while last + 1 < len(values) and values[last + 1] >= least and times[last + 1] - times[last] <= OVER_S[1] * S:
        last += 1
    return first, last
