"""What a GNSS receiver says about true motion: correlated error, quality figures, outages, a still standing fix."""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

F64 = NDArray[np.float64]
Bools = NDArray[np.bool_]

# First-order Gauss-Markov position error: standard deviation and time constant of a single-frequency receiver in
# streets (Rankin, "GPS error models", ION 1994, gives 60 to 600 s; streets change the view of the sky faster).
CORRELATED_M: Final = 2.2
CORRELATION_S: Final = 80.0
WHITE_M: Final = 0.35
SPEED_NOISE_MPS: Final = 0.08
STANDING_MPS: Final = 0.25  # below this a receiver holds its speed at 0 and its heading at the last one
OUTAGE_PER_S: Final = 1 / 3600.0  # starts of an outage (tunnel, garage): once an hour of driving
OUTAGE_S: Final = (8.0, 45.0)


@dataclass(frozen=True, slots=True)
class Fix:
    """One second of fixes, one entry a vehicle; NaN where `valid` is false."""

    east_m: F64
    north_m: F64
    speed_kmh: F64
    heading_deg: F64
    altitude_m: F64
    accuracy_m: F64
    hdop: F64
    satellites: F64
    valid: Bools


class Receivers:
    """Receivers of `size` vehicles."""

    def __init__(self, size: int, seed: int) -> None:
        self._rng = np.random.default_rng([seed, 2])
        self._error = self._rng.normal(0.0, CORRELATED_M, (3, size))
        self._sky = self._rng.normal(0.0, 1.0, size)
        self._outage_s = np.zeros(size)
        self._heading_deg = np.full(size, np.nan)
        self._size = size

    def observe(self, east_m: F64, north_m: F64, speed_mps: F64, heading_deg: F64) -> Fix:
        """Fixes for this second's true places (metres), speeds and headings."""
        rng, size = self._rng, self._size
        keep = np.exp(-1.0 / CORRELATION_S)
        moving = speed_mps > STANDING_MPS
        self._sky = 0.98 * self._sky + rng.normal(0.0, 0.199, size)
        quality = np.exp(0.35 * self._sky)
        drive = CORRELATED_M * quality * np.sqrt(1 - keep * keep)
        self._error = keep * self._error + drive * rng.normal(0.0, 1.0, (3, size))
        # Receivers smooth a standing fix: the white part nearly vanishes, the slow wander stays.
        white = np.where(moving, WHITE_M, 0.05) * rng.normal(0.0, 1.0, (2, size))
        self._outage_s = np.maximum(self._outage_s - 1.0, 0.0)
        starts = moving & (rng.random(size) < OUTAGE_PER_S)
        self._outage_s[starts] = rng.uniform(*OUTAGE_S, int(starts.sum()))
        valid = self._outage_s <= 0.0
        speed = np.where(moving, np.maximum(speed_mps + SPEED_NOISE_MPS * rng.normal(0.0, 1.0, size), 0.0), 0.0)
        # Heading comes from the Doppler velocity: its error is the ratio of sideways noise to speed.
        noise_deg = np.degrees(SPEED_NOISE_MPS / np.maximum(speed_mps, 0.5)) * rng.normal(0.0, 1.0, size)
        self._heading_deg = np.where(
            moving | np.isnan(self._heading_deg), (heading_deg + noise_deg) % 360.0, self._heading_deg
        )
        satellites = np.clip(np.round(14 - 3.5 * np.log(quality) * 2), 4, 24)
        absent = np.where(valid, 0.0, np.nan)
        return Fix(
            east_m=east_m + self._error[0] + white[0] + absent,
            north_m=north_m + self._error[1] + white[1] + absent,
            speed_kmh=speed * 3.6 + absent,
            heading_deg=self._heading_deg + absent,
            altitude_m=8.0 + 1.6 * self._error[2] + absent,
            accuracy_m=2.4 * quality + absent,
            hdop=0.85 * quality + absent,
            satellites=np.where(valid, satellites, 0.0),
            valid=valid,
        )
