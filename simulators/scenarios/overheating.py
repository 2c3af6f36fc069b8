"""Overheating: coolant that climbs for minutes under load, and heat or sensors that only look like it."""

from typing import Final

import numpy as np

from simulators.condition import Build
from simulators.errands import Errands, Life, Span
from simulators.play import Part, Play
from simulators.scenario import CRASH_LIKE

_LASTS_S: Final = 2 * 3600
# Recipe: 2 to 6 C a minute from 90 to 118 C under load. Normal is 80 to 105 C; 110 C is a warning, 115 to 118 C a stop.
CLIMB_C_MIN: Final = (2.0, 6.0)
WARNING_C: Final = 110.0
TOP_C: Final = (117.0, 122.0)


def _out(part: Part, ambient_c: float | None = None) -> tuple[Errands, Build]:
    part.rented()
    vehicle_class = str(part.rng.choice(["car", "van", "heavy"]))
    errands = part.errands(vehicle_class=vehicle_class)
    errands.park(float(part.rng.uniform(200, 600)))
    warm = float(part.rng.uniform(12, 30)) if ambient_c is None else ambient_c
    return errands, Build.drawn(part.rng, vehicle_class, ambient_c=warm)


def _climb(
    part: Part, life: Life, columns: dict[str, np.ndarray[tuple[int], np.dtype[np.float64]]], from_s: float
) -> float:
    """Add the climb from an instant on, as long as the engine runs; afterwards it cools. When it reached the top."""
    rate = float(part.rng.uniform(*CLIMB_C_MIN)) / 60.0
    coolant = columns["coolant_c"]
    warm_c = float(coolant[np.flatnonzero(life.t_s >= from_s)[0]])
    top_c = float(part.rng.uniform(*TOP_C))
    reached_s = from_s + (top_c - warm_c) / rate
    running_s = np.minimum(life.t_s, float(life.t_s[life.engine][-1]))
    added = np.clip((running_s - from_s) * rate, 0.0, top_c - warm_c)
    # Cools down with everything else once the engine is off: half of it in a quarter of an hour.
    off_s = np.where(life.t_s > running_s, life.t_s - running_s, 0.0)
    coolant += np.round(added * np.exp(-off_s / 1_300.0))
    warned_s = from_s + (WARNING_C - warm_c) / rate
    part.incident(
        "overheating", from_s, part.lasts_s, evident_ms=part.at_ms(warned_s), climb_c_min=round(rate * 60, 2),
        top_c=round(top_c),
    )  # fmt: skip
    return reached_s


def _driven_on(part: Part) -> None:
    """The pump has failed; the driver looks at the road, not at the needle."""
    errands, build = _out(part)
    drive = errands.drive(3_600)
    life = part.live(errands)
    log = part.record(life, build=build)
    _climb(part, life, log.columns, drive.inner(float(part.rng.uniform(0.35, 0.5))))


def _hot_soak(part: Part) -> None:
    """Three short drives on a hot day: after each stop the standing coolant goes up by 5 to 8 C and down again."""
    errands, build = _out(part, ambient_c=float(part.rng.uniform(32, 38)))
    for _ in range(3):
        errands.drive(float(part.rng.uniform(1_000, 1_400)))
        errands.park(float(part.rng.uniform(500, 800)))
    life = part.live(errands)
    log = part.record(life, build=build)
    # The unit still hears the network after the key is turned: it sees the rise.
    off_s = life.since(life.engine, 1e9)
    log.columns["coolant_c"] += np.round(float(part.rng.uniform(4, 6.5)) * (1 - np.exp(-off_s / 60.0)) * (off_s < 1e8))


def _stopped_in_time(part: Part) -> None:
    """The driver sees the needle at the top and stops."""
    errands, build = _out(part)
    rate_s = 60.0 * 30.0 / float(part.rng.uniform(*CLIMB_C_MIN))
    drive = errands.drive(1_500 + rate_s + 60.0)
    life = part.live(errands)
    log = part.record(life, build=build)
    _climb(part, life, log.columns, drive.from_s + 1_400)


def _dead_sensor(part: Part) -> None:
    """The sensor's wire is broken: -40 C for the whole day, or from one moment to the next."""
    errands, build = _out(part)
    drive = errands.drive(3_600)
    life = part.live(errands)
    log = part.record(life, build=build)
    broken = life.t_s >= (drive.inner(0.5) if part.rng.random() < 0.5 else 0.0)
    log.columns["coolant_c"][broken & ~np.isnan(log.columns["coolant_c"])] = -40.0


def _bad_contact(part: Part) -> None:
    """Single readings of 140 or 215 C between sound ones."""
    errands, build = _out(part)
    errands.drive(3_600)
    life = part.live(errands)
    log = part.record(life, build=build)
    rows = np.flatnonzero(life.engine)
    for row in part.rng.choice(rows, size=8, replace=False).tolist():
        log.columns["coolant_c"][row] = float(part.rng.choice([140.0, 215.0]))


def _up_a_hill(part: Part) -> None:
    """Up a long hill in summer it reaches 101 to 104 C, the fan comes on, and it is down again: all as designed."""
    errands, build = _out(part, ambient_c=34.0)
    drive = errands.drive(3_600)
    life = part.live(errands)
    log = part.record(life, build=build)
    hill = Span(drive.inner(0.5), drive.inner(0.8))
    middle_s = (hill.from_s + hill.until_s) / 2
    height = float(part.rng.uniform(101, 103.5)) - build.thermostat_c
    shape = np.exp(-(((life.t_s - middle_s) / (0.25 * hill.lasts_s)) ** 2))
    log.columns["coolant_c"] += np.round(height * shape * life.engine)


SCENARIO: Final = Play(
    name="overheating",
    purpose="coolant climbs 2 to 6 C a minute past 117 C; hot soak, hills and broken sensors are not",
    id_prefix="heat",
    expects=frozenset({"overheating"}),
    must_not=CRASH_LIKE | {"trouble_code", "fuel_theft", "tyre_leak"},
    duration_s=_LASTS_S,
    roles=(_driven_on, _hot_soak, _stopped_in_time, _dead_sensor, _up_a_hill, _bad_contact),
)
