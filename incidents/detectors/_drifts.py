"""Places that drift steadily away from where the vehicle drives, too slowly to show in the length of its way.

Every ten seconds the places moved by what the vehicle drove, plus the drift. Standing, the drift shows bare; driving,
the part of it along the way. Over minutes with stops and turns that gives one steady drift by least squares, or none:
the fit must be good, and both halves of the time must tell the same. A straight drive without a stop tells nothing,
because an odometer that is a little off looks the same. Pure maths.
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from incidents.window import Bools, Floats

# Windows, in points of a grid of ten seconds: two to five minutes (docs/detection-science.md, B10: up to 300 s),
# and how far beyond its own uncertainty a drift must be in each. Speeds of wheels lag, which takes time to even out:
# with 6 for the shortest window, a lag of 2 s gave 2 false alarms in 1,080 hours of simulated traffic; now none.
_SURE: Final = {12: 10.0, 18: 7.0, 30: 6.0}
SHORTEST: Final = min(_SURE)
STEP_S: Final = 10.0
# Section A4: ramps of 1 to 5 m/s. Multipath drifts so fast for seconds, not for minutes. Judgement.
_DRIFT_MPS: Final = 0.7
# The halves' drifts against theirs, and against the whole. Judgement.
_HALF_SURE: Final = 3.0
_HALVES_APART: Final = 0.4
# How well everything must fit, and what a place is never better than. Judgement.
_FITS_MPS: Final = 0.6
_NOISE_MPS: Final = 0.15
# What is uncertain of a witness that has proved itself.
_SCALE: Final = 0.015
_LEAST_ROWS: Final = 8
_STANDS_MPS: Final = 0.1
_DRIVES_MPS: Final = 3.0
# A curve is longer than its chord: such steps are left out.
_STRAIGHT: Final = 0.97


def drifting(east_m: Floats, north_m: Floats, path_m: Floats, way_m: Floats, scale: Floats) -> tuple[Bools, Floats]:
    """Points (n,) of the grid at which places have been drifting, and the drift there, m/s.

    east_m, north_m  places at the points; path_m, way_m  way through all fixes and by the witness over the step before
    each point, NaN where unknown; scale  metres of places a metre of the witness, NaN where it has not proved itself
    """
    count = len(east_m)
    found, drift = np.zeros(count, dtype=np.bool_), np.full(count, np.nan)
    sums = _summed(*_equations(east_m, north_m, path_m, way_m))
    for points, surely in _SURE.items():
        if count <= points:
            break
        half = points // 2
        whole = _solved(sums, points, 0, scale)
        late, early = _solved(sums, half, 0, scale), _solved(sums, half, half, scale)
        with np.errstate(invalid="ignore"):
            size = np.hypot(whole[0], whole[1])
            sure = (size >= _DRIFT_MPS) & (size >= surely * whole[2]) & (whole[3] <= _FITS_MPS)
            for part in (late, early):
                apart = np.hypot(part[0] - whole[0], part[1] - whole[1])
                sure &= (apart <= _HALVES_APART * size) & (np.hypot(part[0], part[1]) >= _HALF_SURE * part[2])
        drift[sure & ~found] = size[sure & ~found]
        found |= sure
    return found, drift


def _equations(east_m: Floats, north_m: Floats, path_m: Floats, way_m: Floats) -> tuple[Floats, Floats]:
    """Two equations a step for drift east, drift north and scale: coefficients (n, 2, 3) and what they give (n, 2)."""
    count = len(east_m)
    step = np.full((count, 2), np.nan)
    step[1:] = np.column_stack((np.diff(east_m), np.diff(north_m))) / STEP_S
    way, path = way_m / STEP_S, path_m / STEP_S
    speed = np.hypot(step[:, 0], step[:, 1])
    coefficients, gives = np.zeros((count, 2, 3)), np.zeros((count, 2))
    with np.errstate(invalid="ignore"):
        stands = np.isfinite(speed) & (way <= _STANDS_MPS)
        drives = np.isfinite(speed) & (way >= _DRIVES_MPS) & (speed >= _STRAIGHT * path) & (speed >= _DRIVES_MPS / 2)
    coefficients[stands, 0, 0] = coefficients[stands, 1, 1] = 1.0
    gives[stands] = step[stands]
    coefficients[drives, 0, :2] = step[drives] / speed[drives, None]
    coefficients[drives, 0, 2] = way[drives]
    gives[drives, 0] = speed[drives]
    return coefficients, gives


def _summed(coefficients: Floats, gives: Floats) -> NDArray[np.float64]:
    """Everything that least squares need, summed up over the steps until each point: (n + 1, 14)."""
    normal = np.einsum("nij,nik->njk", coefficients, coefficients).reshape(len(gives), 9)
    right = np.einsum("nij,ni->nj", coefficients, gives)
    square = (gives**2).sum(axis=1)
    rows = (coefficients != 0.0).any(axis=2).sum(axis=1)
    told = np.column_stack((normal, right, square, rows))
    return np.concatenate((np.zeros((1, told.shape[1])), np.cumsum(told, axis=0)))


def _solved(sums: NDArray[np.float64], points: int, ago: int, scale: Floats) -> tuple[Floats, Floats, Floats, Floats]:
    """Drift east and north, its uncertainty and the misfit, each (n,), over some steps that ended some steps ago."""
    count = len(scale)
    end = np.maximum(np.arange(count) + 1 - ago, 0)
    begin = np.maximum(end - points, 0)
    over = sums[end] - sums[begin]
    weight = (_NOISE_MPS / _SCALE) ** 2
    normal = over[:, :9].reshape(count, 3, 3).copy()
    right = over[:, 9:12].copy()
    known = np.where(np.isfinite(scale), scale, 1.0)
    normal[:, 2, 2] += weight
    right[:, 2] += weight * known
    square = over[:, 12] + weight * known**2
    enough = (over[:, 13] >= _LEAST_ROWS * points / SHORTEST) & np.isfinite(scale) & (np.arange(count) >= points + ago)
    # A drift that nothing tells has no end of uncertainty: keep the matrix regular all the same.
    normal[:, 0, 0] += 1e-9
    normal[:, 1, 1] += 1e-9
    inverse = np.linalg.inv(normal)
    solution = np.einsum("nij,nj->ni", inverse, right)
    misfit = np.maximum(square - np.einsum("ni,ni->n", solution, right), 0.0)
    rms = np.sqrt(misfit / np.maximum(over[:, 13] - 2.0, 1.0))
    unsure = np.maximum(rms, _NOISE_MPS) * np.sqrt(inverse[:, 0, 0] + inverse[:, 1, 1])
    bad = ~enough
    east, north = solution[:, 0], solution[:, 1]
    for values in (east, north, unsure, rms):
        values[bad] = np.nan
    return east, north, unsure, rms
