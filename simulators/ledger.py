"""The ledger: one JSON line for every message whose PUBACK came back, so that a test can ask the store for each."""

import hashlib
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Final, Self

import msgspec

from fleet_core.cli import Refusal
from fleet_core.publications import Message

_FLUSH_LINES: Final = 500


def entry(message: Message) -> dict[str, Any]:
    """What the ledger says about `message`: `seq` to `seq + count - 1` of `boot` must be in the store."""
    return {
        "topic": message.topic,
        "sha256": hashlib.sha256(message.payload).hexdigest(),
        "vehicle_id": message.vehicle_id,
        "boot": message.boot,
        "seq": message.seq,
        "count": message.count,
        "t_ms": [message.t_first_ms, message.t_last_ms],
    }


class Ledger:
    """Writes `path`, and beside it `*.dead.jsonl` for corrupted messages, which must become dead letters.

    A message published twice has two lines. Lines are written in blocks; `close` writes the rest.
    """

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self.dead_path = path.with_name(path.name.removesuffix(".jsonl") + ".dead.jsonl")
        self._files: tuple[BinaryIO, BinaryIO] = (path.open("wb"), self.dead_path.open("wb"))
        self._lines: tuple[list[bytes], list[bytes]] = ([], [])
        self._encode = msgspec.json.Encoder().encode

    @classmethod
    def opened(cls, path: Path) -> "Ledger":
        """A ledger at `path`, or Refusal when it cannot be written."""
        try:
            return cls(path)
        except OSError as error:
            raise Refusal(f"the ledger {path} cannot be written: {error.strerror}") from None

    def acknowledged(self, message: Message) -> None:
        """Note the PUBACK of `message`."""
        line = entry(message)
        if message.corrupted:
            line["corrupted"] = message.corrupted
        lines = self._lines[1 if message.corrupted else 0]
        lines.append(self._encode(line))
        if len(lines) >= _FLUSH_LINES:
            self.flush()

    def flush(self) -> None:
        """Hand everything noted to the operating system."""
        for file, lines in zip(self._files, self._lines, strict=True):
            if lines:
                file.write(b"\n".join(lines) + b"\n")
                file.flush()
                lines.clear()

    def close(self) -> None:
        """Flush and close both files."""
        self.flush()
        for file in self._files:
            file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
