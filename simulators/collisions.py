"""What happens to a scripted vehicle in a crash: the pulse, the slide to rest, the spin; or the roll.

Everything is integrated in the world's plane at FINE_HZ, so that speed, course, place and what a sensor feels agree.
"""

import math
from dataclasses import dataclass
from enum import Enum
from typing import Final

import numpy as np
from numpy.typing import NDArray

from simulators.manoeuvres import FINE_A_STEP, Script
from simulators.pulses import FINE_HZ, GRAVITY_MPS2, Pulse, ring

F64 = NDArray[np.float64]

# Tyres on a dry road hold no more than this.
HARDEST_SLIDE_MPS2: Final = 7.0
SLIDE_S: Final = (1.0, 5.0)  # how long a struck vehicle moves on before it is still: docs/detection-science.md, A3
# A parked car slides on its parking brake (one axle) or in gear.
PARKED_SLIDE_MPS2: Final = (3.0, 4.5)
SPIN_FADES_S: Final = (0.25, 0.5)
_SETTLES_S: Final = 1.0

# Rollovers: docs/detection-science.md, A3 (Rose, Beauchamp; SAE 2009-01-0093): lateral 1 to 2 g for 0.2 to 0.4 s, then
# rates of 200 deg/s after a quarter turn and 400 to 450 through later rolls, slowing from 0.6 to 0.2 g.
TRIP_G: Final = (1.0, 2.0)
TRIP_S: Final = (0.2, 0.4)
QUARTER_TURNS: Final = (1, 2, 3, 4, 6, 8)
ROLL_SLOWS_G: Final = (0.6, 0.2)


class After(Enum):
    """What a struck vehicle does."""

    STOPS = "stops"
    DRIVES_ON = "drives on"
    HELD = "held by its parking brake"


@dataclass(frozen=True, slots=True)
class Impact:
    """What a collision was, for the truth. Times of the script."""

    at_s: float
    rest_s: float
    speed_before_kmh: float
    delta_v_kmh: float
    lateral_kmh: float
    toward_deg: float
    pulse_s: float
    peak_g: float
    stops: bool


def approach_kmh(pulse: Pulse) -> float:
    """The speed from which a pulse from ahead leaves the vehicle rebounding as its restitution says."""
    return -math.cos(pulse.toward_rad) * pulse.delta_v_kmh / (1.0 + pulse.restitution)


def collide(script: Script, pulse: Pulse, rng: np.random.Generator, after: After) -> Impact:
    """An impact now, until the vehicle is still, or until it drives straight on."""
    at_s, before_kmh = script.time_s, script.speed_kmh
    accel = pulse.sampled()
    spin_dps = 0.0 if after is After.DRIVES_ON else pulse.yaw_dps
    start = script.speed_mps * np.array([math.cos(script.yaw_rad), math.sin(script.yaw_rad)])
    along = np.hypot(accel[:, 0], accel[:, 1])
    rising_dps = spin_dps * np.cumsum(along) / along.sum()
    yaw = script.yaw_rad + np.cumsum(np.radians(rising_dps)) / FINE_HZ
    struck = start + np.cumsum(_turned(accel[:, :2], yaw), axis=0) / FINE_HZ
    if after is After.DRIVES_ON:
        slide = _straightened(struck[-1], float(yaw[-1]))
    else:
        speed = float(np.hypot(*struck[-1]))
        slows = float(np.clip(speed / rng.uniform(*SLIDE_S), 0.8, HARDEST_SLIDE_MPS2))
        slide = _slid(struck[-1], float(rng.uniform(*PARKED_SLIDE_MPS2)) if after is After.HELD else slows)
    fading_dps = spin_dps * np.exp(-np.arange(1, len(slide) + 1) / FINE_HZ / rng.uniform(*SPIN_FADES_S))
    yaw_after = yaw[-1] + np.cumsum(np.radians(fading_dps)) / FINE_HZ
    velocity = np.concatenate((struck, slide))
    yaw = np.concatenate((yaw, yaw_after))
    felt = np.zeros((len(yaw), 6))
    felt[: len(accel), :3] = accel
    sliding = np.diff(np.concatenate((struck[-1:], slide)), axis=0) * FINE_HZ
    felt[len(accel) :, :2] = _turned(sliding, -yaw_after)
    felt[len(accel) :, :3] += _shaking(len(slide), pulse.delta_v_mps, rng)
    felt[:, 2] += GRAVITY_MPS2
    felt[:, 3:5] = _rocking(len(yaw), pulse, rng)
    felt[:, 5] = np.concatenate((rising_dps, fading_dps))
    script.thrown(*_whole_steps(velocity, yaw, felt), drives_on=after is After.DRIVES_ON)
    moving = np.flatnonzero(np.hypot(velocity[:, 0], velocity[:, 1]) > 0.1)
    return Impact(
        at_s=at_s,
        rest_s=at_s + (int(moving[-1]) + 1 if len(moving) else len(accel)) / FINE_HZ,
        speed_before_kmh=before_kmh,
        delta_v_kmh=pulse.delta_v_kmh,
        lateral_kmh=pulse.lateral_kmh,
        toward_deg=math.degrees(pulse.toward_rad),
        pulse_s=pulse.duration_s,
        peak_g=float(along.max()) / GRAVITY_MPS2,
        stops=after is not After.DRIVES_ON,
    )


def roll_over(script: Script, rng: np.random.Generator) -> tuple[float, float, int]:
    """The vehicle spins broadside, trips and rolls. Returns when it trips, when it is still, and the quarter turns."""
    quarters, side = int(rng.choice(QUARTER_TURNS)), float(rng.choice((-1.0, 1.0)))
    course = np.array([math.cos(script.yaw_rad), math.sin(script.yaw_rad)])
    spin_s, trip_s = float(rng.uniform(0.8, 1.3)), float(rng.uniform(*TRIP_S))
    # 110 deg/s for one quarter turn to 220 for two rolls, whose peak is then 440.
    roll_s = quarters * 90.0 / (110.0 + 16.0 * (quarters - 1))
    spin_n, trip_n, roll_n = (_count(seconds) for seconds in (spin_s, trip_s, roll_s))
    slows = np.concatenate(
        (
            np.full(spin_n, 0.6),
            float(rng.uniform(*TRIP_G)) * np.sqrt(np.sin(np.pi * (np.arange(trip_n) + 0.5) / trip_n)),
            np.linspace(*ROLL_SLOWS_G, roll_n),
        )
    )
    speed = script.speed_mps - np.cumsum(slows) * GRAVITY_MPS2 / FINE_HZ
    rest = max(0.0, float(speed[-1]))
    lying_s = rest / (0.4 * GRAVITY_MPS2) + _SETTLES_S
    speed = np.maximum(
        np.concatenate((speed, rest - np.arange(1, _count(lying_s) + 1) * 0.4 * GRAVITY_MPS2 / FINE_HZ)), 0
    )
    count = len(speed)
    spin_rad = (
        np.concatenate((_eased(spin_n), np.ones(count - spin_n))) * math.radians(float(rng.uniform(60, 90))) * side
    )
    # Tripped by what is ahead of its side: turned left it slides on its right side and rolls to the right.
    roll_rad = np.concatenate((np.zeros(spin_n), _eased(trip_n + roll_n), np.ones(count - spin_n - trip_n - roll_n)))
    roll_rad *= math.radians(90.0 * quarters) * side
    yaw = script.yaw_rad + spin_rad
    accel = np.column_stack((np.diff(speed, prepend=script.speed_mps)[:, None] * course * FINE_HZ, np.zeros(count)))
    accel[:, 2] = _ground_hits(roll_rad, quarters, rng) + GRAVITY_MPS2
    level = np.column_stack((_turned(accel[:, :2], -yaw), accel[:, 2]))
    felt = np.zeros((count, 6))
    felt[:, :3] = _rolled(level, roll_rad)
    felt[:, :3] += _shaking(count - spin_n, 10.0, rng, lead=spin_n)
    yaw_dps = np.degrees(np.diff(yaw, prepend=script.yaw_rad)) * FINE_HZ
    felt[:, 3] = np.degrees(np.diff(roll_rad, prepend=0.0)) * FINE_HZ
    felt[:, 4] = yaw_dps * np.sin(roll_rad)
    felt[:, 5] = yaw_dps * np.cos(roll_rad)
    trips_s = script.time_s + spin_s
    rest_s = script.time_s + (count / FINE_HZ) - _SETTLES_S
    script.thrown(*_whole_steps(speed[:, None] * course, yaw, felt), drives_on=False)
    script.upright = _rolled(np.array([[0.0, 0.0, GRAVITY_MPS2]]), roll_rad[-1:])[0]
    return trips_s, rest_s, quarters


def _count(seconds: float) -> int:
    return max(1, round(seconds * FINE_HZ))


def _turned(xy: F64, angle_rad: F64) -> F64:
    """Vectors (n, 2) turned counter-clockwise by angles (n,)."""
    cos, sin = np.cos(angle_rad), np.sin(angle_rad)
    return np.column_stack((xy[:, 0] * cos - xy[:, 1] * sin, xy[:, 0] * sin + xy[:, 1] * cos))


def _rolled(level: F64, roll_rad: F64) -> F64:
    """Vectors (n, 3) of the level vehicle as they lie in the axes of one that is rolled by angles (n,)."""
    cos, sin = np.cos(roll_rad), np.sin(roll_rad)
    return np.column_stack((level[:, 0], level[:, 1] * cos + level[:, 2] * sin, level[:, 2] * cos - level[:, 1] * sin))


def _slid(velocity: F64, slows_mps2: float) -> F64:
    """Velocities (n, 2) of a slide to rest, and a second of stillness."""
    speed = float(np.hypot(*velocity))
    count = _count(speed / slows_mps2 + _SETTLES_S)
    left = np.maximum(speed - slows_mps2 * np.arange(1, count + 1) / FINE_HZ, 0.0)
    return np.asarray(left[:, None] * velocity / max(speed, 1e-9))


def _straightened(velocity: F64, yaw_rad: float) -> F64:
    """Velocities (n, 2) of a vehicle that rolls on: what is sideways or backward is gone when it ends."""
    heading = np.array([math.cos(yaw_rad), math.sin(yaw_rad)])
    forward = float(velocity @ heading)
    sideways = velocity - forward * heading
    count = _count(max(0.4, float(np.hypot(*sideways)) / 5.0, -forward / 5.0))
    fades = 1.0 - np.arange(1, count + 1) / count
    kept = np.maximum(forward, 0.0) + min(forward, 0.0) * fades
    return np.asarray(kept[:, None] * heading + fades[:, None] * sideways)


def _shaking(count: int, delta_v_mps: float, rng: np.random.Generator, lead: int = 0) -> F64:
    """Wreckage rattles: noise that fades, greater after harder impacts, (lead + count, 3)."""
    fades = 0.4 * delta_v_mps * np.exp(-np.arange(count) / FINE_HZ / 0.6)
    rattle = rng.normal(0.0, 1.0, (count, 3)) * fades[:, None]
    return np.concatenate((np.zeros((lead, 3)), rattle))


def _rocking(count: int, pulse: Pulse, rng: np.random.Generator) -> F64:
    """Roll and pitch rates (n, 2): the body rocks on its springs about the axis across the blow."""
    swing = ring(min(60.0, 1.2 * pulse.delta_v_kmh), float(rng.uniform(1.5, 3.0)), 0.35, count / FINE_HZ)
    return np.column_stack((swing * math.sin(pulse.toward_rad), -swing * math.cos(pulse.toward_rad)))[:count]


def _eased(count: int) -> F64:
    """0 to 1 with a rate that rises and falls as a haversine."""
    share = np.arange(1, count + 1) / count
    return np.asarray(share - np.sin(2 * np.pi * share) / (2 * np.pi))


def _ground_hits(roll_rad: F64, quarters: int, rng: np.random.Generator) -> F64:
    """Vertical blows in the world as each side meets the ground, between which the vehicle is lighter."""
    vertical = np.zeros(len(roll_rad))
    for quarter in range(1, quarters + 1):
        at = int(np.searchsorted(np.abs(roll_rad), math.radians(90.0 * quarter - 20.0)))
        count = round(float(rng.uniform(0.03, 0.06)) * FINE_HZ)
        blow = float(rng.uniform(2.0, 6.0)) * GRAVITY_MPS2 * np.sin(np.pi * (np.arange(count) + 0.5) / count)
        # Before the blow the vehicle fell: the same impulse, spread over as long as half a g takes for it.
        fall = round(blow.sum() / (0.5 * GRAVITY_MPS2))
        begin = max(0, at - fall)
        vertical[begin:at] -= blow.sum() / max(1, at - begin)
        vertical[at : at + count] += blow[: len(vertical) - at]
    return vertical


def _whole_steps(velocity: F64, yaw: F64, felt: F64) -> tuple[F64, F64, F64]:
    """Lengthened by its last value to whole steps."""
    short = -len(yaw) % FINE_A_STEP
    return (
        np.pad(velocity, ((0, short), (0, 0)), mode="edge"),
        np.pad(yaw, (0, short), mode="edge"),
        np.pad(felt, ((0, short), (0, 0)), mode="edge"),
    )
