"""Unplug: the device lost the vehicle's supply at once and goes on with its own battery, or says so itself.

A battery that runs flat takes days; a starter pulls the supply down for seconds, but not below 6 V.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np

from fleet_core import topics
from incidents.detector import Candidates, Finding, Lane, Reason
from incidents.rows import Rows
from incidents.window import Bools, Event, Ints, S, Window

# docs/detection-science.md, B8: supply below about 5.25 V for 1 to 3 s.
_CUT_V: Final = 5.25
_CUT_US: Final = 3 * S
# A starter that a weak battery hardly turns takes up to 4 s (section A4), and pulls the supply as low. Judgement.
_STARTER_US: Final = 15 * S
# What a connected supply shows at least: a flat battery is still above (B9: under 12.0 to 12.1 V flat). Judgement.
_SOUND_V: Final = 9.0
# Cut for so long nobody has just worked on a plug: urgent. Silent for so long after it, the device was taken off.
# Judgement.
_URGENT_US: Final = 60 * S
_SILENT_US: Final = 300 * S
# What is told of an episode: afterwards it is a state, not news.
_TOLD_US: Final = 900 * S
# A parked device may report once an hour: so long ago may the last sound voltage lie.
_BEFORE_S: Final = 3_900.0
# Readings around an alarm that refute it.
_REFUTED_US: Final = 30 * S
_ALARMS: Final = frozenset({"unplug", "power_cut", "external_power_cut", "power_off"})
# Contracts under which somebody works on the vehicle.
_WORKED_ON: Final = frozenset({"workshop"})


@dataclass(frozen=True)
class Unplug:
    """See the module."""

    name: str = "unplug"
    version: int = 1
    purpose: str = "device cut off from the vehicle's supply"
    kinds: tuple[str, ...] = ("unplug",)
    lane: Lane = Lane.STREAM
    before_s: float = _BEFORE_S
    after_s: float = (_TOLD_US + _SILENT_US) / S
    episode_gap_s: float = 60.0
    stale_after_s: float = 6 * 3_600.0
    columns: frozenset[str] = frozenset({"external_v", "battery_v", "speed_kmh", "obd_speed_kmh", "ignition"})
    streams: frozenset[str] = frozenset({topics.ALARM})
    every_s: float = 0.0
    candidates: Candidates | None = None

    def wants(self, rows: Rows) -> Bools:
        """The reading at which the supply is gone: what was before was sound, or is not known."""
        if not rows.has("external_v"):
            return rows.none
        with np.errstate(invalid="ignore"):
            low = rows.number("external_v") <= _CUT_V
        if not low.any():
            return rows.none
        with np.errstate(invalid="ignore"):
            mask: Bools = low & ~(rows.carried("external_v") <= _CUT_V)
        return mask

    def wants_event(self, event: Event) -> bool:
        """The device's own alarm."""
        return event.stream == topics.ALARM and event.kind in _ALARMS

    def examine(self, window: Window) -> list[Finding]:
        """A finding for each cut, and for each alarm that no reading refutes."""
        volts = window.number("external_v")
        told = np.flatnonzero(np.isfinite(volts))
        found = []
        for at in np.flatnonzero((volts[told[1:]] <= _CUT_V) & (volts[told[:-1]] > _CUT_V)).tolist():
            finding = _of_cut(window, told, at + 1)
            found += [finding] if finding is not None else []
        for event in window.of(topics.ALARM):
            if event.kind in _ALARMS and not _refuted(window, told, event.occurred_us):
                found.append(_of_alarm(window, event.occurred_us))
        return sorted(found, key=lambda one: (one.start_us, one.at_us))


def _of_cut(window: Window, told: Ints, at: int) -> Finding | None:
    """The cut at the reading `told[at]`, of those that tell a voltage."""
    start_us = int(window.device_time_us[told[at]])
    # The same readings whatever the window shows.
    low, high = np.searchsorted(
        window.device_time_us[told], [start_us - round(_BEFORE_S * S), start_us + _TOLD_US + _SILENT_US]
    )
    told, at = told[low:high], at - int(low)
    times, volts = window.device_time_us[told], window.number("external_v")[told]
    # How the supply was: on its way down there may be a sample in between.
    sound_v = float(volts[max(0, at - 2) : at].max(initial=0.0))
    if sound_v < _SOUND_V:
        return None
    back = np.flatnonzero(volts[at:] >= _SOUND_V)
    back_us = int(times[at + int(back[0])]) if len(back) else None
    last_us = int(times[at + int(back[0]) - 1]) if len(back) else int(times[-1])
    if back_us is not None and back_us - start_us < (_STARTER_US if _starts(window, start_us) else _CUT_US):
        return None
    end_us = min(last_us, start_us + _TOLD_US)
    newest_us = max(int(window.device_time_us[-1]), last_us)
    silent = back_us is None and newest_us - start_us < _SILENT_US and window.known_until_us - newest_us >= _SILENT_US
    lasted = last_us - start_us >= _URGENT_US
    row = int(told[at])
    own = window.number("battery_v")[row]
    values = {
        "sound_v": round(sound_v, 2),
        "min_supply_v": round(float(volts[at : at + int(back[0]) if len(back) else None].min()), 2),
        "battery_v": None if np.isnan(own) else round(float(own), 2),
        "speed_kmh": _known(float(window.speed_kmh()[row])),
        "back_after_s": None if back_us is None else round((back_us - start_us) / S, 1),
    }
    reasons = [Reason("unplug_supply_lost", {"sound_v": values["sound_v"], "supply_v": round(float(volts[at]), 2)})]
    level = 1
    if (lasted or silent) and not _worked_on(window, start_us):
        level = 2
        reasons.append(Reason("unplug_then_silent") if silent else Reason("unplug_lasts"))
    revisit_us = None if level == 2 or back_us is not None else start_us + _SILENT_US + _URGENT_US
    score = 0.95 if lasted or silent else 0.8
    return Finding("unplug", level, score, start_us, start_us, end_us, values, tuple(reasons), revisit_us)


def _starts(window: Window, at_us: int) -> bool:
    """Whether the engine is being started: the ignition came on a short while before, or comes on just then."""
    low, high = np.searchsorted(window.device_time_us, [at_us - _STARTER_US, at_us + _CUT_US])
    ignition = window.flag("ignition")[low:high]
    return bool(((ignition[1:] == 1) & (ignition[:-1] == 0)).any())


def _of_alarm(window: Window, at_us: int) -> Finding:
    values = {"sound_v": None, "min_supply_v": None, "battery_v": None, "speed_kmh": None, "back_after_s": None}
    level = 1 if _worked_on(window, at_us) else 2
    return Finding("unplug", level, 0.7, at_us, at_us, at_us, values, (Reason("unplug_alarm"),))


def _refuted(window: Window, told: Ints, at_us: int) -> bool:
    """Whether readings after an alarm show a sound supply."""
    times = window.device_time_us[told]
    after = told[(times >= at_us + _CUT_US) & (times <= at_us + _REFUTED_US)]
    return bool(len(after) and (window.number("external_v")[after] >= _SOUND_V).all())


def _worked_on(window: Window, at_us: int) -> bool:
    return any(
        one.kind in _WORKED_ON and one.from_us <= at_us and (one.until_us is None or at_us <= one.until_us)
        for one in window.vehicle.tenures
    )


def _known(value: float) -> float | None:
    return None if np.isnan(value) else round(value, 1)


DETECTOR = Unplug()
