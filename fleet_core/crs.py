"""GCJ-02 and BD-09, the shifted coordinate systems of maps in China, to WGS-84 and back. Arrays in, arrays out.

The shift has no official publication; the series below is the one that open implementations agree on to the last
digit. Outside the rectangle 72.004..137.8347 E, 0.8293..55.8271 N it is zero by definition.
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

# Krasovsky 1940 ellipsoid: semi-major axis in metres and first eccentricity squared.
_AXIS_M: Final = 6378245.0
_ECCENTRICITY_SQ: Final = 0.00669342162296594323
_BD_ANGLE: Final = np.pi * 3000.0 / 180.0

# Each pass of the inverse shrinks the error about 170 fold: 4.5 m, 2.7 cm, 0.17 mm at worst over China.
_INVERSE_PASSES: Final = 4


def in_shifted_area(lat_deg: Floats, lon_deg: Floats) -> NDArray[np.bool_]:
    """Where GCJ-02 differs from WGS-84."""
    return (lon_deg >= 72.004) & (lon_deg <= 137.8347) & (lat_deg >= 0.8293) & (lat_deg <= 55.8271)


def gcj02_from_wgs84(lat_deg: Floats, lon_deg: Floats) -> tuple[Floats, Floats]:
    """WGS-84 degrees to GCJ-02 degrees."""
    x, y = lon_deg - 105.0, lat_deg - 35.0
    root = np.sqrt(np.abs(x))
    ripple = 20.0 * np.sin(6.0 * x * np.pi) + 20.0 * np.sin(2.0 * x * np.pi)
    d_lat = -100.0 + 2.0 * x + 3.0 * y + 0.2 * y * y + 0.1 * x * y + 0.2 * root
    d_lat += (ripple + 20.0 * np.sin(y * np.pi) + 40.0 * np.sin(y / 3.0 * np.pi)) * 2.0 / 3.0
    d_lat += (160.0 * np.sin(y / 12.0 * np.pi) + 320.0 * np.sin(y * np.pi / 30.0)) * 2.0 / 3.0
    d_lon = 300.0 + x + 2.0 * y + 0.1 * x * x + 0.1 * x * y + 0.1 * root
    d_lon += (ripple + 20.0 * np.sin(x * np.pi) + 40.0 * np.sin(x / 3.0 * np.pi)) * 2.0 / 3.0
    d_lon += (150.0 * np.sin(x / 12.0 * np.pi) + 300.0 * np.sin(x / 30.0 * np.pi)) * 2.0 / 3.0
    lat_rad = np.radians(lat_deg)
    magic = 1.0 - _ECCENTRICITY_SQ * np.sin(lat_rad) ** 2
    d_lat = np.degrees(d_lat / (_AXIS_M * (1.0 - _ECCENTRICITY_SQ) / (magic * np.sqrt(magic))))
    d_lon = np.degrees(d_lon / (_AXIS_M / np.sqrt(magic) * np.cos(lat_rad)))
    inside = in_shifted_area(lat_deg, lon_deg)
    return np.where(inside, lat_deg + d_lat, lat_deg), np.where(inside, lon_deg + d_lon, lon_deg)


def wgs84_from_gcj02(lat_deg: Floats, lon_deg: Floats) -> tuple[Floats, Floats]:
    """GCJ-02 degrees to WGS-84 degrees, by iteration, to better than a millimetre."""
    lat, lon = lat_deg, lon_deg
    for _ in range(_INVERSE_PASSES):
        lat_back, lon_back = gcj02_from_wgs84(lat, lon)
        lat, lon = lat + (lat_deg - lat_back), lon + (lon_deg - lon_back)
    return lat, lon


def bd09_from_gcj02(lat_deg: Floats, lon_deg: Floats) -> tuple[Floats, Floats]:
    """GCJ-02 degrees to BD-09 degrees."""
    radius = np.hypot(lon_deg, lat_deg) + 0.00002 * np.sin(lat_deg * _BD_ANGLE)
    angle = np.arctan2(lat_deg, lon_deg) + 0.000003 * np.cos(lon_deg * _BD_ANGLE)
    return radius * np.sin(angle) + 0.006, radius * np.cos(angle) + 0.0065


def gcj02_from_bd09(lat_deg: Floats, lon_deg: Floats) -> tuple[Floats, Floats]:
    """BD-09 degrees to GCJ-02 degrees, by iteration."""
    lat, lon = lat_deg - 0.006, lon_deg - 0.0065
    for _ in range(_INVERSE_PASSES):
        lat_back, lon_back = bd09_from_gcj02(lat, lon)
        lat, lon = lat + (lat_deg - lat_back), lon + (lon_deg - lon_back)
    return lat, lon


def wgs84_from(crs: str, lat_deg: Floats, lon_deg: Floats) -> tuple[Floats, Floats]:
    """Degrees in `crs` (`wgs84`, `gcj02` or `bd09`) to WGS-84. Raises ValueError for another name."""
    if crs == "wgs84":
        return lat_deg, lon_deg
    if crs == "gcj02":
        return wgs84_from_gcj02(lat_deg, lon_deg)
    if crs == "bd09":
        return wgs84_from_gcj02(*gcj02_from_bd09(lat_deg, lon_deg))
    raise ValueError(f"unknown coordinate system {crs!r}")
