"""`fleet device`, as an administrator uses it, on a real database."""

import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from click.testing import CliRunner, Result
from cryptography import x509

from fleet_core import db
from fleet_core import settings as settings_module
from fleet_core.cli import fleet
from fleet_core.db import Connection
from fleet_core.device_access import passwords, queries
from fleet_core.embedded import service
from fleet_core.embedded.nats import EmbeddedNats
from fleet_core.settings import Settings
from tests.services.mosquitto import Mosquitto, accepts
from tests.services.mqtt_client import Client

Run = Callable[..., Result]


@pytest.fixture
def store(database_url: str) -> Iterator[Connection]:
    with db.connect(database_url, "test", autocommit=True) as connection:
        yield connection


@pytest.fixture
def run(database_url: str, monkeypatch: pytest.MonkeyPatch) -> Run:
    configured = Settings(database_url=database_url, mqtt_url="mqtt://ingest:plat%20form@127.0.0.1:1883")
    monkeypatch.setattr(settings_module, "from_process", lambda: configured)
    return lambda *arguments: CliRunner().invoke(fleet, ["device", *map(str, arguments)])


def told(result: Result) -> dict[str, Any]:
    assert result.exit_code == 0, result.output
    answer: dict[str, Any] = json.loads(result.output)
    return answer


def listed(run: Run) -> list[list[str]]:
    result = run("list")
    assert result.exit_code == 0
    return [line.split("\t") for line in result.output.splitlines()]


def test_a_device_gets_an_account_whose_password_is_nowhere(run: Run, store: Connection) -> None:
    result = run("add", "van-1")
    assert result.exit_code == 0, result.output
    assert "created vehicle van-1" in result.output
    password = next(line.split()[2] for line in result.output.splitlines() if line.startswith("MQTT password"))
    row = store.execute("SELECT device_credentials::text FROM device_credentials").fetchone()
    assert row is not None
    assert password not in row[0]
    (account,) = queries.accounts(store)
    assert (account.mqtt_user, account.vehicle_id) == ("van-1", "van-1")
    assert passwords.matches_mosquitto(password, account.mosquitto_hash)
    assert listed(run) == [["van-1", "van-1", "native", "-", "van-1", "valid", "-"]]


def test_json_says_what_a_device_needs(run: Run) -> None:
    answer = told(run("add", "van-1", "--device-id", "861585040983561", "--json"))
    assert (answer["device_id"], answer["vehicle_id"], answer["mqtt_user"]) == ("861585040983561", "van-1", "van-1")
    assert answer["client_id"].startswith("van-1-")
    assert "fleet/v1/van-1/telemetry" in answer["publish"]
    assert len(answer["subscribe"]) == 1


def test_a_second_device_of_a_vehicle_has_a_name_of_its_own(run: Run, store: Connection) -> None:
    told(run("add", "van-1", "--json"))
    again = run("add", "van-1")
    assert again.exit_code != 0
    assert "signs in as van-1 already" in again.output
    assert told(run("add", "van-1", "--device-id", "camera", "--json"))["mqtt_user"] == "van-1.2"
    assert [account.vehicle_id for account in queries.accounts(store)] == ["van-1", "van-1"]


def test_a_device_elsewhere_is_left_alone_and_nothing_is_half_done(run: Run, store: Connection) -> None:
    told(run("add", "van-1", "--json"))
    taken = run("add", "van-2", "--device-id", "van-1")
    assert taken.exit_code != 0
    assert "there is a device 'van-1' already" in taken.output
    assert store.execute("SELECT vehicle_id FROM vehicles").fetchall() == [("van-1",)]


def test_a_device_may_be_registered_without_an_account_and_get_one_later(run: Run, store: Connection) -> None:
    assert told(run("add", "van-1", "--no-account", "--kind", "traccar", "--json")) == {
        "device_id": "van-1",
        "vehicle_id": "van-1",
    }
    assert queries.accounts(store) == []
    assert listed(run) == [["van-1", "van-1", "traccar", "-", "-", "-", "-"]]
    assert run("add", "van-1", "--no-account").exit_code != 0
    assert told(run("add", "van-1", "--json"))["mqtt_user"] == "van-1"
    assert [account.kind for account in queries.accounts(store)] == ["traccar"]


def test_revoked_is_for_good_and_a_new_account_has_a_new_name(run: Run, store: Connection) -> None:
    told(run("add", "van-1", "--json"))
    assert run("revoke", "van-1").exit_code == 0
    assert queries.accounts(store) == []
    assert listed(run)[0][4:6] == ["van-1", "revoked"]
    for arguments in (("revoke", "van-1"), ("revoke", "nobody"), ("rotate", "van-1"), ("rotate", "nobody")):
        assert run(*arguments).exit_code != 0
    assert told(run("add", "van-1", "--json"))["mqtt_user"] == "van-1.2"
    assert listed(run)[0][4:6] == ["van-1.2", "valid"]


def test_rotation_replaces_the_password(run: Run, store: Connection) -> None:
    before = told(run("add", "van-1", "--json"))
    after = told(run("rotate", "van-1", "--json"))
    assert after["mqtt_user"] == "van-1"
    (account,) = queries.accounts(store)
    assert passwords.matches_mosquitto(after["mqtt_password"], account.mosquitto_hash)
    assert not passwords.matches_mosquitto(before["mqtt_password"], account.mosquitto_hash)


def test_a_device_that_moves_speaks_for_neither_vehicle_until_it_is_rotated(run: Run, store: Connection) -> None:
    told(run("add", "van-1", "--json"))
    store.execute("INSERT INTO vehicles (vehicle_id) VALUES ('van-2')")
    store.execute("UPDATE devices SET vehicle_id = 'van-2'")
    assert queries.accounts(store) == []
    assert listed(run)[0][4:6] == ["van-1", "moved"]
    assert told(run("rotate", "van-1", "--json"))["mqtt_user"] == "van-2"
    assert [(account.mqtt_user, account.vehicle_id) for account in queries.accounts(store)] == [("van-2", "van-2")]
    store.execute("UPDATE devices SET vehicle_id = NULL")
    assert "in no vehicle" in run("rotate", "van-1").output


def test_a_certificate_names_the_account_and_ends_with_it(run: Run, store: Connection, tmp_path: Path) -> None:
    folder = tmp_path / "ca"
    first = told(run("add", "van-1", "--cert-dir", folder, "--json"))
    assert common_name(first["certificate"]) == "van-1"
    assert Path(first["key"]).stat().st_mode & 0o077 == 0
    assert first["authority"] == str(folder / "ca.pem")
    lost = run("rotate", "van-1")
    assert lost.exit_code != 0
    assert "--cert-dir" in lost.output
    second = told(run("rotate", "van-1", "--cert-dir", folder, "--json"))
    # The old certificate is good for years: its name must not be.
    assert common_name(second["certificate"]) == second["mqtt_user"] == "van-1.2"
    assert [account.mqtt_user for account in queries.accounts(store)] == ["van-1.2"]
    assert listed(run)[0][6].startswith("20")


def test_a_certificate_that_cannot_be_written_leaves_no_account(run: Run, store: Connection, tmp_path: Path) -> None:
    (tmp_path / "ca.pem").write_text("nonsense")
    (tmp_path / "ca.key").write_text("nonsense")
    assert "cannot be read" in run("add", "van-1", "--cert-dir", tmp_path).output
    assert "exclude each other" in run("add", "van-1", "--no-account", "--cert-dir", tmp_path).output
    told(run("add", "v" * 64, "--device-id", "first", "--cert-dir", tmp_path / "other", "--json"))
    second = run("add", "v" * 64, "--device-id", "second", "--cert-dir", tmp_path / "other")
    assert "longer than the 64 characters" in second.output
    assert store.execute("SELECT device_id FROM devices").fetchall() == [("first",)]
    assert [account.mqtt_user for account in queries.accounts(store)] == ["v" * 64]


def test_a_vehicle_with_the_platforms_name_gets_another(run: Run) -> None:
    assert told(run("add", "ingest", "--json"))["mqtt_user"] == "ingest.2"


def test_every_change_rings(run: Run, database_url: str) -> None:
    with psycopg.connect(database_url, autocommit=True) as listener:
        listener.execute(f"LISTEN {queries.CHANNEL}")
        for arguments in (("add", "van-1"), ("rotate", "van-1"), ("revoke", "van-1")):
            assert run(*arguments).exit_code == 0
            assert len(list(listener.notifies(timeout=5, stop_after=1))) == 1
        listener.execute("UPDATE devices SET vehicle_id = NULL")
        assert len(list(listener.notifies(timeout=5, stop_after=1))) == 1


def test_the_broker_gets_a_certificate_and_so_does_the_platform(run: Run, tmp_path: Path) -> None:
    result = run("broker-certificate", "mqtt.example", "10.0.0.1", "--cert-dir", tmp_path / "ca")
    assert result.exit_code == 0, result.output
    certificate = x509.load_pem_x509_certificate((tmp_path / "ca" / "broker.pem").read_bytes())
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == ["mqtt.example"]
    assert [str(address) for address in names.get_values_for_type(x509.IPAddress)] == ["10.0.0.1"]
    assert common_name(str(tmp_path / "ca" / "platform.pem")) == "ingest"


@pytest.fixture(params=["nats", "mosquitto"])
def server(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[EmbeddedNats | Mosquitto]:
    """A broker that an administrator looks after."""
    if request.param == "mosquitto":
        yield request.getfixturevalue("mosquitto_broker")
        return
    broker = EmbeddedNats(tmp_path / "nats", device_accounts=True)
    broker.data_dir.mkdir()
    monkeypatch.setenv("NATS_USER", "fleet")
    monkeypatch.setenv("NATS_PASSWORD", service.secret(broker.data_dir / "password"))
    broker.start()
    yield broker
    broker.kill()


def test_what_is_exported_is_what_the_broker_lets_in(
    server: EmbeddedNats | Mosquitto, run: Run, database_url: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    configured = Settings(database_url=database_url, mqtt_url=server.url)
    monkeypatch.setattr(settings_module, "from_process", lambda: configured)
    pid_file = tmp_path / "broker.pid"
    pid_file.write_text(f"{server.pid}\n")
    kind = "nats" if isinstance(server, EmbeddedNats) else "mosquitto"

    def export() -> str:
        result = run("export", "--broker", kind, "--to", server.data_dir, "--pid-file", pid_file)
        assert result.exit_code == 0, result.output
        return result.output

    device = told(run("add", "van-1", "--json"))
    assert not accepted(server, device)
    assert export().startswith("1 accounts of devices")
    until(lambda: accepted(server, device))
    assert "as they were" in export()
    assert accepts(server.url), "the platform itself"
    assert run("revoke", "van-1").exit_code == 0
    assert export().startswith("0 accounts of devices")
    until(lambda: not accepted(server, device))
    assert accepts(server.url)


def test_an_export_that_cannot_be_written_says_so(run: Run, tmp_path: Path) -> None:
    (tmp_path / "pid").write_text("nonsense")
    for broker in ("nats", "mosquitto"):
        missing = run("export", "--broker", broker, "--to", tmp_path / "missing")
        assert missing.exit_code != 0
        assert "No such file or directory" in missing.output
    wrong = run("export", "--broker", "nats", "--to", tmp_path, "--pid-file", tmp_path / "pid")
    assert "holds no process id" in wrong.output


def accepted(server: EmbeddedNats | Mosquitto, device: dict[str, Any]) -> bool:
    return not Client(server.port, device["mqtt_user"], device["mqtt_password"]).refused


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline, "the broker did not read its accounts again"
        time.sleep(0.1)


def common_name(path: str) -> str:
    certificate = x509.load_pem_x509_certificate(Path(path).read_bytes())
    return str(certificate.subject.rfc4514_string()).removeprefix("CN=")
