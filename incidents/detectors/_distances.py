"""Places against what the vehicle itself says of its way: its wheels, its odometer.

Receivers lag by seconds and stamps come bunched, so nothing is compared sample by sample, only over one to five minutes
(docs/detection-science.md, B10). A witness is heard only after it has agreed with the places earlier on: an
odometer that is told once a trip, or a bus that has gone quiet, is none. Everything is judged at tens of seconds of the
clock, each from the eight minutes before it and from nothing else. Pure maths.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np

from incidents.detectors import _drifts, _powered
from incidents.detectors._track import Fixes
from incidents.fences import METRES_A_DEGREE
from incidents.window import Bools, Floats, Ints, S, Window

GRID_US: Final = 10 * S
# Points of the grid that one judgement looks back on: eight minutes.
REACH: Final = 48
# Ways are compared over 60 to 300 s, within 5 % + 50 m (section B10): windows in points of the grid.
_WINDOWS: Final = (6, 12, 30)
_SPARE_M: Final = 50.0
_ODOMETER_SHARE: Final = 0.05
# A bus tells speed in whole km/h, and a little too high. Judgement.
_WHEELS_SHARE: Final = 0.08
# The place at a point of the grid is the mean of the places at these instants around it, each from the fixes beside it.
# (The mean of the fixes that happen to be near it is as much as half their distance in time late or early: with one fix
# in five seconds that made steps of 85 m out of 66, and drifts out of honest drives.)
_AROUND_US: Final = np.arange(-2, 3) * S
# Between fixes further apart than this a vehicle that speeds up or brakes is a dozen metres (2 to 3 m/s2, half-way) off
# the straight line in time: good enough for ways of minutes, and too coarse to see a drift in steps of ten seconds.
_FINE_GAP_US: Final = 6 * S
# How many stated accuracies two places may be wrong together.
_ACCURACIES: Final = 3.0
# Longer gaps between speeds, and between fixes, leave a way that nobody measured.
_SPEED_GAP_US: Final = 5 * S
_FIX_GAP_US: Final = 10 * S
_ODOMETER_GAP_US: Final = 20 * S
# No vehicle is faster: an odometer that is was set.
_FASTEST_MPS: Final = 70.0
# A witness has proved itself when whole minutes, of so much way each and so much together, agreed so well. Judgement.
_BLOCK: Final = 6
_BLOCK_M: Final = 200.0
_PROVED_M: Final = 300.0
_AGREES_SHARE: Final = 0.15
# It must go on for so many points of the grid: one wrong place is none. Judgement.
_LASTS: Final = 3

COLUMNS: Final = _powered.ENGINE_COLUMNS | {"odometer_km", "speed_kmh", "heading_deg"}


@dataclass(frozen=True, slots=True)
class Contradiction:
    """Places went another way than the vehicle from `from_us` to `until_us`; by `told_us` it had gone on for a while.

    witness           wheels, odometer
    way_m, places_m   way by the witness, and by the places, over `over_s`, at `told_us`; None where they agree
    drift_mps         and the places drifted aside by `drift_mps`
    lasted_s          how long it went on
    """

    from_us: int
    told_us: int
    until_us: int
    witness: str
    way_m: float | None
    places_m: float | None
    over_s: float
    drift_mps: float
    lasted_s: float


@dataclass(frozen=True, slots=True)
class _Summed:
    """Something summed up along the grid, and the gaps in it: what lies between two points with equal gaps is whole."""

    sums: Floats
    gaps: Ints

    def over(self, points: int) -> Floats:
        """What it came to over so many points before each, NaN across gaps."""
        came = np.full(len(self.sums), np.nan)
        whole = self.gaps[points:] == self.gaps[:-points]
        came[points:] = np.where(whole, self.sums[points:] - self.sums[:-points], np.nan)
        return came


@dataclass(frozen=True, slots=True)
class _Witness:
    name: str
    way_m: _Summed
    share: float
    fine_m: float


def contradictions(window: Window, fixes: Fixes) -> list[Contradiction]:
    """Where the places contradict every witness that has proved itself."""
    if len(fixes) < 2 * _BLOCK or fixes.time_us[-1] - fixes.time_us[0] < 2 * _BLOCK * GRID_US:
        return []
    grid = np.arange(-(-int(fixes.time_us[0]) // GRID_US), int(fixes.time_us[-1]) // GRID_US + 1) * GRID_US
    witnesses = [one for one in (_wheels(window, grid), _odometer(window, grid)) if one is not None]
    if not witnesses:
        return []
    places = _Places.of(window, fixes, grid)
    heard = np.zeros(len(grid), dtype=np.bool_)
    wrong = np.ones(len(grid), dtype=np.bool_)
    told: list[_Against] = []
    for witness in witnesses:
        against = _against(places, witness)
        heard |= against.heard
        wrong &= against.wrong | ~against.heard
        told.append(against)
    found = []
    rows = np.flatnonzero(heard & wrong)
    for run in np.split(rows, np.flatnonzero(np.diff(rows) > 1) + 1):
        if len(run) < _LASTS:
            continue
        at = int(run[_LASTS - 1])
        number = next(number for number, one in enumerate(told) if one.wrong[at])
        one = told[number]
        over = int(one.over[at])
        found.append(
            Contradiction(
                int(grid[run[0]]) - (int(one.over[run[0]]) or _drifts.SHORTEST) * GRID_US,
                int(grid[at]),
                int(grid[run[-1]]),
                witnesses[number].name,
                float(one.way_m[at]) if over else None,
                float(one.places_m[at]) if over else None,
                over * GRID_US / S,
                float(one.drift_mps[at]),
                float(len(run) * GRID_US / S),
            )
        )
    return found


@dataclass(frozen=True, slots=True)
class _Places:
    """Places at points of the grid, the way through all fixes, and the way by the receiver's speed and heading.

    fine_east_m, fine_north_m  places where fixes are close enough in time to tell them exactly, else NaN
    """

    east_m: Floats
    north_m: Floats
    accuracy_m: Floats
    fine_east_m: Floats
    fine_north_m: Floats
    path_m: _Summed
    speed_m: _Summed
    course_east_m: _Summed
    course_north_m: _Summed

    @classmethod
    def of(cls, window: Window, fixes: Fixes, grid: Ints) -> "_Places":
        origin_lat, origin_lon = float(fixes.lat_deg[0]), float(fixes.lon_deg[0])
        east = (fixes.lon_deg - origin_lon) * METRES_A_DEGREE * np.cos(np.radians(fixes.lat_deg))
        north = (fixes.lat_deg - origin_lat) * METRES_A_DEGREE
        means = [_around(grid, fixes.time_us, values, _FIX_GAP_US) for values in (east, north, fixes.accuracy_m)]
        fine_m = [_around(grid, fixes.time_us, values, _FINE_GAP_US) for values in (east, north)]
        # What a standing receiver wanders is no way.
        steps = np.hypot(np.diff(east), np.diff(north)) * ~(fixes.stands[1:] & fixes.stands[:-1])
        path = _summed(grid, fixes.time_us, steps, _FIX_GAP_US)
        told = np.isfinite(window.number("speed_kmh")) & np.isfinite(window.number("heading_deg"))
        times = window.device_time_us[told]
        speed, heading = window.number("speed_kmh")[told] / 3.6, np.radians(window.number("heading_deg")[told])
        courses = []
        for part in (speed, speed * np.sin(heading), speed * np.cos(heading)):
            way = (part[1:] + part[:-1]) / 2 * np.diff(times) / S
            courses.append(_summed(grid, times, way, _SPEED_GAP_US))
        return cls(means[0], means[1], means[2], fine_m[0], fine_m[1], path, *courses)


def _around(grid: Ints, time_us: Ints, values: Floats, gap_us: int) -> Floats:
    """Means of values around points of the grid, NaN within longer gaps and beyond the ends."""
    at_us = grid[:, None] + _AROUND_US
    after = np.searchsorted(time_us, at_us)
    within = np.clip(after, 1, len(time_us) - 1)
    seen = (at_us >= time_us[0]) & (at_us <= time_us[-1]) & (time_us[within] - time_us[within - 1] <= gap_us)
    between = np.where(seen, np.interp(at_us, time_us, values), np.nan)
    # Beside a gap the middle alone: a mean of one side would be late or early.
    whole = np.isfinite(between).all(axis=1)
    mean: Floats = np.where(whole, between.mean(axis=1), between[:, len(_AROUND_US) // 2])
    return mean


@dataclass(frozen=True, slots=True)
class _Against:
    """A witness against the places at each point of the grid: whether it is heard, and speaks against them.

    `over` is the window in which it does, and ways in it are told; 0 where only a steady drift shows.
    """

    heard: Bools
    wrong: Bools
    way_m: Floats
    places_m: Floats
    over: Ints
    drift_mps: Floats


def _against(places: _Places, witness: _Witness) -> _Against:
    count = len(places.east_m)
    heard, wrong = np.zeros(count, dtype=np.bool_), np.zeros(count, dtype=np.bool_)
    way_told, places_told, over_told = np.zeros(count), np.zeros(count), np.zeros(count, dtype=np.int64)
    proved = _proved(places.path_m, witness.way_m)
    for points in _WINDOWS:
        if count <= points:
            break
        before = np.maximum(np.arange(count) - points, 0)
        way_m = witness.way_m.over(points) * _scale(proved, points)
        slack_m = _SPARE_M + 2.0 * witness.fine_m + _ACCURACIES * (places.accuracy_m + places.accuracy_m[before])
        slack_m = slack_m + witness.share * way_m
        east_m = places.east_m - places.east_m[before]
        north_m = places.north_m - places.north_m[before]
        apart_m, path_m = np.hypot(east_m, north_m), places.path_m.over(points)
        by_course_m = np.hypot(east_m - places.course_east_m.over(points), north_m - places.course_north_m.over(points))
        with np.errstate(invalid="ignore"):
            too_far = apart_m > way_m + slack_m
            too_near = path_m < way_m - slack_m
            # The receiver's own speed and the wheels agree, and lead to another place.
            agree = np.abs(places.speed_m.over(points) - way_m) <= slack_m
            aside = agree & (by_course_m > slack_m)
        heard |= np.isfinite(way_m) & np.isfinite(apart_m)
        new = (too_far | too_near | aside) & ~wrong
        way_told[new], over_told[new] = way_m[new], points
        places_told[new] = np.where(too_far | np.isnan(path_m), apart_m, path_m)[new]
        wrong |= new
    drifts, drift_mps = _drifts.drifting(
        places.fine_east_m,
        places.fine_north_m,
        places.path_m.over(1),
        witness.way_m.over(1),
        _scale(proved, _drifts.SHORTEST),
    )
    return _Against(heard, wrong | drifts, way_told, places_told, over_told, drift_mps)


def _scale(proved: tuple[Floats, Floats], points: int) -> Floats:
    """Metres of places a metre of the witness, by what was proved before a window of so many points; NaN without."""
    ways, paths = proved
    before = np.arange(len(ways)) - points
    since = np.arange(len(ways)) - REACH + _BLOCK - 1
    shown = []
    for sums in (ways, paths):
        until_m = np.where(before >= 0, sums[np.maximum(before, 0)], 0.0)
        shown.append(np.maximum(until_m - np.where(since >= 0, sums[np.maximum(since, 0)], 0.0), 0.0))
    scale: Floats = np.where(shown[0] >= _PROVED_M, shown[1] / np.maximum(shown[0], 1.0), np.nan)
    return scale


def _proved(path_m: _Summed, way_m: _Summed) -> tuple[Floats, Floats]:
    """Ways, summed up to each point, of minutes in which a witness agreed with the places: its own, and theirs."""
    way, path = way_m.over(_BLOCK), path_m.over(_BLOCK)
    with np.errstate(invalid="ignore", divide="ignore"):
        agrees = (way >= _BLOCK_M) & (np.abs(path / way - 1.0) <= _AGREES_SHARE)
    # Minutes that overlap would count a way six times.
    share = np.where(agrees, 1.0 / _BLOCK, 0.0)
    return np.cumsum(np.nan_to_num(way) * share), np.cumsum(np.nan_to_num(path) * share)


def _wheels(window: Window, grid: Ints) -> _Witness | None:
    speed = window.number("obd_speed_kmh")
    told = np.isfinite(speed) & (window.flag("ignition") != 0)
    if told.sum() < _BLOCK:
        return None
    times, speed_mps = window.device_time_us[told], speed[told] / 3.6
    way = (speed_mps[1:] + speed_mps[:-1]) / 2 * np.diff(times) / S
    return _Witness("wheels", _summed(grid, times, way, _SPEED_GAP_US), _WHEELS_SHARE, 0.0)


def _odometer(window: Window, grid: Ints) -> _Witness | None:
    odometer = window.number("odometer_km") * 1000.0
    # Without the engine a vehicle may be carried along: its odometer is no witness then.
    told = np.isfinite(odometer) & _powered.engine_on(window)
    if told.sum() < _BLOCK:
        return None
    times, way = window.device_time_us[told], np.diff(odometer[told])
    took_s = np.diff(times) / S
    moved = way[way > 0.0]
    fine_m = float(moved.min()) if len(moved) else 0.0
    sound = (way >= 0.0) & (way <= _FASTEST_MPS * took_s + 2.0 * fine_m)
    return _Witness("odometer", _summed(grid, times, way, _ODOMETER_GAP_US, sound), _ODOMETER_SHARE, fine_m)


def _summed(grid: Ints, time_us: Ints, steps: Floats, gap_us: int, sound: Bools | None = None) -> _Summed:
    """Steps between samples summed up along the grid; a step over a gap, or one that is not sound, leaves a gap."""
    if len(time_us) < 2:
        return _Summed(np.zeros(len(grid)), np.arange(len(grid)))
    broken = np.diff(time_us) > gap_us
    if sound is not None:
        broken |= ~sound
    sums = np.append(0.0, np.cumsum(np.where(broken, 0.0, steps)))
    gaps = np.append(0, np.cumsum(broken))
    at = np.searchsorted(time_us, grid, side="right")
    within = np.minimum(np.maximum(at, 1), len(time_us) - 1)
    # Nothing is whole from or to a point before the first sample, after the last one, or within a gap.
    lost = (at == 0) | (at == len(time_us)) | broken[within - 1]
    return _Summed(np.interp(grid, time_us, sums), np.where(lost, -1 - np.arange(len(grid)), gaps[within - 1]))
