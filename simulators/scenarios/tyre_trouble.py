"""Tyres: slow leaks over hours and days, blow-outs, and pressures that change for good reasons."""

from typing import Any, Final

import numpy as np

from simulators.condition import WHEELS, Build
from simulators.errands import DAY_S, HOUR_S, Span
from simulators.play import Part, Play
from simulators.scenario import CRASH_LIKE
from simulators.scenarios._weeks import MORNING_H, commute, slow_script

_DAYS: Final = 3
_LASTS_S: Final = _DAYS * 86_400
# Recipe: a slow leak loses at most 1 kPa a minute, a fast one 50 kPa a minute and more. FMVSS 138 lets a warning wait
# until 25 % below the placard; from there on nobody can call it scatter.
LEAK_KPA_MIN: Final = (0.5, 1.0)
LEAK_KPA_HOUR: Final = (4.0, 12.0)
LEAK_KPA_DAY: Final = (32.0, 45.0)
BURST_KPA_MIN: Final = (55.0, 500.0)
LOW_SHARE: Final = 0.25


def _leak(part: Part, build: Build, from_s: float, kpa_s: float, least_kpa: float) -> str:
    """Let one wheel lose pressure from an instant on, down to `least_kpa`; its column's name."""
    log = part.log
    columns, t_s = log.columns, log.life.t_s
    wheel = f"tyre_{part.rng.choice(WHEELS)}_kpa"
    lost = np.maximum(t_s - from_s, 0.0) * kpa_s
    left = np.maximum(columns[wheel] - lost, np.minimum(columns[wheel], least_kpa))
    columns[wheel] = np.round(left / build.pressure_step_kpa) * build.pressure_step_kpa
    return wheel


def _tell_leak(part: Part, build: Build, wheel: str, from_s: float, kpa_s: float) -> None:
    evident_s = from_s + LOW_SHARE * build.placard_kpa / kpa_s
    part.incident(
        "tyre_leak", from_s, part.lasts_s, evident_ms=part.at_ms(min(evident_s, part.lasts_s)), wheel=wheel[5:7],
        leak_kpa_min=round(kpa_s * 60, 3),
    )  # fmt: skip


def _days(part: Part, vehicle_class: str = "car", **fixed: Any) -> Build:
    """Three days of commuting, sampled every ten seconds."""
    part.rented()
    errands = slow_script(part, vehicle_class)
    commute(part, errands, _LASTS_S)
    life = part.live(errands)
    build = Build.drawn(part.rng, vehicle_class, **fixed)
    part.record(life, build=build)
    return build


def _leak_of_minutes(part: Part) -> None:
    """A nail on a long drive: a kilopascal a minute, half flat on arrival."""
    part.rented()
    errands = part.errands(every_s=5.0, heartbeat_s=300.0)
    errands.park(part.next_clock_s(float(part.rng.uniform(*MORNING_H)), after_s=60.0) - errands.now_s)
    drive = errands.drive(float(part.rng.uniform(120, 150)) * 60)
    life = part.live(errands)
    build = Build.drawn(part.rng, network_parked=True)
    part.record(life, build=build)
    from_s = drive.inner(float(part.rng.uniform(0.2, 0.3)))
    kpa_s = float(part.rng.uniform(*LEAK_KPA_MIN)) / 60.0
    wheel = _leak(part, build, from_s, kpa_s, 40.0)
    _tell_leak(part, build, wheel, from_s, kpa_s)


def _warm_tyres(part: Part) -> None:
    """Long drives at speed on a hot day: all four rise by a fifth, and fall again afterwards."""
    part.rented()
    errands = part.errands(every_s=10.0, heartbeat_s=300.0, greater=True)
    part.fate.parked_batch = 12
    for day in range(_DAYS):
        at_s = part.next_clock_s(9.0 + day, after_s=errands.now_s + 600.0)
        errands.park(at_s - errands.now_s)
        errands.drive(2.5 * HOUR_S, bold=True)
    life = part.live(errands)
    log = part.record(life, build=Build.drawn(part.rng, network_parked=True, ambient_c=28.0))
    hot = np.clip((life.since(~life.engine, 0.0)) / 1_800.0, 0.0, 1.0) * life.engine
    for wheel in WHEELS:
        name = f"tyre_{wheel}_kpa"
        log.columns[name] = np.round(log.columns[name] * (1.0 + 0.07 * hot))


def _blow_out(part: Part) -> None:
    """Gone within seconds to minutes on the road; the driver stops at the roadside and waits."""
    part.rented()
    errands = part.errands(heartbeat_s=300.0)
    errands.park(float(part.rng.uniform(1.0, 3.0)) * HOUR_S)
    drive = errands.drive(float(part.rng.uniform(1_200, 2_400)), stops=False)
    life = part.live(errands)
    build = Build.drawn(part.rng, network_parked=True)
    part.record(life, build=build)
    kpa_s = float(np.exp(part.rng.uniform(np.log(BURST_KPA_MIN[0]), np.log(BURST_KPA_MIN[1])))) / 60.0
    empty_s = build.placard_kpa / kpa_s
    burst_s = drive.until_s - min(float(part.rng.uniform(25.0, 45.0)) + empty_s, 0.5 * drive.lasts_s)
    wheel = _leak(part, build, burst_s, kpa_s, 0.0)
    part.incident(
        "tyre_blowout", burst_s, burst_s + empty_s, wheel=wheel[5:7], leak_kpa_min=round(kpa_s * 60), level=[2, 3]
    )
    part.allowed("tyre_leak", burst_s, part.lasts_s)


def _cold_mornings(part: Part) -> None:
    """The weather turns: every morning all four are lower, together, by what the air's temperature explains."""
    front = (Span(0.8 * DAY_S, 4 * DAY_S), float(part.rng.uniform(12.0, 17.0)))
    _days(part, ambient_c=17.0, swing_c=7.0, cold_snap=front)


def _leak_of_hours(part: Part) -> None:
    """A valve that does not close: low by the evening, flat the next day."""
    build = _days(part, "van")
    from_s = float(part.rng.uniform(0.4, 1.0)) * DAY_S
    kpa_s = float(part.rng.uniform(*LEAK_KPA_HOUR)) / HOUR_S
    wheel = _leak(part, build, from_s, kpa_s, 60.0)
    _tell_leak(part, build, wheel, from_s, kpa_s)


def _sensor_drops_out(part: Part) -> None:
    """One wheel's sensor has a weak cell: single zeros, and hours without a value; the tyre itself is sound."""
    _days(part)
    log = part.log
    name = f"tyre_{part.rng.choice(WHEELS)}_kpa"
    known = np.flatnonzero(~np.isnan(log.columns[name]) & log.life.ignition)
    log.columns[name][part.rng.choice(known, size=6, replace=False)] = 0.0
    silent = Span(1.2 * DAY_S, 1.6 * DAY_S)
    log.columns[name][log.life.within(silent)] = np.nan


def _leak_of_days(part: Part) -> None:
    """A porous rim: a tenth of a bar or two every night."""
    build = _days(part)
    from_s = float(part.rng.uniform(0.1, 0.4)) * DAY_S
    kpa_s = float(part.rng.uniform(*LEAK_KPA_DAY)) / DAY_S
    wheel = _leak(part, build, from_s, kpa_s, 60.0)
    _tell_leak(part, build, wheel, from_s, kpa_s)


def _pumped_up(part: Part) -> None:
    """All four a little low for months, then pumped up at a stop. One of them is set 8 kPa lower, as ever."""
    _days(part, "heavy", wheel_offset_kpa=(0.0, 2.0, -8.0, 1.0))
    log = part.log
    pumped_s = float(part.rng.uniform(1.0, 2.0)) * DAY_S
    for wheel in WHEELS:
        log.columns[f"tyre_{wheel}_kpa"][log.life.t_s < pumped_s] -= 30.0


SCENARIO: Final = Play(
    name="tyre_trouble",
    purpose="leaks of minutes, hours and days, and blow-outs; heat, cold mornings, pumps and sensors are not",
    id_prefix="tyre",
    expects=frozenset({"tyre_leak", "tyre_blowout"}),
    must_not=CRASH_LIKE | {"overheating", "low_battery", "fuel_theft"},
    duration_s=_LASTS_S,
    roles=(
        _leak_of_minutes,
        _warm_tyres,
        _blow_out,
        _cold_mornings,
        _leak_of_hours,
        _sensor_drops_out,
        _leak_of_days,
        _pumped_up,
    ),
)
