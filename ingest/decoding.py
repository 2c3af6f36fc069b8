"""One recorded message to records in native names, as ingest would read it, for `fleet decode`. Stores nothing."""

from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from typing import Any, Final

import msgspec
import numpy as np

from fleet_core import topics
from fleet_core.columns import BY_NAME, Kind
from fleet_core.readings import FLAG_ABSENT, Readings
from ingest.codec import Codec, NativeBody, foreign_codecs
from ingest.codecs import native
from ingest.events import event_of, status_of
from ingest.form import MAX_T_MS
from ingest.message import Refusal, RefusedError
from ingest.telemetry import Item, assemble

MQTT_PAYLOAD: Final = "mqtt_payload"
STAGES: Final = ("tcp_frame_wire", "tcp_stream_wire", "tcp_frame", "udp_datagram", MQTT_PAYLOAD)

# Topics used when none is given.
_TOPICS: Final = {
    "native": f"{topics.ROOT}/vehicle/{topics.TELEMETRY}",
    "owntracks": "owntracks/user/device",
    "traccar": "traccar/positions",
}


class UnknownFormatError(ValueError):
    """A format or stage that cannot be decoded; the text says which can."""


def records(format_name: str, stage: str, payload: bytes, topic: str | None = None) -> Iterator[dict[str, Any]]:
    """Records of one message, each a dict with `ok`, and either its values or `reason`. Raises UnknownFormatError."""
    codec = _codec(format_name, stage)
    return _records(codec, payload, topic or _TOPICS.get(format_name, f"{format_name}/topic"))


def _codec(format_name: str, stage: str) -> Codec:
    codecs = {codec.NAME: codec for codec in foreign_codecs()}
    if format_name not in codecs:
        raise UnknownFormatError(f"format {format_name!r} is not one of those that can be decoded: {', '.join(codecs)}")
    if stage not in STAGES:
        raise UnknownFormatError(f"stage {stage!r} is not one of {', '.join(STAGES)}")
    if stage != MQTT_PAYLOAD:
        raise UnknownFormatError(f"format {format_name} has no stage {stage}: it is decoded from {MQTT_PAYLOAD}")
    return codecs[format_name]


def _records(codec: Codec, payload: bytes, topic: str) -> Iterator[dict[str, Any]]:
    try:
        vehicle_id, bodies = _bodies(codec, payload, topic)
    except RefusedError as error:
        yield _refused(error.refusal)
        return
    for body in bodies:
        yield from _telemetry(vehicle_id, body) if body.stream == topics.TELEMETRY else _other(vehicle_id, body)


def _bodies(codec: Codec, payload: bytes, topic: str) -> tuple[str, list[NativeBody]]:
    if codec.NAME == native.NAME and native.claims(topic) is False:
        try:
            parsed = topics.parse(topic)
        except topics.TopicError as error:
            raise RefusedError("wrong_topic", str(error)) from None
        topic = f"{topics.ROOT}/{parsed.vehicle_id}/{parsed.stream}"
    if not codec.claims(topic):
        raise RefusedError("wrong_topic", f"topic {topic!r} is not one that {codec.NAME} uses")
    bodies = codec.decode(topic, payload)
    return codec.vehicle_id(topic, payload) if bodies else "", bodies


def _telemetry(vehicle_id: str, body: NativeBody) -> Iterator[dict[str, Any]]:
    times = body.body.get("t_ms")
    known = [t for t in (times if type(times) is list else [times]) if type(t) is int and 0 <= t <= MAX_T_MS]
    # Judged as if it arrived when it was sent: a recording is not refused for its age.
    item = Item(0, vehicle_id, max(known, default=0) * 1000, body.identity or b"", body.body)
    readings, refused = assemble([item])
    counted = body.body.get("seq") is not None
    for row in range(len(readings)):
        yield _record(vehicle_id, body.stream, int(readings.device_time_us[row]) // 1000) | _values(
            readings, row, counted
        )
    for refusal in refused.values():
        yield _refused(refusal, vehicle_id, body.stream)


def _values(readings: Readings, row: int, counted: bool) -> dict[str, Any]:
    values: dict[str, Any] = {}
    if counted:
        identity = int(readings.seq[row]) % (1 << 64)
        values |= {"boot": identity >> 32, "seq": identity & 0xFFFFFFFF}
    for name, column in readings.columns.items():
        value = column[row]
        kind = BY_NAME[name].kind
        if kind is Kind.NUMBER and not np.isnan(value):
            values[name] = float(value)
        elif kind is Kind.FLAG and value != FLAG_ABSENT:
            values[name] = bool(value)
        elif kind is Kind.TEXT and value is not None:
            values[name] = str(value)
    return values | (msgspec.json.decode(readings.extra[row]) if row in readings.extra else {})


def _other(vehicle_id: str, body: NativeBody) -> Iterator[dict[str, Any]]:
    t_ms = body.body.get("t0_ms" if body.stream == topics.BURST else "t_ms")
    item = Item(0, vehicle_id, t_ms * 1000 if type(t_ms) is int else 0, body.identity or b"", body.body)
    try:
        checked = status_of(item) if body.stream == topics.STATUS else event_of(item, body.stream)
    except RefusedError as error:
        yield _refused(error.refusal, vehicle_id, body.stream)
        return
    # From the text that would be stored, so that what MessagePack alone can hold is shown as it is kept.
    record = _record(vehicle_id, body.stream, t_ms)
    said: dict[str, Any] = msgspec.json.decode(checked.body_json)
    # A command's answer may say `ok` itself.
    yield record | {f"sent_{name}" if name in record and name != "t_ms" else name: said[name] for name in said}


def _record(vehicle_id: str, stream: str, t_ms: int | None) -> dict[str, Any]:
    record: dict[str, Any] = {"ok": True, "vehicle_id": vehicle_id, "stream": stream}
    return record if t_ms is None else record | {"t_ms": t_ms, "time_utc": _utc(t_ms)}


def _refused(refusal: Refusal, vehicle_id: str = "", stream: str = "") -> dict[str, Any]:
    known = {name: value for name, value in (("vehicle_id", vehicle_id), ("stream", stream)) if value}
    return {"ok": False, **known, "reason_code": refusal.code, "reason": refusal.sentence}


def _utc(t_ms: int) -> str:
    moment = datetime.fromtimestamp(t_ms // 1000, UTC).replace(microsecond=t_ms % 1000 * 1000)
    return moment.isoformat(timespec="milliseconds" if t_ms % 1000 else "seconds").replace("+00:00", "Z")


def as_text(record: dict[str, Any]) -> str:
    """A record on one line for people."""
    if not record["ok"]:
        return f"refused  {record['reason_code']}: {record['reason']}"
    head = f"{record.get('time_utc', '-'):<24}  {record['stream']}  {record['vehicle_id']}"
    named: Iterable[str] = (key for key in record if key not in ("ok", "vehicle_id", "stream", "t_ms", "time_utc"))
    return "  ".join([head, *(f"{key}={record[key]}" for key in named)])
