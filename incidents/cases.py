"""Reads of incidents and detections, for people: lists, one case whole, counts. Connection first, never a commit."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, TypeVar

from psycopg.rows import class_row

from fleet_core import sql
from fleet_core.db import Connection

_SQL: Final = sql.load("incidents", "cases.sql")

# For the live feed, which reads by itself: incidents that no earlier read could see.
CHANGED_CASES: Final = _SQL["changed_cases"]

Row = TypeVar("Row")


@dataclass(frozen=True, slots=True)
class Case:
    """An incident as a list shows it. Times are UTC."""

    incident_id: int
    vehicle_id: str
    plate: str | None
    depot: str | None
    family: str
    kind: str
    level: int
    score: float
    status: str
    drill: bool
    occurred_at: datetime
    detected_at: datetime
    last_evidence_at: datetime
    delay_s: float
    lat_deg: float | None
    lon_deg: float | None
    acknowledged_at: datetime | None
    acknowledged_by: str | None
    assigned_to: str | None
    closed_at: datetime | None
    closed_by: str | None
    close_reason: str | None
    level_set_by: str | None
    mass_incident_id: int | None
    policy_version: str | None
    revision: int


@dataclass(frozen=True, slots=True)
class TimelineEvent:
    """One line of an incident's timeline."""

    event_id: int
    at: datetime
    actor: str
    kind: str
    reason: str | None
    data: dict[str, Any]


@dataclass(frozen=True, slots=True)
class KeptDetection:
    """A detection as it stands."""

    detection_id: int
    vehicle_id: str
    kind: str
    subject: str
    detector: str
    version: int
    level: int
    score: float
    started_at: datetime
    occurred_at: datetime
    ended_at: datetime
    measured: dict[str, Any]
    reasons: list[dict[str, Any]]
    first_judged_at: datetime
    delay_s: float
    judged_at: datetime
    stale: bool
    standing: bool
    drill: bool
    incident_id: int | None


@dataclass(frozen=True, slots=True)
class KeptEvidence:
    """Evidence that is no detection."""

    evidence_id: int
    source: str
    reference: str
    kind: str
    level: int
    score: float
    occurred_at: datetime
    attached_at: datetime
    measured: dict[str, Any]
    reasons: list[dict[str, Any]]


@dataclass(frozen=True, slots=True)
class KindCount:
    """Incidents of a kind in a span. Medians in seconds from detection; None while there is none."""

    kind: str
    family: str
    incidents: int
    level_1: int
    level_2: int
    level_3: int
    dismissed: int
    vehicles: int
    median_acknowledge_s: float | None
    median_close_s: float | None
    newest_at: datetime


@dataclass(frozen=True, slots=True)
class DrillAnswer:
    """How an incident of a drill was answered. Seconds from the event to `known_s`, from then on to the others."""

    incident_id: int
    vehicle_id: str
    kind: str
    level: int
    status: str
    occurred_at: datetime
    detected_at: datetime
    known_s: float
    first_notice_s: float | None
    acknowledged_s: float | None
    closed_s: float | None
    acknowledged_by: str | None
    notices_sent: int
    notices_failed: int
    roles_called: list[str]


@dataclass(frozen=True, slots=True)
class Narrow:
    """What a list is narrowed to; None does not narrow. `before` is the last row of the page before."""

    statuses: list[str] | None = None
    min_level: int | None = None
    vehicle_id: str | None = None
    family: str | None = None
    kind: str | None = None
    depot: str | None = None
    depots: list[str] | None = None
    drill: bool | None = None
    since: datetime | None = None
    until: datetime | None = None
    before: tuple[datetime, int] | None = None


def list_cases(connection: Connection, narrow: Narrow, limit: int) -> list[Case]:
    """Incidents, newest first."""
    before_at, before_id = narrow.before or (None, None)
    parameters = {
        "statuses": narrow.statuses, "min_level": narrow.min_level, "vehicle_id": narrow.vehicle_id,
        "family": narrow.family, "kind": narrow.kind, "depot": narrow.depot, "depots": narrow.depots,
        "drill": narrow.drill, "since": narrow.since, "until": narrow.until, "before_at": before_at,
        "before_id": before_id, "limit": limit,
    }  # fmt: skip
    return _all(connection, Case, "list_cases", parameters)


def case_by_id(connection: Connection, incident_id: int) -> Case | None:
    """One incident, or None."""
    found = _all(connection, Case, "case_by_id", {"incident_id": incident_id})
    return found[0] if found else None


def timeline_of(connection: Connection, incident_id: int) -> list[TimelineEvent]:
    """Everything that happened to an incident, in order."""
    return _all(connection, TimelineEvent, "timeline_of", {"incident_id": incident_id})


def detections(
    connection: Connection, *, limit: int, incident_id: int | None = None, vehicle_id: str | None = None,
    kind: str | None = None, since: datetime | None = None, until: datetime | None = None, with_withdrawn: bool = False,
    depots: list[str] | None = None,
) -> list[KeptDetection]:  # fmt: skip
    """Detections, newest first; `depots` None does not narrow."""
    parameters = {
        "incident_id": incident_id, "vehicle_id": vehicle_id, "kind": kind, "since": since, "until": until,
        "with_withdrawn": with_withdrawn, "depots": depots, "limit": limit,
    }  # fmt: skip
    return _all(connection, KeptDetection, "detections_of", parameters)


def other_evidence_of(connection: Connection, incident_id: int) -> list[KeptEvidence]:
    """Evidence of an incident that is no detection."""
    return _all(connection, KeptEvidence, "other_evidence_of", {"incident_id": incident_id})


def judgements_of(connection: Connection, detection_id: int) -> list[dict[str, Any]]:
    """How a detection was judged over time: found, revised, withdrawn."""
    names = ("judged_at", "change", "version", "level", "score", "reasons", "measured", "into_detection")
    rows = connection.execute(_SQL["judgements_of"], {"detection_id": detection_id})
    return [dict(zip(names, row, strict=True)) for row in rows]


def counts(
    connection: Connection, since: datetime, until: datetime, *, drill: bool = False, depots: list[str] | None = None
) -> list[KindCount]:
    """The incident database by kind, most frequent first; `depots` None does not narrow."""
    parameters = {"since": since, "until": until, "drill": drill, "depots": depots}
    rows = connection.execute(_SQL["case_counts"], parameters)
    return [KindCount(*row) for row in rows]


def drill_report(
    connection: Connection, since: datetime, until: datetime, limit: int, *, depots: list[str] | None = None
) -> list[DrillAnswer]:
    """How incidents of drills were answered, in order of time; `depots` None does not narrow."""
    parameters = {"since": since, "until": until, "limit": limit, "depots": depots}
    rows = connection.execute(_SQL["drill_report"], parameters)
    return [DrillAnswer(*row) for row in rows]


def _all(connection: Connection, row: type[Row], name: str, parameters: dict[str, Any]) -> list[Row]:
    with connection.cursor(row_factory=class_row(row)) as cursor:
        return cursor.execute(_SQL[name], parameters).fetchall()
