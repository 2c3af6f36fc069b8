"""What a vehicle's own sensors say over a life: engine, battery, tyres, fuel, odometer, weather outside.

Physics in closed form a sample, with the scatter of healthy vehicles. Scenarios add faults to the columns afterwards.
NaN: the sensor says nothing, because the vehicle's network sleeps.
"""

import itertools
import math
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from simulators.errands import DAY_S, HOUR_S, Life, Span

F64 = NDArray[np.float64]

WHEELS: Final = ("fl", "fr", "rl", "rr")
NETWORK_AWAKE_S: Final = 120.0  # a vehicle's network goes to sleep so long after the ignition

# Healthy 12 V battery (workshop tables: 12.65 V full, 12.24 V at half charge), charging 13.7 to 14.7 V.
REST_EMPTY_V: Final = 11.83
REST_SPAN_V: Final = 0.82
SURFACE_V: Final = 0.25  # surface charge after a drive; gone in hours
SURFACE_S: Final = 5_400.0
SELF_DISCHARGE_A_DAY: Final = 0.010  # alarm, unit and chemistry: about 25 mA of a 60 Ah battery
RECHARGE_S: Final = 2_400.0
# The lowest volts that a sample catches while cranking. On healthy starts of one car these ran from 7.6 to 11.3 V, 6 of
# 128 below 9.6: the dip lasts a fraction of a second and is rarely met.
CRANK_DROP_V: Final = (2.0, 0.45)  # mean and scatter at 20 C
CRANK_DEEP: Final = 0.04  # share of starts at which the dip itself is met
CRANK_COLD_V_PER_C: Final = 0.02  # more below 20 C

THERMOSTAT_C: Final = (87.0, 92.0)
WARM_UP_S: Final = 260.0
COOL_DOWN_S: Final = 5_400.0
SOAK_C: Final = (3.0, 7.0)  # after a stop heat flows from the block into standing coolant

# Gauge pressures, kPa, on the placard; a tyre gains about its share of absolute temperature.
PLACARD_KPA: Final = {"car": (220.0, 260.0), "van": (300.0, 380.0), "heavy": (750.0, 850.0)}
ATMOSPHERE_KPA: Final = 101.3
TYRE_HEAT_C: Final = (18.0, 30.0)  # above the air after half an hour at speed: 10 to 14 % of gauge pressure
TYRE_WARM_S: Final = 900.0
TYRE_COOL_S: Final = 2_700.0

TANK_L: Final = {"car": (45.0, 65.0), "van": (70.0, 90.0), "heavy": (250.0, 420.0)}
USE_L_100KM: Final = {"car": (5.5, 8.0), "van": (8.0, 11.0), "heavy": (24.0, 32.0)}
IDLE_L_H: Final = {"car": 0.9, "van": 1.1, "heavy": 2.4}


@dataclass(frozen=True, slots=True)
class Build:
    """One vehicle: what differs from the next one of its class.

    network_parked   whether the unit can wake the vehicle's network while parked, and so read tank and tyres
    cold_snap        a span of the life in which it is colder, and by how much
    """

    vehicle_class: str
    odometer_km: float
    tank_l: float
    fuel_pct: float
    use_l_100km: float
    placard_kpa: float
    wheel_offset_kpa: tuple[float, ...]
    pressure_step_kpa: float
    rest_offset_v: float
    charging_v: float
    thermostat_c: float
    obd_scale: float
    network_parked: bool
    ambient_c: float
    swing_c: float
    cold_snap: tuple[Span, float] | None = None

    @classmethod
    def drawn(cls, rng: np.random.Generator, vehicle_class: str = "car", **fixed: Any) -> "Build":
        """A healthy vehicle of a class; `fixed` replaces drawn values."""
        build = cls(
            vehicle_class=vehicle_class,
            odometer_km=float(rng.uniform(4_000, 140_000)),
            tank_l=float(rng.uniform(*TANK_L[vehicle_class])),
            fuel_pct=float(rng.uniform(55, 95)),
            use_l_100km=float(rng.uniform(*USE_L_100KM[vehicle_class])),
            placard_kpa=round(float(rng.uniform(*PLACARD_KPA[vehicle_class])), -1),
            wheel_offset_kpa=tuple(rng.normal(0.0, 3.0, 4).tolist()),
            pressure_step_kpa=float(rng.choice([1.0, 1.373, 2.5])),
            rest_offset_v=float(rng.normal(0.0, 0.05)),
            charging_v=float(rng.uniform(13.8, 14.4)),
            thermostat_c=float(rng.uniform(*THERMOSTAT_C)),
            obd_scale=float(rng.uniform(0.985, 1.03)),
            network_parked=bool(rng.random() < 0.5),
            ambient_c=float(rng.uniform(8.0, 24.0)),
            swing_c=float(rng.uniform(2.5, 5.0)),
        )
        return replace(build, **fixed)


def relaxed(times_s: F64, target: F64, constant_s: F64, start: float) -> F64:
    """First-order approach of each sample's target with each sample's time constant, from `start`."""
    keep = np.exp(-np.diff(times_s, prepend=times_s[0]) / constant_s)
    return linear(keep, (1.0 - keep) * target, start)


def linear(keep: F64, gain: F64, start: float) -> F64:
    """x[k] = keep[k] * x[k - 1] + gain[k]: every first-order process, whatever the distance of its samples."""
    steps = zip(keep.tolist(), gain.tolist(), strict=True)
    states = itertools.accumulate(steps, lambda x, step: step[0] * x + step[1], initial=start)
    return np.fromiter(states, dtype=np.float64, count=len(keep) + 1)[1:]


def sense(life: Life, build: Build, rng: np.random.Generator, midnight_s: float) -> dict[str, F64]:
    """Columns of the vehicle's own sensors, by name. `midnight_s`: a local midnight, in seconds of the life."""
    since_on_s = life.since(life.ignition)
    awake = (since_on_s <= NETWORK_AWAKE_S) | build.network_parked
    ambient = outside(life, build, rng, midnight_s)
    speed_kmh = life.wheel_mps * 3.6
    columns = {
        "obd_speed_kmh": np.round(speed_kmh * build.obd_scale),
        "rpm": engine_speed(life, rng),
        "coolant_c": coolant(life, build, ambient, rng),
        "fuel_pct": fuel(life, build, rng),
        "ambient_c": ambient + rng.normal(0.0, 0.2, len(life)),
        **tyres(life, build, ambient, rng),
    }
    columns = {name: np.where(awake, values, np.nan) for name, values in columns.items()}
    # The unit remembers the last odometer it read; supply and own battery it measures itself.
    columns["odometer_km"] = build.odometer_km + np.cumsum(life.rolled_m) / 1000.0
    columns["external_v"] = supply(life, build, ambient, rng)
    columns["battery_v"] = 4.08 + rng.normal(0.0, 0.01, len(life))
    return columns


def outside(life: Life, build: Build, rng: np.random.Generator, midnight_s: float) -> F64:
    """Air temperature: warmest at three in the afternoon, and weather that changes over days."""
    day = 2 * math.pi * ((life.t_s - midnight_s) / DAY_S - 15.0 / 24.0)
    knots = np.arange(0.0, life.t_s[-1] + 3 * DAY_S, 1.5 * DAY_S)
    weather = np.interp(life.t_s, knots, rng.normal(0.0, 1.5, len(knots)))
    air = build.ambient_c + build.swing_c * np.cos(day) + weather
    if build.cold_snap is not None:
        span, colder_c = build.cold_snap
        # It comes and goes within hours.
        edges = np.minimum(life.t_s - span.from_s, span.until_s - life.t_s) / (6 * HOUR_S)
        air = air - colder_c * np.clip(edges, 0.0, 1.0)
    return np.asarray(air)


def engine_speed(life: Life, rng: np.random.Generator) -> F64:
    """Revolutions a minute: idle, or by speed and gear; the starter turns at a few hundred."""
    speed_kmh = life.wheel_mps * 3.6
    gear = np.clip(np.ceil(speed_kmh / 19.0), 1, 6)
    turning = np.maximum(780.0, speed_kmh / gear * 95.0 + 250.0) + rng.normal(0.0, 12.0, len(life))
    return np.where(life.engine, turning, np.where(life.cranking, 220.0, 0.0))


def coolant(life: Life, build: Build, ambient_c: F64, rng: np.random.Generator) -> F64:
    """Coolant: warms up to the thermostat, soaks after a stop, cools over hours."""
    load = 1.5 * np.clip(life.wheel_mps / 20.0, 0.0, 1.0)
    target = np.where(life.engine, build.thermostat_c + load, ambient_c)
    constant = np.where(life.engine, WARM_UP_S, COOL_DOWN_S)
    off_s = life.since(life.engine)
    body = relaxed(life.t_s, target, constant, float(ambient_c[0]))
    since_s = np.where(np.isfinite(off_s), off_s, 1e9)
    hot = np.clip((body - ambient_c) / 60.0, 0.0, 1.0)
    soak = float(rng.uniform(*SOAK_C)) * (1 - np.exp(-since_s / 150.0)) * np.exp(-since_s / 1_500.0) * hot
    return np.round(body + soak + rng.normal(0.0, 0.4, len(life)))


def fuel(life: Life, build: Build, rng: np.random.Generator) -> F64:
    """Level of the tank in percent, with the slosh of driving; filled up at a stop before it runs dry."""
    idle_l = IDLE_L_H[build.vehicle_class] * np.diff(life.t_s, prepend=life.t_s[0]) / HOUR_S * life.engine
    used_pct = np.cumsum(life.rolled_m / 1e5 * build.use_l_100km + idle_l) / build.tank_l * 100.0
    level = build.fuel_pct - used_pct
    # Refilled at the first standing sample below 15 %, once for each 80 % that has gone.
    low = np.flatnonzero((level < 15.0) & ~life.ignition)
    while len(low):
        level[low[0] :] += 97.0 - level[low[0]]
        low = np.flatnonzero((level < 15.0) & ~life.ignition)
    moving = life.wheel_mps > 1.0
    constant = np.full(len(life), 8.0)
    drive = rng.normal(0.0, 0.5, len(life)) * moving
    slosh = linear(np.exp(-np.diff(life.t_s, prepend=life.t_s[0]) / constant), drive, 0.0)
    slosh += 0.8 * (-life.accel_mps2 / 1.5) * moving
    return np.clip(np.round((level + slosh + rng.normal(0.0, 0.15, len(life))) / 0.4) * 0.4, 0.0, 100.0)


def tyres(life: Life, build: Build, ambient_c: F64, rng: np.random.Generator) -> dict[str, F64]:
    """Gauge pressure of each tyre: set cold at 20 C, higher with the heat of rolling and the air's."""
    fast = np.clip(life.wheel_mps / 22.0, 0.0, 1.0)
    rolling = life.wheel_mps > 1.0
    heat_c = relaxed(
        life.t_s, float(rng.uniform(*TYRE_HEAT_C)) * fast, np.where(rolling, TYRE_WARM_S, TYRE_COOL_S), 0.0
    )
    columns = {}
    for wheel, offset in zip(WHEELS, build.wheel_offset_kpa, strict=True):
        absolute = build.placard_kpa + offset + ATMOSPHERE_KPA
        gauge = absolute * (273.15 + ambient_c + heat_c) / 293.15 - ATMOSPHERE_KPA
        noisy = gauge + rng.normal(0.0, 0.4, len(life))
        columns[f"tyre_{wheel}_kpa"] = np.round(noisy / build.pressure_step_kpa) * build.pressure_step_kpa
    return columns


def supply(life: Life, build: Build, ambient_c: F64, rng: np.random.Generator) -> F64:
    """Volts at the unit: charging, cranking, or the battery at rest with what the drive left on its surface."""
    step_s = np.diff(life.t_s, prepend=life.t_s[0])
    keep = np.where(life.engine, np.exp(-step_s / RECHARGE_S), 1.0)
    gain = np.where(life.engine, 1.0 - keep, -SELF_DISCHARGE_A_DAY * step_s / DAY_S)
    charge = np.clip(linear(keep, gain, float(rng.uniform(0.86, 0.97))), 0.0, 1.0)
    off_s = np.where(np.isfinite(life.since(life.engine)), life.since(life.engine), 1e9)
    rest = REST_EMPTY_V + REST_SPAN_V * charge + build.rest_offset_v
    rest = rest + SURFACE_V * np.exp(-off_s / SURFACE_S)
    # Ignition on without the engine, and a vehicle that has just been left, draw tens of amperes.
    rest = rest - 0.25 * (life.ignition | life.door_open)
    running = build.charging_v + 0.12 * np.clip(-life.accel_mps2, -1.0, 1.0)
    drop = np.maximum(rng.normal(*CRANK_DROP_V, len(life)), 0.9)
    drop = np.where(rng.random(len(life)) < CRANK_DEEP, drop + rng.uniform(1.0, 2.6, len(life)), drop)
    drop = drop + CRANK_COLD_V_PER_C * np.maximum(20.0 - ambient_c, 0.0)
    volts = np.where(life.cranking, rest - drop, np.where(life.engine, running, rest))
    return np.asarray(volts + rng.normal(0.0, 0.025, len(life)))
