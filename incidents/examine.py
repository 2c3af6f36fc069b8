"""An examination: windows are read where somebody asked, detectors look, and what they find meets what was kept.

Pure but for the source it reads from. Used by the judge of the stream and by the sweeps of the worker.
"""

import itertools
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from incidents.detector import Detector, Finding
from incidents.reconcile import Change, ChangeKind, Judged, reconcile
from incidents.source import Detection, Source, Span
from incidents.window import S, Window

# Windows of one vehicle closer together than this are read as one.
_READ_TOGETHER_US: Final = 60 * S
# An episode that reaches out of what was read is read further, in growing steps. One longer than their sum is judged in
# parts, which join.
_GROWTHS_US: Final = tuple(seconds * S for seconds in (30, 120, 480, 1200, 1800, 0))

# Spans to answer for, by vehicle and detector.
Asked = Mapping[str, Mapping[str, Sequence[tuple[int, int]]]]


@dataclass(frozen=True, slots=True)
class Fault:
    """A detector failed on a window: the reading is kept all the same, and somebody is told."""

    detector: str
    vehicle_id: str
    from_us: int
    until_us: int
    error: str


@dataclass(slots=True)
class Verdict:
    """What one judgement gave."""

    changes: list[Change] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)
    examined: int = 0


@dataclass(frozen=True, slots=True)
class _Task:
    """Answer for a vehicle from `from_us` to `until_us` with one detector."""

    vehicle_id: str
    name: str
    from_us: int
    until_us: int
    detector: Detector = field(compare=False)

    @property
    def seen(self) -> Span:
        """What must be read for it."""
        before_us, after_us = round(self.detector.before_s * S), round(self.detector.after_s * S)
        return Span(self.vehicle_id, self.from_us - before_us, self.until_us + after_us)

    @property
    def near(self) -> Span:
        """Where episodes may lie that join what is found."""
        gap_us = round(self.detector.episode_gap_s * S)
        vehicle_id, from_us, until_us = self.seen
        return Span(vehicle_id, from_us - gap_us, until_us + gap_us)

    def wide_enough_for(self, findings: Sequence[Finding], growth_us: int) -> "_Task":
        """The task widened, by at least `growth_us`, to hold the episodes that reach out of it. 0: as it is."""
        if not growth_us:
            return self
        gap_us = round(self.detector.episode_gap_s * S)
        mine = [
            one for one in findings if one.start_us <= self.until_us + gap_us and one.end_us >= self.from_us - gap_us
        ]
        first = min((one.start_us for one in mine), default=self.from_us)
        last = max((one.end_us for one in mine), default=self.until_us)
        return replace(
            self,
            from_us=first - growth_us if first < self.from_us else self.from_us,
            until_us=last + growth_us if last > self.until_us else self.until_us,
        )


def examine(source: Source, detectors: Mapping[str, Detector], asked: Asked) -> Verdict:
    """Answer for the spans that were asked for. A detector that fails is named in the verdict and stops nobody."""
    tasks = _joined(
        _Task(vehicle_id, name, begin, end, detectors[name])
        for vehicle_id, by_detector in asked.items()
        for name, spans in by_detector.items()
        for begin, end in spans
    )
    verdict = Verdict(examined=len(tasks))
    done: dict[_Task, list[Finding]] = {}
    for growth_us in _GROWTHS_US:
        for task, window in _windows(source, [task for task in tasks if task not in done]):
            try:
                done[task] = _findings(task.detector, window)
            except Exception as error:  # a detector that fails must not stop the partition
                told = f"{type(error).__name__}: {error}"
                verdict.faults.append(Fault(task.name, task.vehicle_id, task.from_us, task.until_us, told))
        # Two episodes that grow may meet: their tasks are one then.
        wider = _joined(task.wide_enough_for(done[task], growth_us) for task in tasks if task in done)
        if all(task in done for task in wider):
            break
        tasks = wider
    verdict.changes += _changes(source, [(task, done[task]) for task in wider])
    return verdict


def sweep(source: Source, detector: Detector, spans: Sequence[Span]) -> Verdict:
    """Examine spans of vehicles with one detector, whatever its lane. The source says what is known until when."""
    asked: dict[str, dict[str, list[tuple[int, int]]]] = {}
    for vehicle_id, from_us, until_us in spans:
        asked.setdefault(vehicle_id, {detector.name: []})[detector.name].append((from_us, until_us))
    return examine(source, {detector.name: detector}, asked)


def _joined(tasks: Iterable[_Task]) -> list[_Task]:
    """Tasks of one vehicle and detector within each other's sight made one; in order."""
    joined: list[_Task] = []
    for task in sorted(tasks, key=lambda one: (one.vehicle_id, one.name, one.from_us, one.until_us)):
        newest = joined[-1] if joined else None
        reach_us = round((task.detector.before_s + task.detector.after_s) * S)
        if (
            newest is not None
            and (newest.vehicle_id, newest.name) == (task.vehicle_id, task.name)
            and task.from_us - newest.until_us <= reach_us
        ):
            joined[-1] = replace(newest, until_us=max(newest.until_us, task.until_us))
        else:
            joined.append(task)
    return joined


def _findings(detector: Detector, window: Window) -> list[Finding]:
    findings = detector.examine(window)
    for finding in findings:
        if finding.kind not in detector.kinds or finding.level not in (1, 2, 3):
            raise ValueError(f"kind {finding.kind!r}, level {finding.level!r} are not the detector's")
        if not finding.start_us <= finding.at_us <= finding.end_us:
            raise ValueError(f"{finding.start_us} <= {finding.at_us} <= {finding.end_us} does not hold")
    return findings


def _windows(source: Source, tasks: Sequence[_Task]) -> list[tuple[_Task, Window]]:
    """Each task with what must be read for it; tasks near each other share a read."""
    if not tasks:
        return []
    covering = _cover([task.seen for task in tasks])
    columns = frozenset[str]().union(*(task.detector.columns for task in tasks))
    streams = frozenset[str]().union(*(task.detector.streams for task in tasks))
    loaded: dict[str, list[Window]] = defaultdict(list)
    for span, window in zip(covering, source.windows(covering, columns, streams), strict=True):
        loaded[span.vehicle_id].append(window)
    found = []
    for task in tasks:
        _, from_us, until_us = task.seen
        wide = next(one for one in loaded[task.vehicle_id] if one.from_us <= from_us and until_us <= one.until_us)
        found.append((task, wide.between(from_us, until_us)))
    return found


def _changes(source: Source, done: Sequence[tuple[_Task, list[Finding]]]) -> list[Change]:
    """What findings change of what was kept before, and of what an earlier task has just found."""
    if not done:
        return []
    kept: dict[tuple[str, str], dict[int, Detection]] = defaultdict(dict)
    for detection in source.detections(_cover([task.near for task, _ in done])):
        assert detection.detection_id is not None
        kept[detection.vehicle_id, detection.detector][detection.detection_id] = detection
    changes: dict[int, Change] = {}
    # What is found here has no id yet: until it is kept it goes under a negative one.
    unkept = itertools.count(-1, -1)
    for task, findings in done:
        mine = kept[task.vehicle_id, task.name]
        _, from_us, until_us = task.near
        touched = [
            detection
            for detection in mine.values()
            if detection.finding.start_us <= until_us and detection.finding.end_us >= from_us
        ]
        judged = Judged(task.from_us, task.until_us, task.seen.from_us, task.seen.until_us)
        for change in reconcile(task.detector, task.vehicle_id, touched, findings, judged):
            detection = change.detection
            if change.kind is ChangeKind.FOUND:
                detection = replace(detection, detection_id=next(unkept))
            number = detection.detection_id
            assert number is not None
            if change.kind is ChangeKind.WITHDRAWN:
                mine.pop(number, None)
            else:
                mine[number] = detection
            if number > 0:
                changes[number] = change
            elif change.kind is ChangeKind.WITHDRAWN:
                changes.pop(number, None)
            else:
                changes[number] = Change(ChangeKind.FOUND, replace(detection, detection_id=None))
    return list(changes.values())


def _cover(spans: Sequence[Span]) -> list[Span]:
    """The fewest spans that hold all of these without reading what lies far from any."""
    covering: list[Span] = []
    for span in sorted(spans):
        newest = covering[-1] if covering else None
        if newest and newest.vehicle_id == span.vehicle_id and span.from_us <= newest.until_us + _READ_TOGETHER_US:
            covering[-1] = newest._replace(until_us=max(newest.until_us, span.until_us))
        else:
            covering.append(span)
    return covering
