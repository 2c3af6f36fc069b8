"""Migrations and what lies under the tables, on plain PostgreSQL and on TimescaleDB with either licence."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import psycopg
import pytest

from fleet_core import db, migrate, retention, storage_layout
from fleet_core.db import DatabaseUnusableError
from fleet_core.embedded.postgres import EmbeddedPostgres
from fleet_core.settings import Settings

LAYOUTS = {
    "plain": ("database_url", "plain PostgreSQL"),
    "apache": ("timescale_database_url", "Apache licence: hypertable, no compression"),
    "community": ("community_database_url", "community licence: hypertable, compressed after 30 days"),
}
NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)


@pytest.fixture(params=LAYOUTS)
def layout(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


@pytest.fixture
def store(layout: str, request: pytest.FixtureRequest) -> Iterator[db.Connection]:
    """A migrated and arranged database on each layout in turn."""
    with db.connect(request.getfixturevalue(LAYOUTS[layout][0]), "test") as connection:
        migrate.migrate(connection)
        storage_layout.arrange(connection, Settings())
        yield connection


def insert(connection: db.Connection, *rows: tuple[str, datetime, int]) -> list[tuple[str, datetime, int]]:
    """The write path's statement, by parameters instead of COPY. Returns the rows that were new."""
    fresh = []
    for row in rows:
        fresh += connection.execute(
            "INSERT INTO readings (vehicle_id, device_time, seq, received_at) VALUES (%s, %s, %s, %s)"
            " ON CONFLICT DO NOTHING RETURNING vehicle_id, device_time, seq",
            [*row, NOW],
        ).fetchall()
    return fresh


def count(connection: db.Connection, table: str) -> int:
    row = connection.execute(f"SELECT count(*) FROM {table}").fetchone()
    assert row is not None
    return int(row[0])


def test_second_run_changes_nothing(store: db.Connection, layout: str) -> None:
    insert(store, ("v1", NOW, 1))
    store.commit()
    assert migrate.migrate(store) == []
    assert LAYOUTS[layout][1] in storage_layout.arrange(store, Settings())
    assert LAYOUTS[layout][1] in storage_layout.arrange(store, Settings())
    assert count(store, "readings") == 1
    assert count(store, "schema_migrations") == len(migrate.available())
    hypertables = store.execute(
        "SELECT count(*) FROM pg_namespace WHERE nspname = 'timescaledb_information'"
    ).fetchone()
    assert hypertables == (0 if layout == "plain" else 1,)


def test_a_reading_is_stored_once(store: db.Connection) -> None:
    first = insert(store, ("v1", NOW, 1), ("v1", NOW, 2), ("v1", NOW, 1), ("v2", NOW, 1))
    assert len(first) == 3
    assert insert(store, ("v1", NOW, 1), ("v1", NOW, 2), ("v2", NOW, 1)) == []
    assert count(store, "readings") == 3


def test_rows_from_before_timescale_come_along(timescale_database_url: str) -> None:
    with db.connect(timescale_database_url, "test") as connection:
        connection.execute("CREATE TABLE kept AS SELECT * FROM readings WITH NO DATA")
        connection.execute("DROP TABLE readings")
        connection.execute("CREATE TABLE readings (LIKE kept, PRIMARY KEY (vehicle_id, device_time, seq))")
        insert(connection, *(("v1", NOW - timedelta(days=day), day) for day in range(10)))
        connection.commit()
        storage_layout.arrange(connection, Settings())
        chunks = connection.execute("SELECT count(*) FROM show_chunks('readings')").fetchone()
        assert chunks == (10,)
        assert count(connection, "readings") == 10


def test_sweep_removes_the_old_and_keeps_the_rest(store: db.Connection, layout: str) -> None:
    days = [500, 450, 401, 399, 10, 0]
    for number, day in enumerate(days):
        then = NOW - timedelta(days=day)
        insert(store, ("v1", then, number))
        store.execute(
            "INSERT INTO device_events (vehicle_id, stream, device_time, seq, occurred_at, clock_valid, received_at,"
            " body) VALUES ('v1', 'alarm', %(t)s, %(n)s, %(t)s, true, %(t)s, '{}')",
            {"t": then, "n": number},
        )
        store.execute(
            "INSERT INTO message_log (received_from, received_to, lanes, previous_hashes, message_count, raw_bytes,"
            " merkle_root, row_hash, messages) VALUES (%(t)s, %(t)s, '{p00}', ARRAY[%(h)s], 1, 1, %(h)s, %(h)s, 'x')",
            {"t": then, "h": bytes(32)},
        )
    store.commit()
    assert retention.sweep(store, 0, NOW) == retention.Removed()
    removed = retention.sweep(store, 400, NOW)
    store.commit()
    assert (removed.device_events, removed.messages) == (3, 3)
    assert (removed.chunks, removed.readings) == ((0, 3) if layout == "plain" else (3, 0))
    oldest = store.execute("SELECT min(device_time), count(*) FROM readings").fetchone()
    assert oldest == (NOW - timedelta(days=399), 3)
    assert not retention.sweep(store, 400, NOW).anything


def test_a_compressed_chunk_takes_exactly_the_new_rows(community_database_url: str) -> None:
    """TimescaleDB before 2.18.1 stopped at the first conflict and dropped the rest of the batch (issue 7672)."""
    with db.connect(community_database_url, "test") as connection:
        migrate.migrate(connection)
        storage_layout.arrange(connection, Settings())
        old = NOW - timedelta(days=90)
        insert(connection, ("v1", old, 1), ("v1", old, 2), ("v2", old, 1))
        connection.commit()
        compressed = connection.execute("SELECT count(compress_chunk(c)) FROM show_chunks('readings') c").fetchone()
        assert compressed == (1,)
        connection.commit()
        connection.execute("CREATE TEMPORARY TABLE staging (vehicle_id text, device_time timestamptz, seq bigint)")
        for row in (("v1", old, 1), ("v1", old, 3), ("v2", old, 1), ("v2", old, 4)):  # a conflict comes first
            connection.execute("INSERT INTO staging VALUES (%s, %s, %s)", row)
        fresh = connection.execute(
            "INSERT INTO readings (vehicle_id, device_time, seq, received_at)"
            " SELECT vehicle_id, device_time, seq, now() FROM staging ON CONFLICT DO NOTHING RETURNING vehicle_id, seq"
        ).fetchall()
        assert sorted(fresh) == [("v1", 3), ("v2", 4)]
        assert count(connection, "readings") == 5


def test_compression_follows_the_setting(community_database_url: str) -> None:
    with db.connect(community_database_url, "test") as connection:
        migrate.migrate(connection)
        for days in (30, 45):
            storage_layout.arrange(connection, Settings(compress_after_days=days))
            after = connection.execute(
                "SELECT config ->> 'compress_after' FROM timescaledb_information.jobs"
                " WHERE proc_name = 'policy_compression'"
            ).fetchall()
            assert after == [(f"{days} days",)]


def test_a_timescale_that_loses_rows_is_refused(timescale_database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(storage_layout, "timescale_version", lambda _connection: (2, 17, 2))
    with (
        db.connect(timescale_database_url, "test") as connection,
        pytest.raises(DatabaseUnusableError, match=r"TimescaleDB 2\.17\.2 .* 2\.18\.1 or newer is needed"),
    ):
        storage_layout.arrange(connection, Settings())


def test_an_old_postgresql_is_refused(database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(db, "MIN_SERVER_VERSION", 990_000)
    with pytest.raises(DatabaseUnusableError, match="is too old: version 15 or newer is needed"):
        db.connect(database_url, "test")


def test_an_edited_migration_is_noticed(database_url: str) -> None:
    with db.connect(database_url, "test") as connection:
        connection.execute("UPDATE schema_migrations SET digest = 'other' WHERE number = 1")
        connection.commit()
        with pytest.raises(DatabaseUnusableError, match="differs from the one that ran here"):
            migrate.migrate(connection)


def test_a_database_of_a_newer_release_is_refused(database_url: str) -> None:
    with db.connect(database_url, "test") as connection:
        connection.execute("INSERT INTO schema_migrations (number, name, digest) VALUES (9999, 'future', '')")
        connection.commit()
        with pytest.raises(DatabaseUnusableError, match="use the newer release"):
            migrate.migrate(connection)


def test_two_migrators_at_once_apply_each_migration_once(migrated_server: EmbeddedPostgres) -> None:
    from concurrent.futures import ThreadPoolExecutor

    with psycopg.connect(migrated_server.url_of("postgres"), autocommit=True) as administrator:
        administrator.execute("DROP DATABASE IF EXISTS race WITH (FORCE)")
        administrator.execute("CREATE DATABASE race")

    def run(_: int) -> list[str]:
        with db.connect(migrated_server.url_of("race"), "test") as connection:
            return migrate.migrate(connection)

    with ThreadPoolExecutor(4) as pool:
        applied = [name for names in pool.map(run, range(4)) for name in names]
    assert sorted(applied) == [migration.name for migration in migrate.available()]


def test_depots_that_vehicles_and_people_are_in_become_depots(
    migrated_server: EmbeddedPostgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    with psycopg.connect(migrated_server.url_of("postgres"), autocommit=True) as administrator:
        administrator.execute("DROP DATABASE IF EXISTS before_access WITH (FORCE)")
        administrator.execute("CREATE DATABASE before_access")
    line = migrate.available()
    with db.connect(migrated_server.url_of("before_access"), "test") as connection:
        monkeypatch.setattr(migrate, "available", lambda: line[:4])
        migrate.migrate(connection)
        for vehicle_id, depot in (("v1", "north"), ("v2", "north"), ("v3", None), ("v4", ""), ("v5", "x" * 101)):
            connection.execute("INSERT INTO vehicles (vehicle_id, depot) VALUES (%s, %s)", [vehicle_id, depot])
        connection.execute("INSERT INTO people (person_id, name, depot) VALUES ('wang', 'Wang', 'south')")
        connection.commit()
        monkeypatch.setattr(migrate, "available", lambda: line)
        assert migrate.migrate(connection)[0] == "0005_access.sql"
        depots = connection.execute("SELECT depot_id, name FROM depots ORDER BY depot_id").fetchall()
        assert depots == [("north", "north"), ("south", "south")]
