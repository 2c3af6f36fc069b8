"""Long driving: more than four hours without twenty minutes of rest, two at night for heavy vehicles."""

from typing import Final

from simulators.errands import HOUR_S, Errands, Span
from simulators.play import ZONE, Part, Play
from simulators.scenario import CRASH_LIKE

_LASTS_S: Final = 36 * 3600
# Implementing regulations of the road traffic safety law, article 62 (7): 4 h, and a rest of at least 20 min. Coach
# operators (safety management norms, article 38): 2 h at night, which is 22:00 to 06:00.
DAY_LIMIT_H: Final = 4.0
NIGHT_LIMIT_H: Final = 2.0
# Warning beforehand is a service, not a false alarm: from half an hour before the limit it may be found.
WARNED_S: Final = 2_100.0
_SAMPLED_S: Final = (5.0, 10.0)


def _set_out(part: Part, vehicle_class: str, hour: float) -> Errands:
    """A script that is parked until a time of the day (hours in ZONE)."""
    part.rented()
    errands = part.errands(
        vehicle_class=vehicle_class, every_s=float(part.rng.choice(_SAMPLED_S)), heartbeat_s=300.0, greater=True
    )
    errands.park(part.next_clock_s(hour, after_s=60.0) - errands.now_s)
    return errands


def _morning(part: Part) -> float:
    return float(part.rng.uniform(7.0, 9.0))


def _tell(part: Part, spell: Span, limit_h: float) -> None:
    """From the limit on it must be found; shortly before, it may be."""
    at_s = spell.from_s + limit_h * HOUR_S
    part.allowed("long_driving", at_s - WARNED_S, at_s)
    part.incident(
        "long_driving", at_s, spell.until_s, limit_h=limit_h, driven_h=round(spell.lasts_s / HOUR_S, 2), zone=ZONE
    )


def _with_short_stops(part: Part) -> None:
    """Four and a half hours of driving and more, with stops of a few minutes that are no rest."""
    errands = _set_out(part, "car", _morning(part))
    begin_s = errands.now_s
    for _ in range(4):
        errands.drive(float(part.rng.uniform(66, 78)) * 60, bold=True)
        end_s = errands.now_s
        errands.park(float(part.rng.uniform(3, 12)) * 60)
    part.record(part.live(errands))
    _tell(part, Span(begin_s, end_s), DAY_LIMIT_H)


def _rested(part: Part) -> None:
    """As much driving in a day, with a rest of just over twenty minutes where it is due."""
    errands = _set_out(part, str(part.rng.choice(["car", "van", "heavy"])), _morning(part))
    for _ in range(2):
        errands.drive(float(part.rng.uniform(185, 200)) * 60, bold=True)
        errands.park(float(part.rng.uniform(21, 26)) * 60)
    part.record(part.live(errands))


def _rest_too_short(part: Part) -> None:
    """One long stop, a few minutes short of a rest."""
    errands = _set_out(part, "van", _morning(part))
    begin_s = errands.now_s
    errands.drive(float(part.rng.uniform(140, 160)) * 60, bold=True)
    errands.park(float(part.rng.uniform(14, 17)) * 60)
    end_s = errands.drive(float(part.rng.uniform(115, 140)) * 60, bold=True).until_s
    part.record(part.live(errands))
    _tell(part, Span(begin_s, end_s), DAY_LIMIT_H)


def _rested_at_the_wheel(part: Part) -> None:
    """The rest is taken with the engine running: the vehicle stands, and that is what counts."""
    errands = _set_out(part, "car", _morning(part))
    errands.drive(float(part.rng.uniform(150, 190)) * 60, bold=True)
    errands.stand(float(part.rng.uniform(22, 35)) * 60)
    errands.drive(float(part.rng.uniform(120, 180)) * 60, bold=True)
    part.record(part.live(errands))


def _heavy_at_night(part: Part) -> None:
    """A coach for more than two hours after ten in the evening; done before two in the morning."""
    errands = _set_out(part, "heavy", 22.1)
    spell = errands.drive(float(part.rng.uniform(140, 190)) * 60, bold=True)
    part.record(part.live(errands))
    _tell(part, spell, NIGHT_LIMIT_H)


def _heavy_by_day(part: Part) -> None:
    """The same coach by day, where four hours are allowed."""
    errands = _set_out(part, "heavy", _morning(part))
    errands.drive(float(part.rng.uniform(150, 200)) * 60, bold=True)
    part.record(part.live(errands))


def _car_at_night(part: Part) -> None:
    """A car is no coach: three hours in the evening are within the law."""
    errands = _set_out(part, "car", 22.1)
    errands.drive(float(part.rng.uniform(150, 190)) * 60, bold=True)
    part.record(part.live(errands))


SCENARIO: Final = Play(
    name="long_driving",
    purpose="4 h without 20 min of rest, 2 h at night for heavy vehicles; rests of just over 20 min end a spell",
    id_prefix="long",
    expects=frozenset({"long_driving"}),
    must_not=CRASH_LIKE | {"offline_while_moving", "theft", "tow"},
    duration_s=_LASTS_S,
    roles=(
        _with_short_stops,
        _rested,
        _rest_too_short,
        _rested_at_the_wheel,
        _heavy_at_night,
        _heavy_by_day,
        _car_at_night,
    ),
)
