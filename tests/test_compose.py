"""What is shipped for a server: the compose file names what exists, and the broker configurations keep messages."""

import contextlib
import re
import signal
import time
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import paho.mqtt.client as paho
import pytest
import yaml

from fleet_core import processes
from fleet_core.embedded import nats, service, tether
from fleet_core.embedded.nats import EmbeddedNats
from fleet_core.settings import Settings
from tests.services.mosquitto import Mosquitto, accepts

REPOSITORY = Path(__file__).resolve().parents[1]
COMPOSE: dict[str, Any] = yaml.safe_load((REPOSITORY / "docker-compose.yml").read_text(encoding="utf-8"))
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
QUEUED = 3_000
# Within what the embedded broker sends without an acknowledgement.
IN_FLIGHT = 1_500


def test_every_image_is_pinned() -> None:
    dockerfile = (REPOSITORY / "deploy" / "Dockerfile").read_text(encoding="utf-8")
    images = [item["image"] for item in SERVICES.values()] + re.findall(r"^FROM (\S+)", dockerfile, re.MULTILINE)
    for image in images:
        assert re.search(r":\d+\.\d+\.\d+", image), f"{image} is not pinned to a release"
    release = re.fullmatch(r"timescale/timescaledb:(\d+)\.(\d+)\.(\d+)-pg1[67]", SERVICES["database"]["image"])
    assert release
    assert tuple(map(int, release.groups())) >= (2, 18, 1)
    assert SERVICES["broker"]["image"].startswith("eclipse-mosquitto:2.0.")


def test_every_process_is_a_service_and_every_command_exists() -> None:
    run = {item["command"][1] for item in SERVICES.values() if item.get("command", [None])[0] == "run"}
    assert run == set(processes.BY_NAME)
    for name in processes.BY_NAME:
        assert SERVICES[name]["command"] == ["run", name]
        assert SERVICES[name]["depends_on"]["migrate"]["condition"] == "service_completed_successfully"
    assert SERVICES["migrate"]["command"] == ["migrate"]


def test_settings_in_containers_are_settings() -> None:
    for name in (*processes.BY_NAME, "migrate"):
        environ = {
            key: re.sub(r"\$\{[^}]*\}", "secret0secret0secret", str(value)) for key, value in _environment(name).items()
        }
        configured = Settings.from_environment(environ)
        configured.require("database_url", "mqtt_url")
        assert urlsplit(configured.database_url).hostname in SERVICES
        assert urlsplit(configured.mqtt_url).hostname in SERVICES


def test_no_secret_is_written_down() -> None:
    text = (REPOSITORY / "docker-compose.yml").read_text(encoding="utf-8")
    used = re.findall(r"PASSWORD: (.*)$|://fleet:(.*?)@", text, re.MULTILINE)
    assert used
    for one, other in used:
        assert re.match(r"\$\{FLEETWARD_\w+:\?", one or other), "a password must come from the environment or fail"


def test_everything_named_exists() -> None:
    named = set(COMPOSE["volumes"])
    for service_name, item in SERVICES.items():
        for mount in item.get("volumes", []):
            source = mount.split(":")[0]
            assert source in named or (REPOSITORY / source).is_file(), f"{service_name} mounts {source}"
        build = item.get("build")
        if build:
            assert (REPOSITORY / build["context"] / build["dockerfile"]).is_file()
        for other in item.get("depends_on", {}):
            assert other in SERVICES
    copied = re.findall(
        r"^COPY (?!--from)(.+) \S+$", (REPOSITORY / "deploy" / "Dockerfile").read_text("utf-8"), re.MULTILINE
    )
    ignore = (REPOSITORY / ".dockerignore").read_text(encoding="utf-8").split()
    for path in " ".join(copied).split():
        assert (REPOSITORY / path).exists(), f"the image copies {path}"
        roots = {f"!{path}", *(f"!{parent}" for parent in Path(path).parents)}
        assert roots & set(ignore) or ("!requirements/*.txt" in ignore and path.startswith("requirements/"))


def test_every_service_is_watched_and_long_running_ones_come_back() -> None:
    for name, item in SERVICES.items():
        assert "healthcheck" in item, f"{name} has no health check"
        if name == "migrate":
            assert item["healthcheck"] == {"disable": True}
            continue
        assert item["restart"] == "unless-stopped"
        assert item["healthcheck"]["test"][0] in ("CMD", "CMD-SHELL")


def test_pages_are_for_this_machine_alone() -> None:
    for name, item in SERVICES.items():
        for port in item.get("ports", []):
            assert name == "broker" or port.startswith("127.0.0.1:"), f"{name} is open to others"


def test_shipped_mosquitto_queues_and_sends_beyond_the_defaults(mosquitto_broker: Mosquitto) -> None:
    """The defaults keep 1,000 messages for an absent session and send 20 without an acknowledgement."""
    _expect_all_in_flight(mosquitto_broker.url, QUEUED)
    # Nothing was acknowledged: the same session gets all again, after a stop and a start too.
    mosquitto_broker.stop()
    mosquitto_broker.start()
    assert len(_received(mosquitto_broker.url, QUEUED)) == QUEUED


def test_shipped_mosquitto_lets_a_device_speak_for_itself_alone(mosquitto_broker: Mosquitto) -> None:
    mosquitto_broker.add_user("car-1", "secret")
    mosquitto_broker.stop()
    mosquitto_broker.start()
    assert not accepts(mosquitto_broker.url.replace("fleet:", "nobody:"))
    platform = _subscribed(mosquitto_broker.url, "fleet/v1/#")
    got: list[str] = []
    platform.on_message = lambda _client, _data, message: got.append(message.topic)
    parts = urlsplit(mosquitto_broker.url)
    for vehicle in ("car-2", "car-1"):
        device = _client(f"mqtt://car-1:secret@{parts.hostname}:{parts.port}", "device", durable=False)
        sent = device.publish(f"fleet/v1/00/{vehicle}/telemetry", b"{}", 1)
        _pump(sent.is_published, device)
        device.disconnect()
    _pump(lambda: got, platform)
    # The foreign one was sent and answered first: had it been let through it would be here.
    assert got == ["fleet/v1/00/car-1/telemetry"]


def test_embedded_broker_sends_beyond_its_default(nats: EmbeddedNats) -> None:
    """The default of NATS is 1,024 without an acknowledgement."""
    _expect_all_in_flight(nats.url, IN_FLIGHT)
    nats.kill()
    nats.start()
    assert len(_received(nats.url, IN_FLIGHT)) == IN_FLIGHT


def test_a_message_of_ten_megabytes_reaches_us(broker: EmbeddedNats | Mosquitto) -> None:
    """So that ingest refuses it with a reason, instead of the broker cutting the device off for ever."""
    session = _subscribed(broker.url, "fleet/v1/+/+/telemetry")
    session.disconnect()
    device = _client(broker.url, "device", durable=False)
    sent = device.publish("fleet/v1/00/v1/telemetry", bytes(10 * 1024 * 1024), 1)
    _pump(sent.is_published, device)
    assert [len(payload) for payload in _received(broker.url, 1)] == [10 * 1024 * 1024]


@pytest.mark.fault
def test_shipped_cluster_loses_nothing_with_a_node(tmp_path: Path) -> None:
    ports = [{name: service.free_port() for name in ("client", "monitor", "cluster", "mqtt")} for _ in range(3)]
    environ = {f"NATS_ROUTE_{n + 1}": f"nats://{service.LOOPBACK}:{ports[n]['cluster']}" for n in range(3)}
    nodes = []
    try:
        for number, own in enumerate(ports):
            with (tmp_path / f"n{number}.log").open("wb") as log:
                nodes.append(
                    tether.spawn(
                        [str(nats.binary()), "-c", str(REPOSITORY / "deploy" / "nats" / "node.conf")],
                        environ={
                            **environ,
                            "NATS_NODE": f"n{number}",
                            "NATS_STORE": str(tmp_path / f"n{number}"),
                            "NATS_HOST": service.LOOPBACK,
                            "NATS_PORT": str(own["client"]),
                            "NATS_MONITOR": f"{service.LOOPBACK}:{own['monitor']}",
                            "NATS_CLUSTER_PORT": str(own["cluster"]),
                            "NATS_MQTT_PORT": str(own["mqtt"]),
                            "NATS_USER": "fleet",
                            "NATS_PASSWORD": "secret",
                        },
                        output=log,
                    )
                )
        urls = [f"mqtt://fleet:secret@{service.LOOPBACK}:{own['mqtt']}" for own in ports]
        for node, url in zip(nodes, urls, strict=True):
            service.wait_until(lambda url=url: accepts(url), node, 60.0, "a node of the cluster")  # type: ignore[misc]
        session = _subscribed(urls[0], "fleet/v1/+/+/telemetry")
        session.disconnect()
        _publish(urls[0], 300)
        nodes[0].send_signal(signal.SIGKILL)
        nodes[0].wait()
        assert _received(urls[1], 300) == {b"%d" % number for number in range(300)}
    finally:
        for node in nodes:
            node.kill()
            node.wait()


def _environment(name: str) -> dict[str, Any]:
    environment: dict[str, Any] = SERVICES[name]["environment"]
    return environment


def _expect_all_in_flight(url: str, count: int) -> None:
    session = _subscribed(url, "fleet/v1/+/+/telemetry")
    session.disconnect()
    _publish(url, count)
    assert _received(url, count) == {b"%d" % number for number in range(count)}


def _client(url: str, name: str, *, durable: bool) -> paho.Client:
    parts = urlsplit(url)
    assert parts.hostname and parts.port
    client = paho.Client(paho.CallbackAPIVersion.VERSION2, client_id=name, clean_session=not durable, manual_ack=True)
    client.max_inflight_messages_set(1000)
    client.username_pw_set(parts.username, parts.password)
    client.connect(parts.hostname, parts.port)
    _pump(client.is_connected, client)
    return client


def _subscribed(url: str, topic: str) -> paho.Client:
    client = _client(url, "ingest-p00", durable=True)
    granted: list[int] = []
    client.on_subscribe = lambda *_: granted.append(1)
    client.on_connect = lambda *_: client.subscribe(topic, 1)
    client.subscribe(topic, 1)
    _pump(lambda: granted, client)
    return client


def _publish(url: str, count: int) -> None:
    client = _client(url, "device", durable=False)
    sent = [client.publish("fleet/v1/00/v1/telemetry", b"%d" % number, 1) for number in range(count)]
    _pump(lambda: all(one.is_published() for one in sent[-1000:]) and all(one.is_published() for one in sent), client)
    client.disconnect()


def _received(url: str, count: int) -> set[bytes]:
    """What the durable session gets without acknowledging any of it."""
    got: set[bytes] = set()
    # Not by _client: messages may come with the CONNACK.
    parts = urlsplit(url)
    assert parts.hostname and parts.port
    client = paho.Client(paho.CallbackAPIVersion.VERSION2, client_id="ingest-p00", clean_session=False, manual_ack=True)
    client.username_pw_set(parts.username, parts.password)
    client.on_message = lambda _client, _data, message: got.add(message.payload)
    client.connect(parts.hostname, parts.port)
    _pump(lambda: len(got) >= count, client)
    client.disconnect()
    return got


def _pump(done: Any, *clients: paho.Client, within_s: float = 60.0) -> None:
    deadline = time.monotonic() + within_s
    while not done():
        assert time.monotonic() < deadline, "the broker did not do it in time"
        for client in clients:
            if client.loop(0.01) != paho.MQTT_ERR_SUCCESS:
                # A cluster that has just lost a node turns clients away until it chose new leaders.
                time.sleep(0.2)
                with contextlib.suppress(OSError):
                    client.reconnect()
