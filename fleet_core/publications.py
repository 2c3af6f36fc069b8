"""A message as a device sends it, and the two encodings of the native contract."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final, Protocol

import msgspec

FORMATS: Final = ("json", "msgpack")


class Encode(Protocol):
    """Turns the body of a message into its payload."""

    def __call__(self, body: dict[str, Any], /) -> bytes: ...


@dataclass(frozen=True, slots=True)
class Message:
    """One MQTT publication. `due_ms` is when it leaves, on the true clock; `t_*_ms` are the device's own times.

    `count` samples carry the numbers `seq` to `seq + count - 1` of `boot`; 0 for a message that is not numbered.
    `corrupted` says what was done to the bytes; empty for a message that must arrive in the store.
    """

    topic: str
    payload: bytes
    vehicle_id: str
    due_ms: int
    boot: int = 0
    seq: int = 0
    count: int = 0
    t_first_ms: int = 0
    t_last_ms: int = 0
    retain: bool = False
    corrupted: str = ""


def encoder(name: str) -> Encode:
    """Encoder of `json` or `msgpack`. NaN must be None already: MessagePack would carry it through as a number."""
    if name == "json":
        return msgspec.json.Encoder().encode
    if name == "msgpack":
        return msgspec.msgpack.Encoder().encode
    raise ValueError(f"there is no message format {name!r}: choose one of {', '.join(FORMATS)}")


class Counted:
    """Counts a stream as it goes by."""

    def __init__(self, stream: Iterator[Message]) -> None:
        self._stream = stream
        self.messages = self.samples = self.corrupted = 0
        self.vehicles: set[str] = set()

    def __iter__(self) -> "Counted":
        return self

    def __next__(self) -> Message:
        message = next(self._stream)
        self.messages += 1
        self.samples += message.count
        self.corrupted += bool(message.corrupted)
        self.vehicles.add(message.vehicle_id)
        return message

    def summary(self) -> dict[str, int]:
        """Numbers for the last line of a run."""
        return {
            "messages": self.messages,
            "samples": self.samples,
            "vehicles": len(self.vehicles),
            "corrupted": self.corrupted,
        }
