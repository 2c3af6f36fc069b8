"""Starts the ingest worker with one call spoiled: `python -m tests.faults.launcher FAULT[:N] run ingest`.

The faults are here and not in the worker, so that what is tested is what ships.
"""

import os
import signal
import sys
import time
from collections.abc import Callable
from typing import Any

import psycopg

from fleet_core import cli
from ingest import queries

Strike = Callable[[], None]


def die() -> None:
    """End as a crash would, at this very instruction."""
    os.kill(os.getpid(), signal.SIGKILL)


def freeze() -> None:
    """Stand still at this very instruction until somebody sends SIGCONT."""
    os.kill(os.getpid(), signal.SIGSTOP)
    # Another thread may take the signal; until it has stopped us all, this one must not run on.
    time.sleep(0.5)


class _Nth:
    """Strikes at the N-th call."""

    def __init__(self, number: int, strike: Strike) -> None:
        self._left, self._strike = number, strike

    def __call__(self) -> None:
        self._left -= 1
        if self._left == 0:
            self._strike()


def at_commit(strike: Strike, before: bool) -> None:
    """Strike at the commit of a batch: a commit after rows went to the message log, not one of the lease's."""
    real_append, real_commit = queries.append_to_log, psycopg.Connection.commit
    batches: set[int] = set()

    def append(connection: Any, *arguments: Any) -> Any:
        batches.add(id(connection))
        return real_append(connection, *arguments)

    def commit(self: Any) -> None:
        is_batch = id(self) in batches
        batches.discard(id(self))
        if is_batch and before:
            strike()
        real_commit(self)
        if is_batch and not before:
            strike()

    queries.append_to_log = append  # type: ignore[assignment]
    psycopg.Connection.commit = commit  # type: ignore[method-assign]


def in_copy(strike: Strike) -> None:
    """Strike in the middle of a COPY: the server has its beginning and waits for the rest."""
    real_write = psycopg.Copy.write

    def write(self: Any, buffer: Any) -> None:
        real_write(self, bytes(buffer)[: len(buffer) // 2])
        strike()
        real_write(self, bytes(buffer)[len(buffer) // 2 :])

    psycopg.Copy.write = write  # type: ignore[method-assign]


FAULTS: dict[str, Callable[[int], None]] = {
    "die_after_commit": lambda number: at_commit(_Nth(number, die), before=False),
    "die_before_commit": lambda number: at_commit(_Nth(number, die), before=True),
    "freeze_before_commit": lambda number: at_commit(_Nth(number, freeze), before=True),
    "freeze_in_copy": lambda number: in_copy(_Nth(number, freeze)),
}


def main() -> None:
    """Spoil, then run the command."""
    name, _, number = sys.argv.pop(1).partition(":")
    if name == "watch":
        from tests.faults import watching_stage

        watching_stage.install()
    else:
        FAULTS[name](int(number))
    cli.main()


if __name__ == "__main__":
    main()
