"""Recorded drives: times and columns of one vehicle, moved in time and cut into telemetry messages."""

import heapq
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

from fleet_core import topics
from fleet_core.publications import Encode, Message

SAMPLES_A_MESSAGE: Final = 10
DAY_MS: Final = 86_400_000
# A replayed drive counts from here, so that replaying it again repeats the same identities and is stored once.
BOOT: Final = 1


class RecordingError(ValueError):
    """A recording that cannot be read; the text names the file and, where there is one, the line."""


@dataclass(frozen=True, slots=True)
class Drive:
    """`t_ms` is UTC epoch milliseconds; each column is as long as `t_ms`, None where it says nothing."""

    vehicle_id: str
    t_ms: list[int] = field(default_factory=list)
    columns: dict[str, list[Any]] = field(default_factory=dict)

    def add(self, t_ms: int, values: dict[str, Any]) -> None:
        """Append a sample. Columns appear when they are first seen."""
        for name in values.keys() - self.columns.keys():
            self.columns[name] = [None] * len(self.t_ms)
        for name, column in self.columns.items():
            column.append(values.get(name))
        self.t_ms.append(t_ms)

    def shifted(self, by_ms: int) -> "Drive":
        """The same drive at another time."""
        return replace(self, t_ms=[time + by_ms for time in self.t_ms])


def to_recent_days(drives: Sequence[Drive], now_ms: int) -> list[Drive]:
    """All drives moved by the same whole number of days, so that the last sample lies within the last 24 hours.

    The time of day and the distance between drives stay; a recording of years ago would be quarantined otherwise.
    """
    latest = max(drive.t_ms[-1] for drive in drives)
    return [drive.shifted((now_ms - latest) // DAY_MS * DAY_MS) for drive in drives]


def to_live(drives: Sequence[Drive], now_ms: int, speed: float) -> list[Drive]:
    """All drives moved to begin together, so that at `speed` times real time the longest ends when it is sent."""
    longest_ms = max(drive.t_ms[-1] - drive.t_ms[0] for drive in drives)
    begin_ms = now_ms - max(0, round(longest_ms * (1 - 1 / speed)))
    return [drive.shifted(begin_ms - drive.t_ms[0]) for drive in drives]


def messages(drives: Iterable[Drive], encode: Encode, partitions: int) -> Iterator[Message]:
    """Telemetry of all drives, ten samples a message, in order of the last sample of each."""
    streams = [_messages_of(drive, encode, partitions) for drive in drives]
    return heapq.merge(*streams, key=lambda message: message.due_ms)


def _messages_of(drive: Drive, encode: Encode, partitions: int) -> Iterator[Message]:
    topic = topics.topic_of(drive.vehicle_id, topics.TELEMETRY, partitions)
    for seq in range(0, len(drive.t_ms), SAMPLES_A_MESSAGE):
        part = slice(seq, seq + SAMPLES_A_MESSAGE)
        times = drive.t_ms[part]
        body: dict[str, Any] = {"boot": BOOT, "seq": seq, "t_ms": times}
        for name, column in drive.columns.items():
            if any(value is not None for value in column[part]):
                body[name] = column[part]
        yield Message(
            topic=topic,
            payload=encode(body),
            vehicle_id=drive.vehicle_id,
            due_ms=times[-1],
            boot=BOOT,
            seq=seq,
            count=len(times),
            t_first_ms=times[0],
            t_last_ms=times[-1],
        )
