"""The level of an incident from all its evidence together, with reasons. Pure.

The gravest standing evidence sets the level; what independent witnesses say together raises it. What explains the
evidence (hail over a parked vehicle) is told as a reason and keeps the level where it is.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from incidents.detector import Reason

NAME: Final = "fusion"
VERSION: Final = 1

S: Final = 1_000_000

# All judgement: how close in time two witnesses of one event are.
_SAME_MOMENT_US: Final = 10 * 60 * S
_AFTERMATH_US: Final = 5 * 60 * S
_SAME_THEFT_US: Final = 30 * 60 * S

_IMPACTS: Final = frozenset({"crash", "rollover", "parked_impact", "airbag"})
_TAKING: Final = frozenset({"tow", "theft"})
_HIDING: Final = frozenset({"unplug", "tamper", "jamming", "spoofing", "offline_while_moving"})
_VIOLENT_WEATHER: Final = frozenset({"hail", "storm", "flood"})


@dataclass(frozen=True, slots=True)
class Evidence:
    """One piece. `source`: detection, alarm, report, weather, condition. Times in microseconds since the epoch."""

    source: str
    reference: str
    kind: str
    level: int
    score: float
    at_us: int
    until_us: int
    measured: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Grade:
    """What the evidence supports. `kind` is that of the gravest piece."""

    kind: str
    level: int
    score: float
    reasons: tuple[Reason, ...]


def grade(evidence: Sequence[Evidence]) -> Grade | None:
    """Grade an incident; None when no evidence stands. Independent of the order of `evidence`."""
    bearing = [piece for piece in evidence if piece.source not in ("weather", "condition")]
    if not bearing:
        return None
    gravest = min(bearing, key=lambda piece: (-piece.level, -piece.score, piece.at_us, piece.source, piece.reference))
    level = gravest.level
    reasons = [Reason("gravest_evidence", {"kind": gravest.kind, "level": gravest.level})]
    for raised_to, reason in _corroborations(evidence, bearing, level):
        level = max(level, raised_to)
        reasons.append(reason)
    doubt = 1.0
    for piece in bearing:
        doubt *= 1.0 - min(max(piece.score, 0.0), 0.999)
    return Grade(gravest.kind, min(level, 3), round(1.0 - doubt, 4), tuple(reasons))


def _corroborations(evidence: Sequence[Evidence], bearing: Sequence[Evidence], level: int) -> list[tuple[int, Reason]]:
    found: list[tuple[int, Reason]] = []
    impacts = [piece for piece in bearing if piece.kind in _IMPACTS]
    reports = [piece for piece in bearing if piece.source == "report"]
    if impacts and _near(impacts, [piece for piece in bearing if piece.kind == "sos"], _AFTERMATH_US):
        found.append((3, Reason("sos_after_impact")))
    if any(piece.measured.get("injured") is True for piece in reports):
        found.append((3, Reason("injury_reported")))
    if impacts and _near(impacts, [piece for piece in reports if piece.kind == "accident"], _SAME_MOMENT_US):
        found.append((2, Reason("accident_reported")))
    silent = [piece for piece in bearing if piece.kind == "offline_while_moving"]
    if [piece for piece in impacts if piece.level >= 2] and _near(impacts, silent, _AFTERMATH_US):
        found.append((3, Reason("silent_after_impact")))
    taking = [piece for piece in bearing if piece.kind in _TAKING]
    if taking and _near(taking, [piece for piece in bearing if piece.kind in _HIDING], _SAME_THEFT_US):
        found.append((3, Reason("hidden_while_taken")))
    for piece in evidence:
        if piece.source == "condition":
            found.append((level, Reason("vehicle_condition", {"what": str(piece.measured.get("what", piece.kind))})))
        if piece.source == "weather":
            told = "weather_explains" if piece.kind in _VIOLENT_WEATHER and _only_parked(impacts) else "weather"
            found.append((level, Reason(told, {"weather": piece.kind})))
    return found


def _only_parked(impacts: Sequence[Evidence]) -> bool:
    return bool(impacts) and all(piece.kind == "parked_impact" for piece in impacts)


def _near(ones: Sequence[Evidence], others: Sequence[Evidence], within_us: int) -> bool:
    """Whether some piece of each lie within a time of one another."""
    return any(
        one.at_us - within_us <= other.until_us and other.at_us - within_us <= one.until_us
        for one in ones
        for other in others
        if one is not other
    )
