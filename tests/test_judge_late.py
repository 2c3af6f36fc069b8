"""The judge and what comes late: a reading is part of the past of readings that were judged without it."""

from dataclasses import dataclass

import numpy as np

from incidents.detector import Finding
from incidents.judge import Judge
from incidents.reconcile import ChangeKind, Judged, reconcile
from incidents.remembered import Memory
from incidents.rows import Rows
from incidents.source import Detection
from incidents.window import Bools, S, Window
from tests.toy_detectors import TooFast, readings_of

START_S = 1_764_000_000


@dataclass(frozen=True)
class SlowAfterFast(TooFast):
    """Standing within 100 s of speeding: the gate fires while standing, what proves it lies far before."""

    name: str = "slow_after_fast"
    before_s: float = 100.0
    after_s: float = 0.0

    def wants(self, rows: Rows) -> Bools:
        return rows.none if not rows.has("speed_kmh") else np.asarray(rows.number("speed_kmh") == 0.0)

    def examine(self, window: Window) -> list[Finding]:
        speed, times = window.number("speed_kmh"), window.device_time_us
        found = []
        for row in np.flatnonzero(speed == 0.0).tolist():
            at_us = int(times[row])
            before = (times >= at_us - 100 * S) & (times < at_us)
            if at_us - 100 * S >= window.from_us and (speed[before] > 100.0).any():
                found.append(Finding("speeding", 1, 0.5, at_us, at_us, at_us))
        return found


def drive() -> list[float]:
    return [60.0] * 10 + [120.0] * 10 + [60.0] * 60 + [0.0] * 5 + [60.0] * 30


def test_a_late_reading_that_proves_an_episode_long_after_it_finds_it() -> None:
    speed = drive()
    readings = readings_of("v1", (START_S + np.arange(len(speed))).tolist(), speed, START_S * S)
    rows = np.arange(len(speed))
    late = (rows >= 10) & (rows < 20)
    detectors = {"slow_after_fast": SlowAfterFast()}
    found = []
    for parts in ([rows], [rows[~late], rows[late]], [rows[~late][:80], rows[~late][80:], rows[late]]):
        memory, judge = Memory(), Judge(detectors)
        for part in parts:
            memory.keep(judge.judge(memory, memory.add(readings.take(part), []), []).changes)
        found.append([(one.finding.start_us, one.finding.end_us) for one in memory.standing])
    assert found[0] == [((START_S + 80) * S, (START_S + 84) * S)]
    assert found[1] == found[0]
    assert found[2] == found[0]


def test_a_late_reading_that_refutes_a_long_episode_withdraws_it() -> None:
    speed = [60.0] * 5 + [120.0] * 3000 + [60.0] * 5
    readings = readings_of("v1", (START_S + np.arange(len(speed))).tolist(), speed, START_S * S)
    rows = np.arange(len(speed))
    parts = [*np.array_split(rows[rows != 4], 40), rows[4:5]]
    memory, judge = Memory(), Judge({"too_fast": TooFast()})
    for part in parts:
        memory.keep(judge.judge(memory, memory.add(readings.take(part), []), []).changes)
    assert [(one.finding.start_us, one.finding.end_us) for one in memory.standing] == [
        ((START_S + 5) * S, (START_S + 3004) * S)
    ]


def test_an_episode_is_not_cut_to_what_is_answered_for() -> None:
    # Judged from 100 s on; what lies before was seen, but a detector need not tell of it again.
    kept = [Detection(1, "v1", "too_fast", 1, Finding("speeding", 1, 0.9, 95 * S, 95 * S, 120 * S))]
    judged = Judged(100 * S, 130 * S, 90 * S, 140 * S)
    changes = reconcile(TooFast(), "v1", kept, [Finding("speeding", 1, 0.9, 100 * S, 100 * S, 130 * S)], judged)
    assert [(one.kind, one.detection.finding.start_us, one.detection.finding.end_us) for one in changes] == [
        (ChangeKind.REVISED, 95 * S, 130 * S)
    ]


def test_two_subjects_are_two_episodes() -> None:
    kept = [Detection(1, "v1", "too_fast", 1, Finding("speeding", 1, 0.9, 0, 0, 0, subject="P0300"))]
    found = [Finding("speeding", 1, 0.9, S, S, S, subject="P0420")]
    changes = reconcile(TooFast(), "v1", kept, found, Judged(S, S, S, S))
    assert [(one.kind, one.detection.finding.subject) for one in changes] == [(ChangeKind.FOUND, "P0420")]
