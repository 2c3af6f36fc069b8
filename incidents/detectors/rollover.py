"""Rollover: a vehicle turned over by more than 60 degrees, by its gyroscope, by gravity, or by both at rest."""

from dataclasses import dataclass
from typing import Any

from fleet_core import topics
from incidents.detector import Candidates, Finding, Lane, Reason
from incidents.detectors import _overturn
from incidents.detectors._around import around
from incidents.detectors._burst import bursts_of
from incidents.detectors._overturn import COLUMNS, Overturn, overturns
from incidents.rows import Rows
from incidents.window import Bools, Event, Window


@dataclass(frozen=True)
class Rollover:
    """See the module. Its spans are those of crash."""

    name: str = "rollover"
    version: int = 2
    purpose: str = "a vehicle turned over"
    kinds: tuple[str, ...] = ("rollover",)
    lane: Lane = Lane.STREAM
    before_s: float = 130.0
    after_s: float = 75.0
    episode_gap_s: float = 60.0
    stale_after_s: float = 86_400.0
    columns: frozenset[str] = COLUMNS
    streams: frozenset[str] = frozenset({topics.BURST, topics.ALARM})
    every_s: float = 0.0
    candidates: Candidates | None = None

    def wants(self, rows: Rows) -> Bools:
        """Readings that turn, lean or swing further than vehicles on their wheels do."""
        return _overturn.wanted(rows)

    def wants_event(self, event: Event) -> bool:
        """Every burst."""
        return event.stream == topics.BURST

    def examine(self, window: Window) -> list[Finding]:
        """A finding for everything that shows it."""
        return [_found(window, turn) for turn in overturns(window, bursts_of(window))]


def _found(window: Window, turn: Overturn) -> Finding:
    near = around(window, turn.at_us)
    told = [Reason("turned_over", {"turned_deg": round(turn.turned_deg)})]
    if turn.rate_dps is not None:
        told.append(Reason("spun", {"rotation_dps": round(turn.rate_dps)}))
    if near.stopped_after_s is not None:
        told.append(Reason("stopped_after", {"stopped_after_s": round(near.stopped_after_s)}))
    values: dict[str, Any] = {
        "source": turn.source,
        "max_turned_deg": round(turn.turned_deg),
        "max_rotation_dps": None if turn.rate_dps is None else round(turn.rate_dps),
        "speed_before_kmh": None if near.speed_before_kmh is None else round(near.speed_before_kmh, 1),
        "stopped_after_s": None if near.stopped_after_s is None else round(near.stopped_after_s, 1),
    }
    # One reading may be a fault of the sensor, and a parked vehicle's device may be in somebody's hands: urgent, and an
    # emergency as soon as the next reading says the same.
    level, score = (3, 0.9) if turn.confirmed else (2, 0.5)
    if near.drives_on:
        score -= 0.2
    from_us, until_us = min(turn.from_us, turn.at_us), max(turn.until_us, turn.at_us)
    return Finding("rollover", level, score, turn.at_us, from_us, until_us, values, tuple(told))


DETECTOR = Rollover()
