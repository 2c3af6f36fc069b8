"""`fleet detect`: recorded messages through detectors and grading; what other rules would have found."""

import importlib.util
import json
import sys
from collections.abc import Iterator, Sequence
from datetime import datetime
from pathlib import Path
from types import ModuleType
from typing import Any

import click

from fleet_core import db, publications, settings
from fleet_core.cli import Refusal
from fleet_core.recordings import files as recording_files
from fleet_core.recordings.drive_recording import RecordingError
from fleet_core.settings import Settings
from incidents import detector, given
from incidents.detector import Detector
from incidents.given import GivenError
from incidents.source import Detection
from incidents.wording import LANGUAGES, reason_text
from ingest import dry_run, queries
from ingest.dry_run import Judgement, Recorded


@click.command("detect")
@click.argument("files", nargs=-1, metavar="[FILE..]", type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line and episode.")
@click.option("--rules", type=click.Path(path_type=Path), help="Folder of detector files to judge with.")
@click.option("--compare", type=click.Path(path_type=Path), help="Folder of other detector files: what differs?")
@click.option("--given", "given_path", type=click.Path(path_type=Path), help="JSON Lines of vehicles and fences.")
@click.option("--log", is_flag=True, help="Judge the message log of the store instead of files.")
@click.option("--since", help="With --log: messages received from this time on, ISO 8601.")
@click.option("--until", help="With --log: messages received before this time, ISO 8601.")
@click.option("--vehicle", "vehicles", multiple=True, help="Only this vehicle; names the vehicle of a drive file.")
@click.option("--language", type=click.Choice(LANGUAGES), default="en", show_default=True, help="Of the reasons.")
def detect(
    files: tuple[Path, ...], *, as_json: bool, rules: Path | None, compare: Path | None, given_path: Path | None,
    log: bool, since: str | None, until: str | None, vehicles: tuple[str, ...], language: str,
) -> None:  # fmt: skip
    """What detectors find in recorded messages: no broker, no database, nothing is stored.

    FILE is what `fleet replay` reads. With --rules the detectors in a folder judge instead of the shipped ones; with
    --compare both judge, and what only one of them finds, or finds otherwise, is printed.
    """
    configured = settings.from_process()
    judging = detector.detectors() if rules is None else _rules_in(rules)
    messages = _logged(configured, since, until, vehicles) if log else _recorded(files, vehicles, configured)
    one = _judged(messages, judging, configured, given_path)
    if compare is None:
        for detection in one.detections:
            click.echo(_line(detection, as_json, language))
        _tell_of_trouble(one)
        return
    other = _judged(messages, _rules_in(compare), configured, given_path)
    for line in _differences(one, other, as_json, language):
        click.echo(line)
    _tell_of_trouble(other)


def _judged(
    messages: Sequence[Recorded], judging: dict[str, Detector], configured: Settings, given_path: Path | None
) -> Judgement:
    try:
        known = given.read(given_path) if given_path is not None else None
    except GivenError as error:
        raise Refusal(str(error)) from None
    return dry_run.judge(messages, judging, configured, known)


def _recorded(files: Sequence[Path], vehicles: Sequence[str], configured: Settings) -> list[Recorded]:
    if not files:
        raise Refusal("name a FILE to judge, or --log for the message log of the store")
    try:
        kinds = [path.name.lower().removesuffix(".gz").endswith(recording_files.DRIVE_SUFFIXES) for path in files]
        named = vehicles[0] if vehicles and all(kinds) else None
        recordings = recording_files.read(files, named)
        found = [
            Recorded(message.topic, message.payload, message.due_ms * 1000 if message.due_ms else None)
            for message in recordings.messages(publications.encoder("json"), configured.partitions)
            if not vehicles or named is not None or message.vehicle_id in vehicles
        ]
    except RecordingError as error:
        raise Refusal(str(error)) from None
    return found


def _logged(configured: Settings, since: str | None, until: str | None, vehicles: Sequence[str]) -> list[Recorded]:
    configured.require("database_url")
    if since is None or until is None:
        raise Refusal("--log needs --since and --until: which messages are to be judged?")
    begin, end = _instant("--since", since), _instant("--until", until)
    with db.connect(configured.database_url, "what-if") as connection:
        return [
            Recorded(message.topic, message.payload, message.received_us)
            for message in queries.logged_messages(connection, begin, end)
            if not vehicles or any(f"/{vehicle}/" in message.topic for vehicle in vehicles)
        ]


def _instant(option: str, text: str) -> datetime:
    try:
        instant = datetime.fromisoformat(text)
    except ValueError:
        raise Refusal(f"{option} {text!r} is not a time such as 2026-01-31T08:00:00Z") from None
    if instant.tzinfo is None:
        raise Refusal(f"{option} {text!r} needs its zone, as in {text}Z")
    return instant


def _rules_in(folder: Path) -> dict[str, Detector]:
    """Detectors of the files in a folder. Their own shared files begin with `_` and are imported by name."""
    if not folder.is_dir():
        raise Refusal(f"{folder} is not a folder of detector files")
    sys.path.insert(0, str(folder))
    try:
        modules = [_module(path) for path in sorted(folder.glob("*.py")) if not path.name.startswith("_")]
        found = detector.of(modules)
    except TypeError as error:
        raise Refusal(str(error)) from None
    finally:
        sys.path.remove(str(folder))
    if not found:
        raise Refusal(f"{folder} holds no detector file")
    return found


def _module(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"rules_{path.stem}", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    # Dataclasses look their module up by name.
    sys.modules[spec.name] = module
    try:
        spec.loader.exec_module(module)
    except Exception as error:  # whatever somebody's rule does, the sentence names its file
        raise Refusal(f"{path}: {type(error).__name__}: {error}") from None
    return module


def _record(detection: Detection, language: str) -> dict[str, Any]:
    finding = detection.finding
    return {
        "vehicle_id": detection.vehicle_id,
        "kind": finding.kind,
        **({"subject": finding.subject} if finding.subject else {}),
        "detector": detection.detector,
        "version": detection.version,
        "level": finding.level,
        "score": round(finding.score, 4),
        "start_ms": finding.start_us // 1000,
        "at_ms": finding.at_us // 1000,
        "end_ms": finding.end_us // 1000,
        "values": dict(finding.values),
        "reasons": [reason_text(reason, language) for reason in finding.reasons],
    }


def _line(detection: Detection, as_json: bool, language: str) -> str:
    record = _record(detection, language)
    if as_json:
        return json.dumps(record, ensure_ascii=False)
    start = datetime.fromtimestamp(record["start_ms"] / 1000).astimezone()
    head = f"{start:%Y-%m-%d %H:%M:%S%z}  {record['vehicle_id']}  {record['kind']}  level {record['level']}"
    tail = "; ".join(record["reasons"])
    return f"{head}  {record['score']:.2f}  {record['detector']} v{record['version']}  {tail}"


def _differences(one: Judgement, other: Judgement, as_json: bool, language: str) -> Iterator[str]:
    """Lines of what only one finds, and of what both find and judge differently."""
    others = list(other.detections)
    for detection in one.detections:
        twin = next((item for item in others if _same(item, detection)), None)
        if twin is None:
            yield _difference("only_before", detection, None, as_json, language)
            continue
        others.remove(twin)
        if (twin.finding.level, twin.finding.kind) != (detection.finding.level, detection.finding.kind):
            yield _difference("level", detection, twin, as_json, language)
    for detection in others:
        yield _difference("only_after", None, detection, as_json, language)


def _same(one: Detection, other: Detection) -> bool:
    return (
        (one.vehicle_id, one.finding.kind, one.finding.subject)
        == (other.vehicle_id, other.finding.kind, other.finding.subject)
        and one.finding.start_us <= other.finding.end_us
        and other.finding.start_us <= one.finding.end_us
    )


def _difference(what: str, before: Detection | None, after: Detection | None, as_json: bool, language: str) -> str:
    if as_json:
        told = {"change": what}
        both = {"before": before, "after": after}
        return json.dumps(
            {**told, **{name: _record(item, language) for name, item in both.items() if item is not None}},
            ensure_ascii=False,
        )
    detection = before or after
    assert detection is not None
    sign = {"only_before": "-", "only_after": "+", "level": "~"}[what]
    changed = f"  (level {before.finding.level} -> {after.finding.level})" if before and after else ""
    return f"{sign} {_line(detection, False, language)}{changed}"


def _tell_of_trouble(result: Judgement) -> None:
    for topic, refusal in result.refused[:20]:
        click.echo(f"refused  {topic}: {refusal.sentence}", err=True)
    if len(result.refused) > 20:
        click.echo(f"refused  {len(result.refused) - 20} more", err=True)
    for fault in result.faults:
        click.echo(f"detector {fault.detector} failed on {fault.vehicle_id}: {fault.error}", err=True)
    if result.faults:
        sys.exit(1)
