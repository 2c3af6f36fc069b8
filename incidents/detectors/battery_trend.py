"""A starter battery that gets weaker over weeks, and a generator that charges less than it used to.

A healthy battery may rest at 11.95 V and a sampled start may dip to 7.6 V, so fixed limits alone accuse the healthy
(docs/detection-science.md, B9). Held against the vehicle's own past: Theil-Sen slopes with their uncertainty, with
and without what cold explains, over rests of like age. Works on facts of hours.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np

from incidents.detector import Candidates, Finding, Lane, Reason, Sweeps
from incidents.detectors._hourly import DAY_S, DAY_US, hours_in, instants
from incidents.detectors._supply import batteries
from incidents.detectors._trend import theil_sen
from incidents.detectors.supply import NOT_CHARGING_V
from incidents.hours import HOUR_US
from incidents.window import Bools, Floats, Hours, Ints, S, Window

_LOOK_BACK_DAYS: Final = 35
_FEWEST_DAYS: Final = 7
_SHORTEST_SPAN_DAYS: Final = 10.0

# A weak battery loses about 0.02 V a day at rest (section A4). Significant from a third of that on, once it amounts to
# a tenth of the way from full to flat and has come to half charge (12.24 V), or amounts to most of the way. Judgement.
_REST_SLOPE_V_DAY: Final = -0.006
_REST_LOST_V: Final = 0.25
_REST_HALF_V: Final = 12.25
_REST_LOST_MUCH_V: Final = 0.45
# Below the lowest healthy rest measured (11.95 V); the workshop says flat under 12.0 to 12.1.
_REST_FLAT_V: Final = 11.9
_REST_DEAD_V: Final = 11.5
# A battery that was not charged for longer than this is discharged by what stays awake in the vehicle. Judgement.
_OLDEST_REST_S: Final = 3 * DAY_S
# Cold lowers the voltage at rest by a few mV a degree and that of a start by some ten. Taken high. Judgement.
_REST_COLD_V_C: Final = 0.008
_CRANK_COLD_V_C: Final = 0.03

# A weak battery's starts dip 0.05 to 0.1 V deeper a day (section A4); a tracker at 1 Hz sees them with about 1 V of
# chance, so it takes many.
_CRANK_SLOPE_V_DAY: Final = -0.02
_CRANK_LOST_V: Final = 1.0
_CRANK_LOW_V: Final = 9.6
_FEWEST_STARTS: Final = 12
_NEWEST_STARTS: Final = 5
# Three starts in a row this far below the vehicle's own middle, the starter turning for long. Section B9 and judgement.
_LOW_IN_A_ROW: Final = 3
_LOW_BELOW_MIDDLE_V: Final = 1.2
_LONG_CRANK_S: Final = 2.0

# A generator holds 13.4 to 14.2 V (section B9). Three hours below all of the ten before and below what charges.
# One that does not charge at all is found in the stream while it drives (supply.py).
_CHARGE_LOW_V: Final = 13.0
_CHARGE_LOST_V: Final = 0.5
_CHARGE_HOURS: Final = 3
_CHARGE_USUAL_HOURS: Final = 5
_SHORTEST_DRIVE_S: Final = 300.0


@dataclass(frozen=True)
class BatteryTrend(Sweeps):
    """See the module."""

    name: str = "battery_trend"
    version: int = 2
    purpose: str = "battery or charging that gets worse over weeks"
    kinds: tuple[str, ...] = ("low_battery", "charging_fault")
    lane: Lane = Lane.SWEEP
    before_s: float = (_LOOK_BACK_DAYS + 1) * DAY_S + _OLDEST_REST_S + DAY_S
    after_s: float = 1 * DAY_S
    episode_gap_s: float = 4 * DAY_S
    stale_after_s: float = 4 * DAY_S
    columns: frozenset[str] = frozenset()
    streams: frozenset[str] = frozenset()
    every_s: float = 6 * 3_600.0
    candidates: Candidates | None = Candidates.HOURLY

    def examine(self, window: Window) -> list[Finding]:
        """Findings for every day whose whole past of 35 days the window shows."""
        hours = hours_in(window)
        if not len(hours.hour_us):
            return []
        scale = batteries(hours.number("charge_v"), hours.number("rest_v"), hours.number("off_v"))
        rests, starts, drives = _rests(hours, scale), _starts(hours, scale), _drives(hours, scale)
        found = []
        for day in _days(window, hours):
            until_us = (day + 1) * DAY_US
            from_us = until_us - _LOOK_BACK_DAYS * DAY_US
            found += _of_battery(rests.between(from_us, until_us), starts.between(from_us, until_us), day)
            found += _of_charging(drives.between(from_us, until_us), day)
        return sorted(found, key=lambda finding: (finding.at_us, finding.kind))


def _days(window: Window, hours: Hours) -> Iterator[int]:
    """Days since the epoch with facts, as far as the window shows all that bears on them."""
    for day in np.unique(hours.hour_us // DAY_US).tolist():
        if (day + 1 - _LOOK_BACK_DAYS) * DAY_US >= window.from_us and (day + 1) * DAY_US <= window.until_us:
            yield day


@dataclass(frozen=True, slots=True)
class _Series:
    """Instants (n,), volts of one 12 V battery, degrees, and what else belongs to them."""

    at_us: Ints
    volts: Floats
    ambient_c: Floats
    seconds: Floats

    def between(self, from_us: int, until_us: int) -> "_Series":
        low, high = np.searchsorted(self.at_us, [from_us, until_us])
        return self.rows(np.arange(low, high))

    def rows(self, rows: Ints) -> "_Series":
        return _Series(self.at_us[rows], self.volts[rows], self.ambient_c[rows], self.seconds[rows])


def _series(hours: Hours, rows: Bools, volts: Floats, seconds: Floats) -> _Series:
    at_us = instants(hours, "last_s")
    return _Series(at_us[rows], volts[rows], hours.number("ambient_c")[rows], seconds[rows])


def _rests(hours: Hours, scale: float) -> _Series:
    """Hours of rest with the time since the last drive. An hour in which little was told counts after a quiet one."""
    drove = (np.nan_to_num(hours.number("engine_s")) > 0.0) | (np.nan_to_num(hours.number("moving_s")) > 0.0)
    at = np.arange(len(drove))
    newest_drive = np.maximum.accumulate(np.where(drove, at, -1))
    age_s = np.where(newest_drive >= 0, (hours.hour_us - hours.hour_us[newest_drive]) / S, np.inf)
    adjacent = np.append(False, np.diff(hours.hour_us) == HOUR_US)
    quiet_before = ~(adjacent & np.append(False, drove[:-1]))
    volts = np.where(
        np.isfinite(hours.number("rest_v")),
        hours.number("rest_v"),
        np.where(quiet_before, hours.number("off_v"), np.nan),
    )
    return _series(hours, np.isfinite(volts), volts / scale, age_s)


def _starts(hours: Hours, scale: float) -> _Series:
    volts = hours.number("crank_v")
    return _series(hours, np.isfinite(volts), volts / scale, np.nan_to_num(hours.number("crank_s")))


def _drives(hours: Hours, scale: float) -> _Series:
    volts, engine_s = hours.number("charge_v"), np.nan_to_num(hours.number("engine_s"))
    return _series(hours, np.isfinite(volts) & (engine_s >= _SHORTEST_DRIVE_S), volts / scale, engine_s)


def _of_battery(rests: _Series, starts: _Series, day: int) -> list[Finding]:
    """What the day adds to what was known before it."""
    reasons: list[Reason] = []
    level, score = 1, 0.0
    today = rests.at_us // DAY_US == day
    now_v: float | None = None
    if today.any():
        now_v = round(float(np.median(rests.volts[today])), 2)
        if now_v < _REST_FLAT_V and _bears_out(rests, day):
            reasons.append(Reason("battery_rests_flat", {"rest_v": now_v}))
            level, score = 2 if now_v < _REST_DEAD_V else 1, 0.9
        sinking = _sinking_rest(rests.rows(np.flatnonzero(rests.seconds <= _OLDEST_REST_S)), day)
        if sinking is not None:
            reasons.append(sinking)
            level, score = max(level, 2 if now_v < _REST_FLAT_V else 1), max(score, 0.85)
    if (starts.at_us // DAY_US == day).any():
        for reason in (_sinking_starts(starts), _weak_starts(starts)):
            if reason is not None:
                reasons.append(reason)
                score = max(score, 0.75)
    if not reasons:
        return []
    newest = max(int(series.at_us[-1]) for series in (rests, starts) if len(series.at_us))
    values = {"min_rest_v": now_v, "min_crank_v": _lowest(starts, day)}
    return [Finding("low_battery", level, score, newest, newest, newest, values, tuple(reasons))]


def _lowest(starts: _Series, day: int) -> float | None:
    today = starts.volts[starts.at_us // DAY_US == day]
    return round(float(today.min()), 2) if len(today) else None


def _bears_out(rests: _Series, day: int) -> bool:
    """Whether more than one hour of the day, or the day before, was low too: one may be a rest too short."""
    low = rests.volts[rests.at_us // DAY_US >= day - 1] < _REST_FLAT_V
    return int(low.sum()) >= 2


def _sinking_rest(rests: _Series, day: int) -> Reason | None:
    days = np.unique(rests.at_us // DAY_US)
    if len(days) < _FEWEST_DAYS or days[-1] != day or days[-1] - days[0] < _SHORTEST_SPAN_DAYS:
        return None
    volts = np.array([float(np.median(rests.volts[rests.at_us // DAY_US == one])) for one in days.tolist()])
    degrees = np.array([_middle(rests.ambient_c[rests.at_us // DAY_US == one]) for one in days.tolist()])
    lost = _lost(days.astype(np.float64), volts, degrees, _REST_COLD_V_C, _REST_SLOPE_V_DAY)
    now_v = float(np.median(volts[-3:]))
    if lost is None or not (lost >= _REST_LOST_MUCH_V or (lost >= _REST_LOST_V and now_v < _REST_HALF_V)):
        return None
    return Reason(
        "battery_rest_sinks", {"lost_v": round(lost, 2), "days": int(days[-1] - days[0]), "rest_v": round(now_v, 2)}
    )


def _sinking_starts(starts: _Series) -> Reason | None:
    days = starts.at_us / DAY_US
    if len(days) < _FEWEST_STARTS or days[-1] - days[0] < _SHORTEST_SPAN_DAYS:
        return None
    lost = _lost(days, starts.volts, starts.ambient_c, _CRANK_COLD_V_C, _CRANK_SLOPE_V_DAY)
    now_v = float(np.median(starts.volts[-_NEWEST_STARTS:]))
    if lost is None or lost < _CRANK_LOST_V or now_v >= _CRANK_LOW_V:
        return None
    return Reason("battery_starts_sink", {"lost_v": round(lost, 2), "crank_v": round(now_v, 2)})


def _weak_starts(starts: _Series) -> Reason | None:
    usual, newest = starts.volts[:-_LOW_IN_A_ROW], starts.volts[-_LOW_IN_A_ROW:]
    if len(usual) < _FEWEST_STARTS or (starts.seconds[-_LOW_IN_A_ROW:] < _LONG_CRANK_S).any():
        return None
    if newest.max() >= min(_CRANK_LOW_V, float(np.median(usual)) - _LOW_BELOW_MIDDLE_V):
        return None
    seconds = round(float(starts.seconds[-_LOW_IN_A_ROW:].min()), 1)
    return Reason("battery_starts_weak", {"crank_v": round(float(newest.max()), 2), "crank_s": seconds})


def _middle(values: Floats) -> float:
    known = values[np.isfinite(values)]
    return float(np.median(known)) if len(known) else np.nan


def _lost(days: Floats, volts: Floats, degrees: Floats, cold_v_c: float, slope_v_day: float) -> float | None:
    """Volts lost over the whole span, if they surely sink, also after taking off what the cold explains."""
    lost = np.inf
    for explained in (0.0, cold_v_c):
        warmth = np.where(np.isfinite(degrees), degrees - _middle(degrees), 0.0) if explained else np.zeros(len(days))
        trend = theil_sen(days, volts - explained * warmth)
        if trend is None or trend.high > slope_v_day:
            return None
        lost = min(lost, -trend.slope * float(days[-1] - days[0]))
    return lost


def _of_charging(drives: _Series, day: int) -> list[Finding]:
    if len(drives.volts) < _CHARGE_HOURS + _CHARGE_USUAL_HOURS or drives.at_us[-1] // DAY_US != day:
        return []
    usual, newest = drives.volts[:-_CHARGE_HOURS], drives.volts[-_CHARGE_HOURS:]
    middle = float(np.median(usual))
    if newest.max() >= min(_CHARGE_LOW_V, middle - _CHARGE_LOST_V):
        return []
    if float(np.median(newest)) < NOT_CHARGING_V:
        return []
    at_us = int(drives.at_us[-1])
    values = {"min_charge_v": round(float(newest.min()), 2)}
    told = {"charge_v": round(float(np.median(newest)), 2), "usual_v": round(middle, 2)}
    return [Finding("charging_fault", 1, 0.8, at_us, at_us, at_us, values, (Reason("charges_less", told),))]


DETECTOR: Final = BatteryTrend()
