"""Fuel that went unseen: over more than an hour, or while the device slept.

Works on facts of hours: the greatest fall while standing of each hour with the next, and the level when it was told
again against the level when it was last told, however long ago, less what driving may have burnt in between. What falls
within an hour before the device's eyes is found in the stream (fuel_theft.py), and not told again here.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np

from incidents.detector import Candidates, Finding, Lane, Reason, Sweeps
from incidents.detectors._hourly import DAY_S, hours_in, instants
from incidents.detectors._surely import shown_whole
from incidents.hours import HOUR_US
from incidents.window import Bools, Floats, Hours, Ints, S, Window

# As in fuel_theft.py while it is seen to stand.
_FALL_PCT: Final = 8.0
# Between two levels told at different places: slosh and a slope may make 5 % either way. Judgement.
_FALL_UNSEEN_PCT: Final = 12.0
# Most that driving burns: 10 l/h of a 40 l tank. A heavy vehicle burns 30 l/h of 400 l or more. Judgement.
_DRIVING_PCT_H: Final = 25.0
# What the stream looks back over (fuel_theft.py).
_SEEN_US: Final = HOUR_US
# A level older than this is not compared: nobody knows what happened to the vehicle since.
_LONGEST_UNSEEN_S: Final = 14 * DAY_S


@dataclass(frozen=True)
class FuelLoss(Sweeps):
    """See the module."""

    name: str = "fuel_loss"
    version: int = 2
    purpose: str = "fuel that went slowly or while nothing was told"
    kinds: tuple[str, ...] = ("fuel_theft",)
    lane: Lane = Lane.SWEEP
    before_s: float = _LONGEST_UNSEEN_S + DAY_S
    after_s: float = 0.0
    episode_gap_s: float = 2 * 3_600.0
    stale_after_s: float = 2 * DAY_S
    columns: frozenset[str] = frozenset()
    streams: frozenset[str] = frozenset()
    every_s: float = 1_800.0
    candidates: Candidates | None = Candidates.HOURLY

    def examine(self, window: Window) -> list[Finding]:
        """A finding for every hour in which fuel went."""
        hours = hours_in(window)
        if not len(hours.hour_us):
            return []
        judged = shown_whole(window, hours.hour_us, _LONGEST_UNSEEN_S, 0.0)
        found = _slow(hours, judged) + _unseen(hours, judged)
        return sorted(found, key=lambda finding: (finding.at_us, finding.start_us))


def _slow(hours: Hours, judged: Bools) -> list[Finding]:
    """Falls while standing that go on into the next hour, neither hour's being a theft by itself."""
    fall = np.nan_to_num(hours.number("fuel_fall_pct"))
    begin_us, end_us = instants(hours, "fuel_fall_begin_s"), instants(hours, "fuel_fall_s")
    goes_on = np.append(False, (np.diff(hours.hour_us) == HOUR_US) & (fall[:-1] > 0.0) & (fall[1:] > 0.0))
    earlier = np.maximum(np.arange(len(fall)) - 1, 0)
    # Noise falls in every hour; what is gone is still gone at the end.
    lower = hours.number("fuel_first_pct")[earlier] - hours.number("fuel_last_pct") >= _FALL_PCT
    goes_on &= lower & (np.maximum(fall, fall[earlier]) < _FALL_PCT) & (end_us - begin_us[earlier] > _SEEN_US)
    found = []
    for row in np.flatnonzero(goes_on & (fall + fall[earlier] >= _FALL_PCT) & judged).tolist():
        gone = round(float(fall[row] + fall[row - 1]), 1)
        reason = Reason("fuel_fell_hour", {"fall_pct": gone})
        found.append(_finding(int(end_us[row]), int(begin_us[row - 1]), gone, reason))
    return found


def _unseen(hours: Hours, judged: Bools) -> list[Finding]:
    """Levels told again, against those told before: of the newest hour, and of the newest with the ignition on."""
    first, last, powered = hours.number("fuel_first_pct"), hours.number("fuel_last_pct"), hours.number("fuel_on") == 1.0
    known = np.flatnonzero(np.isfinite(first) & np.isfinite(last))
    burnt, told_falls = _burnt(hours), _told_falls(hours, known)
    first_us, last_us = instants(hours, "fuel_first_s"), instants(hours, "fuel_last_s")
    found = []
    for place, row in enumerate(known.tolist()):
        since_us = hours.hour_us[row] - round(_LONGEST_UNSEEN_S * S)
        earlier = known[:place][hours.hour_us[known[:place]] >= since_us]
        if not len(earlier) or not judged[row]:
            continue
        before = int(earlier[-1])
        if powered[row] != powered[before]:
            # A sender without its supply may tell too little: then what it told while off bears no comparison.
            on = earlier[powered[earlier]]
            if powered[row] and len(on):
                before = int(on[-1])
            elif powered[row] or _low_when_off(first[earlier], last[earlier], powered[earlier]):
                continue
        between = float(burnt["after"][before] + burnt["whole"][before + 1 : row].sum() + burnt["before"][row])
        gone = float(last[before] - first[row]) - between
        between_rows = known[(known >= before) & (known <= row)]
        if gone < _FALL_UNSEEN_PCT or _seen(hours, told_falls, between_rows):
            continue
        told = {"from_pct": round(float(last[before]), 1), "to_pct": round(float(first[row]), 1)}
        gone = round(gone, 1)
        reason = Reason("fuel_fell_unseen", {**told, "fall_pct": gone})
        found.append(_finding(int(first_us[row]), int(last_us[before]), gone, reason))
    return found


def _told_falls(hours: Hours, known: Ints) -> dict[str, Floats]:
    """How much was seen to fall while standing: within each hour, and from it to the next hour with a level.

    From hour to hour as the stream sees it: from one level to the next within an hour, the ignition the same, standing.
    """
    first, last = hours.number("fuel_stood_first_pct"), hours.number("fuel_stood_last_pct")
    first_us, last_us = instants(hours, "fuel_stood_first_s"), instants(hours, "fuel_stood_last_s")
    first_on, last_on = hours.number("fuel_stood_first_on"), hours.number("fuel_stood_last_on")
    onward = np.zeros(len(first))
    one, two = known[:-1], known[1:]
    watched = (first_us[two] - last_us[one] <= _SEEN_US) & (last_on[one] == first_on[two])
    onward[one] = np.where(watched, np.nan_to_num(last[one] - first[two]), 0.0)
    return {"within": np.nan_to_num(hours.number("fuel_fall_pct")), "onward": onward}


def _seen(hours: Hours, told_falls: dict[str, Floats], rows: Ints) -> bool:
    """Whether a fall was seen after the last level of the first of some hours and before the first of the last one."""
    begin_us, end_us = instants(hours, "fuel_fall_begin_s"), instants(hours, "fuel_fall_s")
    within = told_falls["within"][rows].copy()
    if begin_us[rows[0]] < instants(hours, "fuel_last_s")[rows[0]]:
        within[0] = 0.0
    if end_us[rows[-1]] > instants(hours, "fuel_first_s")[rows[-1]]:
        within[-1] = 0.0
    # One that goes over the hour is in both, and in the step between them.
    onward = told_falls["onward"][rows[:-1]]
    return bool((within >= _FALL_PCT).any() or (within[:-1] + onward + within[1:] >= _FALL_PCT).any())


def _low_when_off(first: Floats, last: Floats, powered: Bools) -> bool:
    """Whether the sender was seen to tell less with the ignition off than before and after it."""
    off = np.flatnonzero(~powered[1:-1]) + 1
    return any(
        powered[at - 1] and powered[at + 1] and min(last[at - 1], first[at + 1]) - last[at] >= _FALL_PCT
        for at in off.tolist()
    )


def _burnt(hours: Hours) -> dict[str, Floats]:
    """The most that driving may have burnt in each hour: before a level was told, after it, and in the whole hour."""
    names = {"before": "fuel_unseen_before_s", "after": "fuel_unseen_after_s", "whole": "moving_s"}
    return {key: np.nan_to_num(hours.number(name)) * _DRIVING_PCT_H / 3_600.0 for key, name in names.items()}


def _finding(at_us: int, start_us: int, gone_pct: float, reason: Reason) -> Finding:
    return Finding("fuel_theft", 1, 0.8, at_us, start_us, at_us, {"max_fall_pct": gone_pct}, (reason,))


DETECTOR: Final = FuelLoss()
