"""What ingest refuses to start on, each in one sentence, and what it waits for."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from fleet_core.embedded import postgres, service, tether
from fleet_core.embedded.nats import EmbeddedNats
from fleet_core.embedded.postgres import EmbeddedPostgres
from tests.faults.worker_process import REPOSITORY, WorkerProcess
from tests.services import mosquitto

pytestmark = pytest.mark.fault


@pytest.fixture
def stock_mosquitto(tmp_path: Path) -> Iterator[str]:
    """URL of a Mosquitto as it comes, without a configuration: 1,000 messages queued, 20 in flight."""
    found = mosquitto.program()
    if found is None:
        pytest.skip("mosquitto is not installed (make test installs it when run as root)")
    port = service.free_port()
    with service.open_log(tmp_path / "stock.log") as log:
        process = tether.spawn([found, "-p", str(port)], output=log)
    service.wait_until(lambda: not service.is_port_free(port), process, 20.0, "mosquitto")
    yield f"mqtt://{service.LOOPBACK}:{port}"
    process.kill()
    process.wait(20)


def run_ingest(database_url: str, mqtt_url: str, **settings: str) -> subprocess.CompletedProcess[str]:
    """`fleet run ingest` to its end."""
    environ = {
        **os.environ,
        "FLEET_DATABASE_URL": database_url,
        "FLEET_MQTT_URL": mqtt_url,
        "FLEET_INGEST_HEALTH_PORT": "0",
        **settings,
    }
    return subprocess.run(
        [sys.executable, "-m", "fleet_core.cli", "run", "ingest"],
        env=environ,
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        timeout=90,
        check=False,
    )


def expect_one_sentence(ended: subprocess.CompletedProcess[str], *words: str) -> None:
    """One line on standard error, the words in it, exit code 1."""
    assert ended.returncode == 1, ended.stderr
    (line,) = [line for line in ended.stderr.splitlines() if line.strip()]
    assert line.startswith("Error: ")
    assert [word for word in words if word not in line] == []


def test_a_broker_that_drops_messages_is_refused(stock_mosquitto: str, database_url: str) -> None:
    expect_one_sentence(run_ingest(database_url, stock_mosquitto), "max_queued_messages", "1000 of 1200")


def test_a_broker_that_drops_messages_is_warned_of_when_told_to_start(
    stock_mosquitto: str, database_url: str, tmp_path: Path
) -> None:
    worker = WorkerProcess(tmp_path, database_url, stock_mosquitto, broker_check="warn").start()
    try:
        worker.wait_until_reading()
        assert "max_queued_messages: the broker kept 1000 of 1200" in worker.said()
        assert "max_inflight_messages: the broker sends 20 messages" in worker.said()
        assert worker.stop() == 0
    finally:
        worker.kill()


def test_the_shipped_brokers_pass_the_check(broker: EmbeddedNats, database_url: str, tmp_path: Path) -> None:
    worker = WorkerProcess(tmp_path, database_url, broker.url, broker_check="refuse").start()
    try:
        worker.wait_until_reading()
        assert "WARNING" not in worker.said()
        assert worker.stop() == 0
    finally:
        worker.kill()


def test_a_database_without_fsync_is_refused(
    nats: EmbeddedNats, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(postgres.SERVER_SETTINGS, "fsync", "off")
    server = EmbeddedPostgres(tmp_path / "careless")
    server.start()
    try:
        expect_one_sentence(run_ingest(server.url, nats.url), "fsync is off")
    finally:
        server.stop("immediate")


def test_a_database_without_our_schema_is_refused(nats: EmbeddedNats, postgres_server: EmbeddedPostgres) -> None:
    url = postgres_server.url_of("unmigrated")
    with psycopg.connect(postgres_server.url_of("postgres"), autocommit=True) as administrator:
        administrator.execute("CREATE DATABASE unmigrated")
        try:
            expect_one_sentence(run_ingest(url, nats.url), "run `fleet migrate`")
        finally:
            administrator.execute("DROP DATABASE unmigrated WITH (FORCE)")


@pytest.mark.parametrize("broker_check", ["refuse", "off"])
def test_a_wrong_broker_password_is_named_and_waited_for(
    broker: EmbeddedNats, database_url: str, tmp_path: Path, broker_check: str
) -> None:
    user, _, rest = broker.url.removeprefix("mqtt://").partition(":")
    wrong = f"mqtt://{user}:guessed@{rest.partition('@')[2]}"
    worker = WorkerProcess(tmp_path, database_url, wrong, broker_check=broker_check).start()
    try:
        worker.wait_until_says("broker refused session")
        assert "guessed" not in worker.said()
        assert worker.process.poll() is None
        assert worker.stop() == 0
    finally:
        worker.kill()


def test_services_that_are_not_there_yet_are_named_and_waited_for(
    nats: EmbeddedNats, database_url: str, tmp_path: Path
) -> None:
    mqtt_url = nats.url
    nats.stop()
    worker = WorkerProcess(tmp_path, database_url, mqtt_url, broker_check="refuse").start()
    try:
        worker.wait_until_says(f"broker 127.0.0.1:{nats.port}, session")
        worker.wait_until_says("Connection refused")
        nats.start()
        assert nats.url == mqtt_url
        worker.wait_until_reading()
        assert worker.stop() == 0
    finally:
        worker.kill()
