"""What a judgement changes in the store: detections found, revised, withdrawn, each with its history. No commit."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Final

import msgspec

from fleet_core import sql
from fleet_core.db import Connection
from incidents.detector import Detector, Reason
from incidents.drills import is_drill
from incidents.examine import Fault, Verdict
from incidents.reconcile import Change, ChangeKind
from incidents.stored import instant

_SQL: Final = sql.load("incidents", "stored.sql")
_encode: Final = msgspec.json.Encoder().encode

# What is withdrawn makes room for what is revised, and that for what is new: the key of an episode is unique.
_ORDER: Final = (ChangeKind.WITHDRAWN, ChangeKind.REVISED, ChangeKind.FOUND)


@dataclass(frozen=True, slots=True)
class Kept:
    """A change as it was kept. `stale`: too old when first judged to open anything."""

    change: Change
    stale: bool


def keep(
    connection: Connection, verdict: Verdict, detectors: Mapping[str, Detector], judged_at: datetime
) -> list[Kept]:
    """Write a verdict. Returns its changes with the ids that new detections were given, in the order written."""
    kept: list[Kept] = []
    for kind in _ORDER:
        for change in verdict.changes:
            if change.kind is kind:
                kept.append(_keep_one(connection, change, detectors[change.detection.detector], judged_at))
    for fault in verdict.faults:
        _note_fault(connection, fault, detectors[fault.detector], judged_at)
    return kept


def _keep_one(connection: Connection, change: Change, detector: Detector, judged_at: datetime) -> Kept:
    detection = change.detection
    finding = detection.finding
    stale = (judged_at - instant(finding.end_us)).total_seconds() > detector.stale_after_s
    row: dict[str, Any] = {
        "detection_id": detection.detection_id,
        "vehicle_id": detection.vehicle_id,
        "kind": finding.kind,
        "subject": finding.subject,
        "detector": detection.detector,
        "version": detection.version,
        "level": finding.level,
        "score": finding.score,
        "started_at": instant(finding.start_us),
        "occurred_at": instant(finding.at_us),
        "ended_at": instant(finding.end_us),
        "measured": _encode(finding.values).decode(),
        "reasons": reasons_json(finding.reasons),
        "revisit_at": None if finding.revisit_us is None else instant(finding.revisit_us),
        "judged_at": judged_at,
        "stale": stale,
        "drill": is_drill(detection.vehicle_id),
    }
    if change.kind is ChangeKind.FOUND:
        found = connection.execute(_SQL["find_detection"], row).fetchone()
        assert found is not None
        row["detection_id"] = found[0]
        detection = replace(detection, detection_id=found[0])
    else:
        name = "revise_detection" if change.kind is ChangeKind.REVISED else "withdraw_detection"
        connection.execute(_SQL[name], row)
    into = change.into.detection_id if change.into is not None else None
    connection.execute(_SQL["note_judgement"], {**row, "change": change.kind.value, "into_detection": into})
    return Kept(replace(change, detection=detection), stale)


def _note_fault(connection: Connection, fault: Fault, detector: Detector, failed_at: datetime) -> None:
    connection.execute(
        _SQL["note_fault"],
        {
            "detector": fault.detector,
            "version": detector.version,
            "vehicle_id": fault.vehicle_id,
            "span_from": instant(fault.from_us),
            "span_until": instant(fault.until_us),
            "error": fault.error,
            "failed_at": failed_at,
        },
    )


def reasons_json(reasons: Sequence[Reason]) -> str:
    """Reasons as they are stored: [{"code", "values"?}]."""
    told = [{"code": reason.code, **({"values": dict(reason.values)} if reason.values else {})} for reason in reasons]
    return _encode(told).decode()
