"""Turning over and falling: what a burst says of the attitude of the device, and of being in free fall."""

from dataclasses import dataclass
from typing import Final

import numpy as np

from incidents.detectors._burst import G_MPS2, Burst
from incidents.window import Bools, Floats

# Further than any road tilts a vehicle that stays on its wheels (docs/detection-science.md, B2: over 60° for 1 s).
OVER_DEG: Final = 60.0
OVER_S: Final = 1.0
# Through a whole roll the angle is beyond 60 degrees for only two thirds of a second a turn at 400 degrees/s: a turn
# this far counts whatever the attitude in between.
_TURNED_DEG: Final = 150.0
# Gyroscopes drift and ring: slower turning is not counted. Judgement.
_TURNING_FROM_DPS: Final = 15.0
# Rest after it: this long at the end of a burst, this steady, showing 1 g.
_REST_S: Final = 0.4
_REST_SPREAD_MPS2: Final = 0.15 * G_MPS2
_BEYOND_BRAKES_DEG: Final = 75.0
_MISSING_MPS2: Final = 0.25 * G_MPS2
# Free fall lasts 0.2 to 0.5 s before a device strikes the floor (reference A3); shorter is a wheel in a hole.
_FALL_S: Final = 0.12
_FALL_MPS2: Final = 0.35 * G_MPS2
_FALL_OFF_DEG: Final = 35.0


@dataclass(frozen=True, slots=True)
class Turn:
    """How far the vehicle turned over in a burst.

    greatest_deg  greatest angle of its upward axis from where that was
    over_s        how long that angle was beyond 60 degrees
    turned_deg    rotation about horizontal axes in all
    end_deg       the angle at the end
    over_us       when it was first beyond 60 degrees, None if never
    """

    greatest_deg: float
    over_s: float
    turned_deg: float
    end_deg: float
    over_us: int | None

    @property
    def is_over(self) -> bool:
        """Whether that is a rollover."""
        return self.over_us is not None and (
            self.over_s >= OVER_S or self.turned_deg >= _TURNED_DEG or self.end_deg > OVER_DEG
        )


def turn_by_gyroscope(burst: Burst, up: Floats) -> Turn | None:
    """The turn by integration of the turning rates; None without a gyroscope. `up` (3,): at the burst's start."""
    work = burst.thinned()
    if work.gyro_dps is None or not len(work):
        return None
    rates = np.where(np.abs(work.gyro_dps) < _TURNING_FROM_DPS, 0.0, work.gyro_dps)
    angles = np.empty(len(work))
    upward, turned = up / np.linalg.norm(up), 0.0
    for at, rate in enumerate(np.radians(rates) * work.step_s):
        size = float(np.linalg.norm(rate))
        if size > 0:
            # A vector that stays where it is turns backwards in axes that turn.
            axis = rate / size
            level = rate - (rate @ upward) * upward
            turned += float(np.degrees(np.linalg.norm(level)))
            upward = (
                upward * np.cos(size)
                - np.cross(axis, upward) * np.sin(size)
                + axis * (axis @ upward) * (1 - np.cos(size))
            )
        angles[at] = upward @ up
    return _turn(work, np.degrees(np.arccos(np.clip(angles, -1.0, 1.0))), turned)


def turn_by_gravity(burst: Burst, up: Floats) -> Turn | None:
    """The turn by the gravity felt at rest after it; None where the burst ends before anything rests.

    Where the device takes gravity off as it lay before, what is left over shows the same, whichever way was up.
    """
    work = burst.thinned()
    tail = work.accel_mps2[-max(3, round(_REST_S / work.step_s)) :]
    if len(tail) < 3 or len(work) * work.step_s < 2 * _REST_S:
        return None
    felt = np.median(tail, axis=0)
    if np.abs(tail - felt).max() > _REST_SPREAD_MPS2:
        return None
    if burst.gravity:
        if abs(np.linalg.norm(felt) - G_MPS2) > _REST_SPREAD_MPS2:
            return None
        angle = float(np.degrees(np.arccos(np.clip(felt @ up / np.linalg.norm(felt), -1.0, 1.0))))
    else:
        size = float(np.linalg.norm(felt))
        angle = float(np.degrees(2 * np.arcsin(min(1.0, size / (2 * G_MPS2)))))
        # Gravity that turned away is missing upward as well; the hardest braking is level, and less than 75 degrees.
        if angle < _BEYOND_BRAKES_DEG and abs(felt @ up + size**2 / (2 * G_MPS2)) > _MISSING_MPS2:
            return None
    return Turn(angle, 0.0, angle, angle, work.time_us(len(work) - len(tail)) if angle > OVER_DEG else None)


def falling(burst: Burst, up: Floats, in_any_direction: bool = False) -> Bools:
    """(n,) samples of a burst's free falls. `up` (3,): upward before them, used where gravity was taken off.

    `in_any_direction`: what was taken off is not known; a steady 1 g may be a fall, and hard braking as well.
    """
    size = np.linalg.norm(burst.accel_mps2, axis=1)
    if burst.gravity:
        weightless: Bools = size < _FALL_MPS2
    else:
        # Gravity as it lay before was taken off a sensor that felt nothing: 1 g downward is left.
        weightless = np.abs(size - G_MPS2) < _FALL_MPS2
        if not in_any_direction:
            weightless &= -(burst.accel_mps2 @ up) > np.cos(np.radians(_FALL_OFF_DEG)) * size
    least = max(2, round(_FALL_S / burst.step_s))
    found = np.zeros(len(burst), dtype=np.bool_)
    if len(found) < least:
        return found
    runs = np.flatnonzero(np.lib.stride_tricks.sliding_window_view(weightless, least).all(axis=1))
    for after in range(least):
        found[runs + after] = True
    return found


def _turn(work: Burst, angles: Floats, turned: float) -> Turn:
    over = np.flatnonzero(angles > OVER_DEG)
    return Turn(
        float(angles.max()),
        len(over) * work.step_s,
        turned,
        float(angles[-1]),
        work.time_us(int(over[0])) if len(over) else None,
    )
