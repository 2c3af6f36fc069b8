"""/api/incidents: the cases people work on. Reading here; what people do to them is in incident_actions.py."""

from dataclasses import asdict
from datetime import datetime, timedelta
from typing import Annotated, Any, Final, Literal

from fastapi import APIRouter, Path, Query
from pydantic import BaseModel, Field

from fleet_api.access.admission import Caller, allowed
from fleet_api.access.roles import EVERYONE, Scope
from fleet_api.problems import Problem, documented
from fleet_api.requests import Limit, Transaction, VehicleId, no_such
from fleet_api.times import Utc, Zoned, rfc3339
from fleet_core import clock
from incidents import cases
from incidents.detector import Reason
from incidents.wording import LANGUAGES, reason_text

router = APIRouter(prefix="/api/incidents", tags=["incidents"])

_READERS: Final = allowed(*EVERYONE, scope=Scope.READ)

Status = Literal["open", "acknowledged", "resolved", "dismissed"]
IncidentId = Annotated[int, Path(ge=1, description="Number of the incident.")]
_MAX_COUNTED: Final = timedelta(days=3660)


class IncidentOut(BaseModel):
    """An incident as a list shows it."""

    incident_id: int
    vehicle_id: str
    plate: str | None
    depot: str | None
    family: str = Field(description="What one person works on as one case: collision, security, health, ...")
    kind: str = Field(description="Kind of its gravest evidence.")
    level: int = Field(ge=1, le=3, description="1 attention, 2 urgent, 3 emergency.")
    score: float = Field(description="How sure the evidence is, 0 to 1.")
    status: Status
    drill: bool
    occurred_at: Utc = Field(description="When the first of its evidence happened, by the vehicle's time.")
    detected_at: Utc
    last_evidence_at: Utc
    delay_s: float = Field(description="From when it happened to when it was known.")
    lat_deg: float | None
    lon_deg: float | None
    acknowledged_at: Utc | None
    acknowledged_by: str | None
    assigned_to: str | None
    closed_at: Utc | None
    closed_by: str | None
    close_reason: str | None
    level_set_by: str | None = Field(description="Who set the level by hand: machines may raise it, not lower it.")
    mass_incident_id: int | None
    policy_version: str | None
    revision: int


class ReasonOut(BaseModel):
    """Why a machine judged as it did."""

    code: str
    values: dict[str, Any]
    text: dict[str, str] = Field(description="The reason in each language.")


class DetectionOut(BaseModel):
    """What a detector said of a vehicle."""

    detection_id: int
    vehicle_id: str
    kind: str
    subject: str
    detector: str
    version: int
    level: int
    score: float
    started_at: Utc
    occurred_at: Utc
    ended_at: Utc
    measured: dict[str, Any]
    reasons: list[ReasonOut]
    first_judged_at: Utc
    delay_s: float
    judged_at: Utc
    stale: bool = Field(description="Too old when first judged to open an incident.")
    standing: bool = Field(description="False: later data showed otherwise, or it became part of another.")
    drill: bool
    incident_id: int | None


class EvidenceOut(BaseModel):
    """Evidence that is no detection: an alarm, a report, a weather warning, the vehicle's condition."""

    source: Literal["alarm", "report", "weather", "condition"]
    reference: str
    kind: str
    level: int
    score: float
    occurred_at: Utc
    attached_at: Utc
    measured: dict[str, Any]
    reasons: list[ReasonOut]


class TimelineOut(BaseModel):
    """One line of the timeline."""

    event_id: int
    at: Utc
    actor: str = Field(description="A person, or machine:rule and its version.")
    kind: str
    reason: str | None
    data: dict[str, Any]


class IncidentPage(BaseModel):
    """Newest first."""

    incidents: list[IncidentOut]
    next_cursor: str | None = Field(description="Send it as `cursor` for the next page; null on the last.")


class IncidentDetail(IncidentOut):
    """An incident with everything known about it."""

    detections: list[DetectionOut]
    evidence: list[EvidenceOut]
    timeline: list[TimelineOut]


class KindCountOut(BaseModel):
    """Incidents of a kind in a span."""

    kind: str
    family: str
    incidents: int
    level_1: int
    level_2: int
    level_3: int
    dismissed: int = Field(description="Closed as false alarms.")
    vehicles: int
    median_acknowledge_s: float | None
    median_close_s: float | None
    newest_at: Utc


class Counts(BaseModel):
    """The incident database by kind, most frequent first."""

    kinds: list[KindCountOut]


class DrillAnswerOut(BaseModel):
    """How an incident of a drill was answered."""

    incident_id: int
    vehicle_id: str
    kind: str
    level: int
    status: Status
    occurred_at: Utc
    detected_at: Utc
    known_s: float = Field(description="From the event to the moment it was known.")
    first_notice_s: float | None = Field(description="From then on to the first notice sent.")
    acknowledged_s: float | None
    closed_s: float | None
    acknowledged_by: str | None
    notices_sent: int
    notices_failed: int
    roles_called: list[str]


class DrillReport(BaseModel):
    """In order of time."""

    incidents: list[DrillAnswerOut]


def reasons_out(reasons: list[dict[str, Any]]) -> list[ReasonOut]:
    """Stored reasons with their words."""
    found = [Reason(item["code"], item.get("values", {})) for item in reasons]
    return [
        ReasonOut(
            code=reason.code,
            values=dict(reason.values),
            text={language: reason_text(reason, language) for language in LANGUAGES},
        )
        for reason in found
    ]


def detection_out(detection: cases.KeptDetection) -> DetectionOut:
    """A detection with the words of its reasons."""
    return DetectionOut(**{**asdict(detection), "reasons": reasons_out(detection.reasons)})


def detail_of(connection: Transaction, incident_id: int) -> IncidentDetail:
    """An incident whole. Raises Problem 404."""
    case = cases.case_by_id(connection, incident_id)
    if case is None:
        raise no_such("incident", str(incident_id))
    evidence = cases.other_evidence_of(connection, incident_id)
    return IncidentDetail(
        **asdict(case),
        detections=[
            detection_out(item)
            for item in cases.detections(connection, incident_id=incident_id, limit=500, with_withdrawn=True)
        ],
        evidence=[EvidenceOut(**{**asdict(item), "reasons": reasons_out(item.reasons)}) for item in evidence],
        timeline=[TimelineOut(**asdict(event)) for event in cases.timeline_of(connection, incident_id)],
    )


@router.get("", summary="List incidents", dependencies=[_READERS])
def list_incidents(
    connection: Transaction,
    who: Caller,
    *,
    status: Annotated[list[Status] | None, Query(description="Only these; may be repeated.")] = None,
    min_level: Annotated[int | None, Query(ge=1, le=3, description="Only this level and above.")] = None,
    vehicle_id: Annotated[VehicleId | None, Query(description="Only this vehicle's.")] = None,
    family: Annotated[
        str | None, Query(max_length=40, description="Only this family of kinds, for instance collision.")
    ] = None,
    kind: Annotated[str | None, Query(max_length=40, description="Only this kind.")] = None,
    depot: Annotated[str | None, Query(max_length=100, description="Only this depot's.")] = None,
    drill: Annotated[bool | None, Query(description="true only drills, false no drills.")] = None,
    since: Annotated[Zoned | None, Query(alias="from", description="Happened at or after.")] = None,
    until: Annotated[Zoned | None, Query(alias="to", description="Happened before.")] = None,
    cursor: Annotated[str | None, Query(max_length=80, description="`next_cursor` of the page before.")] = None,
    limit: Limit = 100,
) -> IncidentPage:
    """Incidents, newest first. As they change they are pushed through the WebSocket `/api/live`."""
    narrow = cases.Narrow(
        statuses=list(status) if status else None, min_level=min_level, vehicle_id=vehicle_id, family=family,
        kind=kind, depot=depot, depots=who.depot_list, drill=drill, since=since, until=until,
        before=_before(cursor),
    )  # fmt: skip
    found = cases.list_cases(connection, narrow, limit + 1)
    page = found[:limit]
    following = f"{rfc3339(page[-1].occurred_at)}/{page[-1].incident_id}" if len(found) > limit else None
    return IncidentPage(incidents=[IncidentOut(**asdict(case)) for case in page], next_cursor=following)


@router.get("/counts", summary="Incidents by kind: frequency and impact", dependencies=[_READERS])
def count_incidents(
    connection: Transaction,
    who: Caller,
    since: Annotated[Zoned, Query(alias="from", description="Happened at or after.")],
    until: Annotated[Zoned | None, Query(alias="to", description="Happened before; now when absent.")] = None,
    drill: Annotated[bool, Query(description="Count drills instead.")] = False,
) -> Counts:
    """How many incidents of each kind, how grave, how fast people answered, how many were false."""
    end = until or clock.now()
    if not since < end <= since + _MAX_COUNTED:
        raise Problem(422, "to: the end of the span must come after its begin, at most ten years.", "to")
    found = cases.counts(connection, since, end, drill=drill, depots=who.depot_list)
    return Counts(kinds=[KindCountOut(**asdict(item)) for item in found])


@router.get("/drills", summary="How drills were answered", dependencies=[_READERS])
def report_drills(
    connection: Transaction,
    who: Caller,
    since: Annotated[Zoned, Query(alias="from", description="Happened at or after.")],
    until: Annotated[Zoned | None, Query(alias="to", description="Happened before; now when absent.")] = None,
    limit: Limit = 500,
) -> DrillReport:
    """Response times of drills: when it was known, when the first notice left, when somebody acknowledged."""
    found = cases.drill_report(connection, since, until or clock.now(), limit, depots=who.depot_list)
    return DrillReport(incidents=[DrillAnswerOut(**asdict(one)) for one in found])


@router.get("/{incident_id}", summary="Read an incident", dependencies=[_READERS], responses=documented(404))
def read_incident(connection: Transaction, incident_id: IncidentId) -> IncidentDetail:
    """An incident with its detections (withdrawn ones too), other evidence and full timeline."""
    return detail_of(connection, incident_id)


def _before(cursor: str | None) -> tuple[datetime, int] | None:
    if cursor is None:
        return None
    at, _, number = cursor.partition("/")
    try:
        return datetime.fromisoformat(at), int(number)
    except ValueError:
        raise Problem(422, "cursor: not one that a page of incidents gave.", "cursor") from None
