"""Rear-end crashes: a vehicle that stands at a light or slows down is struck from behind, engine on."""

from typing import Final

from simulators import pulses
from simulators.collisions import After, collide
from simulators.play import Part, Play
from simulators.scenario import CRASH_LIKE
from simulators.stunts import Stunt

STANDING_SHARE: Final = 0.6
DRIVES_ON_SHARE: Final = 0.20  # docs/detection-science.md, A3
DRIVES_ON_KMH: Final = 20.0


def struck(part: Part) -> None:
    """Struck while standing or slowing."""
    stunt = Stunt(part)
    script, rng = stunt.script, stunt.rng
    pulse = pulses.draw("rear_end", rng)
    stunt.set_out(float(rng.uniform(25, 50)))
    if rng.random() < STANDING_SHARE:
        script.brake(0.0)
        script.stand(float(rng.uniform(3, 25)))
        # The key is on, so it is a crash; that it stood is no reason to call it a parked car, nor a great fault.
        part.allowed("parked_impact", script.time_s - 5.0, script.time_s + 15.0)
    else:
        script.brake(float(rng.uniform(8, 20)))
    drives_on = pulse.delta_v_kmh < DRIVES_ON_KMH and rng.random() < DRIVES_ON_SHARE
    impact = collide(script, pulse, rng, After.DRIVES_ON if drives_on else After.STOPS)
    if drives_on:
        stunt.go_to(float(rng.uniform(20, 35)))
    else:
        script.running = rng.random() < 0.8
        script.stand(float(rng.uniform(40, 90)))
    stunt.wind_up()
    stunt.perform()
    stunt.tell_impact("crash", impact)


SCENARIO: Final = Play(
    name="rear_end_crash",
    purpose="vehicles are struck from behind at a light or while slowing, at 8 to 30 km/h of delta-V",
    id_prefix="rear",
    expects=frozenset({"crash"}),
    must_not=CRASH_LIKE - {"crash", "parked_impact"},
    duration_s=480,
    roles=(struck,),
)
