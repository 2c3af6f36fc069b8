"""`fleet up` with accounts of devices: they may sign in as soon as they are added, and no longer than they may."""

import json
import os
import signal
import subprocess
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psycopg
import pytest

from tests.services.mqtt_client import Client, pump
from tests.test_embedded_up import CLI, all_run, fleet_up, until


def test_devices_come_and_go_while_it_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FLEET_MQTT_DEVICE_AUTH", "on")
    folder = tmp_path / "fleet"
    with fleet_up(folder):
        until(lambda: all_run(folder), "all processes running")
        now = all_run(folder)
        assert now is not None
        database, port = now["database_dsn"], urlsplit(now["mqtt_url"]).port
        assert port

        def fleet(*arguments: str) -> Any:
            done = subprocess.run(
                [*CLI, "device", *arguments],
                env={**os.environ, "FLEET_DATABASE_URL": database},
                capture_output=True,
                text=True,
                check=True,
            )
            return json.loads(done.stdout) if "--json" in arguments else None

        told = fleet("add", "van-1", "--json")
        other = fleet("add", "van-2", "--json")

        def signed_in(which: dict[str, Any], client_id: str | None = None) -> Client:
            client_id = which["client_id"] if client_id is None else client_id
            return Client(port, which["mqtt_user"], which["mqtt_password"], client_id=client_id)

        until(lambda: not signed_in(told).refused, "sign-in of a new device")
        until(lambda: not signed_in(other).refused, "sign-in of another")

        # A session that a device could name would be taken from ingest, with what waits in it.
        stranger = signed_in(told, "ingest-p0b")
        with psycopg.connect(database, autocommit=True) as connection:

            def readings(vehicle_id: str) -> int:
                row = connection.execute("SELECT count(*) FROM readings WHERE vehicle_id = %s", [vehicle_id]).fetchone()
                assert row is not None
                return int(row[0])

            van, neighbour = signed_in(told), signed_in(other)
            topic = next(topic for topic in told["publish"] if topic.endswith("/telemetry") and "van-1" in topic)
            theirs = next(topic for topic in other["publish"] if topic.endswith("/telemetry"))
            now_ms = "extract(epoch FROM now())::bigint * 1000"
            row = connection.execute(f"SELECT {now_ms}").fetchone()
            assert row is not None
            body = json.dumps({"boot": 1, "seq": 1, "t_ms": row[0], "speed_kmh": 50.0}).encode()
            van.publish(theirs, body)
            van.publish(topic, body)
            # The relay's topic, for a device that cannot compute its partition.
            neighbour.publish("fleet/v1/van-2/telemetry", body)
            until(lambda: readings("van-1") and readings("van-2"), "the devices' readings")
            assert not stranger.ended
            assert (readings("van-1"), readings("van-2")) == (1, 1)

        fleet("revoke", "van-1")
        pump(lambda: van.ended, van, neighbour)
        assert signed_in(told).refused
        assert not neighbour.ended

        # What the broker knew it knows after a crash.
        os.kill(now["processes"]["broker"]["pid"], signal.SIGKILL)
        until(lambda: all_run(folder) and not signed_in(other).refused, "return of the broker with its accounts")
        assert signed_in(told).refused
