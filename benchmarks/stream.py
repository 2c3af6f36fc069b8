"""The stream that every receiver of a measurement gets, and its publisher."""

import selectors
import time
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, cast
from urllib.parse import unquote, urlsplit

import msgspec
from paho.mqtt.client import Client
from paho.mqtt.enums import CallbackAPIVersion

from fleet_core import clock, topics

PARTITIONS: Final = 16
_IN_FLIGHT: Final = 4_000
_PUBLISHERS: Final = 8
_BURST: Final = 32
_GIVE_UP_SECONDS: Final = 300.0


@dataclass(frozen=True, slots=True)
class Outgoing:
    """One message to publish."""

    topic: str
    payload: bytes


def telemetry(messages: int, samples: int, vehicles: int) -> list[Outgoing]:
    """`messages` native telemetry messages of `samples` samples each, spread over `vehicles`, in order of time."""
    encode = msgspec.json.Encoder().encode
    rounds = -(-messages // vehicles)
    start_ms = clock.now_ms() - (rounds * samples + 1) * 1000
    names = [f"bench-{number:05d}" for number in range(vehicles)]
    subjects = [topics.topic_of(name, topics.TELEMETRY, PARTITIONS) for name in names]
    stream = []
    for number in range(messages):
        turn, vehicle = divmod(number, vehicles)
        first_ms = start_ms + turn * samples * 1000
        steps = range(samples)
        body = {
            "boot": 17,
            "seq": turn * samples,
            "t_ms": [first_ms + 1000 * step for step in steps],
            "lat_deg": [round(31.2 + vehicle * 1e-5 + (turn * samples + step) * 1e-5, 6) for step in steps],
            "lon_deg": [round(121.47 + vehicle * 1e-5, 6)] * samples,
            "speed_kmh": [round(40.0 + (number + step) % 20 * 0.5, 1) for step in steps],
            "heading_deg": [88.2] * samples,
            "odometer_km": [round(1000.0 + (turn * samples + step) * 0.01, 2) for step in steps],
            "ignition": True,
        }
        stream.append(Outgoing(subjects[vehicle], encode(body)))
    return stream


def client(mqtt_url: str, client_id: str, *, durable: bool) -> Client:
    """A plain paho client with manual acknowledgement, not connected."""
    url = urlsplit(mqtt_url)
    made = Client(CallbackAPIVersion.VERSION2, client_id=client_id, clean_session=not durable, manual_ack=True)
    made.username_pw_set(unquote(url.username or ""), unquote(url.password or ""))
    made.max_inflight_messages_set(65_535)
    return made


def address(mqtt_url: str) -> tuple[str, int]:
    """Host and port of the broker."""
    url = urlsplit(mqtt_url)
    return url.hostname or "", url.port or 1883


def publish(mqtt_url: str, stream: Sequence[Outgoing]) -> float:
    """Publish all at QoS 1, wait for every PUBACK. Returns messages a second. Raises TimeoutError.

    Over several connections, because NATS handles one connection's QoS 1 messages one after the other; a vehicle's
    messages stay on one connection, so their order holds.
    """
    lanes: list[list[Outgoing]] = [[] for _ in range(_PUBLISHERS)]
    for message in stream:
        lanes[zlib.crc32(message.topic.encode()) % _PUBLISHERS].append(message)
    confirmed = 0

    def on_publish(*_: object) -> None:
        nonlocal confirmed
        confirmed += 1

    selector = selectors.DefaultSelector()
    publishers = []
    for number in range(_PUBLISHERS):
        publisher = client(mqtt_url, f"bench-publisher-{number}", durable=False)
        publisher.on_publish = on_publish
        publisher.on_socket_register_write = lambda *_: None
        publisher.connect(*address(mqtt_url))
        selector.register(cast(Any, publisher.socket()), selectors.EVENT_READ, publisher)
        publishers.append(publisher)
    started = time.monotonic()
    sent = 0
    positions = [0] * _PUBLISHERS
    while confirmed < len(stream):
        for number, publisher in enumerate(publishers):
            if sent - confirmed < _IN_FLIGHT:
                batch = lanes[number][positions[number] : positions[number] + _BURST]
                for message in batch:
                    publisher.publish(message.topic, message.payload, qos=1)
                positions[number] += len(batch)
                sent += len(batch)
            if publisher.want_write():
                publisher.loop_write()
        for key, _ in selector.select(0.0 if sent - confirmed < _IN_FLIGHT and sent < len(stream) else 0.2):
            before = -1
            while before != confirmed:
                before = confirmed
                key.data.loop_read()
        if time.monotonic() - started > _GIVE_UP_SECONDS:
            raise TimeoutError(f"the broker confirmed {confirmed} of {len(stream)} messages")
    rate = len(stream) / (time.monotonic() - started)
    for publisher in publishers:
        publisher.disconnect()
        publisher.loop_write()
    return rate
