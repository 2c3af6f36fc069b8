"""Driving and rest: what of a vehicle's time was spent at the wheel. Pure maths.

A spell of driving ends with a rest of 20 minutes; shorter stops are part of it and count as driving time. A hole in the
feed is no rest unless the vehicle is found where it was, or cannot have driven through it.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np

from incidents.detectors import _track
from incidents.window import Bools, Floats, Ints, S, Window

# Implementing Regulations of the Road Traffic Safety Law, Art. 62(7): rest of no less than 20 minutes (reference of
# detection, section B6).
REST_S: Final = 1_200.0
# Slower is a queue, a yard, or noise of a standing receiver.
MOVES_KMH: Final = 5.0
# Movement that is over so soon is noise, or a vehicle that was shunted. Judgement.
_SHUNTED_S: Final = 10.0
# Readings further apart than this are a hole.
_HOLE_S: Final = 60.0
# Found again within this of where it was, it stood: no further than fixes drift. Judgement.
_STOOD_M: Final = 200.0
# A hole is a rest when this slow a drive would have left 20 minutes of it. Judgement, in favour of the driver.
_SLOW_DRIVE_MPS: Final = 15.0 / 3.6
_WORST_ACCURACY_M: Final = 100.0
# The sun is south at noon when a zone of whole hours is that of the longitude: 15 degrees an hour.
_DEG_AN_HOUR: Final = 15.0
_HOUR_US: Final = 3_600 * S
_DAY_HOURS: Final = 24.0

COLUMNS: Final = _track.TRACK_COLUMNS | {"ignition"}


@dataclass(frozen=True, slots=True)
class Spell:
    """A spell of driving: its moving readings (rows of the window), from the first movement to the last."""

    rows: Ints

    def driven_s(self, window: Window) -> Floats:
        """Time at the wheel until each of its readings, short stops included."""
        times = window.device_time_us[self.rows]
        driven: Floats = (times - times[0]) / S
        return driven


def moving(window: Window) -> Bools:
    """Readings of a vehicle that moves by its own engine, noise and shunting left out."""
    with np.errstate(invalid="ignore"):
        mask: Bools = (window.speed_kmh() >= MOVES_KMH) & (window.flag("ignition") != 0)
    times, shunted_us = window.device_time_us, round(_SHUNTED_S * S)
    for rows in _track.groups(mask, times, round(_HOLE_S * S)):
        first, last = int(rows[0]), int(rows[-1])
        if times[last] - times[first] >= shunted_us or not first or last + 1 == len(window):
            continue
        if times[first] - times[first - 1] <= shunted_us and times[last + 1] - times[last] <= shunted_us:
            mask[rows] = False
    return mask


def spells(window: Window) -> list[Spell]:
    """Spells of driving in the window, in order of time."""
    moves = np.flatnonzero(moving(window))
    if not len(moves):
        return []
    return [Spell(rows) for rows in np.split(moves, np.flatnonzero(_rested(window, moves)) + 1)]


def local_hour(time_us: Ints, lon_deg: float) -> Floats:
    """Hour of the day, 0 to 24, by the sun: the zone is the longitude's, in whole hours; no law, no summer time."""
    zone_us = round(lon_deg / _DEG_AN_HOUR) * _HOUR_US
    hour: Floats = (time_us + zone_us) % round(_DAY_HOURS * _HOUR_US) / _HOUR_US
    return hour


def longitude_deg(window: Window, rows: Ints) -> float | None:
    """Where a vehicle was when it began to move, roughly; None when it is not known."""
    lon = window.number("lon_deg")[rows[window.fix_mask()[rows]]]
    return float(lon[0]) if len(lon) else None


def _rested(window: Window, moves: Ints) -> Bools:
    """For each moving reading but the last: whether the vehicle rested between it and the next moving one."""
    times = window.device_time_us
    apart_s = np.diff(times[moves]) / S
    rested = apart_s >= REST_S
    if rested.any():
        fixes = _track.fixes(window, _WORST_ACCURACY_M)
        for number in np.flatnonzero(rested).tolist():
            rested[number] = _stood_s(window, fixes, int(moves[number]), int(moves[number + 1])) >= REST_S
    return rested


def _stood_s(window: Window, fixes: _track.Fixes, start: int, end: int) -> float:
    """Longest time standing between two moving readings, as far as readings and places show."""
    times = window.device_time_us[start : end + 1]
    steps_s = np.diff(times) / S
    driven_s = np.zeros(len(steps_s))
    for at in np.flatnonzero(steps_s > _HOLE_S).tolist():
        way_m = _way_m(fixes, int(times[at]), int(times[at + 1]))
        if way_m is not None and way_m > _STOOD_M:
            driven_s[at] = min(float(steps_s[at]), way_m / _SLOW_DRIVE_MPS)
    # What was driven within a hole parts the rest before it from the rest after it; within, the longer part is one.
    longest, run = 0.0, 0.0
    for step, driven in zip(steps_s.tolist(), driven_s.tolist(), strict=True):
        if driven:
            longest, run = max(longest, run, step - driven), 0.0
        else:
            run += step
    return max(longest, run)


def _way_m(fixes: _track.Fixes, before_us: int, after_us: int) -> float | None:
    """How far apart the fixes before and after a hole are; None without one on either side, or none near."""
    low = int(np.searchsorted(fixes.time_us, before_us, side="right")) - 1
    high = int(np.searchsorted(fixes.time_us, after_us))
    if low < 0 or high >= len(fixes):
        return None
    lat, lon = fixes.lat_deg, fixes.lon_deg
    return float(_track.apart_m(lat[low], lon[low], lat[high], lon[high]))
