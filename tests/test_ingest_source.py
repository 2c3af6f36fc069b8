"""The MQTT side of ingest: the buffered socket under paho, sessions, acknowledgements that must not be sent."""

import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st
from paho.mqtt.client import Client
from prometheus_client import CollectorRegistry

from fleet_core.embedded.nats import EmbeddedNats
from fleet_core.settings import Settings
from ingest import broker_probe
from ingest.metrics import Metrics
from ingest.packet_socket import PacketSocket
from ingest.sessions import Sessions
from ingest.source import Session, client_id_of
from tests.services import mosquitto


@pytest.fixture
def pair() -> Iterator[tuple[PacketSocket, socket.socket]]:
    near, far = socket.socketpair()
    near.setblocking(False)
    yield PacketSocket(near), far
    near.close()
    far.close()


def test_one_kernel_read_serves_many_small_ones(pair: tuple[PacketSocket, socket.socket]) -> None:
    near, far = pair
    pong = bytes.fromhex("d000")
    far.send(pong + pong + b"\x90\x03")
    assert near.fill() and near.offer_packet()
    assert [near.recv(1), near.recv(10)] == [b"\xd0", b"\x00"]
    with pytest.raises(BlockingIOError):
        near.recv(1)  # the next packet was not offered yet
    assert near.offer_packet()
    assert near.recv(10) == pong
    assert not near.offer_packet(), "the rest of this one is still to come"
    with pytest.raises(BlockingIOError):
        near.recv(1)
    far.close()
    assert not near.fill()
    assert [near.recv(10), near.recv(1)] == [b"\x90\x03", b""], "the end is seen after what was read ahead"


def _publish(packet_id: int, topic: bytes, payload: bytes, qos: int = 1) -> bytes:
    """A PUBLISH packet, written from the standard's section 3.3."""
    body = len(topic).to_bytes(2, "big") + topic + (packet_id.to_bytes(2, "big") if qos else b"") + payload
    length, encoded = len(body), bytearray()
    while True:
        length, digit = divmod(length, 128)
        encoded.append(digit | (0x80 if length else 0))
        if not length:
            return bytes([0x30 | qos << 1]) + bytes(encoded) + body


_PACKETS = st.lists(
    st.one_of(
        st.builds(
            _publish, st.integers(1, 65_535), st.binary(max_size=40), st.binary(max_size=300), st.sampled_from([0, 1])
        ),
        st.sampled_from([bytes.fromhex("d000"), bytes.fromhex("40021234"), _publish(7, b"two", b"x", qos=2)]),
    ),
    max_size=12,
)


@given(packets=_PACKETS, cuts=st.lists(st.integers(1, 400), max_size=30))
def test_publishes_are_taken_whole_wherever_the_stream_is_cut(packets: list[bytes], cuts: list[int]) -> None:
    near, far = socket.socketpair()
    near.setblocking(False)
    wrapped, stream = PacketSocket(near), b"".join(packets)
    taken: list[bytes] = []
    for cut in [*cuts, len(stream)]:
        part, stream = stream[:cut], stream[cut:]
        far.sendall(part)
        wrapped.fill()
        while True:
            taken += [_publish(number, topic, payload, 1 if number else 0)
                      for number, topic, payload in wrapped.take_publishes()]  # fmt: skip
            if not wrapped.offer_packet():
                break
            # What paho would read: everything that is not ours.
            other = next(packet for packet in packets[len(taken) :] if packet)
            taken.append(wrapped.recv(len(other)))
    assert taken == packets
    near.close()
    far.close()


def test_a_malformed_packet_is_left_for_paho_to_judge(pair: tuple[PacketSocket, socket.socket]) -> None:
    near, far = pair
    far.send(bytes.fromhex("32 ff ff ff ff ff 00 01 61".replace(" ", "")))  # a length of five bytes is none
    near.fill()
    assert near.take_publishes() == []
    assert near.offer_packet()
    far.send(b"")


def test_a_topic_longer_than_its_packet_is_left_for_paho(pair: tuple[PacketSocket, socket.socket]) -> None:
    near, far = pair
    far.send(bytes.fromhex("3204ffff6162"))
    near.fill()
    assert near.take_publishes() == []
    assert near.offer_packet()


def test_acknowledgements_are_pubacks(pair: tuple[PacketSocket, socket.socket]) -> None:
    near, far = pair
    near.acknowledge(0x1234)
    near.acknowledge(7)
    near.flush()
    assert far.recv(100) == bytes.fromhex("4002123440020007")


def test_nothing_to_read_would_block(pair: tuple[PacketSocket, socket.socket]) -> None:
    with pytest.raises(BlockingIOError):
        pair[0].recv(1)


def test_writes_are_gathered_until_flushed(pair: tuple[PacketSocket, socket.socket]) -> None:
    near, far = pair
    far.setblocking(False)
    assert near.send(b"one") == 3
    assert near.send(b"two") == 3
    with pytest.raises(BlockingIOError):
        far.recv(10)
    near.flush()
    assert far.recv(10) == b"onetwo"
    assert near.unsent == 0


def test_a_peer_that_does_not_read_is_told_to_wait(pair: tuple[PacketSocket, socket.socket]) -> None:
    near, _far = pair
    block = bytes(65_536)
    with pytest.raises(BlockingIOError):
        for _ in range(1_000):
            near.send(block)
    assert near.unsent < 2 * 1_048_576, "what waits is bounded"


def test_paho_still_lets_us_put_our_socket_under_it() -> None:
    assert callable(getattr(Client, "_create_socket", None)), (
        "this paho has no Client._create_socket: see docs/decisions/0006-two-threads-and-a-packet-socket.md"
    )


class Pumped:
    """A source with one session, pumped by hand."""

    def __init__(self, url: str, name: str = "p00", filters: tuple[str, ...] = ("t/#",), **settings: Any) -> None:
        self.metrics = Metrics(CollectorRegistry())
        self.lost: list[str] = []
        self.source = Sessions(Settings(mqtt_url=url, **settings), self.metrics, self.lost.append)
        self.session = self.source.open(name, list(filters))

    def until(self, done: Callable[[], bool], seconds: float = 20.0) -> None:
        deadline = time.monotonic() + seconds
        while not done():
            assert time.monotonic() < deadline, "it did not happen in time"
            self.source.wait(0.05, reading=True)

    def publish(self, *payloads: bytes, topic: str = "t/x") -> None:
        confirmed: list[int] = []
        self.session.on_published(confirmed.append)
        for payload in payloads:
            self.session.publish(topic, payload)
        self.until(lambda: len(confirmed) == len(payloads))

    def close(self) -> None:
        self.source.close_all()


@pytest.fixture
def pumped(nats: EmbeddedNats) -> Iterator[Pumped]:
    made = Pumped(nats.url)
    made.until(lambda: made.session.subscribed)
    yield made
    made.close()


def test_messages_come_in_order_and_are_acknowledged_once(pumped: Pumped) -> None:
    pumped.publish(*[b"%d" % number for number in range(1_400)])
    pumped.until(lambda: len(pumped.session.queue) == 1_400)
    taken = pumped.session.take(5_000, 1 << 30)
    assert [message.payload for message in taken] == [b"%d" % number for number in range(1_400)]
    assert pumped.session.queued_bytes == 0
    for message in taken:
        pumped.session.acknowledge(message)
    pumped.publish(b"barrier", topic="elsewhere")
    pumped.source.close("p00")

    again = Pumped(urlsplit(pumped.source._settings.mqtt_url).geturl())
    again.until(lambda: again.session.subscribed)
    with pytest.raises(AssertionError, match="in time"):
        again.until(lambda: bool(again.session.queue), seconds=9.0)  # longer than the broker waits to send again
    again.close()


def test_what_was_not_acknowledged_comes_again_to_a_successor(pumped: Pumped) -> None:
    pumped.publish(b"first", b"second")
    pumped.until(lambda: len(pumped.session.queue) == 2)
    pumped.session.acknowledge(pumped.session.take(1, 100)[0])
    # A broker reads a connection in order: when it answers this, it has read the acknowledgement.
    pumped.publish(b"barrier", topic="elsewhere")
    pumped.source.close("p00")
    successor = Pumped(pumped.source._settings.mqtt_url)
    successor.until(lambda: bool(successor.session.queue))
    assert [message.payload for message in successor.session.take(9, 1000)] == [b"second"]
    assert successor.lost == [], "the broker knew the session"
    successor.close()


def test_an_acknowledgement_of_an_older_connection_is_dropped(pumped: Pumped) -> None:
    pumped.publish(b"held")
    pumped.until(lambda: bool(pumped.session.queue))
    held = pumped.session.take(1, 100)[0]
    pumped.session._client.disconnect()
    pumped.until(lambda: pumped.session.generation > held.generation)
    pumped.until(lambda: pumped.session.subscribed)
    pumped.session.acknowledge(held)
    assert pumped.metrics.stale_acks._value.get() == 1
    pumped.until(lambda: bool(pumped.session.queue))
    assert pumped.session.take(1, 100)[0].payload == b"held", "it was never confirmed, so it comes again"


def test_a_message_still_held_is_not_queued_twice(pumped: Pumped) -> None:
    pumped.publish(b"slow to commit")
    pumped.until(lambda: bool(pumped.session.queue))
    held = pumped.session.take(1, 100)[0]
    # NATS sends it again on a timer (ack_wait, 6 s) on the same connection.
    pumped.until(lambda: pumped.metrics.redelivered_held._value.get() >= 1)
    assert not pumped.session.queue
    pumped.session.acknowledge(held)


def test_a_packet_id_used_twice_ends_the_connection(pumped: Pumped) -> None:
    pumped.publish(b"one")
    pumped.until(lambda: bool(pumped.session.queue))
    held = pumped.session.take(1, 100)[0]
    pumped.session._on_publish(held.packet_id, b"t/x", b"another")
    pumped.until(lambda: pumped.session.generation > held.generation)
    assert all(message.payload != b"another" for message in pumped.session.queue)


def test_reading_stops_when_told_to(pumped: Pumped) -> None:
    pumped.publish(b"x")
    pumped.session.take(9, 1000)
    before = pumped.session.received
    sender = Pumped(pumped.source._settings.mqtt_url, name="other", filters=())
    sender.until(lambda: sender.session.subscribed)
    sender.publish(b"unread")
    for _ in range(20):
        pumped.source.wait(0.02, reading=False)
    assert pumped.session.received == before
    pumped.until(lambda: pumped.session.received > before)
    sender.close()


def test_the_probe_finds_no_fault_with_either_shipped_broker(broker: Any) -> None:
    probe = broker_probe.probe_broker(Settings(mqtt_url=broker.url))
    assert (probe.kept, probe.window) == (broker_probe.PROBE_MESSAGES, broker_probe.PROBE_MESSAGES)
    assert probe.findings() == []


def test_an_absent_broker_is_named() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    source = Sessions(Settings(mqtt_url=f"mqtt://127.0.0.1:{port}"), Metrics(CollectorRegistry()), lambda _name: None)
    session = source.open("p00", [])
    for _ in range(5):
        source.wait(0.01, reading=True)
    assert not session.connected
    source.close_all()


def _certificates(folder: Path) -> None:
    """An authority, a server certificate for 127.0.0.1 and a client certificate."""

    def openssl(*arguments: str) -> None:
        subprocess.run(["openssl", *arguments], cwd=folder, check=True, capture_output=True)

    new_key = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")
    openssl("req", "-x509", *new_key, "-days", "2", "-subj", "/CN=authority", "-keyout", "ca.key", "-out", "ca.pem")
    (folder / "san").write_text("subjectAltName=IP:127.0.0.1")
    for name, extension in (("server", ("-extfile", "san")), ("client", ())):
        openssl("req", *new_key, "-subj", f"/CN={name}", "-keyout", f"{name}.key", "-out", f"{name}.csr")
        openssl(
            "x509", "-req", "-days", "2", "-in", f"{name}.csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial",
            "-out", f"{name}.pem", *extension,
        )  # fmt: skip


def test_mqtts_with_authority_and_client_certificate(tmp_path: Path) -> None:
    program = mosquitto.program()
    if program is None:
        pytest.skip("mosquitto is not installed (make test installs it when run as root)")
    _certificates(tmp_path)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    (tmp_path / "mosquitto.conf").write_text(
        f"listener {port} 127.0.0.1\nallow_anonymous true\nrequire_certificate true\nuser root\n"
        "max_inflight_messages 0\n"
        f"cafile {tmp_path}/ca.pem\ncertfile {tmp_path}/server.pem\nkeyfile {tmp_path}/server.key\n"
    )
    server = subprocess.Popen([program, "-c", str(tmp_path / "mosquitto.conf")], stderr=subprocess.DEVNULL)
    try:
        ours = {"mqtt_ca_file": "ca.pem", "mqtt_cert_file": "client.pem", "mqtt_key_file": "client.key"}
        files = {name: str(tmp_path / path) for name, path in ours.items()}
        good = Pumped(f"mqtts://127.0.0.1:{port}", **files)
        good.until(lambda: good.session.subscribed)
        payloads = [b"%d" % number * 300 for number in range(200)]
        good.publish(*payloads)
        good.until(lambda: len(good.session.queue) == len(payloads))
        assert [message.payload for message in good.session.queue] == payloads
        good.close()

        without = Pumped(f"mqtts://127.0.0.1:{port}", mqtt_ca_file=files["mqtt_ca_file"])
        with pytest.raises(AssertionError, match="in time"):
            without.until(lambda: without.session.subscribed, seconds=2.0)
        without.close()
    finally:
        server.terminate()
        server.wait()


def test_what_is_passed_over_is_acknowledged_in_its_turn(nats: EmbeddedNats) -> None:
    pumped = Pumped(nats.url, filters=("t/+",))
    pumped.session._passed_over = frozenset({"alarm"})
    pumped.until(lambda: pumped.session.subscribed)
    acknowledged: list[int] = []
    sock = pumped.session._sock
    assert sock is not None
    sock.acknowledge = acknowledged.append  # type: ignore[method-assign]
    for packet_id, topic in ((1, b"t/alarm"), (2, b"t/x"), (3, b"t/alarm"), (4, b"t/x"), (5, b"t/alarm")):
        pumped.session._on_publish(packet_id, topic, b"%d" % packet_id)
    assert acknowledged == [1], "nothing was held before it"
    for message in pumped.session.take(10, 10_000):
        pumped.session.acknowledge(message)
    assert acknowledged == [1, 2, 3, 4, 5]
    pumped.close()


def test_a_secret_keeps_sessions_from_whoever_guesses_their_names() -> None:
    assert client_id_of("p07", Settings()) == "ingest-p07"
    assert client_id_of("p07", Settings(mqtt_session_secret="s3cret" * 4)) == "ingest-p07-" + "s3cret" * 4


def test_session_takes_at_least_one_message_however_large() -> None:
    session = Session("p00", [], Settings(mqtt_url="mqtt://127.0.0.1"), Metrics(CollectorRegistry()),
                      on_socket_close=lambda _name: None)  # fmt: skip
    session._on_publish(1, b"t", bytes(1000))
    assert len(session.take(10, 1)) == 1
