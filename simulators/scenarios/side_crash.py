"""Side crashes at junctions: a crossing vehicle is struck, spins and slides to rest."""

from typing import Final

from simulators import pulses
from simulators.collisions import After, collide
from simulators.play import Part, Play
from simulators.scenario import CRASH_LIKE
from simulators.stunts import Stunt

AIRBAG_SHARE: Final = 0.4
AIRBAG_LATERAL_KMH: Final = 16.5  # side bags open from here: an emergency by its lateral delta-V as well


def struck(part: Part) -> None:
    """Struck from the left or the right while it crosses."""
    stunt = Stunt(part)
    script, rng = stunt.script, stunt.rng
    pulse = pulses.draw("side", rng, toward_deg=float(rng.choice((-90.0, 90.0))))
    stunt.set_out(float(rng.uniform(20, 55)))
    if rng.random() < 0.4:
        script.brake(script.speed_kmh * float(rng.uniform(0.5, 0.8)), float(rng.uniform(2.0, 6.0)))
    impact = collide(script, pulse, rng, After.STOPS)
    airbag = pulse.lateral_kmh > AIRBAG_LATERAL_KMH and rng.random() < AIRBAG_SHARE
    if airbag:
        script.alarm("airbag", impact.at_s + 0.03)
        part.allowed("airbag", impact.at_s - 1.0, impact.at_s + 10.0)
    script.running = rng.random() < 0.5
    script.stand(float(rng.uniform(40, 90)))
    stunt.wind_up()
    stunt.perform()
    stunt.tell_impact("crash", impact, airbag=airbag, yaw_dps=round(pulse.yaw_dps, 1))


SCENARIO: Final = Play(
    name="side_crash",
    purpose="vehicles are struck from the side and spin, at 10 to 35 km/h of delta-V",
    id_prefix="side",
    expects=frozenset({"crash"}),
    must_not=CRASH_LIKE - {"crash", "airbag"},
    duration_s=480,
    roles=(struck,),
)
