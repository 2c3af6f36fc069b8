"""What a telemetry body may look like, message by message, and the sentence that says what is wrong with one.

The batch path in `ingest.telemetry` accepts whole columns at a time and only asks here when one does not fit. The two
must agree on every message, or a message's fate would depend on its neighbours: a property test holds them together.
"""

import math
from collections.abc import Mapping
from typing import Any, Final

import msgspec

from fleet_core.columns import BY_NAME, CRS_NAMES, DERIVED, ENVELOPE, Column, Kind
from ingest.message import Refusal

Body = Mapping[str, Any]

UINT32_END: Final = 1 << 32
MAX_T_MS: Final = 4_102_444_800_000  # 2100-01-01: later is no time but a fault of the encoder
MAX_EXTRA_BYTES: Final = 4096
# A scalar stands for every sample, so a small message can unfold into a large one: these bound what it unfolds to.
MAX_SAMPLES: Final = 10_000
MAX_UNKNOWN_COLUMNS: Final = 256

_JSON = msgspec.json.Encoder()


def why_refused(body: Body) -> Refusal | None:
    """What is wrong with the form of one telemetry body, or None."""
    times = body.get("t_ms")
    samples = times if type(times) is list else [times]
    return _why_times_refused(samples) or _why_counters_refused(body) or _why_values_refused(body, len(samples))


def _why_times_refused(samples: list[Any]) -> Refusal | None:
    if not samples or samples == [None]:
        return Refusal("missing_time", "t_ms is missing")
    if len(samples) > MAX_SAMPLES:
        return Refusal("too_many_samples", f"t_ms: {len(samples)} samples, more than {MAX_SAMPLES} in one message")
    for value in samples:
        if type(value) is not int:
            return Refusal("wrong_type", f"t_ms: expected whole milliseconds, got {shown(value)}")
        if not 0 <= value <= MAX_T_MS:
            return Refusal("out_of_range", f"t_ms: {value} is not a time in milliseconds since 1970")
    return None


def _why_counters_refused(body: Body) -> Refusal | None:
    for name, absent in (("boot", 0), ("seq", None)):
        counter = body.get(name, absent)
        if counter is None and name == "seq":
            continue
        if type(counter) is not int or not 0 <= counter < UINT32_END:
            return Refusal("wrong_type", f"{name}: expected an unsigned 32-bit number, got {shown(counter)}")
    return None


def _why_values_refused(body: Body, samples: int) -> Refusal | None:
    unknown_count = sum(name not in BY_NAME and name not in ENVELOPE for name in body)
    if unknown_count > MAX_UNKNOWN_COLUMNS:
        return Refusal("extra_too_large", f"{unknown_count} unknown columns, more than {MAX_UNKNOWN_COLUMNS}")
    unknown: list[dict[str, Any]] = [{} for _ in range(samples)]
    for name, value in body.items():
        if name in ENVELOPE:
            continue
        if name in DERIVED:
            return Refusal("reserved", f"{name} is ours to compute and cannot be sent")
        values = value if type(value) is list else [value] * samples
        if len(values) != samples:
            return Refusal("wrong_length", f"{name}: {len(values)} values for {samples} samples")
        column = BY_NAME.get(name)
        for row, item in zip(unknown, values, strict=True):
            if item is None:
                continue
            if column is None:
                row[name] = item
            elif (refusal := _why_value_refused(column, item)) is not None:
                return refusal
    for row in unknown:
        text = extra_text(row)
        if isinstance(text, Refusal):
            return text
    return None


def _why_value_refused(column: Column, value: Any) -> Refusal | None:
    name = column.name
    if column.kind is Kind.TEXT:
        if type(value) is not str or (name == "crs" and value not in CRS_NAMES):
            return Refusal("wrong_type", f"{name}: expected one of {', '.join(CRS_NAMES)}, got {shown(value)}")
    elif column.kind is Kind.FLAG:
        if type(value) not in (bool, int) or value not in (0, 1):
            return Refusal("wrong_type", f"{name}: expected true or false, got {shown(value)}")
    elif type(value) not in (int, float):
        return Refusal("wrong_type", f"{name}: expected a number, got {shown(value)}")
    elif not _is_finite(value):
        return Refusal("not_finite", f"{name}: {shown(value)} is not a finite number")
    elif column.low is not None and column.high is not None and not column.low <= value <= column.high:
        return Refusal("out_of_range", f"{name}: {value} is not between {column.low:g} and {column.high:g}")
    return None


def extra_text(row: Mapping[str, Any]) -> bytes | Refusal:
    """JSON text of a sample's unknown columns, or why PostgreSQL's jsonb could not keep it as sent."""
    for name, value in row.items():
        if type(value) is float and not math.isfinite(value):
            return Refusal("not_finite", f"{name}: {value} is not a finite number")
    text = _JSON.encode(row)
    if rb"\u0000" in text:
        return Refusal("nul_in_text", "text of an unknown column holds a NUL character, which PostgreSQL cannot keep")
    if len(text) > MAX_EXTRA_BYTES:
        return Refusal("extra_too_large", f"unknown columns of a sample exceed {MAX_EXTRA_BYTES} bytes")
    return text


def _is_finite(value: int | float) -> bool:
    try:
        return math.isfinite(value)
    except OverflowError:
        return False


def shown(value: Any) -> str:
    """A value with its type, short enough for a sentence."""
    text = repr(value)
    return f"{type(value).__name__} {text if len(text) <= 60 else text[:57] + '...'}"
