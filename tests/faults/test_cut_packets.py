"""A packet arrives in two pieces, and the second looks like a packet of its own."""

import socket
import struct
import time
from collections.abc import Iterator

import pytest
from prometheus_client import CollectorRegistry

from fleet_core.settings import Settings
from ingest.metrics import Metrics
from ingest.sessions import Sessions

TOPIC = b"fleet/v1/03/v1/telemetry"
# QoS 0, five bytes: topic `a`, payload `xx`.
LOOKS_LIKE_A_PUBLISH = b"\x30\x05\x00\x01axx"
# A publication of 2 MB, of which nothing more will ever come.
LOOKS_LIKE_A_LARGE_ONE = b"\x32\x80\x80\x7f"


def publish(packet_id: int, payload: bytes) -> bytes:
    """One PUBLISH of QoS 1 (MQTT 3.1.1, section 3.3)."""
    body = struct.pack(">H", len(TOPIC)) + TOPIC + struct.pack(">H", packet_id) + payload
    assert 128 <= len(body) < 16_384
    return bytes([0x32, len(body) % 128 | 0x80, len(body) // 128]) + body


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server


@pytest.mark.parametrize("second_piece", [LOOKS_LIKE_A_PUBLISH, LOOKS_LIKE_A_LARGE_ONE])
def test_a_cut_packet_is_read_as_one(listener: socket.socket, second_piece: bytes) -> None:
    source = Sessions(
        Settings(mqtt_url=f"mqtt://127.0.0.1:{listener.getsockname()[1]}"),
        Metrics(CollectorRegistry()),
        on_lost=lambda _name: None,
    )
    session = source.open("p03", ["fleet/v1/03/+/telemetry"])
    source.wait(0.05, reading=True)
    broker, _ = listener.accept()

    def pump(seconds: float = 0.3) -> None:
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            source.wait(0.02, reading=True)

    with broker:
        broker.sendall(b"\x20\x02\x00\x00")  # CONNACK
        pump()
        broker.sendall(b"\x90\x03\x00\x01\x01")  # SUBACK
        pump()
        payload = b"{" + b"y" * 200 + second_piece + b"z" * 50
        packet = publish(7, payload)
        cut = packet.index(second_piece)
        # As the relay does: paho then reads on after an answer to one of its own.
        own = [session.publish("fleet/v1/03/v1/telemetry", b"{}") for _ in range(5)]
        pump()
        broker.sendall(b"\x40\x02" + struct.pack(">H", own[0]) + packet[:cut])
        pump()
        broker.sendall(packet[cut:])
        pump()
        broker.sendall(publish(8, b"{" + b"n" * 150))
        pump()
        assert [(message.packet_id, message.payload) for message in session.queue] == [
            (7, payload),
            (8, b"{" + b"n" * 150),
        ]
    source.close_all()
