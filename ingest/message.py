"""What ingest holds of one MQTT message until it is committed and acknowledged."""

from dataclasses import dataclass
from typing import NamedTuple


class Message(NamedTuple):
    """One received message.

    `session` and `generation` say on which connection its acknowledgement is owed: packet ids are used again after a
    reconnect, so an acknowledgement of an older connection would confirm a message that was never stored.
    """

    session: str
    generation: int
    packet_id: int
    topic: str
    payload: bytes
    received_us: int


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a message (or some of its samples) was refused. `code` is for counting, `sentence` for people."""

    code: str
    sentence: str


class RefusedError(ValueError):
    """Raised by a codec for a message it will not read; goes to the dead letters with this reason."""

    def __init__(self, code: str, sentence: str) -> None:
        super().__init__(sentence)
        self.refusal = Refusal(code, sentence)
