"""Detectors simple enough to know what they must find, for tests of the judge and the store."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from fleet_core import topics
from fleet_core.readings import Readings
from incidents.detector import Candidates, Finding, Lane, ReadsNoEvents, Reason, rising
from incidents.rows import Rows
from incidents.window import Bools, Event, S, Window


@dataclass(frozen=True)
class TooFast(ReadsNoEvents):
    """An episode for every run of readings above 100 km/h: a condition that goes on."""

    name: str = "too_fast"
    version: int = 1
    purpose: str = "test"
    kinds: tuple[str, ...] = ("speeding",)
    lane: Lane = Lane.STREAM
    before_s: float = 10.0
    after_s: float = 10.0
    episode_gap_s: float = 5.0
    stale_after_s: float = 3600.0
    columns: frozenset[str] = frozenset({"speed_kmh"})
    streams: frozenset[str] = frozenset()
    every_s: float = 0.0
    candidates: Candidates | None = None

    def wants(self, rows: Rows) -> Bools:
        if not rows.has("speed_kmh"):
            return rows.none
        return rising(rows.number("speed_kmh") > 100.0, rows)

    def examine(self, window: Window) -> list[Finding]:
        speed = window.number("speed_kmh")
        fast = np.flatnonzero(speed > 100.0)
        groups: list[list[int]] = []
        for row in fast.tolist():
            near = bool(groups) and window.device_time_us[row] - window.device_time_us[groups[-1][-1]] <= 5 * S
            if near:
                groups[-1].append(row)
            else:
                groups.append([row])
        return [
            Finding(
                "speeding", 1, 0.9, int(window.device_time_us[rows[int(np.argmax(speed[rows]))]]),
                int(window.device_time_us[rows[0]]), int(window.device_time_us[rows[-1]]),
                {"peak_kmh": float(speed[rows].max())}, (Reason("toy"),),
            )
            for rows in groups
        ]  # fmt: skip


@dataclass(frozen=True)
class Knock:
    """Speed falls by 50 km/h in a second; level 2 when the vehicle then stands for ten, which is known only later."""

    name: str = "knock"
    version: int = 3
    purpose: str = "test"
    kinds: tuple[str, ...] = ("crash",)
    lane: Lane = Lane.STREAM
    before_s: float = 5.0
    after_s: float = 15.0
    episode_gap_s: float = 5.0
    stale_after_s: float = 86_400.0
    columns: frozenset[str] = frozenset({"speed_kmh"})
    streams: frozenset[str] = frozenset({topics.ALARM})
    every_s: float = 0.0
    candidates: Candidates | None = None

    def wants(self, rows: Rows) -> Bools:
        if not rows.has("speed_kmh"):
            return rows.none
        with np.errstate(invalid="ignore"):
            mask: Bools = (rows.before("speed_kmh") - rows.number("speed_kmh") >= 50.0) & (rows.step_s() <= 1.5)
        return mask

    def wants_event(self, event: Event) -> bool:
        return event.kind == "crash"

    def examine(self, window: Window) -> list[Finding]:
        found = [self._finding(window, event.occurred_us, "alarm") for event in window.events if event.kind == "crash"]
        times, speed = window.device_time_us, window.number("speed_kmh")
        for row in range(1, len(window)):
            if times[row] - times[row - 1] <= 1.5 * S and speed[row - 1] - speed[row] >= 50.0:
                found.append(self._finding(window, int(times[row]), "speed"))
        return found

    @staticmethod
    def _finding(window: Window, at_us: int, source: str) -> Finding:
        after = (window.device_time_us > at_us) & (window.device_time_us <= at_us + 12 * S)
        stands = int(after.sum()) >= 10 and bool((window.number("speed_kmh")[after] < 3.0).all())
        return Finding("crash", 2 if stands else 1, 0.8, at_us, at_us, at_us, {"source": source, "stopped": stands})


def readings_of(vehicle_id: str, t_s: Sequence[float], speed_kmh: Sequence[float], received_us: int) -> Readings:
    """Readings of one vehicle with a speed at each of some seconds, and a place that moves east."""
    times = np.array([round(second * S) for second in t_s], dtype=np.int64)
    count = len(times)
    return Readings(
        [vehicle_id],
        np.zeros(count, dtype=np.int64),
        np.arange(count, dtype=np.int64),
        times,
        times // S,
        np.full(count, received_us, dtype=np.int64),
        {
            "speed_kmh": np.array(speed_kmh, dtype=np.float64),
            "lat_deg": np.full(count, 31.0),
            "lon_deg": 121.0 + np.arange(count) * 1e-4,
            "ignition": np.ones(count, dtype=np.int8),
        },
    )
