"""Recorded messages: JSON Lines `{"topic", "payload", "received_ms"?}`, published byte for byte."""

import base64
import binascii
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, Final

import msgspec

from fleet_core import topics
from fleet_core.publications import Message
from fleet_core.recordings.drive_recording import RecordingError

_TOPIC_BYTES: Final = 65_535


class _Line(msgspec.Struct):
    topic: str
    payload: msgspec.Raw
    received_ms: int | None = None


class _Base64(msgspec.Struct, forbid_unknown_fields=True):
    base64: str


class _Counter(msgspec.Struct):
    boot: int = 0
    seq: int = 0
    t_ms: list[int] | int = 0


_decode_line = msgspec.json.Decoder(_Line).decode
_decode_base64 = msgspec.json.Decoder(_Base64).decode
_decode_text = msgspec.json.Decoder(str).decode
_decode_counter = msgspec.json.Decoder(_Counter).decode


def read(path: Path, file: BinaryIO) -> Iterator[Message]:
    """Messages in the order of the file. A JSON object leaves as the bytes it has in the file.

    Raises RecordingError with the line number.
    """
    due_ms: int | None = None
    for number, line in enumerate(file, start=1):
        if not line.strip():
            continue
        try:
            record = _decode_line(line)
            topic = _checked_topic(record.topic)
            payload = _payload(bytes(record.payload))
        except (msgspec.DecodeError, ValueError) as error:
            raise RecordingError(f"{path}, line {number}: {error}") from None
        # Without a time of its own a message follows the one before it.
        due_ms = record.received_ms if record.received_ms is not None else (due_ms or 0)
        yield _message(topic, payload, due_ms)


def _checked_topic(topic: str) -> str:
    if not topic or "+" in topic or "#" in topic or "\0" in topic or len(topic.encode()) > _TOPIC_BYTES:
        raise ValueError(f"{topic[:80]!r} is not a topic one can publish on")
    return topic


def _payload(raw: bytes) -> bytes:
    if raw[:1] == b'"':
        return _decode_text(raw).encode()
    if raw[:1] != b"{":
        raise ValueError('the payload is neither an object, nor a string, nor {"base64": ..}')
    try:
        coded = _decode_base64(raw)
    except msgspec.DecodeError:
        return raw
    try:
        return base64.b64decode(coded.base64, validate=True)
    except binascii.Error as error:
        raise ValueError(f"the payload is not base64: {error}") from None


def _message(topic: str, payload: bytes, due_ms: int) -> Message:
    try:
        vehicle_id = topics.parse(topic).vehicle_id
    except topics.TopicError:
        vehicle_id = topic
    try:
        counter = _decode_counter(payload)
    except msgspec.DecodeError:
        return Message(topic, payload, vehicle_id, due_ms)
    times = counter.t_ms if isinstance(counter.t_ms, list) else [counter.t_ms] if counter.t_ms else []
    if not times:
        return Message(topic, payload, vehicle_id, due_ms)
    return Message(
        topic=topic,
        payload=payload,
        vehicle_id=vehicle_id,
        due_ms=due_ms,
        boot=counter.boot,
        seq=counter.seq,
        count=len(times),
        t_first_ms=times[0],
        t_last_ms=times[-1],
    )
