"""Start-up checks of the database: what "acknowledged means stored" rests on, by the name of the setting."""

import logging
from dataclasses import dataclass

from fleet_core import storage_layout
from fleet_core.db import Connection, DatabaseUnusableError


@dataclass(frozen=True, slots=True)
class Finding:
    """Something an operator should know."""

    setting: str
    sentence: str

    def report(self, log: logging.Logger) -> None:
        """Write it to the log."""
        log.warning("%s: %s", self.setting, self.sentence)


def of_database(connection: Connection) -> list[Finding]:
    """Check what the promise "acknowledged means stored" rests on.

    Raises DatabaseUnusableError when that cannot be kept: `fsync` off, no schema, a TimescaleDB that loses rows.
    """
    shown = {name: _setting(connection, name) for name in ("fsync", "full_page_writes", "synchronous_commit")}
    if shown["fsync"] != "on":
        raise DatabaseUnusableError("fsync is off: a power failure would lose messages already acknowledged")
    found = []
    if shown["full_page_writes"] != "on":
        found.append(Finding("full_page_writes", "is off: a power failure may corrupt what was stored"))
    if shown["synchronous_commit"] == "off":
        # Ours to decide for our own session: acknowledging rests on it.
        connection.execute("SET synchronous_commit = on")
        found.append(Finding("synchronous_commit", "is off on this server; ingest sets it to on for itself"))
    unique = connection.execute(
        "SELECT 1 FROM pg_index WHERE indrelid = to_regclass('readings') AND indisprimary AND indisvalid"
    ).fetchone()
    if unique is None:
        raise DatabaseUnusableError("table readings has no valid primary key: run `fleet migrate` first")
    version = storage_layout.timescale_version(connection)
    if version is not None and version < storage_layout.MIN_TIMESCALE:
        raise DatabaseUnusableError("TimescaleDB 2.18.1 or newer is needed: older ones lose rows beside a duplicate")
    return found


def _setting(connection: Connection, name: str) -> str:
    row = connection.execute("SELECT current_setting(%s, true)", [name]).fetchone()
    return str(row[0]) if row else ""
