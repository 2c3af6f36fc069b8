"""Rollovers: a vehicle goes broadside, trips on soft ground and rolls by one to eight quarter turns."""

from typing import Final

from simulators.collisions import roll_over
from simulators.play import Part, Play
from simulators.scenario import CRASH_LIKE, HARSH
from simulators.stunts import Stunt

AIRBAG_SHARE: Final = 0.4  # a curtain bag that a unit hears of


def roll(part: Part) -> None:
    """Too fast off the road."""
    stunt = Stunt(part)
    script, rng = stunt.script, stunt.rng
    stunt.set_out(float(rng.uniform(62, 95)))
    begin_s, before_kmh = script.time_s, script.speed_kmh
    trips_s, rest_s, quarters = roll_over(script, rng)
    airbag = rng.random() < AIRBAG_SHARE
    if airbag:
        script.alarm("airbag", trips_s + 0.3)
        part.allowed("airbag", trips_s - 1.0, trips_s + 10.0)
    part.incident(
        "rollover", trips_s, rest_s, level=3, quarter_turns=quarters, speed_before_kmh=round(before_kmh, 1),
        airbag=airbag, **stunt.fitted(),
    )  # fmt: skip
    stunt.allow_around(begin_s, rest_s, HARSH | {"crash", "loose_mounting"})
    script.running = False
    script.stand(float(rng.uniform(40, 90)))
    stunt.wind_up()
    stunt.perform()


SCENARIO: Final = Play(
    name="rollover_crash",
    purpose="vehicles leave the road broadside and roll",
    id_prefix="roll",
    expects=frozenset({"rollover"}),
    must_not=CRASH_LIKE - {"rollover", "crash", "airbag"},
    duration_s=480,
    roles=(roll,),
)
