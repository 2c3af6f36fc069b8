"""The store stage on a real database: once each, forward only, with proof."""

import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest

from fleet_core import db, message_log, topics
from fleet_core.db import Connection
from fleet_core.device_access import passwords
from fleet_core.device_access import queries as access
from fleet_core.device_access.queries import Hashes
from fleet_core.settings import Settings
from ingest import queries
from ingest.batch import Batch, prepare
from ingest.message import Message
from ingest.pipeline import Pipeline
from ingest.store import Store
from tests.ingest_bodies import RECEIVED_MS, RECEIVED_US, message

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
SETTINGS = Settings()


def reading(seq: int, vehicle_id: str = "v1", t_ms: int | None = None, **columns: Any) -> Message:
    body = {"boot": 1, "seq": seq, "t_ms": RECEIVED_MS - 60_000 + seq if t_ms is None else t_ms, **columns}
    return message(vehicle_id, topics.TELEMETRY, json.dumps(body).encode())


def alarm(seq: int, vehicle_id: str = "v1", kind: str = "crash") -> Message:
    body = {"boot": 1, "seq": seq, "t_ms": RECEIVED_MS - 1000, "kind": kind}
    return message(vehicle_id, topics.ALARM, json.dumps(body).encode())


def status(vehicle_id: str = "v1", received_us: int = RECEIVED_US, **body: Any) -> Message:
    return message(vehicle_id, topics.STATUS, json.dumps(body).encode(), received_us)


class Later:
    """A stage behind the store that notes what it was shown."""

    name = "later"

    def __init__(self) -> None:
        self.seen: list[tuple[list[int], list[int]]] = []
        self.forgotten = 0

    def apply(self, _connection: Connection, batch: Batch) -> None:
        seqs = [int(seq) & 0xFFFFFFFF for seq in batch.readings.seq]
        self.seen.append((sorted(seqs), [event.seq & 0xFFFFFFFF for event in batch.events]))

    def forget(self) -> None:
        self.forgotten += 1


class Held:
    """A pipeline on a connection of its own."""

    def __init__(self, connection: Connection, settings: Settings = SETTINGS) -> None:
        self.connection = connection
        self.settings = settings
        self.later = Later()
        self.pipeline = Pipeline(settings, [Store(settings), self.later])

    def commit(self, *messages: Message) -> Batch:
        return self.pipeline.commit(self.connection, prepare(messages, self.settings))

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        found = self.connection.execute(query).fetchall()  # type: ignore[arg-type]
        self.connection.rollback()
        return found

    def row(self, query: str) -> tuple[Any, ...]:
        (found,) = self.rows(query)
        return found


@pytest.fixture
def held(database_url: str) -> Iterator[Held]:
    with db.connect(database_url, "test") as connection:
        queries.prepare_session(connection)
        connection.commit()
        yield Held(connection)


def test_doubles_within_a_batch_and_across_batches_are_stored_once(held: Held) -> None:
    first = held.commit(reading(1), reading(2), reading(2), alarm(1), alarm(1))
    assert (len(first.readings), len(first.events), first.duplicates) == (2, 1, 2)
    # Plain COPY meets the doubles of an earlier batch and the staging table takes over, whatever comes beside them.
    second = held.commit(reading(2), reading(3), reading(1), alarm(1), alarm(2))
    assert (len(second.readings), len(second.events), second.duplicates) == (1, 1, 3)
    third = held.commit(reading(3), reading(4))
    assert (len(third.readings), third.duplicates) == (1, 1)
    assert held.row("SELECT count(*), count(DISTINCT seq) FROM readings") == (4, 4)
    assert held.row("SELECT count(*) FROM device_events") == (2,)
    # Later stages saw each once, in a transaction that was committed.
    committed = [held.later.seen[0], held.later.seen[-2], held.later.seen[-1]]
    assert committed == [([1, 2], [1]), ([3], [2]), ([4], [])]


def test_staging_ends_after_calm_batches_and_begins_again_at_a_double(held: Held) -> None:
    held.commit(reading(0))
    held.commit(reading(0))
    for seq in range(1, 40):
        assert held.commit(reading(seq)).duplicates == 0
    assert held.commit(reading(39), reading(40)).duplicates == 1
    assert held.row("SELECT count(*) FROM readings") == (41,)


def test_the_same_identity_at_another_time_or_of_another_vehicle_is_another_reading(held: Held) -> None:
    held.commit(reading(1), reading(1, t_ms=RECEIVED_MS), reading(1, vehicle_id="v2"))
    assert held.row("SELECT count(*) FROM readings") == (3,)


def test_what_was_sent_is_what_is_stored(held: Held) -> None:
    held.commit(reading(7, lat_deg=31.5, lon_deg=121.5, ignition=False, io247=3, note="x"), reading(8))
    stored = held.row(
        "SELECT lat_deg, lon_deg, ignition, extra, received_at, seq FROM readings WHERE extra IS NOT NULL"
    )
    assert stored == (
        31.5,
        121.5,
        False,
        {"io247": 3, "note": "x"},
        EPOCH + timedelta(microseconds=RECEIVED_US),
        1 << 32 | 7,
    )


# -- live state ----------------------------------------------------------------------------------------------------

LATEST = "SELECT lat_deg, seq & 4294967295, last_reading_at, ignition, speed_kmh FROM latest_positions"


def at(seq: int) -> datetime:
    return EPOCH + timedelta(milliseconds=RECEIVED_MS - 60_000 + seq)


def fix(seq: int, lat_deg: float, **columns: Any) -> Message:
    return reading(seq, lat_deg=lat_deg, lon_deg=1.0, **columns)


def test_live_state_moves_forward_only(held: Held) -> None:
    held.commit(fix(5, 5.0, ignition=True), fix(3, 3.0), fix(4, 4.0))
    assert held.row(LATEST) == (5.0, 5, at(5), True, None)
    held.commit(fix(2, 2.0, ignition=False))  # late
    assert held.row(LATEST) == (5.0, 5, at(5), True, None)
    held.commit(fix(9, 9.0, speed_kmh=7.0), fix(8, 8.0))
    assert held.row(LATEST) == (9.0, 9, at(9), True, 7.0)


def test_without_a_fix_the_position_stays_and_the_vehicle_is_heard_of(held: Held) -> None:
    held.commit(reading(1))
    assert held.row(LATEST) == (None, None, at(1), None, None)
    held.commit(fix(2, 2.0))
    held.commit(reading(3), fix(4, 0.0), reading(5, lat_deg=5.0, lon_deg=5.0, fix_valid=False))
    latest = held.row("SELECT lat_deg, last_reading_at, device_time FROM latest_positions")
    # 0.0 north, 1.0 east is a place like any other; only 0,0 is none.
    assert latest == (0.0, at(5), at(4))
    held.commit(reading(6, lat_deg=0.0, lon_deg=0.0))
    assert held.row("SELECT lat_deg, last_reading_at, device_time FROM latest_positions") == (0.0, at(6), at(4))
    held.commit(reading(5))
    assert held.row("SELECT last_reading_at FROM latest_positions") == (at(6),)


def test_a_late_fix_does_not_take_back_the_last_reading(held: Held) -> None:
    held.commit(reading(9))
    held.commit(fix(3, 3.0))
    assert held.row("SELECT lat_deg, last_reading_at, device_time FROM latest_positions") == (3.0, at(9), at(3))


def test_the_newest_fix_and_the_newest_reading_of_one_batch_may_differ(held: Held) -> None:
    held.commit(fix(1, 1.0), reading(2), fix(3, 3.0), reading(4), reading(5, vehicle_id="v2"))
    latest = held.rows("SELECT vehicle_id, lat_deg, last_reading_at, device_time FROM latest_positions ORDER BY 1")
    assert latest == [("v1", 3.0, at(4), at(3)), ("v2", None, at(5), None)]


def test_impossible_times_never_move_live_state(held: Held) -> None:
    batch = held.commit(reading(1, t_ms=RECEIVED_MS + 3_600_000, lat_deg=1.0, lon_deg=1.0), reading(2, t_ms=0))
    assert [batch.refused[index].code for index in (0, 1)] == ["clock_ahead", "clock_not_set"]
    assert held.rows("SELECT 1 FROM latest_positions") == []
    assert held.row("SELECT count(*) FROM dead_letter") == (2,)


def test_status_is_the_newest_by_arrival(held: Held) -> None:
    held.commit(status(online=True, firmware="1", boot=3))
    held.commit(status(online=False, received_us=RECEIVED_US + 1))
    held.commit(status(online=True, received_us=RECEIVED_US - 1))
    assert held.row("SELECT online, firmware, boot FROM device_status") == (False, "1", 3)


def test_lateness_is_counted(held: Held) -> None:
    batch = held.commit(reading(1, t_ms=RECEIVED_MS - 61_000), reading(2, t_ms=RECEIVED_MS - 59_000))
    assert batch.late == 1


# -- vehicles ------------------------------------------------------------------------------------------------------


def test_an_unknown_vehicle_is_registered_on_first_sight(held: Held) -> None:
    held.commit(reading(1, vehicle_id="new"), alarm(1, vehicle_id="alarmed"), status("told", online=True))
    registered = held.rows("SELECT vehicle_id, registered_by FROM vehicles ORDER BY 1")
    assert registered == [("alarmed", "first_sight"), ("new", "first_sight"), ("told", "first_sight")]


def test_an_unknown_vehicle_is_quarantined_and_its_neighbours_stored(held: Held) -> None:
    held.connection.execute("INSERT INTO vehicles (vehicle_id) VALUES ('known')")
    held.connection.commit()
    quarantine = Held(held.connection, replace(SETTINGS, unknown_vehicles="quarantine"))
    batch = quarantine.commit(reading(1, vehicle_id="stranger"), reading(2, vehicle_id="known"), alarm(3, "stranger"))
    assert {index: refusal.code for index, refusal in batch.refused.items()} == {
        0: "unknown_vehicle",
        2: "unknown_vehicle",
    }
    assert held.rows("SELECT vehicle_id FROM readings") == [("known",)]
    assert held.rows("SELECT vehicle_id FROM vehicles") == [("known",)]
    letters = held.rows("SELECT vehicle_id, reason_code FROM dead_letter ORDER BY id")
    assert letters == [("stranger", "unknown_vehicle")] * 2
    # Created by people: the same messages are welcome now.
    held.connection.execute("INSERT INTO vehicles (vehicle_id) VALUES ('stranger')")
    held.connection.commit()
    assert not quarantine.commit(reading(1, vehicle_id="stranger")).refused


def give_account(connection: Connection, device_id: str, vehicle_id: str, name: str) -> None:
    connection.execute("INSERT INTO vehicles (vehicle_id) VALUES (%s) ON CONFLICT DO NOTHING", [vehicle_id])
    connection.execute(
        "INSERT INTO devices (device_id, vehicle_id) VALUES (%s, %s) ON CONFLICT DO NOTHING", [device_id, vehicle_id]
    )
    hashes = Hashes(passwords.nats_hash("secret"), passwords.mosquitto_hash("secret"))
    access.insert_credential(connection, name, device_id, vehicle_id, hashes, None)


def test_a_vehicle_whose_devices_were_all_revoked_is_heard_no_more(held: Held) -> None:
    guarded = Held(held.connection, replace(SETTINGS, mqtt_device_auth="on"))
    for number, device_id, vehicle_id in ((2, "one", "van-1"), (3, "two", "van-1"), (2, "three", "van-2")):
        give_account(held.connection, device_id, vehicle_id, f"{vehicle_id}.{number}")
    held.connection.commit()
    # A vehicle that never had an account is heard through a gateway.
    batch = guarded.commit(reading(1, "van-1"), reading(1, "van-2"), reading(1, "gateways"))
    assert not batch.refused
    access.revoke_credential(held.connection, "one")
    held.connection.commit()
    assert not guarded.commit(reading(2, "van-1")).refused, "the other device still speaks for it"
    access.revoke_credential(held.connection, "two")
    held.connection.commit()
    # At once: nothing about it is remembered from the batches before.
    batch = guarded.commit(reading(3, "van-1"), alarm(4, "van-1"), status("van-1", online=True), reading(3, "van-2"))
    assert {index: refusal.code for index, refusal in batch.refused.items()} == dict.fromkeys(
        (0, 1, 2), "device_revoked"
    )
    assert held.rows("SELECT vehicle_id, seq & 255 FROM readings ORDER BY 1, 2") == [
        ("gateways", 1), ("van-1", 1), ("van-1", 2), ("van-2", 1), ("van-2", 3),
    ]  # fmt: skip
    letters = held.rows("SELECT vehicle_id, reason_code FROM dead_letter")
    assert letters == [("van-1", "device_revoked")] * 3
    give_account(held.connection, "one", "van-1", "van-1")
    held.connection.commit()
    assert not guarded.commit(reading(3, "van-1")).refused, "sent again when it may speak again"
    access.revoke_credential(held.connection, "one")
    held.connection.commit()
    # Where devices have no accounts of their own nobody asks.
    assert not held.commit(reading(5, "van-1")).refused


def test_revoked_unknown_and_sound_messages_of_one_batch_are_told_apart(held: Held) -> None:
    give_account(held.connection, "one", "van-1", "van-1")
    access.revoke_credential(held.connection, "one")
    held.connection.execute("INSERT INTO vehicles (vehicle_id) VALUES ('known')")
    held.connection.commit()
    strict = Held(held.connection, replace(SETTINGS, mqtt_device_auth="on", unknown_vehicles="quarantine"))
    batch = strict.commit(reading(1, "van-1"), reading(1, "stranger"), reading(1, "known"), reading(1, "known"))
    assert {index: refusal.code for index, refusal in batch.refused.items()} == {
        0: "device_revoked",
        1: "unknown_vehicle",
    }
    assert held.rows("SELECT vehicle_id FROM readings") == [("known",)]


def test_a_payload_that_names_another_vehicle_is_refused(held: Held) -> None:
    body = {"t_ms": RECEIVED_MS, "kind": "crash", "vehicle_id": "v2"}
    batch = held.commit(
        reading(1, vehicle_id="v1"),
        message("v1", topics.TELEMETRY, json.dumps({"t_ms": RECEIVED_MS, "vehicle_id": "v2"}).encode()),
        message("v1", topics.ALARM, json.dumps(body).encode()),
        message("v2", topics.ALARM, json.dumps(body).encode()),
        message("v2", topics.TELEMETRY, json.dumps({"t_ms": RECEIVED_MS, "vehicle_id": "v2"}).encode()),
    )
    assert {index: refusal.code for index, refusal in batch.refused.items()} == {1: "wrong_vehicle", 2: "wrong_vehicle"}
    assert "says it is of 'v2', but travelled under v1" in batch.refused[1].sentence


# -- message log -----------------------------------------------------------------------------------------------------


def test_the_log_holds_every_message_and_its_rows_verify_and_chain(held: Held) -> None:
    ordinary = [reading(1), reading(2)._replace(session="p01"), message("v1", topics.TELEMETRY, b"not read")]
    batches = [ordinary, [reading(3), alarm(1)._replace(session="a00")], [reading(1)]]
    for messages in batches:
        held.commit(*messages)
    heads: dict[str, bytes] = {}
    found = held.rows(
        "SELECT lanes, previous_hashes, message_count, raw_bytes, merkle_root, row_hash, messages,"
        " received_from, received_to FROM message_log ORDER BY id"
    )
    assert len(found) == 3
    for messages, (lanes, previous, count, raw, root, row_hash, blob, begin, end) in zip(batches, found, strict=True):
        logged = message_log.unpack(bytes(blob))
        assert [(m.received_us, m.topic, m.payload) for m in logged] == [
            (m.received_us, m.topic, m.payload) for m in messages
        ]
        assert (count, raw) == (len(messages), sum(len(m.payload) for m in messages))
        assert message_log.merkle_root(logged) == bytes(root)
        assert lanes == sorted({m.session for m in messages})
        before = [bytes(each) for each in previous]
        assert before == [heads.get(lane, message_log.EMPTY_HASH) for lane in lanes]
        assert message_log.row_hash(bytes(root), count, lanes, before) == bytes(row_hash)
        heads |= dict.fromkeys(lanes, bytes(row_hash))
        assert begin == end == EPOCH + timedelta(microseconds=RECEIVED_US)
    stored = {lane: bytes(row_hash) for lane, row_hash in held.rows("SELECT lane, row_hash FROM message_log_heads")}
    assert stored == heads


def test_a_restarted_worker_continues_the_chain(held: Held) -> None:
    held.commit(reading(1))
    Held(held.connection).commit(reading(2))
    chain = held.rows("SELECT previous_hashes[1], row_hash FROM message_log ORDER BY id")
    assert bytes(chain[1][0]) == bytes(chain[0][1])


def test_a_chain_cannot_fork(held: Held) -> None:
    held.commit(reading(1))
    other = Held(held.connection)
    other.commit(reading(2))
    with pytest.raises(queries.ChainForkedError, match="p00"):
        held.commit(reading(3))
    assert held.later.forgotten
    assert held.row("SELECT count(*) FROM message_log") == (2,)
    assert held.row("SELECT count(*) FROM readings") == (2,)
    held.commit(reading(3))  # having forgotten, it reads the head anew
    assert held.row("SELECT count(*) FROM readings") == (3,)


def test_a_lane_that_another_began_meanwhile_is_a_fork_too(held: Held, database_url: str) -> None:
    held.commit(reading(1))
    with db.connect(database_url, "test-other") as connection:
        queries.prepare_session(connection)
        other = Held(connection)
        held.commit(reading(2)._replace(session="p01"))
        other.commit(reading(3)._replace(session="p02"))
        with pytest.raises(queries.ChainForkedError, match="p02"):
            # `held` believes that lane to be empty: it looked before the other began it.
            store = Store(SETTINGS)
            store._heads = {"p02": message_log.EMPTY_HASH}
            Pipeline(SETTINGS, [store]).commit(held.connection, prepare([reading(4)._replace(session="p02")], SETTINGS))


# -- dead letters ----------------------------------------------------------------------------------------------------


def test_a_dead_letter_is_kept_once_and_counted(held: Held) -> None:
    bad = message("v1", topics.TELEMETRY, b"{bad")
    held.commit(bad, bad, reading(1))
    held.commit(bad)
    letter = held.row("SELECT reason_code, payload, vehicle_id, times_received, topic FROM dead_letter")
    assert (letter[0], bytes(letter[1]), letter[2], letter[4]) == ("undecodable", b"{bad", "v1", bad.topic)
    assert letter[3] == 2  # once a batch: a double within a batch is the same arrival
    assert held.row("SELECT count(*) FROM readings") == (1,)


@pytest.mark.parametrize(
    ("topic", "payload"),
    [
        ("fleet/v1/00/nul\x00/telemetry", b"{}"),
        ("no/contract", b"\x00\xff\x00"),
        ("fleet/v1/zz/v1/telemetry", b""),
        ("日本/ü/" + "x" * 500, b"\x00" * 3),
    ],
)
def test_any_topic_and_payload_can_be_a_dead_letter(held: Held, topic: str, payload: bytes) -> None:
    held.commit(Message("p00", 1, 1, topic, payload, RECEIVED_US), reading(1))
    (stored,) = held.rows("SELECT payload FROM dead_letter")
    assert bytes(stored[0]) == payload
    assert held.row("SELECT count(*) FROM readings") == (1,)


def test_what_the_database_refuses_stands_alone_in_the_end(held: Held) -> None:
    held.connection.execute("ALTER TABLE readings ADD CHECK (rpm IS DISTINCT FROM 666)")
    held.connection.commit()
    messages = [reading(seq, rpm=666 if seq in (17, 41) else 1000) for seq in range(60)]
    batch = held.commit(*messages)
    assert {index: refusal.code for index, refusal in batch.refused.items()} == {
        17: "database_refused",
        41: "database_refused",
    }
    assert held.row("SELECT count(*) FROM readings") == (58,)
    assert held.row("SELECT count(*) FROM dead_letter WHERE reason LIKE '%%check constraint%%'") == (2,)


def test_a_door_bell_rings_once_a_batch_and_says_when_it_is_urgent(held: Held, database_url: str) -> None:
    with psycopg.connect(database_url, autocommit=True) as listener:
        listener.execute("LISTEN fleet_live")
        held.commit(reading(1), reading(2))
        held.commit(reading(3), alarm(1))
        held.commit(message("v1", topics.TELEMETRY, b"{bad"))
        rung = [notice.payload for notice in listener.notifies(timeout=2.0, stop_after=3)]
    assert rung == ["", "a"]
