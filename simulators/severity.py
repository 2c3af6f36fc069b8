"""Which response level an impact deserves, by the design's rules alone: what truth states, whoever looks for it.

3 from a delta-V of 25 km/h, or 15 sideways; 2 from 8, or when the vehicle stops after it; 1 below. 8 and 25 km/h are
the trigger and lock lines of GB 39732-2020, 15 sideways is a judgement (Bahouth et al.: side impacts need a lower bar).
"""

from typing import Final

EMERGENCY_KMH: Final = 25.0
EMERGENCY_LATERAL_KMH: Final = 15.0
URGENT_KMH: Final = 8.0
# Nobody can tell which side of a line a draw within a tenth of it fell on: EDR tolerance (49 CFR 563) is 10 %.
TOLERANCE: Final = 0.10


def level_of(delta_v_kmh: float, lateral_kmh: float, *, stops: bool) -> int:
    """The level by the rules as they stand."""
    if delta_v_kmh >= EMERGENCY_KMH or lateral_kmh >= EMERGENCY_LATERAL_KMH:
        return 3
    return 2 if delta_v_kmh >= URGENT_KMH or stops else 1


def acceptable_levels(
    delta_v_kmh: float, lateral_kmh: float, *, stops: bool | None, sides_known: bool, saturated: bool
) -> list[int]:
    """Levels that count as right: more than one within TOLERANCE of a line or where the device cannot know.

    `stops` None: whether it stops is a matter of opinion. `sides_known` False: the device sits anyhow in the vehicle,
    so that nobody can say which part of the blow was sideways. `saturated`: the sensor was at its range, so that one
    level more is caution; one less would be an understatement.
    """
    found = set()
    for scale in (1.0 - TOLERANCE, 1.0, 1.0 + TOLERANCE):
        for sideways in (lateral_kmh,) if sides_known else (lateral_kmh, 0.0):
            for stopped in (stops,) if stops is not None else (True, False):
                found.add(level_of(scale * delta_v_kmh, scale * sideways, stops=stopped))
    if saturated:
        found.add(min(3, max(found) + 1))
    return sorted(found)
