"""What an impact does to a vehicle in its first tenth of a second, and what only looks like one. Drawn by generator.

Everything is felt acceleration in the vehicle's axes (ISO 8855: x forward, y left, z up), gravity apart, at FINE_HZ.
Crash pulses change the vehicle's velocity by exactly what was drawn; knocks shake it and leave its velocity as it was.
"""

import math
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

F64 = NDArray[np.float64]

FINE_HZ: Final = 1000  # rate at which true motion is held; the fastest recorder here takes 400 Hz
GRAVITY_MPS2: Final = 9.80665

# Varat and Husher (18th ESV) and Singh and Perry (2008): the forms that crash tests follow. Real pulses peak 20 to 40 %
# higher than either (three NHTSA tests), which ripple of the structure at 20 to 80 Hz makes good.
HAVERSINE: Final = "haversine"
HALF_SINE: Final = "half_sine"
RIPPLE_SHARE: Final = (0.20, 0.40)
RIPPLE_HZ: Final = (20.0, 80.0)
# Vertical shaking of the floor during a crash, of the horizontal peak; nets to nothing. Judgement.
VERTICAL_SHARE: Final = (0.08, 0.25)


@dataclass(frozen=True, slots=True)
class Case:
    """Where one kind of impact is drawn from. Ranges are (least, most).

    delta_v_kmh  resultant change of velocity, rebound included: log-normal about the middle of the range, within it
    duration_s   uniform
    toward_deg   where the vehicle is pushed, counter-clockwise from forward; uniform within `spread_deg` either way
    yaw_dps      yaw rate that the impact leaves, either direction
    restitution  share of the approach speed with which the bodies part again
    """

    delta_v_kmh: tuple[float, float]
    duration_s: tuple[float, float]
    toward_deg: float
    spread_deg: float = 30.0
    yaw_dps: tuple[float, float] = (0.0, 15.0)
    restitution: tuple[float, float] = (0.05, 0.20)


# Delta-V and duration: docs/detection-science.md, A3. Measured there: full frontal and oblique (NHTSA tests); rear
# end: Linder et al. (18th ESV), GB 39732 for the 8 km/h; others are its interpolations. Restitution falls with speed.
CASES: Final = {
    "full_frontal": Case((40.0, 66.0), (0.095, 0.115), 180.0, 5.0),
    "oblique": Case((38.0, 48.0), (0.165, 0.200), 180.0, 30.0, (60.0, 200.0)),
    "moderate_frontal": Case((10.0, 40.0), (0.090, 0.140), 180.0, 30.0, (0.0, 60.0)),
    "pole": Case((25.0, 40.0), (0.080, 0.130), 180.0, 15.0, (0.0, 60.0)),
    "rear_end": Case((8.0, 30.0), (0.080, 0.150), 0.0, 15.0, (0.0, 20.0), (0.10, 0.30)),
    "side": Case((10.0, 35.0), (0.060, 0.100), 90.0, 30.0, (20.0, 200.0)),
    "parked_hit": Case((3.5, 30.0), (0.080, 0.150), 0.0, 180.0, (0.0, 60.0), (0.10, 0.35)),
    "bump": Case((3.2, 7.2), (0.080, 0.150), 180.0, 30.0, (0.0, 5.0), (0.20, 0.40)),
    # A lorry that hits a car: below 4 km/h nothing in it would be felt as an impact, 8 is the table's end.
    "heavy_into_car": Case((4.0, 8.0), (0.100, 0.160), 180.0, 15.0),
    "heavy_frontal": Case((10.0, 35.0), (0.120, 0.200), 180.0, 15.0),
}
_SIGMA: Final = 0.4  # of the logarithm: real distributions of delta-V are skewed to the mild end


@dataclass(frozen=True, slots=True)
class Pulse:
    """A crash pulse. `toward_rad` is the direction of the velocity change, counter-clockwise from forward."""

    delta_v_mps: float
    duration_s: float
    toward_rad: float
    shape: str
    ripple_share: float
    ripple_hz: float
    ripple_rad: float
    vertical_share: float
    yaw_dps: float
    restitution: float

    @property
    def delta_v_kmh(self) -> float:
        """Resultant."""
        return self.delta_v_mps * 3.6

    @property
    def lateral_kmh(self) -> float:
        """How much of it is sideways."""
        return abs(math.sin(self.toward_rad)) * self.delta_v_kmh

    def along(self) -> F64:
        """Acceleration along its direction at FINE_HZ, (n,) m/s2. Its sum is `delta_v_mps` exactly."""
        count = max(4, round(self.duration_s * FINE_HZ))
        share = (np.arange(count) + 0.5) / count
        base = 1.0 - np.cos(2 * np.pi * share) if self.shape == HAVERSINE else np.sin(np.pi * share)
        ripple = np.sin(2 * np.pi * self.ripple_hz * share * self.duration_s + self.ripple_rad)
        wave = base * (1.0 + self.ripple_share * ripple)
        return np.asarray(wave * (self.delta_v_mps * FINE_HZ / wave.sum()))

    def sampled(self) -> F64:
        """Acceleration in vehicle axes at FINE_HZ, (n, 3) m/s2; the vertical part sums to nothing."""
        along = self.along()
        share = (np.arange(len(along)) + 0.5) / len(along)
        vertical = along.max() * self.vertical_share * np.sin(2 * np.pi * 2 * share) * np.sin(np.pi * share)
        direction = (math.cos(self.toward_rad), math.sin(self.toward_rad))
        return np.column_stack((along * direction[0], along * direction[1], vertical - vertical.mean()))


def draw(name: str, rng: np.random.Generator, *, toward_deg: float | None = None) -> Pulse:
    """A pulse of a case. `toward_deg` replaces the middle of its direction."""
    case = CASES[name]
    low, high = case.delta_v_kmh
    delta_v_kmh = math.inf
    while not low <= delta_v_kmh <= high:
        delta_v_kmh = float(rng.lognormal(math.log(math.sqrt(low * high)), _SIGMA))
    middle_deg = case.toward_deg if toward_deg is None else toward_deg
    return Pulse(
        delta_v_mps=delta_v_kmh / 3.6,
        duration_s=float(rng.uniform(*case.duration_s)),
        toward_rad=math.radians(middle_deg + float(rng.uniform(-case.spread_deg, case.spread_deg))),
        shape=HAVERSINE if rng.random() < 0.5 else HALF_SINE,
        ripple_share=float(rng.uniform(*RIPPLE_SHARE)),
        ripple_hz=float(rng.uniform(*RIPPLE_HZ)),
        ripple_rad=float(rng.uniform(0, 2 * np.pi)),
        vertical_share=float(rng.uniform(*VERTICAL_SHARE)),
        yaw_dps=float(rng.uniform(*case.yaw_dps) * rng.choice((-1.0, 1.0))),
        restitution=float(rng.uniform(*case.restitution)),
    )


# -- What only looks like an impact ------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Knock:
    """Something that shakes the vehicle: `accel_mps2` and `rates_dps` (n, 3) at FINE_HZ in vehicle axes."""

    accel_mps2: F64
    rates_dps: F64

    @property
    def duration_s(self) -> float:
        """Its length."""
        return len(self.accel_mps2) / FINE_HZ


def ring(amplitude: float, hz: float, fade_s: float, length_s: float, start_rad: float = 0.0) -> F64:
    """A damped oscillation that nets to nothing."""
    t = np.arange(round(length_s * FINE_HZ)) / FINE_HZ
    wave = np.exp(-t / fade_s) * np.sin(2 * np.pi * hz * t + start_rad)
    # The little that a damped sine leaves is taken out where it is strongest.
    envelope = np.exp(-t / fade_s)
    wave -= envelope * (wave.sum() / envelope.sum())
    return np.asarray(amplitude * wave / np.abs(wave).max())


def _lobes(peak: float, width_s: float, undershoot: float) -> F64:
    """A half-sine up and a longer one down that takes its velocity away again."""
    up = np.sin(np.pi * (np.arange(round(width_s * FINE_HZ)) + 0.5) / round(width_s * FINE_HZ))
    count = round(width_s / undershoot * FINE_HZ)
    down = np.sin(np.pi * (np.arange(count) + 0.5) / count)
    return np.asarray(peak * np.concatenate((up, -down * (up.sum() / down.sum()))))


def _knock(accel_mps2: F64, rates_dps: F64) -> Knock:
    length = max(len(accel_mps2), len(rates_dps))
    return Knock(*(np.pad(part, ((0, length - len(part)), (0, 0))) for part in (accel_mps2, rates_dps)))


def _columns(x: F64, y: F64, z: F64) -> F64:
    length = max(len(x), len(y), len(z))
    return np.column_stack([np.pad(axis, (0, length - len(axis))) for axis in (x, y, z)])


def kerb_strike(rng: np.random.Generator) -> Knock:
    """A wheel goes up a kerb: vertical 1 to 3 g in 30 to 60 ms, with a jolt from the front and a roll."""
    peak = float(rng.uniform(1.0, 3.0)) * GRAVITY_MPS2
    z = _lobes(peak, float(rng.uniform(0.030, 0.060)), 0.5)
    x = _lobes(-peak * float(rng.uniform(0.15, 0.35)), float(rng.uniform(0.030, 0.050)), 0.4)
    y = ring(peak * float(rng.uniform(0.05, 0.2)), float(rng.uniform(12, 25)), 0.05, 0.2)
    roll = ring(float(rng.uniform(10, 40)), float(rng.uniform(1.5, 3.0)), 0.25, 0.8)
    return _knock(_columns(x, y, z), _columns(roll, 0.5 * roll, np.zeros(1)))


def pothole(rng: np.random.Generator) -> Knock:
    """A wheel drops and strikes the far edge: a dip, then 1 to 2.5 g upward in 20 to 40 ms, ringing on."""
    peak = float(rng.uniform(1.0, 2.5)) * GRAVITY_MPS2
    dip = -_lobes(0.3 * peak, float(rng.uniform(0.02, 0.04)), 0.8)
    strike = _lobes(peak, float(rng.uniform(0.02, 0.04)), 0.5)
    ringing = ring(0.3 * peak, float(rng.uniform(10, 16)), 0.08, 0.4)
    z = np.concatenate((dip, strike, ringing))
    x = np.concatenate((np.zeros(len(dip)), _lobes(-peak * float(rng.uniform(0.1, 0.3)), 0.025, 0.4)))
    y = np.concatenate((np.zeros(len(dip)), ring(0.12 * peak, 18.0, 0.05, 0.2)))
    pitch = ring(float(rng.uniform(8, 30)), float(rng.uniform(1.2, 2.5)), 0.3, 0.8)
    return _knock(_columns(x, y, z), _columns(0.7 * pitch, pitch, np.zeros(1)))


def speed_bump(rng: np.random.Generator, speed_mps: float) -> Knock:
    """Both axles go over a bump: 0.4 to 0.9 g twice, a wheelbase apart."""
    peak = float(rng.uniform(0.4, 0.9)) * GRAVITY_MPS2
    width_s = float(rng.uniform(0.10, 0.16))
    axle = _lobes(peak, width_s, 0.7)
    apart = round(float(rng.uniform(2.5, 3.2)) / max(speed_mps, 2.0) * FINE_HZ)
    z = np.zeros(apart + len(axle))
    z[: len(axle)] += axle
    z[apart:] += 0.8 * axle
    x = ring(0.15 * peak, 3.0, 0.3, 0.8)
    pitch = ring(float(rng.uniform(15, 35)), 1.0 / max(2 * width_s, 0.3), 0.4, 1.2)
    return _knock(_columns(x, np.zeros(1), z), _columns(np.zeros(1), pitch, np.zeros(1)))


def door_slam(rng: np.random.Generator) -> Knock:
    """0.3 to 1 g sideways, gone within 50 ms."""
    peak = float(rng.uniform(0.3, 1.0)) * GRAVITY_MPS2 * float(rng.choice((-1.0, 1.0)))
    hz, fade_s = float(rng.uniform(18, 45)), float(rng.uniform(0.008, 0.016))
    y = ring(peak, hz, fade_s, 0.12)
    z = ring(0.4 * peak, hz * 1.3, fade_s, 0.12, 0.7)
    roll = ring(float(rng.uniform(2, 8)), 3.0, 0.2, 0.6)
    return _knock(_columns(0.2 * y, y, z), _columns(roll, np.zeros(1), np.zeros(1)))


def boot_slam(rng: np.random.Generator) -> Knock:
    """0.3 to 1 g downward and forward, gone within 50 ms."""
    peak = float(rng.uniform(0.3, 1.0)) * GRAVITY_MPS2
    hz, fade_s = float(rng.uniform(15, 35)), float(rng.uniform(0.008, 0.016))
    z = ring(-peak, hz, fade_s, 0.12)
    x = ring(0.5 * peak, hz * 1.2, fade_s, 0.12, 0.5)
    pitch = ring(float(rng.uniform(2, 8)), 2.5, 0.25, 0.6)
    return _knock(_columns(x, 0.1 * x, z), _columns(np.zeros(1), pitch, np.zeros(1)))


def hailstone(rng: np.random.Generator) -> Knock:
    """A stone on the roof: a short vertical tap of the body that rings."""
    peak = float(rng.uniform(0.2, 0.9)) * GRAVITY_MPS2
    z = ring(-peak, float(rng.uniform(40, 80)), float(rng.uniform(0.006, 0.012)), 0.08)
    return _knock(_columns(0.2 * z, 0.2 * z, z), np.zeros((len(z), 3)))


def trailer_hitch(rng: np.random.Generator) -> Knock:
    """A trailer runs up on the coupling: 1 to 2.5 g forward in 30 to 60 ms, at most 2 km/h; the brakes hold."""
    peak = float(rng.uniform(1.0, 2.5)) * GRAVITY_MPS2
    width_s = min(float(rng.uniform(0.030, 0.060)), 2.0 / 3.6 * np.pi / 2 / peak)
    x = _lobes(peak, width_s, 0.2)
    z = ring(0.3 * peak, float(rng.uniform(8, 15)), 0.06, 0.3)
    pitch = ring(float(rng.uniform(3, 10)), 1.8, 0.3, 0.8)
    return _knock(_columns(x, np.zeros(1), z), _columns(np.zeros(1), pitch, np.zeros(1)))


@dataclass(frozen=True, slots=True)
class Fall:
    """The device itself falls: `force_mps2` is what it feels, gravity included, in its own axes; at FINE_HZ, (n, 3)."""

    force_mps2: F64
    rates_dps: F64


def device_drop(rng: np.random.Generator, resting: F64) -> Fall:
    """Nothing is felt for 0.2 to 0.5 s, then 5 to 16 g for 5 to 20 ms and one or two bounces, then the device lies.

    `resting`: gravity as the device feels it afterwards, (3,) m/s2.
    """
    falling = round(float(rng.uniform(0.2, 0.5)) * FINE_HZ)
    parts = [np.zeros((falling, 3))]
    peak = float(rng.uniform(5.0, 16.0)) * GRAVITY_MPS2
    for bounce in range(int(rng.integers(1, 4))):
        direction = rng.normal(0.0, 1.0, 3)
        direction /= np.linalg.norm(direction)
        count = round(float(rng.uniform(0.005, 0.020)) * FINE_HZ)
        hit = peak * 0.45**bounce * np.sin(np.pi * (np.arange(count) + 0.5) / count)
        parts.append(hit[:, None] * direction)
        parts.append(np.zeros((round(falling * 0.3 * 0.5**bounce), 3)))
    parts.append(np.repeat(resting[None, :], round(0.2 * FINE_HZ), axis=0))
    force = np.concatenate(parts)
    tumble = rng.normal(0.0, 1.0, 3)
    tumble *= float(rng.uniform(100.0, 400.0)) / np.linalg.norm(tumble)
    rates = np.repeat(tumble[None, :], len(force), axis=0)
    rates[-round(0.2 * FINE_HZ) :] = 0.0
    return Fall(force, rates)
