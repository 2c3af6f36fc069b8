"""What lies under the tables: hypertables, compression and retention where TimescaleDB is, plain tables where not.

Idempotent, run after every migration. The queries above it are the same SQL on all three layouts.
"""

from typing import Final

from fleet_core.db import Connection, DatabaseUnusableError
from fleet_core.settings import Settings

# Before 2.18.1, INSERT .. SELECT .. ON CONFLICT DO NOTHING into a compressed chunk stopped at the first conflict and
# dropped the rest of the batch (timescaledb issue 7672). That is our write path, so older versions are refused.
MIN_TIMESCALE: Final = (2, 18, 1)

CHUNK_INTERVAL: Final = "1 day"


def timescale_version(connection: Connection) -> tuple[int, ...] | None:
    """Version of the installed extension, or None. A suffix such as `-dev` is ignored."""
    row = connection.execute("SELECT extversion FROM pg_extension WHERE extname = 'timescaledb'").fetchone()
    return None if row is None else _parts(row[0])


def licence(connection: Connection) -> str:
    """`timescale` (community) or `apache`."""
    row = connection.execute("SELECT current_setting('timescaledb.license', true)").fetchone()
    return (row[0] if row else None) or "apache"


def arrange(connection: Connection, settings: Settings) -> str:
    """Bring the layout to what the server offers and commit. Returns a sentence for people.

    Raises DatabaseUnusableError when the TimescaleDB found is too old for lossless writes.
    """
    with connection.transaction():
        if timescale_version(connection) is None:
            offered = connection.execute(
                "SELECT default_version FROM pg_available_extensions WHERE name = 'timescaledb'"
            ).fetchone()
            if offered is None:
                return "plain PostgreSQL"
            if _parts(offered[0]) < MIN_TIMESCALE:
                return f"plain PostgreSQL (the TimescaleDB {offered[0]} on this server is too old to be used)"
            connection.execute("CREATE EXTENSION IF NOT EXISTS timescaledb")
        version = timescale_version(connection)
        assert version is not None
        if version < MIN_TIMESCALE:
            raise DatabaseUnusableError(
                f"TimescaleDB {_text(version)} loses rows of a batch that meets a duplicate in a compressed chunk: "
                f"{_text(MIN_TIMESCALE)} or newer is needed"
            )
        connection.execute(
            "SELECT create_hypertable('readings', 'device_time', chunk_time_interval => %s::interval,"
            " create_default_indexes => false, if_not_exists => true, migrate_data => true)",
            [CHUNK_INTERVAL],
        )
        if licence(connection) != "timescale":
            return f"TimescaleDB {_text(version)}, Apache licence: hypertable, no compression"
        _arrange_compression(connection, settings)
        return (
            f"TimescaleDB {_text(version)}, community licence: hypertable, "
            f"compressed after {settings.compress_after_days} days"
        )


def _arrange_compression(connection: Connection, settings: Settings) -> None:
    # All columns of the unique key are in segmentby or orderby: otherwise the check for duplicates in compressed chunks
    # must decompress whole segments.
    compressed = connection.execute(
        "SELECT 1 FROM timescaledb_information.compression_settings WHERE hypertable_name = 'readings' LIMIT 1"
    ).fetchone()
    if compressed is None:
        connection.execute(
            "ALTER TABLE readings SET (timescaledb.compress, timescaledb.compress_segmentby = 'vehicle_id',"
            " timescaledb.compress_orderby = 'device_time, seq')"
        )
    connection.execute("SELECT remove_compression_policy('readings', if_exists => true)")
    connection.execute(
        "SELECT add_compression_policy('readings', compress_after => make_interval(days => %s))",
        [settings.compress_after_days],
    )
    # Retention is ours (fleet_core.retention), on every layout alike: a policy would not know about legal holds.


def _parts(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split("-", maxsplit=1)[0].split("."))


def _text(version: tuple[int, ...]) -> str:
    return ".".join(map(str, version))
