"""Places as detectors need them: usable fixes, their accuracy, the distance between them. Pure maths."""

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from incidents.detectors import _clock
from incidents.fences import METRES_A_DEGREE
from incidents.window import Bools, Floats, Ints, Window

# Three pseudoranges and the clock: with fewer satellites there is no fix, whatever the flag says.
LEAST_SATELLITES: Final = 4
# Horizontal error is about HDOP times the range error, 5 m for a single-frequency receiver (GPS SPS performance
# standard, 2020: 95 % user range error up to 7.8 m).
METRES_A_HDOP: Final = 5.0
# Where a receiver states neither accuracy nor HDOP. Judgement.
UNSTATED_ACCURACY_M: Final = 10.0

# Below this a vehicle stands as far as GNSS can tell; its fix drifts.
STANDS_KMH: Final = 3.0

# Columns that `usable` and `accuracy_m` look at, and those that `fixes` does.
FIX_COLUMNS: Final = frozenset({"lat_deg", "lon_deg", "fix_valid", "accuracy_m", "hdop", "satellites"})
TRACK_COLUMNS: Final = FIX_COLUMNS | {"speed_kmh", "obd_speed_kmh", "heading_deg"}


@dataclass(frozen=True, slots=True)
class Fixes:
    """Usable fixes of a window in order of time, each array (n,). `rows`: their places among its readings."""

    rows: Ints
    time_us: Ints
    lat_deg: Floats
    lon_deg: Floats
    accuracy_m: Floats
    speed_kmh: Floats
    heading_deg: Floats

    def __len__(self) -> int:
        return len(self.time_us)

    @property
    def stands(self) -> Bools:
        """Fixes of a vehicle that stands; where no speed is told it may move."""
        with np.errstate(invalid="ignore"):
            mask: Bools = self.speed_kmh < STANDS_KMH
        return mask

    def take(self, mask: Bools) -> "Fixes":
        """Some of the fixes."""
        return self if mask.all() else Fixes(*(getattr(self, name)[mask] for name in self.__slots__))


def fixes(window: Window, worst_accuracy_m: float) -> Fixes:
    """Fixes no worse than `worst_accuracy_m`, without those of a time that a clock told twice."""
    rows = np.flatnonzero(usable(window, worst_accuracy_m) & _clock.told_once(window))
    return Fixes(
        rows,
        window.device_time_us[rows],
        window.number("lat_deg")[rows],
        window.number("lon_deg")[rows],
        accuracy_m(window)[rows],
        window.speed_kmh()[rows],
        window.number("heading_deg")[rows],
    )


def accuracy_m(window: Window) -> Floats:
    """Horizontal accuracy of each reading, metres: as stated, else by HDOP, else a guess."""
    stated = window.number("accuracy_m")
    by_hdop = np.where(np.isnan(window.number("hdop")), UNSTATED_ACCURACY_M, window.number("hdop") * METRES_A_HDOP)
    accuracy: Floats = np.where(np.isnan(stated), by_hdop, stated)
    return accuracy


def usable(window: Window, worst_accuracy_m: float) -> Bools:
    """Readings with a fix that is no worse than `worst_accuracy_m`."""
    with np.errstate(invalid="ignore"):
        enough: Bools = ~(window.number("satellites") < LEAST_SATELLITES)
        good: Bools = window.fix_mask() & enough & (accuracy_m(window) <= worst_accuracy_m)
    return good


def apart_m(lat_a: Any, lon_a: Any, lat_b: Any, lon_b: Any) -> Floats:
    """Distance between points, metres, on a plane that touches half-way: good to 0.5 % up to 100 km."""
    north = (np.asarray(lat_b) - lat_a) * METRES_A_DEGREE
    east = _east_deg(lon_a, lon_b) * METRES_A_DEGREE * np.cos(np.radians((np.asarray(lat_a) + lat_b) / 2))
    apart: Floats = np.hypot(north, east)
    return apart


def bearing_deg(lat_a: Any, lon_a: Any, lat_b: Any, lon_b: Any) -> Floats:
    """Direction from one point to another, degrees clockwise from north."""
    east = _east_deg(lon_a, lon_b) * np.cos(np.radians((np.asarray(lat_a) + lat_b) / 2))
    bearing: Floats = np.degrees(np.arctan2(east, np.asarray(lat_b) - lat_a)) % 360.0
    return bearing


def turned_deg(one_deg: Any, other_deg: Any) -> Floats:
    """Angle between two directions, 0 to 180 degrees."""
    turned: Floats = np.abs((np.asarray(one_deg) - other_deg + 180.0) % 360.0 - 180.0)
    return turned


def steps_m(lat_deg: Floats, lon_deg: Floats) -> Floats:
    """Distance from each point to the next, shape (n - 1,), metres."""
    return apart_m(lat_deg[:-1], lon_deg[:-1], lat_deg[1:], lon_deg[1:])


def groups(mask: Bools, time_us: NDArray[np.int64], gap_us: int) -> list[NDArray[np.intp]]:
    """Rows of a mask, cut where two neighbours of them are further apart in time than `gap_us`."""
    rows = np.flatnonzero(mask)
    if not len(rows):
        return []
    return np.split(rows, np.flatnonzero(np.diff(time_us[rows]) > gap_us) + 1)


def _east_deg(lon_a: Any, lon_b: Any) -> Floats:
    """Degrees of longitude eastward from one to the other, the short way round."""
    east: Floats = (np.asarray(lon_b) - lon_a + 180.0) % 360.0 - 180.0
    return east
