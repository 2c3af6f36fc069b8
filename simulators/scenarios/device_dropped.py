"""The unit falls off its mount: a great blow to the unit, none to the vehicle. Parked, idling or under way."""

from typing import Final

import numpy as np

from simulators import pulses
from simulators.play import Part, Play
from simulators.scenario import CRASH_LIKE, HARSH
from simulators.sensor import any_rotation
from simulators.stunts import Stunt


def _falls(stunt: Stunt) -> None:
    """From now on it lies somewhere, anyhow."""
    at_s, turned = stunt.script.time_s, any_rotation(stunt.rng)
    resting = turned @ stunt.sensor.rotation @ np.array([0.0, 0.0, pulses.GRAVITY_MPS2])
    stunt.script.drop_device(pulses.device_drop(stunt.rng, resting), turned)
    # Whoever says that the unit is loose is right; what it feels around the fall is not the vehicle's.
    stunt.part.allowed("loose_mounting", at_s - 5.0, stunt.part.lasts_s)
    stunt.allow_around(at_s, at_s + 1.0, HARSH)


def parked(part: Part) -> None:
    """Parked, key off."""
    stunt = Stunt(part)
    stunt.park_for_long()
    _falls(stunt)
    stunt.wind_up()
    stunt.perform()


def standing(part: Part) -> None:
    """At a light, engine on."""
    stunt = Stunt(part)
    stunt.set_out()
    stunt.script.brake(0.0)
    stunt.script.stand(float(stunt.rng.uniform(4, 15)))
    _falls(stunt)
    stunt.script.stand(float(stunt.rng.uniform(5, 60)))
    stunt.wind_up()
    stunt.perform()


def driving(part: Part) -> None:
    """Under way; the driver goes on, or stops to pick it up."""
    stunt = Stunt(part)
    script, rng = stunt.script, stunt.rng
    stunt.set_out(float(rng.uniform(30, 60)))
    _falls(stunt)
    script.cruise(float(rng.uniform(4, 30)))
    stunt.wind_up()
    stunt.perform()


SCENARIO: Final = Play(
    name="device_dropped",
    purpose="units fall off their mount in parked, standing and driving vehicles",
    id_prefix="drop",
    expects=frozenset(),
    must_not=CRASH_LIKE,
    duration_s=420,
    roles=(parked, standing, driving),
)
