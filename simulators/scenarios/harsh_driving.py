"""Graded manoeuvres: clearly harsh ones that must be found, brisk ones beside them that must not."""

from typing import Final

from simulators.harshness import clearly_calm_mps2, clearly_harsh_mps2
from simulators.play import Part, Play
from simulators.pulses import GRAVITY_MPS2
from simulators.scenario import CRASH_LIKE, HARSH
from simulators.stunts import Stunt

MANOEUVRES: Final = 8
SLOW_KMH: Final = 18.0  # from which one accelerates: above every product's "trip has begun"
PLATEAU_S: Final = (2.2, 3.2)
FASTEST_KMH: Final = 95.0


def drive(part: Part) -> None:
    """Accelerates, brakes and turns, half of the time too hard, with calm stretches between."""
    stunt = Stunt(part)
    stunt.set_out(35.0)
    for _ in range(MANOEUVRES):
        kind = str(stunt.rng.choice(sorted(HARSH)))
        _manoeuvre(stunt, kind, harsh=bool(stunt.rng.random() < 0.5))
        stunt.script.cruise(float(stunt.rng.uniform(12, 20)))
    stunt.wind_up()
    stunt.perform()


def _manoeuvre(stunt: Stunt, kind: str, *, harsh: bool) -> None:
    part, script, rng = stunt.part, stunt.script, stunt.rng
    draw = clearly_harsh_mps2 if harsh else clearly_calm_mps2
    peak_mps2, plateau_s = draw(kind, part.vehicle_class, rng), float(rng.uniform(*PLATEAU_S))
    gains_kmh = 3.6 * peak_mps2 * plateau_s
    if kind == "harsh_acceleration":
        stunt.go_to(SLOW_KMH)
        begin_s = script.time_s
        script.accelerate(SLOW_KMH + gains_kmh, peak_mps2)
    elif kind == "harsh_braking":
        stunt.go_to(min(FASTEST_KMH, gains_kmh + float(rng.uniform(12, 25))))
        begin_s = script.time_s
        script.brake(max(5.0, script.speed_kmh - gains_kmh), peak_mps2)
    else:
        stunt.go_to(float(rng.uniform(32, 48)))
        begin_s = script.time_s
        script.turn(peak_mps2 * float(rng.choice((-1.0, 1.0))), plateau_s + 0.8)
    if harsh:
        part.incident(
            kind, begin_s, script.time_s, peak_g=round(peak_mps2 / GRAVITY_MPS2, 3),
            lasts_s=round(script.time_s - begin_s, 2), **stunt.fitted(),
        )  # fmt: skip


SCENARIO: Final = Play(
    name="harsh_driving",
    purpose="vehicles accelerate, brake and turn clearly above or clearly below what is harsh for their class",
    id_prefix="harsh",
    expects=HARSH,
    must_not=CRASH_LIKE,
    duration_s=720,
    roles=(drive,),
)
