"""Connections to the store. Connecting is here; committing is only for the outermost caller."""

from typing import Final

import psycopg
from psycopg.rows import TupleRow

from fleet_core.settings import SettingsError

Connection = psycopg.Connection[TupleRow]

MIN_SERVER_VERSION: Final = 150_000  # PostgreSQL 15


class DatabaseUnusableError(RuntimeError):
    """The database answers but cannot be used; the text says why in one sentence."""


def connect(url: str, purpose: str, *, autocommit: bool = False, options: str = "") -> Connection:
    """Open a connection named after its purpose.

    TCP keep-alives of about ten seconds let both ends notice a dead peer: locks of a worker that is gone must be freed.
    Raises DatabaseUnusableError for a server before PostgreSQL 15, psycopg.OperationalError when it cannot be reached.
    """
    if not url:
        raise SettingsError("FLEET_DATABASE_URL is not set")
    connection = psycopg.connect(
        url,
        autocommit=autocommit,
        application_name=f"fleetward-{purpose}",
        connect_timeout=10,
        keepalives=1,
        keepalives_idle=5,
        keepalives_interval=2,
        keepalives_count=3,
        # Keep-alives rest while sent data is unconfirmed: a network that swallows it would hang us for minutes.
        tcp_user_timeout=15_000,
        options=f"-c timezone=UTC {options}".strip(),
    )
    if connection.info.server_version < MIN_SERVER_VERSION:
        version = connection.info.server_version
        connection.close()
        raise DatabaseUnusableError(f"PostgreSQL {version // 10_000} is too old: version 15 or newer is needed")
    return connection
