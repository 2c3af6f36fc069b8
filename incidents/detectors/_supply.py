"""The vehicle's supply: systems of 12 and of 24 V on one scale."""

from typing import Final

import numpy as np

from incidents.hours import SUPPLY_V, TWO_BATTERIES_V
from incidents.window import Floats

_TWO: Final = 2.0


def each_as_12_v(volts: Floats) -> Floats:
    """Voltages as those of a 12 V battery, each judged by itself; NaN where the device is cut off from the supply."""
    low, high = SUPPLY_V
    usable = np.where((volts >= low) & (volts <= high), volts, np.nan)
    return np.where(usable > TWO_BATTERIES_V, usable / _TWO, usable)


def batteries(*facts: Floats) -> float:
    """1 for a system of 12 V, 2 for one of 24 V, by the middle of what was measured in hours."""
    known = np.concatenate([fact[np.isfinite(fact)] for fact in facts])
    return _TWO if len(known) and float(np.median(known)) > TWO_BATTERIES_V else 1.0
