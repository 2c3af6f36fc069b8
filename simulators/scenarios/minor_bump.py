"""Bumps in car parks: under way at walking pace, or parked and touched by somebody else."""

from typing import Final

from simulators import pulses
from simulators.collisions import After, approach_kmh, collide
from simulators.play import Part, Play
from simulators.scenario import CRASH_LIKE
from simulators.stunts import Stunt


def bump(part: Part) -> None:
    """Runs gently into something; stops to look, or drives on."""
    stunt = Stunt(part)
    script, rng = stunt.script, stunt.rng
    pulse = pulses.draw("bump", rng)
    stunt.set_out(float(rng.uniform(18, 30)))
    drives_on = bool(rng.random() < 0.5)
    # Who drives on has touched something in passing and is still rolling after it.
    rolls_kmh = approach_kmh(pulse) + (float(rng.uniform(4, 9)) if drives_on else float(rng.uniform(0, 4)))
    script.brake(max(4.0, rolls_kmh))
    script.cruise(float(rng.uniform(3, 8)))
    impact = collide(script, pulse, rng, After.DRIVES_ON if drives_on else After.STOPS)
    if drives_on:
        stunt.go_to(float(rng.uniform(15, 30)))
    else:
        script.stand(float(rng.uniform(20, 60)))
    stunt.wind_up()
    stunt.perform()
    stunt.tell_impact("crash", impact)


def touched(part: Part) -> None:
    """Parked and touched while somebody manoeuvres."""
    stunt = Stunt(part)
    script, rng = stunt.script, stunt.rng
    pulse = pulses.draw("bump", rng, toward_deg=float(rng.uniform(0, 360)))
    stunt.park_for_long()
    impact = collide(script, pulse, rng, After.HELD)
    stunt.wind_up()
    stunt.perform()
    stunt.tell_impact("parked_impact", impact)


SCENARIO: Final = Play(
    name="minor_bump",
    purpose="vehicles bump or are bumped at walking pace, at 3 to 7 km/h of delta-V",
    id_prefix="bump",
    expects=frozenset({"crash", "parked_impact"}),
    must_not=CRASH_LIKE - {"crash", "parked_impact"},
    duration_s=420,
    roles=(bump, touched),
)
