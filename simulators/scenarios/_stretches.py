"""Stretches of a route on which a driver can go faster than he should, wishes that make him, and the truth of it."""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from simulators.errands import Life, Span
from simulators.play import Part, spans_where
from simulators.routes import GRID_M, Route, Wish

F64 = NDArray[np.float64]

_APART_M: Final = 400.0

# Practice for speeding by GNSS: tolerance max(3 km/h, 5 %), at least 3 s above it, gaps to 5 s merged, and the first
# seconds after a change of the limit do not count.
TOLERANCE_KMH: Final = 3.0
TOLERANCE_SHARE: Final = 0.05
SHORTEST_S: Final = 3.0
GAP_S: Final = 5.0
CHANGE_S: Final = 3.0
# Clear of doubt: this long and this far above. In between it may be found or not.
CLEAR_S: Final = 6.0
CLEAR_KMH: Final = 1.5


def stretches(route: Route, turning_mps: F64, share: float, shortest_m: float) -> list[slice]:
    """Points in a row with one limit, on which `share` of it is still turned calmly; the longest first."""
    fits = (turning_mps >= share * route.limit_mps)[1:] & (np.diff(route.limit_mps) == 0.0)
    edges = np.flatnonzero(np.diff(np.concatenate(([False], fits, [False])).astype(np.int8)))
    # From a standing start nobody speeds at once, and the last part of a route is often not driven any more.
    last = int(0.65 * len(route.s_m))
    found = [slice(max(int(begin) + 1, 20), min(int(end), last)) for begin, end in edges.reshape(-1, 2)]
    found = [part for part in found if (part.stop - part.start) * GRID_M >= shortest_m]
    return sorted(found, key=lambda part: (part.start - part.stop, part.start))


def windows(found: list[slice], lengths_m: list[float]) -> list[slice]:
    """Places for windows of these lengths in the stretches, far from each other; those that find none are left out."""
    out: list[slice] = []
    free = [(part.start, part.stop) for part in found]
    gap = int(_APART_M / GRID_M)
    for length_m in lengths_m:
        size = int(length_m / GRID_M)
        at = next((number for number, (begin, end) in enumerate(free) if end - begin >= size), None)
        if at is not None:
            begin, end = free[at]
            out.append(slice(begin, begin + size))
            free[at] = (begin + size + gap, end)
    return out


def faster(share: float, lengths_m: list[float]) -> Wish:
    """A wish for `share` of the limit on as many windows of these lengths as the route has room for."""

    def wish(route: Route, wanted: F64, turning: F64) -> F64:
        wanted = wanted.copy()
        for part in windows(stretches(route, turning, share, min(lengths_m)), lengths_m):
            wanted[part] = share * route.limit_mps[part]
        return wanted

    return wish


def tell_speeding(part: Part, life: Life, limit_kmh: F64) -> None:
    """Write down where a vehicle was faster than `limit_kmh` (NaN = no limit known) allowed."""
    excess = life.speed_mps * 3.6 - limit_kmh - np.maximum(TOLERANCE_KMH, TOLERANCE_SHARE * limit_kmh)
    changed = np.concatenate(([False], limit_kmh[1:] < limit_kmh[:-1]))
    above = (excess > 0.0) & (life.since(changed) >= CHANGE_S)
    runs: list[Span] = []
    for run in spans_where(life.t_s, above):
        if runs and run.from_s - runs[-1].until_s <= GAP_S:
            runs[-1] = Span(runs[-1].from_s, run.until_s)
        else:
            runs.append(run)
    for run in runs:
        rows = life.within(run)
        lasts_s = run.lasts_s + 1.0
        peak = float(excess[rows].max())
        if lasts_s >= CLEAR_S and peak >= CLEAR_KMH:
            at = int(np.flatnonzero(rows)[np.argmax(excess[rows])])
            part.incident(
                "speeding", run.from_s, run.until_s,
                limit_kmh=round(float(limit_kmh[at])), peak_kmh=round(float(life.speed_mps[at]) * 3.6, 1),
            )  # fmt: skip
        elif lasts_s >= SHORTEST_S - 0.5:
            part.allowed("speeding", run.from_s - 2.0, run.until_s + 2.0)
