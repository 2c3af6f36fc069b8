"""Sending dead letters to the broker again, and knowing which it has."""

import time
import uuid
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Final

from prometheus_client import CollectorRegistry

from fleet_core import topics
from fleet_core.settings import Settings
from ingest.broker_probe import BrokerUnreachableError
from ingest.metrics import Metrics
from ingest.queries import DeadLetter
from ingest.relay import MAX_TOPIC_BYTES
from ingest.sessions import Sessions
from ingest.source import Session

# The broker acknowledges in order and at once; one that is silent for this long is gone.
_SILENCE_SECONDS: Final = 15.0


def topic_for(letter: DeadLetter, partitions: int) -> str:
    """Topic to publish a letter on: its own, with the right partition when that was what was wrong.

    Raises ValueError, with a sentence, when nothing can be published there.
    """
    if letter.reason_code == "wrong_partition":
        parsed = topics.parse(letter.topic)
        if parsed.original is not None:
            return topics.relayed_topic_of(parsed.vehicle_id, parsed.original, partitions)
        return topics.topic_of(parsed.vehicle_id, parsed.stream, partitions)
    topic = letter.topic
    if not topic or any(sign in topic for sign in ("+", "#", "\\0")) or len(topic.encode()) > MAX_TOPIC_BYTES:
        raise ValueError(f"nothing can be published on its topic {topic[:80]!r}")
    return topic


class Publisher:
    """A connection to the broker for as long as the `with` block. Raises BrokerUnreachableError."""

    def __init__(self, settings: Settings) -> None:
        self._source = Sessions(settings, Metrics(CollectorRegistry()), on_lost=lambda _name: None)
        self._waiting: dict[int, int] = {}
        self._acknowledged: list[int] = []

    def __enter__(self) -> "Publisher":
        self._session = self._source.open(f"dlq-{uuid.uuid4().hex[:12]}", [], durable=False)
        self._session.on_published(self._on_published)
        self._pump(lambda: self._session.subscribed)
        if not self._session.subscribed:
            self._source.close_all()
            raise BrokerUnreachableError("the broker cannot be reached or refuses us")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._source.close_all()

    def publish(self, messages: Sequence[tuple[str, bytes]]) -> list[int]:
        """Publish (topic, payload) pairs at QoS 1. Returns the indexes the broker has acknowledged."""
        session: Session = self._session
        generation = session.generation
        self._acknowledged = []
        self._waiting = {session.publish(topic, payload): index for index, (topic, payload) in enumerate(messages)}
        # A connection made anew would send again what it has not heard of, but whether it was ours is no longer sure.
        self._pump(lambda: not self._waiting or session.generation != generation)
        return sorted(self._acknowledged)

    def _pump(self, done: Callable[[], bool]) -> None:
        heard, since = len(self._acknowledged), time.monotonic()
        while not done() and time.monotonic() - since < _SILENCE_SECONDS:
            self._source.wait(0.05, reading=True)
            if len(self._acknowledged) != heard:
                heard, since = len(self._acknowledged), time.monotonic()

    def _on_published(self, packet_id: int) -> None:
        index = self._waiting.pop(packet_id, None)
        if index is not None:
            self._acknowledged.append(index)
