"""What a mounted accelerometer and gyroscope make of true motion: turned, filtered, noisy, clipped, in steps.

The order is that of the hardware: mounting, anti-alias filter, offset and noise, range, steps; last the firmware, which
may take gravity off. `FINE_HZ` of simulators/pulses.py is the rate of true motion.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from simulators.pulses import FINE_HZ, GRAVITY_MPS2

F64 = NDArray[np.float64]

RATES_HZ: Final = (10, 25, 50, 100, 200, 400)
RANGES_G: Final = (2, 4, 8, 16)
RANGE_SHARES: Final = (0.10, 0.20, 0.30, 0.40)  # most trackers are set to 8 or 16 g
GYRO_RANGES_DPS: Final = (250, 500, 2000)
BITS: Final = (10, 12, 16)

# A digital filter passes 0.4 of the rate; half the rate is where mirrored frequencies begin. Filters of such units are
# of low order, so a little is mirrored.
FILTER_SHARE: Final = 0.4
FILTER_ORDER: Final = 4
# Data sheets of automotive trackers' parts (LIS2DH12, LSM6DS, BMI160 families): zero-g offset after board mounting
# 20 to 40 mg, gyro zero-rate 0.5 to 1 deg/s, noise some mg and tenths of a degree a second.
BIAS_MPS2: Final = 0.25
BIAS_DPS: Final = 0.6
NOISE_MPS2: Final = (0.02, 0.08)
NOISE_DPS: Final = (0.05, 0.3)
ALIGNED_WITHIN_DEG: Final = 3.0  # what an installer calls straight
SATURATED: Final = 0.98  # of the range: the contract's line of a clipped value


@dataclass(frozen=True, slots=True)
class Sensor:
    """A sensor as it is mounted.

    rotation       (3, 3): device axes = rotation @ vehicle axes
    aligned        mounted straight, so that its axes are the vehicle's within ALIGNED_WITHIN_DEG
    keeps_gravity  the firmware sends what the part feels (`accel_gravity: true`); otherwise it takes off the gravity
                   that it learned when it was installed
    """

    rotation: F64
    aligned: bool
    keeps_gravity: bool
    rate_hz: int
    range_g: int
    gyro_range_dps: int
    bits: int
    bias: F64  # (6,): m/s2 and deg/s
    noise: F64  # (6,): standard deviation of a sample

    @property
    def range_mps2(self) -> float:
        """Greatest acceleration of one axis, gravity included."""
        return self.range_g * GRAVITY_MPS2

    @property
    def learned_gravity(self) -> F64:
        """Gravity in device axes at installation, (3,) m/s2."""
        return np.asarray(self.rotation[:, 2] * GRAVITY_MPS2)

    def mounted(self, felt: F64, rotation: F64 | None = None) -> F64:
        """(n, 6) in vehicle axes, m/s2 and deg/s, in device axes. `rotation` when it was moved since."""
        turned = (self.rotation if rotation is None else rotation).T
        return np.column_stack((felt[:, :3] @ turned, felt[:, 3:] @ turned))

    def read(self, device: F64, rng: np.random.Generator) -> F64:
        """What is sent of filtered true values (n, 6) in device axes: offset, noise, range, steps, gravity."""
        limit = np.array([self.range_mps2] * 3 + [float(self.gyro_range_dps)] * 3)
        raw = device + self.bias + rng.normal(0.0, 1.0, device.shape) * self.noise
        step = 2 * limit / 2**self.bits
        held = np.clip(np.round(raw / step) * step, -limit, limit)
        if not self.keeps_gravity:
            # A saturated value stays at the range: less gravity it would hide that it is one.
            whole = np.abs(held[:, :3]) < SATURATED * self.range_mps2
            held[:, :3] -= np.where(whole, self.learned_gravity, 0.0)
        return np.asarray(held)


def draw(rng: np.random.Generator) -> Sensor:
    """A sensor by chance: six of ten mounted straight, the others anyhow, a few of these flat but turned."""
    draw_mount = rng.random()
    aligned = bool(draw_mount < 0.6)
    if aligned:
        rotation = small_rotation(rng, ALIGNED_WITHIN_DEG)
    elif draw_mount < 0.7:
        rotation = about(np.array([0.0, 0.0, 1.0]), float(rng.uniform(30, 330))) @ small_rotation(rng, 5.0)
    else:
        rotation = any_rotation(rng)
    return Sensor(
        rotation=rotation,
        aligned=aligned,
        # Only a unit that sits straight can take gravity off and still name its axes.
        keeps_gravity=not aligned or bool(rng.random() < 0.3),
        rate_hz=int(rng.choice(RATES_HZ)),
        range_g=int(rng.choice(RANGES_G, p=RANGE_SHARES)),
        gyro_range_dps=int(rng.choice(GYRO_RANGES_DPS)),
        bits=int(rng.choice(BITS)),
        bias=np.concatenate((rng.normal(0, BIAS_MPS2 / 2, 3), rng.normal(0, BIAS_DPS / 2, 3))),
        noise=np.repeat([rng.uniform(*NOISE_MPS2), rng.uniform(*NOISE_DPS)], 3),
    )


def any_rotation(rng: np.random.Generator) -> F64:
    """A rotation drawn evenly from all there are, (3, 3): a normal quaternion (Shoemake 1992)."""
    quaternion = rng.normal(0.0, 1.0, 4)
    w, x, y, z = quaternion / np.linalg.norm(quaternion)
    return np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
            [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
            [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
        ]
    )


def about(axis: F64, angle_deg: float) -> F64:
    """Rotation about a unit axis, (3, 3) (Rodrigues)."""
    x, y, z = axis
    cross = np.array([[0.0, -z, y], [z, 0.0, -x], [-y, x, 0.0]])
    angle = np.radians(angle_deg)
    return np.asarray(np.eye(3) + np.sin(angle) * cross + (1 - np.cos(angle)) * cross @ cross)


def small_rotation(rng: np.random.Generator, within_deg: float) -> F64:
    """A rotation by at most `within_deg` about any axis."""
    axis = rng.normal(0.0, 1.0, 3)
    return about(axis / np.linalg.norm(axis), float(rng.uniform(0.0, within_deg)))


def low_pass(values: F64, cutoff_hz: float) -> F64:
    """(n, k) at FINE_HZ without what lies above `cutoff_hz`: Butterworth's magnitude, without delay.

    Units know the delay of their filter and correct their time stamps for it. Ends are held, not wrapped.
    """
    pad = min(len(values), round(2.0 / cutoff_hz * FINE_HZ))
    held = np.concatenate((np.repeat(values[:1], pad, axis=0), values, np.repeat(values[-1:], pad, axis=0)))
    # A length that the transform likes; what is added at the end is more of the held value.
    length = 1 << (len(held) - 1).bit_length()
    held = np.concatenate((held, np.repeat(values[-1:], length - len(held), axis=0)))
    # The two ends meet in the transform: a straight line between them is taken out, so that there is no jump.
    line = np.linspace(held[0], held[-1], length)
    share = np.fft.rfftfreq(length, 1 / FINE_HZ) / cutoff_hz
    response = 1.0 / np.sqrt(1.0 + share ** (2 * FILTER_ORDER))
    smooth = np.fft.irfft(np.fft.rfft(held - line, axis=0) * response[:, None], length, axis=0) + line
    return np.asarray(smooth[pad : pad + len(values)])


def sampled(smooth: F64, first_s: float, count: int, rate_hz: int) -> F64:
    """`count` samples at `rate_hz` of filtered values (n, k) at FINE_HZ, the first `first_s` after their begin."""
    at = first_s * FINE_HZ + np.arange(count) * (FINE_HZ / rate_hz)
    low = np.clip(np.floor(at).astype(np.int64), 0, len(smooth) - 2)
    share = (at - low)[:, None]
    return np.asarray(smooth[low] * (1 - share) + smooth[low + 1] * share)
