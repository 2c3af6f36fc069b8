"""Fences entered, left, stayed in and crossed between two fixes; and vehicles that only come near one."""

import itertools
from typing import Final

import numpy as np
from numpy.typing import NDArray

from simulators.errands import Life, Span
from simulators.play import Part, Play, circle, spans_where
from simulators.reception import Shade
from simulators.scenario import CRASH_LIKE

F64 = NDArray[np.float64]

_LASTS_S: Final = 3 * 3600
# Further over the border than any error of a fix in the open, and for longer than a stray one: a crossing in earnest.
CLEAR_M: Final = 40.0
CLEAR_S: Final = 8.0
# A vehicle that comes this near may be taken for inside by an honest fix.
NEAR_M: Final = 25.0
ENTRY: Final = "geofence_entry"
EXIT: Final = "geofence_exit"
DWELL: Final = "geofence_dwell"


def _fence(
    part: Part, life: Life, at: tuple[float, float], radius_m: float, rules: list[str], *, dwell_s: float | None = None
) -> F64:
    """A round fence with its truth: metres of each sample from its border, negative inside."""
    level = int(part.rng.integers(1, 3))
    more = {} if dwell_s is None else {"dwell_s": dwell_s}
    fence_id = part.fence("area", circle(part.plane, *at, radius_m), rules, level=level, **more)
    border_m: F64 = np.hypot(life.x_m - at[0], life.y_m - at[1]) - radius_m
    facts = {"fence_id": fence_id, "level": level}
    sides = _sides(life, border_m)
    crossed = [(inside, stay.from_s) for (before, _), (inside, stay) in itertools.pairwise(sides) if before != inside]
    for inside, at_s in crossed:
        kind = ENTRY if inside else EXIT
        if kind.removeprefix("geofence_") in rules:
            part.incident(kind, at_s, at_s + 5.0, **facts)
    for inside, stay in sides:
        if inside and dwell_s is not None and stay.lasts_s > dwell_s:
            part.incident(DWELL, stay.from_s + dwell_s, stay.until_s, dwell_s=dwell_s, **facts)
    moving_near = (np.abs(border_m) < NEAR_M) & (life.speed_mps > 0.5)
    for brush in spans_where(life.t_s, moving_near):
        over = np.diff(border_m[life.within(brush)] < 0.0).sum()
        if over == 1 and any(brush.from_s <= at_s <= brush.until_s for _, at_s in crossed):
            continue  # straight across, once: there is nothing to be in doubt about
        for rule in ("entry", "exit"):
            if rule in rules:
                part.allowed(f"geofence_{rule}", brush.from_s - 20.0, brush.until_s + 20.0)
    return border_m


def _sides(life: Life, border_m: F64) -> list[tuple[bool, Span]]:
    """Stays on either side in earnest, in order; what is neither deep nor long belongs to the stay before it."""
    sides: list[tuple[bool, Span]] = []
    for inside in (True, False):
        for stay in spans_where(life.t_s, (border_m < 0.0) == inside):
            rows = life.within(stay)
            deep_m = float(np.abs(border_m[rows]).max())
            if deep_m >= CLEAR_M and stay.lasts_s >= CLEAR_S:
                sides.append((inside, stay))
    return sorted(sides, key=lambda item: item[1])


def _trip(part: Part, *, every_s: float = 1.0, bold: bool = False) -> tuple[Life, Span]:
    """Parked, a quarter of an hour and more of driving, parked."""
    part.rented()
    part.fate.batch = 10 if every_s <= 10.0 else 2
    errands = part.errands(every_s=every_s, heartbeat_s=60.0, greater=bold)
    errands.park(float(part.rng.uniform(600, 1_500)))
    drive = errands.drive(float(part.rng.uniform(840, 1_440)), bold=bold)
    return part.live(errands), drive


def _leaves(part: Part) -> None:
    """Out of the quarter where it stood."""
    life, _ = _trip(part)
    part.record(life)
    away_m = np.hypot(life.x_m - life.x_m[0], life.y_m - life.y_m[0])
    radius_m = float(part.rng.uniform(0.35, 0.6) * away_m.max())
    _fence(part, life, (float(life.x_m[0]), float(life.y_m[0])), radius_m, ["entry", "exit"])


def _parked_at_the_border(part: Part) -> None:
    """Parked a few metres from the border while reflections pull the fix over it and back for hours."""
    part.rented()
    errands = part.errands(heartbeat_s=float(part.rng.choice([60.0, 120.0])))
    errands.park(_LASTS_S)
    life = part.live(errands)
    shades = [
        Shade(Span(begin_s, begin_s + 2_400.0), fade_s=120.0, lost=False, error_m=float(part.rng.uniform(8.0, 18.0)))
        for begin_s in (900.0, 4_200.0, 7_500.0)
    ]
    part.record(life, shades=shades)
    turn, radius_m = float(part.rng.uniform(0.0, 2 * np.pi)), float(part.rng.uniform(150.0, 400.0))
    reach_m = radius_m + float(part.rng.uniform(5.0, 14.0)) * float(part.rng.choice([-1.0, 1.0]))
    at = (float(life.x_m[0]) + reach_m * np.cos(turn), float(life.y_m[0]) + reach_m * np.sin(turn))
    part.fence("area", circle(part.plane, *at, radius_m), ["entry", "exit"])


def _arrives_and_stays(part: Part) -> None:
    """Into an area where it must not be for long, and parked there."""
    life, _ = _trip(part)
    part.record(life)
    _fence(
        part, life, (float(life.x_m[-1]), float(life.y_m[-1])), float(part.rng.uniform(120.0, 250.0)),
        ["entry", "exit", "dwell"], dwell_s=float(part.rng.integers(10, 40) * 60),
    )  # fmt: skip


def _drives_past(part: Part) -> None:
    """Along the outside of an area, never nearer than fifty metres."""
    life, drive = _trip(part)
    part.record(life)
    row = int(np.flatnonzero(life.within(drive) & (life.speed_mps > 5.0))[200])
    for _ in range(40):
        turn, radius_m = float(part.rng.uniform(0.0, 2 * np.pi)), float(part.rng.uniform(60.0, 200.0))
        reach_m = radius_m + 55.0
        at = (float(life.x_m[row]) + reach_m * np.cos(turn), float(life.y_m[row]) + reach_m * np.sin(turn))
        if float(np.hypot(life.x_m - at[0], life.y_m - at[1]).min()) - radius_m > 50.0:
            break
    else:
        # Surrounded by its own way: an area that it does not come near at all.
        at, radius_m = (float(life.x_m.max()) + 500.0, float(life.y_m.max()) + 500.0), 200.0
    part.fence("area", circle(part.plane, *at, radius_m), ["entry", "exit"])


def _between_two_fixes(part: Part) -> None:
    """Through a small area within the half minute between two samples: no fix lies in it, the way does."""
    life, drive = _trip(part, every_s=30.0, bold=True)
    part.record(life)
    x_m, y_m = life.x_m, life.y_m
    step_m = np.hypot(np.diff(x_m), np.diff(y_m))
    course = np.degrees(np.arctan2(np.diff(x_m), np.diff(y_m))) % 360.0
    # Straight on from one sample to the next, as far as the headings at both and the way rolled tell.
    off_deg = [np.abs((heading - course + 180.0) % 360.0 - 180.0) for heading in _ends(life.heading_deg)]
    detour = np.abs(life.rolled_m[1:] / np.maximum(step_m, 1.0) - 1.0)
    straight = np.maximum(*off_deg) + 40.0 * detour
    good = life.within(drive)[1:] & life.within(drive)[:-1] & (step_m > 250.0)
    row = int(np.argmin(np.where(good, straight, 1e9)))
    at = (float(x_m[row] + x_m[row + 1]) / 2, float(y_m[row] + y_m[row + 1]) / 2)
    radius_m = min(90.0, 0.5 * float(step_m[row]) - 60.0)
    border_m = _fence(part, life, at, radius_m, ["entry", "exit"])
    fence_id, level = part.fences[-1]["fence_id"], part.fences[-1]["level"]
    if border_m[row] > 0.0 and border_m[row + 1] > 0.0:
        for kind in (ENTRY, EXIT):
            part.incident(kind, float(life.t_s[row]), float(life.t_s[row + 1]), fence_id=fence_id, level=level)
            # The town's blocks lead vehicles back: other ways through the area, or near it, may be found too.
            for other in np.flatnonzero(_nearest_m(x_m - at[0], y_m - at[1]) < radius_m + NEAR_M):
                if other != row:
                    part.allowed(kind, float(life.t_s[other]), float(life.t_s[other + 1]))


def _nearest_m(x_m: F64, y_m: F64) -> F64:
    """How near each straight step from one sample to the next, (n - 1,), comes to the origin."""
    dx_m, dy_m = np.diff(x_m), np.diff(y_m)
    along = -(x_m[:-1] * dx_m + y_m[:-1] * dy_m) / np.maximum(dx_m**2 + dy_m**2, 1e-9)
    share = np.clip(along, 0.0, 1.0)
    return np.hypot(x_m[:-1] + share * dx_m, y_m[:-1] + share * dy_m)


def _ends(values: F64) -> tuple[F64, F64]:
    """The value at the beginning and at the end of each step between samples."""
    return values[:-1], values[1:]


def _short_visit(part: Part) -> None:
    """In an area for ten minutes where twenty-five are allowed."""
    part.rented()
    errands = part.errands(heartbeat_s=60.0)
    errands.park(float(part.rng.uniform(600, 1_500)))
    errands.drive(900)
    stop = errands.park(float(part.rng.uniform(480, 660)))
    errands.drive(900)
    life = part.live(errands)
    part.record(life)
    row = int(np.flatnonzero(life.within(stop))[0])
    away_m = np.hypot(life.x_m - life.x_m[row], life.y_m - life.y_m[row])
    part.fence(
        "area", circle(part.plane, float(life.x_m[row]), float(life.y_m[row]), min(150.0, 0.2 * float(away_m.max()))),
        ["dwell"], dwell_s=1_500.0,
    )  # fmt: skip


SCENARIO: Final = Play(
    name="geofence_exit",
    purpose="fences left, entered, stayed in, crossed between two fixes; drift at the border and passing by are not",
    id_prefix="fence",
    expects=frozenset({ENTRY, EXIT, DWELL}),
    must_not=CRASH_LIKE | {"theft", "tow", "spoofing", "implausible_position", "speeding"},
    duration_s=_LASTS_S,
    roles=(
        _leaves,
        _parked_at_the_border,
        _arrives_and_stays,
        _drives_past,
        _between_two_fixes,
        _short_visit,
    ),
)
