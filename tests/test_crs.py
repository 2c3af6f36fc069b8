"""GCJ-02 and BD-09: known shifts, and there and back again."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleet_core import crs

METRES_PER_DEGREE = 111_195.0


def one(*degrees: float) -> tuple[np.ndarray[tuple[int], np.dtype[np.float64]], ...]:
    return tuple(np.array([value]) for value in degrees)


def test_shanghai_is_shifted_by_what_the_maps_show() -> None:
    lat, lon = one(31.2304, 121.4737)
    shifted_lat, shifted_lon = crs.gcj02_from_wgs84(lat, lon)
    south_m = (lat - shifted_lat)[0] * METRES_PER_DEGREE
    east_m = (shifted_lon - lon)[0] * METRES_PER_DEGREE * np.cos(np.radians(31.2304))
    assert south_m == pytest.approx(215, abs=10)
    assert east_m == pytest.approx(430, abs=10)


@given(st.floats(3.9, 53.5), st.floats(73.7, 135.0))
def test_there_and_back_within_a_millimetre_in_china(lat_deg: float, lon_deg: float) -> None:
    lat, lon = one(lat_deg, lon_deg)
    for name, away in (
        ("gcj02", crs.gcj02_from_wgs84(lat, lon)),
        ("bd09", crs.bd09_from_gcj02(*crs.gcj02_from_wgs84(lat, lon))),
    ):
        back_lat, back_lon = crs.wgs84_from(name, *away)
        moved_m = np.hypot(away[0] - lat, away[1] - lon)[0] * METRES_PER_DEGREE
        assert 20 < moved_m < 3000
        assert abs(back_lat - lat)[0] * METRES_PER_DEGREE < 0.001
        assert abs(back_lon - lon)[0] * METRES_PER_DEGREE < 0.001


@pytest.mark.parametrize(
    ("lat_deg", "lon_deg"), [(60.17, 24.94), (-33.87, 151.21), (0.0, 0.0), (35.68, 139.69), (40.71, -74.01)]
)
def test_nothing_is_shifted_outside_china(lat_deg: float, lon_deg: float) -> None:
    lat, lon = one(lat_deg, lon_deg)
    assert not crs.in_shifted_area(lat, lon)[0]
    for shifted in (
        crs.gcj02_from_wgs84(lat, lon),
        crs.wgs84_from("gcj02", lat, lon),
        crs.wgs84_from("wgs84", lat, lon),
    ):
        assert (shifted[0][0], shifted[1][0]) == (lat_deg, lon_deg)


def test_absent_coordinates_stay_absent() -> None:
    lat, lon = one(np.nan, np.nan)
    for name in ("gcj02", "bd09"):
        assert np.isnan(crs.wgs84_from(name, lat, lon)).all()


def test_an_unknown_system_is_refused() -> None:
    with pytest.raises(ValueError, match="mars"):
        crs.wgs84_from("mars", *one(1.0, 2.0))
