"""`fleet decode` and `fleet dlq`, run as a person runs them."""

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
import psycopg
import pytest

from fleet_core import clock, db, topics
from fleet_core.embedded.nats import EmbeddedNats
from fleet_core.settings import Settings
from ingest import queries
from ingest.batch import prepare
from ingest.message import Message
from ingest.store import Store
from tests.ingest_bodies import message
from tests.test_relay import running_worker, until

T_MS = 1_764_000_000_000
LOCATION = {"_type": "location", "lat": 31.2304, "lon": 121.4737, "tst": T_MS // 1000, "vel": 42}


def fleet(*arguments: str, environ: Mapping[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "fleet_core.cli", *arguments],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, **(environ or {})},
    )


def decoded(*arguments: str) -> list[dict[str, Any]]:
    done = fleet("decode", *arguments, "--json")
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def refused_in_one_sentence(done: subprocess.CompletedProcess[str], *named: str) -> None:
    assert done.returncode != 0
    assert done.stdout == ""
    assert len(done.stderr.strip().splitlines()) == 1
    for name in named:
        assert name in done.stderr


def test_decode_gives_a_line_a_sample_in_native_names() -> None:
    body = {"boot": 17, "seq": 1040, "t_ms": [T_MS, T_MS + 1500], "speed_kmh": [1.0, None], "ignition": True, "io1": 5}
    expected: list[dict[str, Any]] = [
        {"t_ms": T_MS, "time_utc": "2025-11-24T16:00:00Z", "seq": 1040, "speed_kmh": 1.0},
        {"t_ms": T_MS + 1500, "time_utc": "2025-11-24T16:00:01.500Z", "seq": 1041},
    ]
    same = {"ok": True, "vehicle_id": "van3", "stream": "telemetry", "boot": 17, "ignition": True, "io1": 5}
    for payload in (msgspec.json.encode(body), msgspec.msgpack.encode(body)):
        lines = decoded("native", "--hex", payload.hex(" "), "--topic", "fleet/v1/0a/van3/telemetry")
        assert lines == [same | line for line in expected]


def test_decode_reads_a_file_and_other_streams(tmp_path: Path) -> None:
    path = tmp_path / "message.json"
    path.write_text(json.dumps({"t_ms": T_MS, "kind": "crash", "ok": 7, "delta_v_kmh": 12.5}))
    (line,) = decoded("native", "--file", str(path), "--topic", "fleet/v1/van3/alarm")
    assert line == {
        "ok": True,
        "vehicle_id": "van3",
        "stream": "alarm",
        "t_ms": T_MS,
        "time_utc": "2025-11-24T16:00:00Z",
        "kind": "crash",
        "sent_ok": 7,
        "delta_v_kmh": 12.5,
    }


def test_decode_reads_foreign_formats() -> None:
    (line,) = decoded(
        "owntracks", "--hex", json.dumps(LOCATION).encode().hex(), "--topic", "owntracks/a/b", "--stage", "mqtt_payload"
    )
    assert (line["ok"], line["vehicle_id"], line["speed_kmh"], line["time_utc"]) == (
        True,
        "a-b",
        42.0,
        "2025-11-24T16:00:00Z",
    )
    position = {"fixTime": "2025-11-24T16:00:00Z", "latitude": 1, "longitude": 2, "speed": 10, "attributes": {}}
    payload = json.dumps({"position": position, "device": {"uniqueId": "77"}}).encode()
    (line,) = decoded("traccar", "--hex", payload.hex())
    assert (line["vehicle_id"], line["speed_kmh"]) == ("77", 18.52)


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (("native", "--hex", b'{"t_ms":1764000000000,"lat_deg":91}'.hex()), "out_of_range"),
        (("native", "--hex", "00"), "wrong_type"),
        (("native", "--hex", b"{}".hex(), "--topic", "fleet/v1/zz/x/telemetry"), "wrong_topic"),
        (("native", "--hex", b'{"t_ms":1764000000000}'.hex(), "--topic", "fleet/v1/x/alarm"), "missing_kind"),
        (("owntracks", "--hex", b'{"_type":"encrypted"}'.hex()), "encrypted"),
        (("owntracks", "--hex", b"{}".hex(), "--topic", "mytracks/a/b"), "wrong_topic"),
    ],
)
def test_decode_says_why_a_record_would_be_refused(arguments: tuple[str, ...], code: str) -> None:
    (line,) = decoded(*arguments)
    assert (line["ok"], line["reason_code"]) == (False, code)
    assert line["reason"]


def test_decode_refuses_what_it_cannot_do_in_one_sentence(tmp_path: Path) -> None:
    refused_in_one_sentence(fleet("decode", "jt808", "--hex", "7e"), "jt808", "owntracks")
    refused_in_one_sentence(fleet("decode", "native", "--hex", "00", "--stage", "tcp_frame"), "tcp_frame")
    refused_in_one_sentence(fleet("decode", "native", "--hex", "00", "--stage", "radio"), "radio", "mqtt_payload")
    refused_in_one_sentence(fleet("decode", "native", "--hex", "0g"), "--hex")
    refused_in_one_sentence(fleet("decode", "native"), "--hex", "--file")
    missing = fleet("decode", "native", "--file", str(tmp_path / "none"))
    assert missing.returncode != 0
    assert "none" in missing.stderr


# -- dead letters ----------------------------------------------------------------------------------------------------


def keep(database_url: str, *messages: Message) -> None:
    """Let ingest's store take the messages."""
    settings = Settings()
    with db.connect(database_url, "test") as connection:
        queries.prepare_session(connection)
        Store(settings).apply(connection, prepare(messages, settings))
        connection.commit()


def reading(seq: int) -> bytes:
    return json.dumps({"boot": 1, "seq": seq, "t_ms": clock.now_ms(), "speed_kmh": 1.0}).encode()


def test_dlq_list_shows_and_filters(database_url: str) -> None:
    environ = {"FLEET_DATABASE_URL": database_url}
    assert fleet("dlq", "list", environ=environ).stdout == "no dead letters\n"
    received_us = clock.now_us()
    wrong = message("v1", "telemetry", b"", received_us)._replace(topic="fleet/v1/ff/v1/telemetry")
    keep(
        database_url, wrong, message("v1", "telemetry", b"{", received_us), message("v2", "alarm", b"\xff", received_us)
    )

    def listed(*options: str) -> list[dict[str, Any]]:
        done = fleet("dlq", "list", "--json", *options, environ=environ)
        assert done.returncode == 0, done.stderr
        return [json.loads(line) for line in done.stdout.splitlines()]

    letters = listed()
    assert [letter["id"] for letter in letters] == sorted((letter["id"] for letter in letters), reverse=True)
    assert sorted(letter["reason_code"] for letter in letters) == ["undecodable", "wrong_partition", "wrong_type"]
    assert [letter["payload_hex"] for letter in listed("--reason", "wrong_partition")] == [""]
    assert len(listed("--limit", "1")) == 1
    assert listed("--since", "2099-01-01") == []
    assert len(listed("--since", "2020-01-01T00:00:00+08:00")) == 3
    text = fleet("dlq", "list", environ=environ).stdout
    assert "wrong_partition: v1 belongs to partition" in text
    assert text.endswith("3 dead letters\n")
    refused_in_one_sentence(fleet("dlq", "list", "--since", "noon", environ=environ), "noon")


def test_dlq_replay_sends_each_letter_back_and_marks_it(database_url: str, nats: EmbeddedNats) -> None:
    settings = Settings(mqtt_url=nats.url, database_url=database_url)
    environ = {"FLEET_DATABASE_URL": database_url, "FLEET_MQTT_URL": nats.url}
    received_us = clock.now_us()
    right = topics.topic_of("v1", "telemetry", settings.partitions)
    wrong = "fleet/v1/" + ("00" if right[9:11] != "00" else "01") + right[11:]
    original = "owntracks/a/b"
    relayed = topics.relayed_topic_of("a-b", original, settings.partitions)
    relayed_wrong = "fleet/v1/" + ("00" if relayed[9:11] != "00" else "01") + relayed[11:]
    now_s = clock.now_ms() // 1000
    keep(
        database_url,
        Message("p", 1, 1, wrong, reading(1), received_us),
        Message("p", 1, 2, relayed_wrong, json.dumps({**LOCATION, "tst": now_s}).encode(), received_us),
        Message("p", 1, 3, right, b"{", received_us),
        Message("p", 1, 4, "fleet/v1/+/x", b"1", received_us),
    )
    with psycopg.connect(database_url, autocommit=True) as connection, running_worker(settings):

        def rows(query: str) -> list[tuple[Any, ...]]:
            return connection.execute(query).fetchall()

        refused_in_one_sentence(fleet("dlq", "replay", environ=environ), "--all")
        done = fleet("dlq", "replay", "--reason", "wrong_partition", environ=environ)
        assert (done.returncode, done.stdout) == (0, "replayed 2 dead letters\n"), done.stderr
        until(lambda: rows("SELECT count(*) FROM readings") == [(2,)], "the readings")
        assert rows("SELECT vehicle_id FROM readings ORDER BY 1") == [("a-b",), ("v1",)]
        marked = "SELECT reason_code FROM dead_letter WHERE replayed_at IS NOT NULL ORDER BY id"
        assert rows(marked) == [("wrong_partition",), ("wrong_partition",)]

        # Refused again: the same letter, counted once more. What no topic can carry is left, and said.
        done = fleet("dlq", "replay", "--all", environ=environ)
        assert done.returncode == 0
        assert done.stdout == "replayed 1 dead letters, left 1\n"
        assert "fleet/v1/+/x" in done.stderr
        again = "SELECT times_received FROM dead_letter WHERE reason_code = 'undecodable'"
        until(lambda: rows(again) == [(2,)], "the second refusal")
        assert rows("SELECT count(*) FROM dead_letter") == [(4,)]
        done = fleet("dlq", "replay", "--all", environ=environ)
        assert done.stdout == "replayed 0 dead letters, left 1\n"
        (number,) = rows("SELECT id FROM dead_letter WHERE reason_code = 'undecodable'")
        done = fleet("dlq", "replay", "--id", str(number[0]), environ=environ)
        assert done.stdout == "replayed 1 dead letters\n"


def test_dlq_replay_marks_nothing_without_a_broker(database_url: str, nats: EmbeddedNats) -> None:
    keep(database_url, message("v1", "telemetry", b"{", clock.now_us()))
    nats.kill()
    done = fleet("dlq", "replay", "--all", environ={"FLEET_DATABASE_URL": database_url, "FLEET_MQTT_URL": nats.url})
    assert done.returncode != 0
    assert "Error: the broker cannot be reached or refuses us" in done.stderr
    with psycopg.connect(database_url) as connection:
        assert connection.execute("SELECT count(*) FROM dead_letter WHERE replayed_at IS NULL").fetchone() == (1,)
