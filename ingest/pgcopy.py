"""Readings as PostgreSQL's binary COPY format, built column by column.

The rows of the format are of varying length: a NULL is a length of -1 and no bytes, a text has its own length. So the
widest row is laid out as a byte matrix, one row a reading, and the bytes that a row does not have are dropped in one
masked selection, which keeps row order. Format: PostgreSQL manual, COPY, "Binary Format".
"""

from collections.abc import Iterator, Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from fleet_core.columns import BY_NAME, COLUMNS, Kind
from fleet_core.readings import FLAG_ABSENT, Readings

HEADER: Final = b"PGCOPY\n\xff\r\n\x00" + bytes(8)
TRAILER: Final = b"\xff\xff"

# Seconds from the Unix epoch to PostgreSQL's, 2000-01-01 UTC.
_PG_EPOCH_US: Final = 946_684_800 * 1_000_000
# Rows of the byte matrix at a time: bounds memory at some megabytes whatever the batch.
_SLICE_ROWS: Final = 8192

KEY_COLUMNS: Final = ("vehicle_id", "device_time", "seq", "received_at")

Bytes = NDArray[np.uint8]


def columns_of(readings: Readings) -> list[str]:
    """Columns that COPY must name for these readings: the key, those present, `extra` if any row has some."""
    present = [column.name for column in COLUMNS if column.name in readings.columns]
    return [*KEY_COLUMNS, *present, *(["extra"] if readings.extra else [])]


def chunks(readings: Readings) -> Iterator[bytes]:
    """Header, rows in slices, trailer."""
    yield HEADER
    # Of the whole, not of a slice: a slice may have no row with `extra`, but its rows have the field.
    names = columns_of(readings)
    for start in range(0, len(readings), _SLICE_ROWS):
        rows = np.arange(start, min(start + _SLICE_ROWS, len(readings)), dtype=np.intp)
        yield _rows(readings if len(rows) == len(readings) else readings.take(rows), names)
    yield TRAILER


def _rows(readings: Readings, names: Sequence[str]) -> bytes:
    count = len(readings)
    parts: list[Bytes] = [_constant(count, len(names).to_bytes(2, "big"))]
    # Which bytes of each part a row really has; None where every row has all.
    kept: list[NDArray[np.bool_] | None] = [None]

    def add(values: Bytes, lengths: NDArray[np.int64] | None = None) -> None:
        """Append a field. `values` is (count, width); `lengths` the bytes each row has, -1 for NULL."""
        width = values.shape[1]
        if lengths is None:
            parts.extend((_constant(count, width.to_bytes(4, "big")), values))
            kept.extend((None, None))
            return
        parts.extend((lengths.astype(">i4").view(np.uint8).reshape(count, 4), values))
        kept.extend((None, np.arange(width) < lengths[:, None]))

    ids = np.array([vehicle.encode("ascii") for vehicle in readings.vehicles])
    add(_bytes_of(ids, readings.vehicle_index), np.char.str_len(ids)[readings.vehicle_index])
    add(_big_endian(readings.device_time_us - _PG_EPOCH_US, ">i8"))
    add(_big_endian(readings.seq, ">i8"))
    add(_big_endian(readings.received_us - _PG_EPOCH_US, ">i8"))
    for name in names[len(KEY_COLUMNS) :]:
        if name == "extra":
            # jsonb's binary form is a version byte, 1, and the text.
            add(*_texts([b"\x01" + readings.extra[row] if row in readings.extra else None for row in range(count)]))
            continue
        values = readings.columns[name]
        kind = BY_NAME[name].kind
        if kind is Kind.NUMBER:
            missing = np.isnan(values)
            add(_big_endian(values, ">f8"), np.where(missing, -1, 8) if missing.any() else None)
        elif kind is Kind.FLAG:
            missing = values == FLAG_ABSENT
            add(values.view(np.uint8).reshape(count, 1), np.where(missing, -1, 1) if missing.any() else None)
        else:
            add(*_texts([None if value is None else value.encode() for value in values]))

    matrix = np.concatenate(parts, axis=1)
    if all(mask is None for mask in kept):
        return matrix.tobytes()
    mask = np.ones(matrix.shape, dtype=np.bool_)
    at = 0
    for part, part_kept in zip(parts, kept, strict=True):
        if part_kept is not None:
            mask[:, at : at + part.shape[1]] = part_kept
        at += part.shape[1]
    return matrix[mask].tobytes()


def _constant(count: int, value: bytes) -> Bytes:
    return np.broadcast_to(np.frombuffer(value, dtype=np.uint8), (count, len(value)))


def _big_endian(values: NDArray[np.int64] | NDArray[np.float64], dtype: str) -> Bytes:
    return np.ascontiguousarray(values.astype(dtype)).view(np.uint8).reshape(len(values), 8)


def _bytes_of(texts: NDArray[np.bytes_], index: NDArray[np.int64]) -> Bytes:
    width = texts.dtype.itemsize
    return texts.view(np.uint8).reshape(len(texts), width)[index]


def _texts(values: list[bytes | None]) -> tuple[Bytes, NDArray[np.int64]]:
    lengths = np.array([-1 if value is None else len(value) for value in values], dtype=np.int64)
    # At least one byte wide, so that the array has a width even when all are empty.
    held = np.array([value or b"\x00" for value in values])
    return held.view(np.uint8).reshape(len(values), held.dtype.itemsize), lengths
