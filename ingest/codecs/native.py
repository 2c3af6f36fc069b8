"""The native wire format: JSON, or MessagePack when the first byte is not `{`."""

from typing import Any, Final

import msgspec

from fleet_core import topics
from ingest.codec import NativeBody
from ingest.message import RefusedError

NAME: Final = "native"
# Native topics without the partition level, from devices that cannot compute it.
FILTERS: Final = tuple(topics.unpartitioned_filters())

# What a telemetry body may hold; msgspec refuses anything deeper while it parses, and says where.
_Telemetry = dict[str, int | float | bool | str | list[int | float | bool | str | None] | None]

_OPEN_BRACE: Final = 0x7B

_telemetry_json = msgspec.json.Decoder(_Telemetry)
_telemetry_msgpack = msgspec.msgpack.Decoder(_Telemetry)
_event_json = msgspec.json.Decoder(dict[str, Any])
_event_msgpack = msgspec.msgpack.Decoder(dict[str, Any])


def claims(topic: str) -> bool:
    """Whether `topic` is `fleet/v1/{vehicle_id}/{stream}`."""
    return topics.parse_unpartitioned(topic) is not None


def vehicle_id(topic: str, _payload: bytes) -> str:
    """The vehicle level of the topic."""
    parsed = topics.parse_unpartitioned(topic)
    if parsed is None:
        raise RefusedError("wrong_topic", f"topic {topic!r} is not {topics.ROOT}/{{vehicle_id}}/{{stream}}")
    return parsed[0]


def decode(topic: str, payload: bytes) -> list[NativeBody]:
    """One body, of the stream that the topic names."""
    parsed = topics.parse_unpartitioned(topic)
    if parsed is None:
        raise RefusedError("wrong_topic", f"topic {topic!r} is not {topics.ROOT}/{{vehicle_id}}/{{stream}}")
    stream = parsed[1]
    body = telemetry_body(payload) if stream == topics.TELEMETRY else event_body(payload)
    return [NativeBody(stream, body)]


def telemetry_body(payload: bytes) -> dict[str, Any]:
    """Body of a telemetry message. Raises RefusedError."""
    return _decoded(payload, _telemetry_json, _telemetry_msgpack)


def event_body(payload: bytes) -> dict[str, Any]:
    """Body of a message of another stream, which may be nested. Raises RefusedError."""
    return _decoded(payload, _event_json, _event_msgpack)


def _decoded(payload: bytes, json: Any, msgpack: Any) -> dict[str, Any]:
    if not payload:
        raise RefusedError("empty", "the payload is empty")
    try:
        body: dict[str, Any] = json.decode(payload) if payload[0] == _OPEN_BRACE else msgpack.decode(payload)
    except msgspec.ValidationError as error:
        raise RefusedError("wrong_type", f"not a native body: {error}") from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        form = "JSON" if payload[0] == _OPEN_BRACE else "MessagePack"
        raise RefusedError("undecodable", f"not {form}: {error}") from None
    except RecursionError:
        raise RefusedError("undecodable", "nested too deeply") from None
    return body
