"""What a codec promises, and the codecs there are.

A codec turns one foreign message into native bodies; the native assembly judges them like any other. It never drops
in silence: it raises RefusedError with a code and a sentence, or returns an empty list for what carries nothing to
store (an empty retained message, an encrypted card).
"""

from dataclasses import dataclass
from functools import cache
from typing import Any, Protocol, cast

from fleet_core import plugins


@dataclass(frozen=True, slots=True)
class NativeBody:
    """A native message: the stream it belongs to and its decoded body.

    `identity` is what makes it itself where the device does not count: the same bytes are the same reading. None means
    the payload and the place in it; a codec whose messages are sent again in another wrapping says what stays the same.
    """

    stream: str
    body: dict[str, Any]
    identity: bytes | None = None


class Codec(Protocol):
    """A module in `ingest/codecs/` with these names. All functions are pure."""

    # Short name, also the device's `kind`.
    NAME: str
    # MQTT filters of the foreign topics it reads; the relay subscribes to them.
    FILTERS: tuple[str, ...]

    def claims(self, topic: str) -> bool:
        """Whether this codec reads `topic`."""
        ...

    def vehicle_id(self, topic: str, payload: bytes) -> str:
        """The vehicle a message belongs to, in the contract's alphabet. Raises RefusedError when it names none."""
        ...

    def decode(self, topic: str, payload: bytes) -> list[NativeBody]:
        """Native bodies of one message. Raises RefusedError."""
        ...


@cache
def foreign_codecs() -> tuple[Codec, ...]:
    """Codecs of foreign formats, found by scan, by name."""
    return tuple(cast(Codec, module) for module in plugins.modules_in("ingest.codecs"))


def codec_for(topic: str) -> Codec | None:
    """The codec that reads a foreign topic."""
    return next((codec for codec in foreign_codecs() if codec.claims(topic)), None)
