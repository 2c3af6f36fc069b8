"""Geofences: a vehicle comes in, goes out, or went through between two fixes.

See _fence_sides for what is a crossing and what is the drift of a fix. How long it stays is judged by geofence_dwell.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
import shapely

from incidents.detector import Candidates, Finding, Lane, ReadsNoEvents, Reason
from incidents.detectors import _fence_sides, _track
from incidents.detectors._fence_sides import INSIDE, Stay
from incidents.detectors._track import Fixes
from incidents.fences import Fence, FenceSet
from incidents.rows import Rows
from incidents.window import Bools, Floats, S, Window

# A gate opens for fixes this close to a border: no fix that is used can leave the side open from further away.
_BORDER_M: Final = _fence_sides.WORST_ACCURACY_M + 10.0
# A vehicle whose fix moved less than this since the last one crosses nothing that is not drift.
_MOVED_M: Final = _fence_sides.CLEAR_M
# Half of what `FenceSet.near` reaches beyond a fence.
_FAR_DEG: Final = 0.005
# Two fixes outside may have a fence between them if they are this far apart, not too long after each other, and the
# vehicle went straight: the speeds told leave no time for a longer way and its headings agree with this one. Judgement:
# otherwise a road around the fence is as likely.
_SPARSE_M: Final = 100.0
_SPARSE_S: Final = 300.0
_STRAIGHT_SHARE: Final = 0.25
_STRAIGHT_DEG: Final = 30.0
# Without speed and heading only fixes this close in time.
_UNTOLD_S: Final = 30.0
# What is seen before a fix: two heartbeats of a parked unit, five minutes apart at most, and where it stood. Judgement.
_SEEN_S: Final = 720.0
# Points on a line at which the depth of a crossing is looked at.
_LINE_POINTS: Final = 64


@dataclass(frozen=True)
class Geofence(ReadsNoEvents):
    """See the module."""

    name: str = "geofence"
    version: int = 2
    purpose: str = "a vehicle enters or leaves a fence"
    kinds: tuple[str, ...] = ("geofence_entry", "geofence_exit")
    lane: Lane = Lane.STREAM
    before_s: float = _SEEN_S
    after_s: float = 30.0
    episode_gap_s: float = 0.0
    stale_after_s: float = 3_600.0
    columns: frozenset[str] = _fence_sides.COLUMNS
    streams: frozenset[str] = frozenset()
    every_s: float = 0.0
    candidates: Candidates | None = None

    def wants(self, rows: Rows) -> Bools:
        """Fixes that moved and lie near a border, on another side than the one before, or far from it with a fence in
        between; and of a vehicle that stands also the fix after each of these, which bears it out."""
        mask = rows.none
        if not len(rows.fences) or not rows.has("lat_deg"):
            return mask
        fix = np.flatnonzero(np.isfinite(rows.number("lat_deg")) & (rows.flag("fix_valid") != 0))
        lat, lon = rows.number("lat_deg")[fix], rows.number("lon_deg")[fix]
        near = rows.fences.near(lat, lon)
        # Far from all fences on both ends, and yet one in between: only a long way can.
        same = np.append(False, np.diff(rows.readings.vehicle_index[fix]) == 0)[: len(fix)]
        apart = (np.abs(np.diff(lat)) > _FAR_DEG) | (np.abs(np.diff(lon)) > _FAR_DEG)
        if not near.any() and not (apart & same[1:]).any():
            return mask
        came_m = np.append(np.inf, _track.steps_m(lat, lon))
        came_m[~same] = np.inf
        with np.errstate(invalid="ignore"):
            moved = (came_m >= _MOVED_M) | ~(rows.speed_kmh()[fix] < _track.STANDS_KMH)
        close = np.flatnonzero(near & moved)
        far = np.flatnonzero(same & (came_m >= _SPARSE_M))
        close = close[rows.fences.bordering(lat[close], lon[close], _BORDER_M)]
        mask[fix[close]] = True
        far = far[rows.fences.crossed(lat[far - 1], lon[far - 1], lat[far], lon[far])]
        mask[fix[far]] = True
        with np.errstate(invalid="ignore"):
            next_one = (
                np.append(False, mask[fix][:-1])[: len(fix)] & same & ~(rows.speed_kmh()[fix] >= _track.STANDS_KMH)
            )
        mask[fix[next_one]] = True
        return mask

    def examine(self, window: Window) -> list[Finding]:
        """Crossings of each fence near the vehicle."""
        fixes = _fence_sides.track(window)
        found = []
        for fence in _fence_sides.fences_near(window, fixes):
            if fence.rules & {"entry", "exit"}:
                beyond_m = window.fences.distance_m(fence, fixes.lat_deg, fixes.lon_deg)
                found += _crossings(fixes, fence, _fence_sides.stays(fixes, beyond_m))
                found += _passed_through(fixes, window.fences, fence, beyond_m)
        return sorted(found, key=lambda one: (one.start_us, one.at_us, one.subject))


def _crossings(fixes: Fixes, fence: Fence, stays: list[Stay]) -> list[Finding]:
    found = []
    for stay in stays:
        if stay.before is None:
            continue
        came_in = stay.side == INSIDE
        times_us = tuple(fixes.time_us[[stay.before, stay.first, stay.told]].tolist())
        speed = float(fixes.speed_kmh[stay.first])
        told_kmh = None if np.isnan(speed) else round(speed, 1)
        reason = Reason("geofence_entered" if came_in else "geofence_left", {"fence": fence.name})
        finding = _finding(fence, came_in, 0.95, times_us, speed_kmh=told_kmh, reason=reason)
        found += [finding] if finding is not None else []
    return found


def _passed_through(fixes: Fixes, fences: FenceSet, fence: Fence, beyond_m: Floats) -> list[Finding]:
    """Entry and exit of a fence that lies between two fixes outside of it."""
    if len(fixes) < 2:
        return []
    apart_m, took_s = _track.steps_m(fixes.lat_deg, fixes.lon_deg), np.diff(fixes.time_us) / S
    clear_m = np.maximum(fixes.accuracy_m, _fence_sides.CLEAR_M)
    outside = beyond_m > 0.0
    rows = np.flatnonzero(outside[1:] & outside[:-1] & (apart_m >= _SPARSE_M) & (took_s <= _SPARSE_S))
    found: list[Finding] = []
    for row in rows.tolist():
        ends = [(fixes.lon_deg[at], fixes.lat_deg[at]) for at in (row, row + 1)]
        if not shapely.intersects(fence.area, shapely.linestrings(ends)):
            continue
        share = np.linspace(0.0, 1.0, _LINE_POINTS)
        lon, lat = ((1 - share) * ends[0][at] + share * ends[1][at] for at in (0, 1))
        depth_m = -fences.distance_m(fence, lat, lon)
        if depth_m.max() <= max(clear_m[row], clear_m[row + 1]) or not _went_straight(fixes, row, apart_m[row]):
            continue
        within = np.flatnonzero(depth_m >= 0.0)
        start_us, end_us = int(fixes.time_us[row]), int(fixes.time_us[row + 1])
        reason = Reason(
            "geofence_crossed_between_fixes",
            {"fence": fence.name, "apart_m": round(float(apart_m[row])), "apart_s": round(float(took_s[row]), 1)},
        )
        for came_in, at in ((True, within[0]), (False, within[-1])):
            at_us = start_us + round((end_us - start_us) * float(share[at]))
            finding = _finding(fence, came_in, 0.6, (start_us, at_us, end_us), speed_kmh=None, reason=reason)
            found += [finding] if finding is not None else []
    return found


def _went_straight(fixes: Fixes, row: int, apart_m: float) -> bool:
    """Whether the vehicle can have gone straight from one fix to the next, and hardly otherwise."""
    took_s = (fixes.time_us[row + 1] - fixes.time_us[row]) / S
    speed_mps = fixes.speed_kmh[row : row + 2] / 3.6
    heading = fixes.heading_deg[row : row + 2]
    if np.isnan(speed_mps).any():
        return bool(took_s <= _UNTOLD_S)
    # A shorter way than this there is not, so speeds too low for it say only that it was faster in between: it pulled
    # up or set off. Speeds that are too high say that it went another way.
    if float(speed_mps.mean()) * took_s > (1.0 + _STRAIGHT_SHARE) * apart_m:
        return False
    bearing = _track.bearing_deg(fixes.lat_deg[row], fixes.lon_deg[row], fixes.lat_deg[row + 1], fixes.lon_deg[row + 1])
    if np.isnan(heading).any():
        return bool(took_s <= _UNTOLD_S)
    return bool((_track.turned_deg(heading, bearing) <= _STRAIGHT_DEG).all())


def _finding(
    fence: Fence, came_in: bool, score: float, times_us: tuple[int, ...], *, speed_kmh: float | None, reason: Reason
) -> Finding | None:
    """A crossing, unless it is none of the fence's rules. Times: the fix before, the crossing, the fix that told."""
    if ("entry" if came_in else "exit") not in fence.rules:
        return None
    start_us, at_us, end_us = times_us
    return Finding(
        "geofence_entry" if came_in else "geofence_exit",
        fence.level,
        score,
        at_us,
        start_us,
        end_us,
        {"fence_id": fence.fence_id, "fence": fence.name, "speed_kmh": speed_kmh},
        (reason,),
        subject=fence.fence_id,
    )


DETECTOR = Geofence()
