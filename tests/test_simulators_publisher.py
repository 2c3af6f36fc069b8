"""Publishing to a real broker: the ledger is what a subscriber got, also across a broker that goes away."""

import json
import threading
import time
from collections import Counter
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from paho.mqtt.client import Client, MQTTMessage, MQTTv311
from paho.mqtt.enums import CallbackAPIVersion

from fleet_core import publications
from fleet_core.embedded.nats import EmbeddedNats
from fleet_core.publications import Message
from simulators.commands import simulate
from simulators.ledger import Ledger
from simulators.publisher import Publisher, PublisherError

WAIT_S = 60.0


class Listener:
    """A subscriber with a durable session: it gets everything that is published while it is away as well."""

    def __init__(self, url: str, topic: str = "fleet/v1/#") -> None:
        self.got: list[tuple[str, str]] = []
        self._subscribed = threading.Event()
        host, port = url.rpartition("@")[2].rsplit(":", 1)
        user, password = url.removeprefix("mqtt://").rpartition("@")[0].split(":", 1)
        self.client = Client(CallbackAPIVersion.VERSION2, client_id="listener", protocol=MQTTv311, clean_session=False)
        self.client.username_pw_set(user, password)
        self.client.reconnect_delay_set(0.1, 1)
        self.client.on_connect = lambda client, *_: client.subscribe(topic, qos=1)
        self.client.on_subscribe = lambda *_: self._subscribed.set()
        self.client.on_message = self._on_message
        self.client.connect(host, int(port))
        self.client.loop_start()
        assert self._subscribed.wait(WAIT_S)

    def _on_message(self, _client: Client, _data: object, message: MQTTMessage) -> None:
        self.got.append((message.topic, sha256(message.payload).hexdigest()))

    def wait_for(self, distinct: int) -> None:
        deadline = time.monotonic() + WAIT_S
        while len(set(self.got)) < distinct and time.monotonic() < deadline:
            time.sleep(0.02)

    def stop(self) -> None:
        self.client.disconnect()
        self.client.loop_stop()


@pytest.fixture
def listener(nats: EmbeddedNats) -> Iterator[Listener]:
    one = Listener(nats.url)
    yield one
    one.stop()


def _lines(path: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def _run(*arguments: str) -> Result:
    return CliRunner().invoke(simulate, arguments)


def test_the_ledger_is_what_a_subscriber_got(nats: EmbeddedNats, listener: Listener, tmp_path: Path) -> None:
    ledger = tmp_path / "ledger.jsonl"
    done = _run(
        "drive", "load", "--vehicles", "40", "--duration-s", "30", "--speed", "0", "--rate", "20",
        "--connections", "3", "--mqtt-url", nats.url, "--ledger", str(ledger), "--truth", str(tmp_path / "truth"),
        "--duplicate", "0.2", "--reorder", "0.3", "--drop-resend", "0.1", "--corrupt", "0.1", "--delay-s", "3",
    )  # fmt: skip
    assert done.exit_code == 0, done.output
    summary = json.loads(done.output)
    assert summary["published"] == summary["acknowledged"] == summary["messages"] > 600
    sound, dead = _lines(ledger), _lines(tmp_path / "ledger.dead.jsonl")
    assert len(dead) == summary["corrupted"] > 0
    assert all(line["corrupted"] for line in dead)
    listed = Counter((str(line["topic"]), str(line["sha256"])) for line in sound + dead)
    listener.wait_for(len(listed))
    assert Counter(listener.got) == listed
    assert (tmp_path / "truth").stat().st_size > 0


def test_a_story_lasts_as_long_as_it_is(nats: EmbeddedNats, tmp_path: Path) -> None:
    truth = tmp_path / "truth.jsonl"
    done = _run(
        "parked_struck", "--vehicles", "2", "--speed", "0", "--mqtt-url", nats.url, "--truth", str(truth)
    )  # fmt: skip
    assert done.exit_code == 0, done.output
    assert json.loads(done.output)["vehicles"] == 2
    told = _lines(truth)
    assert [record["incident"] for record in told if record["kind"] == "incident"] == ["parked_impact"] * 2
    # It ended in the past: device times must not be ahead of the clock.
    assert all(int(str(record["until_ms"])) < time.time() * 1000 for record in told if record["kind"] == "incident")


def test_a_burst_of_load_is_counted(nats: EmbeddedNats, listener: Listener, tmp_path: Path) -> None:
    ledger = tmp_path / "l.jsonl"
    done = _run(
        "load", "--messages", "3000", "--vehicles", "30", "--samples-per-message", "4", "--connections", "2",
        "--format", "msgpack", "--mqtt-url", nats.url, "--ledger", str(ledger),
    )  # fmt: skip
    assert done.exit_code == 0, done.output
    summary = json.loads(done.output)
    assert (summary["acknowledged"], summary["samples"], summary["vehicles"]) == (3000, 12_000, 30)
    assert summary["messages_per_s"] > 0
    listener.wait_for(3000)
    assert Counter(listener.got) == Counter((str(x["topic"]), str(x["sha256"])) for x in _lines(ledger))


def test_a_broker_that_restarts_loses_nothing_that_the_ledger_lists(
    nats: EmbeddedNats, listener: Listener, tmp_path: Path
) -> None:
    with Ledger(tmp_path / "l.jsonl") as ledger:
        publisher = Publisher(nats.url, ledger.acknowledged, window=50)
        for number in range(2000):
            if number == 800:
                nats.stop()
                nats.start()
            assert publisher.publish(Message("fleet/v1/00/v/telemetry", b"%d" % number, "v", due_ms=0, count=1))
        assert publisher.drain(WAIT_S)
        publisher.close()
    assert publisher.sent.reconnects >= 1
    assert publisher.sent.acknowledged == 2000
    listener.wait_for(2000)
    assert {digest for _, digest in listener.got} == {sha256(b"%d" % number).hexdigest() for number in range(2000)}
    assert len(_lines(tmp_path / "l.jsonl")) == 2000


def test_the_window_is_never_exceeded(nats: EmbeddedNats) -> None:
    publisher = Publisher(nats.url, window=7)
    most = 0
    for number in range(300):
        publisher.publish(Message("fleet/v1/00/v/telemetry", b"%d" % number, "v", due_ms=0))
        most = max(most, publisher.outstanding)
    assert publisher.drain(WAIT_S)
    publisher.close()
    assert most == 7


def test_publishing_while_the_broker_is_away_waits_and_can_be_stopped(nats: EmbeddedNats) -> None:
    stopped = False
    publisher = Publisher(nats.url, stopped=lambda: stopped)
    nats.stop()
    publisher.pump(0.5)
    stopped = True
    assert publisher.publish(Message("fleet/v1/00/v/telemetry", b"x", "v", due_ms=0)) is False
    assert publisher.outstanding == 0
    publisher.close()


def test_a_broker_that_refuses_or_is_absent_is_named(nats: EmbeddedNats) -> None:
    wrong = nats.url.replace("fleet:", "stranger:")
    with pytest.raises(PublisherError, match=f"127.0.0.1:{nats.port} refused the connection"):
        Publisher(wrong)
    nats.stop()
    with pytest.raises(PublisherError, match="cannot be reached"):
        Publisher(nats.url)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["nonsense"], "there is no scenario 'nonsense': choose from "),
        (["load"], "load needs --messages"),
        (["drive", "--speed", "5"], "needs --duration-s"),
        (["drive", "--mqtt-url", "http://x"], "--mqtt-url must begin with mqtt://"),
        (["drive", "--mqtt-url", "mqtt://127.0.0.1:1", "--city", "/nowhere"], "there is no city pack folder /nowhere"),
        (["drive", "--mqtt-url", "mqtt://127.0.0.1:1"], "the broker at 127.0.0.1:1 cannot be reached"),
        (["drive", "--mqtt-url", "mqtt://127.0.0.1:1", "--ledger", "/proc/x/l"], "ledger /proc/x/l cannot be written"),
    ],
)
def test_bad_input_is_one_sentence(arguments: list[str], sentence: str) -> None:
    done = _run(*arguments)
    assert done.exit_code != 0
    assert sentence in done.output
    assert len(done.output.strip().splitlines()) == 1


def test_every_format_is_offered() -> None:
    assert publications.FORMATS == ("json", "msgpack")
    with pytest.raises(ValueError, match="'xml'"):
        publications.encoder("xml")
