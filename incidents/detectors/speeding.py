"""Speeding: faster than the limit for some seconds, by more than the speed may be wrong.

Where several limits are known (the device's map, a fence of the operator) the lowest one holds. Each way to know one is
a function in `_LIMITS`; a road map would be another.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np

from incidents.detector import Candidates, Finding, Lane, ReadsNoEvents, Reason
from incidents.detectors import _track
from incidents.fences import FenceSet
from incidents.rows import Rows
from incidents.window import Bools, Floats, Ints, S, Window

# docs/detection-science.md, B7: tolerance for GNSS speed, at least 3 s above, gaps to 5 s merged (Damoov), two
# fixes with good accuracy, first seconds after a change of limit dropped.
_TOLERANCE_KMH: Final = 3.0
_TOLERANCE_SHARE: Final = 0.05
_LASTS_S: Final = 3.0
_MERGED_GAP_S: Final = 5.0
_AFTER_CHANGE_S: Final = 5.0
# Neighbouring readings above the limit that are no further apart show one stretch of speeding. Judgement.
_SEEN_S: Final = 30.0
# A limit holds for so long after the reading that told it. Judgement.
_LIMIT_HOLDS_S: Final = 5.0
# Beyond these a speed is not believed. Judgement.
_WORST_ACCURACY_M: Final = 30.0
_WORST_HDOP: Final = 5.0
# Bands of Chinese law, percent over the limit (section B7). The last one is urgent.
_BANDS_PCT: Final = ((50.0, ">=50"), (20.0, "20-50"), (10.0, "10-20"), (0.0, "<=10"))
_URGENT_PCT: Final = 50.0
# A limit below this is a fault of the map, not a sign at a road. Judgement.
_LEAST_LIMIT_KMH: Final = 3.0


def _limit_of_message(window: Window) -> Floats:
    """What the device says, kept for some seconds."""
    told = window.number("speed_limit_kmh")
    rows = np.flatnonzero(told >= _LEAST_LIMIT_KMH)
    if not len(rows):
        return np.full(len(window), np.nan)
    newest = np.searchsorted(rows, np.arange(len(window)), side="right") - 1
    since_us = window.device_time_us - window.device_time_us[rows[np.maximum(newest, 0)]]
    holds = (newest >= 0) & (since_us <= _LIMIT_HOLDS_S * S)
    return np.where(holds, told[rows[np.maximum(newest, 0)]], np.nan)


def _limit_of_fence(window: Window) -> Floats:
    """The lowest limit of the operator's fences that the vehicle is in."""
    limits = np.full(len(window), np.nan)
    mine = [one.concerns(window.vehicle.vehicle_id) for one in window.fences.fences]
    if any(mine):
        rows = np.flatnonzero(window.fix_mask())
        lat, lon = window.number("lat_deg")[rows], window.number("lon_deg")[rows]
        limits[rows] = _lowest_kmh(window.fences, np.array(mine), lat, lon)
    return limits


def _lowest_kmh(fences: FenceSet, mine: Bools, lat_deg: Floats, lon_deg: Floats) -> Floats:
    """The lowest limit of some fences at each point, NaN where none has one."""
    limits = np.full(len(lat_deg), np.inf)
    of_fence = np.array([one.speed_limit_kmh or np.inf for one in fences.fences])
    point, fence = fences.containing(lat_deg, lon_deg)
    np.minimum.at(limits, point, np.where(mine, of_fence, np.inf)[fence])
    lowest: Floats = np.where(np.isinf(limits), np.nan, limits)
    return lowest


# Ways to know a limit, by the name under which a finding tells its source.
_LIMITS: Final[dict[str, Callable[[Window], Floats]]] = {"message": _limit_of_message, "fence": _limit_of_fence}


@dataclass(frozen=True)
class Speeding(ReadsNoEvents):
    """See the module."""

    name: str = "speeding"
    version: int = 1
    purpose: str = "faster than the limit of the message or of a fence"
    kinds: tuple[str, ...] = ("speeding",)
    lane: Lane = Lane.STREAM
    before_s: float = 40.0
    after_s: float = 40.0
    episode_gap_s: float = _MERGED_GAP_S
    stale_after_s: float = 900.0
    columns: frozenset[str] = _track.FIX_COLUMNS | {"speed_kmh", "obd_speed_kmh", "speed_limit_kmh"}
    streams: frozenset[str] = frozenset()
    every_s: float = 0.0
    candidates: Candidates | None = None

    def wants(self, rows: Rows) -> Bools:
        """Every reading above a limit that may hold there."""
        fenced = [one.speed_limit_kmh for one in rows.fences.fences if one.speed_limit_kmh is not None]
        told = rows.has("speed_limit_kmh")
        if not rows.has("speed_kmh", "obd_speed_kmh") or not (told or fenced):
            return rows.none
        speed = rows.speed_kmh()
        mask = rows.none
        with np.errstate(invalid="ignore"):
            if told:
                limit = rows.number("speed_limit_kmh")
                limit = np.where(np.isnan(limit), rows.carried("speed_limit_kmh"), limit)
                mask = speed > limit + _tolerance_kmh(limit)
            if fenced:
                lowest = np.full(len(rows), min(fenced))
                fast = np.flatnonzero(speed > lowest + _tolerance_kmh(lowest))
                fast = fast[rows.fences.near(rows.number("lat_deg")[fast], rows.number("lon_deg")[fast])]
                lat, lon = rows.number("lat_deg")[fast], rows.number("lon_deg")[fast]
                limit = _lowest_kmh(rows.fences, np.ones(len(rows.fences), dtype=np.bool_), lat, lon)
                mask[fast] |= speed[fast] > limit + _tolerance_kmh(limit)
        return mask

    def examine(self, window: Window) -> list[Finding]:
        """One finding for each stretch above the limit."""
        speed = window.speed_kmh()
        if not len(window) or np.isnan(speed).all():
            return []
        known = {name: limit_of(window) for name, limit_of in _LIMITS.items()}
        limits = np.stack([np.where(np.isnan(limit), np.inf, limit) for limit in known.values()])
        source, limit = limits.argmin(axis=0), limits.min(axis=0)
        with np.errstate(invalid="ignore"):
            over = (speed > limit + _tolerance_kmh(limit)) & _believed(window) & _settled(window.device_time_us, limit)
        names = list(known)
        found = []
        for rows in _stretches(over, window.device_time_us):
            lasted_s = (window.device_time_us[rows[-1]] - window.device_time_us[rows[0]]) / S
            if len(rows) >= 2 and lasted_s >= _LASTS_S:
                found.append(_finding(window, rows, speed, limit, [names[at] for at in source[rows].tolist()]))
        return found


def _tolerance_kmh(limit_kmh: Floats) -> Floats:
    return np.maximum(_TOLERANCE_KMH, _TOLERANCE_SHARE * limit_kmh)


def _believed(window: Window) -> Bools:
    """Readings whose speed is good: a fix that is, or the vehicle's own sensors."""
    with np.errstate(invalid="ignore"):
        good = _track.usable(window, _WORST_ACCURACY_M) & ~(window.number("hdop") > _WORST_HDOP)
    own: Bools = np.isnan(window.number("speed_kmh")) & ~np.isnan(window.number("obd_speed_kmh"))
    return good | own


def _settled(time_us: Ints, limit_kmh: Floats) -> Bools:
    """Readings some seconds after the limit last changed. What was before the window may have been a change."""
    changes = np.append(True, limit_kmh[1:] != limit_kmh[:-1])
    since = np.maximum.accumulate(np.where(changes, np.arange(len(time_us)), 0))
    settled: Bools = time_us - time_us[since] >= _AFTER_CHANGE_S * S
    return settled


def _stretches(over: Bools, time_us: Ints) -> list[Ints]:
    """Rows above the limit, cut where the vehicle was slower for too long, or nobody knows."""
    rows = np.flatnonzero(over)
    if not len(rows):
        return []
    apart_s = np.diff(time_us[rows]) / S
    cut = np.where(np.diff(rows) == 1, apart_s > _SEEN_S, apart_s > _MERGED_GAP_S)
    return np.split(rows, np.flatnonzero(cut) + 1)


def _finding(window: Window, rows: Ints, speed: Floats, limit: Floats, sources: list[str]) -> Finding:
    over_pct = (speed[rows] / limit[rows] - 1.0) * 100.0
    # Two readings bear out a peak; a single wrong one does not.
    borne_out = np.minimum(over_pct[:-1], over_pct[1:])
    at = int(np.argmax(borne_out))
    at += int(over_pct[at + 1] == borne_out[at])
    worst_pct = round(float(over_pct[at]), 1)
    band = next(name for above, name in _BANDS_PCT if worst_pct >= above)
    row = int(rows[at])
    times = window.device_time_us[rows]
    values = {
        "limit_kmh": round(float(limit[row]), 1),
        "limit_source": sources[at],
        "peak_kmh": round(float(np.minimum(speed[rows[:-1]], speed[rows[1:]]).max()), 1),
        "over_pct": worst_pct,
        "band": band,
        "duration_s": round(float(times[-1] - times[0]) / S, 1),
    }
    told = {name: values[name] for name in ("limit_kmh", "over_pct")}
    told["speed_kmh"] = round(float(speed[row]), 1)
    return Finding(
        "speeding",
        2 if worst_pct >= _URGENT_PCT else 1,
        # Grows with the excess, so that of two parts of one episode the worse one speaks for it.
        round(0.5 + worst_pct / (worst_pct + 50.0) / 2.0, 5),
        int(times[at]),
        int(times[0]),
        int(times[-1]),
        values,
        (Reason("speeding_over_limit", told), Reason(f"speeding_limit_of_{sources[at]}")),
    )


DETECTOR = Speeding()
