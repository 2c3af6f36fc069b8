"""Traces of vehicles whose health is known, made by formula for the tests of health detectors.

Recipes are those of the docs/detection-science.md, A4 and B9, with chance in everything they leave open. Every
trace says what must be found in it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fleet_core.readings import Readings, concatenate
from incidents.detector import Detector, Finding
from incidents.judge import Judge
from incidents.remembered import Memory
from incidents.source import Detection
from incidents.window import Event, S, Vehicle
from ingest.dry_run import judge_all

Floats = NDArray[np.float64]
START_S = 1_764_000_000 - 1_764_000_000 % 86_400  # begin of a day, UTC
DAY_S = 86_400
MINUTE_S = 60


@dataclass
class Trace:
    """Seconds (n,) since START_S and columns of one vehicle, and what is true of it.

    expects  kind -> (from, until) in which it must be found, seconds
    allows   kind -> (from, until) in which it may be found, which counts neither way
    """

    t_s: Floats
    columns: dict[str, Floats]
    expects: dict[str, tuple[float, float]] = field(default_factory=dict)
    allows: dict[str, tuple[float, float]] = field(default_factory=dict)
    events: list[Event] = field(default_factory=list)
    vehicle_class: str = "car"
    boot: NDArray[np.int64] | None = None
    name: str = ""

    @property
    def hours(self) -> float:
        """Vehicle-hours told of."""
        return float(self.t_s[-1] - self.t_s[0]) / 3600.0 if len(self.t_s) else 0.0


def readings_of(trace: Trace, vehicle_id: str = "v1", lag_s: float = 0.5) -> Readings:
    """A trace as readings in order of time."""
    order = np.argsort(trace.t_s, kind="stable")
    times = np.round((START_S + trace.t_s[order]) * S).astype(np.int64)
    count = len(times)
    boot = np.full(count, 17, dtype=np.int64) if trace.boot is None else trace.boot[order]
    columns: dict[str, Any] = {}
    for name, values in trace.columns.items():
        held = values[order]
        flag = name == "ignition"
        columns[name] = np.where(np.isnan(held), -1, held).astype(np.int8) if flag else held.astype(np.float64)
    return Readings(
        [vehicle_id],
        np.zeros(count, dtype=np.int64),
        np.arange(count, dtype=np.int64),
        times,
        (boot << 32) | np.arange(count, dtype=np.int64),
        times + round(lag_s * S),
        columns,
    )


def judged(trace: Trace, detectors: Mapping[str, Detector], vehicle_id: str = "v1") -> list[Detection]:
    """What stands after all was judged at once, sweeps included."""
    memory = Memory(vehicles={vehicle_id: Vehicle(vehicle_id, trace.vehicle_class)})
    events = [(vehicle_id, event) for event in trace.events]
    fresh = memory.add(readings_of(trace, vehicle_id), events)
    faults = judge_all(memory, fresh, events, detectors)
    assert not faults, faults
    return memory.standing


def judged_in_parts(
    trace: Trace, detectors: Mapping[str, Detector], parts: Sequence[NDArray[np.intp]], restarts: Sequence[bool] = ()
) -> list[Detection]:
    """The same of rows that arrive in parts, each with one of the events; without sweeps."""
    memory, judge = Memory(vehicles={"v1": Vehicle("v1", trace.vehicle_class)}), Judge(detectors)
    readings = readings_of(trace)
    for number, part in enumerate(parts):
        if number < len(restarts) and restarts[number]:
            judge = Judge(detectors)
        events = [("v1", event) for event in trace.events[number : number + 1]]
        fresh = memory.add(readings.take(part), events)
        if len(fresh) or events:
            verdict = judge.judge(memory, fresh, events)
            assert not verdict.faults, verdict.faults
            memory.keep(verdict.changes)
    return memory.standing


@dataclass
class Score:
    """Counts over traces, for one kind."""

    hits: int = 0
    misses: int = 0
    false: int = 0
    hours: float = 0.0
    missed: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)

    @property
    def recall(self) -> float:
        """Share of what was to be found that was found."""
        return self.hits / max(1, self.hits + self.misses)

    @property
    def precision(self) -> float:
        """Share of what was found that was to be found."""
        return self.hits / max(1, self.hits + self.false)

    def count(self, trace: Trace, detections: Sequence[Detection], kind: str) -> None:
        """Add one trace: any detection of the kind within what was expected is a hit, any outside is false."""
        self.hours += trace.hours
        span = trace.expects.get(kind)
        inside = []
        for finding in (one.finding for one in detections if one.finding.kind == kind):
            if not _touches(finding, trace.allows.get(kind)):
                inside.append(_touches(finding, span))
        if span is not None:
            self.hits += any(inside)
            self.misses += not any(inside)
            if not any(inside):
                self.missed.append(trace.name)
        if not all(inside):
            self.false += len(inside) - sum(inside)
            self.wrong.append(trace.name)


def _touches(finding: Finding, span: tuple[float, float] | None) -> bool:
    if span is None:
        return False
    return finding.end_us / S - START_S >= span[0] - 1.0 and finding.start_us / S - START_S <= span[1] + 1.0


# -- parts of traces -----------------------------------------------------------------------------------------------


def drive_speed(rng: np.random.Generator, count: int, step_s: float) -> Floats:
    """Speed of a drive, km/h: wanders between standing and a top, stops now and then."""
    top = rng.uniform(40.0, 120.0)
    knots = max(2, int(count * step_s / 45.0) + 2)
    values = rng.uniform(0.1, 1.0, knots) * top
    values[rng.random(knots) < 0.25] = 0.0
    speed = np.interp(np.arange(count) * step_s, np.arange(knots) * 45.0, values)
    return np.maximum(0.0, speed)


def rounded(values: Floats, step: float) -> Floats:
    """Values in the resolution of a bus; 0 leaves them."""
    return np.round(values / step) * step if step else values


def sparse(rng: np.random.Generator, values: Floats, every: int) -> Floats:
    """Values told only in every n-th reading."""
    told = np.full(len(values), np.nan)
    at = np.arange(int(rng.integers(0, every)), len(values), every)
    told[at] = values[at]
    return told


def joined(*parts: Trace) -> Trace:
    """Traces one after the other; columns that one lacks are absent there."""
    names = dict.fromkeys(name for part in parts for name in part.columns)
    return Trace(
        np.concatenate([part.t_s for part in parts]),
        {
            name: np.concatenate([part.columns.get(name, np.full(len(part.t_s), np.nan)) for part in parts])
            for name in names
        },
        {kind: span for part in parts for kind, span in part.expects.items()},
        name=parts[0].name,
    )


def fleet_of(traces: Sequence[Trace]) -> Readings:
    """Readings of many vehicles together, in key order."""
    return concatenate([readings_of(trace, f"v{number}") for number, trace in enumerate(traces)]).in_key_order()[0]
