"""Overheating: the coolant is too hot, or gets hotter so fast that it will be.

A sensor that is stuck, jumps or has a broken wire is not an engine that overheats, nor is the heat that soaks into
standing coolant after a hot engine was stopped.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np

from incidents.detector import Candidates, Finding, Lane, ReadsNoEvents, Reason
from incidents.detectors._surely import shown_whole
from incidents.hours import COOLANT_C, MOVING_KMH, RUNNING_RPM, within
from incidents.rows import Rows
from incidents.window import Bools, Floats, Ints, S, Window

# docs/detection-science.md, B9: normal 80 to 105 C, warn at 110, stop at 115 to 118, or more than 5 C a minute
# above 100. Recorded healthy cars peak at 96.
_WARN_C: Final = 110.0
_STOP_C: Final = 115.0
_RISE_ABOVE_C: Final = 100.0
_RISE_C_MIN: Final = 5.0
# A rise is judged over this time and from this temperature on: 5 C above 100 it is no longer a fan that comes on late.
# Judgement.
_RISE_OVER_S: Final = 60.0
_RISE_AT_MOST_S: Final = 180.0
_RISE_FROM_C: Final = 105.0
# Hot soak: 5 to 8 C after the stop (section A4). While it lasts that much is allowed.
_SOAK_C: Final = 8.0
_SOAK_S: Final = 900.0
# How long it must be too hot. Judgement.
_LASTS_S: Final = 20.0
# Litres of coolant do not warm faster than this: a blown head gasket makes 10 to 20 C a minute. Beside rounding and
# noise. Judgement.
_FASTEST_C_S: Final = 0.5
_ROUNDING_C: Final = 3.0
# How far back a jump is held against a sensor that has read hot ever since.
_DOUBTED_S: Final = 900.0
# The very same value for so long, in so many samples, while the engine runs: the sensor is stuck. A real temperature
# moves by a degree in that time. Judgement.
_STUCK_S: Final = 240.0
_STUCK_SAMPLES: Final = 12

_BEFORE_S: Final = 1_200.0  # what is doubted, and the few samples before it that show a jump
_AFTER_S: Final = 300.0


@dataclass(frozen=True)
class Coolant(ReadsNoEvents):
    """See the module."""

    name: str = "coolant"
    version: int = 1
    purpose: str = "coolant too hot, or heating up too fast"
    kinds: tuple[str, ...] = ("overheating",)
    lane: Lane = Lane.STREAM
    before_s: float = _BEFORE_S
    after_s: float = _AFTER_S
    episode_gap_s: float = 600.0
    stale_after_s: float = 3_600.0
    columns: frozenset[str] = frozenset({"coolant_c", "ignition", "rpm", "speed_kmh", "obd_speed_kmh"})
    streams: frozenset[str] = frozenset()
    every_s: float = 0.0
    candidates: Candidates | None = None

    def wants(self, rows: Rows) -> Bools:
        """Every reading that is too hot, and every further degree on the way there."""
        if not rows.has("coolant_c"):
            return rows.none
        coolant = rows.number("coolant_c")
        warm: Bools = (coolant >= _RISE_FROM_C) & (coolant <= COOLANT_C[1])
        if not warm.any():
            return rows.none
        # Unknown before: it may have been less.
        mask: Bools = warm & ((coolant >= _WARN_C) | ~(np.floor(coolant) <= np.floor(rows.carried("coolant_c"))))
        return mask

    def examine(self, window: Window) -> list[Finding]:
        """A finding for every reading at which the coolant was too hot, or rose too fast by a further degree."""
        coolant = within(window.number("coolant_c"), COOLANT_C)
        known = np.flatnonzero(np.isfinite(coolant))
        if len(known) < 2 or coolant[known].max() < _RISE_FROM_C:
            return []
        ignition, rpm = window.flag("ignition")[known], window.number("rpm")[known]
        off = np.where(ignition >= 0, ignition == 0, rpm < RUNNING_RPM)
        time_us = window.device_time_us[known]
        judged = shown_whole(window, time_us, _BEFORE_S, _AFTER_S)
        return _findings(time_us, coolant[known], off, window.speed_kmh()[known], judged)


def _findings(time_us: Ints, celsius: Floats, off: Bools, speed_kmh: Floats, judged: Bools) -> list[Finding]:
    row = np.arange(len(time_us))
    soaks = _seen_within(time_us, off, _SOAK_S)
    allowed = np.where(soaks, _SOAK_C, 0.0)
    believed = _believed(time_us, celsius, off)

    # The least of the last 20 s, and of the sample before them: it was hot all that time.
    since = np.searchsorted(time_us, time_us - round(_LASTS_S * S), side="right") - 1
    held = np.array([celsius[max(begin, 0) : end + 1].min() for begin, end in zip(since, row, strict=True)])
    near = (since >= 0) & (time_us - time_us[since] <= _DOUBTED_S * S)
    held = np.where(near, held, -np.inf)
    hot = believed & (held >= _WARN_C + allowed)

    since = np.searchsorted(time_us, time_us - round(_RISE_OVER_S * S), side="right") - 1
    over_s = (time_us - time_us[since]) / S
    gain = celsius - np.maximum(celsius[since], _RISE_ABOVE_C)
    with np.errstate(divide="ignore", invalid="ignore"):
        rise_c_min = np.where((since >= 0) & (over_s <= _RISE_AT_MOST_S), gain / over_s * 60.0, 0.0)
    drives = _seen_within(time_us, ~(speed_kmh < MOVING_KMH), _RISE_OVER_S)
    further = np.append(False, np.floor(celsius[1:]) > np.floor(celsius[:-1]))
    rises = believed & ~soaks & drives & further & (celsius >= _RISE_FROM_C) & (rise_c_min > _RISE_C_MIN)

    found = []
    for at in np.flatnonzero((hot | rises) & judged).tolist():
        now_us, now_c = int(time_us[at]), round(float(celsius[at]), 1)
        if hot[at]:
            level = 2 if held[at] >= _STOP_C + allowed[at] else 1
            limit_c = (_STOP_C if level == 2 else _WARN_C) + float(allowed[at])
            score, reason = 0.95, Reason("coolant_hot", {"coolant_c": now_c, "limit_c": limit_c})
        else:
            level, score = 1, 0.8
            told = {"rise_c_min": round(float(rise_c_min[at]), 1), "coolant_c": now_c}
            reason = Reason("coolant_rising", told)
        values = {"max_coolant_c": now_c}
        found.append(Finding("overheating", level, score, now_us, now_us, now_us, values, (reason,)))
    return found


def _seen_within(time_us: Ints, mask: Bools, seconds: float) -> Bools:
    """Whether a mask held at any sample of the last `seconds`, the present one included."""
    before = np.concatenate(([0], np.cumsum(mask)))
    begin = np.searchsorted(time_us, time_us - round(seconds * S))
    seen: Bools = before[1:] - before[begin] > 0
    return seen


def _believed(time_us: Ints, celsius: Floats, off: Bools) -> Bools:
    """Samples of a sensor that measures: it got where it is by steps that coolant can make, and it moves."""
    row = np.arange(len(time_us))
    # A single sample out of line is passed over.
    steady = celsius.copy()
    if len(celsius) > 2:
        steady[1:-1] = np.median(np.lib.stride_tricks.sliding_window_view(celsius, 3), axis=1)
    apart_s = np.append(0.0, np.diff(time_us) / S)
    jumped = np.append(0.0, np.diff(steady)) > _FASTEST_C_S * apart_s + _ROUNDING_C
    newest_jump = np.maximum.accumulate(np.where(jumped, row, -1))
    newest_cool = np.maximum.accumulate(np.where(steady <= _RISE_FROM_C, row, -1))
    doubted = (newest_jump > newest_cool) & (time_us - time_us[newest_jump] <= _DOUBTED_S * S)
    spike = celsius > steady + _ROUNDING_C

    changed = np.append(False, celsius[1:] != celsius[:-1])
    moves = _seen_within(time_us, changed, _DOUBTED_S)
    many_before = row - np.searchsorted(time_us, time_us - round(_STUCK_S * S)) + 1 >= _STUCK_SAMPLES
    until = np.searchsorted(time_us, time_us + round(_STUCK_S * S), side="right")
    changes = np.cumsum(changed)
    full_after = time_us[-1] - time_us >= _STUCK_S * S
    stuck = (many_before & ~_seen_within(time_us, changed, _STUCK_S) & ~off) | (
        full_after & (until - row >= _STUCK_SAMPLES) & (changes[until - 1] == changes) & ~off
    )
    believed: Bools = ~doubted & ~spike & moves & ~stuck
    return believed


DETECTOR: Final = Coolant()
