"""Loose mounting: the device lies otherwise from one standstill to the next, or it fell.

What a device that has come loose says of braking and impacts is worth little, and its mounting must be learned anew.
Vehicles stand on slopes, so small differences say nothing.
"""

from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from fleet_core import topics
from incidents.detector import Candidates, Finding, Lane, Reason, Sweeps
from incidents.detectors._around import COLUMNS as _SPEED_COLUMNS
from incidents.detectors._around import believed_speed_kmh
from incidents.detectors._burst import G_MPS2, bursts_of
from incidents.detectors._overturn import COLUMNS as _OVERTURN_COLUMNS
from incidents.detectors._overturn import frame_for, is_drop, overturns
from incidents.detectors._pulse import strongest
from incidents.window import Floats, S, Window

# Between two standstills: public roads slope by 10 % at most nearly everywhere, 6 degrees either way. Judgement.
_TURNED_DEG: Final = 15.0
# From here on it is beyond doubt.
_SURELY_DEG: Final = 30.0
# A standstill: so long, so many readings, so steady. Judgement.
_STANDS_KMH: Final = 1.0
_STANDS_S: Final = 4.0
_LEAST_READINGS: Final = 4
_STEADY_MPS2: Final = 0.08 * G_MPS2
_PAUSE_S: Final = 30.0
# With how many standstills before it one is compared, and how far back.
_EARLIER: Final = 5
_BACK_S: Final = 1_800.0


@dataclass(frozen=True, slots=True)
class _Standstill:
    from_us: int
    until_us: int
    felt_mps2: Floats
    holds_gravity: bool


@dataclass(frozen=True)
class LooseMounting(Sweeps):
    """See the module. It looks every half hour: nothing is lost meanwhile."""

    name: str = "loose_mounting"
    version: int = 1
    purpose: str = "the device has come loose in the vehicle"
    kinds: tuple[str, ...] = ("loose_mounting",)
    lane: Lane = Lane.SWEEP
    before_s: float = _BACK_S + 300.0
    after_s: float = 120.0
    episode_gap_s: float = 6 * 3_600.0
    stale_after_s: float = 86_400.0
    columns: frozenset[str] = _SPEED_COLUMNS | _OVERTURN_COLUMNS
    streams: frozenset[str] = frozenset({topics.BURST, topics.ALARM})
    every_s: float = 1_800.0
    candidates: Candidates | None = Candidates.ACTIVE

    def examine(self, window: Window) -> list[Finding]:
        """A finding for every fall, and for every standstill at which the device lies otherwise than before."""
        return sorted(_falls(window) + _turns(window), key=lambda finding: finding.at_us)


DETECTOR = LooseMounting()


def _falls(window: Window) -> list[Finding]:
    found = []
    for burst in bursts_of(window):
        frame = frame_for(window, burst)
        pulse = strongest(burst, frame.up)
        if pulse is not None and is_drop(burst, pulse, frame):
            values: dict[str, Any] = {"max_turned_deg": None, "peak_g": round(pulse.peak_g, 1), "source": "fall"}
            at_us, until_us = pulse.peak_us, max(pulse.peak_us, burst.until_us)
            found.append(Finding("loose_mounting", 1, 0.8, at_us, at_us, until_us, values, (Reason("device_fell"),)))
    return found


def _turns(window: Window) -> list[Finding]:
    stands = _standstills(window)
    found = []
    for number, stand in enumerate(stands):
        earlier = [
            one
            for one in stands[:number]
            if one.holds_gravity == stand.holds_gravity and one.from_us >= stand.from_us - round(_BACK_S * S)
        ][-_EARLIER:]
        if not earlier:
            continue
        turned_deg = _between_deg(stand, np.median([one.felt_mps2 for one in earlier], axis=0))
        if turned_deg < _TURNED_DEG or _turned_over(window, earlier[-1].until_us, stand.from_us):
            continue
        sure = min(1.0, (turned_deg - _TURNED_DEG) / (_SURELY_DEG - _TURNED_DEG))
        values = {"max_turned_deg": round(turned_deg), "peak_g": None, "source": "rest"}
        reason = Reason("device_turned", {"wander_deg": round(turned_deg)})
        score = round(0.6 + 0.3 * sure, 3)
        found.append(
            Finding("loose_mounting", 1, score, stand.from_us, stand.from_us, stand.until_us, values, (reason,))
        )
    return found


def _turned_over(window: Window, from_us: int, until_us: int) -> bool:
    """Whether the vehicle turned over between two standstills, and the device with it."""
    part = window.between(from_us - round(_PAUSE_S * S), until_us + round(_PAUSE_S * S))
    return bool(overturns(part, bursts_of(part)))


def _between_deg(stand: _Standstill, usual_mps2: Floats) -> float:
    """Angle by which gravity lies otherwise, also where it was taken off as it lay when the device was fitted."""
    if stand.holds_gravity:
        sizes = float(np.linalg.norm(stand.felt_mps2) * np.linalg.norm(usual_mps2))
        return float(np.degrees(np.arccos(np.clip(stand.felt_mps2 @ usual_mps2 / max(sizes, 1e-9), -1.0, 1.0))))
    apart = float(np.linalg.norm(stand.felt_mps2 - usual_mps2))
    return float(np.degrees(2 * np.arcsin(min(1.0, apart / (2 * G_MPS2)))))


def _standstills(window: Window) -> list[_Standstill]:
    accel = np.column_stack([window.number(f"accel_{axis}_mps2") for axis in "xyz"])
    holds, times = window.flag("accel_gravity") == 1, window.device_time_us
    with np.errstate(invalid="ignore"):
        still = (believed_speed_kmh(window) < _STANDS_KMH) & np.asarray(np.isfinite(accel).all(axis=1))
    rows = np.flatnonzero(still)
    if not len(rows):
        return []
    cuts = np.flatnonzero((np.diff(rows) > 1) | (np.diff(times[rows]) > _PAUSE_S * S)) + 1
    found = []
    for run in np.split(rows, cuts):
        # The first and last reading may still be rolling.
        inner = run[1:-1]
        if len(inner) < _LEAST_READINGS or times[inner[-1]] - times[inner[0]] < (_STANDS_S - 1) * S:
            continue
        part = accel[inner]
        felt = np.median(part, axis=0)
        if np.median(np.linalg.norm(part - felt, axis=1)) <= _STEADY_MPS2:
            found.append(_Standstill(int(times[inner[0]]), int(times[inner[-1]]), felt, bool(holds[inner[0]])))
    return found
