"""A month of twelve volts: batteries that wear out, an alternator that fails, and how healthy ones scatter."""

from typing import Final

import numpy as np

from simulators.condition import Build
from simulators.errands import DAY_S, Life, Span
from simulators.play import Part, Play
from simulators.scenario import CRASH_LIKE
from simulators.scenarios._weeks import commute, slow_script

_DAYS: Final = 30
_LASTS_S: Final = _DAYS * 86_400
# Recipe for a failing battery: resting volts fall 0.02 V a day for a month, the crank minimum 0.05 to 0.1 V a day, and
# the last starts take 2 to 4 s.
REST_V_A_DAY: Final = (0.018, 0.024)
CRANK_V_A_DAY: Final = (0.05, 0.10)
# A healthy battery at rest scatters by a tenth of a volt; a fall of this much is none of that.
EVIDENT_V: Final = 0.30
# Of one healthy car, as measured: resting volts, and the share of starts at which the dip itself is sampled.
HEALTHY_REST_V: Final = (11.95, 13.07)
HEALTHY_DIP_V: Final = (7.6, 9.6)
HEALTHY_DIPS: Final = 0.05


def _month(part: Part) -> Life:
    """Thirty days of commuting; the vehicle is rented out."""
    part.rented()
    errands = slow_script(part)
    commute(part, errands, _LASTS_S)
    return part.live(errands)


def _worn(part: Part) -> None:
    """A battery at the end of its years: a little lower every day, every start a little deeper and longer."""
    part.rented()
    errands = slow_script(part)
    for week, crank_s in enumerate((1, 1, 2, 3, 4)):
        commute(part, errands, min(7.0 * (week + 1), _DAYS) * DAY_S, crank_s=crank_s)
    life = part.live(errands)
    log = part.record(life)
    rest_v, crank_v = float(part.rng.uniform(*REST_V_A_DAY)), float(part.rng.uniform(*CRANK_V_A_DAY))
    age_d = life.t_s / DAY_S
    fallen = np.where(life.engine, 0.0, rest_v * age_d) + np.where(life.cranking, crank_v * age_d, 0.0)
    # Below 6 V nothing turns, and the unit would go out with it.
    log.columns["external_v"] = np.maximum(log.columns["external_v"] - fallen, 6.0)
    part.incident(
        "low_battery", 0.0, part.lasts_s, evident_ms=part.at_ms(EVIDENT_V / rest_v * DAY_S),
        rest_v_a_day=-round(rest_v, 4), crank_v_a_day=-round(crank_v, 3),
    )  # fmt: skip


def _cold_week(part: Part) -> None:
    """Frost for a week in the middle of the month: starts are hard and volts low, and all is as before afterwards."""
    life = _month(part)
    frost = Span(float(part.rng.uniform(8, 11)) * DAY_S, float(part.rng.uniform(16, 19)) * DAY_S)
    log = part.record(
        life, build=Build.drawn(part.rng, ambient_c=float(part.rng.uniform(5, 9)), cold_snap=(frost, 17.0))
    )
    cold = life.within(frost) & ~life.engine
    log.columns["external_v"][cold] -= float(part.rng.uniform(0.08, 0.14))


def _alternator_fails(part: Part) -> None:
    """From one drive on nothing charges any more: two days on the battery alone, and then it stays where it is."""
    part.rented()
    errands = slow_script(part)
    sound_s = float(part.rng.uniform(6, 20)) * DAY_S
    commute(part, errands, sound_s)
    commute(part, errands, sound_s + 2.5 * DAY_S)
    life = part.live(errands)
    log = part.record(life)
    trip = next(trip for trip in life.trips() if trip.from_s >= sound_s - DAY_S)
    failed_s = trip.inner(0.3)
    after_d = np.maximum(life.t_s - failed_s, 0.0) / DAY_S
    volts = log.columns["external_v"]
    battery = 12.45 - 0.35 * after_d
    running = (life.t_s >= failed_s) & life.engine
    volts[running] = (battery - 0.3)[running] + part.rng.normal(0.0, 0.04, int(running.sum()))
    still = (life.t_s >= failed_s) & ~life.engine
    volts[still] -= np.minimum(0.35 * after_d[still], 1.3)
    part.incident("charging_fault", failed_s, part.lasts_s)
    # What is not charged runs down.
    part.allowed("low_battery", failed_s, part.lasts_s)


def _long_standing(part: Part) -> None:
    """Two weeks in the yard: alarm and unit draw it down a little every day, and the next drives make up for it."""
    part.rented()
    errands = slow_script(part)
    commute(part, errands, float(part.rng.uniform(4, 7)) * DAY_S)
    begin_s = errands.now_s
    errands.park(float(part.rng.uniform(11, 14)) * DAY_S)
    stood = Span(begin_s, errands.now_s)
    commute(part, errands, _LASTS_S)
    life = part.live(errands)
    log = part.record(life)
    rows = life.within(stood)
    log.columns["external_v"][rows] -= 0.009 * (life.t_s[rows] - stood.from_s) / DAY_S


def _healthy_scatter(part: Part) -> None:
    """Every stop and every start of a healthy battery is another: loads, surface charge, dips that are met or not."""
    life = _month(part)
    log = part.record(life)
    volts, rng = log.columns["external_v"], part.rng
    at_rest = ~life.ignition
    stop = np.cumsum(np.diff(life.ignition.astype(np.int8), prepend=0) == -1)
    volts[at_rest] += rng.normal(0.0, 0.1, int(stop.max()) + 1)[stop[at_rest]]
    loaded = at_rest & (rng.random(len(life)) < 0.04)
    volts[loaded] -= rng.uniform(0.2, 0.5, int(loaded.sum()))
    volts[at_rest] = np.clip(volts[at_rest], *HEALTHY_REST_V)
    deep = life.cranking & (rng.random(len(life)) < HEALTHY_DIPS)
    volts[deep] = rng.uniform(*HEALTHY_DIP_V, int(deep.sum()))


def _smart_alternator(part: Part) -> None:
    """Lets go of the battery for minutes while cruising and charges hard when braking, every day of the month."""
    life = _month(part)
    log = part.record(life)
    phase = part.rng.random(len(life))
    held = np.where(phase < 0.45, 12.6, np.where(phase < 0.7, 13.3, 14.6))
    running = np.where(life.accel_mps2 < -0.5, 14.9, held) + part.rng.normal(0.0, 0.06, len(life))
    log.columns["external_v"][life.engine] = running[life.engine]


SCENARIO: Final = Play(
    name="weak_battery",
    purpose="a month of a dying battery and a dead alternator; frost, standing, scatter and smart alternators are not",
    id_prefix="battery",
    expects=frozenset({"low_battery", "charging_fault"}),
    must_not=CRASH_LIKE | {"unplug", "tamper", "offline_while_moving", "fuel_theft", "odometer_rollback"},
    duration_s=_LASTS_S,
    roles=(_worn, _cold_week, _alternator_fails, _long_standing, _healthy_scatter, _smart_alternator),
)
