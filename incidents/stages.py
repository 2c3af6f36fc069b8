"""The two stages that ingest runs for us, in the transaction that stores the readings: detect, then intake."""

import time
from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final, Protocol

import msgspec
import numpy as np

from fleet_core import clock, sql, topics
from fleet_core.db import Connection
from fleet_core.device_events import DeviceEvent
from fleet_core.readings import Readings
from incidents import detector, kinds, timeline
from incidents.detector import Detector, Lane
from incidents.fusion import Evidence
from incidents.hours import HOUR_US
from incidents.intake import Intake, Piece, Response
from incidents.judge import Judge
from incidents.kept import Kept, keep
from incidents.stored import Stored, instant
from incidents.surroundings import Surroundings
from incidents.window import Event

_SQL: Final = sql.load("incidents", "stored.sql")
_decode: Final = msgspec.json.Decoder().decode

# How long an edited vehicle or fence may go unnoticed.
_LOOK_EVERY_S: Final = 2.0
# Readings older than this on arrival make sweeping detectors look again at their span: the last sweep missed them.
_LATE_US: Final = 600 * 1_000_000
_MOST_MARKED_HOURS: Final = 200_000


class Batch(Protocol):
    """What the stages need of ingest's batch: the fresh readings, in key order, and the fresh events."""

    readings: Readings
    events: list[DeviceEvent]


class Detect:
    """Judges what is fresh. What it found is left for the next stage."""

    name = "detect"

    def __init__(self, detectors: dict[str, Detector] | None = None) -> None:
        self._detectors = detector.detectors() if detectors is None else detectors
        self._judge = Judge(self._detectors)
        self._surroundings = Surroundings()
        self._looked_at = float("-inf")
        self._marked_hours: set[tuple[str, int]] = set()
        self.kept: list[Kept] = []

    def apply(self, connection: Connection, batch: Batch) -> None:
        """Find, revise and withdraw detections."""
        self.kept = []
        if not len(batch.readings) and not batch.events:
            return
        if time.monotonic() >= self._looked_at + _LOOK_EVERY_S:
            self._surroundings.look(connection)
            self._looked_at = time.monotonic()
        source = Stored(connection, self._surroundings)
        verdict = self._judge.judge(source, batch.readings, events_of(batch.events))
        self.kept = keep(connection, verdict, self._detectors, clock.now())
        self._mark_for_sweeps(connection, batch.readings)

    def forget(self) -> None:
        """Drop every cache."""
        self._judge.forget()
        self._surroundings.forget()
        self._marked_hours.clear()
        self._looked_at = float("-inf")
        self.kept = []

    def takes(self, event: Event) -> bool:
        """Whether some detector judges the event."""
        return any(
            one.lane is Lane.STREAM and event.stream in one.streams and one.wants_event(event)
            for one in self._detectors.values()
        )

    def _mark_for_sweeps(self, connection: Connection, readings: Readings) -> None:
        """Leave word of hours whose facts are to be computed, and of late spans that were swept without these."""
        if not len(readings):
            return
        late = np.flatnonzero(readings.received_us - readings.device_time_us > _LATE_US)
        # A late reading may touch an hour that was computed since we marked it.
        touched = _hours_of(readings.take(late)) if len(late) else set()
        new = sorted((_hours_of(readings) - self._marked_hours) | touched)
        if new:
            connection.execute(
                _SQL["hours_touched"],
                {"vehicle_ids": [vehicle_id for vehicle_id, _ in new],
                 "hours": [instant(at * HOUR_US) for _, at in new]},
            )  # fmt: skip
            if len(self._marked_hours) > _MOST_MARKED_HOURS:
                self._marked_hours.clear()
            self._marked_hours.update(new)
        if len(late):
            self._sweep_later(connection, readings.take(late))

    @staticmethod
    def _sweep_later(connection: Connection, readings: Readings) -> None:
        index, times = readings.vehicle_index, readings.device_time_us
        first = np.flatnonzero(np.append(True, index[1:] != index[:-1]))
        last = np.append(first[1:], len(index)) - 1
        connection.execute(
            _SQL["sweep_later"],
            {"vehicle_ids": [readings.vehicles[at] for at in index[first].tolist()],
             "span_from": [instant(at) for at in times[first].tolist()],
             "span_until": [instant(at) for at in times[last].tolist()]},
        )  # fmt: skip


class TakeIn:
    """Makes incidents of what was detected and of the alarms that no detector judges."""

    name = "intake"

    def __init__(self, detect: Detect, response: Response) -> None:
        self._detect = detect
        self._intake = Intake(response)

    def apply(self, connection: Connection, batch: Batch) -> None:
        """Open, regrade and reopen incidents."""
        now = clock.now()
        changed = self._intake.detections(connection, self._detect.kept, now).anything
        alarms = [
            piece
            for event in batch.events
            if event.stream == topics.ALARM and (piece := self._piece_of(event, now)) is not None
        ]
        if alarms:
            changed = self._intake.pieces(connection, alarms, now).anything or changed
        if changed:
            timeline.ring(connection)

    def forget(self) -> None:
        """Nothing is remembered."""

    def _piece_of(self, event: DeviceEvent, now: datetime) -> Piece | None:
        if self._detect.takes(event_of(event)):
            return None
        kind, level, score = kinds.ALARMS.get(event.kind or "", (event.kind or "alarm", 1, 0.5))
        reference = f"{event.vehicle_id}/{event.device_time_us}/{event.seq}"
        evidence = Evidence(
            "alarm", reference, kind, level, score, event.occurred_us, event.occurred_us, _decode(event.body_json)
        )
        stale = (now - instant(event.occurred_us)).total_seconds() > kinds.STALE_ALARM_S
        return Piece(event.vehicle_id, evidence, stale=stale)


def _hours_of(readings: Readings) -> set[tuple[str, int]]:
    """Vehicles and hours (since the epoch) of readings in key order."""
    hour, index = readings.device_time_us // HOUR_US, readings.vehicle_index
    first = np.append(True, (index[1:] != index[:-1]) | (hour[1:] != hour[:-1]))
    return {
        (readings.vehicles[vehicle], at)
        for vehicle, at in zip(index[first].tolist(), hour[first].tolist(), strict=True)
    }


def event_of(event: DeviceEvent) -> Event:
    """A device event as detectors see it."""
    body: dict[str, Any] = _decode(event.body_json)
    return Event(event.stream, event.occurred_us, event.received_us, event.seq, event.kind, body, event.clock_valid)


def events_of(events: Sequence[DeviceEvent]) -> list[tuple[str, Event]]:
    """Vehicle and event of each that detectors may want."""
    wanted = (topics.ALARM, topics.BURST, topics.DIAGNOSTICS)
    return [(event.vehicle_id, event_of(event)) for event in events if event.stream in wanted]
