"""Harsh manoeuvres in fast readings and in bursts: 0.3 s in a row beyond the limit, unless the speed says that the
vehicle did nothing of the kind.
"""

from typing import Final

import numpy as np

from incidents.detectors._around import believed_speed_kmh, without_hole
from incidents.detectors._burst import G_MPS2, Burst
from incidents.detectors._manoeuvre import KMH_S_PER_G, MOVING_KMH, Manoeuvre, Run, in_vehicle, mean_of_last
from incidents.detectors._mounting import KNOWN_QUALITY
from incidents.window import Floats, Ints, S, Window

# A change of speed shows in the readings around it, the receiver's lag included, by this share at least. Judgement.
_BESIDE_S: Final = 2.5
_SHOWS: Final = 0.3


def fast_runs(window: Window, manoeuvre: Manoeuvre) -> list[Run]:
    """Runs in readings that come at 4 Hz or faster. `manoeuvre` has the limits of the vehicle's class."""
    felt_g = manoeuvre.directed(in_vehicle(window, "accel", "mps2")[:, manoeuvre.axis]) / G_MPS2
    known = np.flatnonzero(np.isfinite(felt_g))
    found = _runs(window.device_time_us[known], felt_g[known], manoeuvre.limits_g[0])
    runs = [Run("accel", at_us, from_us, until_us, peak_g, True) for at_us, from_us, until_us, peak_g in found]
    return [run for run in runs if not _denied(window, run, manoeuvre)]


def burst_runs(window: Window, burst: Burst, manoeuvre: Manoeuvre) -> list[Run]:
    """Runs in a burst whose axes are known: as the device states them, or by the mounting kept with the vehicle."""
    work, mounting = burst.thinned(), window.vehicle.mounting
    felt = work.accel_mps2 - burst.rest_mps2()
    if mounting is not None and mounting.quality >= KNOWN_QUALITY:
        felt = felt @ mounting.rotation.T
    elif burst.gravity:
        return []
    felt_g = manoeuvre.directed(felt[:, manoeuvre.axis]) / G_MPS2
    times = work.t0_us + np.round(np.arange(len(work)) * work.step_s * S).astype(np.int64)
    runs = [
        Run("burst", at_us, from_us, until_us, peak_g, True, round(burst.rate_hz, 1))
        for at_us, from_us, until_us, peak_g in _runs(times, felt_g, manoeuvre.limits_g[0])
    ]
    return [run for run in runs if not _denied(window, run, manoeuvre)]


def _runs(times: Ints, felt_g: Floats, limit_g: float) -> list[tuple[int, int, int, float]]:
    """Time of the peak, begin, end and peak of each run in which the mean of the last 0.3 s is beyond the limit."""
    if len(times) < 3:
        return []
    mean_g, begin = mean_of_last(times, felt_g)
    beyond = np.flatnonzero(mean_g >= limit_g)
    runs = []
    for rows in np.split(beyond, np.flatnonzero(np.diff(beyond) > 1) + 1) if len(beyond) else []:
        peak = int(rows[int(np.argmax(mean_g[rows]))])
        start_us, until_us = int(times[begin[rows[0]]]), int(times[rows[-1]])
        runs.append((int(times[peak]), start_us, until_us, float(mean_g[peak])))
    return runs


def _denied(window: Window, run: Run, manoeuvre: Manoeuvre) -> bool:
    """Whether readings around it, before and after, say that the speed did not change so, or that it stood."""
    low, high = run.from_us - round(_BESIDE_S * S), run.until_us + round(_BESIDE_S * S)
    near = window.between(low, high)
    speed = believed_speed_kmh(near)
    known = np.isfinite(speed)
    before = known & (near.device_time_us <= run.from_us)
    after = known & (near.device_time_us >= run.until_us + round(_BESIDE_S / 2 * S))
    at_s = (near.device_time_us[known] - run.from_us) / S
    lasts_s = (run.until_us - run.from_us) / S
    if not before.any() or not after.any() or not without_hole(at_s, -_BESIDE_S / 2, lasts_s + _BESIDE_S / 2):
        return False
    if speed[known].max() < MOVING_KMH:
        return True
    if manoeuvre.by_course:
        return False
    expected_kmh = run.peak_g * KMH_S_PER_G * (run.until_us - run.from_us) / S
    seen = manoeuvre.sign * (speed[known][:, None] - speed[known][None, :])
    # Greatest change in the manoeuvre's direction from an earlier to a later reading.
    return bool(np.tril(seen).max(initial=0.0) < _SHOWS * expected_kmh)
