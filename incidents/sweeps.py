"""What the incidents worker looks at by the clock: slow, fleet-wide and silence detectors, and what waits for time.

Each method is one tick of a job: bounded, in its caller's transaction, without a commit. It says whether there is more
to do at once.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

import msgspec
import numpy as np

from fleet_core import sql
from fleet_core.columns import COLUMNS, Kind
from fleet_core.db import Connection
from incidents import mountings, timeline
from incidents.detector import Candidates, Detector, Lane
from incidents.examine import Verdict, sweep
from incidents.hours import HOUR_US, facts_of
from incidents.intake import Intake, Response
from incidents.kept import keep
from incidents.source import Span
from incidents.stored import Stored
from incidents.surroundings import Surroundings
from incidents.window import S

_SQL: Final = sql.load("incidents", "sweeps.sql")
_encode: Final = msgspec.json.Encoder().encode

# Of one tick: bounds its transaction.
MAX_HOURS: Final = 500
MAX_LATE_SPANS: Final = 100
MAX_REVISITS: Final = 200
# Vehicles whose windows are read at once.
_AT_ONCE: Final = 50
# How far back the first look of a detector goes.
_FIRST_LOOK: Final = timedelta(hours=1)

_CANDIDATES: Final = {
    Candidates.ACTIVE: "candidates_active",
    Candidates.MOVING: "candidates_moving",
    Candidates.LONG_MOVING: "candidates_long_moving",
    Candidates.SILENT: "candidates_silent",
    Candidates.HOURLY: "candidates_hourly",
}
_ALL_COLUMNS: Final = frozenset(column.name for column in COLUMNS if column.kind is not Kind.TEXT)


@dataclass
class Sweeper:
    """The jobs of detection that run by the clock. `response` hears of incidents that they open or change."""

    detectors: Mapping[str, Detector]
    response: Response

    def __post_init__(self) -> None:
        self._surroundings = Surroundings()
        self._intake = Intake(self.response)

    def sweeping(self) -> list[Detector]:
        """Detectors that look by the clock."""
        return [one for one in self.detectors.values() if one.lane is Lane.SWEEP]

    def compute_hours(self, connection: Connection, now: datetime) -> bool:
        """Facts of hours that are over, and how devices sit that were driven in them."""
        due = connection.execute(_SQL["hours_due"], {"now": now, "max_rows": MAX_HOURS}).fetchall()
        if not due:
            return False
        for start in range(0, len(due), _AT_ONCE):
            part = due[start : start + _AT_ONCE]
            spans = [Span(vehicle_id, _us(hour), _us(hour) + HOUR_US - 1) for vehicle_id, hour in part]
            windows = self._source(connection, now).windows(spans, _ALL_COLUMNS, ())
            facts = [
                {name: value for name, value in facts_of(window).items() if np.isfinite(value)} for window in windows
            ]
            hours = {"vehicle_ids": [row[0] for row in part], "hours": [row[1] for row in part]}
            told = [_encode(one).decode() for one in facts]
            connection.execute(_SQL["keep_hours"], {**hours, "facts": told, "now": now})
            connection.execute(_SQL["hours_computed"], hours)
            mountings.keep(connection, windows)
        return len(due) == MAX_HOURS

    def look(self, connection: Connection, detector: Detector, now: datetime) -> bool:
        """One look of a sweeping detector, when it is due, at all its candidates."""
        row = connection.execute(_SQL["swept_until"], {"detector": detector.name}).fetchone()
        since: datetime = row[0] if row else now - _FIRST_LOOK
        if row is not None and (now - since).total_seconds() < detector.every_s:
            return False
        assert detector.candidates is not None
        block = _SQL[_CANDIDATES[detector.candidates]]
        vehicle_ids = [found[0] for found in connection.execute(block, {"since": since, "now": now})]
        now_us = _us(now)
        begin_us = min(_us(since), now_us - round(detector.every_s * S))
        if detector.candidates is Candidates.HOURLY:
            # What became known now may be about any hour of the last day.
            begin_us -= 24 * HOUR_US
        self._examine(connection, detector, [Span(one, begin_us, now_us) for one in vehicle_ids], now)
        connection.execute(_SQL["note_swept"], {"detector": detector.name, "now": now})
        return False

    def look_at_late(self, connection: Connection, now: datetime) -> bool:
        """Spans that late readings touched, with every sweeping detector that does not live on hours."""
        due = connection.execute(_SQL["late_spans"], {"max_rows": MAX_LATE_SPANS}).fetchall()
        if not due:
            return False
        spans = [Span(vehicle_id, from_us, until_us) for _, vehicle_id, from_us, until_us in due]
        for detector in self.sweeping():
            if detector.candidates is not Candidates.HOURLY:
                self._examine(connection, detector, spans, now)
        connection.execute(_SQL["late_spans_done"], {"due_ids": [row[0] for row in due]})
        return len(due) == MAX_LATE_SPANS

    def revisit(self, connection: Connection, now: datetime) -> bool:
        """Detections that wait for silence."""
        due = connection.execute(_SQL["revisits_due"], {"now": now, "max_rows": MAX_REVISITS}).fetchall()
        by_detector: dict[str, list[Span]] = {}
        for _, name, vehicle_id, from_us, until_us in due:
            if name in self.detectors:
                by_detector.setdefault(name, []).append(Span(vehicle_id, from_us, until_us))
        for name, spans in by_detector.items():
            self._examine(connection, self.detectors[name], spans, now)
        if due:
            connection.execute(_SQL["revisited"], {"detection_ids": [row[0] for row in due], "now": now})
        return len(due) == MAX_REVISITS

    def lower(self, connection: Connection, now: datetime) -> bool:
        """Lower incidents whose evidence has supported only less for a while."""
        if self._intake.lower(connection, now):
            timeline.ring(connection)
        return False

    def _source(self, connection: Connection, now: datetime) -> Stored:
        self._surroundings.look(connection)
        return Stored(connection, self._surroundings, with_hours=True, known_until_us=_us(now))

    def _examine(self, connection: Connection, detector: Detector, spans: Sequence[Span], now: datetime) -> None:
        source = self._source(connection, now)
        for start in range(0, len(spans), _AT_ONCE):
            verdict: Verdict = sweep(source, detector, spans[start : start + _AT_ONCE])
            if not verdict.changes and not verdict.faults:
                continue
            kept = keep(connection, verdict, self.detectors, now)
            if self._intake.detections(connection, kept, now).anything:
                timeline.ring(connection)


def _us(at: datetime) -> int:
    return round(at.timestamp() * S)
