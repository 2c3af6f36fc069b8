"""Near misses: hard braking, a swerve and back again, and nothing is struck."""

from typing import Final

from simulators.harshness import clearly_harsh_mps2
from simulators.play import Part, Play
from simulators.pulses import GRAVITY_MPS2
from simulators.scenario import CRASH_LIKE
from simulators.stunts import Stunt

SWERVE_G: Final = {"car": (0.45, 0.70), "van": (0.40, 0.60), "heavy": (0.25, 0.38)}


def swerve(part: Part) -> None:
    """Brakes hard for something, goes round it, straightens up and drives on."""
    stunt = Stunt(part)
    script, rng = stunt.script, stunt.rng
    stunt.set_out(float(rng.uniform(50, 80)))
    begin_s, before_kmh = script.time_s, script.speed_kmh
    peak_mps2 = max(clearly_harsh_mps2("harsh_braking", part.vehicle_class, rng) for _ in range(2))
    script.brake(max(22.0, before_kmh - 3.6 * peak_mps2 * float(rng.uniform(1.3, 2.2))), peak_mps2)
    braked_s = script.time_s
    side = float(rng.choice((-1.0, 1.0)))
    lateral_mps2 = float(rng.uniform(*SWERVE_G[part.vehicle_class])) * GRAVITY_MPS2
    half_s = float(rng.uniform(0.9, 1.3))
    for share in (1.0, -1.0, -0.8, 0.8):
        script.turn(side * share * lateral_mps2, half_s)
    part.incident(
        "harsh_braking", begin_s, braked_s, peak_g=round(peak_mps2 / GRAVITY_MPS2, 2),
        speed_before_kmh=round(before_kmh, 1), swerve_g=round(lateral_mps2 / GRAVITY_MPS2, 2), **stunt.fitted(),
    )  # fmt: skip
    # A swerve of a second each way is harsh to some and over too soon to others.
    part.allowed("harsh_cornering", begin_s, script.time_s + 10.0)
    script.cruise(float(rng.uniform(5, 15)))
    stunt.go_to(float(rng.uniform(35, 50)))
    stunt.wind_up()
    stunt.perform()


SCENARIO: Final = Play(
    name="near_miss",
    purpose="vehicles brake hard and swerve round something, and nothing is struck",
    id_prefix="miss",
    expects=frozenset({"harsh_braking"}),
    must_not=CRASH_LIKE | {"harsh_acceleration"},
    duration_s=420,
    roles=(swerve,),
)
