"""Tamper: somebody works on the device. Its clock goes back, its aerial is gone, it is another one, or it says so.

A SIM that was changed does not show in readings; a device that notices sends an alarm. A device that starts anew with a
wrong clock has a fault, and is not tampered with.
"""

import re
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
# No tunnel in ordinary use is so long: fixes gone at once, for so long a drive, over such a way. Judgement: of road
# tunnels, a handful in the world take more than ten minutes.
_AERIAL_S: Final = 600.0
_AERIAL_KM: Final = 3.0
# Under way as far as readings at most this far apart show; parking in between is neither drive nor way.
_SEEN_S: Final = 120.0
# A sky that is still good: far from the four satellites without which there is no fix. Judgement; HDOP of 1 to 2 is
# called excellent to good in receivers' manuals, over 5 moderate.
_GOOD_SATELLITES: Final = 7.0
_GOOD_HDOP: Final = 3.0
# A drive may end soon after the loss, and an errand or a rest lie before the next: so long after it more is counted.
# Judgement.
_AERIAL_SEEN_S: Final = 3_600.0
# A unit counts its boots upward all its life. So many readings on both sides of a fall, for a counter that is one.
# Judgement.
_SURE_READINGS: Final = 20
# How often a vehicle without fixes is looked at.
_LOOK_US: Final = 60 * S
# What devices call it: any name with one of these words. docs/mqtt-contract.md leaves names to them; Traccar's are
# tampering, gpsAntennaCut and removing.
_ALARM_WORDS: Final = frozenset({"tamper", "tampering", "antenna", "aerial", "dismantled", "dismantling", "removing"})
_ALARMS: Final = frozenset({"case_open", "cover_open", "sim", "sim_swap", "sim_change", "sim_removed"})
# An alarm that says that all is well again.
_OVER_WORDS: Final = frozenset({"ok", "normal", "restored", "recovered", "closed", "connected"})
_WORD: Final = re.compile(r"[A-Z]?[a-z]+|[A-Z]+")
# Contracts under which somebody works on the vehicle.
_WORKED_ON: Final = frozenset({"workshop"})


@dataclass(frozen=True)
class Tamper:
    """See the module."""

    name: str = "tamper"
    version: int = 2
    purpose: str = "clock set back, aerial gone, device exchanged, or its own alarm"
    kinds: tuple[str, ...] = ("tamper",)
    lane: Lane = Lane.STREAM
    before_s: float = _AERIAL_SEEN_S + _LOOK_US / S + 120.0
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
        return event.stream == topics.ALARM and _is_of_the_device(event.kind)

    def examine(self, window: Window) -> list[Finding]:
        """What the clock, the counter, the fixes and the device say."""
        found = [*_clock_set_back(window), *_exchanged(window), *_aerial_gone(window)]
        for event in window.of(topics.ALARM):
            if _is_of_the_device(event.kind):
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


def _is_of_the_device(alarm: str | None) -> bool:
    """Whether an alarm says that somebody works on the device."""
    if alarm is None:
        return False
    words = {word.lower() for word in _WORD.findall(alarm)}
    return not words & _OVER_WORDS and (alarm in _ALARMS or bool(words & _ALARM_WORDS))


def _aerial_gone(window: Window) -> list[Finding]:
    """Fixes that went at once and stayed away over a way that no tunnel has, in one drive or in several.

    Told from the loss to where it is sure: so it is the same in every window that shows both.
    """
    found = []
    for loss in _losses.losses(window):
        if loss.last_fix is None or not _went_at_once(window, loss):
            continue
        times, way_km, under_way_s = (
            window.device_time_us[loss.rows], _way_km(window, loss.rows), _under_way_s(window, loss.rows)
        )  # fmt: skip
        seen = times - times[0] <= round(_AERIAL_SEEN_S * S)
        sure = np.flatnonzero((under_way_s >= _AERIAL_S) & (way_km >= _AERIAL_KM) & seen)
        if len(sure):
            told = {
                "without_fix_min": round(float(times[sure[0]] - times[0]) / S / 60.0),
                "driven_km": round(float(way_km[sure[0]]), 1),
            }
            found.append(_finding(2, 0.7, int(times[0]), int(times[sure[0]]), Reason("tamper_aerial", told)))
    return found


def _went_at_once(window: Window, loss: _losses.Loss) -> bool:
    """Whether the sky was still good when it went. In streets it changes all the time; a jammer takes it bit by bit."""
    faded = _losses.fade(window, loss)
    if faded is None:
        return True
    many = faded.satellites is None or faded.satellites[1] >= _GOOD_SATELLITES
    return many and (faded.hdop is None or faded.hdop[1] <= _GOOD_HDOP)


def _under_way_s(window: Window, rows: Ints) -> Floats:
    """Time since the first of some readings with the ignition on, or not known to be off."""
    step_s = np.diff(window.device_time_us[rows]) / S
    on = window.flag("ignition")[rows] != 0
    under_way: Floats = np.cumsum(np.append(0.0, np.where((step_s <= _SEEN_S) & on[1:] & on[:-1], step_s, 0.0)))
    return under_way


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
