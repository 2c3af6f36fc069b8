"""Recorded files of any kind we read: told apart by name, unpacked, checked whole before anything is published."""

import contextlib
import gzip
import heapq
import io
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final, cast

from fleet_core.publications import Encode, Message
from fleet_core.recordings import drive_csv, drive_gpx, drive_recording, message_recording
from fleet_core.recordings.drive_recording import Drive, RecordingError
from fleet_core.topics import TopicError

MESSAGE_SUFFIXES: Final = (".jsonl", ".ndjson", ".json")
DRIVE_SUFFIXES: Final = (".csv", ".gpx")


@dataclass(frozen=True, slots=True)
class Recordings:
    """What the files hold: drives, and files of messages that have been read through once without an error."""

    drives: list[Drive]
    message_files: list[Path]

    def messages(self, encode: Encode, partitions: int) -> Iterator[Message]:
        """Everything in order of `due_ms`; messages of one file keep the order of the file."""
        streams: list[Iterator[Message]] = [_messages_of(path) for path in self.message_files]
        streams.append(drive_recording.messages(self.drives, encode, partitions))
        return (
            heapq.merge(*streams, key=lambda message: message.due_ms)
            if len(self.message_files) != 1
            else (_chained(streams))
        )


def read(paths: Sequence[Path], vehicle: str | None) -> Recordings:
    """Read `paths`. `vehicle` names the vehicle of drives. Raises RecordingError."""
    drives: list[Drive] = []
    message_files: list[Path] = []
    for path in paths:
        kind = _kind(path)
        if kind in MESSAGE_SUFFIXES:
            if vehicle is not None:
                raise RecordingError(f"{path} carries its topics: a vehicle can only be named for GPX and CSV drives")
            # To the last line: nothing is published of a file whose end cannot be read.
            if sum(1 for _ in _messages_of(path)) == 0:
                raise RecordingError(f"{path} holds no message")
            message_files.append(path)
            continue
        with _opened(path) as file:
            if kind == ".gpx":
                drives += drive_gpx.read(path, file, vehicle)
            else:
                text = io.TextIOWrapper(file, encoding="utf-8-sig", newline="")
                drives += drive_csv.read(path, text, vehicle)
    _check_apart(drives)
    return Recordings(drives, message_files)


def _chained(streams: list[Iterator[Message]]) -> Iterator[Message]:
    for stream in streams:
        yield from stream


def _messages_of(path: Path) -> Iterator[Message]:
    with _opened(path) as file:
        yield from message_recording.read(path, file)


def _kind(path: Path) -> str:
    name = path.name.lower().removesuffix(".gz")
    for suffix in (*MESSAGE_SUFFIXES, *DRIVE_SUFFIXES):
        if name.endswith(suffix):
            return suffix
    known = ", ".join((*MESSAGE_SUFFIXES, *DRIVE_SUFFIXES))
    raise RecordingError(f"{path} is of no kind that can be replayed ({known}, each also .gz)")


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[BinaryIO]:
    try:
        with path.open("rb") as raw:
            packed = raw.read(2) == b"\x1f\x8b"
            raw.seek(0)
            if not packed:
                yield raw
                return
            with gzip.GzipFile(fileobj=raw) as file:
                yield cast(BinaryIO, file)
    except UnicodeDecodeError as error:
        raise RecordingError(f"{path} is not UTF-8 text: {error.reason}") from None
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise RecordingError(f"{path} is a damaged gzip file: {error}") from None
    except TopicError as error:
        raise RecordingError(f"{path}: {error}") from None
    except OSError as error:
        raise RecordingError(f"{path} cannot be read: {error.strerror or error}") from None


def _check_apart(drives: list[Drive]) -> None:
    seen: set[str] = set()
    for drive in drives:
        if drive.vehicle_id in seen:
            raise RecordingError(f"two drives are both named {drive.vehicle_id}: replay their files one by one")
        seen.add(drive.vehicle_id)
