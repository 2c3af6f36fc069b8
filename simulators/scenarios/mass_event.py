"""Weather over many vehicles at once: hail on parked ones, a flooded street that stalls those that drive."""

from typing import Final

import numpy as np

from simulators import pulses
from simulators.play import Part, Play
from simulators.scenario import CRASH_LIKE, HARSH
from simulators.stunts import Stunt

HAIL_FROM_S: Final = 120.0  # the same cell passes over all of them
HAIL_LASTS_S: Final = (90.0, 240.0)
STONES_A_SECOND: Final = (0.2, 0.6)  # that strike hard enough to be felt
FLOOD_KINDS: Final = ("charging_fault", "low_battery", "unplug", "tamper", "trouble_code", "overheating",
                      "offline_while_moving")  # fmt: skip


def hail(part: Part) -> None:
    """Parked in the open: many small vertical blows. Dents are damage, so a level 1 may be raised, nothing more."""
    stunt = Stunt(part)
    script, rng = stunt.script, stunt.rng
    begin_s = HAIL_FROM_S + float(rng.uniform(0, 40))
    lasts_s = float(rng.uniform(*HAIL_LASTS_S))
    script.park(begin_s + lasts_s + 60.0)
    stones = int(rng.poisson(float(rng.uniform(*STONES_A_SECOND)) * lasts_s))
    for at_s in np.sort(begin_s + lasts_s * rng.beta(2.0, 2.0, stones)).tolist():
        script.knock(pulses.hailstone(rng), at_s)
    stunt.wind_up()
    stunt.perform()
    part.allowed("parked_impact", begin_s, begin_s + lasts_s + 60.0)
    _, record = part.truth[-1]
    record["level"] = 1


def flood(part: Part) -> None:
    """Drives into standing water, is slowed by it, stalls; after a while the water reaches the unit."""
    stunt = Stunt(part)
    script, rng = stunt.script, stunt.rng
    stunt.set_out(float(rng.uniform(18, 30)))
    stalls_s = script.time_s
    script.brake(float(rng.uniform(5, 9)), float(rng.uniform(0.6, 1.2)))
    script.cruise(float(rng.uniform(4, 12)))
    script.running = False
    script.brake(0.0, float(rng.uniform(0.6, 1.2)))
    script.stand(float(rng.uniform(60, 150)))
    drowned = rng.random() < 0.5
    if drowned:
        part.fate.dead_from_s = script.time_s
    for kind in FLOOD_KINDS:
        part.allowed(kind, stalls_s, part.lasts_s)
    stunt.wind_up()
    stunt.perform()


SCENARIO: Final = Play(
    name="mass_event",
    purpose="hail on parked vehicles and a flood that stalls driving ones, all within minutes",
    id_prefix="storm",
    expects=frozenset(),
    must_not=CRASH_LIKE - {"parked_impact"} | HARSH,
    duration_s=540,
    roles=(hail, flood),
)
