"""Applies the migrations, in order, each once, under a lock, and records which ran."""

import hashlib
import re
from dataclasses import dataclass
from importlib.resources import files
from typing import Final

from fleet_core.db import Connection, DatabaseUnusableError

# Any number will do as long as every migrator uses the same one.
_LOCK_KEY: Final = 0x666C65657401
_FILENAME = re.compile(r"(\d{4})_[a-z0-9_]+\.sql\Z")


@dataclass(frozen=True, slots=True)
class Migration:
    """One file of the line."""

    number: int
    name: str
    statements: str

    @property
    def digest(self) -> str:
        """SHA-256 of the text, so that a migration edited after it ran is noticed."""
        return hashlib.sha256(self.statements.encode()).hexdigest()


def available() -> list[Migration]:
    """All migrations, by number. Raises ValueError when the numbers have a hole or a double."""
    found = []
    for item in files("fleet_core.migrations").iterdir():
        match = _FILENAME.match(item.name)
        if match:
            found.append(Migration(int(match.group(1)), item.name, item.read_text(encoding="utf-8")))
    found.sort(key=lambda migration: migration.number)
    if [migration.number for migration in found] != list(range(1, len(found) + 1)):
        raise ValueError(f"migrations are not numbered 1..n: {[migration.name for migration in found]}")
    return found


def migrate(connection: Connection) -> list[str]:
    """Apply what is missing in one transaction and commit. Returns the names applied.

    Raises DatabaseUnusableError when the database was migrated by a newer release or a migration's text has changed.
    """
    applied: list[str] = []
    with connection.transaction():
        connection.execute("SELECT pg_advisory_xact_lock(%s)", [_LOCK_KEY])
        connection.execute(
            "CREATE TABLE IF NOT EXISTS schema_migrations ("
            "number integer PRIMARY KEY, name text NOT NULL, digest text NOT NULL,"
            " applied_at timestamptz NOT NULL DEFAULT now())"
        )
        done = {
            number: (name, digest)
            for number, name, digest in connection.execute("SELECT number, name, digest FROM schema_migrations")
        }
        line = available()
        newest = max(done, default=0)
        if newest > len(line):
            raise DatabaseUnusableError(
                f"the database is at migration {newest}, this release knows {len(line)}: use the newer release"
            )
        for migration in line:
            if migration.number in done:
                if done[migration.number][1] != migration.digest:
                    raise DatabaseUnusableError(f"migration {migration.name} differs from the one that ran here")
                continue
            connection.execute(migration.statements)
            connection.execute(
                "INSERT INTO schema_migrations (number, name, digest) VALUES (%s, %s, %s)",
                [migration.number, migration.name, migration.digest],
            )
            applied.append(migration.name)
    return applied
