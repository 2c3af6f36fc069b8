"""Fuel theft while somebody could still go there: the level falls while the vehicle stands, parked or idling.

What leaves the tank over more than an hour, or while the device tells nothing, is found by the hour (fuel_loss.py).
Slosh, refuelling, a sender without its supply and what idling burns are no theft.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np

from incidents import fuel_levels
from incidents.detector import Candidates, Finding, Lane, ReadsNoEvents, Reason
from incidents.detectors._surely import shown_whole
from incidents.hours import STANDING_KMH, running, standing
from incidents.rows import Rows
from incidents.window import Bools, Flags, Floats, Ints, S, Window

# 4 l of a 50 l tank: less is not worth stealing, and a vehicle that stands askew shows up to 5 % less. Judgement.
_FALL_PCT: Final = 8.0
# A level is looked at where it comes below a multiple of this, or has fallen by a step since it was last told. With the
# engine on it shakes, so the step must be that of a fall; and while the vehicle idles it is looked at every so often.
_LINE_PCT: Final = 4.0
_STEP_PCT: Final = 2.5
_STEP_RUNNING_PCT: Final = 6.0
_LOOK_US: Final = 120 * S
# A fall that ended longer ago than this was looked at then.
_JUST_NOW_S: Final = 300.0
# A level that is back within this time, in the middle of the next samples, was never gone: the sender had no contact.
_REFUTED_S: Final = 900.0
_REFUTED_BY: Final = 3

_BEFORE_S: Final = 3_600.0


@dataclass(frozen=True)
class FuelTheft(ReadsNoEvents):
    """See the module."""

    name: str = "fuel_theft"
    version: int = 2
    purpose: str = "fuel leaves the tank while the vehicle stands"
    kinds: tuple[str, ...] = ("fuel_theft",)
    lane: Lane = Lane.STREAM
    before_s: float = _BEFORE_S
    after_s: float = _REFUTED_S
    episode_gap_s: float = 1_800.0
    stale_after_s: float = 12 * 3_600.0
    columns: frozenset[str] = frozenset({"fuel_pct", "ignition", "rpm", "speed_kmh", "obd_speed_kmh"})
    streams: frozenset[str] = frozenset()
    every_s: float = 0.0
    candidates: Candidates | None = None

    def wants(self, rows: Rows) -> Bools:
        """Readings of a standing vehicle whose level has fallen by a step or below a line; some while it idles."""
        mask = rows.none
        if not rows.has("fuel_pct"):
            return mask
        fuel = rows.number("fuel_pct")
        known = np.flatnonzero(fuel_levels.usable(fuel))
        if not len(known):
            return mask
        # The level told before it; cheaper than Rows.carried, which walks through all rows.
        level, first, time_us = fuel, rows.first, rows.readings.device_time_us
        if len(known) < len(fuel):
            level, vehicle, time_us = fuel[known], rows.readings.vehicle_index[known], time_us[known]
            first = np.append(True, vehicle[1:] != vehicle[:-1])
        before = np.append(np.nan, level[:-1])
        before[first] = np.nan
        # Most rows end here: with the engine on, not much lower, and looked at a short while ago.
        engine_on = rows.flag("ignition")[known] == 1
        ticks = first | _ticks(time_us)
        maybe = np.flatnonzero(~(before - level < _STEP_RUNNING_PCT) | (~engine_on & (before > level)) | ticks)
        before, level, at, ticks = before[maybe], level[maybe], known[maybe], ticks[maybe]
        speed_kmh, ignition = rows.speed_kmh()[at], rows.flag("ignition")[at]
        # Unknown before: it may have fallen. The first row of a vehicle has nothing before it.
        fallen = _fallen(before, level) | np.isnan(before)
        wanted = (fallen & _stands(speed_kmh, ignition, before - level)) | (ticks & _idles(speed_kmh, ignition))
        mask[at] = wanted & ~rows.first[at]
        return mask

    def examine(self, window: Window) -> list[Finding]:
        """A finding for every such reading up to which enough fuel has gone."""
        fuel, time_us = window.number("fuel_pct"), window.device_time_us
        known = np.flatnonzero(fuel_levels.usable(fuel))
        if len(known) < 2:
            return []
        speed_kmh, ignition = window.speed_kmh(), window.flag("ignition")
        stands = standing(speed_kmh, ignition == 0)
        runs = running(ignition, window.number("rpm"), speed_kmh)
        before = np.append(np.nan, fuel[known][:-1])
        looked_at = _fallen(before, fuel[known]) & _stands(speed_kmh[known], ignition[known], before - fuel[known])
        looked_at |= _ticks(time_us[known]) & _idles(speed_kmh[known], ignition[known])
        looked_at &= shown_whole(window, time_us[known], _BEFORE_S, _REFUTED_S)
        found = []
        for at in known[looked_at].tolist():
            now_us = int(time_us[at])
            begin = int(np.searchsorted(time_us, now_us - round(_BEFORE_S * S)))
            seen = slice(begin, at + 1)
            time_s = (time_us[seen] - now_us) / S
            falls = fuel_levels.falls(time_s, fuel[seen], stands[seen], runs[seen], -_JUST_NOW_S)
            newest = falls[-1] if falls else None
            if newest is None or newest.fall_pct < _FALL_PCT or newest.end_s < -_JUST_NOW_S:
                continue
            after = known[(time_us[known] > now_us) & (time_us[known] <= now_us + round(_REFUTED_S * S))][:_REFUTED_BY]
            if len(after) and np.median(fuel[after]) > newest.to_pct + newest.fall_pct / 2:
                continue
            values = {
                "max_fall_pct": round(newest.fall_pct, 1),
                "max_level_pct": round(newest.from_pct, 1),
                "min_level_pct": round(newest.to_pct, 1),
            }
            told = {"from_pct": values["max_level_pct"], "to_pct": values["min_level_pct"]}
            start_us = now_us + round(newest.begin_s * S)
            reason = Reason("fuel_fell_standing", told)
            found.append(Finding("fuel_theft", 1, 0.85, now_us, start_us, now_us, values, (reason,)))
        return found


def _fallen(before: Floats, level: Floats) -> Bools:
    lines = np.floor(level / _LINE_PCT) < np.floor(before / _LINE_PCT)
    fallen: Bools = lines | (before - level >= _STEP_PCT)
    return fallen


def _stands(speed_kmh: Floats, ignition: Flags, step_pct: Floats) -> Bools:
    """Whether a fall is looked at: any with the engine off, a large one (or one of unknown size) with it on."""
    off = np.where(ignition >= 0, ignition == 0, ~(speed_kmh > STANDING_KMH))
    mask: Bools = off | (~(speed_kmh > STANDING_KMH) & ~(step_pct < _STEP_RUNNING_PCT))
    return mask


def _idles(speed_kmh: Floats, ignition: Flags) -> Bools:
    mask: Bools = (ignition == 1) & ~(speed_kmh > STANDING_KMH)
    return mask


def _ticks(time_us: Ints) -> Bools:
    """Instants that are the first of their minutes."""
    tick = time_us // _LOOK_US
    mask: Bools = np.append(False, tick[1:] != tick[:-1])[: len(tick)]
    return mask


DETECTOR: Final = FuelTheft()
