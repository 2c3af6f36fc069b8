"""The ingest process: sessions of the partitions it leases, one batch after the other, acknowledged after commit.

Two threads. This one receives, decodes and acknowledges; the writer commits. While the writer waits for the database,
the next batch is received and decoded. The only brake is not acknowledging: everything in between is bounded.
"""

import gc
import logging
import queue
import sys
import threading
import time
from typing import Final

import psycopg

from fleet_core import clock, db, topics
from fleet_core.settings import Settings
from ingest import broker_probe, database_checks, health
from ingest.batch import Batch, prepare
from ingest.message import Message
from ingest.metrics import Metrics
from ingest.pipeline import Pipeline
from ingest.relay import Relay
from ingest.sessions import Sessions
from ingest.source import Session
from ingest.writer import Committed, GiveUp, Lost, RelayTaken, Taken, Writer

log = logging.getLogger("fleet.ingest")

# Bytes of payload in one batch: bounds the memory of decoding, whatever the messages' sizes.
BATCH_MAX_BYTES: Final = 8 * 1024 * 1024
_IDLE_WAIT_SECONDS: Final = 0.5


def run(settings: Settings, stop: threading.Event) -> None:
    """Ingest until `stop` is set.

    Raises SettingsError, LossyBrokerError when the broker would lose messages, DatabaseUnusableError when the database
    would.
    """
    settings.require("database_url", "mqtt_url")
    # A batch makes tens of thousands of short-lived containers and no cycles: let the collector look less often.
    gc.freeze()
    gc.set_threshold(50_000, 20, 50)
    # The writing thread mostly waits for the database; when that answers it should go on at once, not after the 5 ms
    # that a decoding thread may keep the interpreter by default.
    sys.setswitchinterval(0.0005)
    check_database(settings)
    check_broker(settings, stop)
    worker = Worker(settings, Metrics())
    endpoint = health.serve(settings, worker.health)
    try:
        worker.run(stop)
    finally:
        endpoint.close()


def check_database(settings: Settings) -> None:
    """Raise DatabaseUnusableError for a database that cannot keep what we promise. One that is away is waited for."""
    try:
        with db.connect(settings.database_url, "ingest-check") as connection:
            database_checks.of_database(connection)
    except psycopg.OperationalError as error:
        log.warning("database: %s", " ".join(str(error).split()))


def check_broker(settings: Settings, stop: threading.Event) -> None:
    """Probe the broker as FLEET_BROKER_CHECK says. Waits for a broker that is not there yet."""
    if settings.broker_check == "off":
        return
    while not stop.is_set():
        try:
            probe = broker_probe.probe_broker(settings, stop)
        except broker_probe.BrokerUnreachableError as error:
            if stop.is_set():
                return
            log.warning("%s; trying again", error)
            stop.wait(2.0)
            continue
        findings = probe.findings()
        if probe.loses and settings.broker_check == "refuse":
            raise broker_probe.LossyBrokerError(
                f"{findings[0].setting}: {findings[0].sentence}; FLEET_BROKER_CHECK=warn starts all the same"
            )
        for finding in findings:
            finding.report(log)
        return


class Worker:
    """One ingest worker."""

    def __init__(self, settings: Settings, metrics: Metrics, pipeline: Pipeline | None = None) -> None:
        self._settings = settings
        self._metrics = metrics
        self._source = Sessions(settings, metrics, self._session_was_forgotten)
        self._writer = Writer(settings, pipeline or Pipeline(settings), self._source.wake)
        self._relay = Relay(settings, self._source)
        self._partitions: set[int] = set()
        # Lanes that have committed something before: the broker must still know their sessions.
        self._lanes_with_history: set[str] = set()
        # Messages handed to the writer and not yet committed.
        self._handed_over = 0
        self._handed_over_bytes = 0
        self._first_waiting_since: float | None = None
        self._started = time.monotonic()
        self._lost_reason: str | None = "not connected to the database yet"

    def run(self, stop: threading.Event) -> None:
        """Receive, decode, hand over, acknowledge; until `stop` is set."""
        self._writer.start()
        try:
            while not stop.is_set():
                self.turn()
                if not self._writer.alive:
                    raise RuntimeError("the writing thread has ended")
        finally:
            self._source.close_all()
            self._writer.stop()
            self._take_outcomes()

    def turn(self) -> None:
        """One round of the loop."""
        self._source.wait(self._wait_seconds(), reading=self._may_read())
        self._take_outcomes()
        self._relay.step()
        self._hand_over(urgent=True)
        self._hand_over(urgent=False)
        self._show()

    def health(self) -> dict[str, object]:
        """What the health endpoint says. Healthy: the database is there and every session of our partitions is up."""
        sessions = list(self._source.sessions.values())
        connected = sum(session.subscribed for session in sessions)
        reasons = []
        if self._lost_reason is not None:
            reasons.append(f"database: {self._lost_reason}")
        if connected < len(sessions):
            reasons.append(f"{len(sessions) - connected} of {len(sessions)} broker sessions are not connected")
        return {
            "healthy": not reasons,
            "reasons": reasons,
            "partitions": sorted(self._partitions),
            "sessions_connected": connected,
            "held_messages": self._held_messages(),
            "uptime_seconds": round(time.monotonic() - self._started, 1),
        }

    # -- receiving -----------------------------------------------------------------------------------------------------

    def _held_messages(self) -> int:
        return self._handed_over + sum(len(session.queue) for session in list(self._source.sessions.values()))

    def _held_bytes(self) -> int:
        return self._handed_over_bytes + sum(session.queued_bytes for session in self._source.sessions.values())

    def _may_read(self) -> bool:
        return self._held_bytes() < self._settings.held_max_mb * 1024 * 1024

    def _wait_seconds(self) -> float:
        if self._first_waiting_since is None:
            return _IDLE_WAIT_SECONDS
        if not self._writer.idle:
            # It wakes us when it is done. Until then keep taking in what comes.
            return _IDLE_WAIT_SECONDS
        linger = self._settings.batch_linger_ms / 1000.0
        return max(0.0, self._first_waiting_since + linger - time.monotonic())

    # -- handing over --------------------------------------------------------------------------------------------------

    def _hand_over(self, urgent: bool) -> None:
        waiting = sum(len(session.queue) for session in self._lanes(urgent))
        if not urgent:
            self._note_waiting(waiting)
        if not waiting or not self._writer.room_for(urgent):
            return
        if not urgent:
            if not self._is_due(waiting):
                return
            # Only an ordinary batch ends the linger: a run of alarms must not put ordinary messages off for ever.
            self._first_waiting_since = None
        batch = self._take_batch(urgent)
        with self._metrics.prepare_seconds.time():
            prepared = prepare(batch, self._settings)
        self._handed_over += len(batch)
        self._handed_over_bytes += prepared.raw_bytes
        self._writer.submit(prepared, urgent)

    def _note_waiting(self, waiting: int) -> None:
        if not waiting:
            self._first_waiting_since = None
        elif self._first_waiting_since is None:
            self._first_waiting_since = time.monotonic()

    def _is_due(self, waiting: int) -> bool:
        """A full batch always; a part of one when the writer has nothing to do and the linger has passed."""
        if waiting >= self._settings.batch_max_messages:
            return True
        if not self._writer.idle or self._first_waiting_since is None:
            return False
        return time.monotonic() >= self._first_waiting_since + self._settings.batch_linger_ms / 1000.0

    def _take_batch(self, urgent: bool) -> list[Message]:
        """Messages of all lanes, each lane's in order of arrival, up to the batch's bounds, shared fairly."""
        lanes = [session for session in self._lanes(urgent) if session.queue]
        batch: list[Message] = []
        left_bytes = BATCH_MAX_BYTES
        while lanes and left_bytes > 0 and len(batch) < self._settings.batch_max_messages:
            share = max(1, (self._settings.batch_max_messages - len(batch)) // len(lanes))
            for session in list(lanes):
                if left_bytes <= 0 or len(batch) >= self._settings.batch_max_messages:
                    break
                taken = session.take(share, left_bytes)
                left_bytes -= sum(len(message.payload) for message in taken)
                batch += taken
                if not session.queue:
                    lanes.remove(session)
        return batch

    def _lanes(self, urgent: bool) -> list[Session]:
        first = "a" if urgent else "p"
        return [session for name, session in self._source.sessions.items() if name[0] == first]

    # -- what the writer says ------------------------------------------------------------------------------------------

    def _take_outcomes(self) -> None:
        while True:
            try:
                outcome = self._writer.outcomes.get_nowait()
            except queue.Empty:
                return
            if isinstance(outcome, Committed):
                self._acknowledge(outcome.batch)
                self._count(outcome)
            elif isinstance(outcome, Taken):
                self._open(outcome.partitions, outcome.lanes_with_history)
            elif isinstance(outcome, RelayTaken):
                self._relay.open()
            elif isinstance(outcome, GiveUp):
                self._close(outcome.partitions)
                self._writer.let_go(outcome.partitions)
            elif isinstance(outcome, Lost):
                self._lose_everything(outcome.reason)

    def _acknowledge(self, batch: Batch) -> None:
        sessions = self._source.sessions
        for message in batch.messages:
            session = sessions.get(message.session)
            if session is not None:
                session.acknowledge(message)
        self._source.flush()
        self._handed_over -= len(batch.messages)
        self._handed_over_bytes -= batch.raw_bytes

    def _open(self, partitions: frozenset[int], lanes_with_history: frozenset[str]) -> None:
        self._lanes_with_history |= lanes_with_history
        for partition in sorted(partitions):
            self._source.open(f"a{partition:02x}", topics.urgent_filters(partition))
            self._source.open(f"p{partition:02x}", topics.ordinary_filters(partition), passed_over=topics.PASSED_OVER)
        # Last, so that the health endpoint never calls partitions well whose sessions are still to be opened.
        self._partitions |= partitions
        self._lost_reason = None
        log.info("reading partitions %s", " ".join(f"{partition:02x}" for partition in sorted(self._partitions)))

    def _close(self, partitions: frozenset[int]) -> None:
        self._partitions -= partitions
        for partition in sorted(partitions):
            self._source.close(f"a{partition:02x}")
            self._source.close(f"p{partition:02x}")

    def _lose_everything(self, reason: str) -> None:
        self._lost_reason = reason
        self._metrics.failed_batches.inc()
        self._handed_over = 0
        self._handed_over_bytes = 0
        self._close(frozenset(self._partitions))
        self._relay.close()
        self._writer.begin_again()

    def _session_was_forgotten(self, name: str) -> None:
        if name not in self._lanes_with_history:
            return  # the first time this session is made
        self._metrics.lost_sessions.inc()
        log.error(
            "the broker no longer knew session %s: what it held for it is lost. Is its persistence on"
            " (Mosquitto: persistence true; NATS: JetStream with a file store)?",
            name,
        )

    # -- counting ------------------------------------------------------------------------------------------------------

    def _count(self, outcome: Committed) -> None:
        batch, metrics = outcome.batch, self._metrics
        metrics.messages.inc(len(batch.messages))
        metrics.accepted.inc(len(batch.readings))
        metrics.events.inc(len(batch.events))
        metrics.duplicates.inc(batch.duplicates)
        metrics.late.inc(batch.late)
        for refusal in batch.refused.values():
            metrics.dead.labels(refusal.code).inc()
        metrics.batch_messages.observe(len(batch.messages))
        metrics.commit_seconds.observe(outcome.seconds)

    def _show(self) -> None:
        self._metrics.held_messages.set(self._held_messages())
        self._metrics.held_bytes.set(self._held_bytes())
        self._metrics.partitions.set(len(self._partitions))
        oldest = min(
            (session.queue[0].received_us for session in self._source.sessions.values() if session.queue),
            default=None,
        )
        self._metrics.lag_seconds.set(0.0 if oldest is None else (clock.now_us() - oldest) / 1e6)
