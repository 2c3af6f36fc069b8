"""Speeding: over the limit that the unit sends or that a fence sets, and what only looks like it."""

from typing import Final

import numpy as np

from simulators.errands import Life
from simulators.play import Part, Play, circle
from simulators.routes import GRID_M, Route, Wish
from simulators.scenario import CRASH_LIKE
from simulators.scenarios._stretches import F64, faster, stretches, tell_speeding, windows

_LASTS_S: Final = 2_400
_DRIVE_S: Final = 1_700.0
_FENCE: Final = "works"


def _driven(part: Part, wish: Wish | None, *, limits: bool = True, tell: bool = True) -> Life:
    """Parked, driven without a stop on the greater roads, parked again. `tell`: by the limit of the road."""
    part.rented()
    errands = part.errands(greater=True)
    errands.park(float(part.rng.uniform(60, 240)))
    errands.drive(_DRIVE_S, bold=True, stops=False, wish=wish)
    life = part.live(errands)
    part.record(life, limits=limits)
    if tell:
        tell_speeding(part, life, life.limit_kmh)
    return life


def _lengths(part: Part, seconds: tuple[float, float], count: int) -> list[float]:
    """Lengths of windows that take so many seconds at town speed, besides gathering speed and losing it again."""
    lengths: list[float] = (part.rng.uniform(*seconds, count) * 18.0 + 160.0).tolist()
    return lengths


def _over_the_limit(part: Part) -> None:
    share = float(part.rng.uniform(1.12, 1.55))
    _driven(part, faster(share, _lengths(part, (12, 90), 3)))
    while not part.eventful:
        # Not every quarter has a road on which one could: elsewhere, and somewhat slower.
        part.anew()
        share = max(1.12, 0.95 * share)
        _driven(part, faster(share, _lengths(part, (12, 60), 3)))


def _within_tolerance(part: Part) -> None:
    """A brisk driver at or a little over the limit the whole time, by less than the tolerance forgives."""
    share = float(part.rng.uniform(1.0, 1.03))
    _driven(part, lambda route, _wanted, turning: np.minimum(turning, route.limit_mps * share))


def _with_gaps(part: Part) -> None:
    """Over the limit, below it for a moment, over it again: one case, not three."""
    over_mps = float(part.rng.uniform(7.0, 9.0)) / 3.6

    def wish(route: Route, wanted: F64, turning: F64) -> F64:
        wanted = wanted.copy()
        high = route.limit_mps + over_mps
        share = float(high.max() / route.limit_mps.max())
        for window in windows(stretches(route, turning, share, 700.0), [700.0, 700.0]):
            wanted[window] = high[window]
            for place_m in (280.0, 470.0):
                dip = window.start + int(place_m / GRID_M)
                wanted[dip : dip + 2] = route.limit_mps[dip : dip + 2] + 1.0 / 3.6
        return wanted

    _driven(part, wish)


def _short_bursts(part: Part) -> None:
    """For a second or two a little above the tolerance: overtaking a cyclist, a gust of haste."""

    def wish(route: Route, wanted: F64, turning: F64) -> F64:
        wanted = wanted.copy()
        for window in windows(stretches(route, turning, 1.2, 300.0), [300.0] * 4):
            limit_kmh = float(route.limit_mps[window.start]) * 3.6
            calm, peak = limit_kmh - 1.0, limit_kmh + max(3.0, 0.05 * limit_kmh) + 1.2
            # As far as it takes from one to the other at 1 m/s2: hardly any of it is left for the top.
            reach = int((peak**2 - calm**2) / 3.6**2 / 2 / GRID_M)
            middle = (window.start + window.stop) // 2
            wanted[window] = calm / 3.6
            wanted[middle - reach : middle + reach] = peak / 3.6
        return wanted

    _driven(part, wish)


def _brakes_late(part: Part) -> None:
    """Keeps to each limit, but begins to brake only at the sign of a lower one."""

    def wish(route: Route, _wanted: F64, turning: F64) -> F64:
        square = (0.98 * route.limit_mps) ** 2
        for change in np.flatnonzero(np.diff(route.limit_mps) < 0.0).tolist():
            after = (route.s_m[change + 1 :] - route.s_m[change]) * 2 * 1.5
            square[change + 1 :] = np.maximum(square[change + 1 :], square[change] - after)
        return np.minimum(turning, np.sqrt(square))

    _driven(part, wish)


def _through_a_fence(part: Part) -> None:
    """The unit knows no limit; a fence round works sets one, where the vehicle drives through at its usual speed."""
    life = _driven(part, None, limits=False, tell=False)
    rows = np.flatnonzero(life.speed_mps > 8.0)
    row = int(part.rng.choice(rows[len(rows) // 4 : 3 * len(rows) // 4]))
    x_m, y_m, radius_m = float(life.x_m[row]), float(life.y_m[row]), float(part.rng.uniform(140.0, 220.0))
    limit_kmh = 5.0 * round(float(life.speed_mps[row]) * 3.6 * 0.65 / 5.0)
    part.fence(_FENCE, circle(part.plane, x_m, y_m, radius_m), [], speed_limit_kmh=limit_kmh)
    inside = np.hypot(life.x_m - x_m, life.y_m - y_m) <= radius_m
    tell_speeding(part, life, np.where(inside, limit_kmh, np.nan))


def _leaping_speed(part: Part) -> None:
    """A receiver between towers reports single wild speeds, with the accuracy to match; the wheels know better."""
    life = _driven(part, None)
    under_way = np.flatnonzero(life.speed_mps > 8.0)
    for row in part.rng.choice(under_way, size=6, replace=False).tolist():
        part.log.columns["speed_kmh"][row] += float(part.rng.uniform(35.0, 70.0))
        part.log.columns["accuracy_m"][row] = float(part.rng.uniform(50.0, 120.0))
        part.log.columns["hdop"][row] = float(part.rng.uniform(8.0, 15.0))
        part.log.columns["satellites"][row] = 4.0


def _limit_unknown(part: Part) -> None:
    """Fast, but nobody knows the limit there: nothing can be said."""
    _driven(part, faster(1.3, _lengths(part, (20, 60), 3)), limits=False, tell=False)


SCENARIO: Final = Play(
    name="speeding",
    purpose="faster than the limit that is sent or fenced; tolerance, bursts, late braking and wild fixes are not",
    id_prefix="speed",
    expects=frozenset({"speeding"}),
    must_not=CRASH_LIKE
    | {"harsh_braking", "harsh_acceleration", "harsh_cornering", "spoofing", "implausible_position"},
    duration_s=_LASTS_S,
    roles=(
        _over_the_limit,
        _within_tolerance,
        _with_gaps,
        _short_bursts,
        _through_a_fence,
        _brakes_late,
        _leaping_speed,
        _limit_unknown,
    ),
)
