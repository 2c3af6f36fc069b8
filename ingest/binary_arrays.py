"""NumPy columns as binary PostgreSQL array parameters, without a Python object a value.

Format: `array_send` of PostgreSQL: dimensions, has-null flag, element type, length and lower bound, then each element
with its length, -1 for NULL.
"""

import struct
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from psycopg.adapt import Dumper
from psycopg.pq import Format

_PG_EPOCH_US: Final = 946_684_800 * 1_000_000

_BOOL_OID: Final = 16
_INT8_OID: Final = 20
_TEXT_OID: Final = 25
_FLOAT8_OID: Final = 701
_TIMESTAMPTZ_OID: Final = 1184


class BinaryArray(bytes):
    """An array already in PostgreSQL's binary form; its statement casts it to the right type."""


class BinaryArrayDumper(Dumper):
    """Hands a BinaryArray to the server as it is."""

    format = Format.BINARY

    def dump(self, obj: Any) -> bytes:
        """The bytes themselves."""
        return bytes(obj)


def numbers(values: NDArray[np.float64]) -> BinaryArray:
    """float8[], NaN as NULL."""
    return _fixed(values.astype(">f8").view(np.uint8).reshape(len(values), 8), np.isnan(values), _FLOAT8_OID)


def integers(values: NDArray[np.int64]) -> BinaryArray:
    """bigint[]."""
    return _fixed(values.astype(">i8").view(np.uint8).reshape(len(values), 8), None, _INT8_OID)


def times(values_us: NDArray[np.int64]) -> BinaryArray:
    """timestamptz[] from microseconds since the Unix epoch."""
    shifted = (values_us - _PG_EPOCH_US).astype(">i8")
    return _fixed(shifted.view(np.uint8).reshape(len(values_us), 8), None, _TIMESTAMPTZ_OID)


def flags(values: NDArray[np.int8]) -> BinaryArray:
    """bool[], -1 as NULL."""
    return _fixed(values.astype(np.uint8).reshape(len(values), 1), values < 0, _BOOL_OID)


def texts(values: list[str]) -> BinaryArray:
    """text[] without NULLs."""
    items = b"".join(struct.pack(">i", len(text)) + text for text in map(str.encode, values))
    return BinaryArray(_header(len(values), False, _TEXT_OID) + items)


def _fixed(payload: NDArray[np.uint8], missing: NDArray[np.bool_] | None, oid: int) -> BinaryArray:
    count, width = payload.shape
    has_null = missing is not None and bool(missing.any())
    matrix = np.empty((count, 4 + width), dtype=np.uint8)
    matrix[:, :4] = np.frombuffer(struct.pack(">i", width), dtype=np.uint8)
    matrix[:, 4:] = payload
    header = _header(count, has_null, oid)
    if not has_null:
        return BinaryArray(header + matrix.tobytes())
    assert missing is not None
    matrix[missing, :4] = 0xFF
    keep = np.ones(matrix.shape, dtype=np.bool_)
    keep[missing, 4:] = False
    return BinaryArray(header + matrix[keep].tobytes())


def _header(count: int, has_null: bool, oid: int) -> bytes:
    if count == 0:
        return struct.pack(">iii", 0, 0, oid)
    return struct.pack(">iiiii", 1, int(has_null), oid, count, 1)
