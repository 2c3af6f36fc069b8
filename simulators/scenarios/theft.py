"""Theft: driven without a contract, or out of the fence that its contract sets; and driving that is in order."""

from typing import Final

import numpy as np

from simulators.errands import DAY_S, HOUR_S, Errands, Life, Span
from simulators.play import Part, Play, circle, spans_where
from simulators.scenario import CRASH_LIKE

_LASTS_S: Final = 6 * 3600
# A vehicle that is this far outside has left: more than any error of a fix.
_LEFT_M: Final = 150.0


def _waits(part: Part) -> Errands:
    """Parked in the yard for an hour or two."""
    errands = part.errands(vehicle_class=str(part.rng.choice(["car", "van"])), heartbeat_s=120.0)
    errands.park(float(part.rng.uniform(3_000, 7_000)))
    return errands


def _goes(part: Part, errands: Errands) -> Span:
    """Driven for half an hour or so, in the ordinary way."""
    return errands.drive(float(part.rng.uniform(1_200, 2_600)))


def _without_a_contract(part: Part) -> None:
    """The last rental ended days ago; somebody starts the engine and drives off."""
    part.tenure("rental", -6 * DAY_S, -float(part.rng.uniform(1, 3)) * DAY_S)
    errands = _waits(part)
    span = _goes(part, errands)
    part.record(part.live(errands))
    part.incident("theft", span.from_s, span.until_s)


def _rented_out(part: Part) -> None:
    part.rented()
    errands = _waits(part)
    _goes(part, errands)
    part.record(part.live(errands))


def _between_rentals(part: Part) -> None:
    """Returned yesterday, booked for tonight, and on the road now."""
    part.tenure("rental", -3 * DAY_S, -0.5 * DAY_S)
    part.tenure("rental", _LASTS_S + 2 * HOUR_S, _LASTS_S + 3 * DAY_S)
    errands = _waits(part)
    span = _goes(part, errands)
    part.record(part.live(errands))
    part.incident("theft", span.from_s, span.until_s)


def _moved_by_staff(part: Part) -> None:
    """Washed and brought to another branch by staff, on a tenure of its own kind."""
    part.tenure("rental", -3 * DAY_S, -0.5 * DAY_S)
    errands = _waits(part)
    begin_s = errands.now_s
    _goes(part, errands)
    part.tenure("staff", begin_s - 600.0, errands.now_s + 900.0)
    part.record(part.live(errands))


def _out_of_its_fence(part: Part) -> None:
    """Rented for the town quarter only, and driven out of it."""
    errands = _waits(part)
    errands.drive(float(part.rng.uniform(1_500, 2_600)), bold=True)
    life = part.live(errands)
    part.record(life)
    _fenced(part, life, float(part.rng.uniform(0.35, 0.6)))


def _within_its_fence(part: Part) -> None:
    """Rented for the quarter, and driven up and down in it."""
    errands = _waits(part)
    errands.drive(float(part.rng.uniform(900, 1_800)))
    life = part.live(errands)
    part.record(life)
    _fenced(part, life, 1.0)


def _fenced(part: Part, life: Life, share: float) -> None:
    """A round fence about the start that reaches to `share` of the farthest place, or well beyond it.

    The vehicle is driven off once: to come back over the line for a minute and leave again, because the road bends that
    way, is the same theft to whoever has to call the renter. So it is true from the first time that the vehicle has
    clearly left to the end of the last time. Before this was one truth for each time over the line, which asked for
    several alarms about one drive.
    """
    away_m = np.hypot(life.x_m - life.x_m[0], life.y_m - life.y_m[0])
    farthest_m = float(away_m.max())
    radius_m = share * farthest_m if share < 1.0 else farthest_m + 120.0
    fence_id = part.fence("quarter", circle(part.plane, float(life.x_m[0]), float(life.y_m[0]), radius_m), [])
    part.tenure("rental", -DAY_S, None, (fence_id,))
    left: list[Span] = []
    over: list[Span] = []
    for span in spans_where(life.t_s, away_m > radius_m):
        (left if float(away_m[life.within(span)].max()) > radius_m + _LEFT_M else over).append(span)
    if left:
        part.incident("theft", left[0].from_s, left[-1].until_s, fence_id=fence_id)
    for span in over:
        part.allowed("theft", span.from_s - 60.0, span.until_s + 60.0)


def _cut_off(part: Part) -> None:
    """No contract; the supply is cut, a last message from the unit's own battery, then silence for good."""
    part.tenure("rental", -6 * DAY_S, -2 * DAY_S)
    errands = _waits(part)
    life = part.live(errands)
    log = part.record(life)
    cut_s = _an_instant(life, part)
    after = life.t_s >= cut_s
    log.columns["external_v"][after] = 0.0
    log.columns["battery_v"][after] -= 0.1
    part.fate.dead_from_s = cut_s + float(part.rng.uniform(250.0, 400.0))
    part.incident("unplug", cut_s, part.fate.dead_from_s)
    # What silence after a cut is called is a matter of taste; that somebody cut it is not.
    for kind in ("theft", "tamper"):
        part.allowed(kind, cut_s, part.lasts_s)


def _an_instant(life: Life, part: Part) -> float:
    """An instant in the second quarter of a life, at which a sample is taken."""
    row = int(np.searchsorted(life.t_s, part.lasts_s * float(part.rng.uniform(0.25, 0.5))))
    return float(life.t_s[row])


def _road_test(part: Part) -> None:
    """The workshop has it and takes it round the block."""
    part.tenure("rental", -9 * DAY_S, -2 * DAY_S)
    part.tenure("workshop", -2 * DAY_S, None)
    errands = _waits(part)
    errands.drive(float(part.rng.uniform(500, 1_200)))
    part.record(part.live(errands))


def _late_return(part: Part) -> None:
    """The renter is a quarter of an hour late. Worth a call or not: either answer is right."""
    errands = _waits(part)
    span = _goes(part, errands)
    part.record(part.live(errands))
    over_s = span.until_s - float(part.rng.uniform(400, 900))
    part.tenure("rental", -DAY_S, over_s)
    part.allowed("theft", over_s, span.until_s + 60.0)


def _nobody_keeps_contracts(part: Part) -> None:
    """Driven, and the operator keeps no contracts for it: no contract says nothing."""
    errands = _waits(part)
    _goes(part, errands)
    part.record(part.live(errands))


SCENARIO: Final = Play(
    name="theft",
    purpose="driven without a contract, or out of its contract's fence; staff, workshop and renters are in order",
    id_prefix="theft",
    expects=frozenset({"theft", "unplug"}),
    must_not=CRASH_LIKE | {"tow", "spoofing", "jamming", "low_battery"},
    duration_s=_LASTS_S,
    roles=(
        _without_a_contract,
        _rented_out,
        _out_of_its_fence,
        _within_its_fence,
        _between_rentals,
        _moved_by_staff,
        _cut_off,
        _road_test,
        _late_return,
        _nobody_keeps_contracts,
    ),
)
