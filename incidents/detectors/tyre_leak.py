"""Slow leaks: one tyre loses pressure against the others.

Heat of the road, the load and the season raise and lower all four together, so each tyre is held against the common
level of the others, and that against what is usual for this wheel. Works on facts of hours, over two weeks.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np

from incidents.detector import Candidates, Finding, Lane, Reason, Sweeps
from incidents.detectors._hourly import DAY_S, hours_in, instants
from incidents.detectors._surely import shown_whole
from incidents.hours import WHEELS
from incidents.window import Bools, Floats, Ints, S, Window

# A tyre this far below the others has lost air: FMVSS 138 warns at 25 % below placard, R141 at 20 %; one that is told
# twice to be half way there will get there. The sun, the driven axle and uneven filling make up to 10 % between wheels.
# Judgement.
_LOW_SHARE: Final = 0.20
_LOW_TWICE_SHARE: Final = 0.14
# As low as this the tyre is destroyed by driving on it. Judgement.
_FLAT_SHARE: Final = 0.40
_WARNING_SHARE: Final = 0.25
# Faster than this it was a blow-out or a valve that was opened: half of the -50 kPa/min of a fast loss (reference of
# detection, section A4).
_BURST_KPA_MIN: Final = 25.0
# What is usual for a wheel: its median of two weeks but for the newest day; without so much, of the first hours known.
_USUAL_S: Final = 14 * DAY_S
_NEWEST_S: Final = 1 * DAY_S
_FEWEST: Final = 6
_FIRST: Final = 2


@dataclass(frozen=True)
class TyreLeak(Sweeps):
    """See the module."""

    name: str = "tyre_leak"
    version: int = 1
    purpose: str = "one tyre loses pressure slowly against the others"
    kinds: tuple[str, ...] = ("tyre_leak",)
    lane: Lane = Lane.SWEEP
    before_s: float = 15 * DAY_S
    after_s: float = 0.0
    episode_gap_s: float = 2 * DAY_S
    stale_after_s: float = 2 * DAY_S
    columns: frozenset[str] = frozenset()
    streams: frozenset[str] = frozenset()
    every_s: float = 1_800.0
    candidates: Candidates | None = Candidates.HOURLY

    def examine(self, window: Window) -> list[Finding]:
        """A finding for every time at which a tyre was told to be low: begin and end of each hour."""
        points = _points(window)
        found = [finding for number in range(len(WHEELS)) for finding in _of_wheel(points, number)]
        return sorted(found, key=lambda finding: (finding.at_us, finding.subject))


@dataclass(frozen=True, slots=True)
class _Points:
    """Times (n,), two of each hour: its begin and its end. Pressures and steepest falls of the hour (n, 4)."""

    time_us: Ints
    kpa: Floats
    fall_kpa_min: Floats
    judged: Bools


def _points(window: Window) -> _Points:
    hours = hours_in(window)
    time_us = np.column_stack((instants(hours, "first_s"), instants(hours, "last_s"))).reshape(-1)
    first, last, fall = (
        np.column_stack([hours.number(f"tyre_{wheel}_{fact}") for wheel in WHEELS])
        for fact in ("first_kpa", "last_kpa", "fall_kpa_min")
    )
    kpa = np.stack((first, last), axis=1).reshape(-1, len(WHEELS))
    # A fall between two hours shows in neither.
    minutes = np.maximum(np.diff(time_us) / S / 60.0, 1.0)
    between = np.vstack((np.zeros((1, len(WHEELS))), -np.diff(kpa, axis=0) / minutes[:, None]))[: len(kpa)]
    fall = np.fmax(np.nan_to_num(np.repeat(fall, 2, axis=0)), np.nan_to_num(between))
    return _Points(time_us, kpa, fall, shown_whole(window, time_us, _USUAL_S + 3_600.0, 0.0))


def _of_wheel(points: _Points, number: int) -> list[Finding]:
    wheel = WHEELS[number]
    # Two of the three others at least: one alone may be the one that changes.
    others = np.isfinite(np.delete(points.kpa, number, axis=1)).sum(axis=1) >= 2
    known = np.flatnonzero(others & np.isfinite(points.kpa[:, number]))
    if len(known) < 2:
        return []
    time_us, kpa, fall = points.time_us[known], points.kpa[known], points.fall_kpa_min[known, number]
    share = kpa[:, number] / np.nanmax(kpa, axis=1)
    if share.min() > (1.0 - _LOW_TWICE_SHARE) * share.max():
        return []  # as most are
    deficit = np.array([_deficit(time_us, kpa, number, at) for at in range(len(known))])
    found = []
    for at in (np.flatnonzero(points.judged[known[1:]]) + 1).tolist():
        twice = deficit[at - 1] >= _LOW_TWICE_SHARE and time_us[at] - time_us[at - 1] <= _USUAL_S * S
        if deficit[at] < (_LOW_TWICE_SHARE if twice else _LOW_SHARE) or _burst(deficit, fall, at):
            continue
        now_us = int(time_us[at])
        pressure_kpa, below_pct = round(float(kpa[at, number])), round(100.0 * float(deficit[at]), 1)
        values = {"wheel": wheel, "min_pressure_kpa": pressure_kpa, "max_below_pct": below_pct}
        told = {"wheel": wheel, "pressure_kpa": pressure_kpa, "below_pct": below_pct}
        level, score = 2 if deficit[at] >= _FLAT_SHARE else 1, 0.95 if deficit[at] >= _WARNING_SHARE else 0.85
        reasons = (Reason("tyre_below_others", told),)
        found.append(Finding("tyre_leak", level, score, now_us, now_us, now_us, values, reasons, subject=wheel))
    return found


def _deficit(time_us: Ints, kpa: Floats, number: int, at: int) -> float:
    """How far the wheel is below the others, each held against what is usual for it, as a share."""
    seen = np.flatnonzero(time_us[: at + 1] >= time_us[at] - _USUAL_S * S)
    older = seen[time_us[seen] < time_us[at] - _NEWEST_S * S]
    rows = older if len(older) >= _FEWEST else seen[:_FIRST]
    told = np.isfinite(kpa[rows]).any(axis=0) & np.isfinite(kpa[at])
    others = np.flatnonzero(told & (np.arange(len(WHEELS)) != number))
    if not told[number] or len(others) < 2:
        return 0.0
    wheels = np.append(others, number)
    relative = kpa[at, wheels] / np.nanmedian(kpa[np.ix_(rows, wheels)], axis=0)
    return 1.0 - float(relative[-1] / np.median(relative[:-1]))


def _burst(deficit: Floats, fall_kpa_min: Floats, at: int) -> bool:
    """Whether most of what is missing since the tyre was last well went in one fast fall: the stream tells of that."""
    well = np.flatnonzero(deficit[:at] <= _LOW_TWICE_SHARE / 2)
    begin = int(well[-1]) if len(well) else 0
    # Of two points of an hour the second has seen the whole of it.
    greatest = begin + int(np.argmax(np.diff(deficit[begin : at + 1])))
    return bool(fall_kpa_min[greatest : greatest + 2].max() >= _BURST_KPA_MIN)


DETECTOR: Final = TyreLeak()
