"""Whether a vehicle was lifted: it stood tilted before it was moved, or hangs tilted on its way. Pure maths.

Gravity is held against how the same vehicle stood before, in the same stay with the ignition off, so it does not matter
how the device sits or how the ground slopes. A ship sways about the level that it had in harbour; a hook or a lifted
axle tilts, and stays tilted.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np

from incidents.window import Bools, Floats, Ints, S, Window

# Lift: 3 to 15 degrees within 10 to 60 s (docs/detection-science.md, A4), held for some seconds; common settings are 5
# degrees (B8). Seen against how it stood before. Judgement: a little less than 3, for noise.
_LIFT_DEG: Final = 2.5
_LIFT_HELD_US: Final = 8 * S
_STOOD_US: Final = 120 * S
_STOOD_SHARE: Final = 0.4  # of what is seen of it standing
_LIFT_BEFORE_US: Final = 360 * S
# Ships roll with periods of 8 to 15 s; averaged over twice this, little of it is left.
_ROLL_US: Final = 10 * S
_LEAST_SAMPLES: Final = 5
_G_MPS2: Final = 9.80665
# Slower is standing: the fix of a parked receiver drifts. Judgement.
_STANDS_KMH: Final = 1.0
# Readings on either side without which a tilt on the way says nothing. Judgement.
_LEAST_EITHER: Final = 2
# So many on the way where no reading saw it lifted: with fewer, the spread of a ship's rolling is known too badly.
# Judgement.
_LEAST_UNSEEN: Final = 12
# The middle of readings that sway, brake and corner is this many times its own error away from level. Judgement: three
# standard deviations; 1.25 is the error of a median against that of a mean, 1.48 what a standard deviation is of the
# median deviation, both of normal noise.
_SURE_ERRORS: Final = 3.0
# More where no reading saw it lifted: a long crossing is looked at again and again. Judgement.
_SURE_UNSEEN_ERRORS: Final = 4.0
_MEDIAN_ERROR: Final = 1.25
_DEVIATION: Final = 1.48

# Columns that these functions look at.
COLUMNS: Final = frozenset({"ignition", "speed_kmh", "accel_x_mps2", "accel_y_mps2", "accel_z_mps2", "accel_gravity"})


@dataclass(frozen=True, slots=True)
class Tilt:
    """Since when it was tilted, and by how much against how it stood before."""

    since_us: int
    tilt_deg: float


def before(window: Window, start_us: int) -> Tilt | None:
    """How the vehicle stood tilted before it moved at `start_us`; None when it was not lifted or too little is seen."""
    times = window.device_time_us
    low, high = np.searchsorted(times, [start_us - _LIFT_BEFORE_US - _STOOD_US, start_us + 1])
    rows = np.arange(low, high)
    rows = _known(window, rows[(window.flag("ignition")[rows] == 0) & _stands(window, rows)])
    if not len(rows):
        return None
    begin_us = int(times[rows[0]])
    stood = np.flatnonzero(times[rows] <= begin_us + min(_STOOD_US, (start_us - begin_us) * _STOOD_SHARE))
    if len(stood) < _LEAST_SAMPLES:
        return None
    held = _steadied(_gravity(window, rows), times[rows])
    tilt_deg = _angle_deg(np.median(held[:, stood], axis=1), held)
    tilted = np.flatnonzero(tilt_deg >= _LIFT_DEG)
    # Held without a break: a ship rolls to and fro.
    for part in np.split(tilted, np.flatnonzero(np.diff(tilted) > 1) + 1):
        if len(part) and times[rows[part[-1]]] - times[rows[part[0]]] >= _LIFT_HELD_US:
            return Tilt(int(times[rows[part[0]]]), round(float(tilt_deg[part].max()), 1))
    return None


def on_the_way(window: Window, start_us: int, end_us: int) -> Tilt | None:
    """How the vehicle hangs from `start_us` to `end_us` against how it stood before; None when level or too little is
    seen. Good for readings minutes apart: what counts is their number, not their pace."""
    times = window.device_time_us
    first, end = np.searchsorted(times, [start_us, end_us + 1])
    stood, way = _stand(window, int(first)), _known(window, np.arange(first, end))
    if not len(stood):
        return None
    begin_us = int(times[stood[0]])
    untouched_us = max(start_us - _LIFT_BEFORE_US, begin_us + round((start_us - begin_us) * _STOOD_SHARE))
    ground = _spaced(times, stood[times[stood] <= untouched_us])
    way = _spaced(times, way[window.flag("ignition")[way] == 0])
    if min(len(ground), len(way)) < _LEAST_EITHER:
        return None
    rows = np.concatenate((stood, np.arange(first, end)))
    rows = _known(window, rows[window.flag("ignition")[rows] == 0])
    held = _steadied(_gravity(window, rows), times[rows])
    level, hangs = (np.median(held[:, np.searchsorted(rows, part)], axis=1) for part in (ground, way))
    tilt_deg = float(_angle_deg(level, hangs[:, None])[0])
    length = float(np.linalg.norm(hangs - level))
    if tilt_deg < _LIFT_DEG:
        return None
    # Along the tilt: how far each reading is from level.
    along = (hangs - level) @ (held - level[:, None]) / length
    # How it stood at last: tilted as far already, while a ship is still level.
    stood_so = (_angle_deg(level, held) >= _LIFT_DEG) & (along > 0.0)
    upright = np.flatnonzero(~stood_so & (rows < first))
    since = int(upright[-1]) + 1 if len(upright) else 0
    seen_lifted = bool(rows[since] < first)
    # How sure the middle is. Readings that sway from side to side may lie close together by chance: where no lift was
    # seen all of them count, and a few are not enough.
    swings = along[np.searchsorted(rows, way)]
    inner = _DEVIATION * float(np.median(np.abs(swings - np.median(swings))))
    spread, errors = (inner, _SURE_ERRORS) if seen_lifted else (float(swings.std()), _SURE_UNSEEN_ERRORS)
    few = len(way) < _LEAST_UNSEEN and not seen_lifted
    if few or length < errors * _MEDIAN_ERROR * spread / np.sqrt(len(way)):
        return None
    return Tilt(int(times[rows[since]]), round(tilt_deg, 1))


def _stand(window: Window, first: int) -> Ints:
    """Readings of the stay with the ignition off that ends where row `first` moves."""
    rows = np.arange(first)
    off = (window.flag("ignition")[rows] == 0) & _stands(window, rows)
    begin = np.flatnonzero(~off & ((window.flag("ignition")[rows] == 1) | ~_stands(window, rows)))
    rows = rows[off & (rows > (begin[-1] if len(begin) else -1))]
    return _known(window, rows)


def _stands(window: Window, rows: Ints) -> Bools:
    stands: Bools = ~(np.nan_to_num(window.number("speed_kmh")[rows]) >= _STANDS_KMH)
    return stands


def _known(window: Window, rows: Ints) -> Ints:
    """Those of some rows that carry the horizontal accelerations."""
    known = np.isfinite(window.number("accel_x_mps2")[rows]) & np.isfinite(window.number("accel_y_mps2")[rows])
    return rows[known]


def _gravity(window: Window, rows: Ints) -> Floats:
    """What the device feels, gravity with it, shape (3, n)."""
    axes = np.stack([window.number(f"accel_{axis}_mps2")[rows] for axis in "xyz"])
    axes[2] = np.nan_to_num(axes[2], nan=0.0)
    if not (window.flag("accel_gravity")[rows] == 1).any():
        # Gravity was taken off along the axis that was upright: what a tilt brings to the others stays.
        axes[2] += _G_MPS2
    return axes


def _angle_deg(level: Floats, axes: Floats) -> Floats:
    lengths = np.linalg.norm(axes, axis=0) * np.linalg.norm(level)
    angle: Floats = np.degrees(np.arccos(np.clip(level @ axes / np.maximum(lengths, 1e-9), -1.0, 1.0)))
    return angle


def _steadied(axes: Floats, time_us: Ints) -> Floats:
    """Each axis averaged over some seconds around each reading: what a ship's rolling leaves is little."""
    sums = np.concatenate((np.zeros((3, 1)), np.cumsum(axes, axis=1)), axis=1)
    low = np.searchsorted(time_us, time_us - _ROLL_US)
    high = np.searchsorted(time_us, time_us + _ROLL_US, side="right")
    steadied: Floats = (sums[:, high] - sums[:, low]) / (high - low)
    return steadied


def _spaced(times: Ints, rows: Ints) -> Ints:
    """Some of the rows, so far apart that what is averaged around each is not counted twice."""
    if not len(rows):
        return rows
    bins = (times[rows] - times[rows[0]]) // (2 * _ROLL_US)
    apart: Ints = rows[np.append(True, np.diff(bins) > 0)]
    return apart
