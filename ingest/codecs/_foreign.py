"""What codecs of foreign formats share: reading loosely typed JSON, and names and columns within the contract."""

import hashlib
import math
import re
from collections.abc import Mapping
from typing import Any, Final

import msgspec

from fleet_core.columns import BY_NAME, ENVELOPE
from ingest.form import MAX_EXTRA_BYTES
from ingest.message import RefusedError

_OUTSIDE_ALPHABET: Final = re.compile(r"[^A-Za-z0-9_-]+")
_ID_LENGTH: Final = 64
# A text longer than this is no measurement but a document or a dump; the message log has it.
_TEXT_LENGTH: Final = 256
_INT64_END: Final = 1 << 63

_JSON: Final = msgspec.json.Encoder(order="sorted")
_decoder: Final = msgspec.json.Decoder(Any)


def json_of(payload: bytes) -> Any:
    """Any JSON value. Raises RefusedError when the payload is none."""
    try:
        return _decoder.decode(payload)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise RefusedError("undecodable", f"not JSON: {error}") from None
    except RecursionError:
        raise RefusedError("undecodable", "nested too deeply") from None


def canonical(value: Any) -> bytes:
    """The same bytes for the same content, whatever the order of its keys. Raises RefusedError when it cannot be."""
    try:
        return _JSON.encode(value)
    except (ValueError, RecursionError) as error:
        raise RefusedError("undecodable", f"cannot be written as JSON again: {error}") from None


def number(value: Any) -> float | int | None:
    """`value` when it is a finite number that a 64-bit float or integer holds, else None. Texts and truths are none."""
    if type(value) is float and math.isfinite(value):
        return value
    if type(value) is int and -_INT64_END <= value < _INT64_END:
        return value
    return None


def between(value: Any, low: float, high: float) -> float | int | None:
    """The number when it lies within the bounds, else None."""
    found = number(value)
    return found if found is not None and low <= found <= high else None


def truth(value: Any) -> bool | None:
    """True or false, also as 1 or 0; else None."""
    return bool(value) if type(value) in (bool, int) and value in (0, 1) else None


def required(fields: Mapping[str, Any], name: str, low: float, high: float) -> float | int:
    """A number that the format demands. Raises RefusedError naming it when it is absent, no number or out of bounds."""
    if name not in fields:
        raise RefusedError("missing_field", f"{name} is missing")
    found = number(fields[name])
    if found is None:
        raise RefusedError("wrong_type", f"{name}: expected a number, got {type(fields[name]).__name__}")
    if not low <= found <= high:
        raise RefusedError("out_of_range", f"{name}: {found} is not between {low:g} and {high:g}")
    return found


def reduced_id(text: str, ambiguous: bool = False) -> str:
    """`text` in the alphabet of vehicle ids: other characters become `_`, at most 64 are kept.

    Two names must not become one vehicle. So a name that had to be changed, or is `ambiguous` by itself, gets eight hex
    digits of its hash behind it.
    """
    kept = _OUTSIDE_ALPHABET.sub("_", text)
    if kept == text and len(text) <= _ID_LENGTH and not ambiguous:
        return text
    mark = hashlib.blake2b(text.encode(errors="surrogatepass"), digest_size=4).hexdigest()
    return f"{kept[: _ID_LENGTH - 1 - len(mark)]}-{mark}"


def add_extras(body: dict[str, Any], fields: Mapping[str, Any], prefix: str) -> None:
    """Add the scalars of `fields` as columns that the contract does not know, as far as a sample has room for them.

    A name that the contract gives another meaning is put behind `prefix`. What is nested, empty or very long is left to
    the message log.
    """
    room = MAX_EXTRA_BYTES // 2  # the rest is for what the codec itself put in
    for name, value in fields.items():
        if type(value) not in (bool, int, float, str) or (type(value) is str and not 0 < len(value) <= _TEXT_LENGTH):
            continue
        if type(value) in (int, float) and number(value) is None:
            continue
        own = f"{prefix}_{name}" if name in BY_NAME or name in ENVELOPE or name == "kind" or name in body else name
        size = len(canonical({own: value}))
        if size > room or own in body or "\x00" in own or (type(value) is str and "\x00" in value):
            continue
        room -= size
        body[own] = value
