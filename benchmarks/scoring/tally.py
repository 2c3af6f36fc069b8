"""Runs added up: recall, precision, levels, false alarms, time to alarm. Pure."""

import math
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Final

import numpy as np

from benchmarks.scoring.runs import Run

# Scenarios in which nothing happens: false alarms are counted against their hours.
ORDINARY: Final = ("ordinary_day",)
IMPACTS: Final = ("crash", "rollover", "parked_impact")


@dataclass
class KindScore:
    """One kind over all scenarios. `split`: detections beyond the first of one truth. Shares None when undefined."""

    kind: str
    truths: int = 0
    found: int = 0
    level_right: int = 0
    split: int = 0
    false: int = 0
    false_in: dict[str, int] = field(default_factory=dict)
    missed_in: dict[str, int] = field(default_factory=dict)

    @property
    def recall(self) -> float | None:
        """Share of truths that were found."""
        return self.found / self.truths if self.truths else None

    @property
    def precision(self) -> float | None:
        """Share of what was found that is true."""
        return self.found / (self.found + self.false) if self.found + self.false else None

    @property
    def level_share(self) -> float | None:
        """Share of the found whose level is one the truth accepts."""
        return self.level_right / self.found if self.found else None


@dataclass
class ImpactScore:
    """Crashes, rollovers and parked impacts of one true level, the least where the truth accepts several."""

    level: int
    truths: int = 0
    found: int = 0
    level_right: int = 0


@dataclass
class Ordinary:
    """False alarms in ordinary driving. `per_1000_h` and its one-sided 95 % bound, by level."""

    vehicle_hours: float
    moving_hours: float
    kilometres: float
    false: dict[int, int]
    per_1000_h: dict[int, float]
    bound_per_1000_h: dict[int, float]
    kinds: dict[str, int]


@dataclass
class Score:
    """Everything."""

    runs: int
    seeds: int
    vehicles: int
    vehicle_hours: float
    messages: int
    refused: int
    kinds: list[KindScore]
    impacts: list[ImpactScore]
    ordinary: Ordinary
    must_not: dict[str, dict[str, int]]
    delays_s: dict[str, dict[str, float]]
    faults: list[str]
    prevalence: dict[str, float]

    def as_json(self) -> dict[str, Any]:
        """With the shares worked out."""
        told = asdict(self)
        for item, row in zip(self.kinds, told["kinds"], strict=True):
            row |= {"recall": item.recall, "precision": item.precision, "level_share": item.level_share}
        return told


def tally(runs: Sequence[Run], must_not: dict[str, frozenset[str]]) -> Score:
    """Add up. `must_not`: kinds that a scenario forbids, by scenario."""
    kinds: dict[str, KindScore] = {}
    impacts = {level: ImpactScore(level) for level in (1, 2, 3)}
    forbidden: dict[str, Counter[str]] = defaultdict(Counter)
    delays: dict[str, list[float]] = defaultdict(list)
    for run in runs:
        for found in run.matched.found:
            truth = found.truth
            score = kinds.setdefault(truth.kind, KindScore(truth.kind))
            score.truths += 1
            score.found += bool(found.detections)
            score.level_right += found.level_right
            score.split += max(0, len(found.detections) - 1)
            if not found.detections:
                score.missed_in[run.scenario] = score.missed_in.get(run.scenario, 0) + 1
            if truth.kind in IMPACTS and truth.levels:
                # A bump below the trigger line after which the driver stops may be called urgent; it is a bump.
                impact = impacts[min(truth.levels)]
                impact.truths += 1
                impact.found += bool(found.detections)
                impact.level_right += found.level_right
        for detection in run.matched.false:
            kind = detection.finding.kind
            score = kinds.setdefault(kind, KindScore(kind))
            score.false += 1
            score.false_in[run.scenario] = score.false_in.get(run.scenario, 0) + 1
            if kind in must_not.get(run.scenario, ()):
                forbidden[run.scenario][kind] += 1
        for delay in run.delays:
            delays[delay.kind].append(delay.seconds)
    hours = sum(run.vehicle_hours for run in runs)
    truths = Counter(found.truth.kind for run in runs for found in run.matched.found)
    return Score(
        runs=len(runs),
        seeds=len({run.seed for run in runs}),
        vehicles=sum(run.vehicles for run in runs),
        vehicle_hours=round(hours, 1),
        messages=sum(run.messages for run in runs),
        refused=sum(run.refused for run in runs),
        kinds=sorted(kinds.values(), key=lambda item: item.kind),
        impacts=list(impacts.values()),
        ordinary=_ordinary([run for run in runs if run.scenario in ORDINARY]),
        must_not={name: dict(counts) for name, counts in sorted(forbidden.items())},
        delays_s={kind: _spread(values) for kind, values in sorted(delays.items())},
        faults=[f"{run.scenario} seed {run.seed}: {one.detector}: {one.error}" for run in runs for one in run.faults],
        prevalence={kind: round(count / hours * 1000, 3) for kind, count in sorted(truths.items())} if hours else {},
    )


def _ordinary(runs: Sequence[Run]) -> Ordinary:
    hours = sum(run.vehicle_hours for run in runs)
    false = Counter(detection.finding.level for run in runs for detection in run.matched.false)
    kinds = Counter(detection.finding.kind for run in runs for detection in run.matched.false)
    levels = (1, 2, 3)
    return Ordinary(
        vehicle_hours=round(hours, 1),
        moving_hours=round(sum(run.moving_hours for run in runs), 1),
        kilometres=round(sum(run.kilometres for run in runs)),
        false={level: false[level] for level in levels},
        per_1000_h={level: round(false[level] / hours * 1000, 4) if hours else math.nan for level in levels},
        bound_per_1000_h={
            level: round(poisson_bound(false[level]) / hours * 1000, 4) if hours else math.nan for level in levels
        },
        kinds=dict(kinds),
    )


def poisson_bound(count: int) -> float:
    """One-sided 95 % upper bound of a Poisson mean (Byar's approximation; exact 2.996 for 0)."""
    if count == 0:
        return 2.996
    n = count + 1
    return float(n * (1 - 1 / (9 * n) + 1.645 / (3 * math.sqrt(n))) ** 3)


def _spread(values: Sequence[float]) -> dict[str, float]:
    p50, p99 = np.percentile(values, [50, 99])
    return {
        "count": len(values),
        "p50": round(float(p50), 2),
        "p99": round(float(p99), 2),
        "worst": round(max(values), 2),
    }
