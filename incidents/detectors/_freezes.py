"""Places that stand still to the last digit while the vehicle drives. Pure maths."""

from dataclasses import dataclass
from typing import Final

import numpy as np

from incidents.detectors import _powered
from incidents.detectors._track import Fixes
from incidents.window import Bools, Floats, Ints, S, Window

# A receiver that lost the sky may repeat its last place, in a tunnel for most of a minute. Judgement.
_LASTS_US: Final = 60 * S
_LEAST_FIXES: Final = 4
# Way that a witness must tell meanwhile, and speed that the feed itself must tell. Judgement.
_WAY_M: Final = 200.0
_SPEED_KMH: Final = 10.0
_MOVES_KMH: Final = 5.0
# A witness that tells the very same values is frozen itself.
_ALIVE_VALUES: Final = 3

# What a living receiver tells beside the place changes from fix to fix, if only in the last digit.
_OF_RECEIVER: Final = ("speed_kmh", "heading_deg", "hdop", "accuracy_m", "altitude_m")
_HUNG_COLUMNS: Final = 2

COLUMNS: Final = _powered.ENGINE_COLUMNS | _powered.MOTION_COLUMNS | {"odometer_km", *_OF_RECEIVER}


@dataclass(frozen=True, slots=True)
class Freeze:
    """The same place from `from_us` to `until_us`; by `told_us` it is one.

    witness   what shows that the vehicle drove on: wheels, odometer, motion; None when nothing but the feed's own speed
              speaks against it
    way_m     how far it drove, as far as that tells
    hung      the receiver repeats all that it tells, speed and quality too: it hangs, nobody deceives it
    """

    from_us: int
    told_us: int
    until_us: int
    witness: str | None
    way_m: float | None
    speed_kmh: float | None
    hung: bool


def freezes(window: Window, fixes: Fixes) -> list[Freeze]:
    """Places that stood still while the vehicle drove, in order of time."""
    if len(fixes) < _LEAST_FIXES:
        return []
    same = (np.diff(fixes.lat_deg) == 0.0) & (np.diff(fixes.lon_deg) == 0.0)
    cuts = np.flatnonzero(~same) + 1
    found = []
    for run in np.split(np.arange(len(fixes)), cuts):
        lasted_us = int(fixes.time_us[run[-1]] - fixes.time_us[run[0]])
        if len(run) < _LEAST_FIXES or lasted_us < _LASTS_US:
            continue
        freeze = _freeze(window, fixes, run)
        found += [freeze] if freeze is not None else []
    return found


def repeated(window: Window, fixes: Fixes) -> Bools:
    """Fixes that repeat the place before them to the last digit although the vehicle moves: no news of a place."""
    same = (np.diff(fixes.lat_deg) == 0.0) & (np.diff(fixes.lon_deg) == 0.0)
    with np.errstate(invalid="ignore"):
        moves = (fixes.speed_kmh >= _MOVES_KMH) | (window.number("obd_speed_kmh")[fixes.rows] >= _MOVES_KMH)
    mask: Bools = np.append(False, same)[: len(fixes)] & moves
    return mask


def _freeze(window: Window, fixes: Fixes, run: Ints) -> Freeze | None:
    first, last = int(fixes.rows[run[0]]), int(fixes.rows[run[-1]])
    rows = np.arange(first, last + 1)
    rows = rows[window.flag("ignition")[rows] != 0]
    if len(rows) < _LEAST_FIXES:
        return None
    times = window.device_time_us
    from_us, until_us = int(times[first]), int(times[last])
    for name, way_m in (("wheels", _wheels_m(window, rows)), ("odometer", _odometer_m(window, rows))):
        if way_m is not None:
            over = np.flatnonzero((way_m >= _WAY_M) & (times[rows] - from_us >= _LASTS_US))
            if len(over):
                told_us = int(times[rows[over[0]]])
                way = float(way_m[-1])
                return Freeze(from_us, told_us, until_us, name, way, _told_kmh(window, rows), _hangs(window, rows))
            return None  # it speaks, and says that the vehicle stood
    speed = window.number("speed_kmh")[rows]
    with np.errstate(invalid="ignore"):
        fast = rows[speed >= _SPEED_KMH]
    if len(fast) < len(rows) / 2:
        return None
    until = np.flatnonzero(times[rows] - from_us >= _LASTS_US)
    if not len(until):
        return None
    witness = "motion" if _powered.shakes(window, rows) else None
    told_us = int(times[rows[until[0]]])
    return Freeze(from_us, told_us, until_us, witness, None, _told_kmh(window, rows), _hangs(window, rows))


def _hangs(window: Window, rows: Ints) -> bool:
    """Whether everything else that the receiver tells is repeated as well, two things of it at least."""
    told = [window.number(name)[rows] for name in _OF_RECEIVER]
    told = [values[np.isfinite(values)] for values in told]
    told = [values for values in told if len(values) >= _LEAST_FIXES]
    return len(told) >= _HUNG_COLUMNS and all(len(np.unique(values)) == 1 for values in told)


def _wheels_m(window: Window, rows: Ints) -> Floats | None:
    """Way by the wheels until each reading; None when they are not told, or frozen too."""
    speed = window.number("obd_speed_kmh")[rows]
    if not _alive(speed):
        return None
    step_s = np.append(0.0, np.minimum(np.diff(window.device_time_us[rows]) / S, 10.0))
    way: Floats = np.cumsum(np.nan_to_num(speed) / 3.6 * step_s)
    return way


def _odometer_m(window: Window, rows: Ints) -> Floats | None:
    """Way by the odometer until each reading; None when it is not told, or does not move."""
    odometer = window.number("odometer_km")[rows]
    known = odometer[np.isfinite(odometer)]
    if not _alive(odometer) or known[-1] < known[0]:
        return None
    way: Floats = np.nan_to_num((odometer - known[0]) * 1000.0)
    return way


def _alive(values: Floats) -> bool:
    """Whether values move at all."""
    return len(np.unique(values[np.isfinite(values)])) >= _ALIVE_VALUES


def _told_kmh(window: Window, rows: Ints) -> float | None:
    speed = window.number("speed_kmh")[rows]
    speed = speed[np.isfinite(speed)]
    return round(float(np.median(speed)), 1) if len(speed) else None
