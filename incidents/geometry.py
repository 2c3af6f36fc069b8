"""Distances on the ground, where metres matter and nanometres do not."""

import math
from typing import Final

_RADIUS_M: Final = 6_371_008.8  # mean radius of the WGS-84 ellipsoid (IUGG)


def distance_m(lat_deg: float, lon_deg: float, other_lat_deg: float, other_lon_deg: float) -> float:
    """Great-circle distance (haversine), metres; within 0.5 % of the ellipsoid's."""
    lat, other = math.radians(lat_deg), math.radians(other_lat_deg)
    half = (
        math.sin((other - lat) / 2) ** 2
        + math.cos(lat) * math.cos(other) * math.sin(math.radians(other_lon_deg - lon_deg) / 2) ** 2
    )
    return 2 * _RADIUS_M * math.asin(math.sqrt(min(1.0, half)))
