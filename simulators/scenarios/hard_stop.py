"""Emergency braking that ends well: harsh, and no crash."""

from typing import Final

from simulators import pulses
from simulators.play import Part, Play
from simulators.scenario import CRASH_LIKE, HARSH
from simulators.stunts import Stunt

# Dry asphalt: 0.7 to 0.95 g for 1 to 3 s (docs/detection-science.md, A3); lorries brake less hard.
PEAK_G: Final = {"car": (0.70, 0.95), "van": (0.70, 0.90), "heavy": (0.55, 0.70)}


def stop(part: Part) -> None:
    """Brakes as hard as it goes, to a standstill or nearly."""
    stunt = Stunt(part)
    script, rng = stunt.script, stunt.rng
    stunt.set_out(float(rng.uniform(45, 90)))
    begin_s, before_kmh = script.time_s, script.speed_kmh
    peak_g = float(rng.uniform(*PEAK_G[part.vehicle_class]))
    lasts_s = float(rng.uniform(1.4, 3.0))
    to_kmh = max(0.0, before_kmh - 3.6 * peak_g * pulses.GRAVITY_MPS2 * lasts_s)
    script.brake(to_kmh if to_kmh > 8.0 else 0.0, peak_g * pulses.GRAVITY_MPS2)
    part.incident(
        "harsh_braking", begin_s, script.time_s, peak_g=round(peak_g, 2), speed_before_kmh=round(before_kmh, 1),
        **stunt.fitted(),
    )  # fmt: skip
    if script.speed_mps == 0.0:
        script.stand(float(rng.uniform(3, 40)))
    stunt.go_to(float(rng.uniform(30, 45)))
    stunt.wind_up()
    stunt.perform()


SCENARIO: Final = Play(
    name="hard_stop",
    purpose="vehicles brake at 0.55 to 0.95 g, many to a standstill, and nothing is struck",
    id_prefix="stop",
    expects=frozenset({"harsh_braking"}),
    must_not=CRASH_LIKE | (HARSH - {"harsh_braking"}),
    duration_s=420,
    roles=(stop,),
)
