"""A small bounded pool of database connections for requests.

psycopg_pool would add worker threads and a dependency for what is forty lines here: requests run in threads already,
so a slot is taken by blocking, and a connection is made by the request that first needs it.
"""

import queue
import select
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from fleet_core import db
from fleet_core.db import Connection

SIZE: Final = 8
# A request that waited this long for a connection is answered 503: the database cannot keep up.
WAIT_SECONDS: Final = 5.0
# No request may hold a connection, and the rows' visibility, for longer than this.
STATEMENT_TIMEOUT_MS: Final = 20_000


class BusyError(RuntimeError):
    """Every connection is in use and none came free in time."""


class Pool:
    """Up to `size` connections to `url`. Connecting happens at first use: a pool can be made without a database."""

    def __init__(self, url: str, size: int = SIZE, wait_seconds: float = WAIT_SECONDS) -> None:
        self._url = url
        self._wait_seconds = wait_seconds
        self._slots: queue.LifoQueue[Connection | None] = queue.LifoQueue()
        for _ in range(size):
            self._slots.put(None)

    @contextmanager
    def transaction(self) -> Iterator[Connection]:
        """A connection in one transaction: committed when the block ends well, rolled back when it raises.

        Raises BusyError, or psycopg.OperationalError when the database cannot be reached.
        """
        try:
            connection = self._slots.get(timeout=self._wait_seconds)
        except queue.Empty:
            raise BusyError(f"no database connection came free within {self._wait_seconds:g} s") from None
        try:
            if connection is not None and not _alive(connection):
                connection.close()
                connection = None
            if connection is None:
                options = f"-c statement_timeout={STATEMENT_TIMEOUT_MS}"
                connection = db.connect(self._url, "api", options=options)
            with connection.transaction():
                yield connection
        finally:
            usable = connection is not None and not connection.closed and not connection.broken
            self._slots.put(connection if usable else None)

    def close(self) -> None:
        """Close the connections that are not in use."""
        for _ in range(self._slots.qsize()):
            try:
                connection = self._slots.get_nowait()
            except queue.Empty:
                return
            if connection is not None:
                connection.close()
            self._slots.put(None)


def _alive(connection: Connection) -> bool:
    # An idle connection has nothing to read, except the server's last word when it shuts down.
    if connection.closed:
        return False
    readable, _, _ = select.select([connection.fileno()], [], [], 0)
    return not readable
