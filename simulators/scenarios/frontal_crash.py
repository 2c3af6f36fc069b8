"""Frontal crashes: into a wall, a pole, an oncoming vehicle or the back of one, braked before or not."""

from typing import Final

from simulators import pulses
from simulators.collisions import After, approach_kmh, collide
from simulators.play import Part, Play
from simulators.scenario import CRASH_LIKE
from simulators.stunts import Stunt

AIRBAG_SHARE: Final = 0.5  # of units hear the airbag of a vehicle whose airbag opens
AIRBAG_KMH: Final = 27.5  # opens from here: clearly an emergency by its delta-V as well
SILENT_SHARE: Final = 0.15  # of the hardest crashes end the unit too
SILENT_KMH: Final = 40.0
DRIVES_ON_SHARE: Final = 0.20  # of moderate ones: docs/detection-science.md, A3
DRIVES_ON_KMH: Final = 20.0


def crash(part: Part) -> None:
    """A drive that ends in something ahead."""
    stunt = Stunt(part)
    script, rng = stunt.script, stunt.rng
    heavy = part.vehicle_class == "heavy"
    names = ("heavy_into_car", "heavy_frontal") if heavy else ("full_frontal", "oblique", "moderate_frontal", "pole")
    pulse = pulses.draw(str(rng.choice(names)), rng)
    # What is struck may move away, never come towards it faster than a vehicle in town does.
    stunt.set_out(max(20.0, approach_kmh(pulse)) + float(rng.uniform(2, 35)))
    if rng.random() < 0.6:
        hard = float(rng.uniform(0.3, 0.5) if heavy else rng.uniform(0.4, 0.8)) * pulses.GRAVITY_MPS2
        script.brake(max(approach_kmh(pulse), script.speed_kmh - float(rng.uniform(5, 30))), hard)
    drives_on = pulse.delta_v_kmh < DRIVES_ON_KMH and rng.random() < DRIVES_ON_SHARE
    impact = collide(script, pulse, rng, After.DRIVES_ON if drives_on else After.STOPS)
    airbag = not heavy and pulse.delta_v_kmh > AIRBAG_KMH and rng.random() < AIRBAG_SHARE
    if airbag:
        script.alarm("airbag", impact.at_s + 0.05)
        part.allowed("airbag", impact.at_s - 1.0, impact.at_s + 10.0)
    if drives_on:
        stunt.go_to(float(rng.uniform(20, 35)))
    else:
        script.running = pulse.delta_v_kmh < SILENT_KMH and rng.random() < 0.5
        script.stand(float(rng.uniform(40, 90)))
    stunt.wind_up()
    bursts = stunt.perform()
    stunt.tell_impact("crash", impact, airbag=airbag)
    if pulse.delta_v_kmh > SILENT_KMH and rng.random() < SILENT_SHARE:
        part.fate.dead_from_s = bursts[-1].closed_s + float(rng.uniform(1.0, 4.0))
        for kind in ("offline_while_moving", "unplug"):
            part.allowed(kind, impact.at_s, part.lasts_s)


SCENARIO: Final = Play(
    name="frontal_crash",
    purpose="vehicles run into what is ahead of them, at 4 to 66 km/h of delta-V",
    id_prefix="front",
    expects=frozenset({"crash"}),
    must_not=CRASH_LIKE - {"crash", "airbag"},
    duration_s=480,
    roles=(crash,),
)
