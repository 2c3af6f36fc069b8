"""The statements of ingest as typed functions. Connection first, never a commit."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import numpy as np
import psycopg
from numpy.typing import NDArray
from psycopg import sql as compose

from fleet_core import message_log, sql
from fleet_core.db import Connection
from fleet_core.device_events import DeviceEvent, DeviceStatus
from fleet_core.message_log import LoggedMessage
from fleet_core.readings import Readings
from ingest import binary_arrays as arrays
from ingest import pgcopy
from ingest.message import Message, Refusal

_SQL: Final = sql.load("ingest")
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)

Rows = NDArray[np.intp]


class ChainForkedError(RuntimeError):
    """A lane's head is not where this writer believes it: somebody else wrote the lane. The lease is lost."""


def prepare_session(connection: Connection) -> None:
    """Make the session's staging table and teach it binary arrays. To be committed by the caller."""
    connection.adapters.register_dumper(arrays.BinaryArray, arrays.BinaryArrayDumper)
    connection.execute(_SQL["create_staging"])


def instant(microseconds: int) -> datetime:
    """UTC datetime of microseconds since the epoch."""
    return _EPOCH + timedelta(microseconds=microseconds)


def copy_readings(connection: Connection, readings: Readings) -> None:
    """Store readings that are believed new. Raises psycopg.errors.UniqueViolation when one is not."""
    _copy(connection, "readings", readings)


def keep_fresh(connection: Connection, readings: Readings) -> Rows:
    """Store the readings that are new, by way of the staging table. Returns their rows, ascending."""
    _copy(connection, "staged_readings", readings)
    stored = {tuple(row) for row in connection.execute(_SQL["keep_fresh"])}
    if len(stored) == len(readings):
        return np.arange(len(readings), dtype=np.intp)
    keys = zip(
        (readings.vehicles[index] for index in readings.vehicle_index.tolist()),
        readings.device_time_us.tolist(),
        readings.seq.tolist(),
        strict=True,
    )
    return np.flatnonzero(np.fromiter((key in stored for key in keys), dtype=np.bool_, count=len(readings)))


def _copy(connection: Connection, table: str, readings: Readings) -> None:
    statement = compose.SQL("COPY {} ({}) FROM STDIN BINARY").format(
        compose.Identifier(table),
        compose.SQL(", ").join(map(compose.Identifier, pgcopy.columns_of(readings))),
    )
    with connection.cursor().copy(statement) as copy:
        for chunk in pgcopy.chunks(readings):
            copy.write(chunk)


def known_vehicles(connection: Connection, vehicle_ids: Sequence[str]) -> set[str]:
    """Which of the vehicles exist."""
    found = connection.execute(_SQL["known_vehicles"], {"vehicle_ids": list(vehicle_ids)})
    return {row[0] for row in found}


def register_vehicles(connection: Connection, vehicle_ids: Sequence[str]) -> None:
    """Register vehicles on first sight."""
    connection.execute(_SQL["register_vehicles"], {"vehicle_ids": sorted(vehicle_ids)})


def move_latest_positions(connection: Connection, readings: Readings, rows: Rows) -> None:
    """Move live state forward by the newest fix of each vehicle. `rows`: one row a vehicle."""
    newest = readings.take(rows)
    time, received = arrays.times(newest.device_time_us), arrays.times(newest.received_us)
    numbers = ("lat_deg", "lon_deg", "accuracy_m", "speed_kmh", "heading_deg", "odometer_km", "fuel_pct", "soc_pct")
    parameters: dict[str, Any] = {name: arrays.numbers(newest.number(name)) for name in numbers}
    parameters |= {
        "vehicle_id": arrays.texts([newest.vehicles[index] for index in newest.vehicle_index.tolist()]),
        "last_reading_at": time,
        "received_at": received,
        "device_time": time,
        "seq": arrays.integers(newest.seq),
        "ignition": arrays.flags(newest.flag("ignition")),
    }
    connection.execute(_SQL["move_latest_positions"], parameters)


def touch_without_fix(connection: Connection, readings: Readings, rows: Rows) -> None:
    """Note vehicles whose newest reading has no fix. `rows`: one row a vehicle."""
    newest = readings.take(rows)
    connection.execute(
        _SQL["touch_without_fix"],
        {
            "vehicle_id": [newest.vehicles[index] for index in newest.vehicle_index.tolist()],
            "last_reading_at": list(map(instant, newest.device_time_us.tolist())),
            "received_at": list(map(instant, newest.received_us.tolist())),
        },
    )


def keep_fresh_events(connection: Connection, events: Sequence[DeviceEvent]) -> list[DeviceEvent]:
    """Store the events that are new and return them, in order."""
    stored = set(
        connection.execute(
            _SQL["keep_fresh_events"],
            {
                "vehicle_id": [event.vehicle_id for event in events],
                "stream": [event.stream for event in events],
                "device_time": [instant(event.device_time_us) for event in events],
                "seq": [event.seq for event in events],
                "occurred_at": [instant(event.occurred_us) for event in events],
                "clock_valid": [event.clock_valid for event in events],
                "received_at": [instant(event.received_us) for event in events],
                "kind": [event.kind for event in events],
                "body": [event.body_json.decode() for event in events],
            },
        )
    )
    fresh = []
    for event in events:
        key = (event.vehicle_id, event.stream, event.device_time_us, event.seq)
        if key in stored:
            stored.discard(key)  # a double within the batch is not fresh twice
            fresh.append(event)
    return fresh


def move_device_status(connection: Connection, status: DeviceStatus) -> None:
    """Keep the newest status of a vehicle."""
    connection.execute(
        _SQL["move_device_status"],
        {
            "vehicle_id": status.vehicle_id,
            "online": status.online,
            "firmware": status.firmware,
            "boot": status.boot,
            "reported_at": None if status.reported_us is None else instant(status.reported_us),
            "received_at": instant(status.received_us),
            "body": status.body_json.decode(),
        },
    )


def keep_dead_letters(connection: Connection, letters: Sequence[tuple[Message, Refusal, str | None, bytes]]) -> None:
    """Keep refused messages: (message, why, vehicle if known, digest). Digests must differ within one call."""
    connection.execute(
        _SQL["keep_dead_letters"],
        {
            "received_at": [instant(message.received_us) for message, *_ in letters],
            # PostgreSQL text cannot hold NUL; the payload, which can, is kept byte for byte.
            "topic": [message.topic.replace("\x00", "\\0") for message, *_ in letters],
            "payload": [message.payload for message, *_ in letters],
            "reason_code": [refusal.code for _, refusal, *_ in letters],
            "reason": [refusal.sentence.replace("\x00", "\\0") for _, refusal, *_ in letters],
            "vehicle_id": [vehicle_id for *_, vehicle_id, _ in letters],
            "digest": [digest for *_, digest in letters],
        },
    )


def heads(connection: Connection, lanes: Sequence[str]) -> dict[str, bytes]:
    """Row hash of the newest log row of each lane that has one."""
    return {lane: bytes(row_hash) for lane, row_hash in connection.execute(_SQL["heads"], {"lanes": list(lanes)})}


def append_to_log(
    connection: Connection,
    messages: Sequence[Message],
    heads_before: dict[str, bytes],
    merkle_root: bytes,
    blob: bytes,
) -> bytes:
    """Append the batch's row, chained to `heads_before` (lane to hash of its previous row). Returns the row's hash.

    Raises ChainForkedError when a head has moved.
    """
    lanes = sorted(heads_before)
    previous = [heads_before[lane] for lane in lanes]
    row_hash = message_log.row_hash(merkle_root, len(messages), lanes, previous)
    received = [message.received_us for message in messages]
    moved = connection.execute(
        _SQL["append_to_log"],
        {
            "received_from": instant(min(received)),
            "received_to": instant(max(received)),
            "lanes": lanes,
            "previous_hashes": previous,
            "message_count": len(messages),
            "raw_bytes": sum(len(message.payload) for message in messages),
            "merkle_root": merkle_root,
            "row_hash": row_hash,
            "messages": psycopg.Binary(blob),
        },
    ).fetchone()
    if moved is None or moved[0] != len(lanes):
        raise ChainForkedError(f"another writer has appended to one of the lanes {', '.join(lanes)}")
    return row_hash


def ring_door_bell(connection: Connection, urgent: bool) -> None:
    """Wake the readers of live state; `a` when an alarm is among the news."""
    connection.execute(_SQL["ring_door_bell"], {"payload": "a" if urgent else ""})


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A message that was refused, whole, and why. Times in UTC."""

    id: int
    received_at: datetime
    topic: str
    payload: bytes
    reason_code: str
    reason: str
    vehicle_id: str | None
    times_received: int
    replayed_at: datetime | None


@dataclass(frozen=True, slots=True)
class WhichLetters:
    """Which dead letters are meant; None is no condition."""

    reason_code: str | None = None
    since: datetime | None = None
    ids: tuple[int, ...] | None = None
    only_unreplayed: bool = False


def dead_letters(
    connection: Connection, reason_code: str | None = None, since: datetime | None = None, max_rows: int = 1000
) -> list[DeadLetter]:
    """Dead letters, newest first."""
    parameters = {"reason_code": reason_code, "since": since, "max_rows": max_rows}
    return [DeadLetter(*row) for row in connection.execute(_SQL["dead_letters"], parameters)]


def dead_letters_to_replay(
    connection: Connection, which: WhichLetters, until: datetime, after_id: int, max_rows: int
) -> list[DeadLetter]:
    """The next page, oldest first, of letters received no later than `until`, after the id `after_id`."""
    parameters = {
        "reason_code": which.reason_code,
        "since": which.since,
        "ids": None if which.ids is None else list(which.ids),
        "only_unreplayed": which.only_unreplayed,
        "until": until,
        "after_id": after_id,
        "max_rows": max_rows,
    }
    return [DeadLetter(*row) for row in connection.execute(_SQL["dead_letters_to_replay"], parameters)]


def mark_replayed(connection: Connection, letter_ids: Sequence[int]) -> None:
    """Note that dead letters were sent again."""
    connection.execute(_SQL["mark_replayed"], {"ids": list(letter_ids)})


def logged_messages(connection: Connection, since: datetime, until: datetime) -> Iterator[LoggedMessage]:
    """Messages received from `since` on and before `until`, as received, read row by row."""
    span_us = [round((instant_ - _EPOCH) / timedelta(microseconds=1)) for instant_ in (since, until)]
    with connection.cursor(name="message_log", binary=True) as cursor:
        cursor.itersize = 50
        for (blob,) in cursor.execute(_SQL["logged_rows"], {"since": since, "until": until}):
            for message in message_log.unpack(blob):
                if span_us[0] <= message.received_us < span_us[1]:
                    yield message
