"""How a device sits in its vehicle: "up" from gravity, "forward" from what its accelerations have to do with the drive.

Devices are glued in by hand. Gravity gives "up" at once. The heading takes some driving: acceleration along the vehicle
is the change of its speed, acceleration across it is speed times turning rate, and the rotation that brings what the
device felt closest to both (Kabsch 1976, orthogonal Procrustes) is how it sits.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np

from incidents.detectors._burst import G_MPS2
from incidents.window import Bools, Floats, Mounting, S, Window

# Readings whose neighbours are within this are paired with the change of speed between them.
_STEP_S: Final = (0.2, 2.5)
# Below this speed the course over ground is noise.
_TURNING_FROM_MPS: Final = 4.0
# Receivers lag the motion sensor by up to 2 s (docs/detection-science.md, B10): the lag that fits best is taken.
_LAGS: Final = (0, 1, 2)
# What ordinary driving reaches; a change of speed beyond it is a fault of the receiver.
_MOST_MPS2: Final = 1.2 * G_MPS2
_LEAST_PAIRS: Final = 8
# An angle is known when its standard error is this small: quality falls to a half there. Judgement.
_KNOWN_WITHIN_DEG: Final = 10.0
# Below this quality only "up" is relied upon (see Mounting).
KNOWN_QUALITY: Final = 0.5
# Correlation up to which accelerations speak against the axes a device states (recorded drives give 0.4 to 0.8), where
# there was driving enough to tell: so many readings, so lively.
_UNLIKE: Final = 0.15
_TELLING_PAIRS: Final = 30
_TELLING_MPS2: Final = 0.35
# A device that states vehicle axes is believed unless the drive says that it is off by more than this. Judgement.
_BELIEVED_WITHIN_DEG: Final = 25.0


@dataclass(frozen=True, slots=True)
class Frame:
    """Axes of a device. `rotation` @ device axes = vehicle axes.

    up_known, heading_known  whether the vertical axis and the two others are to be relied upon
    source                   "stated" (vehicle axes, as the contract has them), "doubted" (stated, but the drive speaks
                             against it), "mounting" (kept with the vehicle), "drive" (learned from the readings
                             around), "gravity" (only up)
    """

    rotation: Floats
    up_known: bool
    heading_known: bool
    source: str

    @property
    def up(self) -> Floats:
        """(3,) the unit vector upward in device axes."""
        upward: Floats = self.rotation[2]
        return upward


def frame_of(window: Window, gravity: bool, rest_mps2: Floats | None = None) -> Frame:
    """Axes of a device whose accelerations hold gravity (`gravity`) or not, from what is known in the window.

    `rest_mps2` (3,): gravity as somebody else saw it, for windows whose readings do not show it.
    """
    kept = window.vehicle.mounting
    if kept is not None and kept.quality >= KNOWN_QUALITY:
        return Frame(kept.rotation, True, True, "mounting")
    learned = learn(window)
    if learned is not None and learned.quality >= KNOWN_QUALITY:
        off_deg = _degrees_between(learned.rotation, np.eye(3))
        if gravity or off_deg > _BELIEVED_WITHIN_DEG:
            return Frame(learned.rotation, True, True, "drive")
        return Frame(np.eye(3), True, True, "stated")
    if not gravity:
        # Who removed gravity knew where it was; only a drive that agrees makes sure of the axes.
        doubted = _speaks_against(window)
        return Frame(np.eye(3), False, not doubted, "doubted" if doubted else "stated")
    return _upright_only(window, rest_mps2)


def _upright_only(window: Window, rest_mps2: Floats | None) -> Frame:
    """Axes of a device of which only gravity is known."""
    kept, seen = window.vehicle.mounting, _rest(window)
    if kept is not None:
        return Frame(kept.rotation, True, False, "mounting")
    seen = rest_mps2 if seen is None else seen
    if seen is None or not np.linalg.norm(seen) > 0:
        return Frame(np.eye(3), False, False, "gravity")
    return Frame(upright(seen), True, False, "gravity")


def learn(window: Window) -> Mounting | None:
    """How the device sits, from the window's readings. None where they carry no acceleration or show no driving.

    The answer's quality is 0 to 1; below 0.5 only "up" can be relied upon, and that only where the accelerations hold
    gravity.
    """
    accel = _felt(window)
    if not np.isfinite(accel).all(axis=1).any():
        return None
    rest = _rest(window)
    span = (int(window.device_time_us[0]), int(window.device_time_us[-1]))
    wanted = _driven(window)
    best: tuple[float, Floats] | None = None
    for lag in _LAGS:
        felt, usable = _paired(accel, wanted, lag)
        if usable.sum() >= _LEAST_PAIRS:
            fitted = _fit(felt[usable], wanted[usable], rest)
            best = fitted if best is None or fitted[0] > best[0] else best
    if best is None:
        return None if rest is None else Mounting(upright(rest), 0.0, *span)
    return Mounting(best[1], best[0], *span)


def upright(rest_mps2: Floats) -> Floats:
    """A rotation that brings the gravity felt at rest upward, by the shortest way; the heading is arbitrary."""
    up = rest_mps2 / np.linalg.norm(rest_mps2)
    forward = np.array([1.0, 0.0, 0.0]) - up[0] * up
    if np.linalg.norm(forward) < 0.3:
        forward = np.array([0.0, 1.0, 0.0]) - up[1] * up
    forward = forward / np.linalg.norm(forward)
    return np.stack((forward, np.cross(up, forward), up))


def _speaks_against(window: Window) -> bool:
    """Whether the accelerations, in the axes the device states, have nothing to do with the drive."""
    accel, wanted = _felt(window), _driven(window)
    likeness = []
    for lag in _LAGS:
        felt, usable = _paired(accel, wanted, lag)
        one, other = felt[usable][:, :2], wanted[usable][:, :2]
        if len(one) < _TELLING_PAIRS or np.sqrt((other**2).mean()) < _TELLING_MPS2:
            return False
        size = np.sqrt((one**2).sum() * (other**2).sum())
        likeness.append(float((one * other).sum() / max(size, 1e-9)))
    return max(likeness) < _UNLIKE


def _felt(window: Window) -> Floats:
    """(n, 3) accelerations of the readings, device axes."""
    return np.column_stack([window.number(f"accel_{axis}_mps2") for axis in "xyz"])


def _rest(window: Window) -> Floats | None:
    """(3,) gravity in device axes: what readings that hold it show in the middle. None where they do not."""
    accel = _felt(window)
    held = np.isfinite(accel).all(axis=1) & (window.flag("accel_gravity") == 1)
    if held.sum() < _LEAST_PAIRS:
        return None
    rest: Floats = np.median(accel[held], axis=0)
    return rest


def _paired(accel: Floats, wanted: Floats, lag: int) -> tuple[Floats, Bools]:
    """Accelerations `lag` readings earlier, and where both sides are known."""
    felt = np.roll(accel, lag, axis=0)
    usable: Bools = np.asarray(np.isfinite(np.column_stack((felt, wanted))).all(axis=1))
    usable[:lag] = False
    return felt, usable


def _driven(window: Window) -> Floats:
    """(n, 3) acceleration of the vehicle, its axes, by speed and course between each reading and the one before."""
    driven = np.full((len(window), 3), np.nan)
    if len(window) < 2:
        return driven
    speed = window.speed_kmh() / 3.6
    step = np.diff(window.device_time_us) / S
    good = (step >= _STEP_S[0]) & (step <= _STEP_S[1])
    with np.errstate(invalid="ignore"):
        along = np.where(good, np.diff(speed) / step, np.nan)
        mean = (speed[1:] + speed[:-1]) / 2
        turned = (np.diff(window.number("heading_deg")) + 180.0) % 360.0 - 180.0
        # Courses run clockwise, the axes turn to the left.
        sideways = np.where(good & (mean >= _TURNING_FROM_MPS), -np.radians(turned) / step * mean, np.nan)
        driven[1:, 0] = np.where(np.abs(along) <= _MOST_MPS2, along, np.nan)
        driven[1:, 1] = np.where(
            np.abs(sideways) <= _MOST_MPS2, sideways, np.where(mean < _TURNING_FROM_MPS, 0.0, np.nan)
        )
    driven[1:, 2] = 0.0
    return driven


def _fit(felt: Floats, wanted: Floats, rest: Floats | None) -> tuple[float, Floats]:
    """Quality and rotation that bring what was felt closest to what was driven."""
    felt = felt - (np.median(felt, axis=0) if rest is None else rest)
    felt, wanted = felt - felt.mean(axis=0), wanted - wanted.mean(axis=0)
    if rest is None:
        left, _, right = np.linalg.svd(wanted.T @ felt)
        turn = left @ np.diag([1.0, 1.0, np.sign(np.linalg.det(left @ right))]) @ right
        rotation: Floats = turn
    else:
        level = upright(rest)
        x, y = (felt @ level.T)[:, :2].T
        angle = np.arctan2((x * wanted[:, 1] - y * wanted[:, 0]).sum(), (x * wanted[:, 0] + y * wanted[:, 1]).sum())
        rotation = np.array([[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1]]) @ level
    turned = (felt @ rotation.T)[:, :2]
    size = np.sqrt((turned**2).sum() * (wanted**2).sum())
    if not size > 0:
        return 0.0, rotation
    likeness = max(0.0, float((turned * wanted[:, :2]).sum() / size))
    scale = np.sqrt((turned**2).sum() / max((wanted**2).sum(), 1e-9))
    rest_of_it = turned - scale * wanted[:, :2]
    noise = np.sqrt((rest_of_it**2).sum() / (2 * len(turned)))
    error_deg = float(np.degrees(noise / np.sqrt((turned**2).sum())))
    if rest is None:
        # Without gravity three angles hang on two directions: straight driving alone leaves one of them free.
        strength = np.linalg.svd(wanted.T @ felt, compute_uv=False)
        if strength[1] < 0.1 * strength[0]:
            return 0.0, rotation
        error_deg *= float(strength[0] / strength[1])
    return likeness / (1 + (error_deg / _KNOWN_WITHIN_DEG) ** 2), rotation


def _degrees_between(one: Floats, other: Floats) -> float:
    """Angle of the rotation from one to the other."""
    return float(np.degrees(np.arccos(np.clip((np.trace(one.T @ other) - 1) / 2, -1.0, 1.0))))
