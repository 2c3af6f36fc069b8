"""Telemetry bodies to columns: the batch path and the path that looks at one message agree on every body."""

from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from fleet_core.columns import BY_NAME, ENVELOPE, Kind
from fleet_core.readings import FLAG_ABSENT, Readings
from ingest.codecs import native
from ingest.form import MAX_SAMPLES, MAX_T_MS, MAX_UNKNOWN_COLUMNS, why_refused
from ingest.message import Refusal, RefusedError
from ingest.telemetry import CLOCK_AHEAD_US, CLOCK_BEHIND_US, Item, assemble, payload_hash
from tests.ingest_bodies import ODD_VALUES, RECEIVED_MS, RECEIVED_US, RULED_KEYS, good_bodies, odd_bodies


def item(body: dict[str, Any], index: int = 0, vehicle_id: str = "v1", payload: bytes = b"payload") -> Item:
    return Item(index, vehicle_id, RECEIVED_US, payload, body)


def cell(readings: Readings, name: str, row: int) -> Any:
    """Value of a known column as Python sees it, None when absent."""
    if name not in readings.columns:
        return None
    value = readings.columns[name][row]
    kind = BY_NAME[name].kind
    if kind is Kind.NUMBER:
        return None if np.isnan(value) else float(value)
    if kind is Kind.FLAG:
        return None if value == FLAG_ABSENT else bool(value)
    return value


def rows_of(readings: Readings) -> list[tuple[Any, ...]]:
    """Every row as plain values, columns that are absent throughout left out."""
    return [
        (
            readings.vehicles[readings.vehicle_index[row]],
            int(readings.message_index[row]),
            int(readings.device_time_us[row]),
            int(readings.seq[row]),
            int(readings.received_us[row]),
            {name: value for name in readings.columns if (value := cell(readings, name, row)) is not None},
            readings.extra.get(row),
        )
        for row in range(len(readings))
    ]


def one_row(body: dict[str, Any]) -> tuple[Readings, dict[int, Refusal]]:
    return assemble([item(body)])


def is_clock(refusal: Refusal) -> bool:
    return refusal.code.startswith("clock_")


def assert_agreement(body: dict[str, Any]) -> None:
    why = why_refused(body)
    for others in ([], [item({"seq": 1, "t_ms": RECEIVED_MS}, 1)], [item({"seq": 1, "t_ms": [RECEIVED_MS] * 2}, 1)]):
        readings, refused = assemble([item(body), *others])
        assert not others or 1 not in refused
        of_body = int(np.count_nonzero(readings.message_index == 0))
        if why is not None:
            assert refused == {0: why}
            assert of_body == 0
        else:
            assert all(is_clock(refusal) for refusal in refused.values())
            assert of_body or refused


@pytest.mark.parametrize("key", RULED_KEYS)
def test_form_and_assembly_agree_on_every_odd_value_of_every_ruled_key(key: str) -> None:
    for value in ODD_VALUES:
        for held in (value, [value], [value, value], [value, None], [0, value], [None, value]):
            for times in (RECEIVED_MS, [RECEIVED_MS], [RECEIVED_MS, RECEIVED_MS]):
                assert_agreement({"t_ms": times, key: held})


@settings(max_examples=400)
@given(odd_bodies())
@example({"t_ms": [RECEIVED_MS], "io1": 10**400})
@example({"t_ms": RECEIVED_MS, "speed_kmh": [[1.0]]})
@example({"t_ms": RECEIVED_MS, "lat_sent_deg": None})
@example({"t_ms": [True]})
@example({"t_ms": RECEIVED_MS, "boot": None})
@example({"t_ms": RECEIVED_MS, "ignition": 1.0})
@example({"t_ms": RECEIVED_MS, "crs": [["gcj02"]]})
@example({"t_ms": RECEIVED_MS, "io1": [{"a": 1}]})
def test_form_and_assembly_agree(body: dict[str, Any]) -> None:
    assert_agreement(body)


@settings(max_examples=200)
@given(st.lists(odd_bodies(), min_size=2, max_size=5))
def test_a_message_fares_the_same_alone_and_among_others(bodies: list[dict[str, Any]]) -> None:
    items = [item(body, index, f"v{index % 2}", str(index).encode()) for index, body in enumerate(bodies)]
    together, refused_together = assemble(items)
    alone: list[tuple[Any, ...]] = []
    refused_alone: dict[int, Refusal] = {}
    for each in items:
        readings, refused = assemble([each])
        alone += rows_of(readings)
        refused_alone |= refused
    assert refused_together == refused_alone
    assert rows_of(together) == alone


@settings(max_examples=300)
@given(good_bodies())
def test_every_sample_of_a_good_body_is_kept_as_sent(body: dict[str, Any]) -> None:
    assert why_refused(body) is None
    readings, refused = one_row(body)
    times = body["t_ms"] if isinstance(body["t_ms"], list) else [body["t_ms"]]
    assert not refused
    assert (readings.device_time_us // 1000).tolist() == times
    for row in range(len(times)):
        unknown = {}
        for name, values in body.items():
            if name in ENVELOPE:
                continue
            sent = values[row] if isinstance(values, list) else values
            if name not in BY_NAME:
                if sent is not None:
                    unknown[name] = sent
                continue
            span = BY_NAME[name].measurable
            if span is not None and sent is not None and not span[0] <= sent <= span[1]:
                assert cell(readings, name, row) is None, name
                unknown[name] = sent
                continue
            shifted = name in ("lat_deg", "lon_deg") and cell(readings, "crs", row) in ("gcj02", "bd09")
            assert cell(readings, name.replace("_deg", "_sent_deg") if shifted else name, row) == sent, name
        kept = readings.extra.get(row)
        assert (None if kept is None else msgspec.json.decode(kept)) == (
            msgspec.json.decode(msgspec.json.encode(unknown)) if unknown else None
        )


@settings(max_examples=200)
@given(good_bodies())
def test_messagepack_and_json_give_the_same_readings(body: dict[str, Any]) -> None:
    wide = any(
        type(value) is int and not -(2**63) <= value < 2**64
        for values in body.values()
        for value in (values if isinstance(values, list) else [values])
    )
    if wide:
        return  # MessagePack has no such integer
    as_json = native.telemetry_body(msgspec.json.encode(body))
    as_msgpack = native.telemetry_body(msgspec.msgpack.encode(body))
    json_rows = rows_of(assemble([item(as_json)])[0])
    assert rows_of(assemble([item(as_msgpack)])[0]) == json_rows
    assert rows_of(assemble([item(body)])[0]) == json_rows


@settings(max_examples=300)
@given(st.binary(max_size=60))
@example(b"{")
@example(b"\x81\xa1t\x01\x02")
@example(b'{"t_ms":1' + b"0" * 5000 + b"}")
@example(b'{"t_ms":1764000000000,"x":' + b"[" * 5000)
@example(b"\x81\xa1x" + b"\x91" * 5000 + b"\x01")
def test_bytes_are_read_or_refused(payload: bytes) -> None:
    for read in (native.telemetry_body, native.event_body):
        try:
            body = read(payload)
        except RefusedError as error:
            assert error.refusal.code in {"empty", "undecodable", "wrong_type"}
        else:
            assert isinstance(body, dict)


# -- identity --------------------------------------------------------------------------------------------------------


def test_counter_counts_on_within_a_message() -> None:
    readings, _ = one_row({"boot": 17, "seq": 1040, "t_ms": [RECEIVED_MS, RECEIVED_MS + 1, RECEIVED_MS + 2]})
    assert readings.seq.tolist() == [17 << 32 | 1040, 17 << 32 | 1041, 17 << 32 | 1042]


def test_a_missing_boot_is_zero() -> None:
    readings, _ = one_row({"seq": 5, "t_ms": RECEIVED_MS})
    assert readings.seq.tolist() == [5]


def test_the_counter_carries_into_boot_and_wraps_at_64_bits() -> None:
    readings, _ = one_row({"boot": 1, "seq": 2**32 - 1, "t_ms": [RECEIVED_MS, RECEIVED_MS]})
    assert readings.seq.tolist() == [(1 << 32) + 2**32 - 1, 2 << 32]
    readings, _ = one_row({"boot": 2**32 - 1, "seq": 2**32 - 1, "t_ms": [RECEIVED_MS, RECEIVED_MS]})
    assert readings.seq.tolist() == [-1, 0]


@given(st.integers(0, 2**32 - 1), st.integers(0, 2**32 - 1))
def test_identity_is_the_64_bits_read_as_signed(boot: int, seq: int) -> None:
    readings, _ = one_row({"boot": boot, "seq": seq, "t_ms": RECEIVED_MS})
    assert int(readings.seq[0]) % 2**64 == boot << 32 | seq


def test_devices_without_a_counter_are_told_apart_by_payload() -> None:
    body = {"t_ms": [RECEIVED_MS, RECEIVED_MS]}
    readings, _ = assemble(
        [item(body, 0, payload=b"one"), item(body, 1, payload=b"two"), item(body, 2, payload=b"one")]
    )
    unsigned = [int(seq) % 2**64 for seq in readings.seq.tolist()]
    first, second = payload_hash(b"one"), payload_hash(b"two")
    assert unsigned == [first, (first + 1) % 2**64, second, (second + 1) % 2**64, first, (first + 1) % 2**64]


# -- clocks ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("offset_us", "code"),
    [
        (CLOCK_AHEAD_US, None),
        (CLOCK_AHEAD_US + 1000, "clock_ahead"),
        (-CLOCK_BEHIND_US, None),
        (-CLOCK_BEHIND_US - 1000, "clock_behind"),
        (-RECEIVED_US, "clock_not_set"),
        (1_072_915_236_000_000 - RECEIVED_US, "clock_not_set"),  # 2004-01-01, what a real Teltonika unit sends
        (MAX_T_MS * 1000 - RECEIVED_US, "clock_ahead"),
    ],
)
def test_clocks_are_judged_at_the_edge(offset_us: int, code: str | None) -> None:
    readings, refused = one_row({"seq": 1, "t_ms": (RECEIVED_US + offset_us) // 1000})
    assert [refusal.code for refusal in refused.values()] == ([] if code is None else [code])
    assert len(readings) == (1 if code is None else 0)


def test_impossible_samples_are_left_out_and_the_others_kept() -> None:
    times = [RECEIVED_MS, 0, RECEIVED_MS + 1, RECEIVED_MS + 10**9]
    body = {"seq": 7, "t_ms": times, "speed_kmh": [1.0, 2.0, 3.0, 4.0], "io1": [1, 2, 3, 4]}
    readings, refused = assemble([item({"seq": 1, "t_ms": RECEIVED_MS}, 0), item(body, 1)])
    assert [row[3] for row in rows_of(readings)] == [1, 7, 9]
    assert readings.columns["speed_kmh"][1:].tolist() == [1.0, 3.0]
    assert readings.extra == {1: b'{"io1":1}', 2: b'{"io1":3}'}
    assert refused[1].code == "clock_not_set"
    assert "2 of 4 samples" in refused[1].sentence


# -- columns ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("column", "code", "named"),
    [
        ({"speed_kmh": "fast"}, "wrong_type", "speed_kmh"),
        ({"speed_kmh": True}, "wrong_type", "speed_kmh"),
        ({"speed_kmh": [1.0]}, "wrong_length", "speed_kmh"),
        ({"speed_kmh": float("nan")}, "not_finite", "speed_kmh"),
        ({"speed_kmh": [1.0, float("inf")]}, "not_finite", "speed_kmh"),
        ({"lat_deg": 90.5}, "out_of_range", "lat_deg"),
        ({"lon_deg": [0.0, -180.5]}, "out_of_range", "lon_deg"),
        ({"ignition": 2}, "wrong_type", "ignition"),
        ({"crs": "mars"}, "wrong_type", "crs"),
        ({"lat_sent_deg": 1.0}, "reserved", "lat_sent_deg"),
        ({"io1": [1]}, "wrong_length", "io1"),
        ({"io1": float("nan")}, "not_finite", "io1"),
        ({"io1": "nul\x00"}, "nul_in_text", "NUL"),
        ({"io1": "x" * 5000}, "extra_too_large", "4096"),
        ({"seq": -1}, "wrong_type", "seq"),
        ({"seq": 2**32}, "wrong_type", "seq"),
        ({"boot": "1"}, "wrong_type", "boot"),
        ({"t_ms": []}, "missing_time", "t_ms"),
        ({"t_ms": None}, "missing_time", "t_ms"),
        ({"t_ms": [1.5, 2.5]}, "wrong_type", "t_ms"),
        ({"t_ms": [RECEIVED_MS, -1]}, "out_of_range", "t_ms"),
    ],
)
def test_a_refusal_names_what_is_wrong(column: dict[str, Any], code: str, named: str) -> None:
    good = {"seq": 1, "t_ms": [RECEIVED_MS, RECEIVED_MS + 1], "speed_kmh": 2.0}
    readings, refused = assemble([item(good, 0), item({**good, **column}, 1), item(good, 2)])
    assert list(refused) == [1]
    assert refused[1].code == code
    assert named in refused[1].sentence
    assert readings.message_index.tolist() == [0, 0, 2, 2]


def test_what_no_sensor_measures_is_absent_and_kept_as_sent() -> None:
    readings, refused = one_row(
        {"t_ms": RECEIVED_MS, "seq": 1, "speed_kmh": -1, "rpm": 65535, "coolant_c": 90, "own": 7}
    )
    assert not refused
    assert np.isnan(readings.columns["speed_kmh"]).all() and np.isnan(readings.columns["rpm"]).all()
    assert readings.columns["coolant_c"].tolist() == [90.0]
    assert msgspec.json.decode(readings.extra[0]) == {"speed_kmh": -1.0, "rpm": 65535.0, "own": 7}
    many, _ = assemble([item({"t_ms": [RECEIVED_MS, RECEIVED_MS + 1], "seq": 1, "accel_x_mps2": [1e300, 9.0]})])
    assert many.columns["accel_x_mps2"][1] == 9.0 and msgspec.json.decode(many.extra[0]) == {"accel_x_mps2": 1e300}


def test_coordinates_of_china_are_converted_and_kept_as_sent() -> None:
    body = {
        "seq": 1,
        "t_ms": [RECEIVED_MS] * 4,
        "lat_deg": [31.2304, 31.2304, 31.2304, None],
        "lon_deg": [121.4737, 121.4737, 121.4737, None],
        "crs": ["wgs84", "gcj02", "bd09", "gcj02"],
    }
    readings, refused = assemble([item(body, 0), item({"seq": 9, "t_ms": RECEIVED_MS, "lat_deg": 1.0}, 1)])
    assert not refused
    assert cell(readings, "lat_deg", 0) == 31.2304
    assert [cell(readings, "lat_sent_deg", row) for row in range(5)] == [None, 31.2304, 31.2304, None, None]
    assert [cell(readings, "lon_sent_deg", row) for row in range(5)] == [None, 121.4737, 121.4737, None, None]
    # GCJ-02 lies about 200 m south and 400 m east of WGS-84 there; BD-09 further in the opposite sense.
    assert cell(readings, "lat_deg", 1) == pytest.approx(31.2323, abs=2e-4)
    assert cell(readings, "lon_deg", 1) == pytest.approx(121.4692, abs=2e-4)
    assert cell(readings, "lat_deg", 2) == pytest.approx(31.2266, abs=5e-4)
    assert cell(readings, "lon_deg", 2) == pytest.approx(121.4627, abs=5e-4)
    assert cell(readings, "lat_deg", 3) is None
    assert cell(readings, "lat_deg", 4) == 1.0


def test_what_a_small_message_unfolds_to_is_bounded() -> None:
    many = [RECEIVED_MS] * (MAX_SAMPLES + 1)
    wide = {f"io{number}": 1 for number in range(MAX_UNKNOWN_COLUMNS + 1)}
    readings, refused = assemble(
        [
            item({"seq": 1, "t_ms": many, "speed_kmh": 1.0}, 0),
            item({"seq": 1, "t_ms": many[1:], "speed_kmh": 1.0}, 1),
            item({"seq": 1, "t_ms": RECEIVED_MS, **wide}, 2),
        ]
    )
    assert {index: refusal.code for index, refusal in refused.items()} == {0: "too_many_samples", 2: "extra_too_large"}
    assert len(readings) == MAX_SAMPLES
    for body in ({"t_ms": many}, {"t_ms": RECEIVED_MS, **wide}):
        assert assemble([item(body)])[1] == {0: why_refused(body)}
