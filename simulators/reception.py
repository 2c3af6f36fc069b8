"""What a GNSS receiver makes of a life: correlated error, quality figures, shaded and lost sky, a held fix at rest.

The errors are those of gnss.py, for one vehicle and samples at any distance in time.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from simulators.condition import linear
from simulators.errands import Life, Span
from simulators.gnss import CORRELATED_M, CORRELATION_S, SPEED_NOISE_MPS, STANDING_MPS, WHITE_M
from simulators.roads import Plane

F64 = NDArray[np.float64]

SKY_S: Final = 50.0  # how fast the view of the sky changes under way
SETTLING_S: Final = 6.0  # after a loss the first fixes are poor


@dataclass(frozen=True, slots=True)
class Shade:
    """A span in which the receiver sees less. `fade_s` before it satellites fall away one by one.

    lost      no fix at all; otherwise fixes go on with `error_m` of additional wander
    """

    span: Span
    fade_s: float = 1.5
    lost: bool = True
    error_m: float = 0.0


def receive(life: Life, plane: Plane, rng: np.random.Generator, shades: Sequence[Shade] = ()) -> dict[str, F64]:
    """Columns of the receiver by name; `fix_valid` is 1 or 0, what is absent is NaN."""
    n = len(life)
    step_s = np.diff(life.t_s, prepend=life.t_s[0])
    moving = life.seen_speed_mps > STANDING_MPS
    sky_keep = np.exp(-step_s / SKY_S)
    sky = linear(sky_keep, np.sqrt(1 - sky_keep**2) * rng.normal(0.0, 1.0, n), float(rng.normal()))
    quality = np.exp(0.35 * sky)
    satellites = np.clip(np.round(14 - 7 * np.log(quality)), 4, 24)
    valid = np.ones(n, dtype=bool)
    for shade in shades:
        quality, satellites = _shaded(life, shade, quality, satellites, rng)
        if shade.lost:
            valid &= ~life.within(shade.span)
    keep = np.exp(-step_s / CORRELATION_S)
    scale = CORRELATED_M * np.sqrt(1 - keep**2)
    error = [
        linear(keep, scale * quality * rng.normal(0.0, 1.0, n), float(rng.normal(0.0, CORRELATED_M))) for _ in range(3)
    ]
    for shade in shades:
        if shade.error_m:
            for axis in (0, 1):
                error[axis] = error[axis] + _wander(life, shade, rng)
    white = np.where(moving, WHITE_M, 0.05) * rng.normal(0.0, 1.0, (2, n))
    lat, lon = plane.to_latlon(life.seen_x_m + error[0] + white[0], life.seen_y_m + error[1] + white[1])
    speed = np.where(moving, np.maximum(life.seen_speed_mps + SPEED_NOISE_MPS * rng.normal(0.0, 1.0, n), 0.0), 0.0)
    noise_deg = np.degrees(SPEED_NOISE_MPS / np.maximum(life.seen_speed_mps, 0.5)) * rng.normal(0.0, 1.0, n)
    columns = {
        "lat_deg": lat,
        "lon_deg": lon,
        "speed_kmh": speed * 3.6,
        "heading_deg": _held((life.seen_heading_deg + noise_deg) % 360.0, moving & valid),
        "altitude_m": 8.0 + 1.6 * error[2],
        "accuracy_m": 2.4 * quality,
        "hdop": 0.85 * quality,
    }
    columns = {name: np.where(valid, values, np.nan) for name, values in columns.items()}
    columns["satellites"] = np.where(valid, satellites, np.minimum(satellites, rng.integers(0, 4, n)))
    columns["fix_valid"] = valid.astype(np.float64)
    return columns


def _held(heading_deg: F64, moving: NDArray[np.bool_]) -> F64:
    """A standing receiver repeats the last heading it had."""
    at = np.maximum.accumulate(np.where(moving, np.arange(len(moving)), -1))
    return np.where(at >= 0, heading_deg[np.maximum(at, 0)], heading_deg[0])


def _shaded(life: Life, shade: Shade, quality: F64, satellites: F64, rng: np.random.Generator) -> tuple[F64, F64]:
    span, fade_s = shade.span, max(shade.fade_s, 0.5)
    # 0 in the open, 1 where the sky is gone.
    entering = np.clip((life.t_s - span.from_s + fade_s) / fade_s, 0.0, 1.0) * (life.t_s <= span.until_s)
    leaving = np.clip(1 - (life.t_s - span.until_s) / SETTLING_S, 0.0, 1.0) * (life.t_s > span.until_s)
    worse = np.maximum(entering, 0.6 * leaving)
    deepest = 1.6 if shade.lost else 0.9
    fewer = satellites - worse * (satellites - (3 if shade.lost else 5)) + worse * rng.normal(0.0, 0.6, len(life))
    return quality * np.exp(deepest * worse), np.clip(np.round(np.where(worse > 0, fewer, satellites)), 0, 24)


def _wander(life: Life, shade: Shade, rng: np.random.Generator) -> F64:
    """Reflections pull a fix away over minutes and let it go again; one axis, metres."""
    span = shade.span
    knots = np.linspace(span.from_s, span.until_s, max(4, int(span.lasts_s / 90.0)))
    pulls = rng.normal(0.0, shade.error_m, len(knots))
    pulls[[0, -1]] = 0.0
    return np.interp(life.t_s, knots, pulls, left=0.0, right=0.0)
