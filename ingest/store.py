"""The first stage of the pipeline: what was received becomes rows, each once, with its proof, in the caller's
transaction."""

import hashlib
from typing import Final

import numpy as np
import psycopg

from fleet_core import message_log, topics
from fleet_core.db import Connection
from fleet_core.device_access import queries as access
from fleet_core.readings import Readings
from fleet_core.settings import Settings
from ingest import queries
from ingest.batch import Batch
from ingest.message import Message, Refusal

# A reading that arrives more than this after its own time is counted as late.
LATE_AFTER_US: Final = 60 * 1_000_000

# After a batch with duplicates, this many batches without any go through staging before COPY is tried directly again.
_CALM_BATCHES: Final = 8


class RefusedVehiclesError(Exception):
    """Vehicles of the batch whose messages are not taken, each with the reason."""

    def __init__(self, refusals: dict[str, Refusal]) -> None:
        super().__init__("; ".join(refusal.sentence for refusal in list(refusals.values())[:5]))
        self.refusals = refusals


class Store:
    """Writes a batch. What it remembers between batches is only a cache of the database, forgotten on any failure."""

    name = "store"

    def __init__(self, settings: Settings) -> None:
        self._quarantine_unknown = settings.unknown_vehicles == "quarantine"
        self._refuse_revoked = settings.mqtt_device_auth == "on"
        self._known: set[str] = set()
        self._heads: dict[str, bytes] = {}
        self._batches_to_stage = 0

    def forget(self) -> None:
        """Drop the caches: the transaction they were taken from did not commit, or the lease changed."""
        self._known.clear()
        self._heads.clear()

    def apply(self, connection: Connection, batch: Batch) -> None:
        """Store the batch; leave in it only what is fresh.

        Raises RefusedVehiclesError, queries.ChainForkedError, psycopg.errors.UniqueViolation (the batch holds
        duplicates: stage it), or what the database says of a row it refuses.
        """
        self.write_rows(connection, batch)
        self._append_to_log(connection, batch)
        self._keep_dead_letters(connection, batch)
        if len(batch.readings) or batch.events or batch.statuses:
            queries.ring_door_bell(connection, batch.urgent)

    def write_rows(self, connection: Connection, batch: Batch) -> None:
        """Only the rows that come from messages: also used to find the message whose row the database refuses."""
        self._meet_vehicles(connection, batch.vehicle_ids)
        readings, doubled = batch.readings.in_key_order()
        if len(readings):
            readings, stored_before = self._keep_fresh(connection, readings)
            doubled += stored_before
            _move_live_state(connection, readings)
        events = batch.events
        if events:
            events = queries.keep_fresh_events(connection, events)
            doubled += len(batch.events) - len(events)
        for status in batch.statuses:
            queries.move_device_status(connection, status)
        batch.readings, batch.events, batch.duplicates = readings, events, doubled
        batch.late = int(np.count_nonzero(readings.received_us - readings.device_time_us > LATE_AFTER_US))

    def expect_duplicates(self) -> None:
        """Stage the coming batches: plain COPY has just met a duplicate."""
        self._batches_to_stage = _CALM_BATCHES

    def _keep_fresh(self, connection: Connection, readings: Readings) -> tuple[Readings, int]:
        if self._batches_to_stage == 0:
            queries.copy_readings(connection, readings)
            return readings, 0
        fresh = queries.keep_fresh(connection, readings)
        duplicates = len(readings) - len(fresh)
        self._batches_to_stage = _CALM_BATCHES if duplicates else self._batches_to_stage - 1
        return (readings.take(fresh) if duplicates else readings), duplicates

    def _meet_vehicles(self, connection: Connection, vehicle_ids: set[str]) -> None:
        if self._refuse_revoked and vehicle_ids:
            # Asked of every batch, not remembered: a revoked device is to be heard no more, at once.
            cut_off = access.cut_off_vehicles(connection, sorted(vehicle_ids))
            if cut_off:
                raise RefusedVehiclesError({vehicle_id: _revoked(vehicle_id) for vehicle_id in cut_off})
        unmet = vehicle_ids - self._known
        if not unmet:
            return
        unknown = unmet - queries.known_vehicles(connection, sorted(unmet))
        if unknown:
            if self._quarantine_unknown:
                raise RefusedVehiclesError({vehicle_id: _unknown(vehicle_id) for vehicle_id in unknown})
            queries.register_vehicles(connection, sorted(unknown))
        self._known |= unmet

    def _append_to_log(self, connection: Connection, batch: Batch) -> None:
        lanes = {message.session for message in batch.messages}
        unread = lanes - self._heads.keys()
        if unread:
            found = queries.heads(connection, sorted(unread))
            self._heads.update({lane: found.get(lane, message_log.EMPTY_HASH) for lane in unread})
        row_hash = queries.append_to_log(
            connection,
            batch.messages,
            {lane: self._heads[lane] for lane in lanes},
            batch.merkle_root,
            batch.log_blob,
        )
        self._heads.update(dict.fromkeys(lanes, row_hash))

    def _keep_dead_letters(self, connection: Connection, batch: Batch) -> None:
        letters: dict[bytes, tuple[Message, Refusal, str | None, bytes]] = {}
        for index, refusal in sorted(batch.refused.items()):
            message = batch.messages[index]
            digest = hashlib.sha256(message.topic.encode(errors="surrogatepass") + b"\x00" + message.payload).digest()
            letters.setdefault(digest, (message, refusal, vehicle_of(message.topic), digest))
        if letters:
            queries.keep_dead_letters(connection, list(letters.values()))


def _unknown(vehicle_id: str) -> Refusal:
    return Refusal("unknown_vehicle", f"vehicle {vehicle_id} does not exist")


def _revoked(vehicle_id: str) -> Refusal:
    return Refusal("device_revoked", f"every device of vehicle {vehicle_id} was revoked")


def _move_live_state(connection: Connection, readings: Readings) -> None:
    """`readings` are in key order, so the last row of a vehicle is its newest."""
    if not len(readings):
        return
    newest = _last_of_each(readings.vehicle_index)
    fixes = np.flatnonzero(readings.fix_mask())
    newest_fix = fixes[_last_of_each(readings.vehicle_index[fixes])]
    if len(newest_fix):
        queries.move_latest_positions(connection, readings, newest_fix)
    without_fix = np.setdiff1d(newest, newest_fix)
    if len(without_fix):
        queries.touch_without_fix(connection, readings, without_fix)


def _last_of_each(sorted_groups: np.ndarray[tuple[int], np.dtype[np.int64]]) -> queries.Rows:
    if not len(sorted_groups):
        return np.empty(0, dtype=np.intp)
    return np.flatnonzero(np.append(sorted_groups[1:] != sorted_groups[:-1], True))


def vehicle_of(topic: str) -> str | None:
    """The vehicle a topic names, None when it is none of ours."""
    try:
        return topics.parse_cached(topic).vehicle_id
    except topics.TopicError:
        return None


# The database refuses a row for what it holds: the row is poison. Anything else is the database's own trouble.
POISON: Final = (psycopg.DataError, psycopg.IntegrityError, psycopg.errors.RaiseException)
