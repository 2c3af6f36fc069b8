"""Impacts: a vehicle that strikes or is struck, in traffic (crash) or where it was parked (parked_impact).

One detector for both, because one blow has one name and what gives it the name may come after the blow: an impact is
`parked_impact` when the ignition was off and nothing had moved for ten seconds, or, where nobody tells of the ignition,
when the vehicle had stood for a minute. Otherwise, and whenever the ignition was on, somebody is in it: `crash`. A
standing vehicle that is struck in traffic is a crash.

A burst alone, readings once a second alone, or an alarm of the device alone is enough.
"""

from dataclasses import dataclass

from fleet_core import topics
from incidents.detector import Candidates, Finding, Lane
from incidents.detectors import _jumps
from incidents.detectors._grade import graded
from incidents.detectors._hit import ALARM_KINDS
from incidents.detectors._impact import COLUMNS, candidates
from incidents.rows import Rows
from incidents.window import Bools, Event, Window


@dataclass(frozen=True)
class Crash:
    """See the module. It sees 110 s before an impact and 65 s after it, and some more for bursts that begin early."""

    name: str = "crash"
    version: int = 2
    purpose: str = "a vehicle struck or was struck, in traffic or parked"
    kinds: tuple[str, ...] = ("crash", "parked_impact")
    lane: Lane = Lane.STREAM
    before_s: float = 130.0
    after_s: float = 75.0
    # Secondary impacts and being pushed on belong to the first blow.
    episode_gap_s: float = 60.0
    # A person may be waiting in it: an impact of this day is told of, whenever it comes in.
    stale_after_s: float = 86_400.0
    columns: frozenset[str] = COLUMNS
    streams: frozenset[str] = frozenset({topics.BURST, topics.ALARM})
    every_s: float = 0.0
    candidates: Candidates | None = None

    def wants(self, rows: Rows) -> Bools:
        """Speed that jumped, and engines that were stopped."""
        return _jumps.wanted(rows)

    def wants_event(self, event: Event) -> bool:
        """Every burst, and alarms of crash and airbag."""
        return event.stream == topics.BURST or event.kind in ALARM_KINDS

    def examine(self, window: Window) -> list[Finding]:
        """A finding for every impact; those of one blow become one episode."""
        return [graded(window, candidate) for candidate in candidates(window)]


DETECTOR = Crash()
