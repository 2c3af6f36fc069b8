"""Tow: a vehicle moves away with its engine off, as on a truck or a hook.

A ferry moves it too, a jack tilts it, and the fix of a parked receiver drifts. So it must have gone a long way, and
something must speak for a road: it was lifted before, the device says so itself, or it speeds up, brakes and turns as
no ship does.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np

from fleet_core import topics
from incidents.detector import Candidates, Finding, Lane, Reason
from incidents.detectors import _excursions, _powered, _track
from incidents.detectors._track import Fixes
from incidents.rows import Rows
from incidents.window import Bools, Event, Floats, Ints, S, Window

# Slower is drift, or people pushing. Judgement.
_MOVES_KMH: Final = 8.0
# Reference of detection, section B8: moved by more than 150 to 300 m with the ignition off, twice the accuracy at
# least.
_MOVED_M: Final = 200.0
_WORST_ACCURACY_M: Final = 50.0
# Stops at signals and at the roadside belong to the same journey. Judgement.
_STOP_US: Final = 300 * S
# Lift: 3 to 15 degrees within 10 to 60 s (section A4), held for some seconds; common settings are 5 degrees (B8). Seen
# against how it stood before. Judgement: a little less than 3, for noise.
_LIFT_DEG: Final = 2.5
_LIFT_HELD_US: Final = 8 * S
_STOOD_US: Final = 120 * S
_STOOD_SHARE: Final = 0.4  # of what is seen of it standing
_LIFT_BEFORE_US: Final = 360 * S
# Ships roll with periods of 8 to 15 s; averaged over twice this, little of it is left.
_ROLL_US: Final = 10 * S
_LEAST_SAMPLES: Final = 5
_G_MPS2: Final = 9.80665
# A road: a ferry gains speed at less than 0.15 m/s2 and turns at 1 to 2 degrees a second. Three such changes, because
# the begin and the end of a crossing may be seen as jumps. Judgement.
_ROAD_MPS2: Final = 0.4
_ROAD_OVER_S: Final = 5.0
_TURN_DEG: Final = 35.0
_TURN_OVER_S: Final = 8.0
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
    version: int = 1
    purpose: str = "moving away with the engine off"
    kinds: tuple[str, ...] = ("tow",)
    lane: Lane = Lane.STREAM
    before_s: float = 1_200.0
    after_s: float = 60.0
    episode_gap_s: float = 900.0
    stale_after_s: float = 6 * 3_600.0
    columns: frozenset[str] = (
        _track.TRACK_COLUMNS
        | _powered.ENGINE_COLUMNS
        | {"accel_x_mps2", "accel_y_mps2", "accel_z_mps2", "accel_gravity", "gyro_z_dps"}
    )
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
    """Rows that move, cut at long stops and where the ignition came on."""
    on = np.cumsum(window.flag("ignition") == 1)
    journeys: list[Ints] = []
    for rows in _track.groups(moves, window.device_time_us, _STOP_US):
        journeys += np.split(rows, np.flatnonzero(np.diff(on[rows])) + 1)
    return journeys


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
    lift = _lift(window, start_us)
    alarmed = any(start_us - _ALARM_US <= at <= end_us for at in alarms)
    signs = _road_signs(mine)
    fastest = float(np.nanmax(mine.speed_kmh))
    witnesses = [lift is not None, alarmed, signs >= _ROAD_SIGNS or fastest >= _NO_FERRY_KMH]
    if not any(witnesses):
        return None
    reasons = [Reason("tow_moved_engine_off", {"moved_m": round(float(apart_m[far[0]]))})]
    if lift is not None:
        reasons.append(Reason("tow_lifted", {"tilt_deg": lift[1]}))
        start_us = min(start_us, lift[0])
    if alarmed:
        reasons.append(Reason("tow_alarm"))
    if witnesses[2]:
        reasons.append(Reason("tow_by_road"))
    values = {
        "max_moved_m": round(float(apart_m.max())),
        "max_speed_kmh": round(fastest, 1),
        "max_tilt_deg": None if lift is None else lift[1],
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


def _lift(window: Window, start_us: int) -> tuple[int, float] | None:
    """Since when the vehicle stood tilted before it moved, and by how many degrees; None when it was not lifted."""
    times = window.device_time_us
    low, high = np.searchsorted(times, [start_us - _LIFT_BEFORE_US - _STOOD_US, start_us + 1])
    rows = np.arange(low, high)
    rows = rows[(window.flag("ignition")[rows] == 0) & ~(np.nan_to_num(window.number("speed_kmh")[rows]) >= 1.0)]
    axes = np.stack([window.number(f"accel_{axis}_mps2")[rows] for axis in "xyz"])
    known = np.isfinite(axes[0]) & np.isfinite(axes[1])
    rows, axes = rows[known], axes[:, known]
    if not len(rows):
        return None
    begin_us = int(times[rows[0]])
    stood = np.flatnonzero(times[rows] <= begin_us + min(_STOOD_US, (start_us - begin_us) * _STOOD_SHARE))
    if len(stood) < _LEAST_SAMPLES:
        return None
    down = np.where(np.isnan(axes[2]), 0.0, axes[2])
    if not (window.flag("accel_gravity")[rows] == 1).any():
        # Gravity was taken off along the axis that was upright: what a tilt brings to the others stays.
        down = down + _G_MPS2
    held = _steadied(np.stack([axes[0], axes[1], down]), times[rows])
    level = np.median(held[:, stood], axis=1)
    lengths = np.linalg.norm(held, axis=0) * np.linalg.norm(level)
    tilt_deg = np.degrees(np.arccos(np.clip(level @ held / np.maximum(lengths, 1e-9), -1.0, 1.0)))
    tilted = np.flatnonzero(tilt_deg >= _LIFT_DEG)
    # Held without a break: a ship rolls to and fro.
    for part in np.split(tilted, np.flatnonzero(np.diff(tilted) > 1) + 1):
        if len(part) and times[rows[part[-1]]] - times[rows[part[0]]] >= _LIFT_HELD_US:
            return int(times[rows[part[0]]]), round(float(tilt_deg[part].max()), 1)
    return None


def _steadied(axes: Floats, time_us: Ints) -> Floats:
    """Each axis averaged over some seconds around each reading: what a ship's rolling leaves is little."""
    sums = np.concatenate((np.zeros((3, 1)), np.cumsum(axes, axis=1)), axis=1)
    low = np.searchsorted(time_us, time_us - _ROLL_US)
    high = np.searchsorted(time_us, time_us + _ROLL_US, side="right")
    steadied: Floats = (sums[:, high] - sums[:, low]) / (high - low)
    return steadied


def _road_signs(fixes: Fixes) -> int:
    """How often a journey gained or lost speed, or turned, as only a road vehicle does."""
    speed_mps = fixes.speed_kmh / 3.6
    signs, since_us = 0, -1
    before = np.searchsorted(fixes.time_us, fixes.time_us - round(_ROAD_OVER_S * S))
    turned = np.searchsorted(fixes.time_us, fixes.time_us - round(_TURN_OVER_S * S))
    for row, (one, two) in enumerate(zip(before.tolist(), turned.tolist(), strict=True)):
        took_s = (fixes.time_us[row] - fixes.time_us[one]) / S
        gained = took_s >= 2.0 and abs(speed_mps[row] - speed_mps[one]) >= _ROAD_MPS2 * max(took_s, _ROAD_OVER_S)
        moving = min(fixes.speed_kmh[row], fixes.speed_kmh[two]) >= _MOVES_KMH
        turns = moving and _track.turned_deg(fixes.heading_deg[row], fixes.heading_deg[two]) >= _TURN_DEG
        if (gained or turns) and fixes.time_us[row] >= since_us:
            signs += 1
            since_us = int(fixes.time_us[row]) + round(2 * _ROAD_OVER_S * S)
    return signs


DETECTOR = Tow()
