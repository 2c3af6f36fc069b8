"""Crashes of vehicles whose unit knows nothing of impacts: a speed a second, and for some a mean acceleration."""

from dataclasses import replace
from typing import Final

import numpy as np

from simulators import pulses
from simulators.collisions import After, approach_kmh, collide
from simulators.play import Part, Play
from simulators.scenario import CRASH_LIKE
from simulators.stunts import Stunt

# Tyres take at most 1.0 to 1.2 g, 42 km/h in a second: from here on a loss within one second is no braking.
DELTA_V_KMH: Final = (46.0, 66.0)


def _crash(part: Part, *, motion_columns: bool) -> None:
    stunt = Stunt(part, classes=("car", "van"), bursts=False, motion_columns=motion_columns)
    script, rng = stunt.script, stunt.rng
    pulse = replace(
        pulses.draw("full_frontal", rng),
        delta_v_mps=float(rng.uniform(*DELTA_V_KMH)) / 3.6,
        toward_rad=float(np.pi + rng.uniform(-0.1, 0.1)),
    )
    stunt.set_out(max(approach_kmh(pulse), 50.0) + float(rng.uniform(3, 25)))
    if rng.random() < 0.5:
        hard = float(rng.uniform(0.3, 0.7)) * pulses.GRAVITY_MPS2
        script.brake(max(pulse.delta_v_kmh + 2.0, script.speed_kmh - float(rng.uniform(4, 15))), hard)
    impact = collide(script, pulse, rng, After.STOPS)
    script.running = rng.random() < 0.5
    script.stand(float(rng.uniform(60, 90)))
    stunt.wind_up()
    stunt.perform()
    stunt.tell_impact("crash", impact)


def with_motion(part: Part) -> None:
    """The unit sends a mean acceleration a second."""
    _crash(part, motion_columns=True)


def speed_only(part: Part) -> None:
    """The unit sends speed and position only."""
    _crash(part, motion_columns=False)


SCENARIO: Final = Play(
    name="crash_1hz_only",
    purpose="hard crashes of vehicles whose units send one sample a second and no burst",
    id_prefix="sparse",
    expects=frozenset({"crash"}),
    must_not=CRASH_LIKE - {"crash"},
    duration_s=480,
    roles=(with_motion, speed_only),
)
