"""`fleet detect`: recordings and the message log through detectors, with the shipped rules or others."""

import json
from pathlib import Path
from typing import Any

import psycopg
import pytest
from click.testing import CliRunner, Result

from fleet_core import clock, message_log, topics
from fleet_core.cli import fleet
from fleet_core.message_log import LoggedMessage

START_MS = 1_764_000_000_000
RULE = """
from dataclasses import replace
from tests.toy_detectors import Knock
DETECTOR = {expression}
"""


def line(vehicle_id: str, t_ms: int, speeds: list[float], seq: int = 0, partition: str = "03") -> str:
    body = {"boot": 1, "seq": seq, "t_ms": [t_ms + 1000 * at for at in range(len(speeds))], "speed_kmh": speeds}
    return json.dumps({"topic": f"{topics.ROOT}/{partition}/{vehicle_id}/telemetry", "payload": body})


@pytest.fixture
def recording(tmp_path: Path) -> Path:
    path = tmp_path / "messages.jsonl"
    path.write_text(
        "\n".join([line("v1", START_MS, [60.0] * 5 + [0.0] * 15), line("v2", START_MS, [50.0] * 20)]) + "\n"
    )
    return path


def rules(folder: Path, name: str, expression: str) -> Path:
    folder.mkdir()
    (folder / f"{name}.py").write_text(RULE.format(expression=expression))
    return folder


def run(*arguments: str | Path, env: dict[str, str] | None = None) -> Result:
    return CliRunner().invoke(fleet, ["detect", *map(str, arguments)], env=env)


def lines_of(result: Result) -> list[dict[str, Any]]:
    assert result.exit_code == 0, result.output
    return [json.loads(text) for text in result.output.splitlines() if text.startswith("{")]


def test_one_line_an_episode(recording: Path, tmp_path: Path) -> None:
    folder = rules(tmp_path / "rules", "knock", "Knock()")
    [found] = lines_of(run(recording, "--rules", folder, "--json"))
    assert found == {
        "vehicle_id": "v1", "kind": "crash", "detector": "knock", "version": 3, "level": 2, "score": 0.8,
        "start_ms": START_MS + 5000, "at_ms": START_MS + 5000, "end_ms": START_MS + 5000,
        "values": {"source": "speed", "stopped": True}, "reasons": [],
    }  # fmt: skip
    text = run(recording, "--rules", folder).output
    assert "v1  crash  level 2" in text


def test_only_some_vehicles(recording: Path, tmp_path: Path) -> None:
    folder = rules(tmp_path / "rules", "knock", "Knock()")
    assert lines_of(run(recording, "--rules", folder, "--json", "--vehicle", "v2")) == []


def test_two_versions_of_rules_are_compared(recording: Path, tmp_path: Path) -> None:
    now = rules(tmp_path / "now", "knock", "Knock()")
    blind = rules(tmp_path / "blind", "knock", "replace(Knock(), version=4, after_s=1.0)")
    [changed] = lines_of(run(recording, "--rules", now, "--compare", blind, "--json"))
    assert changed["change"] == "level"
    assert (changed["before"]["level"], changed["after"]["level"], changed["after"]["version"]) == (2, 1, 4)
    deaf = rules(tmp_path / "deaf", "knock", "type('Deaf', (Knock,), {'examine': lambda self, window: []})()")
    [gone] = lines_of(run(recording, "--rules", now, "--compare", deaf, "--json"))
    assert (gone["change"], gone["before"]["kind"]) == ("only_before", "crash")
    assert run(recording, "--rules", now, "--compare", deaf).output.startswith("- ")


def test_the_message_log_of_a_past_span(database_url: str, tmp_path: Path) -> None:
    now_us = clock.now_us()
    t_ms = now_us // 1000 - 60_000
    body = json.loads(line("v1", t_ms, [60.0] * 5 + [0.0] * 15))["payload"]
    topic = topics.topic_of("v1", topics.TELEMETRY, 16)
    logged = [LoggedMessage(now_us, topic, json.dumps(body).encode())]
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute(
            "INSERT INTO message_log (received_from, received_to, lanes, previous_hashes, message_count, raw_bytes,"
            " merkle_root, row_hash, messages) VALUES (now(), now(), '{p00}', %s, 1, 1, %s, %s, %s)",
            [[bytes(32)], bytes(32), bytes(32), message_log.pack(logged)],
        )
    folder = rules(tmp_path / "rules", "knock", "Knock()")
    env = {"FLEET_DATABASE_URL": database_url}
    span = ("--log", "--since", "2020-01-01T00:00:00Z", "--until", "2100-01-01T00:00:00Z")
    from fleet_core import settings

    settings.from_process.cache_clear()
    try:
        assert [one["kind"] for one in lines_of(run(*span, "--rules", folder, "--json", env=env))] == ["crash"]
        assert lines_of(run(*span, "--rules", folder, "--json", "--vehicle", "v9", env=env)) == []
        past = ("--log", "--since", "2020-01-01T00:00:00Z", "--until", "2020-01-02T00:00:00Z")
        assert lines_of(run(*past, "--rules", folder, "--json", env=env)) == []
    finally:
        settings.from_process.cache_clear()


def test_what_is_given_beside_the_recording(recording: Path, tmp_path: Path) -> None:
    folder = rules(tmp_path / "rules", "knock", "Knock()")
    given = tmp_path / "given.jsonl"
    given.write_text('{"kind": "vehicle", "vehicle_id": "v1", "vehicle_class": "boat"}\n')
    result = run(recording, "--rules", folder, "--given", given)
    assert result.exit_code == 1 and "line 1" in result.output and "'boat'" in result.output
    given.write_text('{"kind": "vehicle", "vehicle_id": "v1", "vehicle_class": "van"}\n{"kind": "track"}\n')
    assert run(recording, "--rules", folder, "--given", given).exit_code == 0


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((), "name a FILE"),
        (("--log",), "--since and --until"),
        (("--log", "--since", "soon", "--until", "later"), "'soon' is not a time"),
        (("--log", "--since", "2026-01-01T00:00:00", "--until", "2026-01-01T00:00:00Z"), "needs its zone"),
        (("nowhere.jsonl",), "nowhere.jsonl"),
    ],
)
def test_bad_input_is_one_clear_sentence(arguments: tuple[str, ...], words: str, monkeypatch: Any) -> None:
    monkeypatch.setenv("FLEET_DATABASE_URL", "postgresql://nobody@127.0.0.1:1/none")
    from fleet_core import settings

    settings.from_process.cache_clear()
    try:
        result = run(*arguments)
    finally:
        settings.from_process.cache_clear()
    assert result.exit_code != 0
    assert words in result.output
    assert "Traceback" not in result.output


@pytest.mark.parametrize(
    ("text", "words"),
    [("x = 1", "has no DETECTOR"), ("import nothing_of_this_name", "ModuleNotFoundError"), ("def (", "SyntaxError")],
)
def test_a_bad_rule_is_named(recording: Path, tmp_path: Path, text: str, words: str) -> None:
    folder = tmp_path / "rules"
    folder.mkdir()
    (folder / "bad.py").write_text(text)
    result = run(recording, "--rules", folder)
    assert result.exit_code == 1 and words in result.output and "bad" in result.output


def test_an_empty_folder_of_rules_is_refused(recording: Path, tmp_path: Path) -> None:
    assert "holds no detector" in run(recording, "--rules", tmp_path).output
    assert "is not a folder" in run(recording, "--rules", tmp_path / "none").output


def test_refused_messages_are_told(tmp_path: Path) -> None:
    folder = rules(tmp_path / "rules", "knock", "Knock()")
    path = tmp_path / "bad.jsonl"
    path.write_text(json.dumps({"topic": f"{topics.ROOT}/00/v1/telemetry", "payload": {"t_ms": "soon"}}) + "\n")
    result = run(path, "--rules", folder)
    assert result.exit_code == 0 and "refused" in result.output
