"""Alarms, bursts, diagnostics, command results and status: read, marked or refused, never anything else."""

import json
from typing import Any

import msgspec
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from fleet_core import topics
from fleet_core.device_events import DeviceEvent, DeviceStatus
from fleet_core.settings import Settings
from ingest.batch import Batch, decode
from ingest.codecs import native
from ingest.events import event_of, status_of
from ingest.message import RefusedError
from ingest.telemetry import CLOCK_AHEAD_US, Item, payload_hash
from tests.ingest_bodies import RECEIVED_MS, RECEIVED_US, message

EVENT_STREAMS = [topics.ALARM, topics.BURST, topics.DIAGNOSTICS, topics.COMMAND_RESULT]


def event(body: dict[str, Any], stream: str = topics.ALARM, payload: bytes = b"payload") -> DeviceEvent:
    return event_of(Item(0, "v1", RECEIVED_US, payload, body), stream)


def status(body: dict[str, Any]) -> DeviceStatus:
    return status_of(Item(0, "v1", RECEIVED_US, b"payload", body))


def burst(**changes: Any) -> dict[str, Any]:
    return {"boot": 1, "seq": 2, "t0_ms": RECEIVED_MS, "rate_hz": 100, "accel_x_mps2": [1.0, 2.0], **changes}


def test_an_alarm_keeps_everything_it_said() -> None:
    body = {"boot": 1, "seq": 2, "t_ms": RECEIVED_MS, "kind": "crash", "lat_deg": 1.5, "nested": {"a": [1, None]}}
    alarm = event(body)
    assert (alarm.kind, alarm.seq, alarm.device_time_us) == ("crash", 1 << 32 | 2, RECEIVED_MS * 1000)
    assert alarm.clock_valid
    assert json.loads(alarm.body_json) == body


@pytest.mark.parametrize("t_ms", [0, 1_072_915_236_000, RECEIVED_MS + CLOCK_AHEAD_US // 1000 + 1])
def test_an_alarm_of_a_wrong_clock_takes_place_at_its_arrival(t_ms: int) -> None:
    alarm = event({"t_ms": t_ms, "kind": "crash"})
    assert not alarm.clock_valid
    assert alarm.device_time_us == t_ms * 1000
    assert alarm.occurred_us == RECEIVED_US


def test_events_without_a_counter_are_told_apart_by_payload() -> None:
    one, two = (event({"t_ms": RECEIVED_MS, "kind": "sos"}, payload=payload) for payload in (b"one", b"two"))
    assert one.seq % 2**64 == payload_hash(b"one")
    assert one.seq != two.seq


def test_a_command_result_needs_no_time() -> None:
    assert event({"ok": True}, topics.COMMAND_RESULT).occurred_us == RECEIVED_MS * 1000


@pytest.mark.parametrize(
    ("stream", "body", "code", "named"),
    [
        (topics.ALARM, {"kind": "sos"}, "missing_time", "t_ms"),
        (topics.BURST, {**burst(), "t0_ms": None}, "missing_time", "t0_ms"),
        (topics.ALARM, {"t_ms": True, "kind": "sos"}, "wrong_type", "t_ms"),
        (topics.ALARM, {"t_ms": 10**15, "kind": "sos"}, "wrong_type", "t_ms"),
        (topics.ALARM, {"t_ms": RECEIVED_MS}, "missing_kind", "kind"),
        (topics.ALARM, {"t_ms": RECEIVED_MS, "kind": ""}, "missing_kind", "kind"),
        (topics.ALARM, {"t_ms": RECEIVED_MS, "kind": "sos", "seq": -1}, "wrong_type", "seq"),
        (topics.ALARM, {"t_ms": RECEIVED_MS, "kind": "sos", "boot": 2**32}, "wrong_type", "boot"),
        (topics.ALARM, {"t_ms": RECEIVED_MS, "kind": "a\x00b"}, "nul_in_text", "NUL"),
        (topics.ALARM, {"t_ms": RECEIVED_MS, "kind": "sos", "a": {"b": [1.0, float("inf")]}}, "not_finite", "a.b.1"),
        (topics.BURST, burst(rate_hz=0), "wrong_type", "rate_hz"),
        (topics.BURST, burst(rate_hz=True), "wrong_type", "rate_hz"),
        (topics.BURST, burst(accel_y_mps2=[1.0]), "wrong_length", "motion"),
        (topics.BURST, burst(accel_x_mps2=[]), "wrong_length", "motion"),
        (topics.BURST, burst(gyro_x_dps=[1.0, "x"]), "wrong_type", "gyro_x_dps"),
        (topics.BURST, burst(accel_x_mps2=[1.0, float("nan")]), "not_finite", "accel_x_mps2.1"),
    ],
)
def test_an_event_is_refused_by_name(stream: str, body: dict[str, Any], code: str, named: str) -> None:
    with pytest.raises(RefusedError) as caught:
        event(body, stream)
    assert caught.value.refusal.code == code
    assert named in caught.value.refusal.sentence


def test_a_status_is_read() -> None:
    read = status({"online": True, "firmware": "1.2", "boot": 3, "t_ms": RECEIVED_MS, "sim": "x"})
    assert (read.online, read.firmware, read.boot, read.reported_us) == (True, "1.2", 3, RECEIVED_MS * 1000)
    assert json.loads(read.body_json)["sim"] == "x"


@pytest.mark.parametrize(
    "body",
    [{"online": 1}, {"firmware": 2}, {"boot": -1}, {"boot": 2**32}, {"boot": True}, {"t_ms": -1}, {"t_ms": 10**15}],
)
def test_a_status_is_refused_by_name(body: dict[str, Any]) -> None:
    with pytest.raises(RefusedError, match=next(iter(body))):
        status(body)


anything = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(),
        st.floats(),
        st.text(max_size=5),
        st.sampled_from([RECEIVED_MS, 10**400, "nul\x00", b"bytes", msgspec.msgpack.Ext(7, b"x")]),
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(st.one_of(st.text(max_size=3), st.none(), st.integers(), st.floats()), inner, max_size=3),
    ),
    max_leaves=8,
)
keys = st.one_of(
    st.sampled_from(
        ["t_ms", "t0_ms", "boot", "seq", "kind", "rate_hz", "accel_x_mps2", "gyro_z_dps", "online", "firmware"]
    ),
    st.text(max_size=4),
)


@settings(max_examples=400)
@given(st.dictionaries(keys, anything, max_size=5), st.sampled_from([*EVENT_STREAMS, topics.STATUS]))
@example({"t_ms": RECEIVED_MS, "kind": "sos", "x": msgspec.msgpack.Ext(7, b"x")}, topics.ALARM)
@example({"t_ms": RECEIVED_MS, "kind": "sos", "x": {None: 1}}, topics.ALARM)
@example({"firmware": "1", "x": {None: 1}}, topics.STATUS)
def test_any_body_is_an_event_or_refused(body: dict[str, Any], stream: str) -> None:
    try:
        read = status(body) if stream == topics.STATUS else event(body, stream)
    except RefusedError as error:
        assert error.refusal.code
        assert error.refusal.sentence
        return
    assert isinstance(json.loads(read.body_json), dict)
    assert rb"\u0000" not in read.body_json


@settings(max_examples=200)
@given(st.binary(max_size=40), st.sampled_from(topics.INBOUND_STREAMS))
@example(b"\x82\xa4t_ms\xcf\x00\x00\x01\x9a\xb0\x0f\x84\x00\xa1x\x81\xc0\x01", topics.DIAGNOSTICS)
@example(b"\x81\xa1x\xd7\xff\x00\x00\x00\x00\x00\x00\x00\x00", topics.COMMAND_RESULT)
@example(b"\x81\xa1x\xc7\x01\x07\x00", topics.COMMAND_RESULT)
def test_any_bytes_on_any_stream_are_stored_or_refused(payload: bytes, stream: str) -> None:
    batch = decode([message("v1", stream, payload)], Settings())
    assert_settled(batch, payload, stream)


def assert_settled(batch: Batch, payload: bytes, stream: str) -> None:
    stored = len(batch.readings) + len(batch.events) + len(batch.statuses)
    if stream == topics.STATUS and not payload:
        assert not stored
        assert not batch.refused
    else:
        assert bool(stored) != bool(batch.refused) or any(r.code.startswith("clock_") for r in batch.refused.values())


def test_messagepack_keys_of_other_kinds_do_not_stop_a_batch() -> None:
    odd = native.event_body(msgspec.msgpack.encode({"t_ms": RECEIVED_MS, "kind": "sos", "x": {None: 1}}))
    with pytest.raises(RefusedError, match="JSON"):
        event(odd)
