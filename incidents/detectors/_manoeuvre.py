"""What a harsh manoeuvre is: limits by class of vehicle, and the witnesses that show one, in the vehicle's axes."""

from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from incidents.detectors._around import without_hole
from incidents.detectors._burst import G_MPS2
from incidents.detectors._mounting import KNOWN_QUALITY
from incidents.window import Floats, Ints, S, Window

Rows = NDArray[np.intp]

SEVERITIES: Final = ("low", "medium", "high")
# Vans and heavy vehicles tip and shift their loads at less (detection-science B1, judgement).
CLASS_FACTOR: Final = {"car": 1.0, "van": 0.85, "heavy": 0.7}
KMH_S_PER_G: Final = G_MPS2 * 3.6
# Tyres give about 1 g: what is beyond is a fault or an impact (detection-science B1: discard beyond 1.2 g).
BEYOND_G: Final = 1.2
# Changes of speed and course are taken over a second, and not over a pause.
OVER_S: Final = (0.8, 2.5)
# At one reading a second a witness consents from this share of the limit on.
CONSENTS: Final = 0.5
# Faster readings than this are looked at over 0.3 s: a 0.3 s mean of 0.30 g finds all braking and turning of the
# recorded drives (detection-science B1).
FAST_STEP_S: Final = 0.25
MEAN_S: Final = 0.3
# Below walking pace nothing is harsh (Samsara's trips begin at 8 km/h).
MOVING_KMH: Final = 10.0


@dataclass(frozen=True, slots=True)
class Manoeuvre:
    """One of the three. `limits_g` low, medium, high for a car; `axis` and `sign` of acceleration, 0: both signs."""

    kind: str
    limits_g: tuple[float, float, float]
    axis: int
    sign: int

    @property
    def by_course(self) -> bool:
        """Whether it is across the vehicle."""
        return self.axis == 1

    def directed(self, values: Floats) -> Floats:
        """Accelerations with the manoeuvre's direction positive."""
        return np.abs(values) if self.sign == 0 else self.sign * values

    def of(self, vehicle_class: str) -> "Manoeuvre":
        """The same with the limits of a class of vehicle."""
        factor = CLASS_FACTOR.get(vehicle_class, 1.0)
        low, medium, high = (round(limit * factor, 4) for limit in self.limits_g)
        return replace(self, limits_g=(low, medium, high))


@dataclass(frozen=True, slots=True)
class Run:
    """A manoeuvre as one source shows it: "speed" (or course), "accel", "burst".

    felt     whether an accelerometer felt it; None where there is none
    rate_hz  of a burst
    """

    source: str
    at_us: int
    from_us: int
    until_us: int
    peak_g: float
    felt: bool | None
    rate_hz: float | None = None


def mean_of_last(times: Ints, values: Floats) -> tuple[Floats, Rows]:
    """(n,) mean over the last 0.3 s of fast samples, NaN where there are none so fast, and where each mean begins."""
    step_us = np.diff(times, prepend=times[:1])
    area = np.cumsum(values * step_us)
    slow = np.cumsum(step_us > FAST_STEP_S * S)
    begin = np.searchsorted(times, times - round(MEAN_S * S), side="right") - 1
    begins = np.maximum(begin, 0)
    whole = (begin >= 0) & (slow == slow[begins])
    mean = (area - area[begins]) / np.maximum(times - times[begins], 1)
    # Rounded, so that sums that began elsewhere give the very same.
    return np.where(whole, np.round(mean, 5), np.nan), begins


def in_vehicle(window: Window, what: str, unit: str) -> Floats:
    """(n, 3) accelerations or turning rates ("accel" "mps2", "gyro" "dps") in vehicle axes, without gravity.

    NaN where it is not known how the device sits: where gravity is in it and no mounting is kept with the vehicle.
    """
    values = np.column_stack([window.number(f"{what}_{axis}_{unit}") for axis in "xyz"])
    mounting, holds = window.vehicle.mounting, window.flag("accel_gravity") == 1
    if mounting is None or mounting.quality < KNOWN_QUALITY:
        values[holds] = np.nan
        return values
    turned: Floats = values @ mounting.rotation.T
    if what == "accel":
        turned[holds, 2] -= G_MPS2
    return turned


def shaken_g(window: Window, gravity_s: float) -> Floats:
    """(n,) size of the acceleration in whatever axes, in g; NaN where there is none.

    Gravity, where it is held, is taken off as the median of the last `gravity_s`; NaN where that has a hole.
    """
    accel = np.column_stack([window.number(f"accel_{axis}_mps2") for axis in "xyz"])
    holds = np.flatnonzero((window.flag("accel_gravity") == 1) & np.asarray(np.isfinite(accel).all(axis=1)))
    times, rest = window.device_time_us[holds], np.full((len(holds), 3), np.nan)
    for row, time_us in enumerate(times.tolist()):
        low = int(np.searchsorted(times, time_us - round(gravity_s * S)))
        if without_hole((times[low : row + 1] - time_us) / S, -gravity_s, 0.0):
            rest[row] = np.median(accel[holds[low : row + 1]], axis=0)
    accel[holds] -= rest
    size: Floats = np.linalg.norm(accel, axis=1) / G_MPS2
    return size
