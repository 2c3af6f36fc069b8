"""Tow: a vehicle moves away with its engine off, as on a truck or a hook.

A ferry moves it too, a jack tilts it, and the fix of a parked receiver drifts. So it must have gone a long way, and
something must speak for a road: it was lifted before or hangs tilted on its way, the device says so itself, or it
speeds up, brakes and turns as no ship does.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np

from fleet_core import topics
from incidents.detector import Candidates, Finding, Lane, Reason
from incidents.detectors import _excursions, _lifts, _powered, _track
from incidents.detectors._track import Fixes
from incidents.rows import Rows
from incidents.window import Bools, Event, Ints, S, Window

# Slower is drift, or people pushing. Judgement.
_MOVES_KMH: Final = 8.0
# docs/detection-science.md, B8: moved by more than 150 to 300 m with the ignition off, twice the accuracy at
# least.
_MOVED_M: Final = 200.0
_WORST_ACCURACY_M: Final = 50.0
# Stops at signals and at the roadside belong to the same journey. Judgement.
_STOP_US: Final = 300 * S
# Two readings that move and have none that stands between them are one journey up to here: a parked unit that knows
# nothing of its being carried reports every 5 minutes or so. Judgement.
_SILENT_US: Final = 900 * S
# What is seen before a reading: a wait on the hook and several such reports of how it stood before. Judgement.
_SEEN_S: Final = 2_400.0
# A road: a ferry gains speed at less than 0.15 m/s2 and turns at 1 to 2 degrees a second. Three such changes, because
# the begin and the end of a crossing may be seen as jumps. Judgement.
_ROAD_MPS2: Final = 0.4
_ROAD_OVER_S: Final = 5.0
_TURN_DEG: Final = 35.0
_TURN_OVER_S: Final = 8.0
# Between readings further apart the mean is taken, in which noise is little: twice what a ferry gains and half as much
# again as it turns are enough. Judgement.
_SPARSE_ROAD_MPS2: Final = 0.3
_SPARSE_TURN_DPS: Final = 3.0
_ROAD_SIGNS: Final = 3
# Faster than a car ferry.
_NO_FERRY_KMH: Final = 55.0
# An alarm of the device belongs to a journey that begins so soon after it, or is under way.
_ALARM_US: Final = 900 * S
# Contracts under which a vehicle is expected to be moved.
_EXPECTED: Final = frozenset({"tow", "workshop"})


@dataclass(frozen=True)
class Tow:
    """See the module."""

    name: str = "tow"
    version: int = 2
    purpose: str = "moving away with the engine off"
    kinds: tuple[str, ...] = ("tow",)
    lane: Lane = Lane.STREAM
    before_s: float = _SEEN_S
    after_s: float = 60.0
    episode_gap_s: float = 900.0
    stale_after_s: float = 6 * 3_600.0
    columns: frozenset[str] = _track.TRACK_COLUMNS | _powered.ENGINE_COLUMNS | _lifts.COLUMNS | {"gyro_z_dps"}
    streams: frozenset[str] = frozenset({topics.ALARM})
    every_s: float = 0.0
    candidates: Candidates | None = None

    def wants(self, rows: Rows) -> Bools:
        """Every reading that moves with the ignition off."""
        if not rows.has("ignition"):
            return rows.none
        off = rows.flag("ignition") == 0
        if not off.any():
            return rows.none
        with np.errstate(invalid="ignore"):
            mask: Bools = off & (rows.number("speed_kmh") >= _MOVES_KMH)
        return mask

    def wants_event(self, event: Event) -> bool:
        """The device's own alarm."""
        return event.stream == topics.ALARM and event.kind == "tow"

    def examine(self, window: Window) -> list[Finding]:
        """A finding for each journey with the engine off, and one for each alarm of the device without one."""
        alarms = [event.occurred_us for event in window.of(topics.ALARM) if event.kind == "tow"]
        found = [finding for at in alarms if (finding := _of_alarm(window, at)) is not None]
        with np.errstate(invalid="ignore"):
            moves = (window.flag("ignition") == 0) & (window.number("speed_kmh") >= _MOVES_KMH)
        if moves.any():
            fixes = _track.fixes(window, _WORST_ACCURACY_M)
            fixes = fixes.take(~_excursions.strayed(fixes).elsewhere)
            for rows in _journeys(window, moves & ~_powered.engine_shows(window)):
                finding = _of_journey(window, fixes, rows, alarms)
                found += [finding] if finding is not None else []
        return sorted(found, key=lambda one: (one.start_us, one.at_us))


def _journeys(window: Window, moves: Bools) -> list[Ints]:
    """Rows that move, cut at long stops, at long silence and where the ignition came on."""
    rows = np.flatnonzero(moves)
    times, on = window.device_time_us, np.cumsum(window.flag("ignition") == 1)
    one, other = rows[:-1], rows[1:]
    stood_us = np.where(other - one > 1, times[other - 1] - times[np.minimum(one + 1, other)], 0)
    cut = (stood_us > _STOP_US) | (times[other] - times[one] > _SILENT_US) | (on[other] != on[one])
    return [part for part in np.split(rows, np.flatnonzero(cut) + 1) if len(part)]


def _of_journey(window: Window, fixes: Fixes, rows: Ints, alarms: list[int]) -> Finding | None:
    start_us, end_us = int(window.device_time_us[rows[0]]), int(window.device_time_us[rows[-1]])
    mine = fixes.take((fixes.time_us >= start_us) & (fixes.time_us <= end_us))
    if len(mine) < 2 or _expected(window, start_us):
        return None
    apart_m = _track.apart_m(mine.lat_deg[0], mine.lon_deg[0], mine.lat_deg, mine.lon_deg)
    far = np.flatnonzero(apart_m >= np.maximum(_MOVED_M, 2.0 * (mine.accuracy_m + mine.accuracy_m[0])))
    if not len(far):
        return None
    at_us = int(mine.time_us[far[0]])
    lift, hangs = _lifts.before(window, start_us), _lifts.on_the_way(window, start_us, end_us)
    alarmed = any(start_us - _ALARM_US <= at <= end_us for at in alarms)
    signs = _road_signs(mine)
    fastest = float(np.nanmax(mine.speed_kmh))
    witnesses = [lift is not None or hangs is not None, alarmed, signs >= _ROAD_SIGNS or fastest >= _NO_FERRY_KMH]
    if not any(witnesses):
        return None
    tilts = [one for one in (lift, hangs) if one is not None]
    start_us = min([start_us, *(one.since_us for one in tilts)])
    reasons = [Reason("tow_moved_engine_off", {"moved_m": round(float(apart_m[far[0]]))})]
    if lift is not None:
        reasons.append(Reason("tow_lifted", {"tilt_deg": lift.tilt_deg}))
    if hangs is not None:
        reasons.append(Reason("tow_hangs_tilted", {"tilt_deg": hangs.tilt_deg}))
    if alarmed:
        reasons.append(Reason("tow_alarm"))
    if witnesses[2]:
        reasons.append(Reason("tow_by_road"))
    values = {
        "max_moved_m": round(float(apart_m.max())),
        "max_speed_kmh": round(fastest, 1),
        "max_tilt_deg": max((one.tilt_deg for one in tilts), default=None),
        "ignition": False,
    }
    return Finding("tow", 2, round(0.7 + 0.1 * sum(witnesses), 2), at_us, start_us, end_us, values, tuple(reasons))


def _of_alarm(window: Window, at_us: int) -> Finding | None:
    """What the device says, unless its engine runs or the vehicle is expected to be moved."""
    row = int(np.searchsorted(window.device_time_us, at_us, side="right")) - 1
    if _expected(window, at_us) or (row >= 0 and window.flag("ignition")[row] == 1):
        return None
    values = {"max_moved_m": None, "max_speed_kmh": None, "max_tilt_deg": None, "ignition": None}
    return Finding("tow", 1, 0.5, at_us, at_us, at_us, values, (Reason("tow_alarm"),))


def _expected(window: Window, at_us: int) -> bool:
    return any(
        one.kind in _EXPECTED and one.from_us <= at_us and (one.until_us is None or at_us <= one.until_us)
        for one in window.vehicle.tenures
    )


def _road_signs(fixes: Fixes) -> int:
    """How often a journey gained or lost speed, or turned, as only a road vehicle does."""
    speed_mps = fixes.speed_kmh / 3.6
    signs, since_us = 0, -1
    # Each against the earliest within some seconds, or the one before where readings are sparse.
    last = np.maximum(np.arange(len(fixes)) - 1, 0)
    before = np.minimum(np.searchsorted(fixes.time_us, fixes.time_us - round(_ROAD_OVER_S * S)), last)
    turned = np.minimum(np.searchsorted(fixes.time_us, fixes.time_us - round(_TURN_OVER_S * S)), last)
    for row, (one, two) in enumerate(zip(before.tolist(), turned.tolist(), strict=True)):
        took_s, over_s = ((fixes.time_us[row] - fixes.time_us[other]) / S for other in (one, two))
        least_mps2 = _ROAD_MPS2 if took_s <= _ROAD_OVER_S else _SPARSE_ROAD_MPS2
        least_mps = max(least_mps2 * took_s, _ROAD_MPS2 * _ROAD_OVER_S)
        gained = took_s >= 2.0 and abs(speed_mps[row] - speed_mps[one]) >= least_mps
        moving = min(fixes.speed_kmh[row], fixes.speed_kmh[two]) >= _MOVES_KMH
        least_deg = max(_TURN_DEG, _SPARSE_TURN_DPS * over_s)
        turns = moving and _track.turned_deg(fixes.heading_deg[row], fixes.heading_deg[two]) >= least_deg
        if (gained or turns) and fixes.time_us[row] >= since_us:
            signs += 1
            since_us = int(fixes.time_us[row]) + round(2 * _ROAD_OVER_S * S)
    return signs


DETECTOR = Tow()
