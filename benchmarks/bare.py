"""The measure that ingest is held against: paho alone, receiving the same stream and acknowledging by hand."""

import selectors
import time
from collections.abc import Sequence
from typing import Any, Final, cast

from paho.mqtt.client import Client

from benchmarks import stream
from benchmarks.stream import PARTITIONS

_BURST: Final = 64
_GIVE_UP_SECONDS: Final = 300.0

ONE_CONNECTION: Final = ("fleet/v1/+/+/telemetry",)
A_CONNECTION_A_PARTITION: Final = tuple(f"fleet/v1/{partition:02x}/+/telemetry" for partition in range(PARTITIONS))


def subscribe(mqtt_url: str, filters: Sequence[str]) -> None:
    """Make the durable sessions, one a filter, and leave: the broker then keeps the stream for them."""
    for number, topic_filter in enumerate(filters):
        subscribed: list[object] = []
        client = stream.client(mqtt_url, _name(filters, number), durable=True)
        client.on_subscribe = lambda *arguments, into=subscribed: into.append(arguments)
        client.connect(*stream.address(mqtt_url))
        client.loop(0.1)
        client.subscribe(topic_filter, qos=1)
        _until(lambda into=subscribed: bool(into), lambda one=client: one.loop(0.1))
        client.disconnect()


def receive(mqtt_url: str, filters: Sequence[str], messages: int) -> float:
    """Drain the sessions on one selector loop through paho's public calls. Returns messages a second."""
    received = 0
    first_at = 0.0

    def on_message(client: Client, _userdata: Any, message: Any) -> None:
        nonlocal received, first_at
        if not received:
            first_at = time.perf_counter()
        received += 1
        client.ack(message.mid, 1)

    selector = selectors.DefaultSelector()
    clients = []
    for number in range(len(filters)):
        client = stream.client(mqtt_url, _name(filters, number), durable=True)
        client.on_message = on_message
        # paho then only queues; we write once a round.
        client.on_socket_register_write = lambda *_: None
        client.connect(*stream.address(mqtt_url))
        selector.register(cast(Any, client.socket()), selectors.EVENT_READ, client)
        clients.append(client)

    def turn() -> None:
        for client in clients:
            if client.want_write():
                client.loop_write()
        for key, _ in selector.select(0.5):
            for _ in range(_BURST):
                before = received
                key.data.loop_read()
                if received == before:
                    break

    _until(lambda: received >= messages, turn)
    rate = messages / (time.perf_counter() - first_at)
    turn()
    for client in clients:
        client.disconnect()
        client.loop_write()
    return rate


def _name(filters: Sequence[str], number: int) -> str:
    return f"bench-bare-{len(filters)}-{number}"


def _until(done: Any, step: Any) -> None:
    deadline = time.monotonic() + _GIVE_UP_SECONDS
    while not done():
        step()
        if time.monotonic() > deadline:
            raise TimeoutError("the broker did not deliver the stream")
