"""Odometer rollback: fewer kilometres than yesterday, for good; and readings that are only wrong for a moment."""

from typing import Final

import numpy as np

from simulators.condition import Build
from simulators.errands import Life, Span
from simulators.play import Part, Play
from simulators.scenario import CRASH_LIKE

_LASTS_S: Final = 6 * 3600
TAKEN_OFF_KM: Final = (300.0, 60_000.0)


def _day(part: Part, odometer_km: tuple[float, float] = (70_000.0, 140_000.0)) -> tuple[Life, Build]:
    part.rented()
    errands = part.errands(every_s=5.0, heartbeat_s=300.0)
    for _ in range(3):
        errands.park(float(part.rng.uniform(1_500, 4_000)))
        errands.drive(float(part.rng.uniform(1_200, 2_000)))
    return part.live(errands), Build.drawn(part.rng, odometer_km=float(part.rng.uniform(*odometer_km)))


def _turned_back(part: Part) -> None:
    """At a stop somebody writes a smaller number into the instrument cluster."""
    life, build = _day(part)
    log = part.record(life, build=build)
    first, second = life.trips()[:2]
    at_s = Span(first.until_s, second.from_s).inner(float(part.rng.uniform(0.3, 0.8)))
    taken_km = float(np.exp(part.rng.uniform(*(np.log(km) for km in TAKEN_OFF_KM))))
    log.columns["odometer_km"][life.t_s >= at_s] -= taken_km
    part.incident("odometer_rollback", at_s, part.lasts_s, taken_off_km=round(taken_km))


def _zero_at_start(part: Part) -> None:
    """While the cluster wakes up it says 0 for a second or three, then the true number again."""
    life, build = _day(part)
    log = part.record(life, build=build)
    for trip in life.trips():
        rows = np.flatnonzero(life.within(Span(trip.from_s, trip.from_s + float(part.rng.integers(0, 3)))))
        log.columns["odometer_km"][rows] = 0.0


def _turned_back_on_the_road(part: Part) -> None:
    """A box between cluster and network begins to lie while the vehicle drives."""
    life, build = _day(part)
    log = part.record(life, build=build)
    at_s = life.trips()[1].inner(float(part.rng.uniform(0.3, 0.7)))
    taken_km = float(np.exp(part.rng.uniform(*(np.log(km) for km in TAKEN_OFF_KM))))
    log.columns["odometer_km"][life.t_s >= at_s] -= taken_km
    part.incident("odometer_rollback", at_s, part.lasts_s, taken_off_km=round(taken_km))


def _whole_kilometres(part: Part) -> None:
    """The network carries whole kilometres, the unit counts metres in between and steps back when it learns better."""
    life, build = _day(part)
    log = part.record(life, build=build)
    true_km = log.columns["odometer_km"]
    counted = true_km + 0.004 * (true_km - true_km[0])
    log.columns["odometer_km"] = np.where(life.within(life.trips()[1]), counted + 0.3, np.floor(true_km))


def _out_of_order(part: Part) -> None:
    """Late messages bring older, smaller numbers after newer ones: each belongs to its own time."""
    life, build = _day(part)
    part.record(life, build=build)
    second = life.trips()[1]
    part.fate.silences = [Span(second.inner(0.2), second.until_s + 1_200.0)]
    part.fate.shuffled, part.fate.doubled = True, 0.2
    # Silence on the road for an hour is silence, until what was stored arrives.
    part.allowed("offline_while_moving", second.from_s, second.until_s + 1_500.0)
    part.allowed("feed_late", second.from_s, second.until_s + 1_500.0)


SCENARIO: Final = Play(
    name="odometer_rollback",
    purpose="fewer kilometres for good; zeros at start, rounding and late messages are not",
    id_prefix="odo",
    expects=frozenset({"odometer_rollback"}),
    must_not=CRASH_LIKE | {"tamper", "spoofing", "implausible_position", "theft"},
    duration_s=_LASTS_S,
    roles=(_turned_back, _zero_at_start, _turned_back_on_the_road, _whole_kilometres, _out_of_order),
)
