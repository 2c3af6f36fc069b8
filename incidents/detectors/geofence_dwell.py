"""A vehicle stays in a fence for longer than the fence allows.

Told once a stay, at the first fix after the time is over; when the vehicle leaves is told by geofence.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np

from incidents.detector import Candidates, Finding, Lane, ReadsNoEvents, Reason
from incidents.detectors import _fence_sides
from incidents.detectors._fence_sides import INSIDE
from incidents.rows import Rows
from incidents.window import Bools, S, Window

# Longest stay that can be told: a longer one would need more than a window. Judgement.
_LONGEST_S: Final = 6 * 3_600.0
# How often a vehicle inside is looked at.
_LOOK_US: Final = 60 * S
# What is seen before the longest stay, so that its beginning is seen.
_MARGIN_S: Final = 300.0
# A first fix no later than this after the begin of the window was hardly the first of the stay.
_BEGUN_UNSEEN_S: Final = 120.0


@dataclass(frozen=True)
class GeofenceDwell(ReadsNoEvents):
    """See the module."""

    name: str = "geofence_dwell"
    version: int = 2
    purpose: str = "a vehicle stays in a fence for longer than it may"
    kinds: tuple[str, ...] = ("geofence_dwell",)
    lane: Lane = Lane.STREAM
    before_s: float = _LONGEST_S + _MARGIN_S
    after_s: float = 30.0
    episode_gap_s: float = 2.5 * _LOOK_US / S
    stale_after_s: float = 3_600.0
    columns: frozenset[str] = _fence_sides.COLUMNS
    streams: frozenset[str] = frozenset()
    every_s: float = 0.0
    candidates: Candidates | None = None

    def wants(self, rows: Rows) -> Bools:
        """The first fix of each minute of a vehicle inside a fence with such a rule."""
        timed = np.array([fence.dwell_s is not None and "dwell" in fence.rules for fence in rows.fences.fences])
        if not timed.any() or not rows.has("lat_deg"):
            return rows.none
        lat, lon = rows.number("lat_deg"), rows.number("lon_deg")
        fixes = np.flatnonzero(np.isfinite(lat) & (rows.flag("fix_valid") != 0))
        vehicle, minute = rows.readings.vehicle_index[fixes], rows.readings.device_time_us[fixes] // _LOOK_US
        first = np.append(True, (vehicle[1:] != vehicle[:-1]) | (minute[1:] != minute[:-1]))[: len(fixes)]
        fixes = fixes[first]
        fixes = fixes[rows.fences.near(lat[fixes], lon[fixes])]
        point, fence = rows.fences.containing(lat[fixes], lon[fixes])
        mask = rows.none
        mask[fixes[point[timed[fence]]]] = True
        return mask

    def examine(self, window: Window) -> list[Finding]:
        """One finding for each stay that became too long."""
        fixes = _fence_sides.track(window)
        found = []
        for fence in _fence_sides.fences_near(window, fixes):
            if "dwell" not in fence.rules or fence.dwell_s is None or fence.dwell_s > _LONGEST_S:
                continue
            beyond_m = window.fences.distance_m(fence, fixes.lat_deg, fixes.lon_deg)
            for stay in _fence_sides.stays(fixes, beyond_m):
                if stay.side != INSIDE:
                    continue
                start_us = int(fixes.time_us[stay.first])
                if stay.before is None and start_us - window.from_us < _BEGUN_UNSEEN_S * S:
                    continue
                over = int(np.searchsorted(fixes.time_us, start_us + round(fence.dwell_s * S)))
                if over > stay.last:
                    continue
                at_us = int(fixes.time_us[over])
                told = {"fence": fence.name, "allowed_s": float(fence.dwell_s)}
                found.append(
                    Finding(
                        "geofence_dwell",
                        fence.level,
                        0.95,
                        at_us,
                        start_us,
                        at_us,
                        {"fence_id": fence.fence_id, "fence": fence.name, "allowed_s": float(fence.dwell_s)},
                        (Reason("geofence_stayed", told),),
                        subject=fence.fence_id,
                    )
                )
        return sorted(found, key=lambda one: (one.start_us, one.at_us, one.subject))


DETECTOR = GeofenceDwell()
