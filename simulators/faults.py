"""What a mobile network and a tired device do to a stream of messages, on request and by seed.

A pure pipeline: messages in order of `due_ms` in, messages in order of `due_ms` out. Retained status messages pass
unharmed, because a stale one would contradict itself rather than test anything.
"""

import heapq
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from fleet_core.publications import Message

RESEND_MS: Final = (2_000, 30_000)
DUPLICATE_MS: Final = (0, 5_000)
HOLD_BACK_MS: Final = (500, 15_000)


@dataclass(frozen=True, slots=True)
class Faults:
    """Shares are of messages, 0 to 1.

    `drop_resend`: the first sending is lost, the device sends it again later. `duplicate`: sent twice, same bytes.
    `delay_s`: every message is late by up to this. `reorder`: held back behind later ones. `clock_skew_s`: clocks are
    off by up to this, either way, a fixed amount a vehicle. `corrupt`: the bytes are spoiled so that nobody can read
    them; the message must become a dead letter.
    """

    drop_resend: float = 0.0
    duplicate: float = 0.0
    delay_s: float = 0.0
    reorder: float = 0.0
    clock_skew_s: float = 0.0
    corrupt: float = 0.0

    def __post_init__(self) -> None:
        for name in ("drop_resend", "duplicate", "reorder", "corrupt"):
            if not 0.0 <= getattr(self, name) <= 1.0:
                raise ValueError(f"--{name.replace('_', '-')} {getattr(self, name)} is not a share from 0 to 1")
        for name in ("delay_s", "clock_skew_s"):
            if getattr(self, name) < 0:
                raise ValueError(f"--{name.replace('_', '-')} {getattr(self, name)} is negative")

    def clock_offsets_ms(self, vehicles: int, seed: int) -> NDArray[np.int64]:
        """How far each vehicle's clock is ahead, milliseconds."""
        bound = round(self.clock_skew_s * 1000)
        return np.random.default_rng([seed, 11]).integers(-bound, bound, vehicles, endpoint=True)

    @property
    def harmless(self) -> bool:
        """Whether `apply` would change nothing."""
        return not (self.drop_resend or self.duplicate or self.delay_s or self.reorder or self.corrupt)


def apply(messages: Iterable[Message], faults: Faults, seed: int) -> Iterator[Message]:
    """Spoil the stream. Every message comes out once, doubled ones twice."""
    if faults.harmless:
        yield from messages
        return
    rng = np.random.default_rng([seed, 12])
    waiting: list[tuple[int, int, Message]] = []
    number = 0
    for message in messages:
        while waiting and waiting[0][0] <= message.due_ms:
            yield heapq.heappop(waiting)[2]
        for copy in [message] if message.retain else _copies(message, faults, rng):
            heapq.heappush(waiting, (copy.due_ms, number, copy))
            number += 1
    while waiting:
        yield heapq.heappop(waiting)[2]


def _copies(message: Message, faults: Faults, rng: np.random.Generator) -> list[Message]:
    draw = rng.random(4)
    late_ms = round(float(rng.random()) * faults.delay_s * 1000)
    if draw[0] < faults.drop_resend:
        late_ms += int(rng.integers(*RESEND_MS))
    if draw[1] < faults.reorder:
        late_ms += int(rng.integers(*HOLD_BACK_MS))
    if draw[2] < faults.corrupt:
        payload, how = _spoil(message.payload, rng)
        message = replace(message, payload=payload, corrupted=how)
    sent = replace(message, due_ms=message.due_ms + late_ms)
    if draw[3] < faults.duplicate:
        return [sent, replace(sent, due_ms=sent.due_ms + int(rng.integers(*DUPLICATE_MS)))]
    return [sent]


def _spoil(payload: bytes, rng: np.random.Generator) -> tuple[bytes, str]:
    """Bytes that no decoder can take for a message: a flipped digit could still be read, these cannot."""
    kind = int(rng.integers(3))
    if kind == 0:
        return payload[: int(rng.integers(1, len(payload)))], "truncated"
    if kind == 1:
        # 0xC1 is the one byte that MessagePack never uses, and no JSON begins with it.
        return b"\xc1" + payload[1:], "first byte"
    return payload + rng.bytes(int(rng.integers(1, 40))) + b"\xc1", "tail"
