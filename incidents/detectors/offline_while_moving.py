"""Offline while moving: a vehicle that was driving falls silent, and nothing says that it stopped.

Silence is what did not arrive, not what carries an old time: a device that sends its backlog is not silent. What it was
like at the last reading grades it: a fast vehicle with a sound supply has no harmless reason, one that rolled into a
car park or whose battery was dying has. Where the reason is known, a crash or a cut supply, that is what is told.
"""

from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from fleet_core import topics
from incidents.detector import Candidates, Finding, Lane, Reason, Sweeps
from incidents.window import Ints, S, Window

# Three times the expected heartbeat (docs/detection-science.md, B8), but no ordinary gap of coverage (up to 120 s:
# docs/guide/simulation.md) nor most tunnels. Judgement.
_SILENT_S: Final = 300.0
_HEARTBEATS: Final = 3.0
# The heartbeat is the middle of the distances between so many readings before the silence.
_LAST_READINGS: Final = 20
_KNOWN_READINGS: Final = 3
# What the vehicle did: by the readings of its last seconds. Judgement.
_LAST_S: Final = 30.0
_MOVES_KMH: Final = 10.0
# Urgent: silent for longer than tunnels last, at a speed that no car park has, with a sound supply. Judgement.
_URGENT_S: Final = 600.0
_FAST_KMH: Final = 30.0
_SOUND_V: Final = 11.0
_SOUND_OWN_V: Final = 3.5
# What explains a silence: a supply below this (section B8), a crash this close to the last reading. Judgement.
_CUT_V: Final = 5.25
_CRASH_US: Final = 60 * S
_CRASHES: Final = frozenset({"crash", "airbag", "rollover", "sos"})
# How long a silence is watched.
_SEEN_AFTER_S: Final = 3_600.0
# Where the time between two readings is no silence but a clock that was set forward: its arrivals are close together.
_CLOCK_SHARE: Final = 0.5


@dataclass(frozen=True)
class OfflineWhileMoving(Sweeps):
    """See the module."""

    name: str = "offline_while_moving"
    version: int = 1
    purpose: str = "silence of a vehicle that was driving"
    kinds: tuple[str, ...] = ("offline_while_moving",)
    lane: Lane = Lane.SWEEP
    before_s: float = 1_800.0
    after_s: float = _SEEN_AFTER_S
    episode_gap_s: float = 0.0
    stale_after_s: float = 6 * 3_600.0
    columns: frozenset[str] = frozenset(
        {"speed_kmh", "obd_speed_kmh", "ignition", "external_v", "battery_v", "fix_valid", "lat_deg", "lon_deg"}
    )
    streams: frozenset[str] = frozenset({topics.ALARM, topics.BURST})
    every_s: float = 30.0
    candidates: Candidates | None = Candidates.SILENT

    def examine(self, window: Window) -> list[Finding]:
        """A finding for each silence of a vehicle that was moving."""
        if not len(window):
            return []
        found = []
        times, received = window.device_time_us, window.received_us
        for row in np.flatnonzero(np.diff(times) >= _SILENT_S * S).tolist():
            gap_us, came_us = int(times[row + 1] - times[row]), int(received[row + 1] - received[row])
            prompt = received[row] - times[row] < _SILENT_S * S
            if not (prompt and came_us < _CLOCK_SHARE * gap_us):
                found += _silence(window, row, gap_us / S, back=True)
        # What arrived last tells how long nothing has, for the clock of the device may be off; but nothing is known of
        # the time after the window.
        last_us = min(window.known_until_us - int(received.max()), window.until_us - int(times[-1]))
        return found + _silence(window, len(window) - 1, last_us / S, back=False)


def _silence(window: Window, row: int, silent_s: float, *, back: bool) -> list[Finding]:
    """The silence after a reading, of a vehicle that was moving."""
    if silent_s < _SILENT_S or row + 1 < _KNOWN_READINGS:
        return []
    limit_s = max(_SILENT_S, _HEARTBEATS * _heartbeat_s(window.device_time_us[: row + 1]))
    if silent_s < limit_s:
        return []
    start_us = int(window.device_time_us[row])
    rows = np.arange(int(np.searchsorted(window.device_time_us, start_us - _LAST_S * S)), row + 1)
    speed = window.speed_kmh()[rows]
    speed = speed[np.isfinite(speed)]
    if not len(speed) or window.flag("ignition")[row] == 0 or min(speed[-2:]) < _MOVES_KMH:
        return []
    if _explained(window, rows, start_us):
        return []
    state = _last_state(window, rows)
    state["speed_kmh"] = round(float(speed[-1]), 1)
    weak = (state["external_v"] or _SOUND_V) < _SOUND_V or (state["battery_v"] or _SOUND_OWN_V) < _SOUND_OWN_V
    urgent = silent_s >= max(_URGENT_S, limit_s) and speed[-1] >= _FAST_KMH and not weak
    reasons = [Reason("offline_while_moving", {"speed_kmh": state["speed_kmh"], "silent_min": round(limit_s / 60.0)})]
    if weak:
        reasons.append(Reason("offline_supply_was_weak"))
    if urgent:
        reasons.append(Reason("offline_long_at_speed", {"silent_min": round(max(_URGENT_S, limit_s) / 60.0)}))
    at_us = start_us + round(limit_s * S)
    end_us = start_us + round(silent_s * S)
    values = {**state, "back": back, "duration_s": round(silent_s, 1)}
    return [
        Finding(
            "offline_while_moving", 2 if urgent else 1, 0.9 if urgent else 0.7, at_us, start_us, end_us, values,
            tuple(reasons),
        )
    ]  # fmt: skip


def _explained(window: Window, rows: Ints, start_us: int) -> bool:
    """Whether a crash or a cut supply is why nothing more came: then that is told, by its own detector."""
    volts = window.number("external_v")[rows]
    volts = volts[np.isfinite(volts)]
    if len(volts) and volts[-1] <= _CUT_V:
        return True
    return any(
        abs(event.occurred_us - start_us) <= _CRASH_US and (event.stream == topics.BURST or event.kind in _CRASHES)
        for event in window.of(topics.ALARM, topics.BURST)
    )


def _heartbeat_s(time_us: Ints) -> float:
    """How often the vehicle usually spoke, seconds."""
    return float(np.median(np.diff(time_us[-_LAST_READINGS:]))) / S


def _last_state(window: Window, rows: Ints) -> dict[str, Any]:
    """What the last readings told beside the speed."""
    state: dict[str, Any] = {}
    for name in ("external_v", "battery_v"):
        values = window.number(name)[rows]
        values = values[np.isfinite(values)]
        state[name] = round(float(values[-1]), 2) if len(values) else None
    state["fix"] = bool(window.fix_mask()[rows[-1]])
    return state


DETECTOR = OfflineWhileMoving()
