"""Columns of a batch: order, once each, joined; and their binary forms as a real PostgreSQL reads them."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import psycopg
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from fleet_core import columns, db
from fleet_core.columns import COLUMNS, Kind
from fleet_core.db import Connection
from fleet_core.readings import FLAG_ABSENT, Readings, concatenate
from ingest import binary_arrays as arrays
from ingest import pgcopy, queries

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
INT64 = st.integers(-(2**63), 2**63 - 1)
texts = st.text(st.characters(codec="utf-8", exclude_characters="\x00"), max_size=12)
any_number = st.floats(allow_nan=True, allow_infinity=True)
any_flag = st.sampled_from([FLAG_ABSENT, 0, 1])


@st.composite
def some_readings(draw: st.DrawFn, max_rows: int = 12) -> Readings:
    """Any readings the pipeline could hold, doubles among them."""
    count = draw(st.integers(0, max_rows))
    vehicles = draw(
        st.lists(st.from_regex(r"[A-Za-z0-9_-]{1,64}", fullmatch=True), min_size=1, max_size=3, unique=True)
    )

    def column(values: st.SearchStrategy[Any], dtype: Any) -> NDArray[Any]:
        return np.array(draw(st.lists(values, min_size=count, max_size=count)), dtype=dtype)

    held: dict[str, NDArray[Any]] = {}
    for each in draw(st.lists(st.sampled_from(COLUMNS), max_size=6, unique=True)):
        if each.kind is Kind.NUMBER:
            held[each.name] = column(any_number, np.float64)
        elif each.kind is Kind.FLAG:
            held[each.name] = column(any_flag, np.int8)
        else:
            held[each.name] = column(st.one_of(st.none(), texts), object)
    extra = draw(st.dictionaries(st.integers(0, count - 1), texts, max_size=count)) if count else {}
    time = st.sampled_from([0, 1, 1_764_000_000_000_000, 946_684_800_000_000, 4_102_444_800_000_000])
    return Readings(
        vehicles,
        column(st.integers(0, len(vehicles) - 1), np.int64),
        column(st.integers(0, 5), np.int64),
        column(time, np.int64),
        column(st.one_of(st.integers(-2, 2), INT64), np.int64),
        column(time, np.int64),
        held,
        {row: ('{"text": "' + text.encode("unicode_escape").hex() + '"}').encode() for row, text in extra.items()},
    )


def rows_of(readings: Readings) -> list[tuple[Any, ...]]:
    """Rows as the database gives them back, in the order of all columns."""
    rows = []
    for row in range(len(readings)):
        values: list[Any] = [
            readings.vehicles[readings.vehicle_index[row]],
            EPOCH + timedelta(microseconds=int(readings.device_time_us[row])),
            int(readings.seq[row]),
            EPOCH + timedelta(microseconds=int(readings.received_us[row])),
        ]
        for column in COLUMNS:
            held = readings.columns.get(column.name)
            value = None if held is None else held[row]
            if value is None or (column.kind is Kind.NUMBER and np.isnan(value)):
                values.append(None)
            elif column.kind is Kind.FLAG:
                values.append(None if value == FLAG_ABSENT else bool(value))
            else:
                values.append(float(value) if column.kind is Kind.NUMBER else value)
        extra = readings.extra.get(row)
        values.append(None if extra is None else extra.decode())
        rows.append(tuple(values))
    return rows


NAMES = [*pgcopy.KEY_COLUMNS, *(column.name for column in COLUMNS), "extra"]


@pytest.fixture
def connection(database_url: str) -> Iterator[Connection]:
    with db.connect(database_url, "test") as held:
        queries.prepare_session(held)
        # Without a key: any readings, doubles too, come back as they went in.
        held.execute("CREATE TEMPORARY TABLE copied (LIKE readings, row bigserial)")
        held.commit()
        yield held


def copied(connection: Connection, readings: Readings) -> list[tuple[Any, ...]]:
    connection.rollback()
    connection.execute("TRUNCATE copied RESTART IDENTITY")
    names = ", ".join(pgcopy.columns_of(readings))
    with connection.cursor().copy(f"COPY copied ({names}) FROM STDIN BINARY") as copy:  # type: ignore[arg-type]
        for chunk in pgcopy.chunks(readings):
            copy.write(chunk)
    wanted = ", ".join("extra::text" if name == "extra" else name for name in NAMES)
    return connection.execute(f"SELECT {wanted} FROM copied ORDER BY row").fetchall()  # type: ignore[arg-type]


def test_copy_carries_any_readings(connection: Connection) -> None:
    @settings(max_examples=150)
    @given(some_readings())
    def round_trip(readings: Readings) -> None:
        assert copied(connection, readings) == rows_of(readings)

    round_trip()


def test_copy_carries_readings_over_several_slices(connection: Connection, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pgcopy, "_SLICE_ROWS", 3)

    @settings(max_examples=60)
    @given(some_readings())
    def round_trip(readings: Readings) -> None:
        assert copied(connection, readings) == rows_of(readings)

    round_trip()


def test_binary_arrays_carry_any_values(connection: Connection) -> None:
    def read(array: arrays.BinaryArray, kind: str) -> Any:
        row = connection.execute(f"SELECT %b::{kind}[]", [array]).fetchone()  # type: ignore[arg-type]
        assert row is not None
        return row[0]

    @settings(max_examples=100)
    @given(
        st.lists(any_number, max_size=5),
        st.lists(INT64, max_size=5),
        st.lists(st.integers(0, 4_102_444_800_000_000), max_size=5),
        st.lists(any_flag, max_size=5),
        st.lists(texts, max_size=5),
    )
    def round_trip(
        numbers: list[float], integers: list[int], times_us: list[int], flags: list[int], words: list[str]
    ) -> None:
        as_array = read(arrays.numbers(np.array(numbers, dtype=np.float64)), "float8")
        assert as_array == [None if np.isnan(number) else number for number in numbers]
        assert read(arrays.integers(np.array(integers, dtype=np.int64)), "bigint") == integers
        as_times = read(arrays.times(np.array(times_us, dtype=np.int64)), "timestamptz")
        assert as_times == [EPOCH + timedelta(microseconds=time) for time in times_us]
        as_flags = read(arrays.flags(np.array(flags, dtype=np.int8)), "bool")
        assert as_flags == [None if flag < 0 else bool(flag) for flag in flags]
        assert read(arrays.texts(words), "text") == words

    round_trip()


@settings(max_examples=200)
@given(some_readings())
def test_key_order_keeps_the_first_arrival_of_each_key(readings: Readings) -> None:
    ordered, dropped = readings.in_key_order()
    keys = [(index, time, seq) for index, time, seq in zip(*key_columns(ordered), strict=True)]
    assert keys == sorted(set(keys))
    assert len(ordered) + dropped == len(readings)
    first: dict[tuple[int, int, int], tuple[Any, ...]] = {}
    for key, row in zip(zip(*key_columns(readings), strict=True), rows_of(readings), strict=True):
        first.setdefault(key, row)
    assert rows_of(ordered) == [first[key] for key in keys]


def key_columns(readings: Readings) -> tuple[list[int], list[int], list[int]]:
    return readings.vehicle_index.tolist(), readings.device_time_us.tolist(), readings.seq.tolist()


@settings(max_examples=200)
@given(st.lists(some_readings(max_rows=4), max_size=4))
def test_parts_are_joined_row_after_row(parts: list[Readings]) -> None:
    joined = concatenate(parts)
    assert rows_of(joined) == [row for part in parts for row in rows_of(part)]
    assert len(set(joined.vehicles)) == len(joined.vehicles)
    assert joined.message_index.tolist() == [index for part in parts for index in part.message_index.tolist()]


@given(some_readings(), st.data())
def test_taking_rows_takes_all_of_them(readings: Readings, data: st.DataObject) -> None:
    rows = data.draw(st.lists(st.integers(0, max(0, len(readings) - 1)), max_size=6)) if len(readings) else []
    everything = rows_of(readings)
    assert rows_of(readings.take(np.array(rows, dtype=np.intp))) == [everything[row] for row in rows]


def test_a_fix_needs_coordinates_that_are_not_zero_and_not_marked() -> None:
    nan = float("nan")
    readings = Readings(
        ["v"],
        *(np.zeros(7, dtype=np.int64) for _ in range(5)),
        {
            "lat_deg": np.array([1.0, 0.0, 0.0, nan, 1.0, 1.0, 1.0]),
            "lon_deg": np.array([1.0, 0.0, 5.0, 1.0, nan, 1.0, 1.0]),
            "fix_valid": np.array([-1, 1, 1, 1, 1, 0, 1], dtype=np.int8),
        },
    )
    assert readings.fix_mask().tolist() == [True, False, True, False, False, False, True]


def test_the_table_and_the_columns_are_the_same(database_url: str) -> None:
    with psycopg.connect(database_url) as held:
        found = held.execute(
            "SELECT column_name, data_type FROM information_schema.columns WHERE table_name = 'readings'"
            " AND table_schema = 'public' ORDER BY ordinal_position"
        ).fetchall()
    assert [name for name, _ in found] == NAMES
    kinds = dict(found)
    assert all(kinds[column.name] == column.kind.value for column in columns.COLUMNS)
