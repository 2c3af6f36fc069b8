"""Messages that are not readings: alarms, bursts, diagnostics, command results, status."""

import math
from typing import Any, Final

import msgspec

from fleet_core import topics
from fleet_core.device_events import DeviceEvent, DeviceStatus
from ingest.form import MAX_T_MS, UINT32_END, Body, shown
from ingest.message import RefusedError
from ingest.telemetry import CLOCK_AHEAD_US, CLOCK_BEHIND_US, Item, payload_hash

_JSON = msgspec.json.Encoder()
# Deeper than any trouble-code list with freeze frames, shallower than the stack.
_MAX_DEPTH: Final = 32


def event_of(item: Item, stream: str) -> DeviceEvent:
    """Check an event's form. Raises RefusedError naming the key that is wrong."""
    body, received_us = item.body, item.received_us
    t_ms = body.get("t0_ms" if stream == topics.BURST else "t_ms")
    if t_ms is None and stream == topics.COMMAND_RESULT:
        t_ms = received_us // 1000
    if t_ms is None:
        raise RefusedError("missing_time", f"{'t0_ms' if stream == topics.BURST else 't_ms'} is missing")
    if type(t_ms) is not int or not 0 <= t_ms <= MAX_T_MS:
        raise RefusedError("wrong_type", f"t_ms: expected milliseconds since 1970, got {shown(t_ms)}")
    boot, seq = body.get("boot", 0), body.get("seq")
    for name, counter in (("boot", boot), ("seq", seq)):
        if counter is not None and (type(counter) is not int or not 0 <= counter < UINT32_END):
            raise RefusedError("wrong_type", f"{name}: expected an unsigned 32-bit number, got {shown(counter)}")
    kind = body.get("kind")
    if stream == topics.ALARM and (type(kind) is not str or not kind):
        raise RefusedError("missing_kind", f"kind: expected the alarm's name, got {shown(kind)}")
    if stream == topics.BURST:
        _check_burst(body)
    identity = payload_hash(item.payload) if seq is None else (boot or 0) << 32 | seq
    device_time_us = t_ms * 1000
    clock_valid = received_us - CLOCK_BEHIND_US <= device_time_us <= received_us + CLOCK_AHEAD_US
    return DeviceEvent(
        item.message_index,
        item.vehicle_id,
        stream,
        device_time_us,
        identity - (1 << 64) if identity >= 1 << 63 else identity,
        device_time_us if clock_valid else received_us,
        clock_valid,
        received_us,
        kind if isinstance(kind, str) else None,
        _json(body),
    )


def status_of(item: Item) -> DeviceStatus:
    """Check a status' form. Raises RefusedError naming the key that is wrong."""
    body = item.body
    expected = (("online", bool), ("firmware", str), ("boot", int), ("t_ms", int))
    for name, kind in expected:
        value = body.get(name)
        if value is not None and type(value) is not kind:
            raise RefusedError("wrong_type", f"{name}: expected {kind.__name__}, got {shown(value)}")
    t_ms = body.get("t_ms")
    if t_ms is not None and not 0 <= t_ms <= MAX_T_MS:
        raise RefusedError("out_of_range", f"t_ms: {t_ms} is not a time in milliseconds since 1970")
    boot = body.get("boot")
    if boot is not None and not 0 <= boot < UINT32_END:
        raise RefusedError("out_of_range", f"boot: {boot} is not an unsigned 32-bit number")
    return DeviceStatus(
        item.message_index,
        item.vehicle_id,
        body.get("online"),
        body.get("firmware"),
        boot,
        None if t_ms is None else t_ms * 1000,
        item.received_us,
        _json(body),
    )


def _check_burst(body: Body) -> None:
    rate = body.get("rate_hz")
    if type(rate) not in (int, float) or rate is None or not rate > 0:
        raise RefusedError("wrong_type", f"rate_hz: expected a positive number, got {shown(rate)}")
    lengths = set()
    for name, values in body.items():
        if name.startswith(("accel_", "gyro_")) and name != "accel_gravity":
            if type(values) is not list or not {type(value) for value in values} <= {int, float, type(None)}:
                raise RefusedError("wrong_type", f"{name}: expected a list of numbers, got {shown(values)}")
            lengths.add(len(values))
    if len(lengths) != 1 or lengths == {0}:
        raise RefusedError("wrong_length", "a burst needs motion columns of one length")


def _json(body: Body) -> bytes:
    where = _not_finite(body, "", 0)
    if where is not None:
        raise RefusedError("not_finite", f"{where} is not a finite number")
    try:
        text = _JSON.encode(body)
    except (TypeError, ValueError) as error:  # MessagePack has keys and values that JSON has not
        raise RefusedError("undecodable", f"cannot be kept as JSON: {error}") from None
    if rb"\u0000" in text:
        raise RefusedError("nul_in_text", "text holds a NUL character, which PostgreSQL cannot keep")
    return text


def _not_finite(value: Any, path: str, depth: int) -> str | None:
    """Path of the first NaN or infinity (MessagePack can carry them, JSON would turn them into null)."""
    if depth > _MAX_DEPTH:
        raise RefusedError("undecodable", f"nested too deeply at {path}")
    if isinstance(value, float):
        return None if math.isfinite(value) else path
    pairs = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in pairs:
        found = _not_finite(inner, f"{path}.{key}" if path else str(key), depth + 1)
        if found is not None:
            return found
    return None
