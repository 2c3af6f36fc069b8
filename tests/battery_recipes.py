"""Recipes of batteries and generators, healthy and not, over weeks and within a drive: see health_traces.py."""

from dataclasses import dataclass

import numpy as np

from tests.health_traces import DAY_S, Floats, Trace, drive_speed, rounded


@dataclass
class Battery:
    """What a recipe decides. Volts of a 12 V battery; (days,) arrays hold one value a day."""

    rest_v: Floats
    crank_v: Floats
    crank_s: Floats
    charge_v: Floats
    ambient_c: Floats
    parked: Floats  # 1: not driven that day
    systems: float = 1.0
    chance_v: float = 0.03


def healthy(rng: np.random.Generator, days: int) -> Battery:
    """Rests at 11.95 to 13.07 V, runs at 13.4 to 14.2 V, sampled starts down to 7.6 V (section B9)."""
    wander = np.zeros(days)
    for day in range(1, days):
        wander[day] = 0.75 * wander[day - 1] + rng.normal(0, 0.05)
    season = rng.uniform(-10, 25) + rng.uniform(-6, 6) * np.linspace(0, 1, days) + rng.normal(0, 2.0, days)
    if rng.random() < 0.3:
        cold = int(rng.integers(0, max(1, days - 8)))
        season[cold : cold + 8] -= rng.uniform(5, 15)
    level = rng.uniform(12.25, 12.85)
    return Battery(
        rest_v=np.clip(level + wander + 0.003 * (season - season.mean()), 11.96, 13.07),
        crank_v=np.full(days, rng.uniform(9.4, 10.6)) + 0.01 * (season - season.mean()),
        crank_s=np.full(days, rng.uniform(0.6, 1.2)),
        charge_v=np.full(days, rng.uniform(13.6, 14.3)) + rng.normal(0, 0.05, days),
        ambient_c=season,
        parked=(rng.random(days) < 0.1).astype(np.float64),
        systems=2.0 if rng.random() < 0.25 else 1.0,
    )


def trace_of(rng: np.random.Generator, battery: Battery, *, generator_v: float | None = None) -> Trace:
    """Starts at 1 Hz, drives and rests at the device's beat. `generator_v`: a clever one wanders down to it."""
    days = len(battery.rest_v)
    beat, heart = float(rng.choice([10.0, 30.0])), float(rng.choice([300.0, 600.0, 1_800.0, 3_300.0]))
    t_s, volts, on, speed = [], [], [], []
    free = 0.0
    for day in range(days):
        drives = [] if battery.parked[day] else np.sort(rng.uniform(6, 21, int(rng.integers(1, 5)))) * 3_600
        for begin in day * DAY_S + np.asarray(drives):
            if begin < free + 600:
                continue
            rests = np.arange(free + heart, begin - 10, heart)
            _rest(rng, battery, rests, free, (t_s, volts, on, speed))
            end = begin + rng.uniform(600, 4_800)
            _drive(rng, battery, (begin, end, beat), generator_v, (t_s, volts, on, speed))
            free = end
    _rest(rng, battery, np.arange(free + heart, days * DAY_S, heart), free, (t_s, volts, on, speed))
    t = np.concatenate(t_s)
    whole = rounded(np.concatenate(volts) * battery.systems, float(rng.choice([0.0, 0.01, 0.1])))
    ambient = np.interp(t, (np.arange(days) + 0.5) * DAY_S, battery.ambient_c) + 3 * np.sin(2 * np.pi * t / DAY_S)
    columns = {"external_v": whole, "ignition": np.concatenate(on), "speed_kmh": np.concatenate(speed)}
    if rng.random() < 0.6:
        columns["ambient_c"] = ambient
    if rng.random() < 0.5:
        columns["rpm"] = np.where(columns["ignition"] > 0, 800 + 20 * columns["speed_kmh"], 0.0)
    trace = Trace(t, columns)
    trace.vehicle_class = "heavy" if battery.systems > 1 else "car"
    return trace


_Parts = tuple[list[Floats], list[Floats], list[Floats], list[Floats]]


def _of_day(values: Floats, t: Floats) -> Floats:
    return values[np.clip((t / DAY_S).astype(int), 0, len(values) - 1)]


def _rest(rng: np.random.Generator, battery: Battery, t: Floats, since: float, parts: _Parts) -> None:
    surface = 0.5 * np.exp(-(t - since) / 1_200.0) if since else np.zeros(len(t))
    sinks = 0.0008 * (t - since) / 3_600.0
    _add(parts, t, _of_day(battery.rest_v, t) + surface - sinks + rng.normal(0, battery.chance_v, len(t)), 0.0, 0.0)


def _drive(
    rng: np.random.Generator,
    battery: Battery,
    when: tuple[float, float, float],
    generator_v: float | None,
    parts: _Parts,
) -> None:
    begin, end, beat = when
    day = min(int(begin / DAY_S), len(battery.rest_v) - 1)
    before = begin + np.arange(-5.0, 0.0)
    _add(parts, before, battery.rest_v[day] - 0.1 + rng.normal(0, battery.chance_v, 5), 0.0, 0.0)
    # The starter turns some time after the ignition; a sample a second sees a part of the dip, if any.
    start = begin + np.arange(0.0, 12.0)
    turns = rng.uniform(0.5, 3.0)
    share = np.clip(
        np.minimum(start + 1, begin + turns + battery.crank_s[day]) - np.maximum(start, begin + turns), 0, 1
    )
    seen = np.where(share > 0.15, rng.uniform(0.3, 1.0, 12) ** 0.5, 0.0)
    rest, dip = battery.rest_v[day] - 0.15, battery.rest_v[day] - battery.crank_v[day]
    charged = start > begin + turns + battery.crank_s[day]
    volts = np.where(charged, battery.charge_v[day] - 0.3, rest - dip * seen)
    _add(parts, start, volts + rng.normal(0, battery.chance_v, 12), 1.0, 0.0)
    t = np.arange(begin + 12 + beat, end, beat)
    level = np.full(len(t), battery.charge_v[day])
    if generator_v is not None:
        level = generator_v + (level - generator_v) * (0.5 + 0.5 * np.sin(t / 300.0))
    _add(parts, t, level + rng.normal(0, 0.05, len(t)), 1.0, drive_speed(rng, len(t), beat))


def _add(parts: _Parts, t: Floats, volts: Floats, on: float, speed: Floats | float) -> None:
    for part, values in zip(parts, (t, volts, np.full(len(t), on), np.zeros(len(t)) + speed), strict=True):
        part.append(values)


# -- over weeks ----------------------------------------------------------------------------------------------------


def weak_battery(rng: np.random.Generator) -> Trace:
    """-0.02 V a day at rest for 30 days, starts -0.05 to -0.1 V a day, the last ones taking 2 to 4 s."""
    days = 33
    battery = healthy(rng, days)
    battery.rest_v = np.clip(battery.rest_v, 12.4, None)
    onset = int(rng.integers(0, 4))
    weak = np.maximum(0.0, np.arange(days) - onset)
    battery.rest_v = battery.rest_v - 0.02 * weak
    battery.crank_v = battery.crank_v - rng.uniform(0.05, 0.1) * weak
    battery.crank_s = np.where(weak > 25, rng.uniform(2.0, 4.0), battery.crank_s)
    trace = trace_of(rng, battery)
    trace.expects["low_battery"] = (onset * DAY_S, trace.t_s[-1])
    return trace


def healthy_battery(rng: np.random.Generator) -> Trace:
    """Five weeks of a healthy one, a clever generator among them, or ten days at the airport."""
    battery = healthy(rng, 33)
    if rng.random() < 0.3:
        battery.parked[10:20] = 1.0
    return trace_of(rng, battery, generator_v=rng.uniform(12.7, 13.2) if rng.random() < 0.3 else None)


def weak_generator(rng: np.random.Generator) -> Trace:
    """Charges at its level for weeks, then at 12.4 to 12.9 V for days."""
    battery = healthy(rng, 21)
    battery.parked[:] = 0.0
    onset = int(rng.integers(12, 17))
    battery.charge_v[onset:] = rng.uniform(12.3, 12.9)
    trace = trace_of(rng, battery)
    trace.expects["charging_fault"] = (onset * DAY_S, trace.t_s[-1])
    trace.allows["low_battery"] = (onset * DAY_S, trace.t_s[-1])
    return trace


# -- within hours --------------------------------------------------------------------------------------------------


def _one_drive(rng: np.random.Generator, seconds: float) -> tuple[Floats, float, float, dict[str, Floats]]:
    step = float(rng.choice([1.0, 5.0, 10.0, 30.0]))
    begin = rng.uniform(0, 7_200)
    t = begin + np.arange(0.0, seconds, step)
    speed = drive_speed(rng, len(t), step)
    columns = {"speed_kmh": speed, "ignition": np.ones(len(t))}
    if rng.random() < 0.5:
        columns["rpm"] = 800.0 + 20.0 * speed
    return t, step, 2.0 if rng.random() < 0.25 else 1.0, columns


def generator_fails(rng: np.random.Generator) -> Trace:
    """The generator stops while driving: the battery takes over at 12.5 V and sinks; or its regulator lets go."""
    t, _, systems, columns = _one_drive(rng, 3_600)
    onset = t[0] + rng.uniform(300, 1_200)
    running = np.maximum((t - onset) / 60.0, 0.0)
    failed = rng.uniform(12.1, 12.45) - rng.uniform(0.005, 0.03) * running
    if rng.random() < 0.2:
        failed = np.full(len(t), rng.uniform(15.8, 16.8))
    volts = np.where(t < onset, rng.uniform(13.5, 14.3), failed) + rng.normal(0, 0.05, len(t))
    columns["external_v"] = rounded(volts * systems, float(rng.choice([0.0, 0.1])))
    trace = Trace(t, columns)
    trace.expects["charging_fault"] = (onset, t[-1])
    return trace


def flat_battery(rng: np.random.Generator) -> Trace:
    """Lights left on: from 12.5 V to 11.5 V and less within hours of rest."""
    step = float(rng.choice([1.0, 10.0, 60.0, 300.0]))
    t = rng.uniform(0, 3_600) + np.arange(0.0, 5 * 3_600, step)
    low = rng.uniform(10.5, 11.5)
    volts = 12.5 - (12.5 - low) * np.clip((t - t[0]) / rng.uniform(7_200, 12_000), 0, 1)
    systems = 2.0 if rng.random() < 0.25 else 1.0
    volts = rounded((volts + rng.normal(0, 0.02, len(t))) * systems, float(rng.choice([0.0, 0.1])))
    trace = Trace(t, {"external_v": volts, "ignition": np.zeros(len(t)), "speed_kmh": np.zeros(len(t))})
    trace.expects["low_battery"] = (0.0, t[-1])
    return trace


def sound_supply(rng: np.random.Generator) -> Trace:
    """Radio with the engine off, a start that dips, a clever generator, a device that is cut off."""
    t, _, systems, columns = _one_drive(rng, 3_600)
    kind = int(rng.integers(0, 5))
    volts = np.full(len(t), rng.uniform(13.5, 14.3))
    quiet = t < t[0] + 1_500
    if kind in (0, 1):
        columns["speed_kmh"][quiet] = 0.0
        volts[quiet] = np.linspace(12.5, rng.uniform(12.0, 12.3), int(quiet.sum()))
        if "rpm" in columns:
            columns["rpm"][quiet] = 0.0
        if kind == 1:
            columns["ignition"][quiet] = 0.0
            volts[t < t[0] + 200] = rng.uniform(9.0, 11.5)
    elif kind == 2:
        volts = 13.7 + 0.9 * np.sin(t / rng.uniform(40, 200))
    elif kind == 3:
        volts[quiet] = 0.0
    else:
        volts[rng.random(len(t)) < 0.01] = rng.uniform(9.0, 11.0)
    volts += rng.normal(0, 0.05, len(t)) * (volts > 1)
    columns["external_v"] = rounded(volts * systems, float(rng.choice([0.0, 0.1])))
    return Trace(t, columns)
