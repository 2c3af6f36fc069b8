"""Removes what is older than the operator keeps. The same rule on every storage layout."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from fleet_core import sql, storage_layout
from fleet_core.db import Connection

_SQL = sql.load("fleet_core", "retention.sql")

# Rows a statement removes at most, so that no transaction grows without bound; the next sweep goes on.
MAX_ROWS: Final = 200_000


@dataclass(frozen=True, slots=True)
class Removed:
    """What one sweep removed. On a hypertable whole chunks go, elsewhere rows."""

    chunks: int = 0
    readings: int = 0
    device_events: int = 0
    messages: int = 0

    @property
    def anything(self) -> bool:
        """Whether anything was removed."""
        return bool(self.chunks or self.readings or self.device_events or self.messages)


def sweep(connection: Connection, retention_days: int, now: datetime) -> Removed:
    """Remove readings, device events and message log rows older than `retention_days`; 0 keeps all. Does not commit.

    The message log goes by whole rows from the old end, so each lane's remaining chain stays whole.
    """
    if retention_days == 0:
        return Removed()
    before = now - timedelta(days=retention_days)
    parameters = {"before": before, "max_rows": MAX_ROWS}
    chunks = readings = 0
    if storage_layout.timescale_version(connection):
        chunks = len(connection.execute(_SQL["drop_old_chunks"], {"before": before}).fetchall())
    else:
        readings = connection.execute(_SQL["delete_old_readings"], parameters).rowcount
    return Removed(
        chunks=chunks,
        readings=readings,
        device_events=connection.execute(_SQL["delete_old_device_events"], parameters).rowcount,
        messages=connection.execute(_SQL["delete_old_messages"], parameters).rowcount,
    )
