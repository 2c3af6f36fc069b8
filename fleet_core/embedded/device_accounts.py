"""Keeps the embedded broker's accounts of devices as the database has them, while `fleet up` runs."""

import logging
import threading
import time
from collections.abc import Callable
from typing import Final

import psycopg

from fleet_core import db
from fleet_core.db import Connection
from fleet_core.device_access import queries
from fleet_core.embedded.nats import EmbeddedNats

_log = logging.getLogger("fleet.up")

# The door-bell rings at every change; this is for a ring that was lost with its connection.
_LOOK_EVERY_S: Final = 30.0
# How long a stop may have to wait for us.
_WAIT_S: Final = 0.5
_BACK_OFF_S: Final = 2.0


class DeviceAccounts:
    """A thread that listens for changed accounts and admits them. `say` tells the person who runs `fleet up`."""

    def __init__(self, database_url: str, broker: EmbeddedNats, partitions: int, say: Callable[[str], None]) -> None:
        self._database_url = database_url
        self._broker = broker
        self._partitions = partitions
        self._say = say
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="device-accounts", daemon=True)

    def start(self) -> None:
        """Begin to listen."""
        self._thread.start()

    def stop(self) -> None:
        """End, within a second or two."""
        self._stop.set()
        self._thread.join(timeout=15)

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                with db.connect(self._database_url, "device-accounts", autocommit=True) as connection:
                    self._follow(connection)
            except (psycopg.Error, OSError) as error:
                # The database starts again after it died, and so do we: the broker keeps the accounts it has.
                _log.warning("accounts of devices: %s", " ".join(str(error).split()))
                self._stop.wait(_BACK_OFF_S)

    def _follow(self, connection: Connection) -> None:
        # Before the first look, so that no change falls between.
        connection.execute(f"LISTEN {queries.CHANNEL}")
        while not self._stop.is_set():
            accounts = queries.accounts(connection)
            if self._broker.admit(accounts, self._partitions):
                self._say(f"the broker knows {len(accounts)} accounts of devices")
            self._wait(connection)

    def _wait(self, connection: Connection) -> None:
        until = time.monotonic() + _LOOK_EVERY_S
        while not self._stop.is_set() and time.monotonic() < until:
            if list(connection.notifies(timeout=_WAIT_S, stop_after=1)):
                return
