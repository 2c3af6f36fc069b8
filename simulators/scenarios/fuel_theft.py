"""Fuel theft: the level falls by more than any engine burns, parked or idling; slosh, evaporation and noise do not."""

from typing import Any, Final

import numpy as np

from simulators.condition import Build
from simulators.errands import HOUR_S, Errands, Life, Span
from simulators.play import Part, Play
from simulators.scenario import CRASH_LIKE
from simulators.unit import Log

_LASTS_S: Final = 8 * 3600
# A hose and a canister take 10 to 40 l a minute from a lorry, less from a car; judgement. The least share of the tank
# is well above what the probe scatters by.
STOLEN_PCT: Final = (12.0, 45.0)
DRAINED_S: Final = (180.0, 900.0)
# From one crest to the next in hilly country; judgement.
HILL_M: Final = (800.0, 2_000.0)


def _begin(part: Part, **fixed: Any) -> tuple[Errands, Build]:
    part.rented()
    vehicle_class = str(part.rng.choice(["heavy", "heavy", "van", "car"]))
    errands = part.errands(vehicle_class=vehicle_class, every_s=5.0, heartbeat_s=120.0)
    errands.park(float(part.rng.uniform(300, 900)))
    errands.drive(float(part.rng.uniform(1_500, 2_400)))
    usual = {"network_parked": True, "fuel_pct": float(part.rng.uniform(62, 92))}
    return errands, Build.drawn(part.rng, vehicle_class, **(usual | fixed))


def _drain(part: Part, life: Life, log: Log, span: Span) -> float:
    """Take fuel out over a span; percent of the tank."""
    stolen = float(part.rng.uniform(*STOLEN_PCT))
    share = np.clip((life.t_s - span.from_s) / span.lasts_s, 0.0, 1.0)
    log.columns["fuel_pct"] = np.round((log.columns["fuel_pct"] - stolen * share) / 0.4) * 0.4
    return stolen


def _robbed(part: Part, errands: Errands, build: Build, stop: Span, shares: tuple[float, float]) -> None:
    """Drained at a moment between two shares of the stop, and driven away after it."""
    errands.drive(1_500)
    life = part.live(errands)
    log = part.record(life, build=build)
    begin_s = stop.inner(float(part.rng.uniform(*shares)))
    span = Span(begin_s, begin_s + float(part.rng.uniform(*DRAINED_S)))
    stolen = _drain(part, life, log, span)
    part.incident("fuel_theft", span.from_s, span.until_s, stolen_pct=round(stolen, 1))


def _while_parked(part: Part) -> None:
    """Drained overnight; the unit can read the tank while it is parked."""
    errands, build = _begin(part)
    stop = errands.park(float(part.rng.uniform(3, 4.5)) * HOUR_S)
    _robbed(part, errands, build, stop, (0.2, 0.7))


def _over_hills(part: Part) -> None:
    """Up and down long hills: the level leans by several percent for a kilometre at a time.

    It leans with the road, so by the way driven: who stops on a hill stands askew until driving on. Before it leaned
    with the clock, and swung while the vehicle stood at a light, which no tank on any hill does.
    """
    errands, build = _begin(part)
    errands.park(600)
    drive = errands.drive(2 * HOUR_S)
    life = part.live(errands)
    log = part.record(life, build=build)
    way_m = np.cumsum(np.where(life.t_s >= drive.from_s, life.rolled_m, 0.0))
    slope = np.sin(2 * np.pi * way_m / float(part.rng.uniform(*HILL_M)))
    log.columns["fuel_pct"] += np.round(float(part.rng.uniform(3.0, 6.0)) * slope / 0.4) * 0.4


def _while_asleep(part: Part) -> None:
    """The unit cannot read a parked tank: full in the evening, not so in the morning."""
    errands, build = _begin(part, network_parked=False)
    stop = errands.park(float(part.rng.uniform(3, 4.5)) * HOUR_S)
    again = errands.drive(1_500)
    life = part.live(errands)
    log = part.record(life, build=build)
    begin_s = stop.inner(float(part.rng.uniform(0.2, 0.7)))
    stolen = _drain(part, life, log, Span(begin_s, begin_s + float(part.rng.uniform(*DRAINED_S))))
    part.incident(
        "fuel_theft", begin_s, again.from_s + 300.0, stolen_pct=round(stolen, 1), seen_ms=part.at_ms(again.from_s)
    )


def _filled_up(part: Part) -> None:
    """Half empty, then filled up."""
    errands, build = _begin(part, fuel_pct=float(part.rng.uniform(25, 45)))
    stop = errands.park(900)
    errands.drive(1_500)
    life = part.live(errands)
    log = part.record(life, build=build)
    pumped = np.clip((life.t_s - stop.inner(0.3)) / 200.0, 0.0, 1.0)
    log.columns["fuel_pct"] += np.round(float(part.rng.uniform(35, 50)) * pumped / 0.4) * 0.4


def _while_idling(part: Part) -> None:
    """Drained while the engine runs for the heating and the driver sleeps."""
    errands, build = _begin(part)
    stop = errands.stand(float(part.rng.uniform(1.2, 1.8)) * HOUR_S)
    _robbed(part, errands, build, stop, (0.3, 0.6))


def _idles_for_hours(part: Part) -> None:
    """The engine runs for hours on end and burns what it burns."""
    errands, build = _begin(part)
    errands.stand(4 * HOUR_S)
    errands.drive(900)
    part.record(part.live(errands), build=build)


def _noisy_probe(part: Part) -> None:
    """A probe that scatters by a percent and a half, drifts with the night's cold, and says 0 now and then."""
    errands, build = _begin(part)
    stop = errands.park(4 * HOUR_S)
    errands.drive(1_800)
    life = part.live(errands)
    log = part.record(life, build=build)
    level = log.columns["fuel_pct"]
    level += part.rng.normal(0.0, 1.3, len(life))
    level -= 1.5 * np.clip((life.t_s - stop.from_s) / stop.lasts_s, 0.0, 1.0)
    known = np.flatnonzero(~np.isnan(level))
    level[part.rng.choice(known, size=5, replace=False)] = 0.0


SCENARIO: Final = Play(
    name="fuel_theft",
    purpose="a tank drained while parked, asleep or idling; hills, filling up, long idling and noise are not",
    id_prefix="fuel",
    expects=frozenset({"fuel_theft"}),
    must_not=CRASH_LIKE | {"tow", "theft", "unplug", "odometer_rollback"},
    duration_s=_LASTS_S,
    roles=(_while_parked, _over_hills, _while_asleep, _filled_up, _while_idling, _idles_for_hours, _noisy_probe),
)
