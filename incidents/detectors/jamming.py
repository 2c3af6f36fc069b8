"""Jamming: fixes go while the vehicle drives on, after the satellites faded; or the device says so itself.

A tunnel takes the fixes too, but at once: no fade comes before, or one that the mouth cuts short. A car park may let
them fade, but nobody drives into it or on in it as on a road. Nothing is told of those, however long they last. So the
judgement stands as soon as it is made, and does not depend on where the vehicle comes out.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np

from fleet_core import topics
from incidents.detector import Candidates, Finding, Lane, Reason
from incidents.detectors import _losses, _powered, _track
from incidents.detectors._losses import Fade, Loss
from incidents.rows import Rows
from incidents.window import Bools, Event, S, Window

# How far the sky must have faded against usual, and how poor it must be at the end. A receiver in streets changes by a
# third within a minute; of 19,500 simulated losses of fixes in ordinary traffic these leave 0.25 in 1,000 hours, and
# miss 4 % of fades to 4 to 5 satellites within 5 to 30 s.
_SATELLITES_SHARE: Final = 0.55
_FEW_SATELLITES: Final = 5.0
_HDOP_TIMES: Final = 1.6
# Where the geometry became much worse, fewer satellites need be gone.
_HDOP_TIMES_MUCH: Final = 2.3
_SATELLITES_SHARE_MUCH: Final = 0.65
# Where a fade is quick the last fix may be some way above the end: then most must be gone of either. Judgement.
_SATELLITES_SHARE_QUICK: Final = 0.45
_HDOP_TIMES_QUICK: Final = 3.0
# Where the satellites are not told, the geometry alone must be worse.
_HDOP_TIMES_ALONE: Final = 2.5
# So little at the end that no street does it: urgent. Judgement.
_DROWNED_SATELLITES: Final = 5.0
_DROWNED_HDOP: Final = 3.5
_ALARMS: Final = frozenset({"jamming", "gnss_jamming", "gps_jamming"})
# A loss of fixes this close to an alarm bears it out.
_NEAR_US: Final = 120 * S


@dataclass(frozen=True)
class Jamming:
    """See the module."""

    name: str = "jamming"
    version: int = 3
    purpose: str = "fixes drowned while the vehicle drives on"
    kinds: tuple[str, ...] = ("jamming",)
    lane: Lane = Lane.STREAM
    before_s: float = 240.0
    after_s: float = 120.0
    episode_gap_s: float = 120.0
    stale_after_s: float = 3_600.0
    columns: frozenset[str] = _losses.COLUMNS
    streams: frozenset[str] = frozenset({topics.ALARM})
    every_s: float = 0.0
    candidates: Candidates | None = None

    def wants(self, rows: Rows) -> Bools:
        """Every reading without a fix of a vehicle that had one and may be moving, and the end of such readings."""
        return without_fix_moving(rows)

    def wants_event(self, event: Event) -> bool:
        """The device's own alarm."""
        return event.stream == topics.ALARM and event.kind in _ALARMS

    def examine(self, window: Window) -> list[Finding]:
        """A finding for each loss of fixes after a fade, and for each alarm."""
        lost = _losses.losses(window)
        found = []
        for loss in lost:
            at = _losses.on_the_road_since(window, loss)
            faded = None if at is None else _losses.fade(window, loss)
            if at is not None and faded is not None and not faded.mouth and _drowns(faded):
                found.append(_of_loss(window, loss, at, faded))
        for event in window.of(topics.ALARM):
            if event.kind in _ALARMS:
                found.append(_of_alarm(window, lost, event.occurred_us))
        return sorted(found, key=lambda one: (one.start_us, one.at_us))


def without_fix_moving(rows: Rows) -> Bools:
    """Readings without a fix of vehicles that have a receiver, as far as known, and may be moving; and the next after.

    Who stopped soon after the fix went is judged when it is back: until then too little was lost to tell.
    """
    if not rows.has("lat_deg", "fix_valid", "satellites"):
        return rows.none
    with np.errstate(invalid="ignore"):
        lost = (rows.flag("fix_valid") == 0) | (rows.number("satellites") < _track.LEAST_SATELLITES)
    untold = np.isnan(rows.number("lat_deg")) if rows.has("lat_deg") else rows.none
    if untold.any():
        # Nothing at all is told of a position: there was one before, or the device has no receiver.
        lost |= untold & ~np.isnan(rows.carried("lat_deg"))
    lost &= rows.flag("ignition") != 0
    if not lost.any():
        return rows.none
    with np.errstate(invalid="ignore"):
        still = (rows.number("obd_speed_kmh") < _powered.WHEELS_KMH) | (
            rows.number("odometer_km") <= rows.before("odometer_km")
        )
    mask: Bools = (lost & ~still) | (~lost & rows.shifted(lost))
    return mask


def _drowns(faded: Fade) -> bool:
    """Whether satellites became few and their geometry bad, as far as either is told."""
    times = None if faded.hdop is None else faded.hdop[1] / faded.hdop[0]
    if faded.satellites is None:
        return times is not None and times >= _HDOP_TIMES_ALONE
    usual, last = faded.satellites
    much_worse = times is not None and times >= _HDOP_TIMES_MUCH
    fewer = last <= min(_FEW_SATELLITES, usual * (_SATELLITES_SHARE_MUCH if much_worse else _SATELLITES_SHARE))
    if times is not None and times >= _HDOP_TIMES_QUICK and last <= usual * _SATELLITES_SHARE_QUICK:
        return True
    return fewer and (times is None or times >= _HDOP_TIMES)


def _of_loss(window: Window, loss: Loss, at: int, faded: Fade) -> Finding:
    times = window.device_time_us
    drowned = (faded.satellites is None or faded.satellites[1] <= _DROWNED_SATELLITES) and (
        faded.hdop is None or faded.hdop[1] >= _DROWNED_HDOP
    )
    end_us = int(times[loss.rows[-1]])
    told = {
        "satellites_before": None if faded.satellites is None else round(faded.satellites[0], 1),
        "satellites_last": None if faded.satellites is None else round(faded.satellites[1], 1),
        "hdop_before": None if faded.hdop is None else round(faded.hdop[0], 2),
        "hdop_last": None if faded.hdop is None else round(faded.hdop[1], 2),
    }
    begin_us = int(times[loss.rows[0]])
    fade_s = round((begin_us - faded.from_us) / S, 1)
    reasons = [Reason("jamming_faded_while_driving", {"fade_s": fade_s})]
    if faded.satellites is not None:
        satellites = {"before": told["satellites_before"], "last": told["satellites_last"]}
        reasons.append(Reason("jamming_satellites_fell", satellites))
    if faded.hdop is not None:
        reasons.append(Reason("jamming_geometry_worse", {"before": told["hdop_before"], "last": told["hdop_last"]}))
    values = {**told, "fade_s": fade_s, "duration_s": round((end_us - faded.from_us) / S, 1)}
    return Finding(
        "jamming",
        2 if drowned else 1,
        0.9 if drowned else 0.7,
        begin_us,
        faded.from_us,
        end_us,
        values,
        tuple(reasons),
    )


def _of_alarm(window: Window, lost: list[Loss], at_us: int) -> Finding:
    times = window.device_time_us
    near = [
        loss
        for loss in lost
        if times[loss.rows[0]] - _NEAR_US <= at_us <= times[loss.rows[-1]] + _NEAR_US
        and (window.flag("ignition")[loss.rows] != 0).any()
    ]
    reasons = [Reason("jamming_alarm")]
    if near:
        reasons.append(Reason("jamming_alarm_without_fix"))
    values = dict.fromkeys(("satellites_before", "satellites_last", "hdop_before", "hdop_last", "fade_s"))
    return Finding("jamming", 2, 0.9 if near else 0.7, at_us, at_us, at_us, values, tuple(reasons))


DETECTOR = Jamming()
