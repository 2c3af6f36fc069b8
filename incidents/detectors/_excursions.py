"""Fixes that a vehicle cannot have reached from the ones before: places where it never was, or which somebody made up.

Honest logs bunch their stamps, so that neighbours seem to be 400 to 900 km/h apart (docs/detection-science.md, B10); a
receiver lags by seconds. So a fix is out of reach only when ten more seconds at the speed told around it would not do.
A few such fixes from which the vehicle is back at once are an excursion; a place it stays at is the end of a leap.
What goes out and back within seconds needs no such patience, because bunched stamps never lead back: see `_spikes`.
Pure maths.
"""

from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from incidents.detectors import _track
from incidents.detectors._track import Fixes
from incidents.window import Bools, Floats, Ints, S

# Bunched stamps and the lag of a receiver: the speed told may belong to this many seconds more. Judgement, from the
# honest logs of section B10.
_SLACK_S: Final = 10.0
# The speed told around a fix: the greatest within this time. Judgement.
_AROUND_US: Final = 15 * S
# On top of it, for errors of the speed; where none is told, the fastest honest traffic. Judgement.
_SPARE_SHARE: Final = 1.2
_SPARE_MPS: Final = 3.0
_UNTOLD_MPS: Final = 45.0
# The speed told at both ends of a longer hole says nothing of the time within; faster than this nobody drives for long.
_HOLE_S: Final = 30.0
# Further out of reach than this is no noise. Judgement: multipath between high houses reaches some 100 m.
_OUT_OF_REACH_M: Final = 100.0
# A place that was stayed at for so long, in so many fixes, is a leap's end and no excursion (section B10: windows of
# 30 s or more).
STAYED_US: Final = 30 * S
_STAYED_FIXES: Final = 3
# A spike is seen from so many fixes before and after it, this close to each other in time. Judgement: one fix in five
# may be bad, and two in a row then.
_SPIKE_FIXES: Final = 4
_SPIKE_US: Final = 30 * S


@dataclass(frozen=True, slots=True)
class Excursion:
    """Fixes `first` to `last` (rows of the track) lie elsewhere; the vehicle was at `before` and is back at `back`.

    alone  it tells something even if it is the only one: no slack makes up for it
    """

    before: int
    first: int
    last: int
    back: int
    hops: int
    apart_m: float
    alone: bool


@dataclass(frozen=True, slots=True)
class Leap:
    """From the fix `before` to the fix `first` (rows of the track) and not back; `told_us`: it had stayed there."""

    before: int
    first: int
    told_us: int
    apart_m: float
    beyond_m: float


@dataclass(frozen=True, slots=True)
class Strayed:
    """What of a track cannot be, and the rows (mask) that lie elsewhere."""

    excursions: tuple[Excursion, ...]
    leaps: tuple[Leap, ...]
    elsewhere: Bools


def reach_mps(fixes: Fixes) -> Floats:
    """Speed with which the vehicle may have moved around each fix, m/s."""
    speed = np.where(np.isnan(fixes.speed_kmh), -1.0, fixes.speed_kmh / 3.6)
    low = np.searchsorted(fixes.time_us, fixes.time_us - _AROUND_US)
    high = np.searchsorted(fixes.time_us, fixes.time_us + _AROUND_US, side="right")
    greatest = np.array([speed[a:b].max() for a, b in zip(low.tolist(), high.tolist(), strict=True)])
    reach: Floats = np.where(greatest < 0.0, _UNTOLD_MPS, greatest * _SPARE_SHARE + _SPARE_MPS)
    return reach


def strayed(fixes: Fixes) -> Strayed:
    """Excursions and leaps of a track."""
    nothing = np.zeros(len(fixes), dtype=np.bool_)
    if len(fixes) < 3:
        return Strayed((), (), nothing)
    apart_m = _track.steps_m(fixes.lat_deg, fixes.lon_deg)
    took_s = np.diff(fixes.time_us) / S
    # Cheap first: what even a standing vehicle may seem to do need not be asked about.
    if not (apart_m > _SPARE_MPS * took_s + _OUT_OF_REACH_M).any():
        return Strayed((), (), nothing)
    reach = reach_mps(fixes)
    spikes = _spikes(fixes, reach)
    rows = np.flatnonzero(~spikes)
    track, track_reach = fixes.take(~spikes), reach[rows]
    cuts = np.flatnonzero(_beyond_m(track, track_reach, np.arange(len(track) - 1), np.arange(1, len(track))) > 0.0) + 1
    followed = _followed(track, track_reach, np.split(np.arange(len(track)), cuts))
    excursions = [
        replace(one, before=int(rows[one.before]), first=int(rows[one.first]), last=int(rows[one.last]),
                back=int(rows[one.back])) for one in followed.excursions
    ] + _out_and_back(fixes, reach, spikes)  # fmt: skip
    leaps = [replace(one, before=int(rows[one.before]), first=int(rows[one.first])) for one in followed.leaps]
    elsewhere = spikes.copy()
    elsewhere[rows] = followed.elsewhere
    return Strayed(tuple(sorted(excursions, key=lambda one: one.first)), tuple(leaps), elsewhere)


def _spikes(fixes: Fixes, reach: Floats) -> Bools:
    """Fixes off the way between fixes around them: more pairs of those speak against each than for it.

    The way by it is longer than the way past it, by more than noise and by more than the speed told leaves room for.
    """
    against, agree = np.zeros(len(fixes), dtype=np.int64), np.zeros(len(fixes), dtype=np.int64)
    rows = np.arange(len(fixes))
    for before in range(1, _SPIKE_FIXES + 1):
        for after in range(1, _SPIKE_FIXES + 1):
            here = rows[before : max(before, len(rows) - after)]
            start, end = here - before, here + after
            within_us = fixes.time_us[end] - fixes.time_us[start]
            could_m = np.maximum(reach[start], reach[end]) * within_us / S
            unsure_m = 3.0 * (fixes.accuracy_m[start] + 2.0 * fixes.accuracy_m[here] + fixes.accuracy_m[end])
            # Two that are out of each other's reach are no witnesses.
            heard = (within_us <= _SPIKE_US) & (_distance_m(fixes, start, end) <= could_m + unsure_m)
            by_m = _distance_m(fixes, start, here) + _distance_m(fixes, here, end)
            off = by_m > could_m + unsure_m + 2.0 * _OUT_OF_REACH_M
            against[here] += heard & off
            agree[here] += heard & ~off
    mask: Bools = against > agree
    return mask


def _out_and_back(fixes: Fixes, reach: Floats, spikes: Bools) -> list[Excursion]:
    """Spikes in a row as excursions; every place that is far from the one before is a hop."""
    rows = np.flatnonzero(spikes)
    found = []
    for run in np.split(rows, np.flatnonzero(np.diff(rows) > 1) + 1) if len(rows) else []:
        first, last = int(run[0]), int(run[-1])
        before, back = first - 1, last + 1
        hops = 1 + int((_distance_m(fixes, run[:-1], run[1:]) > _OUT_OF_REACH_M).sum())
        alone = bool((_beyond_m(fixes, reach, np.full(len(run), before), run) > 0.0).any())
        apart_m = float(_distance_m(fixes, np.full(len(run), before), run).max())
        found.append(Excursion(before, first, last, back, hops, apart_m, alone))
    return found


def _followed(fixes: Fixes, reach: Floats, chunks: list[Ints]) -> Strayed:
    """Follow a vehicle through chunks of fixes, each out of reach of the one before."""
    excursions: list[Excursion] = []
    leaps: list[Leap] = []
    elsewhere = np.zeros(len(fixes), dtype=np.bool_)
    # Where it was surely: the last fix there, and since when it had been. What comes before the first place it stayed
    # at may be the end of an excursion that began unseen.
    home = next((number for number, chunk in enumerate(chunks) if _stayed(fixes, chunk)), 0)
    since_us, at = int(fixes.time_us[chunks[home][0]]), int(chunks[home][-1])
    away: list[Ints] = []
    for chunk in chunks[home + 1 :]:
        first = int(chunk[0])
        if float(_beyond_m(fixes, reach, at, first)) <= 0.0:
            if away:
                out = np.concatenate(away)
                apart_m = float(_distance_m(fixes, at, out).max())
                excursions.append(Excursion(at, int(out[0]), int(out[-1]), first, len(away), apart_m, True))
                elsewhere[out] = True
                away = []
            at = int(chunk[-1])
        elif _stayed(fixes, chunk):
            if int(fixes.time_us[at]) - since_us >= STAYED_US:
                told_us = int(fixes.time_us[first]) + STAYED_US
                beyond_m = float(_beyond_m(fixes, reach, at, first)) + _OUT_OF_REACH_M
                leaps.append(Leap(at, first, told_us, float(_distance_m(fixes, at, first)), beyond_m))
            since_us, at, away = int(fixes.time_us[first]), int(chunk[-1]), []
        else:
            away.append(chunk)
    return Strayed(tuple(excursions), tuple(leaps), elsewhere)


def _stayed(fixes: Fixes, chunk: Ints) -> bool:
    lasted_us = int(fixes.time_us[chunk[-1]] - fixes.time_us[chunk[0]])
    return lasted_us >= STAYED_US and len(chunk) >= _STAYED_FIXES


def _beyond_m(fixes: Fixes, reach: Floats, start: int | Ints, end: int | Ints) -> Floats:
    """How far a fix is beyond what could be reached from another; at most 0 when it could."""
    took_s = (fixes.time_us[end] - fixes.time_us[start]) / S
    told_s = np.minimum(took_s, _HOLE_S)
    could_m = np.maximum(reach[start], reach[end]) * (told_s + _SLACK_S) + _UNTOLD_MPS * (took_s - told_s)
    unsure_m = 3.0 * (fixes.accuracy_m[start] + fixes.accuracy_m[end]) + _OUT_OF_REACH_M
    beyond: Floats = _distance_m(fixes, start, end) - could_m - unsure_m
    return beyond


def _distance_m(fixes: Fixes, start: int | Ints, end: int | Ints) -> Floats:
    return _track.apart_m(fixes.lat_deg[start], fixes.lon_deg[start], fixes.lat_deg[end], fixes.lon_deg[end])
