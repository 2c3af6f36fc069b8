"""Findings against what was kept before: episodes are found, revised when more is known, or withdrawn.

Pure. The outcome depends on what is stored, never on the order in which it came: an episode that is seen whole is
replaced by what is seen now, one that is seen in part grows by union and keeps the stronger judgement.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import Enum
from typing import Final

from incidents.detector import Detector, Finding
from incidents.source import Detection
from incidents.window import S

_EXTREMES: Final = ("peak_", "max_", "min_")


class ChangeKind(Enum):
    """What became of a detection."""

    FOUND = "found"
    REVISED = "revised"
    WITHDRAWN = "withdrawn"


@dataclass(frozen=True, slots=True)
class Change:
    """One change to what is kept. `into` names the detection that a withdrawn one became part of."""

    kind: ChangeKind
    detection: Detection
    into: Detection | None = None


@dataclass(frozen=True, slots=True)
class Judged:
    """What an examination covered: it answers for instants from `from_us` to `until_us`, and saw `seen_*`."""

    from_us: int
    until_us: int
    seen_from_us: int
    seen_until_us: int


def episodes(findings: Sequence[Finding], gap_us: int) -> list[Finding]:
    """Findings of one kind and subject closer together than the gap, joined."""
    joined: list[Finding] = []
    newest: dict[tuple[str, str], int] = {}
    for finding in sorted(findings, key=lambda item: (item.start_us, item.at_us)):
        at = newest.get((finding.kind, finding.subject))
        if at is not None and finding.start_us - joined[at].end_us <= gap_us:
            joined[at] = join(joined[at], finding)
        else:
            newest[finding.kind, finding.subject] = len(joined)
            joined.append(finding)
    return joined


def join(one: Finding, other: Finding) -> Finding:
    """One episode of two: the span of both, the judgement of the graver. Symmetric and associative.

    Values named `peak_` and `max_` keep the greatest, `min_` the least, `duration_s` becomes that of the whole.
    """
    graver = max(one, other, key=lambda item: (item.level, item.score, -item.at_us, -item.start_us, item.end_us))
    revisits = [item.revisit_us for item in (one, other) if item.revisit_us is not None]
    start_us, end_us = min(one.start_us, other.start_us), max(one.end_us, other.end_us)
    values = dict(graver.values)
    for name in (one.values.keys() | other.values.keys()) if one.values != other.values else ():
        if name.startswith(_EXTREMES):
            both = [item.values[name] for item in (one, other) if item.values.get(name) is not None]
            values[name] = None if not both else min(both) if name.startswith("min_") else max(both)
    if "duration_s" in values:
        values["duration_s"] = round((end_us - start_us) / S, 1)
    return replace(graver, start_us=start_us, end_us=end_us, revisit_us=max(revisits, default=None), values=values)


def reconcile(
    detector: Detector, vehicle_id: str, kept: Sequence[Detection], findings: Sequence[Finding], judged: Judged
) -> list[Change]:
    """Changes that bring `kept` (this vehicle's, of this detector) to what was found.

    Findings that lie outside what the examination answers for are left alone: it may not have seen all that bears on
    them.
    """
    gap_us = round(detector.episode_gap_s * S)
    changes: list[Change] = []
    matched: set[int] = set()
    for finding in episodes(findings, gap_us):
        if finding.end_us < judged.from_us or judged.until_us < finding.start_us:
            continue
        near = [
            number
            for number, detection in enumerate(kept)
            if number not in matched and _same_episode(detection.finding, finding, gap_us)
        ]
        if not near:
            if judged.from_us <= finding.at_us <= judged.until_us:
                new = Detection(None, vehicle_id, detector.name, detector.version, finding)
                changes.append(Change(ChangeKind.FOUND, new))
            continue
        matched.update(near)
        stays = min((kept[number] for number in near), key=_seniority)
        told = finding
        for number in near:
            if not _seen_whole(kept[number].finding, judged):
                told = join(told, kept[number].finding)
        revised = stays.with_finding(told, detector.version)
        if revised != stays:
            changes.append(Change(ChangeKind.REVISED, revised))
        changes += [
            Change(ChangeKind.WITHDRAWN, kept[number], into=revised) for number in near if kept[number] is not stays
        ]
    for number, detection in enumerate(kept):
        at_us = detection.finding.at_us
        if (
            number not in matched
            and judged.from_us <= at_us <= judged.until_us
            and _seen_whole(detection.finding, judged)
        ):
            changes.append(Change(ChangeKind.WITHDRAWN, detection))
    return changes


def _seniority(detection: Detection) -> tuple[bool, int, int]:
    """Which of several that become one stays: one that was kept before (a positive id), then the earliest."""
    number = detection.detection_id or 0
    return number < 0, detection.finding.start_us, number


def _same_episode(one: Finding, other: Finding, gap_us: int) -> bool:
    return (
        (one.kind, one.subject) == (other.kind, other.subject)
        and one.start_us - gap_us <= other.end_us
        and other.start_us - gap_us <= one.end_us
    )


def _seen_whole(finding: Finding, judged: Judged) -> bool:
    # Not merely seen: near the ends of what was seen a detector cannot tell, and what it leaves out there still stands.
    return judged.from_us <= finding.start_us and finding.end_us <= judged.until_us
