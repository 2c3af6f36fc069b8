"""Times in which a receiver had no fix although the device went on telling, and how they began. Pure maths.

A tunnel takes the sky away at once; a jammer drowns it within seconds to half a minute, while the satellites become
fewer and their geometry worse (docs/detection-science.md, A4).
"""

from dataclasses import dataclass
from typing import Final

import numpy as np

from incidents.detectors import _powered, _track
from incidents.window import Bools, Floats, Ints, S, Window

# Shorter ones are bridges and trees.
LEAST_US: Final = 10 * S
# What no car park lets a vehicle do: speed for a while, or the way it goes inside. Judgement; they are signed at 5 to
# 20 km/h, and the way from the ramp to a place is some hundred metres.
_ROAD_KMH: Final = 30.0
_FAST_S: Final = 5.0
_ROAD_M: Final = 600.0
# Who drives fast as the sky goes is on no ramp: from so long before the loss on speed counts. A fade down a ramp takes
# longer than this, and so does slowing down in front of it. Judgement.
_ENTRY_US: Final = 5 * S
# Where the sky is looked at: half a minute before any fade, for what it is compared with, and the fade.
SKY_US: Final = 65 * S
_FADE_US: Final = 32 * S
# From its first quarter on, a fade takes this long; the mouth of a tunnel takes a second or two. Judgement.
_BEGUN_SHARE: Final = 0.25
_SHORTEST_FADE_US: Final = 3 * S
_LEAST_SAMPLES: Final = 3
# A sky may get worse of itself before a tunnel takes the rest. The mouth is driven through within two seconds (some
# 30 m at 50 km/h); of what fell in the last six, a fade of five seconds or more (section A4) loses two fifths in them
# and a mouth nearly all: the line lies between. In two seconds a sky in streets changes by a tenth; what is four times
# that (natural logarithm of HDOP) is no street. Judgement.
_MOUTH_US: Final = 2 * S
_BEFORE_MOUTH_US: Final = 6 * S
_MOUTH_SHARE: Final = 0.6
_MOUTH_FALL: Final = 0.4
# Columns that these functions look at.
COLUMNS: Final = _track.FIX_COLUMNS | _powered.ENGINE_COLUMNS | _powered.MOTION_COLUMNS | {"speed_kmh", "odometer_km"}


@dataclass(frozen=True, slots=True)
class Loss:
    """Readings without a fix.

    last_fix  row of the fix before, None when it is not seen
    rows      rows without a fix
    next_fix  row of the fix after, None while there is none
    """

    last_fix: int | None
    rows: Ints
    next_fix: int | None


@dataclass(frozen=True, slots=True)
class Fade:
    """How the sky went away before a loss: from `from_us` on, satellites and HDOP then and at the end.

    mouth  however it had been before, most of it went in the last two seconds: something was driven into
    """

    from_us: int
    satellites: tuple[float, float] | None
    hdop: tuple[float, float] | None
    mouth: bool


def losses(window: Window) -> list[Loss]:
    """Losses of at least LEAST_US in the window, in order of time."""
    fix = window.fix_mask()
    with np.errstate(invalid="ignore"):
        fix &= ~(window.number("satellites") < _track.LEAST_SATELLITES)
    without = np.flatnonzero(~fix)
    found = []
    for rows in np.split(without, np.flatnonzero(np.diff(without) > 1) + 1):
        if len(rows) < _LEAST_SAMPLES:
            continue
        first, last = int(rows[0]), int(rows[-1])
        if window.device_time_us[last] - window.device_time_us[first] < LEAST_US - S:
            continue
        found.append(Loss(first - 1 if first else None, rows, last + 1 if last + 1 < len(window) else None))
    return found


def on_the_road_since(window: Window, loss: Loss) -> int | None:
    """The row of a loss by which the vehicle had driven as only a road lets it, by anything but its fixes.

    None when it did not: who rolls into a car park loses the sky too, slowly and not for long. Who has parked in one
    begins anew: the way in and the way out are two.
    """
    runs = _runs(window, loss)
    return next((at for run in runs if (at := _on_the_road(window, loss, run, run is runs[0])) is not None), None)


def _runs(window: Window, loss: Loss) -> list[Ints]:
    """Rows of a loss in which the engine was not off, cut where it was."""
    on = window.flag("ignition")[loss.rows] != 0
    rows = loss.rows[on]
    cuts = np.flatnonzero(np.diff(np.cumsum(~on)[on]) > 0) + 1
    return [run for run in np.split(rows, cuts) if len(run)]


def _on_the_road(window: Window, loss: Loss, rows: Ints, entering: bool) -> int | None:
    """The row of a run in a loss by which it had been on the road; `entering`: the run that led into the loss."""
    if len(rows) < _LEAST_SAMPLES:
        return None
    times = window.device_time_us[rows]
    ready = times - times[0] >= LEAST_US - S
    if np.isfinite(window.number("obd_speed_kmh")[rows]).any():
        before_s = _fast_before_s(window, "obd_speed_kmh", rows[0]) if entering else 0.0
        wheels = np.nan_to_num(window.number("obd_speed_kmh")[rows])
        step_s = np.minimum(np.append(0.0, np.diff(times) / S), 10.0)
        fast_s = before_s + np.cumsum(step_s * (wheels >= _ROAD_KMH))
        way_m = np.cumsum(step_s * wheels / 3.6)
        return _first(rows, ready & ((fast_s >= _FAST_S) | (way_m >= _ROAD_M)))
    odometer = window.number("odometer_km")[rows]
    if np.isfinite(odometer).any():
        begin = odometer[np.isfinite(odometer)][0]
        with np.errstate(invalid="ignore"):
            return _first(rows, ready & (odometer - begin >= _ROAD_M / 1000.0))
    if not entering or loss.last_fix is None or not window.number("speed_kmh")[loss.last_fix] >= _ROAD_KMH:
        return None
    for number in np.flatnonzero(ready).tolist():
        if _powered.shakes(window, rows[: number + 1]):
            return int(rows[number])
    return None


def _fast_before_s(window: Window, name: str, first: int) -> float:
    """For how long it drove as on a road, by a column, up to a row and into it."""
    times = window.device_time_us
    rows = np.arange(int(np.searchsorted(times, times[first] - _ENTRY_US)), first + 1)
    if len(rows) < _LEAST_SAMPLES:
        return 0.0
    fast = np.nan_to_num(window.number(name)[rows]) >= _ROAD_KMH
    return float((np.diff(times[rows]) / S * (fast[1:] & fast[:-1])).sum())


def fade(window: Window, loss: Loss) -> Fade | None:
    """How the sky went away before a loss; None when it did so at once, or nobody knows."""
    if loss.last_fix is None:
        return None
    times = window.device_time_us
    end_us = int(times[loss.last_fix])
    low = int(np.searchsorted(times, end_us - SKY_US))
    rows = np.arange(low, loss.last_fix + 1)
    satellites = _fallen(times[rows], window.number("satellites")[rows], end_us)
    # Worse geometry is a greater HDOP: what falls is its inverse.
    with np.errstate(divide="ignore"):
        geometry = _fallen(times[rows], 1.0 / window.number("hdop")[rows], end_us)
    seen = [one for one in (satellites, geometry) if one is not None]
    # Either may be told in coarse steps: the slower one tells how long it took.
    if not seen or end_us - min(since for since, _, _ in seen) < _SHORTEST_FADE_US:
        return None
    return Fade(
        min(since for since, _, _ in seen),
        None if satellites is None else (satellites[1], satellites[2]),
        None if geometry is None else (1.0 / geometry[1], 1.0 / geometry[2]),
        _mouth(times[rows], window.number("satellites" if geometry is None else "hdop")[rows]),
    )


def _mouth(times: Ints, values: Floats) -> bool:
    """Whether most of a change of satellites or HDOP came in its last two seconds, as far as readings are so close."""
    known = np.isfinite(values) & (values > 0.0)
    times, logs = times[known], np.log(values[known])
    if not len(times):
        return False
    ago = [(times >= times[-1] - since - S) & (times <= times[-1] - since) for since in (_MOUTH_US, _BEFORE_MOUTH_US)]
    if not all(rows.any() for rows in ago):
        return False
    late, whole = (abs(float(logs[-1] - logs[rows][-1])) for rows in ago)
    return late >= _MOUTH_FALL and late >= _MOUTH_SHARE * whole


def _fallen(times: Ints, values: Floats, end_us: int) -> tuple[int, float, float] | None:
    """Since when values have been falling towards the end, from what and to what; None when they are not told."""
    known = np.isfinite(values)
    times, values = times[known], values[known]
    before = times < end_us - _FADE_US
    if before.sum() < _LEAST_SAMPLES or len(values) - before.sum() < _LEAST_SAMPLES:
        return None
    usual = float(np.median(values[before]))
    final = float(values[-1])
    # Since the first quarter of the fall was over for good.
    high = np.flatnonzero(values >= usual - _BEGUN_SHARE * (usual - final))
    since_us = int(times[high[-1]]) if len(high) else int(times[0])
    return since_us, usual, final


def _first(rows: Ints, mask: Bools) -> int | None:
    at = np.flatnonzero(mask)
    return int(rows[at[0]]) if len(at) else None
