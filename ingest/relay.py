"""The relay: moves messages from topics without a partition into their vehicle's partition.

A message is acknowledged upstream only after the broker has acknowledged its copy, so nothing is lost whenever either
side dies; a copy may be made twice, which the reading's identity absorbs. The payload is not touched.
"""

import logging
from typing import Final

from fleet_core import topics
from fleet_core.settings import Settings
from ingest.codec import codec_for, foreign_codecs
from ingest.message import Message, RefusedError
from ingest.sessions import Sessions
from ingest.source import Session

log = logging.getLogger("fleet.ingest.relay")

# Copies on their way to the broker; beyond it messages wait in the session's queue, unacknowledged.
MAX_UNCONFIRMED: Final = 2_000
MAX_UNCONFIRMED_BYTES: Final = 8 * 1024 * 1024
# Messages that name no vehicle travel under this one, so that ingest keeps them as dead letters with a reason.
UNIDENTIFIED: Final = "unidentified"

# MQTT's own limit.
MAX_TOPIC_BYTES: Final = 65_535
_TOPIC_START: Final = 1_000


def target_of(topic: str, payload: bytes, partitions: int) -> str:
    """Topic that a message from an unpartitioned topic is republished on. Never longer than MQTT allows."""
    unpartitioned = topics.parse_unpartitioned(topic)
    if unpartitioned is not None:
        return topics.topic_of(*unpartitioned, partitions)
    codec = codec_for(topic)
    try:
        vehicle_id = UNIDENTIFIED if codec is None else topics.check_vehicle_id(codec.vehicle_id(topic, payload))
    except (RefusedError, topics.TopicError) as error:
        log.warning("%s: %s", topic, error)
        vehicle_id = UNIDENTIFIED
    target = topics.relayed_topic_of(vehicle_id, topic, partitions)
    if len(target.encode()) <= MAX_TOPIC_BYTES:
        return target
    # It could not be sent, and would come again for ever: its payload and the beginning of its topic go to the dead.
    return topics.relayed_topic_of(UNIDENTIFIED, topic[:_TOPIC_START], partitions)


def filters(settings: Settings) -> list[str]:
    """Topics the relay subscribes to: those its codecs name, and FLEET_RELAY_TOPICS."""
    extra = [name.strip() for name in settings.relay_topics.split(",") if name.strip()]
    return [*(name for codec in foreign_codecs() for name in codec.FILTERS), *extra]


class Relay:
    """Steps of the worker's loop that move messages. One a deployment, under a lease like a partition's."""

    NAME: Final = "relay"

    def __init__(self, settings: Settings, source: Sessions) -> None:
        self._settings = settings
        self._source = source
        self._session: Session | None = None
        self._generation = 0
        self._unconfirmed: dict[int, Message] = {}

    def open(self) -> None:
        """Begin relaying: this worker holds the relay's lease."""
        self._session = self._source.open(self.NAME, filters(self._settings))
        self._session.on_published(self._confirmed)
        self._generation = self._session.generation

    def close(self) -> None:
        """Stop relaying; what is unconfirmed stays with the broker."""
        self._source.close(self.NAME)
        self._session = None
        self._unconfirmed.clear()

    def step(self) -> None:
        """Republish what has come, up to the bound of unconfirmed copies."""
        session = self._session
        if session is None:
            return
        if session.generation != self._generation:
            # The broker will send again whatever was not acknowledged.
            self._generation = session.generation
            self._unconfirmed.clear()
        for message in session.take(MAX_UNCONFIRMED - len(self._unconfirmed), MAX_UNCONFIRMED_BYTES):
            target = target_of(message.topic, message.payload, self._settings.partitions)
            self._unconfirmed[session.publish(target, message.payload)] = message

    def _confirmed(self, packet_id: int) -> None:
        message = self._unconfirmed.pop(packet_id, None)
        if message is not None and self._session is not None:
            self._session.acknowledge(message)
