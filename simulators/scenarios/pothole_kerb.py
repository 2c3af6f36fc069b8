"""Rough going: potholes, kerbs, speed bumps, a trailer that runs up on the hitch. Blows, and no crash."""

from collections.abc import Callable
from typing import Final

from simulators import pulses
from simulators.play import Part, Play
from simulators.pulses import Knock
from simulators.scenario import CRASH_LIKE, HARSH
from simulators.stunts import Stunt


def _shaken_at(stunt: Stunt, kmh: float, draw: Callable[[], Knock]) -> None:
    """Meet something at a speed, and drive on."""
    stunt.go_to(kmh)
    stunt.script.knock(draw())
    stunt.script.cruise(float(stunt.rng.uniform(5, 12)))


def potholes(part: Part) -> None:
    """A bad road at town speeds."""
    stunt = Stunt(part)
    stunt.set_out()
    for _ in range(int(stunt.rng.integers(3, 6))):
        _shaken_at(stunt, float(stunt.rng.uniform(30, 60)), lambda: pulses.pothole(stunt.rng))
    stunt.wind_up()
    stunt.perform()


def kerbs(part: Part) -> None:
    """Up a kerb to park, and over one at a bend; two wheels each."""
    stunt = Stunt(part)
    script, rng = stunt.script, stunt.rng
    stunt.set_out()
    _shaken_at(stunt, float(rng.uniform(20, 40)), lambda: pulses.kerb_strike(rng))
    script.brake(float(rng.uniform(8, 14)))
    script.cruise(2.0)
    script.knock(pulses.kerb_strike(rng))
    script.knock(pulses.kerb_strike(rng), script.time_s + float(rng.uniform(0.9, 1.3)))
    script.cruise(3.0)
    stunt.wind_up()
    stunt.perform()


def speed_bumps(part: Part) -> None:
    """A street with bumps, taken at about 30 km/h."""
    stunt = Stunt(part)
    stunt.set_out(30.0)
    for _ in range(int(stunt.rng.integers(3, 7))):
        kmh = float(stunt.rng.uniform(22, 34))
        _shaken_at(stunt, kmh, lambda: pulses.speed_bump(stunt.rng, stunt.script.speed_mps))
    stunt.wind_up()
    stunt.perform()


def hitching(part: Part) -> None:
    """A trailer is hitched up: the vehicle stands on its brakes, the trailer runs up on the coupling."""
    stunt = Stunt(part, classes=("van", "heavy"))
    script, rng = stunt.script, stunt.rng
    stunt.set_out(20.0)
    script.brake(0.0)
    for _ in range(int(rng.integers(1, 3))):
        script.stand(float(rng.uniform(15, 30)))
        script.knock(pulses.trailer_hitch(rng))
        script.stand(float(rng.uniform(5, 10)))
    stunt.go_to(float(rng.uniform(25, 40)))
    stunt.wind_up()
    stunt.perform()


SCENARIO: Final = Play(
    name="pothole_kerb",
    purpose="vehicles meet potholes, kerbs, speed bumps and a trailer's hitch",
    id_prefix="rough",
    expects=frozenset(),
    must_not=CRASH_LIKE | HARSH,
    duration_s=480,
    roles=(potholes, kerbs, speed_bumps, hitching),
)
