"""The hours that a window shows, as detectors of slow changes take them."""

from typing import Final

import numpy as np

from incidents.window import Hours, Ints, S, Window

DAY_S: Final = 86_400.0
DAY_US: Final = 86_400 * S


def hours_in(window: Window) -> Hours:
    """Hours that begin in the window, in order. A window may hold more: those of its neighbours."""
    hours = window.hours
    rows = np.flatnonzero((hours.hour_us >= window.from_us) & (hours.hour_us <= window.until_us))
    return Hours(hours.hour_us[rows], {name: facts[rows] for name, facts in hours.columns.items()})


def instants(hours: Hours, name: str) -> Ints:
    """When something happened in each hour, from a fact in seconds into it; the begin of the hour where unknown."""
    seconds = np.nan_to_num(hours.number(name))
    return hours.hour_us + np.round(seconds * S).astype(np.int64)
