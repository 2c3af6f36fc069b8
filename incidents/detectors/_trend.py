"""Slopes that outliers do not bend, with their uncertainty."""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

_Z_95: Final = 1.96  # standard normal, two-sided 95 %


@dataclass(frozen=True, slots=True)
class Slope:
    """Median slope and its 95 % interval, in units of y per unit of x."""

    slope: float
    low: float
    high: float


def theil_sen(x: Floats, y: Floats) -> Slope | None:
    """Theil-Sen slope of points (n,) with Sen's interval (Sen 1968, JASA 63:1379). None below four points apart in x.

    Points that share an x make no pair. The interval takes the variance of Kendall's S without ties.
    """
    first, second = np.triu_indices(len(x), 1)
    run = x[second] - x[first]
    apart = run != 0.0
    slopes = np.sort((y[second] - y[first])[apart] / run[apart])
    n, pairs = len(x), len(slopes)
    if n < 4 or pairs < 6:
        return None
    margin = _Z_95 * np.sqrt(n * (n - 1) * (2 * n + 5) / 18.0)
    low = max(0, int(np.floor((pairs - margin) / 2.0)))
    high = min(pairs - 1, int(np.ceil((pairs + margin) / 2.0)))
    return Slope(float(np.median(slopes)), float(slopes[low]), float(slopes[high]))
