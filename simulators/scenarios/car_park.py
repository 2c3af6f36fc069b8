"""Underground car parks: the sky fades away on the ramp, hours without a fix, and out again where it went in."""

from typing import Final

import numpy as np

from simulators.errands import Span
from simulators.play import Part, Play
from simulators.reception import Shade
from simulators.routes import Wish
from simulators.scenario import CRASH_LIKE

_LASTS_S: Final = 5 * 3600
RAMP_KMH: Final = (8.0, 15.0)
FADE_S: Final = (5.0, 15.0)
INSIDE_S: Final = (40.0, 120.0)


def _slowly(kmh: float) -> Wish:
    return lambda _route, wanted, _turning: np.minimum(wanted, kmh / 3.6)


def _parks_inside(part: Part, *, network: bool, stays_s: float) -> None:
    part.rented()
    rng = part.rng
    errands = part.errands(heartbeat_s=120.0)
    errands.drive(float(rng.uniform(900, 1_500)))
    into = errands.drive(float(rng.uniform(*INSIDE_S)), stops=False, wish=_slowly(float(rng.uniform(*RAMP_KMH))))
    errands.park(stays_s)
    out = errands.drive(float(rng.uniform(*INSIDE_S)), stops=False, wish=_slowly(float(rng.uniform(*RAMP_KMH))))
    errands.drive(float(rng.uniform(900, 1_500)))
    dark = Span(into.from_s + float(rng.uniform(8.0, 20.0)), out.until_s - float(rng.uniform(3.0, 12.0)))
    part.record(part.live(errands), shades=[Shade(dark, fade_s=float(rng.uniform(*FADE_S)))])
    if not network:
        part.fate.silences = [Span(dark.from_s + 5.0, dark.until_s + 5.0)]


def _with_network(part: Part) -> None:
    """Heartbeats go on without a fix."""
    _parks_inside(part, network=True, stays_s=float(part.rng.uniform(3_000, 9_000)))


def _without_network(part: Part) -> None:
    """Nothing is heard for hours; the heartbeats come when it leaves."""
    _parks_inside(part, network=False, stays_s=float(part.rng.uniform(3_000, 9_000)))


def _drops_somebody(part: Part) -> None:
    """In, five minutes with the engine off, out again."""
    _parks_inside(part, network=bool(part.rng.random() < 0.5), stays_s=float(part.rng.uniform(200, 420)))


SCENARIO: Final = Play(
    name="car_park",
    purpose="underground car parks, with and without network: no incident",
    id_prefix="carpark",
    expects=frozenset(),
    must_not=CRASH_LIKE | {"jamming", "spoofing", "implausible_position", "offline_while_moving", "tow", "tamper"},
    duration_s=_LASTS_S,
    roles=(_with_network, _without_network, _drops_somebody),
)
