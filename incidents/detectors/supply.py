"""The supply now: a generator that does not charge while the vehicle drives, a battery that is flat while it rests.

What gets worse over weeks is found by battery_trend.py.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np

from incidents.detector import Candidates, Finding, Lane, ReadsNoEvents, Reason
from incidents.detectors._supply import each_as_12_v
from incidents.detectors._surely import shown_whole
from incidents.hours import RUNNING_RPM
from incidents.rows import Rows
from incidents.window import Bools, Flags, Floats, S, Window

# A running generator holds 13.4 to 14.7 V (docs/detection-science.md, B9: running 13.4 to 14.2 measured). Clever
# ones let the battery drift down to its resting voltage, never below: less than a full battery's 12.6 V for minutes is
# the battery driving the vehicle. Judgement.
NOT_CHARGING_V: Final = 12.6
_SOON_DARK_V: Final = 11.8
_OVERCHARGING_V: Final = 15.4  # 14.7 V is the most; cold batteries are charged with up to 15.2
_JUDGED_OVER_S: Final = 600.0
_RUNS_FOR_S: Final = 240.0
# Healthy batteries were measured to rest at 11.95 to 13.07 V (section B9); under 12.0 the workshop calls them flat.
_FLAT_V: Final = 11.8
_DEAD_V: Final = 11.3  # no starter turns an engine with that. Judgement.
_RESTS_FOR_S: Final = 600.0
_SEEN_S: Final = 30.0  # readings further apart do not show that the engine ran between them
_DRIVING_KMH: Final = 10.0  # no reading of the engine's speed: it drives, so it runs
_STANDING_KMH: Final = 1.0

_BEFORE_S: Final = 900.0
# A fault of the supply does not heal while the vehicle stands over a night or a long weekend: found again after it, it
# is the same one. Judgement.
_SAME_FAULT_S: Final = 4 * 86_400.0


@dataclass(frozen=True)
class Supply(ReadsNoEvents):
    """See the module."""

    name: str = "supply"
    version: int = 2
    purpose: str = "not charging while driving, or flat while resting"
    kinds: tuple[str, ...] = ("charging_fault", "low_battery")
    lane: Lane = Lane.STREAM
    before_s: float = _BEFORE_S
    after_s: float = 0.0
    episode_gap_s: float = _SAME_FAULT_S
    stale_after_s: float = 6 * 3_600.0
    columns: frozenset[str] = frozenset({"external_v", "ignition", "rpm", "speed_kmh", "obd_speed_kmh"})
    streams: frozenset[str] = frozenset()
    every_s: float = 0.0
    candidates: Candidates | None = None

    def wants(self, rows: Rows) -> Bools:
        """Every reading that is too low, or too high, for what the vehicle does."""
        if not rows.has("external_v"):
            return rows.none
        volts = rows.number("external_v")
        # Most rows end here: charged as it should be, in a system of 12 or of 24 V.
        sound = (volts >= NOT_CHARGING_V) & (volts <= _OVERCHARGING_V)
        sound |= (volts >= 2 * NOT_CHARGING_V) & (volts <= 2 * _OVERCHARGING_V)
        odd = np.flatnonzero(~sound & (volts > 0.0))
        mask = rows.none
        if len(odd):
            volts, ignition = each_as_12_v(volts[odd]), rows.flag("ignition")[odd]
            rpm, speed_kmh = rows.number("rpm")[odd], rows.speed_kmh()[odd]
            runs, rests = _runs(ignition, rpm, speed_kmh), _rests(ignition, rpm, speed_kmh)
            mask[odd] = (runs & _odd_for_running(volts)) | (rests & (volts < _FLAT_V))
        return mask

    def examine(self, window: Window) -> list[Finding]:
        """A finding for every such reading that ends a while of them."""
        volts = each_as_12_v(window.number("external_v"))
        known = np.flatnonzero(np.isfinite(volts))
        part = window.take(known)
        volts = volts[known]
        state = part.flag("ignition"), part.number("rpm"), part.speed_kmh()
        runs, rests = _runs(*state), _rests(*state)
        found = []
        odd = (runs & _odd_for_running(volts)) | (rests & (volts < _FLAT_V))
        odd &= shown_whole(window, part.device_time_us, _BEFORE_S, 0.0)
        for at in np.flatnonzero(odd).tolist():
            now_us = int(part.device_time_us[at])
            begin = int(np.searchsorted(part.device_time_us, now_us - round(_BEFORE_S * S)))
            time_s = (part.device_time_us[begin : at + 1] - now_us) / S
            judge = _while_running if runs[at] else _while_resting
            same = (runs if runs[at] else rests)[begin : at + 1]
            judged = judge(time_s, volts[begin : at + 1], same)
            if judged is not None:
                kind, level, score, volt, reason = judged
                values = {"supply_v_of_12": volt}
                found.append(Finding(kind, level, score, now_us, now_us, now_us, values, (reason,)))
        return found


def _runs(ignition: Flags, rpm: Floats, speed_kmh: Floats) -> Bools:
    """The engine is seen to run: the ignition alone may be on for the radio."""
    mask: Bools = (ignition != 0) & np.where(np.isnan(rpm), speed_kmh >= _DRIVING_KMH, rpm >= RUNNING_RPM)
    return mask


def _rests(ignition: Flags, rpm: Floats, speed_kmh: Floats) -> Bools:
    stands = ~(speed_kmh > _STANDING_KMH) & ~(rpm >= RUNNING_RPM)
    mask: Bools = stands & ((ignition == 0) | ((ignition < 0) & (np.isfinite(speed_kmh) | np.isfinite(rpm))))
    return mask


def _odd_for_running(volts: Floats) -> Bools:
    mask: Bools = (volts < NOT_CHARGING_V) | (volts > _OVERCHARGING_V)
    return mask


_Judged = tuple[str, int, float, float, Reason]


def _while_running(time_s: Floats, volts: Floats, runs: Bools) -> _Judged | None:
    recent = time_s >= -_JUDGED_OVER_S
    apart_s = np.append(np.diff(time_s), 0.0)
    ran = runs & recent
    if apart_s[ran & (apart_s <= _SEEN_S)].sum() < _RUNS_FOR_S and not _sparse(time_s[ran]):
        return None
    middle, high, low = (round(float(value), 2) for value in np.percentile(volts[ran], [50, 80, 20]))
    told = {"supply_v": middle, "minutes": round(-float(time_s[ran][0]) / 60.0)}
    if middle < NOT_CHARGING_V and high < NOT_CHARGING_V + 0.2:
        return "charging_fault", 2 if middle < _SOON_DARK_V else 1, 0.9, middle, Reason("not_charging", told)
    if middle > _OVERCHARGING_V and low > _OVERCHARGING_V - 0.2:
        return "charging_fault", 1, 0.9, middle, Reason("overcharging", told)
    return None


def _while_resting(time_s: Floats, volts: Floats, rests: Bools) -> _Judged | None:
    # Only the rest that goes on now: since the last sign of the engine.
    awake = np.flatnonzero(~rests)
    begin = int(awake[-1]) + 1 if len(awake) else 0
    time_s, volts = time_s[begin:], volts[begin:]
    if -float(time_s[0]) < _RESTS_FOR_S:
        return None
    recent = volts[time_s >= -_RESTS_FOR_S]
    # Samples may be far apart: then the one before counts too.
    recent = recent if len(recent) > 1 else volts[-2:]
    middle, high = (round(float(value), 2) for value in np.percentile(recent, [50, 90]))
    if high >= _FLAT_V:
        return None
    told = {"supply_v": middle, "minutes": round(-float(time_s[0]) / 60.0)}
    return "low_battery", 2 if middle < _DEAD_V else 1, 0.9, middle, Reason("battery_flat", told)


def _sparse(time_s: Floats) -> bool:
    """Whether readings are so far apart that four of them span the time."""
    return len(time_s) >= 4 and float(time_s[-1] - time_s[0]) >= _RUNS_FOR_S and float(np.diff(time_s).min()) > _SEEN_S


DETECTOR: Final = Supply()
