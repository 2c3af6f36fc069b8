"""On which side of a fence a vehicle is, fix by fix, so that the drift of a fix is no crossing. Pure maths.

A fix well away from the border tells the side by itself. One that is near the border tells it only when the vehicle
moved across in seconds, which drift does not; and a vehicle that stands must seem to have moved a long way.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np

from incidents.detectors import _excursions, _track
from incidents.detectors._track import Fixes
from incidents.fences import METRES_A_DEGREE, Fence
from incidents.window import Bools, Floats, Ints, S, Window

# A fix this far from the border, or further than its own accuracy, tells the side. The drift of a parked receiver
# between houses is mostly below (reference of detection, section B8: twice the accuracy at least). Judgement.
CLEAR_M: Final = 15.0
# A fix worse than this tells nothing about a fence. Judgement.
WORST_ACCURACY_M: Final = 50.0
# A standing vehicle has changed sides only if its fix is this much nearer to the other side than it was. Judgement:
# drift of more is rare even between high houses.
_DRIFT_M: Final = 50.0
# Two fixes beyond the border by more than their accuracy do, if the vehicle came this far across in so short a time.
_ACROSS_M: Final = 15.0
_ACROSS_S: Final = 30.0
# A vehicle that stands beside the border at the beginning of what is seen: where the middle of these fixes lies.
_STANDING_FIXES: Final = 60

INSIDE: Final = 1
OUTSIDE: Final = -1
_UNKNOWN: Final = 0


@dataclass(frozen=True, slots=True)
class Stay:
    """A time on one side of a fence. Rows of the track.

    first  the first fix on this side; `before` the last one on the other, None where the stay began unseen
    told   the fix that told the side
    last   the last fix before the other side's first
    """

    side: int
    before: int | None
    first: int
    told: int
    last: int


def track(window: Window) -> Fixes:
    """The fixes of a window that can be held against a fence: none that the vehicle was at for a moment only."""
    fixes = _track.fixes(window, WORST_ACCURACY_M)
    return fixes.take(~_excursions.strayed(fixes).elsewhere)


def fences_near(window: Window, fixes: Fixes) -> list[Fence]:
    """The vehicle's fences that its fixes come near."""
    if not len(fixes) or not len(window.fences):
        return []
    margin = 2 * CLEAR_M / METRES_A_DEGREE
    west, east = float(fixes.lon_deg.min()), float(fixes.lon_deg.max())
    south, north = float(fixes.lat_deg.min()), float(fixes.lat_deg.max())
    touching = window.fences.touching(west - margin, south - margin, east + margin, north + margin)
    return [fence for fence in touching if fence.concerns(window.vehicle.vehicle_id)]


def stays(fixes: Fixes, beyond_m: Floats) -> list[Stay]:
    """Times on either side. `beyond_m` is each fix's distance from the border, negative inside."""
    side = np.where(beyond_m <= 0.0, INSIDE, OUTSIDE)
    clear = np.abs(beyond_m) > np.maximum(fixes.accuracy_m, CLEAR_M)
    told = np.flatnonzero(clear | _came_across(fixes, beyond_m, side, ~clear))
    now, last_m = _first_side(fixes, beyond_m)
    start, start_told, before = 0, 0, None
    found: list[Stay] = []
    for run in np.split(told, np.flatnonzero(np.diff(side[told])) + 1):
        if not len(run):
            continue
        new = int(side[run[0]])
        if now == _UNKNOWN:
            now, start, start_told = new, int(run[0]), int(run[0])
        elif new != now:
            drift = np.abs(beyond_m[run] - last_m) < _DRIFT_M + fixes.accuracy_m[run]
            moved = np.flatnonzero(~(fixes.stands[run] & drift))
            if not len(moved):
                continue
            row = int(run[moved[0]])
            first = _first_beyond(side, row)
            found.append(Stay(now, before, start, start_told, first - 1))
            now, before, start, start_told = new, first - 1, first, row
        last_m = float(beyond_m[run[-1]])
    if now != _UNKNOWN:
        found.append(Stay(now, before, start, start_told, len(fixes) - 1))
    return found


def _came_across(fixes: Fixes, beyond_m: Floats, side: Ints, unclear: Bools) -> Bools:
    """Second fixes beyond the border by more than their accuracy, shortly after a move across it."""
    beyond = np.abs(beyond_m) > fixes.accuracy_m
    second = np.append(False, beyond[1:] & beyond[:-1] & (side[1:] == side[:-1])) & ~fixes.stands & unclear
    mask = np.zeros(len(fixes), dtype=np.bool_)
    for row in np.flatnonzero(second).tolist():
        since = int(np.searchsorted(fixes.time_us, fixes.time_us[row] - round(_ACROSS_S * S)))
        there = beyond_m[since:row]
        # How far it was on the other side, and how far it is on this one.
        other_m = float(there.max(initial=0.0) if side[row] == INSIDE else -there.min(initial=0.0))
        mask[row] = other_m > 0.0 and other_m + abs(float(beyond_m[row])) >= _ACROSS_M
    return mask


def _first_side(fixes: Fixes, beyond_m: Floats) -> tuple[int, float]:
    """The side of a vehicle that stands when it is first seen, and the middle of its fixes, which tells it."""
    moving = np.flatnonzero(~fixes.stands)
    until = min(int(moving[0]) if len(moving) else len(fixes), _STANDING_FIXES)
    if until < 2:
        return _UNKNOWN, 0.0
    middle_m = float(np.median(beyond_m[:until]))
    if abs(middle_m) <= float(np.median(fixes.accuracy_m[:until])):
        return _UNKNOWN, 0.0
    return (INSIDE if middle_m < 0.0 else OUTSIDE), middle_m


def _first_beyond(side: Ints, row: int) -> int:
    """The first fix of the unbroken run on one side that ends at `row`."""
    others = np.flatnonzero(side[:row] != side[row])
    return int(others[-1]) + 1 if len(others) else 0
