"""Odometer rollback: the counter shows less than it has shown, and goes on from there.

A counter that begins again near zero, or falls when the device was exchanged, is another counter; a single wrong value
is a glitch. Neither is a rollback. Works on facts of hours.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np

from incidents.detector import Candidates, Finding, Lane, Reason, Sweeps
from incidents.detectors._hourly import DAY_S, hours_in
from incidents.detectors._surely import shown_whole
from incidents.hours import HOUR_US
from incidents.window import Floats, Hours, S, Window

# Rounding (0.1 to 1 km), two counters that take turns (CAN and GNSS) and their drift stay below this. Judgement.
_NOISE_KM: Final = 5.0
_NOISE_SHARE: Final = 0.0005
# A counter that shows less than this, or less than this share of before, began anew. Judgement.
_ANEW_KM: Final = 200.0
_ANEW_SHARE: Final = 0.02
# Nobody drives further in an hour: a counter that leaps ahead and comes back was wrong, not set back.
_FASTEST_KMH: Final = 200.0
# Back where it was within this time: the low values were wrong.
_REFUTED_S: Final = 1 * DAY_S
_LONGEST_UNSEEN_S: Final = 30 * DAY_S


@dataclass(frozen=True)
class Odometer(Sweeps):
    """See the module."""

    name: str = "odometer"
    version: int = 1
    purpose: str = "odometer set back"
    kinds: tuple[str, ...] = ("odometer_rollback",)
    lane: Lane = Lane.SWEEP
    before_s: float = _LONGEST_UNSEEN_S + DAY_S
    after_s: float = _REFUTED_S
    episode_gap_s: float = 2 * 3_600.0
    stale_after_s: float = 7 * DAY_S
    columns: frozenset[str] = frozenset()
    streams: frozenset[str] = frozenset()
    every_s: float = 3_600.0
    candidates: Candidates | None = Candidates.HOURLY

    def examine(self, window: Window) -> list[Finding]:
        """A finding for every hour in which the counter was set back."""
        hours = hours_in(window)
        first, last = hours.number("odometer_first_km"), hours.number("odometer_last_km")
        known = np.flatnonzero(np.isfinite(first) & np.isfinite(last)).tolist()
        found = []
        seen_km = hours.number("odometer_fall_km")
        judged = shown_whole(window, hours.hour_us, _LONGEST_UNSEEN_S, _REFUTED_S)
        for place, row in enumerate(known):
            if not judged[row]:
                continue
            before = _before(hours, last, known[:place], row)
            shown_km = float(first[row])
            if before is not None:
                shown_km = float(last[before])
                if _plausible(hours, before, row, float(first[row]) - shown_km):
                    shown_km = max(shown_km, float(first[row]))
            shows_km = float(last[row])
            fallen_km = shown_km - shows_km
            if fallen_km < max(_NOISE_KM, _NOISE_SHARE * shown_km):
                continue
            if shows_km < max(_ANEW_KM, _ANEW_SHARE * shown_km) or _exchanged(hours, before, row):
                continue
            until_us = hours.hour_us[row] + round(_REFUTED_S * S)
            later = [after for after in known[place + 1 :] if hours.hour_us[after] < until_us]
            if any(float(last[after]) >= shown_km - _NOISE_KM for after in later):
                continue
            found.append(_finding(hours, row, shown_km, shows_km, within=bool(seen_km[row] >= fallen_km / 2)))
        return found


def _before(hours: Hours, last: Floats, earlier: list[int], row: int) -> int | None:
    """The hour that the counter is held against: the newest known, or the one before where that one leapt ahead."""
    near = [at for at in earlier[-2:] if hours.hour_us[row] - hours.hour_us[at] <= _LONGEST_UNSEEN_S * S]
    if len(near) == 2 and not _plausible(hours, near[0], near[1], float(last[near[1]] - last[near[0]])):
        return near[0]
    return near[-1] if near else None


def _plausible(hours: Hours, before: int, row: int, driven_km: float) -> bool:
    apart_h = (hours.hour_us[row] - hours.hour_us[before]) / HOUR_US + 1.0
    return bool(driven_km <= _FASTEST_KMH * apart_h)


def _exchanged(hours: Hours, before: int | None, row: int) -> bool:
    """Whether the device's own counter of boots fell as well: it is another device."""
    earlier = hours.number("boot_first")[row] if before is None else hours.number("boot_last")[before]
    return bool(hours.number("boot_last")[row] < earlier)


def _finding(hours: Hours, row: int, shown_km: float, shows_km: float, *, within: bool) -> Finding:
    # In this hour where the hour shows it, else since its first reading.
    seconds = hours.number("odometer_fall_s" if within else "first_s")[row]
    at_us = int(hours.hour_us[row]) + round(float(np.nan_to_num(seconds)) * S)
    values = {
        "max_shown_km": round(shown_km, 1),
        "min_shown_km": round(shows_km, 1),
        "max_fallen_km": round(shown_km - shows_km, 1),
    }
    told = {"from_km": values["max_shown_km"], "to_km": values["min_shown_km"]}
    return Finding("odometer_rollback", 1, 0.9, at_us, at_us, at_us, values, (Reason("odometer_set_back", told),))


DETECTOR: Final = Odometer()
