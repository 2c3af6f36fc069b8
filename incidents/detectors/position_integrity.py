"""Whether the places a vehicle tells can be true: spoofing, implausible positions, frozen and jumping feeds.

One cause gives one kind, so one detector decides between them, in this order:

1. Where there are no fixes there is nothing to doubt: see `jamming`. Stray fixes beside a loss of fixes are left out.
2. `spoofing`: another witness of the same vehicle (wheels, odometer, its own motion) contradicts the places. They leap
   out of reach and stay; they stand still while it drives; over minutes they go another way than it does.
3. `feed_jumping`: fixes leave and come back again and again. `implausible_position`: once, or a leap without a witness.
4. `feed_frozen`: places stand still while the feed itself tells speed and no other witness speaks, or the receiver
   repeats all that it tells, to the last digit: it hangs, and nobody deceives it.

Tunnels, car parks, drifting and bunched stamps come out at a place that can be reached, and give nothing.
"""

from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from incidents.detector import Candidates, Finding, Lane, Reason
from incidents.detectors import _clock, _distances, _excursions, _freezes, _losses, _track
from incidents.detectors._distances import Contradiction
from incidents.detectors._excursions import Excursion, Leap
from incidents.detectors._freezes import Freeze
from incidents.detectors._track import Fixes
from incidents.rows import Rows
from incidents.window import Bools, Event, S, Window

_WORST_ACCURACY_M: Final = 50.0
# docs/detection-science.md, A4: a spoofed jump is over 1 km. A shorter one out of reach may be an error of the
# receiver, less than this is none. Judgement.
_LEAP_M: Final = 1_000.0
_ODD_LEAP_M: Final = 300.0
# A leap out of a hole in the fixes is no leap: nobody saw how the vehicle went. Judgement.
_HOLE_US: Final = 120 * S
# Excursions this close to each other are one jumping feed, if there are so many. Judgement.
_AGAIN_US: Final = 60 * S
_JUMPS: Final = 3
# Stray fixes this close to a loss of fixes are its doing.
_LOSS_US: Final = 30 * S
# What bears on a judgement, before and after.
_BEFORE_US: Final = _distances.REACH * _distances.GRID_US + 120 * S
_AFTER_US: Final = _AGAIN_US + 30 * S
# Since the reading before: further than a standing odometer and a drifting fix go.
_MOVED_KM: Final = 0.02
_MOVED_DEG: Final = 0.0003
# A contradiction that goes on for so long is urgent. Judgement.
_URGENT_S: Final = 60.0
# Other doubts this close to a spoofing are part of it.
_PART_US: Final = 60 * S


@dataclass(frozen=True)
class PositionIntegrity:
    """See the module."""

    name: str = "position_integrity"
    version: int = 3
    purpose: str = "places that cannot be true, or that the vehicle itself contradicts"
    kinds: tuple[str, ...] = ("spoofing", "implausible_position", "feed_frozen", "feed_jumping")
    lane: Lane = Lane.SWEEP
    before_s: float = _BEFORE_US / S
    after_s: float = _AFTER_US / S
    episode_gap_s: float = 600.0
    stale_after_s: float = 6 * 3_600.0
    columns: frozenset[str] = _track.TRACK_COLUMNS | _distances.COLUMNS | _freezes.COLUMNS | _losses.COLUMNS
    streams: frozenset[str] = frozenset()
    every_s: float = 120.0
    candidates: Candidates | None = Candidates.ACTIVE

    def wants(self, rows: Rows) -> Bools:
        """What takes minutes to tell opens no gate."""
        return rows.none

    def wants_event(self, event: Event) -> bool:
        """None."""
        return False

    def examine(self, window: Window) -> list[Finding]:
        """Findings of all four kinds, in order of time."""
        once = _clock.told_once(window)
        if not once.all():
            window = window.take(once)
        return [finding for stretch in _stretches(window) for finding in _doubts(stretch)]


def _stretches(window: Window) -> list[Window]:
    """Parts of a window in which anything moved, each with what bears on it: weeks of standing need no look."""
    with np.errstate(invalid="ignore"):
        moves = (window.number("speed_kmh") >= _track.STANDS_KMH) | (
            window.number("obd_speed_kmh") >= _track.STANDS_KMH
        )
    # What moves without telling a speed: an odometer, or a place far from the one before.
    for name, least in (("odometer_km", _MOVED_KM), ("lat_deg", _MOVED_DEG), ("lon_deg", _MOVED_DEG)):
        values = window.number(name)
        rows = np.flatnonzero(np.isfinite(values))
        moves[rows[1:]] |= np.abs(np.diff(values[rows])) >= least
    times = window.device_time_us
    return [
        window.between(int(times[rows[0]]) - _BEFORE_US, int(times[rows[-1]]) + _AFTER_US)
        for rows in _track.groups(moves, times, _BEFORE_US + _AFTER_US)
    ]


def _doubts(window: Window) -> list[Finding]:
    """Findings of one stretch."""
    fixes = _track.fixes(window, _WORST_ACCURACY_M)
    if len(fixes) < _JUMPS:
        return []
    frozen = _freezes.freezes(window, fixes)
    news = fixes.take(~_freezes.repeated(window, fixes))
    strayed = _excursions.strayed(news)
    leaps = [leap for leap in strayed.leaps if _is_leap(news, leap)]
    against = _distances.contradictions(window, news.take(~strayed.elsewhere))
    found = [_of_contradiction(one) for one in against]
    found += [_of_leap(window, news, one) for one in leaps]
    found += [_of_freeze(one) for one in frozen]
    spoofed = [one for one in found if one.kind == "spoofing"]
    lost = _losses.losses(window)
    excursions = [one for one in strayed.excursions if not _beside(window, lost, news, one)]
    found += _of_excursions(news, excursions)
    return sorted(
        (one for one in found if one in spoofed or not _part_of(one, spoofed)),
        key=lambda one: (one.start_us, one.at_us, one.kind),
    )


def _is_leap(fixes: Fixes, leap: Leap) -> bool:
    return leap.beyond_m >= _ODD_LEAP_M and fixes.time_us[leap.first] - fixes.time_us[leap.before] <= _HOLE_US


def _of_leap(window: Window, fixes: Fixes, leap: Leap) -> Finding:
    start_us = int(fixes.time_us[leap.before])
    told = {"apart_m": round(leap.apart_m), "within_s": round((int(fixes.time_us[leap.first]) - start_us) / S, 1)}
    values = {**_NOTHING, "max_apart_m": round(leap.apart_m)}
    witness = _witness(window, start_us, leap.told_us)
    if witness is not None:
        reasons = (Reason("spoofing_leap", told), Reason(f"spoofing_witness_{witness}"))
        values["witness"] = witness
        level, score = (2, 0.9) if leap.beyond_m >= _LEAP_M else (1, 0.7)
        return Finding("spoofing", level, score, leap.told_us, start_us, leap.told_us, values, reasons)
    reason = Reason("implausible_leap", told)
    return Finding("implausible_position", 1, 0.7, leap.told_us, start_us, leap.told_us, values, (reason,))


def _witness(window: Window, from_us: int, until_us: int) -> str | None:
    """What else of the vehicle tells that it did not leap: anything of its own that was told meanwhile."""
    rows = slice(*np.searchsorted(window.device_time_us, [from_us, until_us + 1]).tolist())
    for name, columns in _WITNESSES.items():
        if any(np.isfinite(window.number(column)[rows]).any() for column in columns):
            return name
    return None


_WITNESSES: Final = {
    "wheels": ("obd_speed_kmh",),
    "odometer": ("odometer_km",),
    "motion": ("accel_x_mps2", "accel_y_mps2", "gyro_z_dps"),
}
_NOTHING: Final[dict[str, Any]] = dict.fromkeys(
    ("witness", "max_apart_m", "way_m", "places_m", "drift_mps", "duration_s")
)


def _of_contradiction(one: Contradiction) -> Finding:
    urgent = one.lasted_s >= _URGENT_S
    values = {**_NOTHING, "witness": one.witness, "duration_s": round((one.until_us - one.from_us) / S, 1)}
    if one.way_m is not None and one.places_m is not None:
        told = {"way_m": round(one.way_m), "places_m": round(one.places_m)}
        values |= told
        reason = Reason("spoofing_other_way", {**told, "over_s": round(one.over_s)})
    else:
        values["drift_mps"] = round(one.drift_mps, 1)
        reason = Reason("spoofing_drift", {"drift_mps": values["drift_mps"]})
    return Finding(
        "spoofing", 2 if urgent else 1, 0.85 if urgent else 0.7, one.told_us, one.from_us, one.until_us, values,
        (reason, Reason(f"spoofing_witness_{one.witness}")),
    )  # fmt: skip


def _of_freeze(one: Freeze) -> Finding:
    lasted_s = round((one.until_us - one.from_us) / S, 1)
    way_m = None if one.way_m is None else round(one.way_m)
    values = {**_NOTHING, "witness": one.witness, "way_m": way_m, "places_m": 0, "duration_s": lasted_s}
    if one.witness is not None and not one.hung:
        reasons = (Reason("spoofing_frozen"), Reason(f"spoofing_witness_{one.witness}"))
        return Finding("spoofing", 2, 0.9, one.told_us, one.from_us, one.until_us, values, reasons)
    reason = Reason("feed_frozen", {"speed_kmh": one.speed_kmh})
    return Finding("feed_frozen", 1, 0.8, one.told_us, one.from_us, one.until_us, values, (reason,))


def _of_excursions(fixes: Fixes, excursions: list[Excursion]) -> list[Finding]:
    """One finding for each bunch of excursions: a feed that jumps, or a place that was wrong once."""
    found: list[Finding] = []
    bunches: list[list[Excursion]] = []
    for one in excursions:
        near = bunches and fixes.time_us[one.first] - fixes.time_us[bunches[-1][-1].back] <= _AGAIN_US
        if near:
            bunches[-1].append(one)
        else:
            bunches.append([one])
    for bunch in bunches:
        start_us, end_us = int(fixes.time_us[bunch[0].first]), int(fixes.time_us[bunch[-1].back])
        apart_m = round(max(one.apart_m for one in bunch))
        jumps = sum(one.hops for one in bunch)
        values = {**_NOTHING, "max_apart_m": apart_m}
        if jumps >= _JUMPS:
            reason = Reason("feed_jumping", {"jumps": jumps, "apart_m": apart_m})
            found.append(Finding("feed_jumping", 1, 0.8, start_us, start_us, end_us, values, (reason,)))
        elif any(one.alone for one in bunch):
            reason = Reason("implausible_excursion", {"apart_m": apart_m})
            found.append(Finding("implausible_position", 1, 0.8, start_us, start_us, end_us, values, (reason,)))
    return found


def _beside(window: Window, lost: list[_losses.Loss], fixes: Fixes, one: Excursion) -> bool:
    """Whether a loss of fixes is near enough to be the reason of an excursion."""
    from_us, until_us = int(fixes.time_us[one.first]) - _LOSS_US, int(fixes.time_us[one.last]) + _LOSS_US
    times = window.device_time_us
    return any(times[loss.rows[0]] <= until_us and times[loss.rows[-1]] >= from_us for loss in lost)


def _part_of(one: Finding, spoofed: list[Finding]) -> bool:
    return any(one.start_us <= two.end_us + _PART_US and two.start_us - _PART_US <= one.end_us for two in spoofed)


DETECTOR = PositionIntegrity()
