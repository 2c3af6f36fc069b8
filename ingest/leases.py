"""Who reads which partition: advisory locks, held by the very connection that writes.

If that connection dies, lock and uncommitted work die together, so a worker that lost its lease cannot commit. A worker
that is alive for TCP but frozen is ended by the database: its session is set to time out when it says nothing for
`lease_seconds` (idle_session_timeout, PostgreSQL 14), and a living one speaks far more often. One that froze in the
middle of a COPY is not idle for those timeouts: the other workers end it (`end_frozen`).
"""

import math
from typing import Final

from fleet_core.db import Connection

# First halves of our advisory lock keys; any numbers that nothing else in the database uses.
_LEASE_CLASS: Final = 0x666C7431
_PRESENCE_CLASS: Final = 0x666C7432
# Beyond the partitions, of which there are at most 256.
_RELAY: Final = 256


def session_options(lease_seconds: int) -> str:
    """Connection options that end a silent worker's session."""
    timeout_ms = lease_seconds * 1000
    return f"-c idle_session_timeout={timeout_ms} -c idle_in_transaction_session_timeout={timeout_ms}"


class Leases:
    """The partitions of one worker. Every call runs on the writing connection, outside a batch's transaction."""

    def __init__(self, partitions: int) -> None:
        self._partitions = partitions
        self.held: set[int] = set()
        self.holds_relay = False

    def announce(self, connection: Connection) -> None:
        """Make this worker visible to the others, for as long as its connection lives."""
        connection.execute("SELECT pg_advisory_lock_shared(%s, 0)", [_PRESENCE_CLASS])

    def fair_share(self, connection: Connection) -> int:
        """Partitions each living worker should hold."""
        row = connection.execute(
            "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND classid = %s AND objsubid = 2 AND granted"
            " AND database = (SELECT oid FROM pg_database WHERE datname = current_database())",
            [_PRESENCE_CLASS],
        ).fetchone()
        workers = max(1, row[0] if row else 1)
        return math.ceil(self._partitions / workers)

    def take(self, connection: Connection, share: int) -> set[int]:
        """Try for free partitions until the share is reached. Returns those newly taken."""
        taken: set[int] = set()
        for partition in range(self._partitions):
            if len(self.held) >= share:
                break
            if partition in self.held:
                continue
            row = connection.execute("SELECT pg_try_advisory_lock(%s, %s)", [_LEASE_CLASS, partition]).fetchone()
            if row is not None and row[0]:
                self.held.add(partition)
                taken.add(partition)
        return taken

    def end_frozen(self, connection: Connection, lease_seconds: int) -> int:
        """End workers whose session has waited for its client in one statement for the life of a lease. How many.

        No timeout of PostgreSQL runs while a COPY waits for the rest of its data, statement_timeout neither.
        """
        ended = connection.execute(
            "SELECT pg_terminate_backend(activity.pid) FROM pg_locks AS presence"
            " JOIN pg_stat_activity AS activity USING (pid)"
            " WHERE presence.locktype = 'advisory' AND presence.classid = %s AND presence.objsubid = 2"
            " AND presence.database = (SELECT oid FROM pg_database WHERE datname = current_database())"
            " AND activity.state = 'active' AND activity.wait_event_type = 'Client'"
            " AND activity.query_start < clock_timestamp() - make_interval(secs => %s)",
            [_PRESENCE_CLASS, lease_seconds],
        )
        return ended.rowcount

    def take_relay(self, connection: Connection) -> bool:
        """Try for the relay's lease, which one worker of a deployment holds. True when newly taken."""
        if self.holds_relay:
            return False
        row = connection.execute("SELECT pg_try_advisory_lock(%s, %s)", [_LEASE_CLASS, _RELAY]).fetchone()
        self.holds_relay = bool(row and row[0])
        return self.holds_relay

    def surplus(self, share: int) -> set[int]:
        """Partitions to give up so that others can have their share."""
        return set(sorted(self.held)[share:])

    def release(self, connection: Connection, partitions: set[int]) -> None:
        """Give up partitions whose batches have all been committed."""
        for partition in partitions & self.held:
            connection.execute("SELECT pg_advisory_unlock(%s, %s)", [_LEASE_CLASS, partition])
        self.held -= partitions
