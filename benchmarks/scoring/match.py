"""Found against true, episode by episode. Pure. Knows no threshold of any detector."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from incidents.source import Detection

S: Final = 1_000_000

# How far from the truth a detection may lie and still be of it, seconds: instants are sharp, conditions begin and end
# softly, and what builds up over days is dated to days.
_SHARP: Final = frozenset(
    {"crash", "rollover", "parked_impact", "harsh_braking", "harsh_acceleration", "harsh_cornering"}
)
_SLOW: Final = frozenset({"low_battery", "charging_fault", "tyre_leak", "odometer_rollback", "loose_mounting"})
_SHARP_S: Final = 10.0
_SOFT_S: Final = 180.0
_SLOW_S: Final = 3 * 86_400.0


def tolerance_us(kind: str) -> int:
    """How far apart in time a detection and a truth of a kind may lie."""
    return round((_SHARP_S if kind in _SHARP else _SLOW_S if kind in _SLOW else _SOFT_S) * S)


@dataclass(frozen=True, slots=True)
class Truth:
    """One incident that must be found, or (`allowed`) one that may be. `levels` it may have; empty: any."""

    vehicle_id: str
    kind: str
    from_us: int
    until_us: int
    levels: frozenset[int]
    facts: Mapping[str, Any] = field(default_factory=dict)
    allowed: bool = False


@dataclass(frozen=True, slots=True)
class Found:
    """A truth with what was found of it."""

    truth: Truth
    detections: tuple[Detection, ...]

    @property
    def level(self) -> int | None:
        """The gravest level given, None when nothing was found."""
        return max((one.finding.level for one in self.detections), default=None)

    @property
    def level_right(self) -> bool:
        """Whether the level is one of those the truth accepts (any, when it names none)."""
        return self.level is not None and (not self.truth.levels or self.level in self.truth.levels)


@dataclass(frozen=True, slots=True)
class Matched:
    """All truths of a run, and the detections that are of none."""

    found: tuple[Found, ...]
    false: tuple[Detection, ...]


def truths_of(records: Sequence[Mapping[str, Any]]) -> list[Truth]:
    """Truths told by a scenario, in the order told."""
    truths = []
    for record in records:
        if record["kind"] == "incident":
            levels = record.get("level")
            accepted = frozenset(levels if isinstance(levels, list | tuple | set | frozenset) else [levels]) - {None}
            begin = int(record["t_ms"]) * 1000
            end = int(record.get("until_ms") or record["t_ms"]) * 1000
            truths.append(
                Truth(record["vehicle_id"], record["incident"], begin, max(begin, end), accepted, dict(record))
            )
        elif record["kind"] == "allowed":
            begin, end = int(record["from_ms"]) * 1000, int(record["until_ms"]) * 1000
            highest = record.get("level")
            levels = frozenset(range(1, int(highest) + 1)) if highest is not None else frozenset()
            truths.append(Truth(record["vehicle_id"], record["incident"], begin, end, levels, allowed=True))
    return truths


def match(truths: Sequence[Truth], detections: Sequence[Detection]) -> Matched:
    """Detections to truths of their vehicle and kind that they touch; each to the nearest it can be of."""
    of: dict[int, list[Detection]] = {number: [] for number, truth in enumerate(truths) if not truth.allowed}
    false = []
    for detection in detections:
        near = [
            (_apart_us(truth, detection), truth.allowed, number)
            for number, truth in enumerate(truths)
            if (truth.vehicle_id, truth.kind) == (detection.vehicle_id, detection.finding.kind)
            and _apart_us(truth, detection) <= tolerance_us(truth.kind)
            and _same_subject(truth, detection)
            # What is allowed at most at a level is false above it.
            and (not truth.allowed or not truth.levels or detection.finding.level in truth.levels)
        ]
        if not near:
            false.append(detection)
            continue
        _, allowed, number = min(near)
        if not allowed:
            of[number].append(detection)
    return Matched(tuple(Found(truths[number], tuple(items)) for number, items in of.items()), tuple(false))


def _same_subject(truth: Truth, detection: Detection) -> bool:
    """Whether a detection is about the trouble code or the fence that the truth names; where either names none, yes."""
    named = next((str(truth.facts[name]) for name in ("code", "fence_id") if truth.facts.get(name)), "")
    subject = detection.finding.subject
    return not named or not subject or subject == named


def _apart_us(truth: Truth, detection: Detection) -> int:
    finding = detection.finding
    return max(0, truth.from_us - finding.end_us, finding.start_us - truth.until_us)
