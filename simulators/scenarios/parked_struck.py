"""Parked vehicles, locked and left, that somebody runs into: from a scrape to a heavy blow."""

from typing import Final

from simulators import pulses
from simulators.collisions import After, collide
from simulators.play import Part, Play
from simulators.scenario import CRASH_LIKE
from simulators.stunts import Stunt


def struck(part: Part) -> None:
    """Ignition off, unit asleep; struck from any side; nobody comes for a while."""
    stunt = Stunt(part)
    script, rng = stunt.script, stunt.rng
    pulse = pulses.draw("parked_hit", rng)
    stunt.park_for_long()
    impact = collide(script, pulse, rng, After.HELD)
    stunt.wind_up()
    stunt.perform()
    stunt.tell_impact("parked_impact", impact)


SCENARIO: Final = Play(
    name="parked_struck",
    purpose="parked vehicles are struck, at 3.5 to 30 km/h of delta-V",
    id_prefix="parked",
    expects=frozenset({"parked_impact"}),
    must_not=CRASH_LIKE - {"parked_impact"},
    duration_s=420,
    roles=(struck,),
)
