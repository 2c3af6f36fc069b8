"""Recipes of faults and of what looks like them: see health_traces.py."""

from collections.abc import Callable

import numpy as np

from tests.health_traces import DAY_S, Floats, Trace, drive_speed, rounded, sparse

Recipe = Callable[[np.random.Generator], Trace]
STEPS_S = (1.0, 1.0, 2.0, 5.0, 10.0, 30.0)
WHEELS = ("fl", "fr", "rl", "rr")


def _beat(rng: np.random.Generator, seconds: float, steps: tuple[float, ...] = STEPS_S) -> tuple[Floats, float]:
    step = float(rng.choice(steps))
    return rng.uniform(0, 3 * 3600) + rng.uniform(0, step) + np.arange(0.0, seconds, step), step


# -- coolant -------------------------------------------------------------------------------------------------------


def _coolant(
    rng: np.random.Generator, t: Floats, step: float, celsius: Floats, ignition: Floats | None = None
) -> Trace:
    noisy = rounded(celsius + rng.normal(0.0, rng.choice([0.0, 0.2, 0.5]), len(t)), float(rng.choice([0.0, 0.1, 1.0])))
    on = np.ones(len(t)) if ignition is None else ignition
    speed = drive_speed(rng, len(t), step) * on
    columns = {"coolant_c": noisy, "speed_kmh": speed, "ignition": on}
    if rng.random() < 0.5:
        columns["rpm"] = np.where(on > 0, 800.0 + 20.0 * speed, 0.0)
    if rng.random() < 0.3:
        columns["coolant_c"][rng.random(len(t)) < 0.05] = np.nan
    return Trace(t, columns)


def overheating(rng: np.random.Generator) -> Trace:
    """A ramp at 2 to 6 C a minute under load to 116 C and more, or to a little above the warning and staying there."""
    t, step = _beat(rng, 2_400)
    rate, begin_c = rng.uniform(2.0, 6.0), rng.uniform(82.0, 95.0)
    end_c = rng.uniform(117.0, 124.0) if rng.random() < 0.7 else rng.uniform(111.8, 113.5)
    onset = t[0] + rng.uniform(120, 600)
    celsius = np.clip(begin_c + np.maximum(0.0, t - onset) * rate / 60.0, None, end_c)
    celsius += np.where(celsius >= end_c, np.sin(t / 40.0) * 0.8, 0.0)
    trace = _coolant(rng, t, step, celsius)
    trace.expects["overheating"] = (onset, t[-1])
    return trace


def normal_coolant(rng: np.random.Generator) -> Trace:
    """Warming up from cold, then a thermostat and a fan between 80 and 105 C."""
    t, step = _beat(rng, 3_600)
    level, swing = rng.uniform(84.0, 98.0), rng.uniform(1.0, 5.0)
    celsius = np.minimum(rng.uniform(-10, 60) + (t - t[0]) * rng.uniform(3, 9) / 60.0, level)
    celsius += swing * np.sin((t - t[0]) / rng.uniform(60, 200)) * (celsius >= level)
    return _coolant(rng, t, step, celsius)


def hot_soak(rng: np.random.Generator) -> Trace:
    """5 to 8 C more after the stop, with the ignition off or while the engine idles."""
    t, step = _beat(rng, 2_400)
    level, stop = rng.uniform(88.0, 103.0), t[0] + 1_200
    rise = rng.uniform(5.0, 8.0)
    celsius = level + rise * (1 - np.exp(-np.maximum(0.0, t - stop) / 120.0))
    celsius -= np.maximum(0.0, t - stop - 500) * 0.01
    ignition = np.where(t >= stop, 0.0, 1.0) if rng.random() < 0.6 else np.ones(len(t))
    trace = _coolant(rng, t, step, celsius, ignition)
    trace.columns["speed_kmh"][t >= stop] = 0.0
    return trace


def faulty_coolant_sensor(rng: np.random.Generator) -> Trace:
    """A sensor that jumps and stays, spikes, has a broken wire, or has been stuck all along."""
    t, step = _beat(rng, 2_400)
    celsius = 90.0 + 2.0 * np.sin(t / 90.0)
    kind = rng.integers(0, 5)
    trace = _coolant(rng, t, step, celsius)
    told = trace.columns["coolant_c"]
    at = int(rng.integers(len(t) // 4, len(t) // 2))
    if kind == 0:
        told[at:] = rng.uniform(112.0, 139.0)
    elif kind == 1:
        told[rng.random(len(t)) < 0.02] = rng.uniform(120.0, 215.0)
    elif kind == 2:
        told[at:] = -40.0
    elif kind == 3:
        told[:] = round(rng.uniform(112.0, 130.0))
    else:
        told[at : at + max(1, int(rng.uniform(20, 200) / step))] = rng.uniform(115.0, 139.0)
    return trace


# -- tyres ---------------------------------------------------------------------------------------------------------


def _pressures(rng: np.random.Generator, t: Floats, warm: Floats) -> dict[str, Floats]:
    """Four tyres: front and rear levels of a car, van or lorry, each set a little off, warmed alike."""
    front, rear = [(240, 230), (250, 250), (220, 260), (300, 430), (850, 750)][int(rng.integers(0, 5))]
    sigma = rng.choice([0.0, 0.5, 1.5]) * front / 240.0
    held = {}
    for wheel in WHEELS:
        level = (front if wheel[0] == "f" else rear) * rng.uniform(0.97, 1.03)
        own = 1.0 + warm * rng.uniform(0.85, 1.15)
        held[wheel] = level * own + rng.normal(0.0, sigma, len(t))
    return held


def _tyres(rng: np.random.Generator, t: Floats, kpa: dict[str, Floats], speed: Floats) -> Trace:
    resolution = float(rng.choice([0.0, 1.0, 4.0]))
    columns = {f"tyre_{wheel}_kpa": rounded(np.maximum(values, 0.0), resolution) for wheel, values in kpa.items()}
    return Trace(t, {**columns, "speed_kmh": speed, "ignition": np.ones(len(t))})


def _warmth(rng: np.random.Generator, t: Floats) -> Floats:
    """10 to 20 % more within half an hour of driving."""
    return rng.uniform(0.05, 0.20) * (1 - np.exp(-(t - t[0]) / 900.0))


def blowout(rng: np.random.Generator) -> Trace:
    """-50 kPa/min (of 240) and faster, down to little or nothing."""
    t, step = _beat(rng, 2_400)
    kpa = _pressures(rng, t, _warmth(rng, t))
    wheel = str(rng.choice(WHEELS))
    onset = t[0] + rng.uniform(400, 1_500)
    scale = max(1.0, float(kpa[wheel][0]) / 240.0)
    rate = (rng.uniform(50, 120) if rng.random() < 0.5 else rng.uniform(300, 6_000)) * scale
    low = rng.uniform(3.0, 90.0)
    kpa[wheel] = np.maximum(kpa[wheel] - np.maximum(0.0, t - onset) * rate / 60.0, low + rng.normal(0, 0.5, len(t)))
    trace = _tyres(rng, t, kpa, drive_speed(rng, len(t), step))
    trace.expects["tyre_blowout"] = (onset - 5, onset + 600)
    return trace


def tyre_signal_lost(rng: np.random.Generator) -> Trace:
    """Sensors that tell 0 or nothing, for a sample or for good; all four together when the receiver fails."""
    t, step = _beat(rng, 2_400)
    trace = _tyres(rng, t, _pressures(rng, t, _warmth(rng, t)), drive_speed(rng, len(t), step))
    begin = int(rng.integers(10, len(t) - 10))
    end = begin + int(rng.integers(1, len(t)))
    for wheel in WHEELS if rng.random() < 0.3 else [str(rng.choice(WHEELS))]:
        trace.columns[f"tyre_{wheel}_kpa"][begin:end] = 0.0 if rng.random() < 0.6 else np.nan
    return trace


def warm_tyres(rng: np.random.Generator) -> Trace:
    """All four warm up by 10 to 20 %, and cool in the rain."""
    t, step = _beat(rng, 3_600)
    warm = _warmth(rng, t) * np.where(t > t[0] + 2_400, np.exp(-(t - t[0] - 2_400) / 300.0), 1.0)
    return _tyres(rng, t, _pressures(rng, t, warm), drive_speed(rng, len(t), step))


def slow_leak(rng: np.random.Generator) -> Trace:
    """One wheel loses up to 1 kPa a minute, within a drive; sometimes after days without a fault."""
    t, step = _beat(rng, 3 * 3_600, (5.0, 10.0, 30.0, 60.0))
    kpa = _pressures(rng, t, _warmth(rng, t))
    wheel = str(rng.choice(WHEELS))
    onset = t[0] + rng.uniform(300, 2_400)
    rate = rng.uniform(0.5, 1.2) * float(kpa[wheel][0]) / 240.0
    kpa[wheel] = kpa[wheel] - np.maximum(0.0, t - onset) * rate / 60.0
    trace = _tyres(rng, t, kpa, drive_speed(rng, len(t), step))
    trace.expects["tyre_leak"] = (onset, t[-1])
    return trace


def _days_of_tyres(rng: np.random.Generator, days: int) -> tuple[Floats, Floats, Floats]:
    """Times of some drives a day, the warmth of the tyres, and what the season and the sun do."""
    parts, warm = [], []
    for day in range(days):
        for hour in rng.choice([6, 8, 10, 12, 14, 16, 18], int(rng.integers(1, 4)), replace=False):
            begin = day * DAY_S + float(hour) * 3_600 + rng.uniform(0, 1_500)
            t = begin + np.arange(0.0, rng.uniform(900, 5_400), 60.0)
            parts.append(t)
            warm.append(_warmth(rng, t))
    order = np.argsort(np.concatenate(parts), kind="stable")
    t = np.concatenate(parts)[order]
    season = rng.uniform(-0.08, 0.08) * t / t[-1] + 0.02 * np.sin(2 * np.pi * t / DAY_S)
    return t, np.concatenate(warm)[order] + season, drive_speed(rng, len(t), 60.0)


def leak_over_days(rng: np.random.Generator) -> Trace:
    """A nail: 3 to 20 kPa a day (of 240) after some days without a fault."""
    t, warm, speed = _days_of_tyres(rng, 14)
    kpa = _pressures(rng, t, warm)
    wheel = str(rng.choice(WHEELS))
    onset = rng.uniform(2, 5) * DAY_S
    rate = rng.uniform(6, 20) * float(kpa[wheel][0]) / 240.0
    kpa[wheel] = kpa[wheel] - np.maximum(0.0, t - onset) * rate / DAY_S
    trace = _tyres(rng, t, kpa, speed)
    trace.expects["tyre_leak"] = (onset, t[-1])
    return trace


def days_of_sound_tyres(rng: np.random.Generator) -> Trace:
    """Weather, sun on one side, a correction of all four at the pump, sensors that are silent for a day."""
    t, warm, speed = _days_of_tyres(rng, 14)
    kpa = _pressures(rng, t, warm)
    sun = 0.03 * np.maximum(0.0, np.sin(2 * np.pi * t / DAY_S))
    for wheel in ("fl", "rl") if rng.random() < 0.5 else ("fr", "rr"):
        kpa[wheel] = kpa[wheel] * (1 + sun)
    filled = rng.uniform(4, 12) * DAY_S
    for wheel in WHEELS:
        kpa[wheel] = kpa[wheel] * np.where(t > filled, rng.uniform(1.0, 1.08), 1.0)
    trace = _tyres(rng, t, kpa, speed)
    silent = (t > 6 * DAY_S) & (t < 7 * DAY_S)
    trace.columns[f"tyre_{rng.choice(WHEELS)}_kpa"][silent] = 0.0
    return trace


# -- fuel ----------------------------------------------------------------------------------------------------------


def _tank(
    rng: np.random.Generator,
    *,
    parked_s: float,
    stolen_pct: float = 0.0,
    minutes: float = 10.0,
    engine_on: bool = False,
) -> tuple[Trace, float]:
    """A drive, a stay, a drive. The level sloshes while driving, rests while parked. Returns when the theft begins."""
    step = float(rng.choice([1.0, 2.0, 10.0, 30.0]))
    drive_s = rng.uniform(900, 2_400)
    begin = rng.uniform(0, 3_600 * 3)
    t = begin + np.arange(0.0, 2 * drive_s + parked_s, step)
    parked = (t >= begin + drive_s) & (t < begin + drive_s + parked_s)
    speed = np.where(parked, 0.0, drive_speed(rng, len(t), step))
    speed[np.abs(t - begin - drive_s) < 20] = 0.0
    engine = ~parked | engine_on
    used = np.concatenate(([0.0], np.cumsum(np.diff(t) * (speed[:-1] / 3600.0 * 0.13 + engine[:-1] * 1.5 / 3600.0))))
    onset = begin + drive_s + rng.uniform(0.15, 0.5) * parked_s
    gone = np.clip((t - onset) / (minutes * 60.0), 0.0, 1.0) * stolen_pct
    level = max(rng.uniform(45, 95), stolen_pct + 12.0) - used - gone
    slosh = np.zeros(len(t))
    for at in range(1, len(t)):
        slosh[at] = slosh[at - 1] * np.exp(-step / 8.0) + rng.normal(0, 0.6) * (speed[at] > 0)
    level = level + slosh * rng.uniform(0.3, 1.2)
    told = rounded(
        level + rng.normal(0, rng.choice([0.0, 0.1, 0.3]), len(t)) * engine, float(rng.choice([0.0, 0.1, 0.4]))
    )
    told = sparse(rng, told, int(rng.choice([1, 1, max(1, int(60 / step))])))
    columns = {"fuel_pct": told, "speed_kmh": speed, "ignition": engine.astype(np.float64)}
    trace = Trace(t, columns)
    if rng.random() < 0.4:
        # The device sleeps while parked and tells of itself now and then.
        every = rng.choice([120.0, 600.0, 1_800.0])
        keep = ~parked | (np.floor(t / every) != np.floor((t - step) / every))
        told[parked & keep] = level[parked & keep]
        trace = Trace(t[keep], {name: values[keep] for name, values in columns.items()})
    return trace, onset


def fuel_theft(rng: np.random.Generator) -> Trace:
    """12 to 60 % of the tank within 3 to 20 minutes, parked or with the engine on."""
    minutes = rng.uniform(3, 20)
    stolen = rng.uniform(14, 55)
    engine_on = bool(rng.random() < 0.2)
    trace, onset = _tank(
        rng, parked_s=rng.uniform(4_000, 12_000), stolen_pct=stolen, minutes=minutes, engine_on=engine_on
    )
    trace.expects["fuel_theft"] = (onset - 60, trace.t_s[-1])
    return trace


def fuel_theft_asleep(rng: np.random.Generator) -> Trace:
    """18 to 60 % of the tank while the device sleeps: told again when the engine starts."""
    trace, onset = _tank(rng, parked_s=rng.uniform(8_000, 20_000), stolen_pct=rng.uniform(18, 55))
    trace.columns["fuel_pct"][trace.columns["ignition"] == 0] = np.nan
    trace.expects["fuel_theft"] = (onset - 60, trace.t_s[-1])
    return trace


def honest_tank(rng: np.random.Generator) -> Trace:
    """Slosh, idling for an hour, refuelling, a slope, a sender without supply or contact."""
    kind = int(rng.integers(0, 6))
    trace, _ = _tank(rng, parked_s=rng.uniform(2_000, 8_000), engine_on=kind == 0)
    fuel, off = trace.columns["fuel_pct"], trace.columns["ignition"] == 0
    stands = trace.columns["speed_kmh"] == 0
    middle = trace.t_s[len(fuel) // 2]
    if kind == 1:
        fuel[trace.t_s > middle] += rng.uniform(5, 100 - np.nanmax(fuel)) if np.nanmax(fuel) < 94 else 0.0
    elif kind == 2:
        fuel[off] -= rng.uniform(-5, 5)
    elif kind == 3:
        fuel[off] = 0.0
    elif kind == 4:
        fuel[rng.random(len(fuel)) < 0.01] = 0.0
    elif kind == 5:
        at = int(rng.integers(0, len(fuel)))
        if stands[at]:
            fuel[at : at + 1] -= 20.0
    return trace


# -- odometer ------------------------------------------------------------------------------------------------------


def _odometer(rng: np.random.Generator, days: int) -> tuple[Floats, Floats, Floats]:
    parts, speeds = [], []
    for day in range(days):
        begin = day * DAY_S + rng.uniform(6, 10) * 3_600
        t = begin + np.arange(0.0, rng.uniform(1_200, 7_200), 10.0)
        parts.append(t)
        speeds.append(drive_speed(rng, len(t), 10.0))
    t, speed = np.concatenate(parts), np.concatenate(speeds)
    km = rng.uniform(20_000, 180_000) + np.cumsum(speed * 10.0 / 3_600.0)
    return t, speed, rounded(km, float(rng.choice([0.0, 0.1, 1.0])))


def odometer_rollback(rng: np.random.Generator) -> Trace:
    """Some hundred to some ten thousand km less, overnight or while driving, and on from there."""
    t, speed, km = _odometer(rng, int(rng.integers(1, 6)))
    at = int(rng.integers(len(t) // 5, 4 * len(t) // 5))
    km[at:] -= min(rng.uniform(50, 60_000), 0.9 * km[0])
    trace = Trace(t, {"odometer_km": sparse(rng, km, int(rng.choice([1, 6, 30]))), "speed_kmh": speed})
    trace.columns["ignition"] = np.ones(len(t))
    trace.expects["odometer_rollback"] = (t[at] - 400, t[at] + 3 * DAY_S)
    return trace


def honest_odometer(rng: np.random.Generator) -> Trace:
    """Counts up; jitters between two sources; tells 0; leaps for a while; or device and counter were exchanged."""
    t, speed, km = _odometer(rng, int(rng.integers(2, 6)))
    at = int(rng.integers(len(t) // 5, 4 * len(t) // 5))
    boot = np.full(len(t), 40, dtype=np.int64)
    kind = int(rng.integers(0, 6))
    if kind == 0:
        km[::2] -= rng.uniform(0.0, 3.0)
    elif kind == 1:
        km[rng.random(len(t)) < 0.05] = 0.0
    elif kind == 2:
        km[at : at + int(rng.integers(1, 20))] += rng.uniform(1_000, 900_000)
    elif kind == 3:
        km[at:] = km[at:] - km[at] + rng.uniform(0, 50)
        boot[at:] = 1
    elif kind == 4:
        km[at:] -= rng.uniform(100, 5_000)
        boot[at:] = 2
    elif kind == 5:
        km[at : at + int(rng.integers(1, 20))] -= rng.uniform(100, 10_000)
    trace = Trace(t, {"odometer_km": km, "speed_kmh": speed, "ignition": np.ones(len(t))})
    trace.boot = boot
    return trace
