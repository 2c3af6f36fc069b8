"""Driving in the small hours, when people fall asleep at the wheel whatever they did before: circadian risk.

By the sun, not by law: the hours are those of the longitude in whole hours, because bodies keep time by light. In
western China that is two hours after the clock on the wall. Nothing is said of anybody being drowsy.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np

from incidents.detector import Candidates, Finding, Lane, Reason, Sweeps
from incidents.detectors import _spells
from incidents.window import S, Window

# docs/detection-science.md, B6: coaches do not run from 02:00 to 05:00 but for relays and short shuttles.
_SMALL_HOURS_H: Final = (2.0, 5.0)
# A drive home is no such risk; an hour's work is. For heavy vehicles, which are not to run at all, only the way to a
# place to rest is left out. Judgement.
_LASTS_S: Final = 1_800.0
_LASTS_HEAVY_S: Final = 600.0
_HOUR_S: Final = 3_600.0


@dataclass(frozen=True)
class NightDriving(Sweeps):
    """See the module."""

    name: str = "night_driving"
    version: int = 1
    purpose: str = "driving between 02:00 and 05:00 by the sun"
    kinds: tuple[str, ...] = ("night_driving",)
    lane: Lane = Lane.SWEEP
    before_s: float = 3.5 * _HOUR_S
    after_s: float = _spells.REST_S
    episode_gap_s: float = _HOUR_S
    stale_after_s: float = _HOUR_S
    columns: frozenset[str] = _spells.COLUMNS
    streams: frozenset[str] = frozenset()
    every_s: float = 300.0
    candidates: Candidates | None = Candidates.MOVING

    def examine(self, window: Window) -> list[Finding]:
        """A finding for each spell of driving that reaches far enough into the small hours."""
        needed_s = _LASTS_HEAVY_S if window.vehicle.vehicle_class == "heavy" else _LASTS_S
        found = []
        for spell in _spells.spells(window):
            lon_deg = _spells.longitude_deg(window, spell.rows)
            if lon_deg is None:
                continue
            times = window.device_time_us[spell.rows]
            hour = _spells.local_hour(times, lon_deg)
            small = np.flatnonzero((hour >= _SMALL_HOURS_H[0]) & (hour < _SMALL_HOURS_H[1]))
            for rows in np.split(small, np.flatnonzero(np.diff(small) > 1) + 1):
                if not len(rows) or times[rows[-1]] - times[rows[0]] < needed_s * S:
                    continue
                start_us, end_us = int(times[rows[0]]), int(times[rows[-1]])
                at = int(np.searchsorted(times, start_us + round(needed_s * S)))
                told = {"driven_min": round(needed_s / 60.0), "since_hour": round(float(hour[rows[0]]), 1)}
                values = {
                    "max_driven_min": round((end_us - start_us) / S / 60.0),
                    "max_at_wheel_before_min": round((start_us - int(times[0])) / S / 60.0),
                }
                reason = Reason("night_driving_small_hours", told)
                found.append(Finding("night_driving", 1, 0.9, int(times[at]), start_us, end_us, values, (reason,)))
        return found


DETECTOR = NightDriving()
