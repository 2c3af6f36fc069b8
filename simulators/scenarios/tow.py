"""Tow: lifted and carried away with the ignition off, and what else tilts or moves a parked vehicle."""

from typing import Any, Final

import numpy as np

from simulators.condition import Build
from simulators.errands import DAY_S, HOUR_S, Errands, Life, Span
from simulators.play import Part, Play
from simulators.reception import Shade
from simulators.scenario import CRASH_LIKE

_LASTS_S: Final = 4 * 3600
# Angle and time of a lift, speed of the truck: recipe for tow-away traces (3 to 15 degrees over 10 to 60 s, 20 to 60
# km/h, no key).
TILT_DEG: Final = (3.0, 15.0)
TILTING_S: Final = (10.0, 60.0)
TRUCK_KMH: Final = (25.0, 60.0)
ALARM_SHARE: Final = 0.3  # of the units, which raise the alarm themselves


def _parked(part: Part, **asked: Any) -> Errands:
    """Driven somewhere and left there long enough for the unit to be armed."""
    errands = part.errands(heartbeat_s=float(part.rng.choice([60.0, 120.0, 300.0])), **asked)
    errands.drive(float(part.rng.uniform(240, 600)))
    errands.park(float(part.rng.uniform(1_500, 4_500)))
    return errands


def _taken(part: Part, errands: Errands, *, tilt: bool, told: bool = True) -> Span:
    """Carried off and set down; `tilt`: the unit can see the lift. `told`: nobody ordered it."""
    rng = part.rng
    span = errands.towed(
        float(rng.uniform(700, 2_000)),
        tilt_deg=float(rng.uniform(*TILT_DEG)) * float(rng.choice([-1.0, 1.0])),
        tilting_s=float(rng.uniform(*TILTING_S)),
        speed_kmh=float(rng.uniform(*TRUCK_KMH)),
    )
    part.record(part.live(errands), gravity=tilt, build=Build.drawn(rng, part.vehicle_class))
    if told:
        part.incident("tow", span.from_s, span.until_s)
        if rng.random() < ALARM_SHARE:
            part.alarm("tow", span.from_s + float(rng.uniform(20.0, 60.0)))
    return span


def _from_the_street(part: Part) -> None:
    """A renter's vehicle is taken away while he is gone."""
    part.rented()
    _taken(part, _parked(part), tilt=True)


def _on_a_ferry(part: Part) -> None:
    """A renter takes the ferry: carried with the ignition off, on an even keel."""
    part.rented()
    errands = part.errands(heartbeat_s=60.0)
    errands.drive(float(part.rng.uniform(240, 600)))
    errands.park(float(part.rng.uniform(300, 900)))
    here = np.array(part.roads.position(errands.place)[:2])
    places = [part.roads.anywhere(part.rng) for _ in range(24)]
    across = max(places, key=lambda place: float(np.hypot(*(np.array(part.roads.position(place)[:2]) - here))))
    errands.ferried(float(part.rng.uniform(500, 1_200)), speed_kmh=float(part.rng.uniform(15, 30)), to=across)
    errands.park(float(part.rng.uniform(120, 400)))
    errands.drive(600)
    part.record(part.live(errands), gravity=True)


def _from_the_depot(part: Part) -> None:
    """Nobody has a contract, and a truck takes it from the yard. That is theft as well as a tow."""
    part.tenure("rental", -9 * DAY_S, -2 * DAY_S)
    errands = part.errands(heartbeat_s=120.0)
    errands.park(float(part.rng.uniform(1_500, 4_500)))
    span = _taken(part, errands, tilt=True)
    part.allowed("theft", span.from_s, span.until_s + HOUR_S)


def _wheel_change(part: Part) -> None:
    """Jacked up at one corner for a wheel change, and let down where it stood."""
    part.rented()
    errands = _parked(part)
    sign = float(part.rng.choice([-1.0, 1.0]))
    errands.tilted(
        float(part.rng.uniform(900, 1_800)),
        pitch_deg=float(part.rng.uniform(1.0, 3.0)),
        roll_deg=sign * float(part.rng.uniform(3.0, 6.0)),
        over_s=float(part.rng.uniform(20.0, 60.0)),
    )
    errands.park(300)
    errands.drive(600)
    part.record(part.live(errands), gravity=True)


def _without_a_lift_to_see(part: Part) -> None:
    """No contract, and a unit that takes gravity out: only the way tells."""
    part.tenure("rental", -5 * DAY_S, -1 * DAY_S)
    span = _taken(part, _parked_in_the_yard(part), tilt=False)
    part.allowed("theft", span.from_s, span.until_s + HOUR_S)


def _parked_in_the_yard(part: Part) -> Errands:
    errands = part.errands(vehicle_class="van", heartbeat_s=120.0)
    errands.park(float(part.rng.uniform(1_500, 4_500)))
    return errands


def _storm(part: Part) -> None:
    """Wind rocks it, and reflections pull the parked fix about for hours."""
    part.rented()
    errands = _parked(part)
    calm_s = errands.now_s
    errands.park(2 * HOUR_S)
    life = part.live(errands)
    gust = Span(calm_s, calm_s + 2 * HOUR_S)
    _rocked(part, life, gust)
    shade = Shade(gust, fade_s=60.0, lost=False, error_m=float(part.rng.uniform(10.0, 22.0)))
    log = part.record(life, shades=[shade], gravity=True)
    rows = life.within(gust)
    for axis in ("accel_x_mps2", "accel_y_mps2"):
        log.columns[axis][rows] += part.rng.normal(0.0, 0.15, int(rows.sum()))


def _rocked(part: Part, life: Life, gust: Span) -> None:
    rows = life.within(gust)
    life.roll_deg[rows] += part.rng.normal(0.0, 0.4, int(rows.sum()))
    life.pitch_deg[rows] += part.rng.normal(0.0, 0.2, int(rows.sum()))


def _nobody_keeps_contracts(part: Part) -> None:
    """The operator keeps no contracts for it; the lift alone tells."""
    _taken(part, _parked(part), tilt=True)


def _ordered(part: Part) -> None:
    """The operator's own recovery truck: the tow is a tenure of the vehicle."""
    part.tenure("rental", -3 * DAY_S, 0.0)
    errands = part.errands(heartbeat_s=120.0)
    errands.park(float(part.rng.uniform(1_500, 4_500)))
    part.tenure("tow", errands.now_s - 1_200, None)
    _taken(part, errands, tilt=True, told=False)


SCENARIO: Final = Play(
    name="tow",
    purpose="lifted and carried off with the ignition off; a ferry, a jack, wind and an ordered tow are not",
    id_prefix="tow",
    expects=frozenset({"tow"}),
    must_not=CRASH_LIKE | {"spoofing", "jamming", "implausible_position", "feed_frozen", "loose_mounting"},
    duration_s=_LASTS_S,
    roles=(
        _from_the_street,
        _on_a_ferry,
        _from_the_depot,
        _wheel_change,
        _without_a_lift_to_see,
        _storm,
        _nobody_keeps_contracts,
        _ordered,
    ),
)
