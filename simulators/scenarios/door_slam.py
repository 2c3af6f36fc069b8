"""People get in and out: doors and boots of standing vehicles are slammed, and nothing has happened."""

from typing import Final

from simulators import pulses
from simulators.play import Part, Play
from simulators.scenario import CRASH_LIKE, HARSH
from simulators.stunts import Stunt


def _slams(stunt: Stunt, most_s: float) -> None:
    for _ in range(int(stunt.rng.integers(2, 7))):
        knock = pulses.door_slam(stunt.rng) if stunt.rng.random() < 0.7 else pulses.boot_slam(stunt.rng)
        stunt.script.knock(knock)
        stunt.script.stand(float(stunt.rng.uniform(2, most_s)))


def loading(part: Part) -> None:
    """Parked; somebody fetches things from it, key in the pocket."""
    stunt = Stunt(part)
    stunt.park_for_long()
    _slams(stunt, 40.0)
    stunt.wind_up()
    stunt.perform()


def leaving(part: Part) -> None:
    """Comes, stops, and everybody gets out, engine on and then off."""
    stunt = Stunt(part)
    stunt.set_out()
    stunt.script.brake(0.0)
    stunt.script.stand(float(stunt.rng.uniform(4, 10)))
    _slams(stunt, 10.0)
    stunt.script.park(float(stunt.rng.uniform(2, 6)))
    _slams(stunt, 20.0)
    stunt.wind_up()
    stunt.perform()


SCENARIO: Final = Play(
    name="door_slam",
    purpose="doors and boots of standing vehicles are slammed at 0.3 to 1 g",
    id_prefix="slam",
    expects=frozenset(),
    must_not=CRASH_LIKE | HARSH,
    duration_s=480,
    roles=(loading, leaving),
)
