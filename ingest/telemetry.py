"""Telemetry bodies to columns. Every codec ends here, so every wire format is judged by the same rules.

A body is the decoded native message: envelope keys `boot`, `seq`, `t_ms`, every other key a column, a list as long as
`t_ms` or a scalar for all samples. The happy path touches Python once a value and NumPy once a column; only when a
column does not fit are messages looked at one by one, to name the one that is wrong.
"""

import hashlib
from collections.abc import Sequence
from functools import lru_cache
from itertools import chain, repeat
from typing import Any, Final, NamedTuple

import numpy as np
from msgspec import json

from fleet_core import crs
from fleet_core.columns import BY_NAME, COLUMNS, CRS_NAMES, DERIVED, ENVELOPE, Column, Kind
from fleet_core.readings import FLAG_ABSENT, Ints, Readings
from fleet_core.readings import Column as Values
from ingest.form import (
    MAX_SAMPLES,
    MAX_T_MS,
    MAX_UNKNOWN_COLUMNS,
    UINT32_END,
    Body,
    extra_text,
    why_refused,
)
from ingest.message import Refusal

# Device clocks: outside this span around the time of arrival a sample is quarantined (contract, version 1).
CLOCK_AHEAD_US: Final = 5 * 60 * 1_000_000
CLOCK_BEHIND_US: Final = 400 * 86_400 * 1_000_000
# 2010-01-01: no vehicle of this contract is older, so an earlier time is a clock that was never set (1970, 1980, 2004).
CLOCK_EPOCH_US: Final = 1_262_304_000 * 1_000_000


class Item(NamedTuple):
    """One telemetry body on its way into columns. `message_index` counts within the batch."""

    message_index: int
    vehicle_id: str
    received_us: int
    payload: bytes
    body: Body


def assemble(items: Sequence[Item]) -> tuple[Readings, dict[int, Refusal]]:
    """Columns of all samples that can be used, and the refusals by message index.

    A message with a fault in its form is refused whole. A message with some impossible times keeps its other samples,
    and its refusal names the samples left out.
    """
    refused: dict[int, Refusal] = {}
    try:
        return _assemble(items, refused), refused
    except _MisfitError:
        pass
    good = []
    for item in items:
        refusal = why_refused(item.body)
        if refusal is None:
            good.append(item)
        else:
            refused[item.message_index] = refusal
    return _assemble(good, refused), refused


class _MisfitError(Exception):
    """Some message of the batch does not fit its column; which one is found by looking at each."""


@lru_cache(maxsize=4096)
def _split_keys(keys: tuple[str, ...]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Known and unknown column names of a message's keys. Vehicles repeat theirs, so this is nearly always cached."""
    known = tuple(key for key in keys if key in BY_NAME)
    unknown = tuple(key for key in keys if key not in BY_NAME and key not in ENVELOPE)
    return known, unknown


def _assemble(items: Sequence[Item], refused: dict[int, Refusal]) -> Readings:
    if not items:
        return Readings.empty()
    counts, times = _times(items)
    total = int(counts.sum())
    number: dict[str, int] = {}
    per_message = [number.setdefault(item.vehicle_id, len(number)) for item in items]
    first_row = np.cumsum(counts) - counts

    known: dict[str, None] = {}
    with_unknown: list[tuple[int, tuple[str, ...]]] = []
    for position, item in enumerate(items):
        names, unknown = _split_keys(tuple(item.body))
        known.update(dict.fromkeys(names))
        if len(unknown) > MAX_UNKNOWN_COLUMNS:
            raise _MisfitError
        if unknown:
            with_unknown.append((position, unknown))

    single = total == len(items)
    bodies = [item.body for item in items]
    lengths = counts.tolist()
    values = {
        column.name: _column(column, _gather(bodies, column.name, lengths, single))
        for column in COLUMNS
        if column.name in known
    }
    readings = Readings(
        vehicles=list(number),
        vehicle_index=np.repeat(np.array(per_message, dtype=np.int64), counts),
        message_index=np.repeat(np.array([item.message_index for item in items], dtype=np.int64), counts),
        device_time_us=times * 1000,
        seq=_identities(items, counts, first_row, total),
        received_us=np.repeat(np.array([item.received_us for item in items], dtype=np.int64), counts),
        columns=values,
        extra=_extras(items, with_unknown, first_row.tolist(), lengths),
    )
    _set_aside_unmeasurable(readings)
    _convert_to_wgs84(readings)
    return _quarantine(readings, refused)


def _times(items: Sequence[Item]) -> tuple[Ints, Ints]:
    """Samples a message and all times, milliseconds."""
    lists: list[Any] = []
    counts: list[int] = []
    for item in items:
        t_ms = item.body.get("t_ms")
        if type(t_ms) is list:
            counts.append(len(t_ms))
            lists.append(t_ms)
            if len(t_ms) > MAX_SAMPLES:
                raise _MisfitError
        else:
            counts.append(1)
            lists.append((t_ms,))
    flat = list(chain.from_iterable(lists))
    if set(map(type, flat)) != {int} or not all(counts) or min(flat) < 0 or max(flat) > MAX_T_MS:
        raise _MisfitError
    return np.array(counts, dtype=np.int64), np.array(flat, dtype=np.int64)


def _gather(bodies: Sequence[Body], name: str, lengths: list[int], single: bool) -> list[Any]:
    """All values of one column, None where a message does not carry it."""
    gathered = [body.get(name) for body in bodies]
    if single:
        # One sample a message, the commonest case: unwrap one-element lists.
        flat = [value[0] if type(value) is list and len(value) == 1 else value for value in gathered]
        if list in set(map(type, flat)):
            raise _MisfitError
        return flat
    out: list[Any] = []
    for value, length in zip(gathered, lengths, strict=True):
        if type(value) is list:
            if len(value) != length:
                raise _MisfitError
            out += value
        else:
            out += repeat(value, length)
    return out


def _column(column: Column, flat: list[Any]) -> Values:
    kinds = set(map(type, flat))
    if column.name in DERIVED:
        raise _MisfitError
    if column.kind is Kind.TEXT:
        if not kinds <= {str, type(None)} or (column.name == "crs" and not set(flat) <= {None, *CRS_NAMES}):
            raise _MisfitError
        return np.array(flat, dtype=object)
    if column.kind is Kind.FLAG:
        if not kinds <= {bool, int, type(None)} or not set(flat) <= {None, False, True}:
            raise _MisfitError
        return np.array([FLAG_ABSENT if value is None else value for value in flat], dtype=np.int8)
    if not kinds <= {float, int, type(None)}:
        raise _MisfitError
    try:
        values = np.array(flat, dtype=np.float64)
    except OverflowError:
        raise _MisfitError from None
    unusable = int(np.count_nonzero(~np.isfinite(values)))
    if unusable and (type(None) not in kinds or unusable != flat.count(None)):
        raise _MisfitError
    # Comparisons with NaN are false, so absent values pass.
    if column.low is not None and column.high is not None and np.any((values < column.low) | (values > column.high)):
        raise _MisfitError
    return values


def _identities(items: Sequence[Item], counts: Ints, first_row: Ints, total: int) -> Ints:
    """boot << 32 | seq counted on from the first sample; a hash of the payload where the device does not count."""
    first: list[int] = []
    for item in items:
        seq, boot = item.body.get("seq"), item.body.get("boot", 0)
        if type(boot) is not int or not 0 <= boot < UINT32_END:
            raise _MisfitError
        if seq is None:
            first.append(payload_hash(item.payload))
        elif type(seq) is int and 0 <= seq < UINT32_END:
            first.append(boot << 32 | seq)
        else:
            raise _MisfitError
    start = np.array(first, dtype=np.uint64)
    offset = np.arange(total, dtype=np.uint64) - np.repeat(first_row.astype(np.uint64), counts)
    # Wraps at 64 bits. The counter is unsigned and the column signed: the same bits, read as signed.
    return (np.repeat(start, counts) + offset).view(np.int64)


def payload_hash(payload: bytes) -> int:
    """64-bit identity of a message whose device does not count."""
    return int.from_bytes(hashlib.blake2b(payload, digest_size=8).digest(), "big")


def _extras(
    items: Sequence[Item], with_unknown: Sequence[tuple[int, tuple[str, ...]]], first_row: list[int], lengths: list[int]
) -> dict[int, bytes]:
    """Unknown columns, row by row, as JSON text."""
    extra: dict[int, bytes] = {}
    for position, names in with_unknown:
        body, length = items[position].body, lengths[position]
        for sample in range(length):
            row = {}
            for name in names:
                value = body[name]
                if type(value) is list:
                    if len(value) != length:
                        raise _MisfitError
                    value = value[sample]
                if value is not None:
                    row[name] = value
            if not row:
                continue
            text = extra_text(row)
            if isinstance(text, Refusal):
                raise _MisfitError
            extra[first_row[position] + sample] = text
    return extra


def _set_aside_unmeasurable(readings: Readings) -> None:
    """Values that no sensor can measure count as absent, and are kept as sent beside the unknown columns."""
    for column in COLUMNS:
        if column.measurable is None or column.name not in readings.columns:
            continue
        values = readings.number(column.name)
        low, high = column.measurable
        # Comparisons with NaN are false, so absent values stay.
        beyond = np.flatnonzero((values < low) | (values > high))
        for row in beyond.tolist():
            kept = json.decode(readings.extra[row]) if row in readings.extra else {}
            # One number for each column there is: no bound of its own is needed.
            readings.extra[row] = json.encode(kept | {column.name: float(values[row])})
        values[beyond] = np.nan


def _convert_to_wgs84(readings: Readings) -> None:
    """Convert GCJ-02 and BD-09 rows, keeping beside them what was sent."""
    systems = readings.columns.get("crs")
    if systems is None:
        return
    shifted = (systems == "gcj02") | (systems == "bd09")
    if not shifted.any():
        return
    lat, lon = readings.number("lat_deg"), readings.number("lon_deg")
    readings.columns["lat_sent_deg"] = np.where(shifted, lat, np.nan)
    readings.columns["lon_sent_deg"] = np.where(shifted, lon, np.nan)
    for name in ("gcj02", "bd09"):
        rows = systems == name
        lat[rows], lon[rows] = crs.wgs84_from(name, lat[rows], lon[rows])


def _quarantine(readings: Readings, refused: dict[int, Refusal]) -> Readings:
    """Leave out samples with impossible times; note the refusal of their message."""
    ahead = readings.device_time_us > readings.received_us + CLOCK_AHEAD_US
    behind = readings.device_time_us < readings.received_us - CLOCK_BEHIND_US
    impossible = ahead | behind
    if not impossible.any():
        return readings
    bad_rows = np.flatnonzero(impossible)
    messages, first_bad, bad_counts = np.unique(readings.message_index[bad_rows], return_index=True, return_counts=True)
    samples = np.bincount(readings.message_index)[messages]
    for message, row, bad, of in zip(messages, bad_rows[first_bad], bad_counts, samples, strict=True):
        refused[int(message)] = clock_refusal(
            int(readings.device_time_us[row]), int(readings.received_us[row]), int(bad), int(of)
        )
    return readings.take(np.flatnonzero(~impossible))


def clock_refusal(device_time_us: int, received_us: int, bad: int, of: int) -> Refusal:
    """Name what is wrong with a device clock."""
    shown = np.datetime64(device_time_us, "us")
    samples = f"{bad} of {of} samples" if of > 1 else "the sample"
    if device_time_us < CLOCK_EPOCH_US:
        return Refusal("clock_not_set", f"device time {shown}Z of {samples}: the device's clock was not set")
    seconds = abs(device_time_us - received_us) // 1_000_000
    if device_time_us > received_us:
        return Refusal("clock_ahead", f"device time {shown}Z of {samples} is {seconds} s ahead of arrival")
    return Refusal("clock_behind", f"device time {shown}Z of {samples} is {seconds // 86_400} days before arrival")
