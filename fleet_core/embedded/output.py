"""Where the output of children goes: prefixed lines on the terminal, and a file of bounded size each."""

import os
import sys
import threading
from pathlib import Path
from typing import BinaryIO, Final

import click

MAX_LOG_BYTES: Final = 4 * 1024 * 1024
# What broker and database write about their routine: kept in their logs, not shown, so that what matters is seen.
_ROUTINE: Final = {"broker": "[INF]", "database": " LOG:  "}
_COLOURS: Final = (36, 32, 33, 35, 34, 96, 92, 93)


class BoundedLog:
    """A file that starts anew when it grows past `max_bytes`, with one old copy beside it (`.1`)."""

    def __init__(self, path: Path, max_bytes: int = MAX_LOG_BYTES) -> None:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._path = path
        self._max_bytes = max_bytes
        self._file: BinaryIO = path.open("ab")

    def write(self, line: bytes) -> None:
        """Append one line, its newline included."""
        if self._file.tell() + len(line) > self._max_bytes:
            self._file.close()
            self._path.replace(self._path.with_name(self._path.name + ".1"))
            self._file = self._path.open("ab")
        self._file.write(line)
        self._file.flush()

    def close(self) -> None:
        """Close the file."""
        self._file.close()


class Terminal:
    """Standard error, shared by the readers of all children, a whole line at a time."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._colour = sys.stderr.isatty() and "NO_COLOR" not in os.environ
        self._names: list[str] = []
        self._is_gone = False

    def line(self, name: str, text: str) -> None:
        """Print `text` after the child's name."""
        with self._lock:
            if name not in self._names:
                self._names.append(name)
            label = f"{name:<11} |"
            if self._colour:
                label = f"\x1b[{_COLOURS[self._names.index(name) % len(_COLOURS)]}m{label}\x1b[0m"
            self._print(f"{label} {text}")

    def say(self, text: str) -> None:
        """Print words of our own."""
        with self._lock:
            self._print(text)

    def _print(self, text: str) -> None:
        if self._is_gone:
            return
        try:
            click.echo(text, err=True)
        except OSError:
            # The terminal or the reader of a pipe went away: the files still have everything.
            self._is_gone = True


class Pump(threading.Thread):
    """Carries one child's output, over all its restarts, to the terminal and its log."""

    def __init__(self, name: str, log: BoundedLog, terminal: Terminal) -> None:
        super().__init__(name=f"output-{name}", daemon=True)
        self._child = name
        self._log = log
        self._terminal = terminal
        # We keep the writing end, so that the pipe outlives each child.
        self._read_end, self.write_end = os.pipe()
        self.start()

    def run(self) -> None:
        with os.fdopen(self._read_end, "rb") as lines:
            # A line without an end is cut into pieces, so that memory stays bounded.
            while line := lines.readline(65_536):
                whole = line if line.endswith(b"\n") else line + b"\n"
                try:
                    self._log.write(whole)
                except OSError as error:
                    self._terminal.line(self._child, f"(log not written: {error})")
                text = whole.decode("utf-8", errors="replace").rstrip()
                if _ROUTINE.get(self._child, "\n") not in text:
                    self._terminal.line(self._child, text)

    def finish(self, within_s: float = 2.0) -> None:
        """Carry what is left and end. Call it when the child is gone."""
        os.close(self.write_end)
        self.join(within_s)
        self._log.close()
