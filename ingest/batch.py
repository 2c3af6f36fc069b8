"""A batch: the messages of one transaction, decoded. Preparing one is pure: the same messages give the same batch."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from fleet_core import message_log, topics
from fleet_core.device_events import DeviceEvent, DeviceStatus
from fleet_core.message_log import LoggedMessage
from fleet_core.readings import Readings
from fleet_core.settings import Settings
from ingest.codec import NativeBody, codec_for
from ingest.codecs import native
from ingest.events import event_of, status_of
from ingest.form import Body
from ingest.message import Message, Refusal, RefusedError
from ingest.telemetry import Item, assemble


@dataclass(slots=True)
class Batch:
    """What the pipeline works on. `store` narrows `readings` and `events` to the fresh ones; later stages see those.

    duplicates   samples and events that were already stored, or came twice in this batch
    """

    messages: Sequence[Message]
    readings: Readings
    events: list[DeviceEvent]
    statuses: list[DeviceStatus]
    refused: dict[int, Refusal]
    merkle_root: bytes
    log_blob: bytes
    raw_bytes: int
    duplicates: int = 0
    late: int = 0

    @property
    def urgent(self) -> bool:
        """Whether an alarm or burst is among the events."""
        return any(event.stream in topics.URGENT_STREAMS for event in self.events)

    @property
    def vehicle_ids(self) -> set[str]:
        """Vehicles with something to store."""
        return (
            {self.readings.vehicles[index] for index in set(self.readings.vehicle_index.tolist())}
            | {event.vehicle_id for event in self.events}
            | {status.vehicle_id for status in self.statuses}
        )


def prepare(
    messages: Sequence[Message], settings: Settings, refused_before: Mapping[int, Refusal] | None = None
) -> Batch:
    """Decode messages and hash them for the log. `refused_before` are left out of the rows, not of the log."""
    logged = [LoggedMessage(message.received_us, message.topic, message.payload) for message in messages]
    batch = decode(messages, settings, refused_before)
    batch.merkle_root = message_log.merkle_root(logged)
    batch.log_blob = message_log.pack(logged)
    return batch


def without(batch: Batch, settings: Settings, refused: Mapping[int, Refusal]) -> Batch:
    """The batch decoded anew with these messages left out of its rows. The log's part is the same, so it is kept."""
    again = decode(batch.messages, settings, refused)
    again.merkle_root, again.log_blob = batch.merkle_root, batch.log_blob
    return again


def decode(
    messages: Sequence[Message], settings: Settings, refused_before: Mapping[int, Refusal] | None = None
) -> Batch:
    """Decode messages without hashing them: for dry runs and probes."""
    refused = dict(refused_before or {})
    items: list[Item] = []
    events: list[DeviceEvent] = []
    statuses: list[DeviceStatus] = []
    largest = settings.message_max_kb * 1024
    raw_bytes = 0
    for index, message in enumerate(messages):
        payload = message.payload
        raw_bytes += len(payload)
        if index in refused:
            continue
        try:
            topic = _topic_of(message.topic, settings.partitions)
            if len(payload) > largest:
                raise RefusedError("too_large", f"{len(payload)} bytes, more than {settings.message_max_kb} KB")
            if topic.stream == topics.TELEMETRY:
                body = native.telemetry_body(payload)
                _check_own_id(body, topic.vehicle_id)
                items.append(Item(index, topic.vehicle_id, message.received_us, payload, body))
                continue
            # All parts first: only a message that is sound in every part is stored in any.
            parts = [
                _part(Item(index, topic.vehicle_id, message.received_us, identity, body), stream)
                for stream, body, identity in _bodies(topic, payload)
            ]
            for part in parts:
                if isinstance(part, Item):
                    items.append(part)
                elif isinstance(part, DeviceStatus):
                    statuses.append(part)
                else:
                    events.append(part)
        except RefusedError as error:
            refused[index] = error.refusal
    readings, misfits = assemble(items)
    refused.update(misfits)
    return Batch(messages, readings, events, statuses, refused, b"", b"", raw_bytes)


def _topic_of(topic: str, partitions: int) -> topics.Topic:
    try:
        parsed = topics.parse_cached(topic)
    except topics.TopicError as error:
        raise RefusedError("wrong_topic", str(error)) from None
    partition = topics.partition_of(parsed.vehicle_id, partitions)
    if parsed.partition != partition:
        # A forged or misconfigured partition would put one vehicle's messages into two hands.
        raise RefusedError(
            "wrong_partition",
            f"{parsed.vehicle_id} belongs to partition {partition:02x} of {partitions}, not {parsed.partition:02x}",
        )
    return parsed


def _part(item: Item, stream: str) -> Item | DeviceEvent | DeviceStatus:
    if stream == topics.TELEMETRY:
        return item
    return status_of(item) if stream == topics.STATUS else event_of(item, stream)


def _bodies(topic: topics.Topic, payload: bytes) -> list[tuple[str, Body, bytes]]:
    """Stream, body and what identifies it where the device does not count."""
    if topic.original is not None:
        return [
            # A second body of the same message needs an identity of its own.
            (found.stream, found.body, found.identity or payload + number.to_bytes(4, "big"))
            for number, found in enumerate(_foreign_bodies(topic, topic.original, payload))
        ]
    if topic.stream == topics.STATUS and not payload:
        return []  # an empty retained message only clears the broker's copy
    body = native.event_body(payload)
    _check_own_id(body, topic.vehicle_id)
    return [(topic.stream, body, payload)]


def _check_own_id(body: Body, vehicle_id: str) -> None:
    """The broker does not say who published: where the payload names its vehicle, it must be the topic's."""
    own = body.get("vehicle_id")
    if type(own) is str and own != vehicle_id:
        raise RefusedError("wrong_vehicle", f"the message says it is of {own[:80]!r}, but travelled under {vehicle_id}")


def _foreign_bodies(topic: topics.Topic, original: str, payload: bytes) -> list[NativeBody]:
    codec = codec_for(original)
    if codec is None:
        raise RefusedError("no_codec", f"no codec reads topic {original!r}")
    try:
        bodies = codec.decode(original, payload)
        vehicle_id = codec.vehicle_id(original, payload) if bodies else topic.vehicle_id
    except RefusedError:
        raise
    except Exception as error:  # a fault of one codec must not stop the partition: it would meet the message for ever
        raise RefusedError("codec_failed", f"codec {codec.NAME} failed: {type(error).__name__}: {error}") from error
    if vehicle_id != topic.vehicle_id:
        raise RefusedError("wrong_vehicle", f"the message is of {vehicle_id}, but travelled under {topic.vehicle_id}")
    return bodies
