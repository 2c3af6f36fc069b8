"""One run of one scenario: simulated, decoded and judged as ingest would, compared with its truth."""

import tempfile
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, Final

import numpy as np

from benchmarks.scoring.match import Matched, match, truths_of
from fleet_core import publications
from fleet_core.settings import Settings
from incidents import detector, given
from incidents.examine import Fault
from incidents.judge import Judge
from incidents.reconcile import ChangeKind
from incidents.stages import events_of
from incidents.window import S
from ingest import dry_run
from ingest.batch import decode
from ingest.dry_run import Recorded
from ingest.message import Message
from simulators import scenario, town
from simulators.citypack import CityPack
from simulators.scenario import Request

SETTINGS: Final = Settings()
# Every run begins on the same day, so that its hours of light and dark are the same on every machine.
START_MS: Final = 1_790_000_000_000 // 86_400_000 * 86_400_000 + 2 * 3_600_000
HOUR_S: Final = 3600.0


@dataclass(frozen=True, slots=True)
class Delay:
    """When a truth became known: seconds from its onset to the message that gave it away, by the device's sending."""

    kind: str
    seconds: float


@dataclass
class Run:
    """What one run gave."""

    scenario: str
    seed: int
    vehicles: int
    messages: int
    refused: int
    vehicle_hours: float
    moving_hours: float
    kilometres: float
    matched: Matched
    faults: list[Fault] = field(default_factory=list)
    delays: list[Delay] = field(default_factory=list)


@cache
def city() -> CityPack:
    """The invented town, made once a process."""
    with tempfile.TemporaryDirectory() as folder:
        return town.write_demo_pack(Path(folder))


def messages_of(name: str, seed: int, vehicles: int) -> tuple[list[publications.Message], list[dict[str, Any]]]:
    """Messages and truth records of a scenario's natural length."""
    chosen = scenario.scenarios()[name]
    records: list[dict[str, Any]] = []
    request = Request(
        vehicles=vehicles,
        seed=seed,
        city=city(),
        start_ms=START_MS,
        duration_s=chosen.duration_s,
        encode=publications.encoder("json" if seed % 2 else "msgpack"),
        partitions=SETTINGS.partitions,
        id_prefix=chosen.id_prefix,
        clock_offset_ms=np.zeros(vehicles, dtype=np.int64),
    )
    # The sample's own track would fill the memory and is not needed.
    return list(chosen.messages(request, lambda record: _tell(records, record))), records


def _tell(records: list[dict[str, Any]], record: dict[str, Any]) -> None:
    if record["kind"] != "track":
        records.append(record)


def run(name: str, seed: int, vehicles: int, *, timed: bool = False) -> Run:
    """Run a scenario once. `timed`: also judge message by message, to know when each truth became known."""
    sent, records = messages_of(name, seed, vehicles)
    recorded = [Recorded(one.topic, one.payload, one.due_ms * 1000) for one in sent]
    result = dry_run.judge(recorded, detector.detectors(), SETTINGS, given.of(records))
    matched = match(truths_of(records), result.detections)
    hours, moving, kilometres = _exposure(result)
    found = Run(name, seed, vehicles, len(sent), len(result.refused), hours, moving, kilometres, matched, result.faults)
    if timed:
        found.delays = _delays(sent, records, matched)
    return found


def _exposure(result: dry_run.Judgement) -> tuple[float, float, float]:
    """Hours in which vehicles sent something, those in which they moved, and kilometres by speed."""
    hours = moving = kilometres = 0.0
    columns = {"speed_kmh", "obd_speed_kmh"}
    for window in result.memory.windows(result.memory.spans(), columns, ()):
        step_s = np.diff(window.device_time_us) / S
        near = step_s <= 60.0
        hours += float(step_s[near].sum()) / HOUR_S
        speed = np.nan_to_num(window.speed_kmh()[1:])
        moving += float(step_s[near & (speed >= 5.0)].sum()) / HOUR_S
        kilometres += float((step_s * speed)[near].sum()) / HOUR_S
    return hours, moving, kilometres


def _delays(sent: list[publications.Message], records: list[dict[str, Any]], matched: Matched) -> list[Delay]:
    """Judge each second's messages as they would have come, and note when each truth was first met."""
    memory = given.of(records)
    judge = Judge(detector.detectors())
    first_known_us: dict[tuple[str, str, int], int] = {}
    second: list[publications.Message] = []

    def judge_second() -> None:
        if not second:
            return
        due_us = second[-1].due_ms * 1000
        batch = decode([Message("p00", 0, 0, one.topic, one.payload, one.due_ms * 1000) for one in second], SETTINGS)
        events = events_of(batch.events)
        verdict = judge.judge(memory, memory.add(batch.readings, events), events)
        memory.keep(verdict.changes)
        for change in verdict.changes:
            if change.kind is ChangeKind.FOUND:
                finding = change.detection.finding
                first_known_us.setdefault((change.detection.vehicle_id, finding.kind, finding.start_us), due_us)

    for one in sent:
        if second and one.due_ms // 1000 != second[-1].due_ms // 1000:
            judge_second()
            second.clear()
        second.append(one)
    judge_second()
    delays = []
    for found in matched.found:
        truth = found.truth
        known = [
            at
            for (vehicle_id, kind, start_us), at in first_known_us.items()
            if (vehicle_id, kind) == (truth.vehicle_id, truth.kind)
            and truth.from_us - 10 * S <= start_us <= truth.until_us + 10 * S
        ]
        if known:
            delays.append(Delay(truth.kind, (min(known) - truth.from_us) / S))
    return delays
