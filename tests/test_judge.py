"""The judge: what it finds depends on what is stored, not on how and in which order it came."""

from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from fleet_core import topics
from fleet_core.readings import Readings, concatenate
from incidents.detector import Finding
from incidents.judge import Judge
from incidents.reconcile import Change, ChangeKind, Judged, join, reconcile
from incidents.remembered import Memory
from incidents.source import Detection
from incidents.window import Event, S
from tests.toy_detectors import Knock, TooFast, readings_of

START_S = 1_764_000_000
DETECTORS = {"too_fast": TooFast(), "knock": Knock()}


def drive(seed: int, vehicle_id: str = "v1", seconds: int = 240) -> Readings:
    """A drive with runs of speeding and knocks at random places, some followed by standing still."""
    rng = np.random.default_rng(seed)
    speed = np.full(seconds, 60.0)
    for at in rng.integers(10, seconds - 30, 3).tolist():
        speed[at : at + int(rng.integers(1, 40))] = 120.0
    knock = int(rng.integers(20, seconds - 30))
    speed[knock : knock + int(rng.integers(3, 25))] = 0.0
    return readings_of(vehicle_id, (START_S + np.arange(seconds)).tolist(), speed.tolist(), (START_S + seconds) * S)


def told(memory: Memory) -> list[tuple[Any, ...]]:
    """What stands, without the ids that depend on the order of finding."""
    return [
        (one.vehicle_id, one.detector, one.version, one.finding.kind, one.finding.level, one.finding.score,
         one.finding.at_us, one.finding.start_us, one.finding.end_us, tuple(sorted(one.finding.values.items())))
        for one in memory.standing
    ]  # fmt: skip


def judged_at_once(readings: Readings, events: list[tuple[str, Event]] | None = None) -> Memory:
    memory, judge = Memory(), Judge(DETECTORS)
    fresh = memory.add(readings, events or [])
    verdict = judge.judge(memory, fresh, events or [])
    assert not verdict.faults
    memory.keep(verdict.changes)
    return memory


def test_a_whole_drive_gives_its_episodes() -> None:
    speed = [60.0] * 30 + [120.0] * 10 + [60.0] * 20 + [0.0] * 30
    memory = judged_at_once(readings_of("v1", (START_S + np.arange(90)).tolist(), speed, (START_S + 90) * S))
    assert [(kind, level, at // S - START_S) for _, _, _, kind, level, _, at, *_ in told(memory)] == [
        ("speeding", 1, 30),
        ("crash", 1, 40),
        ("crash", 2, 60),
    ]


@settings(max_examples=150)
@given(seed=st.integers(0, 10_000), cuts=st.integers(1, 12), shuffle=st.booleans(), restart=st.booleans())
def test_order_batches_duplicates_and_restarts_make_no_difference(
    seed: int, cuts: int, shuffle: bool, restart: bool
) -> None:
    rng = np.random.default_rng(seed)
    readings = concatenate([drive(seed), drive(seed + 1, "v2")])
    whole = judged_at_once(readings.in_key_order()[0])
    rows = np.arange(len(readings))
    if shuffle:
        # Messages of ten readings each come in any order, some of them twice.
        messages = np.array_split(rows, len(rows) // 10)
        order = rng.permutation(np.concatenate((np.arange(len(messages)), rng.integers(0, len(messages), 5))))
        parts = [np.concatenate([messages[at] for at in part]) for part in np.array_split(order, cuts) if len(part)]
    else:
        order = np.lexsort((rows, readings.device_time_us))
        edges = np.sort(rng.integers(0, len(rows), cuts - 1))
        parts = [part for part in np.split(order, edges) if len(part)]
    memory, judge = Memory(), Judge(DETECTORS)
    for part in parts:
        if restart and rng.random() < 0.3:
            judge = Judge(DETECTORS)
        fresh = memory.add(readings.take(part), [])
        if len(fresh):
            memory.keep(judge.judge(memory, fresh, []).changes)
    assert told(memory) == told(whole)


@given(st.integers(0, 1000))
def test_an_event_before_and_after_its_readings_gives_the_same(seed: int) -> None:
    rng = np.random.default_rng(seed)
    readings = drive(seed)
    at_us = int(readings.device_time_us[int(rng.integers(5, 200))])
    event = ("v1", Event(topics.ALARM, at_us, at_us, 1, "crash", {"kind": "crash"}))
    whole = judged_at_once(readings, [event])
    cut = int(rng.integers(1, len(readings)))
    rows = np.arange(len(readings))
    memory, judge = Memory(), Judge(DETECTORS)
    steps: list[tuple[Readings, list[tuple[str, Event]]]] = [
        (readings.take(rows[:cut]), []), (Readings.empty(), [event]), (readings.take(rows[cut:]), []),
    ]  # fmt: skip
    for part, events in [steps[at] for at in rng.permutation(3)]:
        memory.keep(judge.judge(memory, memory.add(part, events), events).changes)
    assert told(memory) == told(whole)


def test_findings_of_one_batch_within_the_gap_are_one_episode() -> None:
    """Two events further apart than a window shows, and closer than the gap: in one batch or in two."""

    detectors = {"knock": Knock(episode_gap_s=100.0)}
    events = [
        ("v1", Event(topics.ALARM, (START_S + at) * S, (START_S + at) * S, at, "crash", {"kind": "crash"}))
        for at in (0, 90, 180, 400)
    ]
    for parts in ([events], [[event] for event in events], [events[1:], events[:1]]):
        memory, judge = Memory(), Judge(detectors)
        for part in parts:
            memory.keep(judge.judge(memory, memory.add(Readings.empty(), part), part).changes)
        spans = [(one.finding.start_us // S - START_S, one.finding.end_us // S - START_S) for one in memory.standing]
        assert spans == [(0, 180), (400, 400)]


def test_what_later_readings_refute_is_withdrawn() -> None:
    # A fall of 50 km/h between neighbours, until the reading in between arrives.
    times = [START_S, START_S + 0.5, START_S + 1.0, START_S + 2.0]
    readings = readings_of("v1", times, [100.0, 80.0, 49.0, 49.0], (START_S + 3) * S)
    memory, judge = Memory(), Judge(DETECTORS)
    for part in (np.array([0, 2, 3]), np.array([1])):
        memory.keep(judge.judge(memory, memory.add(readings.take(part), []), []).changes)
    assert told(memory) == []
    assert [change.kind for change in memory.changes] == [ChangeKind.FOUND, ChangeKind.WITHDRAWN]


def test_a_detector_that_fails_is_named_and_stops_nobody() -> None:
    class Broken(TooFast):
        def examine(self, window: Any) -> list[Finding]:
            raise ZeroDivisionError("no")

    judge = Judge({"broken": Broken(name="broken"), **DETECTORS})
    memory = Memory()
    verdict = judge.judge(memory, memory.add(drive(1), []), [])
    assert {fault.detector for fault in verdict.faults} == {"broken"}
    assert "ZeroDivisionError: no" in verdict.faults[0].error
    assert {change.detection.detector for change in verdict.changes} == {"too_fast", "knock"}


def finding(start_s: float, end_s: float, score: float = 0.5, level: int = 1) -> Finding:
    return Finding("speeding", level, score, round(start_s * S), round(start_s * S), round(end_s * S))


@given(st.permutations([finding(0, 5), finding(3, 9, 0.7), finding(8, 12, 0.7, 2)]))
def test_joining_is_the_same_in_any_order(order: list[Finding]) -> None:
    one, two, three = order
    joined = join(join(one, two), three)
    assert joined == join(one, join(two, three))
    assert (joined.start_us, joined.end_us, joined.level) == (0, 12 * S, 2)


def test_two_episodes_that_grow_together_become_the_older_one() -> None:
    detector = TooFast()
    kept = [Detection(number, "v1", "too_fast", 1, finding(*span)) for number, span in ((7, (0, 10)), (9, (20, 30)))]
    changes = reconcile(detector, "v1", kept, [finding(0, 30)], Judged(0, 30 * S, -10 * S, 40 * S))
    assert [(change.kind, change.detection.detection_id) for change in changes] == [
        (ChangeKind.REVISED, 7), (ChangeKind.WITHDRAWN, 9),
    ]  # fmt: skip
    assert changes[1].into == changes[0].detection


def test_an_episode_seen_in_part_grows_and_is_never_withdrawn() -> None:
    kept = [Detection(1, "v1", "too_fast", 1, finding(0, 600, 0.9))]
    judged = Judged(590 * S, 620 * S, 580 * S, 630 * S)
    changes: list[Change] = reconcile(TooFast(), "v1", kept, [finding(580, 620)], judged)
    assert [(one.kind, one.detection.finding.start_us, one.detection.finding.end_us) for one in changes] == [
        (ChangeKind.REVISED, 0, 620 * S)
    ]
    assert changes[0].detection.finding.score == 0.9
    assert reconcile(TooFast(), "v1", kept, [], judged) == []
