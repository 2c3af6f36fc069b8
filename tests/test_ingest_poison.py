"""Messages that cannot be read or stored: each in the dead letters once with its reason, its neighbours untouched."""

import json
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import msgspec
import psycopg
import pytest
from click.testing import CliRunner
from prometheus_client import CollectorRegistry

from fleet_core import clock, db, settings, topics
from fleet_core.cli import fleet
from fleet_core.db import Connection
from fleet_core.publications import Message
from fleet_core.settings import Settings
from ingest import queries
from ingest.batch import Batch, prepare
from ingest.message import Message as Received
from ingest.metrics import Metrics
from ingest.pipeline import Pipeline, stages
from ingest.worker import Worker
from tests.conftest import Broker
from tests.faults import oracle
from tests.faults.traffic import PARTITIONS, Traffic, messages

VEHICLE = "poisoned"
NOW_MS = clock.now_ms()
REFUSED_BY_DATABASE_KMH = 123.25


def telemetry(**body: object) -> bytes:
    return json.dumps({"boot": 1, "t_ms": [NOW_MS], **body}).encode()


def packed(**body: object) -> bytes:
    return msgspec.msgpack.encode({"boot": 1, "t_ms": [NOW_MS], **body})


def elsewhere(vehicle_id: str) -> str:
    """A topic of the vehicle in a partition that is not its own."""
    return f"{topics.ROOT}/{(topics.partition_of(vehicle_id, PARTITIONS) + 1) % PARTITIONS:02x}/{vehicle_id}/telemetry"


# name: (reason code, payload, stream or whole topic)
POISON: dict[str, tuple[str, bytes, str]] = {
    "truncated JSON": ("undecodable", telemetry(seq=1)[:-7], "telemetry"),
    "nested JSON": ("wrong_type", telemetry(seq=2, speed_kmh={"value": 3}), "telemetry"),
    "deep JSON": ("wrong_type", b'{"t_ms":1,"a":' + b"[" * 50_000 + b"]" * 50_000 + b"}", "telemetry"),
    "deep JSON in an alarm": ("undecodable", b'{"t_ms":1,"a":' + b"[" * 50_000 + b"]" * 50_000 + b"}", "alarm"),
    "deep MessagePack": ("undecodable", b"\x81\xa1a" + b"\x91" * 50_000 + b"\x01", "diagnostics"),
    "text for a number": ("wrong_type", telemetry(seq=3, speed_kmh="fast"), "telemetry"),
    "number for a truth": ("wrong_type", telemetry(seq=4, ignition=2), "telemetry"),
    "text for the time": ("wrong_type", telemetry(seq=5, t_ms="now"), "telemetry"),
    "a list, not an object": ("wrong_type", msgspec.msgpack.encode([1, 2, 3]), "telemetry"),
    "lists of two lengths": ("wrong_length", telemetry(seq=6, speed_kmh=[1.0, 2.0]), "telemetry"),
    "latitude 91": ("out_of_range", telemetry(seq=7, lat_deg=91.0, lon_deg=0.0), "telemetry"),
    "counter above 32 bit": ("wrong_type", telemetry(seq=1 << 32), "telemetry"),
    "NaN in JSON": ("undecodable", telemetry(seq=8, speed_kmh=float("nan")), "telemetry"),
    "Infinity in JSON": ("undecodable", telemetry(seq=9, speed_kmh=float("inf")), "telemetry"),
    "1e400 in JSON": ("wrong_type", b'{"boot":1,"seq":10,"t_ms":1,"speed_kmh":1e400}', "telemetry"),
    "NaN in MessagePack": ("not_finite", packed(seq=11, speed_kmh=[float("nan")]), "telemetry"),
    "infinity in MessagePack": ("not_finite", packed(seq=12, speed_kmh=[float("-inf")]), "telemetry"),
    "NaN in an unknown column": ("not_finite", packed(seq=13, cargo_c=[float("nan")]), "telemetry"),
    "NaN in an alarm": ("not_finite", packed(seq=14, t_ms=NOW_MS, kind="crash", peak=float("nan")), "alarm"),
    "10 MB": ("too_large", telemetry(seq=15, note="x" * 10_000_000), "telemetry"),
    "NUL in a text": ("nul_in_text", telemetry(seq=16, note="a\x00b"), "telemetry"),
    "NUL in a name": ("nul_in_text", telemetry(**{"seq": 17, "a\x00b": 1}), "telemetry"),
    "NUL in an alarm": ("nul_in_text", json.dumps({"t_ms": NOW_MS, "kind": "cr\x00ash"}).encode(), "alarm"),
    "invalid UTF-8": ("undecodable", b'{"boot":1,"seq":18,"t_ms":1,"note":"\xff\xfe"}', "telemetry"),
    "empty": ("empty", b"", "telemetry"),
    "year 1970": ("clock_not_set", telemetry(seq=19, t_ms=[86_400_000]), "telemetry"),
    "year 2099": ("clock_ahead", telemetry(seq=20, t_ms=[4_080_000_000_000]), "telemetry"),
    "years ago": ("clock_behind", telemetry(seq=21, t_ms=[NOW_MS - 500 * 86_400_000]), "telemetry"),
    "wrong partition": ("wrong_partition", telemetry(seq=22), elsewhere(VEHICLE)),
    "vehicle id outside the alphabet": ("wrong_topic", telemetry(seq=23), f"{topics.ROOT}/03/not!valid/telemetry"),
    "a stream nobody sends": ("wrong_topic", telemetry(seq=26), "telemetri"),
    "no codec for it": ("no_codec", telemetry(seq=24), topics.relayed_topic_of(VEHICLE, "acme/v9", PARTITIONS)),
    "refused by the database": (
        "database_refused",
        telemetry(seq=25, lat_deg=[31.0], lon_deg=[121.0], speed_kmh=[REFUSED_BY_DATABASE_KMH]),
        "telemetry",
    ),
}


def poison() -> list[Message]:
    return [
        Message(
            where if "/" in where else topics.topic_of(VEHICLE, where, PARTITIONS), payload, VEHICLE, due_ms=0, count=1
        )
        for _, payload, where in POISON.values()
    ]


@contextmanager
def running(configured: Settings) -> Iterator[Metrics]:
    """One worker from here to the end, and what it counted. It must not have begun again in between."""
    metrics, stop = Metrics(CollectorRegistry()), threading.Event()
    worker = Worker(configured, metrics)
    thread = threading.Thread(target=worker.run, args=(stop,), name="worker")
    thread.start()
    try:
        while not worker.health()["healthy"]:
            assert thread.is_alive()
            stop.wait(0.05)
        yield metrics
        assert thread.is_alive(), "the worker ended"
        assert metrics.failed_batches._value.get() == 0, "a batch failed and came again"
    finally:
        stop.set()
        thread.join(60)


def dead_letters(url: str) -> list[tuple[str, bytes, str, int]]:
    with psycopg.connect(url) as connection:
        return connection.execute(
            "SELECT topic, payload, reason_code, times_received FROM dead_letter ORDER BY id"
        ).fetchall()


def wait_for_dead_letters(url: str, receptions: int) -> None:
    for _ in range(1200):
        if sum(times for *_, times in dead_letters(url)) >= receptions:
            return
        threading.Event().wait(0.05)
    pytest.fail(f"{len(dead_letters(url))} dead letters after a minute")


def refuse_one_speed(connection: psycopg.Connection[tuple[object, ...]]) -> None:
    connection.execute(
        f"ALTER TABLE readings ADD CONSTRAINT test_refusal CHECK (speed_kmh IS DISTINCT FROM {REFUSED_BY_DATABASE_KMH})"
    )


def test_each_poison_is_a_dead_letter_once_and_its_neighbours_are_stored(broker: Broker, database_url: str) -> None:
    with psycopg.connect(database_url) as connection:
        refuse_one_speed(connection)
    bad = poison()
    good = list(messages(1200, vehicles=20))
    step = len(good) // len(bad)
    mixed: list[Message] = []
    for number, message in enumerate(bad):
        mixed += [*good[number * step : (number + 1) * step], message]
    mixed += good[len(bad) * step :]
    with running(Settings(database_url=database_url, mqtt_url=broker.url)):
        Traffic(broker.url, mixed).start().finish()
        wait_for_dead_letters(database_url, len(bad))
        oracle.wait_for(database_url, len(good))
        # The same again, as a broker does after a crash or a device that heard no answer.
        Traffic(broker.url, [*bad, *good[:100]]).start().finish()
        wait_for_dead_letters(database_url, 2 * len(bad))

    letters = {(topic, payload): (reason, times) for topic, payload, reason, times in dead_letters(database_url)}
    assert len(dead_letters(database_url)) == len(bad)
    found = {name: letters.get((message.topic, message.payload)) for name, message in zip(POISON, bad, strict=True)}
    assert found == {name: (reason, 2) for name, (reason, *_) in POISON.items()}
    verdict = oracle.judge(database_url, good, mixed, unstored=bad)
    assert verdict.clean, verdict


def test_an_alarm_from_a_device_without_a_clock_is_kept(nats: Broker, database_url: str) -> None:
    body = {"boot": 1, "seq": 1, "t_ms": 86_400_000, "kind": "crash"}
    alarm = Message(topics.topic_of(VEHICLE, "alarm", PARTITIONS), json.dumps(body).encode(), VEHICLE, due_ms=0)
    with running(Settings(database_url=database_url, mqtt_url=nats.url)):
        Traffic(nats.url, [alarm]).start().finish()
        oracle.wait_for(database_url, 1)
    with psycopg.connect(database_url) as connection:
        row = connection.execute("SELECT kind, clock_valid, occurred_at = received_at FROM device_events").fetchone()
    assert row == ("crash", False, True)
    assert dead_letters(database_url) == []


def test_unknown_vehicles_wait_in_quarantine_until_they_are_created(
    broker: Broker, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    known, stranger = list(messages(300, vehicles=5, prefix="k")), list(messages(40, vehicles=2, prefix="stranger"))
    with psycopg.connect(database_url) as connection:
        create_vehicles(connection, known)
    with running(Settings(database_url=database_url, mqtt_url=broker.url, unknown_vehicles="quarantine")):
        Traffic(broker.url, [*known[:150], *stranger, *known[150:]]).start().finish()
        oracle.wait_for(database_url, len(known))
        wait_for_dead_letters(database_url, len(stranger))
        letters = dead_letters(database_url)
        assert {reason for *_, reason, _ in letters} == {"unknown_vehicle"}
        assert sorted(payload for _, payload, *_ in letters) == sorted(message.payload for message in stranger)

        with psycopg.connect(database_url) as connection:
            create_vehicles(connection, stranger)
        monkeypatch.setenv("FLEET_DATABASE_URL", database_url)
        monkeypatch.setenv("FLEET_MQTT_URL", broker.url)
        settings.from_process.cache_clear()
        try:
            replayed = CliRunner().invoke(fleet, ["dlq", "replay", "--reason", "unknown_vehicle"])
        finally:
            settings.from_process.cache_clear()
        assert replayed.exit_code == 0, replayed.output
        oracle.wait_for(database_url, len(known) + len(stranger))
    verdict = oracle.judge(database_url, [*known, *stranger])
    assert verdict.clean, verdict
    assert len(dead_letters(database_url)) == len(stranger)


def test_unknown_vehicles_are_registered_by_default(nats: Broker, database_url: str) -> None:
    strangers = list(messages(40, vehicles=4))
    with running(Settings(database_url=database_url, mqtt_url=nats.url)):
        Traffic(nats.url, strangers).start().finish()
        oracle.wait_for(database_url, len(strangers))
    with psycopg.connect(database_url) as connection:
        rows = connection.execute("SELECT vehicle_id, registered_by FROM vehicles ORDER BY vehicle_id").fetchall()
    assert rows == [(f"v{number}", "first_sight") for number in range(4)]


def create_vehicles(connection: psycopg.Connection[tuple[object, ...]], owners: Sequence[Message]) -> None:
    for vehicle_id in {message.vehicle_id for message in owners}:
        connection.execute("INSERT INTO vehicles (vehicle_id) VALUES (%s)", [vehicle_id])


# -- one batch, without a broker ---------------------------------------------------------------------------------------


def received(sent: Sequence[Message]) -> list[Received]:
    return [
        Received("p" + message.topic.split("/")[2], 1, number, message.topic, message.payload, clock.now_us())
        for number, message in enumerate(sent, start=1)
    ]


def writing_connection(url: str) -> Connection:
    connection = db.connect(url, "test")
    queries.prepare_session(connection)
    connection.commit()
    return connection


@pytest.fixture
def five_thousand() -> list[Message]:
    """5,000 messages of telemetry alone."""
    return [message for message in messages(5100) if message.topic.endswith("telemetry")][:5000]


@pytest.mark.parametrize("how", ["check", "trigger"])
def test_one_row_that_the_database_refuses_among_five_thousand(
    database_url: str, five_thousand: list[Message], how: str
) -> None:
    body = json.loads(five_thousand[3210].payload)
    unlucky = (five_thousand[3210].vehicle_id, body["seq"] | body["boot"] << 32)
    configured = Settings(database_url=database_url)
    with writing_connection(database_url) as connection:
        if how == "check":
            connection.execute(
                "ALTER TABLE readings ADD CONSTRAINT test_refusal"
                f" CHECK (vehicle_id <> '{unlucky[0]}' OR seq <> {unlucky[1]})"
            )
        else:
            connection.execute(
                "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS"
                f" $$ BEGIN IF NEW.vehicle_id = '{unlucky[0]}' AND NEW.seq = {unlucky[1]} THEN"
                " RAISE EXCEPTION 'not this one'; END IF; RETURN NEW; END $$"
            )
            connection.execute(
                "CREATE TRIGGER refusal BEFORE INSERT ON readings FOR EACH ROW EXECUTE FUNCTION refuse()"
            )
        connection.commit()
        stored = Pipeline(configured).commit(connection, prepare(received(five_thousand), configured))
    assert len(stored.readings) == 4999
    assert [refusal.code for refusal in stored.refused.values()] == ["database_refused"]
    ((topic, payload, reason, times),) = dead_letters(database_url)
    assert (topic, payload) == (five_thousand[3210].topic, five_thousand[3210].payload)
    assert (reason, times) == ("database_refused", 1)
    others = [message for number, message in enumerate(five_thousand) if number != 3210]
    verdict = oracle.judge(database_url, others, five_thousand, unstored=[five_thousand[3210]])
    assert verdict.clean, verdict


class _Refusing:
    """A later stage whose own table refuses one vehicle."""

    name = "refusing"

    def apply(self, connection: Connection, batch: Batch) -> None:
        for vehicle_id in sorted(batch.vehicle_ids):
            connection.execute("INSERT INTO later (vehicle_id) VALUES (%s)", [vehicle_id])

    def forget(self) -> None:
        """Nothing is remembered."""


def test_what_a_later_stage_cannot_store_is_found_too(database_url: str) -> None:
    sent = [message for message in messages(100, vehicles=10) if message.topic.endswith("telemetry")]
    configured = Settings(database_url=database_url)
    with writing_connection(database_url) as connection:
        connection.execute("CREATE TABLE later (vehicle_id text CHECK (vehicle_id <> 'v7'))")
        connection.commit()
        pipeline = Pipeline(configured, [*stages(configured), _Refusing()])
        pipeline.commit(connection, prepare(received(sent), configured))
    refused = [message for message in sent if message.vehicle_id == "v7"]
    assert sorted(payload for _, payload, *_ in dead_letters(database_url)) == sorted(item.payload for item in refused)
    verdict = oracle.judge(database_url, [item for item in sent if item.vehicle_id != "v7"], sent, unstored=refused)
    assert verdict.clean, verdict
