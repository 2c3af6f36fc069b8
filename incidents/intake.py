"""Evidence becomes incidents: what belongs together joins one case, whose level follows from all of it.

Called by whoever has evidence: ingest (detections, alarms), the API (reports, weather), the worker (sweeps). Connection
first, never a commit. Every decision is a line of the case's timeline, with its reason and the version of the rule.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Final, Protocol

import msgspec

from fleet_core import sql
from fleet_core.db import Connection
from incidents import case_rows, fusion, kinds, mass, timeline
from incidents.case_rows import Incident
from incidents.detector import Reason
from incidents.drills import is_drill
from incidents.fusion import Evidence, Grade
from incidents.kept import Kept, reasons_json
from incidents.reconcile import ChangeKind
from incidents.stored import instant

_SQL: Final = sql.load("incidents", "intake.sql")
# First half of the advisory lock key of a vehicle; any number that nothing else in the database uses.
_LOCK_CLASS: Final = 0x666C7433
# Detections of another family this close to a collision are told in it: how it was driven just before.
_CONTEXT_S: Final = 60.0

ACTOR: Final = f"machine:{fusion.NAME} v{fusion.VERSION}"

_encode: Final = msgspec.json.Encoder().encode
_decode: Final = msgspec.json.Decoder().decode


class Response(Protocol):
    """What is started when a case opens or changes its level: notifications, escalation, obligations."""

    def opened(self, connection: Connection, incident_id: int, now: datetime) -> None:
        """A case was opened."""
        ...

    def level_changed(self, connection: Connection, incident_id: int, before: int, now: datetime) -> None:
        """A case went up or down."""
        ...

    def reopened(self, connection: Connection, incident_id: int, now: datetime) -> None:
        """A closed case is open again."""
        ...


@dataclass(frozen=True, slots=True)
class Piece:
    """A piece of evidence on its way into a case. `stale`: too old to open one."""

    vehicle_id: str
    evidence: Evidence
    reasons: tuple[Reason, ...] = ()
    stale: bool = False


@dataclass
class Outcome:
    """What intake did: the incidents it opened or touched."""

    opened: list[int] = field(default_factory=list)
    touched: list[int] = field(default_factory=list)

    @property
    def anything(self) -> bool:
        """Whether any incident changed."""
        return bool(self.opened or self.touched)


class Intake:
    """Gathers evidence. Holds no state of its own."""

    def __init__(self, response: Response) -> None:
        self._response = response

    def detections(self, connection: Connection, kept: Sequence[Kept], now: datetime) -> Outcome:
        """Take up what a judgement changed."""
        outcome = Outcome()
        # In order of vehicles, so that two who lock several do not wait for each other.
        for item in sorted(kept, key=lambda one: one.change.detection.vehicle_id):
            detection = item.change.detection
            assert detection.detection_id is not None
            if item.change.kind is ChangeKind.FOUND:
                finding = detection.finding
                evidence = Evidence(
                    "detection", str(detection.detection_id), finding.kind, finding.level, finding.score,
                    finding.at_us, finding.end_us, finding.values,
                )  # fmt: skip
                self._take(connection, Piece(detection.vehicle_id, evidence, finding.reasons, item.stale), now, outcome)
            else:
                self._rejudged(connection, item, now, outcome)
        return outcome

    def pieces(self, connection: Connection, pieces: Sequence[Piece], now: datetime) -> Outcome:
        """Take up evidence that is no detection: alarms, reports."""
        outcome = Outcome()
        for piece in sorted(pieces, key=lambda one: one.vehicle_id):
            self._take(connection, piece, now, outcome)
        return outcome

    def lower(self, connection: Connection, now: datetime) -> list[int]:
        """Lower cases whose evidence has supported only less for long enough. Returns their ids."""
        since = now - timedelta(seconds=kinds.LOWER_AFTER_S)
        lowered = []
        for incident_id, level in connection.execute(_SQL["lowering_due"], {"since": since}).fetchall():
            incident = case_rows.incident(connection, "incident_by_id", {"incident_id": incident_id})
            assert incident is not None
            why = f"evidence has supported no more than level {level} for {kinds.LOWER_AFTER_S:.0f} s"
            timeline.note(
                connection, incident_id, now, ACTOR, "level_lowered", reason=why, was=incident.level, level=level
            )
            case_rows.regrade(connection, replace(incident, level=level, lower_level=None, lower_since=None))
            self._response.level_changed(connection, incident_id, incident.level, now)
            lowered.append(incident_id)
        return lowered

    # -- one piece -----------------------------------------------------------------------------------------------------

    def _take(self, connection: Connection, piece: Piece, now: datetime, outcome: Outcome) -> None:
        kind = kinds.of(piece.evidence.kind)
        family = kinds.FAMILIES[kind.family]
        opens = not piece.stale and kind.opens_from_level is not None and piece.evidence.level >= kind.opens_from_level
        connection.execute(_SQL["lock_vehicle"], {"lock_class": _LOCK_CLASS, "vehicle_id": piece.vehicle_id})
        at, until = instant(piece.evidence.at_us), instant(piece.evidence.until_us)
        incident = case_rows.incident(
            connection,
            "incident_near",
            {"vehicle_id": piece.vehicle_id, "family": family.name, "span_from": at, "span_until": until,
             "fuse_s": family.fuse_s},
        )  # fmt: skip
        if incident is None:
            if opens:
                outcome.opened.append(self._open(connection, piece, family.name, now))
            return
        if self._attach(connection, incident.incident_id, piece, now):
            self._judge(connection, incident, now)
            outcome.touched.append(incident.incident_id)

    def _open(self, connection: Connection, piece: Piece, family: str, now: datetime) -> int:
        evidence = piece.evidence
        at = instant(evidence.at_us)
        place = connection.execute(_SQL["place_at"], {"vehicle_id": piece.vehicle_id, "at": at}).fetchone()
        measured = evidence.measured
        lat_deg, lon_deg = place or (measured.get("lat_deg"), measured.get("lon_deg"))
        delay_s = (now - at).total_seconds()
        row = connection.execute(
            _SQL["open_incident"],
            {"vehicle_id": piece.vehicle_id, "family": family, "kind": evidence.kind, "level": evidence.level,
             "score": evidence.score, "drill": is_drill(piece.vehicle_id), "occurred_at": at, "detected_at": now,
             "last_evidence_at": instant(evidence.until_us), "delay_s": delay_s, "lat_deg": lat_deg,
             "lon_deg": lon_deg},
        ).fetchone()  # fmt: skip
        assert row is not None
        incident_id: int = row[0]
        timeline.note(connection, incident_id, now, ACTOR, "opened", delay_s=round(delay_s, 1), level=evidence.level)
        self._attach(connection, incident_id, piece, now)
        if family == "collision":
            place = None if lat_deg is None or lon_deg is None else (lat_deg, lon_deg)
            self._gather_context(connection, incident_id, piece, place, now=now)
        incident = case_rows.incident(connection, "incident_by_id", {"incident_id": incident_id})
        assert incident is not None
        # Before the response starts: it must know the level that all of the evidence gives, and who stands for it.
        self._judge(connection, incident, now, quietly=True)
        if family in mass.FAMILIES and lat_deg is not None and lon_deg is not None:
            mass.join(connection, incident_id, family, self._response, now)
        self._response.opened(connection, incident_id, now)
        return incident_id

    def _attach(self, connection: Connection, incident_id: int, piece: Piece, now: datetime) -> bool:
        """Attach a piece. False when it was there before."""
        evidence = piece.evidence
        if evidence.source == "detection":
            connection.execute(
                _SQL["attach_detection"], {"incident_id": incident_id, "detection_id": int(evidence.reference)}
            )
        elif not case_rows.attach(connection, incident_id, evidence, piece.reasons, now):
            return False
        timeline.note(
            connection,
            incident_id,
            now,
            ACTOR,
            "evidence_added",
            source=evidence.source,
            reference=evidence.reference,
            evidence=evidence.kind,
            level=evidence.level,
            score=evidence.score,
            delay_s=round((now - instant(evidence.at_us)).total_seconds(), 1),
            reasons=_decode(reasons_json(piece.reasons)),
        )
        return True

    def _gather_context(
        self,
        connection: Connection,
        incident_id: int,
        piece: Piece,
        place: tuple[float, float] | None,
        *,
        now: datetime,
    ) -> None:
        """What was known before there was a case: the driving just before, the weather there, the vehicle's faults."""
        evidence, at = piece.evidence, instant(piece.evidence.at_us)
        near = {"vehicle_id": piece.vehicle_id, "span_from": at, "span_until": instant(evidence.until_us),
                "near_s": _CONTEXT_S}  # fmt: skip
        for detection_id, kind in connection.execute(_SQL["loose_detections"], near).fetchall():
            connection.execute(_SQL["attach_detection"], {"incident_id": incident_id, "detection_id": detection_id})
            timeline.note(connection, incident_id, now, ACTOR, "context_added", detection=detection_id, evidence=kind)
        if place is not None:
            for found in case_rows.weather_at(connection, at, *place):
                case_rows.attach_context(connection, incident_id, found, ACTOR, now)
        rows = connection.execute(_SQL["conditions_of"], {"vehicle_id": piece.vehicle_id, "at": at}).fetchall()
        for detection_id, level, measured, at_us in rows:
            condition = Evidence(
                "condition", str(detection_id), "condition", level, 0.0, at_us, at_us, _decode(measured)
            )
            case_rows.attach_context(connection, incident_id, condition, ACTOR, now)

    def _rejudged(self, connection: Connection, item: Kept, now: datetime, outcome: Outcome) -> None:
        detection = item.change.detection
        connection.execute(_SQL["lock_vehicle"], {"lock_class": _LOCK_CLASS, "vehicle_id": detection.vehicle_id})
        row = connection.execute(_SQL["incident_of_detection"], {"detection_id": detection.detection_id}).fetchone()
        if row is None or row[0] is None:
            if item.change.kind is ChangeKind.REVISED:
                # It may have grown grave enough to open a case.
                finding = detection.finding
                evidence = Evidence(
                    "detection", str(detection.detection_id), finding.kind, finding.level, finding.score,
                    finding.at_us, finding.end_us, finding.values,
                )  # fmt: skip
                self._take(connection, Piece(detection.vehicle_id, evidence, finding.reasons, item.stale), now, outcome)
            return
        incident = case_rows.incident(connection, "incident_by_id", {"incident_id": row[0]})
        assert incident is not None
        if item.change.kind is ChangeKind.WITHDRAWN:
            why = "part of another detection" if item.change.into is not None else "later data show otherwise"
            timeline.note(
                connection,
                incident.incident_id,
                now,
                ACTOR,
                "evidence_withdrawn",
                reason=why,
                detection=detection.detection_id,
                evidence=detection.finding.kind,
            )
        if self._judge(connection, incident, now) or item.change.kind is ChangeKind.WITHDRAWN:
            outcome.touched.append(incident.incident_id)

    # -- the level -----------------------------------------------------------------------------------------------------

    def _judge(self, connection: Connection, incident: Incident, now: datetime, *, quietly: bool = False) -> bool:
        """Grade a case by all its evidence. Returns whether anything of it changed."""
        evidence = case_rows.evidence_of(connection, incident.incident_id)
        graded = fusion.grade(evidence) or Grade(incident.kind, 1, 0.0, (Reason("no_evidence_stands"),))
        after = replace(
            incident,
            kind=graded.kind,
            level=max(incident.level, graded.level),
            score=graded.score,
            lower_level=None,
            lower_since=None,
            occurred_us=min([incident.occurred_us, *(one.at_us for one in evidence)]),
            last_evidence_us=max([incident.last_evidence_us, *(one.until_us for one in evidence)]),
        )
        if graded.level < incident.level and incident.level_set_by is None:
            since = incident.lower_since if incident.lower_level == graded.level else now
            after = replace(after, lower_level=graded.level, lower_since=since)
        if after == incident:
            return False
        case_rows.regrade(connection, after)
        level = after.level
        if level > incident.level:
            reasons = _decode(reasons_json(graded.reasons))
            timeline.note(
                connection,
                incident.incident_id,
                now,
                ACTOR,
                "level_raised",
                was=incident.level,
                level=level,
                reasons=reasons,
            )
        if quietly:
            return True
        if incident.closed and level > incident.level:
            connection.execute(_SQL["reopen_incident"], {"incident_id": incident.incident_id})
            why = "graver evidence came after it was closed"
            timeline.note(connection, incident.incident_id, now, ACTOR, "reopened", reason=why)
            self._response.reopened(connection, incident.incident_id, now)
        elif level != incident.level:
            self._response.level_changed(connection, incident.incident_id, incident.level, now)
        return True
