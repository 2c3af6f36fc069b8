"""What counts as harsh by vehicle class, and draws that are clearly harsh or clearly not.

Thresholds are the defaults of docs/detection-science.md, B1 for the lowest grade; what lies within GREY of one is
left to opinion and never drawn.
"""

from typing import Final

import numpy as np

from simulators.pulses import GRAVITY_MPS2

LOWEST_G: Final = {"harsh_acceleration": 0.28, "harsh_braking": 0.35, "harsh_cornering": 0.35}
OF_CAR: Final = {"car": 1.0, "van": 0.85, "heavy": 0.7}
GREY: Final = 0.15
# What drivers reach: tyres and engines of each class. Judgement; measured "aggressive" drives peak at 0.3 to 0.5 g.
HIGHEST_G: Final = {
    "harsh_acceleration": {"car": 0.50, "van": 0.38, "heavy": 0.28},
    "harsh_braking": {"car": 0.85, "van": 0.75, "heavy": 0.55},
    "harsh_cornering": {"car": 0.70, "van": 0.55, "heavy": 0.38},
}


def threshold_g(kind: str, vehicle_class: str) -> float:
    """The lowest peak that is harsh."""
    return LOWEST_G[kind] * OF_CAR[vehicle_class]


def clearly_harsh_mps2(kind: str, vehicle_class: str, rng: np.random.Generator) -> float:
    """A peak above the grey zone."""
    low = threshold_g(kind, vehicle_class) * (1 + GREY)
    return float(rng.uniform(low, HIGHEST_G[kind][vehicle_class])) * GRAVITY_MPS2


def clearly_calm_mps2(kind: str, vehicle_class: str, rng: np.random.Generator) -> float:
    """A brisk peak below the grey zone."""
    high = threshold_g(kind, vehicle_class) * (1 - GREY)
    return float(rng.uniform(0.6 * high, high)) * GRAVITY_MPS2
