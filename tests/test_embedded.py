"""The embedded broker and database keep what they were given through stops, kills and restarts."""

import os
import pwd
import subprocess
from pathlib import Path
from urllib.parse import urlsplit

import psycopg
import pytest

from fleet_core.embedded import postgres
from fleet_core.embedded.nats import EmbeddedNats
from fleet_core.embedded.postgres import EmbeddedPostgres
from fleet_core.embedded.service import EmbeddedServiceError
from tests.services.mosquitto import accepts


def test_a_committed_row_survives_kill_and_immediate_stop(tmp_path: Path) -> None:
    server = EmbeddedPostgres(tmp_path / "postgres")
    server.start()
    try:
        with psycopg.connect(server.url) as connection:
            connection.execute("CREATE TABLE kept (n integer)")
        for number, end in enumerate((server.kill, lambda: server.stop("immediate"), server.stop)):
            with psycopg.connect(server.url) as connection:
                connection.execute("INSERT INTO kept VALUES (%s)", [number])
            end()
            assert server.pid is None
            server.start()
        with psycopg.connect(server.url) as connection:
            assert connection.execute("SELECT array_agg(n ORDER BY n) FROM kept").fetchone() == ([0, 1, 2],)
    finally:
        server.kill()


def test_a_stale_lock_file_with_a_number_in_use_does_not_stop_it(tmp_path: Path) -> None:
    """In a container the number of a killed server soon belongs to another process, such as this one."""
    server = EmbeddedPostgres(tmp_path / "postgres")
    server.start()
    lock = server.cluster / "postmaster.pid"
    text = lock.read_text(encoding="ascii")
    server.kill()
    lock.write_text(text.replace(text.splitlines()[0], str(os.getpid()), 1), encoding="ascii")
    server.start()
    try:
        psycopg.connect(server.url).close()
    finally:
        server.kill()


def test_a_second_server_on_a_running_cluster_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(postgres, "_LEFTOVERS_WITHIN_S", 1.0)
    first, second = EmbeddedPostgres(tmp_path / "postgres"), EmbeddedPostgres(tmp_path / "postgres")
    first.start()
    try:
        with pytest.raises(EmbeddedServiceError, match=f"runs on .* already \\(process {first.pid}\\)"):
            second.start()
        psycopg.connect(first.url).close()
    finally:
        first.kill()


def test_the_user_that_another_server_makes_at_the_same_moment_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    users = {"nobody": pwd.getpwnam("nobody")}
    ours = pwd.struct_passwd((postgres.SYSTEM_USER, "x", 4711, 4712, "", "/nonexistent", "/usr/sbin/nologin"))

    def useradd(command: list[str], **_: object) -> subprocess.CompletedProcess[bytes]:
        users[postgres.SYSTEM_USER] = ours
        return subprocess.CompletedProcess(command, 9)

    monkeypatch.setattr(pwd, "getpwnam", users.__getitem__)
    monkeypatch.setattr(subprocess, "run", useradd)
    monkeypatch.setattr(postgres.shutil, "which", lambda name: f"/usr/sbin/{name}")
    assert postgres._unprivileged_user() == (4711, 4712)


def test_the_password_is_the_owners_alone_and_is_asked_for(tmp_path: Path) -> None:
    server = EmbeddedPostgres(tmp_path / "postgres")
    server.start()
    try:
        assert (server.data_dir / "password").stat().st_mode & 0o777 == 0o600
        with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
            psycopg.connect(server.url.replace(":p", ":q", 1))
    finally:
        server.kill()


def test_the_broker_keeps_address_and_account_over_a_kill(nats: EmbeddedNats) -> None:
    url = nats.url
    parts = urlsplit(url)
    assert parts.hostname and parts.port and parts.password and parts.username
    assert accepts(url)
    assert not accepts(url.replace(parts.password, "wrong"))
    nats.kill()
    nats.start()
    # Clients that know the address go on working.
    assert nats.url == url
    assert accepts(url)
    assert nats.figures("/varz")["mqtt"]["port"] == parts.port


def test_migrated_database(database_url: str) -> None:
    with psycopg.connect(database_url) as connection:
        assert connection.execute("SELECT count(*) FROM readings").fetchone() == (0,)
