"""Facts of whole hours: what remains of a vehicle's readings for detectors whose window is days or weeks.

Computed from the stored readings of the hour, so an hour that late readings touch is computed anew and comes out the
same whatever the order of arrival.
"""

from typing import Final

import numpy as np

from incidents.window import NO_HOURS, Hours, Window

HOUR_US: Final = 3_600 * 1_000_000

# Name and meaning, in the order of the table's columns.
FACTS: Final[dict[str, str]] = {
    "readings": "number of readings",
    "moving_s": "seconds at 5 km/h or more, as far as readings at most 60 s apart show",
    "odometer_km": "greatest odometer",
}


def facts_of(hour: Window) -> dict[str, float]:
    """Facts of one hour's readings; NaN = nothing known. Pure."""
    return {"readings": float(len(hour)), "moving_s": np.nan, "odometer_km": np.nan}


def hours_of(window: Window) -> Hours:
    """Hours of all readings in a window, computed in memory."""
    if not len(window):
        return NO_HOURS
    hour = window.device_time_us // HOUR_US
    starts = np.append(0, np.flatnonzero(hour[1:] != hour[:-1]) + 1)
    ends = np.append(starts[1:], len(hour))
    rows = [facts_of(window.take(np.arange(start, end))) for start, end in zip(starts, ends, strict=True)]
    return Hours(hour[starts] * HOUR_US, {name: np.array([row[name] for row in rows]) for name in FACTS})
