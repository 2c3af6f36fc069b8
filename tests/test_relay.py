"""The relay, end to end: messages on topics without a partition, through a real broker into a real database."""

import contextlib
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import psycopg
import pytest
from prometheus_client import CollectorRegistry

from fleet_core import clock, topics
from fleet_core.embedded.nats import EmbeddedNats
from fleet_core.settings import Settings
from ingest import relay
from ingest.metrics import Metrics
from ingest.relay import Relay
from ingest.replay import Publisher
from ingest.sessions import Sessions
from ingest.worker import Worker
from tests.conftest import Broker

BOUND_S = 60.0


def until(condition: Callable[[], object], what: str, step: Callable[[], object] = lambda: time.sleep(0.05)) -> None:
    deadline = time.monotonic() + BOUND_S
    while not condition():
        assert time.monotonic() < deadline, f"{what} did not happen within {BOUND_S} s"
        step()


def send(settings: Settings, *messages: tuple[str, bytes]) -> None:
    with Publisher(settings) as publisher:
        assert publisher.publish(messages) == list(range(len(messages)))


@contextlib.contextmanager
def running_worker(settings: Settings) -> Iterator[Worker]:
    worker = Worker(settings, Metrics(CollectorRegistry()))
    stop = threading.Event()
    thread = threading.Thread(target=worker.run, args=(stop,))
    thread.start()
    try:
        sessions = 2 * settings.partitions + 1

        def ready() -> bool:
            health = worker.health()
            return bool(health["healthy"]) and health["sessions_connected"] == sessions

        until(ready, "every session connected")
        yield worker
    finally:
        stop.set()
        thread.join(BOUND_S)
        assert not thread.is_alive()


def location(**changes: Any) -> bytes:
    now_s = clock.now_ms() // 1000
    return json.dumps({"_type": "location", "lat": 31.2, "lon": 121.4, "tst": now_s, "vel": 40, **changes}).encode()


def traccar(unique_id: str | None, **attributes: Any) -> bytes:
    now = clock.now().isoformat(timespec="milliseconds")
    position = {"fixTime": now, "serverTime": now, "valid": True, "latitude": 31.3, "longitude": 121.5, "speed": 10.0}
    device = {} if unique_id is None else {"uniqueId": unique_id}
    return json.dumps({"position": position | {"attributes": attributes}, "device": device}).encode()


def test_foreign_and_unpartitioned_messages_are_stored_once(broker: Broker, database_url: str) -> None:
    settings = Settings(mqtt_url=broker.url, database_url=database_url, partitions=4, relay_topics="strange/#")
    native = json.dumps({"boot": 1, "seq": 5, "t_ms": clock.now_ms(), "lat_deg": 1.5, "lon_deg": 2.5}).encode()
    crash = json.dumps({"boot": 1, "seq": 6, "t_ms": clock.now_ms(), "kind": "crash"}).encode()
    messages = [
        ("owntracks/anna/van3", location()),
        ("owntracks/anna/van3/event", location(_type="transition", event="enter", desc="Depot")),
        ("traccar/positions", traccar("861234567890123", alarm="accident,powerCut")),
        ("traccar/positions/861234567890123", traccar("861234567890123")),
        ("fleet/v1/plain1/telemetry", native),
        ("fleet/v1/plain1/alarm", crash),
        ("traccar/positions", traccar(None)),
        ("strange/device/7", b"\x00\xff"),
        ("owntracks/anna/van3", b'{"_type":"location","lat":1}'),
    ]
    with psycopg.connect(database_url, autocommit=True) as connection, running_worker(settings):

        def count(query: str) -> int:
            row = connection.execute(query).fetchone()
            assert row is not None
            return int(row[0])

        send(settings, *messages)
        until(lambda: count("SELECT count(*) FROM dead_letter") == 3, "dead letters")
        until(lambda: count("SELECT count(*) FROM readings") == 5, "readings")
        until(lambda: count("SELECT count(*) FROM device_events") == 4, "events")
        # The same again: everything is known already.
        logged = "SELECT sum(message_count) FROM message_log"
        before = count(logged)
        send(settings, *messages)
        until(lambda: count(logged) >= before + len(messages), "second delivery")

        stored = connection.execute("SELECT vehicle_id, count(*) FROM readings GROUP BY 1 ORDER BY 1").fetchall()
        assert stored == [("861234567890123", 2), ("anna-van3", 2), ("plain1", 1)]
        raised = connection.execute("SELECT vehicle_id, kind FROM device_events ORDER BY 1, 2").fetchall()
        assert raised == [
            ("861234567890123", "crash"),
            ("861234567890123", "unplug"),
            ("anna-van3", "region_enter"),
            ("plain1", "crash"),
        ]
        speeds = connection.execute("SELECT DISTINCT speed_kmh FROM readings WHERE vehicle_id LIKE '86%'").fetchall()
        assert speeds == [(18.52,)]
        dead = connection.execute("SELECT topic, reason_code, payload FROM dead_letter ORDER BY reason_code").fetchall()
        assert sorted((reason, bytes(payload)) for _, reason, payload in dead) == sorted(
            [("missing_field", messages[6][1]), ("no_codec", messages[7][1]), ("missing_field", messages[8][1])]
        )
        assert {topics.parse(topic).original for topic, *_ in dead} == {
            "traccar/positions",
            "owntracks/anna/van3",
            "strange/device/7",
        }
        unknown = relay.UNIDENTIFIED
        assert count(f"SELECT count(*) FROM vehicles WHERE vehicle_id = '{unknown}'") == 0


class Watched:
    """A relay on a source of its own, with what it acknowledged and what the broker confirmed, in order."""

    def __init__(self, settings: Settings) -> None:
        self.source = Sessions(settings, Metrics(CollectorRegistry()), lambda _name: None)
        self.relay = Relay(settings, self.source)
        self.relay.open()
        self.session = self.source.sessions[Relay.NAME]
        self.events: list[str] = []
        acknowledge, confirmed = self.session.acknowledge, self.relay._confirmed

        def watched_acknowledge(message: Any) -> None:
            self.events.append("acknowledged")
            acknowledge(message)

        def watched_confirmed(packet_id: int) -> None:
            self.events.append("confirmed")
            confirmed(packet_id)

        self.session.acknowledge = watched_acknowledge  # type: ignore[method-assign]
        self.session.on_published(watched_confirmed)
        until(lambda: self.session.subscribed, "subscription", self.wait)

    def wait(self) -> None:
        self.source.wait(0.02, reading=True)

    def turn(self) -> None:
        self.wait()
        self.relay.step()


@pytest.fixture
def watched(nats: EmbeddedNats) -> Iterator[tuple[Watched, Settings]]:
    settings = Settings(mqtt_url=nats.url, partitions=4)
    held = Watched(settings)
    yield held, settings
    held.source.close_all()


def test_upstream_is_acknowledged_only_after_the_copy_is(watched: tuple[Watched, Settings]) -> None:
    held, settings = watched
    send(settings, ("owntracks/a/b", location()))
    until(lambda: len(held.session.queue) == 1, "delivery", held.wait)
    held.relay.step()
    assert held.events == []
    until(lambda: held.events, "confirmation", held.wait)
    assert held.events == ["confirmed", "acknowledged"]


def test_a_connection_cut_between_copy_and_confirmation_loses_nothing(watched: tuple[Watched, Settings]) -> None:
    held, settings = watched
    copies = Sessions(settings, Metrics(CollectorRegistry()), lambda _name: None)
    target = relay.target_of("owntracks/a/b", location(), settings.partitions)
    reader = copies.open("reader", [target], durable=False)
    until(lambda: reader.subscribed, "reader", lambda: copies.wait(0.02, reading=True))
    payload = location()
    send(settings, ("owntracks/a/b", payload))
    until(lambda: len(held.session.queue) == 1, "delivery", held.wait)
    held.relay.step()  # the copy is handed to the connection, which is cut before the broker can confirm it
    sock = held.session.socket
    assert sock is not None
    sock._sock.shutdown(socket.SHUT_RDWR)
    generation = held.session.generation
    until(lambda: held.session.generation > generation, "loss of the connection", held.wait)
    assert held.events == []

    until(lambda: "acknowledged" in held.events, "acknowledgement after the cut", held.turn)
    assert held.events.index("confirmed") < held.events.index("acknowledged")
    until(lambda: reader.queue, "the copy", lambda: copies.wait(0.02, reading=True))
    assert {(message.topic, message.payload) for message in reader.queue} == {(target, payload)}
    copies.close_all()


def test_what_the_relay_did_not_get_confirmed_comes_again_to_its_successor(watched: tuple[Watched, Settings]) -> None:
    held, settings = watched
    payload = location()
    send(settings, ("owntracks/a/b", payload))
    until(lambda: len(held.session.queue) == 1, "delivery", held.wait)
    held.source.close_all()

    successor = Watched(settings)
    until(lambda: "acknowledged" in successor.events, "delivery to the successor", successor.turn)
    successor.source.close_all()

    # Acknowledged now: whoever comes next gets what is new and nothing else.
    third = Watched(settings)
    send(settings, ("owntracks/a/b", b"marker"))
    until(lambda: third.session.queue, "the marker", third.wait)
    assert [message.payload for message in third.session.queue] == [b"marker"]
    third.source.close_all()


def test_targets() -> None:
    partitions = 16
    body = location()
    assert relay.target_of("fleet/v1/v1/alarm", body, partitions) == topics.topic_of("v1", "alarm", partitions)
    assert relay.target_of("owntracks/a/b", body, partitions) == topics.relayed_topic_of(
        "a-b", "owntracks/a/b", partitions
    )
    for topic in ("strange", "owntracks//b", "traccar/positions"):
        assert relay.target_of(topic, body, partitions) == topics.relayed_topic_of(
            relay.UNIDENTIFIED, topic, partitions
        )


def test_a_target_is_never_longer_than_mqtt_allows() -> None:
    topic = "owntracks/a/" + "ü" * 32_755
    target = relay.target_of(topic, location(), 16)
    assert len(target.encode()) <= relay.MAX_TOPIC_BYTES
    parsed = topics.parse(target)
    assert parsed.vehicle_id == relay.UNIDENTIFIED
    assert parsed.original is not None
    assert topic.startswith(parsed.original)
