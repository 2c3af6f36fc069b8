"""The writing thread: one database connection that holds the leases and commits the batches, one after the other.

It hands everything back to the receiving thread as outcomes, so that the MQTT clients are touched by one thread only.
"""

import logging
import queue
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import psycopg

from fleet_core import db
from fleet_core.db import Connection
from fleet_core.settings import Settings
from ingest import database_checks, leases, queries
from ingest.batch import Batch
from ingest.pipeline import Pipeline

log = logging.getLogger("fleet.ingest")

_BACK_OFF_FIRST_SECONDS: Final = 0.2
_BACK_OFF_MOST_SECONDS: Final = 5.0
# A lease is looked after at least this many times within the time it lives in silence.
_BEATS_PER_LEASE: Final = 5


@dataclass(frozen=True, slots=True)
class Committed:
    """A batch is stored: its messages may be acknowledged."""

    batch: Batch
    seconds: float


@dataclass(frozen=True, slots=True)
class Taken:
    """Partitions whose lease was won, and which of their lanes have been written before."""

    partitions: frozenset[int]
    lanes_with_history: frozenset[str]


@dataclass(frozen=True, slots=True)
class RelayTaken:
    """The relay's lease was won."""


@dataclass(frozen=True, slots=True)
class GiveUp:
    """Partitions to leave to others: close their sessions, then answer with `Writer.let_go`."""

    partitions: frozenset[int]


@dataclass(frozen=True, slots=True)
class Lost:
    """The database connection is gone, and all leases and uncommitted batches with it."""

    reason: str


Outcome = Committed | Taken | RelayTaken | GiveUp | Lost


class Writer:
    """Owns the connection. `wake` is called, from this thread, whenever there is an outcome to read."""

    def __init__(self, settings: Settings, pipeline: Pipeline, wake: Callable[[], None]) -> None:
        self._settings = settings
        self._pipeline = pipeline
        self._wake = wake
        # One batch of each urgency may wait while one is being written: the bound of what is decoded ahead.
        self._urgent: queue.Queue[Batch] = queue.Queue(maxsize=1)
        self._ordinary: queue.Queue[Batch] = queue.Queue(maxsize=1)
        self._to_release: queue.Queue[frozenset[int]] = queue.Queue()
        self._something = threading.Event()
        self._stop = threading.Event()
        self._loss_is_known = threading.Event()
        self._back_off = _BACK_OFF_FIRST_SECONDS
        self.outcomes: queue.SimpleQueue[Outcome] = queue.SimpleQueue()
        self.busy = False
        self._thread = threading.Thread(target=self._run, name="writer", daemon=True)

    def start(self) -> None:
        """Begin connecting and writing."""
        self._thread.start()

    def stop(self) -> None:
        """Finish the batch in hand, release everything and end."""
        self._stop.set()
        self._something.set()
        self._thread.join(timeout=30)

    @property
    def alive(self) -> bool:
        """Whether the thread still runs."""
        return self._thread.is_alive()

    def room_for(self, urgent: bool) -> bool:
        """Whether a batch of that urgency can be handed over now."""
        return not (self._urgent if urgent else self._ordinary).full()

    @property
    def idle(self) -> bool:
        """Nothing being written and nothing waiting."""
        return not self.busy and self._urgent.empty() and self._ordinary.empty()

    def submit(self, batch: Batch, urgent: bool) -> None:
        """Hand over a batch. Raises queue.Full when there is no room: ask `room_for` first."""
        (self._urgent if urgent else self._ordinary).put_nowait(batch)
        self._something.set()

    def let_go(self, partitions: frozenset[int]) -> None:
        """Release leases once every batch handed over before is written."""
        self._to_release.put(partitions)
        self._something.set()

    def begin_again(self) -> None:
        """Answer to `Lost`: its batches are forgotten and no more of them will be handed over."""
        self._loss_is_known.set()

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                with self._connect() as connection:
                    self._serve(connection)
            except Exception as error:  # whatever it was, nothing was acknowledged: begin again from the broker's copy
                if isinstance(error, (psycopg.Error, queries.ChainForkedError, db.DatabaseUnusableError)):
                    log.warning("database: %s", " ".join(str(error).split()))
                else:
                    log.exception("a batch could not be written")
                self._drop_everything(str(error))
                self._stop.wait(self._back_off)
                self._back_off = min(self._back_off * 2, _BACK_OFF_MOST_SECONDS)

    def _connect(self) -> Connection:
        connection = db.connect(
            self._settings.database_url, "ingest", options=leases.session_options(self._settings.lease_seconds)
        )
        try:
            for finding in database_checks.of_database(connection):
                finding.report(log)
            queries.prepare_session(connection)
            connection.commit()
        except BaseException:
            connection.close()
            raise
        return connection

    def _serve(self, connection: Connection) -> None:
        held = leases.Leases(self._settings.partitions)
        held.announce(connection)
        beat = self._settings.lease_seconds / _BEATS_PER_LEASE
        next_beat = 0.0
        giving_up: frozenset[int] = frozenset()
        while not self._stop.is_set():
            now = time.monotonic()
            if now >= next_beat:
                next_beat = now + beat
                if held.end_frozen(connection, self._settings.lease_seconds):
                    log.warning("a worker stood still in the middle of a batch: its leases were ended")
                share = held.fair_share(connection)
                taken = held.take(connection, share)
                surplus = frozenset(held.surplus(share)) - giving_up
                relay = held.take_relay(connection)
                written = queries.heads(connection, [f"{kind}{number:02x}" for number in taken for kind in "ap"])
                connection.commit()
                if taken:
                    self._pipeline.forget()
                    self._tell(Taken(frozenset(taken), frozenset(written)))
                if surplus:
                    giving_up |= surplus
                    self._tell(GiveUp(surplus))
                if relay:
                    self._tell(RelayTaken())
            while not self._to_release.empty():
                partitions = self._to_release.get_nowait()
                # Batches handed over before hold messages of these partitions. Later ones do not, so a steady load
                # does not keep others waiting.
                for waiting in (self._urgent, self._ordinary):
                    if (batch := self._taken_from(waiting)) is not None:
                        self._write(connection, batch)
                held.release(connection, set(partitions))
                connection.commit()
                giving_up -= partitions
                # The next worker is given a beat to take what was released.
                next_beat = time.monotonic() + beat
            batch = self._next_batch()
            if batch is not None:
                self._write(connection, batch)
                continue
            self._something.wait(timeout=max(0.0, next_beat - time.monotonic()))
            self._something.clear()

    def _next_batch(self) -> Batch | None:
        return self._taken_from(self._urgent) or self._taken_from(self._ordinary)

    def _taken_from(self, waiting: queue.Queue[Batch]) -> Batch | None:
        self.busy = True
        try:
            return waiting.get_nowait()
        except queue.Empty:
            self.busy = False
            return None

    def _write(self, connection: Connection, batch: Batch) -> None:
        started = time.perf_counter()
        stored = self._pipeline.commit(connection, batch)
        self.busy = False
        self._back_off = _BACK_OFF_FIRST_SECONDS
        self._tell(Committed(stored, time.perf_counter() - started))

    def _drop_everything(self, reason: str) -> None:
        self._pipeline.forget()
        self._loss_is_known.clear()
        self._tell(Lost(reason))
        # Until the receiving thread knows, it may still hand over batches of leases that are gone: another worker
        # reads those partitions by now, and writing them would fork the message log.
        while not self._loss_is_known.wait(0.1) and not self._stop.is_set():
            pass
        for waiting in (self._urgent, self._ordinary):
            while not waiting.empty():
                waiting.get_nowait()
        while not self._to_release.empty():
            self._to_release.get_nowait()
        self.busy = False

    def _tell(self, outcome: Outcome) -> None:
        self.outcomes.put(outcome)
        self._wake()
