"""The store as a source of windows: see Source."""

from collections.abc import Collection, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from fleet_core import sql
from fleet_core.columns import COLUMNS, Kind
from fleet_core.db import Connection
from fleet_core.readings import Readings, concatenate
from incidents.detector import Finding, Reason
from incidents.fences import FenceSet
from incidents.hours import FACTS
from incidents.source import Detection, Span
from incidents.surroundings import Surroundings
from incidents.window import NO_HOURS, Event, Hours, S, Vehicle, Window

_SQL: Final = sql.load("incidents", "stored.sql")
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_PG_EPOCH_US: Final = 946_684_800 * S

_PACKED: Final = [column for column in COLUMNS if column.kind is not Kind.TEXT]
# array_send of one dimension: dimensions, has-null flag, element type, length, lower bound; then each element with its
# length in front (PostgreSQL source, array_send).
_ROW: Final = np.dtype([("head", ">i4", 5), ("items", [("length", ">i4"), ("value", ">f8")], len(_PACKED))])

_NONE: Final = np.empty(0, dtype=np.int64)
_NO_READINGS: Final = (_NONE, _NONE, _NONE, np.empty((0, len(_PACKED))), None)

_decode: Final = msgspec.json.Decoder().decode


def instant(microseconds: int) -> datetime:
    """UTC datetime of microseconds since the epoch."""
    return _EPOCH + timedelta(microseconds=microseconds)


class Stored:
    """Source on one connection, within its caller's transaction.

    `known_until_us`: what is known until when, for sweeps by the clock; None takes each vehicle's newest reading.
    """

    def __init__(
        self,
        connection: Connection,
        surroundings: Surroundings,
        *,
        with_hours: bool = False,
        known_until_us: int | None = None,
    ) -> None:
        self._connection = connection
        self._surroundings = surroundings
        self._with_hours = with_hours
        self._known_until_us = known_until_us

    @property
    def fences(self) -> FenceSet:
        """See Source."""
        return self._surroundings.fences

    def known(self, vehicle_ids: Collection[str]) -> Mapping[str, Vehicle]:
        """See Source."""
        self._surroundings.meet(self._connection, vehicle_ids)
        return {vehicle_id: self._surroundings.vehicle(vehicle_id) for vehicle_id in vehicle_ids}

    def around(self, spans: Sequence[Span], columns: Collection[str], back: int) -> Readings:
        """See Source."""
        if not spans:
            return Readings.empty()
        rows = self._connection.execute(_SQL["widen_spans"], {**_parameters(spans), "back": back})
        wide = [Span(span.vehicle_id, low, high) for span, (low, high) in zip(spans, rows, strict=True)]
        parts = []
        for span, (times, seq, received, values, _) in zip(wide, self._readings_in(wide), strict=True):
            if len(times):
                number = np.zeros(len(times), dtype=np.int64)
                held = _columns(values, columns)
                parts.append(Readings([span.vehicle_id], number, number, times, seq, received, held))
        return concatenate(parts).in_key_order()[0] if parts else Readings.empty()

    def windows(self, spans: Sequence[Span], columns: Collection[str], streams: Collection[str]) -> list[Window]:
        """See Source."""
        if not spans:
            return []
        self._surroundings.meet(self._connection, {span.vehicle_id for span in spans})
        events = self._events_in(spans, streams)
        hours = self._hours_in(spans) if self._with_hours else [NO_HOURS] * len(spans)
        readings = self._readings_in(spans) if columns else [_NO_READINGS] * len(spans)
        return [
            Window(
                vehicle=self._surroundings.vehicle(span.vehicle_id),
                from_us=span.from_us,
                until_us=span.until_us,
                known_until_us=(newest_us or span.until_us) if self._known_until_us is None else self._known_until_us,
                device_time_us=times,
                seq=seq,
                received_us=received,
                columns=_columns(values, columns),
                events=happened,
                hours=facts,
                fences=self._surroundings.fences,
            )
            for span, (times, seq, received, values, newest_us), happened, facts in zip(
                spans, readings, events, hours, strict=True
            )
        ]

    def detections(self, spans: Sequence[Span]) -> list[Detection]:
        """See Source."""
        if not spans:
            return []
        rows = self._connection.execute(_SQL["detections_near"], _parameters(spans))
        return [detection_of(row) for row in rows]

    def _readings_in(self, spans: Sequence[Span]) -> list[tuple[Any, ...]]:
        found = []
        cursor = self._connection.cursor(binary=True)
        for _, count, times, seq, received, matrix, newest_us in cursor.execute(
            _SQL["readings_in"], _parameters(spans)
        ):
            values = np.frombuffer(matrix, dtype=_ROW, count=count)["items"]["value"] if count else np.empty(
                (0, len(_PACKED))
            )  # fmt: skip
            found.append(
                (
                    np.frombuffer(times, dtype=">i8").astype(np.int64) + _PG_EPOCH_US,
                    np.frombuffer(seq, dtype=">i8").astype(np.int64),
                    np.frombuffer(received, dtype=">i8").astype(np.int64) + _PG_EPOCH_US,
                    values,
                    newest_us,
                )
            )
        return found

    def _events_in(self, spans: Sequence[Span], streams: Collection[str]) -> list[tuple[Event, ...]]:
        found: list[list[Event]] = [[] for _ in spans]
        if streams:
            parameters = {**_parameters(spans), "streams": sorted(streams)}
            rows = self._connection.execute(_SQL["events_in"], parameters)
            for number, stream, occurred_us, received_us, seq, kind, body, clock_valid in rows:
                found[number - 1].append(Event(stream, occurred_us, received_us, seq, kind, _decode(body), clock_valid))
        return [tuple(events) for events in found]

    def _hours_in(self, spans: Sequence[Span]) -> list[Hours]:
        found: list[list[tuple[int, dict[str, float]]]] = [[] for _ in spans]
        for number, hour_us, facts in self._connection.execute(_SQL["hours_in"], _parameters(spans)):
            found[number - 1].append((hour_us, _decode(facts)))
        return [
            Hours(
                np.array([hour_us for hour_us, _ in rows], dtype=np.int64),
                {name: np.array([facts.get(name, np.nan) for _, facts in rows], dtype=np.float64) for name in FACTS},
            )
            for rows in found
        ]


def detection_of(row: Sequence[Any]) -> Detection:
    """A detection from a row of `detections_near`."""
    (detection_id, vehicle_id, detector, version, kind, subject, level, score, at_us, start_us, end_us, measured,
     reasons, revisit_us) = row  # fmt: skip
    finding = Finding(
        kind, level, score, at_us, start_us, end_us, _decode(measured),
        tuple(Reason(item["code"], item.get("values", {})) for item in _decode(reasons)), revisit_us, subject,
    )  # fmt: skip
    return Detection(detection_id, vehicle_id, detector, version, finding)


def _parameters(spans: Sequence[Span]) -> dict[str, Any]:
    return {
        "vehicle_ids": [span.vehicle_id for span in spans],
        "span_from": [instant(span.from_us) for span in spans],
        "span_until": [instant(span.until_us) for span in spans],
    }


def _columns(values: NDArray[Any], wanted: Collection[str]) -> dict[str, NDArray[Any]]:
    """Columns that hold anything, as detectors take them."""
    held: dict[str, NDArray[Any]] = {}
    for number, column in enumerate(_PACKED):
        if column.name in wanted:
            packed = values[:, number].astype(np.float64)
            if column.kind is Kind.FLAG:
                if (packed != -1.0).any():
                    held[column.name] = packed.astype(np.int8)
            elif not np.isnan(packed).all():
                held[column.name] = packed
    return held
