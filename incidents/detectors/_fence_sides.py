"""On which side of a fence a vehicle is, fix by fix, so that the drift of a fix is no crossing. Pure maths.

A fix well away from the border tells the side by itself. One that is near the border tells it only when the vehicle
moved across in seconds, which drift does not. A vehicle that stands is where most fixes of its stand are, and changes
sides without being seen to move only if it is found far from there again and again.
"""

from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from incidents.detectors import _excursions, _track
from incidents.detectors._track import Fixes
from incidents.fences import METRES_A_DEGREE, Fence
from incidents.window import Bools, Floats, Ints, S, Window

# A fix this far from the border, or further than its own accuracy, tells the side. The drift of a parked receiver
# between houses is mostly below (docs/detection-science.md, B8: twice the accuracy at least). Judgement.
CLEAR_M: Final = 15.0
# A fix worse than this tells nothing about a fence. Judgement.
WORST_ACCURACY_M: Final = 50.0
# A standing vehicle has changed sides only if its fix is this much nearer to the other side than it was. Judgement:
# drift of more is rare even between high houses.
_DRIFT_M: Final = 50.0
# Where nothing moved in between, only if it is that and so many times the accuracy of the fix away from where it stood,
# in two fixes after each other that are so far apart in time that their errors hardly have a cause in common.
# Judgement: three standard deviations; errors of a standing receiver fade with 80 s or so.
_ASLEEP_ACCURACIES: Final = 3.0
_ASLEEP_S: Final = 60.0
# Two fixes beyond the border by twice their accuracy (B8 there) do, if the vehicle came this far across in so short a
# time.
_ACROSS_ACCURACIES: Final = 2.0
_ACROSS_M: Final = 15.0
_ACROSS_S: Final = 30.0
# Where a vehicle stands is the middle of so many of its fixes at most.
_STANDING_FIXES: Final = 60

# Columns that `track` looks at.
COLUMNS: Final = _track.TRACK_COLUMNS | {"ignition"}

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
    """The fixes of a window that can be held against a fence: none that the vehicle was at for a moment only.

    Where no speed is told, a vehicle with its ignition off stands.
    """
    fixes = _track.fixes(window, WORST_ACCURACY_M)
    off = window.flag("ignition")[fixes.rows] == 0
    fixes = replace(fixes, speed_kmh=np.where(np.isnan(fixes.speed_kmh) & off, 0.0, fixes.speed_kmh))
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
    now, beside = _first_side(fixes, beyond_m)
    start, start_told, before, last = 0, 0, None, 0
    found: list[Stay] = []
    for run in np.split(told, np.flatnonzero(np.diff(side[told])) + 1):
        rows = run[~fixes.stands[run]] if now == _UNKNOWN and beside else run
        if not len(rows):
            continue
        new = int(side[rows[0]])
        if now == _UNKNOWN:
            now, start, start_told = new, int(rows[0]), int(rows[0])
        elif new != now:
            changed = _changed(fixes, beyond_m, rows, last)
            if changed is None:
                continue
            first = _first_beyond(side, changed)
            found.append(Stay(now, before, start, start_told, first - 1))
            now, before, start, start_told = new, first - 1, first, changed
        last = int(rows[-1])
    if now != _UNKNOWN:
        found.append(Stay(now, before, start, start_told, len(fixes) - 1))
    return found


def _changed(fixes: Fixes, beyond_m: Floats, run: Ints, last: int) -> int | None:
    """The fix of a run on the other side that shows that the vehicle went there; None when all may be drift.

    `last`: the last fix that told the side it was on.
    """
    stands = fixes.stands
    moving = np.flatnonzero(~stands[: run[-1] + 1])
    begins = np.append(0, moving + 1)[np.searchsorted(moving, run)]
    rows: list[int] = run.tolist()
    for at, (row, since) in enumerate(zip(rows, begins.tolist(), strict=True)):
        if not stands[row]:
            return row
        if since > last:
            # It moved since it was surely on the other side: where it stands now is where most fixes since then are.
            far = abs(beyond_m[row] - beyond_m[last]) >= _DRIFT_M + fixes.accuracy_m[row]
            if far and row < since + _STANDING_FIXES:
                here_m = float(np.median(beyond_m[since : row + 1]))
                if abs(here_m) > CLEAR_M and (here_m < 0.0) == (beyond_m[row] < 0.0):
                    return row
        elif at and run[at - 1] == row - 1 and fixes.time_us[row] - fixes.time_us[row - 1] >= _ASLEEP_S * S:
            stood_m = float(np.median(beyond_m[max(since, last + 1 - _STANDING_FIXES) : last + 1]))
            both = slice(row - 1, row + 1)
            clear_m = _DRIFT_M + _ASLEEP_ACCURACIES * fixes.accuracy_m[both]
            if (np.abs(beyond_m[both] - stood_m) >= clear_m).all():
                return row
    return None


def _came_across(fixes: Fixes, beyond_m: Floats, side: Ints, unclear: Bools) -> Bools:
    """Second fixes clearly beyond the border for their accuracy, shortly after a move across it."""
    beyond = np.abs(beyond_m) > _ACROSS_ACCURACIES * fixes.accuracy_m
    second = np.append(False, beyond[1:] & beyond[:-1] & (side[1:] == side[:-1])) & ~fixes.stands & unclear
    mask = np.zeros(len(fixes), dtype=np.bool_)
    for row in np.flatnonzero(second).tolist():
        since = int(np.searchsorted(fixes.time_us, fixes.time_us[row] - round(_ACROSS_S * S)))
        there = beyond_m[since:row]
        # How far it was on the other side, and how far it is on this one.
        other_m = float(there.max(initial=0.0) if side[row] == INSIDE else -there.min(initial=0.0))
        mask[row] = other_m > 0.0 and other_m + abs(float(beyond_m[row])) >= _ACROSS_M
    return mask


def _first_side(fixes: Fixes, beyond_m: Floats) -> tuple[int, bool]:
    """The side of a vehicle that stands when it is first seen, by the middle of its fixes, and whether that is too near
    to the border to tell."""
    moving = np.flatnonzero(~fixes.stands)
    until = min(int(moving[0]) if len(moving) else len(fixes), _STANDING_FIXES)
    if until < 2:
        return _UNKNOWN, False
    middle_m = float(np.median(beyond_m[:until]))
    if abs(middle_m) <= float(np.median(fixes.accuracy_m[:until])):
        return _UNKNOWN, True
    return (INSIDE if middle_m < 0.0 else OUTSIDE), False


def _first_beyond(side: Ints, row: int) -> int:
    """The first fix of the unbroken run on one side that ends at `row`."""
    others = np.flatnonzero(side[:row] != side[row])
    return int(others[-1]) + 1 if len(others) else 0
