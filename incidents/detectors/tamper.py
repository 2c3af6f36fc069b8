"""Tamper: somebody works on the device. Its clock goes back, its aerial is gone, it is another one, or it says so.

A SIM that was changed does not show in readings; a device that notices sends an alarm. A device that starts anew with a
wrong clock has a fault, and is not tampered with.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np

from fleet_core import topics
from incidents.detector import Candidates, Finding, Lane, Reason
from incidents.detectors import _clock, _losses
from incidents.detectors.jamming import without_fix_moving
from incidents.rows import Rows
from incidents.window import Bools, Event, Floats, Ints, S, Window

# Corrections of a clock that drifted, and leap seconds, are smaller. Judgement.
_SET_BACK_S: Final = 60.0
# No tunnel in ordinary use is so long: fixes gone at once, for so long, over such a way. Judgement: of road tunnels, a
# handful in the world take more than ten minutes.
_AERIAL_US: Final = 600 * S
_AERIAL_KM: Final = 3.0
# A unit counts its boots upward all its life. So many readings on both sides of a fall, for a counter that is one.
# Judgement.
_SURE_READINGS: Final = 20
# How often a vehicle without fixes is looked at.
_LOOK_US: Final = 60 * S
_ALARMS: Final = frozenset(
    {"tamper", "case_open", "cover_open", "gnss_antenna", "gps_antenna", "antenna", "antenna_cut", "antenna_open",
     "sim", "sim_swap", "sim_change", "sim_removed"}
)  # fmt: skip
# Contracts under which somebody works on the vehicle.
_WORKED_ON: Final = frozenset({"workshop"})


@dataclass(frozen=True)
class Tamper:
    """See the module."""

    name: str = "tamper"
    version: int = 1
    purpose: str = "clock set back, aerial gone, device exchanged, or its own alarm"
    kinds: tuple[str, ...] = ("tamper",)
    lane: Lane = Lane.STREAM
    before_s: float = (_AERIAL_US + _LOOK_US) / S + 120.0
    after_s: float = 300.0
    episode_gap_s: float = 300.0
    stale_after_s: float = 6 * 3_600.0
    columns: frozenset[str] = _losses.COLUMNS
    streams: frozenset[str] = frozenset({topics.ALARM})
    every_s: float = 0.0
    candidates: Candidates | None = None

    def wants(self, rows: Rows) -> Bools:
        """Readings that were taken before the one that their clock puts before them; once a minute, those without a
        fix of a vehicle that drives."""
        seq = rows.readings.seq
        back = np.append(False, seq[1:] < seq[:-1])[: len(seq)] & ~rows.first
        if back.any():
            counted = _clock.counted(seq)
            back &= counted & rows.shifted(counted)
        lost = without_fix_moving(rows)
        if lost.any():
            minute = rows.readings.device_time_us // _LOOK_US
            lost &= minute != rows.shifted(minute)
        mask: Bools = back | lost
        return mask

    def wants_event(self, event: Event) -> bool:
        """The device's own alarm."""
        return event.stream == topics.ALARM and event.kind in _ALARMS

    def examine(self, window: Window) -> list[Finding]:
        """What the clock, the counter, the fixes and the device say."""
        found = [*_clock_set_back(window), *_exchanged(window), *_aerial_gone(window)]
        for event in window.of(topics.ALARM):
            if event.kind in _ALARMS:
                reason = Reason("tamper_alarm", {"alarm": event.kind})
                found.append(_finding(2, 0.8, event.occurred_us, event.occurred_us, reason))
        allowed = [one for one in window.vehicle.tenures if one.kind in _WORKED_ON]
        return sorted(
            (
                one
                for one in found
                if not any(two.from_us <= one.at_us and (two.until_us or one.at_us) >= one.at_us for two in allowed)
            ),
            key=lambda one: (one.start_us, one.at_us),
        )


def _clock_set_back(window: Window) -> list[Finding]:
    back = _clock.set_back(window)
    # A clock that was ahead and is right again was corrected.
    if back is None or back.rebooted or min(back.by_s, back.behind_s) < _SET_BACK_S:
        return []
    reason = Reason("tamper_clock_set_back", {"by_s": back.by_s})
    return [_finding(1, 0.85, back.from_us, back.until_us, reason, max_clock_back_s=back.by_s)]


def _exchanged(window: Window) -> list[Finding]:
    """Where the boot counter falls while time goes on: another device, or one that was wiped."""
    seq = window.seq
    if len(seq) < 2 * _SURE_READINGS or not bool((seq[1:] < seq[:-1]).any()) or not _clock.counts(seq):
        return []
    boots: Ints = seq >> 32
    found = []
    for at in (np.flatnonzero(np.diff(boots) < 0) + 1).tolist():
        before, after = boots[at - _SURE_READINGS : at], boots[at : at + _SURE_READINGS]
        if len(before) < _SURE_READINGS or len(after) < _SURE_READINGS or before.min() <= after.max():
            continue
        # Readings that waited for a network come later and are no other device.
        if window.received_us[at] < window.received_us[at - 1]:
            continue
        told = {"boot_before": int(before[-1]), "boot_after": int(after[0])}
        at_us = int(window.device_time_us[at])
        found.append(_finding(1, 0.6, at_us, at_us, Reason("tamper_device_exchanged", told)))
    return found


def _aerial_gone(window: Window) -> list[Finding]:
    """Fixes that went at once and stayed away over a way that no tunnel has."""
    found = []
    for loss in _losses.losses(window):
        times = window.device_time_us[loss.rows]
        if times[-1] - times[0] < _AERIAL_US or loss.last_fix is None or _losses.fade(window, loss) is not None:
            continue
        way_km = _way_km(window, loss.rows)
        over = np.flatnonzero((times - times[0] >= _AERIAL_US) & (way_km >= _AERIAL_KM))
        if len(over):
            told = {"without_fix_min": round(_AERIAL_US / S / 60.0), "driven_km": round(float(way_km[over[0]]), 1)}
            start_us, end_us = int(times[0]), int(times[-1])
            found.append(_finding(2, 0.7, start_us, end_us, Reason("tamper_aerial", told)))
    return found


def _way_km(window: Window, rows: Ints) -> Floats:
    """Way driven since the first of some readings, by the vehicle's own sensors."""
    odometer = window.number("odometer_km")[rows]
    if np.isfinite(odometer).any():
        begin = odometer[np.isfinite(odometer)][0]
        shown: Floats = np.nan_to_num(odometer - begin)
        return shown
    step_h = np.append(0.0, np.minimum(np.diff(window.device_time_us[rows]) / S, 30.0)) / 3600.0
    way: Floats = np.cumsum(np.nan_to_num(window.number("obd_speed_kmh")[rows]) * step_h)
    return way


def _finding(
    level: int, score: float, start_us: int, end_us: int, reason: Reason, *, max_clock_back_s: float | None = None
) -> Finding:
    values = {"max_clock_back_s": max_clock_back_s}
    return Finding("tamper", level, score, start_us, start_us, end_us, values, (reason,))


DETECTOR = Tamper()
