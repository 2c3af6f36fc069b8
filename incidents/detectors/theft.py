"""Theft: a vehicle drives while nobody holds it, or outside of where its holder may go.

Only for vehicles whose contracts the operator keeps: without them "no contract" says nothing. A vehicle that moves with
its engine off is judged by `tow`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from incidents.detector import Candidates, Finding, Lane, ReadsNoEvents, Reason
from incidents.detectors import _excursions, _powered, _track
from incidents.detectors._track import Fixes
from incidents.fences import FenceSet
from incidents.rows import Rows
from incidents.window import Bools, Floats, Ints, S, Tenure, Window

# Slower is a vehicle being shunted in the yard, or noise of a standing receiver. Judgement.
_DRIVES_KMH: Final = 10.0
# docs/detection-science.md, B8: moved by more than 150 to 300 m, twice the accuracy at least.
_MOVED_M: Final = 300.0
# Without a position: so long at that speed. Judgement: the same way at 20 km/h.
_MOVED_S: Final = 60.0
# Keys are handed over a little before a contract begins, and brought back a little after it ends. Judgement.
_GRACE_US: Final = 900 * S
# A fence of a contract is left when fixes are further outside than this, and twice their accuracy. Judgement: its
# border is a wish, not a wall.
_OUTSIDE_M: Final = 150.0
_WORST_ACCURACY_M: Final = 50.0
# Parts of one drive: longer stops begin another. Judgement.
_STOP_US: Final = 300 * S


@dataclass(frozen=True)
class Theft(ReadsNoEvents):
    """See the module."""

    name: str = "theft"
    version: int = 1
    purpose: str = "driving without a contract, or outside the fences of one"
    kinds: tuple[str, ...] = ("theft",)
    lane: Lane = Lane.STREAM
    before_s: float = 600.0
    after_s: float = 60.0
    episode_gap_s: float = 1_800.0
    stale_after_s: float = 6 * 3_600.0
    columns: frozenset[str] = _track.TRACK_COLUMNS | _powered.ENGINE_COLUMNS
    streams: frozenset[str] = frozenset()
    every_s: float = 0.0
    candidates: Candidates | None = None

    def wants(self, rows: Rows) -> Bools:
        """Every reading of a drive that no contract covers, or whose contract has fences it is not in."""
        mask = rows.none
        if not any(one.keeps_contracts for one in rows.vehicles.values()):
            return mask
        with np.errstate(invalid="ignore"):
            drives = np.flatnonzero((rows.speed_kmh() >= _DRIVES_KMH) & (rows.flag("ignition") != 0))
        index, times = rows.readings.vehicle_index[drives], rows.readings.device_time_us[drives]
        for part in np.split(np.arange(len(drives)), np.flatnonzero(np.diff(index)) + 1):
            vehicle = rows.vehicles.get(rows.readings.vehicles[int(index[part[0]])]) if len(part) else None
            if vehicle is None or not vehicle.keeps_contracts:
                continue
            fenced = [one for one in vehicle.tenures if one.fence_ids]
            free = ~_covered(vehicle.tenures, times[part])
            if fenced:
                at = drives[part]
                inside = _inside(rows.fences, fenced, rows.number("lat_deg")[at], rows.number("lon_deg")[at])
                free |= _covered(fenced, times[part]) & ~inside
            mask[drives[part[free]]] = True
        return mask

    def examine(self, window: Window) -> list[Finding]:
        """One finding for each drive without a contract, and for each outside of its fences."""
        if not window.vehicle.keeps_contracts or not len(window):
            return []
        with np.errstate(invalid="ignore"):
            drives = (window.speed_kmh() >= _DRIVES_KMH) & (window.flag("ignition") != 0)
        if not drives.any():
            return []
        fixes = _track.fixes(window, _WORST_ACCURACY_M)
        fixes = fixes.take(~_excursions.strayed(fixes).elsewhere)
        free = drives & ~_covered(window.vehicle.tenures, window.device_time_us)
        found = [
            _finding(window, rows, 0.9, _unheld(window, rows))
            for rows in _track.groups(free, window.device_time_us, _STOP_US)
            if _went_away(window, fixes, rows)
        ]
        found += _out_of_fences(window, fixes, drives)
        return sorted(found, key=lambda one: one.start_us)


def _covered(tenures: Sequence[Tenure], time_us: Ints) -> Bools:
    """Times at which somebody holds the vehicle, or is about to, or has just held it."""
    covered = np.zeros(len(time_us), dtype=np.bool_)
    for one in tenures:
        since = time_us >= one.from_us - _GRACE_US
        covered |= since if one.until_us is None else since & (time_us <= one.until_us + _GRACE_US)
    return covered


def _inside(fences: FenceSet, tenures: Sequence[Tenure], lat_deg: Floats, lon_deg: Floats) -> Bools:
    """Points inside some fence of the tenures; where there is no point nobody knows that it is outside."""
    inside: Bools = np.isnan(lat_deg)
    known = np.flatnonzero(~inside)
    mine = np.array(
        [one.fence_id in {name for tenure in tenures for name in tenure.fence_ids} for one in fences.fences]
    )
    if not mine.any():
        return np.ones(len(lat_deg), dtype=np.bool_)
    point, fence = fences.containing(lat_deg[known], lon_deg[known])
    inside[known[point[mine[fence]]]] = True
    return inside


def _went_away(window: Window, fixes: Fixes, rows: Ints) -> bool:
    """Whether a drive led further away than fixes may be wrong, or without fixes lasted long enough to."""
    mine = fixes.take(np.isin(fixes.rows, rows))
    if len(mine) < 2:
        return bool(window.device_time_us[rows[-1]] - window.device_time_us[rows[0]] >= _MOVED_S * S)
    apart_m = _track.apart_m(mine.lat_deg[0], mine.lon_deg[0], mine.lat_deg, mine.lon_deg)
    return bool((apart_m >= np.maximum(_MOVED_M, 2.0 * (mine.accuracy_m + mine.accuracy_m[0]))).any())


def _out_of_fences(window: Window, fixes: Fixes, drives: Bools) -> list[Finding]:
    """Drives outside of all fences of the contract that holds then."""
    found = []
    for tenure in window.vehicle.tenures:
        mine = [window.fences.by_id[name] for name in tenure.fence_ids if name in window.fences.by_id]
        if not mine:
            continue
        lat, lon = fixes.lat_deg, fixes.lon_deg
        beyond_m = np.min([window.fences.distance_m(fence, lat, lon) for fence in mine], axis=0)
        holds = (fixes.time_us >= tenure.from_us) & (fixes.time_us <= (tenure.until_us or np.iinfo(np.int64).max))
        out = holds & drives[fixes.rows] & (beyond_m > np.maximum(_OUTSIDE_M, 2.0 * fixes.accuracy_m))
        for part in _track.groups(out, fixes.time_us, _STOP_US):
            # A fix or two may be wrong; a drive is not.
            if len(part) < 3:
                continue
            told = {"fences": ", ".join(fence.name for fence in mine), "beyond_m": round(float(beyond_m[part[0]]))}
            finding = _finding(window, fixes.rows[part], 0.8, Reason("theft_out_of_fence", told))
            found.append(finding)
    return found


def _unheld(window: Window, rows: Ints) -> Reason:
    """That nobody holds the vehicle, and since when."""
    begin_us = int(window.device_time_us[rows[0]])
    ends = [one.until_us for one in window.vehicle.tenures if one.until_us is not None and one.until_us <= begin_us]
    if not ends:
        return Reason("theft_without_contract")
    return Reason("theft_after_contract", {"since_h": round((begin_us - max(ends)) / S / 3600.0, 1)})


def _finding(window: Window, rows: Ints, score: float, reason: Reason) -> Finding:
    speed = window.speed_kmh()[rows]
    start_us, end_us = int(window.device_time_us[rows[0]]), int(window.device_time_us[rows[-1]])
    values = {
        "max_speed_kmh": round(float(speed.max()), 1),
        "ignition": bool(window.flag("ignition")[rows[0]] == 1) if window.flag("ignition")[rows[0]] >= 0 else None,
        "duration_s": round((end_us - start_us) / S, 1),
    }
    return Finding("theft", 2, score, start_us, start_us, end_us, values, (reason,))


DETECTOR = Theft()
