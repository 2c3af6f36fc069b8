"""Frames byte for byte, and the state they come from. No database, no sockets."""

import math
import re
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleet_api import live_frames, live_source
from fleet_api.live_frames import Box
from fleet_api.live_state import FleetState, PositionColumns

NOW_MS = 1_772_352_000_000
WORLD = live_frames.widen((-180.0, -90.0, 180.0, 90.0))


def columns(*rows: tuple[Any, ...]) -> PositionColumns:
    """Rows of (vehicle id, lat, lon, device time ms, speed, heading, ignition)."""
    ids, lat, lon, time_ms, speed, heading, ignition = zip(*rows, strict=True)
    return PositionColumns(
        list(ids),
        np.array(lat, dtype=np.float64),
        np.array(lon, dtype=np.float64),
        np.array(time_ms, dtype=np.int64),
        np.array(speed, dtype=np.float64),
        np.array(heading, dtype=np.float64),
        np.array(ignition, dtype=np.int8),
    )


def car(vehicle_id: str, lat: float, lon: float, time_ms: int = NOW_MS, speed: float = 30.0) -> tuple[Any, ...]:
    return (vehicle_id, lat, lon, time_ms, speed, 90.0, 1)


def test_snapshot_is_laid_out_as_documented() -> None:
    state = FleetState(revision=41)
    state.apply(
        columns(
            ("v-1", 31.2304, 121.4737, NOW_MS - 1500, 42.5, 271.25, 1),
            ("v-2", -33.9, -70.6, NOW_MS - 121_000, math.nan, math.nan, -1),
            ("v-3", 0.5, 0.25, NOW_MS + 250, 2.99, -0.004, 0),
        )
    )
    frame = state.update_for(WORLD, None, NOW_MS).frame
    expected = struct.pack("<2sBBIQQq", b"FL", 1, 2, 3, 42, 0, NOW_MS)
    expected += struct.pack("<3I", 0, 1, 2)
    expected += struct.pack("<3i", 1_214_737_000, -706_000_000, 2_500_000)
    expected += struct.pack("<3i", 312_304_000, -339_000_000, 5_000_000)
    expected += struct.pack("<3i", 1500, 121_000, -250)
    expected += struct.pack("<3H", 27_125, 65_535, 0)
    expected += struct.pack("<3H", 4250, 65_535, 299)
    # ignition on, known, moving; stale; ignition known
    expected += bytes([1 | 2 | 4, 8, 2])
    assert frame == expected
    assert len(frame) == 32 + 3 * 21


def test_names_are_laid_out_as_documented() -> None:
    frame = live_frames.encode_names(7, NOW_MS, np.array([0, 300], dtype=np.uint32), [b"v-1", b"hu_A-2"])
    header = struct.pack("<2sBBIQQq", b"FL", 1, 1, 2, 7, 0, NOW_MS)
    assert frame == header + struct.pack("<2I", 0, 300) + bytes([3, 6]) + b"v-1hu_A-2"
    assert live_frames.decode(frame).names == {0: "v-1", 300: "hu_A-2"}


def test_the_reader_in_the_document_reads_what_is_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    document = (Path(__file__).resolve().parents[1] / "docs" / "live-protocol.md").read_text("utf-8")
    found = re.search(r"```python\n(.*?)```", document, re.DOTALL)
    assert found is not None
    state = FleetState()
    state.apply(columns(car("v-1", 31.23, 121.47, NOW_MS - 70), car("v-22", 60.0, 25.0, NOW_MS)))
    update = state.update_for(WORLD, None, NOW_MS)
    sent: list[bytes | str] = [
        '{"type": "hello"}',
        live_frames.encode_names(1, NOW_MS, update.rows.astype(np.uint32), state.names),
        update.frame,
    ]

    class Socket(list[bytes | str]):
        def send(self, text: str) -> None:
            assert text == '{"viewport": [-180, -90, 180, 90]}'

        def __enter__(self) -> "Socket":
            return self

        def __exit__(self, *_: object) -> None:
            pass

    monkeypatch.setattr("websockets.sync.client.connect", lambda *_args, **_options: Socket(sent))
    seen: dict[str, Any] = {}
    exec(found.group(1), seen)
    assert seen["names"] == {0: "v-1", 1: "v-22"}
    assert seen["lat_deg"].tolist() == [31.23, 60.0] and seen["lon_deg"].tolist() == [121.47, 25.0]
    assert seen["device_time_ms"].tolist() == [NOW_MS - 70, NOW_MS]


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda frame: frame[:20], "less than a header"),
        (lambda frame: b"XX" + frame[2:], "magic"),
        (lambda frame: frame[:2] + b"\x02" + frame[3:], "version 2"),
        (lambda frame: frame[:3] + b"\x09" + frame[4:], "kind 9"),
        (lambda frame: frame[:-1], "do not hold 1 vehicles"),
    ],
)
def test_what_is_no_frame_is_refused(damage: Any, said: str) -> None:
    state = FleetState()
    state.apply(columns(car("v-1", 1.0, 2.0)))
    with pytest.raises(live_frames.FrameError, match=said):
        live_frames.decode(damage(state.update_for(WORLD, None, NOW_MS).frame))


@given(
    st.lists(
        st.tuples(
            st.floats(),
            st.floats(),
            st.integers(-(2**40), 2**42),
            st.floats(),
            st.floats(),
            st.sampled_from([-1, 0, 1]),
        ),
        max_size=30,
    )
)
def test_any_numbers_make_a_frame_that_reads_back(rows: list[tuple[Any, ...]]) -> None:
    state = FleetState()
    if rows:
        state.apply(columns(*((f"v-{at}", *row) for at, row in enumerate(rows))))
    frame = live_frames.decode(state.update_for(WORLD, None, NOW_MS).frame)
    placed = [row for row in rows if abs(row[0]) <= 90 and abs(row[1]) <= 180]
    assert frame.header.count == len(placed)
    assert np.all(frame.columns["heading_cdeg"] <= 35_999) or 65_535 in frame.columns["heading_cdeg"]
    assert frame.columns["lat_e7"].tolist() == [round(row[0] * 1e7) for row in placed]
    for speed, (*_, given_speed, _heading, _ignition) in zip(frame.columns["speed_ckmh"].tolist(), placed, strict=True):
        if math.isfinite(given_speed) and given_speed >= 0:
            assert speed <= 65_534
        else:
            assert speed == 65_535


@given(st.floats(-180, 180), st.floats(-90, 90), st.floats(0, 360), st.floats(0, 180), st.floats(0, 1), st.floats(0, 1))
def test_a_box_holds_all_of_its_viewport(
    west: float, south: float, width: float, height: float, part_x: float, part_y: float
) -> None:
    north = min(90.0, south + height)
    east = west + width if west + width <= 180 else west + width - 360
    box = live_frames.widen((west, south, max(-180.0, east), north))
    lon = west + width * part_x
    lon = lon - 360 if lon > 180 else lon
    lat = south + (north - south) * part_y
    at = np.array([round(lon * 1e7)], dtype=np.int32), np.array([round(lat * 1e7)], dtype=np.int32)
    assert box.holds(*at).all()


def test_box_across_180_degrees() -> None:
    box = live_frames.widen((179.0, -18.0, -179.0, -16.0))
    assert box.west > box.east
    lon = np.array([179_500_0000, -179_500_0000, 0], dtype=np.int32) * np.int32(1)
    assert box.holds(lon, np.full(3, -170_000_000, dtype=np.int32)).tolist() == [True, True, False]


def test_nearly_the_same_viewport_shares_one_frame() -> None:
    state = FleetState()
    state.apply(columns(car("v-1", 31.23, 121.47)))
    one = state.update_for(live_frames.widen((121.40, 31.20, 121.60, 31.30)), None, NOW_MS)
    other = state.update_for(live_frames.widen((121.401, 31.201, 121.601, 31.301)), None, NOW_MS + 900)
    assert one.frame is other.frame
    later = state.update_for(live_frames.widen((121.40, 31.20, 121.60, 31.30)), None, NOW_MS + 1000)
    assert later.frame is not one.frame, "the time in a frame is never old"


CITY = Box(1_214_000_000, 311_000_000, 1_216_000_000, 313_000_000)


def ids(state: FleetState, update: Any) -> set[str]:
    return {state.names[row].decode() for row in update.rows}


def test_delta_holds_changes_arrivals_and_departures_and_nothing_else() -> None:
    state = FleetState()
    state.apply(
        columns(
            car("stays", 31.2, 121.5),
            car("moves", 31.2, 121.5),
            car("leaves", 31.2, 121.5),
            car("comes", 10.0, 10.0),
            car("elsewhere", 10.0, 10.0),
        )
    )
    first = state.update_for(CITY, None, NOW_MS)
    assert ids(state, first) == {"stays", "moves", "leaves"}
    state.apply(columns(car("moves", 31.21, 121.5), car("leaves", 10.0, 10.0)))
    state.apply(columns(car("comes", 31.2, 121.5), car("elsewhere", 11.0, 10.0), car("stays", 31.2, 121.5)))
    second = state.update_for(CITY, first.after, NOW_MS)
    header = live_frames.decode(second.frame).header
    assert (header.kind, header.base_revision) == (live_frames.DELTA, first.after.revision)
    assert ids(state, second) == {"moves", "leaves", "comes"}
    third = state.update_for(CITY, second.after, NOW_MS)
    assert ids(state, third) == set()
    # A client that skipped the second frame is told of the departure all the same.
    assert ids(state, state.update_for(CITY, first.after, NOW_MS)) == {"moves", "leaves", "comes"}


def test_unchanged_rows_make_no_revision() -> None:
    state = FleetState()
    assert state.apply(columns(car("v-1", 31.2, 121.5))) == 1
    revision = state.revision
    assert state.apply(columns(car("v-1", 31.2, 121.5))) == 0
    assert state.revision == revision
    assert state.apply(columns(car("v-1", 31.2, 121.5, NOW_MS + 1))) == 1


def test_doubt_and_another_box_give_a_snapshot() -> None:
    state = FleetState()
    state.apply(columns(car("v-1", 31.2, 121.5)))
    sent = state.update_for(CITY, None, NOW_MS).after
    state.distrust()
    assert live_frames.decode(state.update_for(CITY, sent, NOW_MS).frame).header.kind == live_frames.SNAPSHOT
    sent = state.update_for(CITY, None, NOW_MS).after
    assert live_frames.decode(state.update_for(WORLD, sent, NOW_MS).frame).header.kind == live_frames.SNAPSHOT


def test_vehicles_beyond_the_first_capacity_keep_their_place() -> None:
    state = FleetState()
    state.apply(columns(*(car(f"v-{n}", 31.0 + n * 1e-6, 121.5) for n in range(1000))))
    sent = state.update_for(CITY, None, NOW_MS).after
    state.apply(columns(*(car(f"w-{n}", 31.2, 121.5) for n in range(3000))))
    frame = live_frames.decode(state.update_for(CITY, sent, NOW_MS).frame)
    assert frame.header.count == 3000
    assert state.update_for(WORLD, None, NOW_MS).rows.size == 4000
    assert live_frames.decode(state.update_for(WORLD, None, NOW_MS).frame).columns["lat_e7"][999] == 310_009_990


def test_an_id_outside_the_contract_is_noticed() -> None:
    packed = [np.zeros(1, dtype=kind).tobytes() for kind in (">f8", ">f8", ">i8", ">f8", ">f8", ">i2")]
    with pytest.raises(ValueError, match="id that the contract does not allow"):
        live_source.position_columns((1, "a,b", *packed))


def test_a_replaced_database_is_noticed() -> None:
    assert live_source.went_back("700:712:700,705", "300:300:")
    assert not live_source.went_back("700:712:700,705", "701:712:705")
