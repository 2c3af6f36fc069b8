"""What people and services tell us: reports of customers, weather warnings, geofences. Connection first, no commit."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

import msgspec
import shapely
from psycopg.rows import class_row

from fleet_core import sql
from fleet_core.db import Connection
from incidents import case_rows, timeline
from incidents.detector import Reason
from incidents.drills import is_drill
from incidents.fusion import Evidence
from incidents.intake import ACTOR, Intake, Piece, Response
from incidents.window import S

_SQL: Final = sql.load("incidents", "cases.sql")
_encode: Final = msgspec.json.Encoder().encode

# What a report weighs as evidence, by its kind. A person who reports an accident is believed before any sensor is; one
# who can drive on is not urgent. Judgement.
_LEVELS: Final = {"accident": 2, "breakdown": 1, "theft": 2, "assistance": 1}
_SCORE: Final = 0.8
# A report may be given long after the event: it opens a case all the same, because somebody waits for an answer.


@dataclass(frozen=True, slots=True)
class Report:
    """What somebody told us. `request_key` makes sending it twice harmless."""

    vehicle_id: str
    kind: str
    reported_at: datetime
    occurred_at: datetime
    told: str
    taken_by: str
    reporter: str | None = None
    contact: str | None = None
    injured: bool | None = None
    drivable: bool | None = None
    lat_deg: float | None = None
    lon_deg: float | None = None
    request_key: str | None = None


@dataclass(frozen=True, slots=True)
class Fence:
    """A geofence as people keep it; `area` is GeoJSON."""

    fence_id: str
    name: str
    area: dict[str, Any]
    rules: list[str]
    level: int
    dwell_s: float | None
    speed_limit_kmh: float | None
    vehicle_ids: list[str] | None
    retired_at: datetime | None
    revision: int
    changed_at: datetime


def vehicle_exists(connection: Connection, vehicle_id: str) -> bool:
    """Whether there is such a vehicle."""
    return connection.execute(_SQL["vehicle_exists"], {"vehicle_id": vehicle_id}).fetchone() is not None


def take_report(connection: Connection, report: Report, response: Response) -> tuple[int, int | None]:
    """Keep a report and make it evidence. Returns its id and its incident's; the same request gives the same."""
    parameters = {name: getattr(report, name) for name in Report.__dataclass_fields__}
    row = connection.execute(_SQL["insert_report"], {**parameters, "drill": is_drill(report.vehicle_id)}).fetchone()
    if row is None:
        before = connection.execute(_SQL["report_by_key"], {"request_key": report.request_key}).fetchone()
        assert before is not None
        return before[0], before[1]
    report_id: int = row[0]
    outcome = Intake(response).pieces(connection, [_piece(report, report_id)], report.reported_at)
    incident_id = next(iter([*outcome.opened, *outcome.touched]), None)
    connection.execute(_SQL["set_report_incident"], {"report_id": report_id, "incident_id": incident_id})
    if outcome.anything:
        timeline.ring(connection)
    return report_id, incident_id


def _piece(report: Report, report_id: int) -> Piece:
    at_us = round(report.occurred_at.timestamp() * S)
    level = _LEVELS[report.kind]
    reasons = [Reason("reported", {"kind": report.kind})]
    if report.injured:
        level, reasons = 3, [*reasons, Reason("injury_reported")]
    measured = {
        "injured": report.injured, "drivable": report.drivable, "told": report.told,
        "lat_deg": report.lat_deg, "lon_deg": report.lon_deg,
    }  # fmt: skip
    evidence = Evidence("report", str(report_id), report.kind, level, _SCORE, at_us, at_us, measured)
    return Piece(report.vehicle_id, evidence, tuple(reasons))


@dataclass(frozen=True, slots=True)
class Warning:  # noqa: A001  the weather service's own word
    """A weather warning: an area (GeoJSON polygon) and a span."""

    source: str
    source_key: str
    kind: str
    level: int
    area: dict[str, Any]
    valid_from: datetime
    valid_until: datetime
    told: str | None


def keep_warning(connection: Connection, warning: Warning, now: datetime) -> int:
    """Keep a warning and tell it in the collisions it may explain. Returns its id."""
    area = _encode(warning.area).decode()
    row = connection.execute(
        _SQL["upsert_warning"],
        {"source": warning.source, "source_key": warning.source_key, "kind": warning.kind, "level": warning.level,
         "area": area, "valid_from": warning.valid_from, "valid_until": warning.valid_until, "told": warning.told,
         "received_at": now},
    ).fetchone()  # fmt: skip
    assert row is not None
    warning_id: int = row[0]
    place = shapely.from_geojson(area)
    span = {"valid_from": warning.valid_from, "valid_until": warning.valid_until}
    touched = [
        (incident_id, round(occurred_at.timestamp() * S))
        for incident_id, occurred_at, lat_deg, lon_deg in connection.execute(_SQL["cases_in_time"], span).fetchall()
        if place.intersects(shapely.Point(lon_deg, lat_deg))
    ]
    for incident_id, at_us in touched:
        told = {"told": warning.told} if warning.told else {}
        evidence = Evidence("weather", str(warning_id), warning.kind, warning.level, 0.0, at_us, at_us, told)
        case_rows.attach_context(connection, incident_id, evidence, ACTOR, now)
    if touched:
        timeline.ring(connection)
    return warning_id


def warnings_from(connection: Connection, at: datetime) -> list[dict[str, Any]]:
    """Warnings that hold at some time from an instant on."""
    names = ("warning_id", "source", "source_key", "kind", "level", "area", "valid_from", "valid_until", "told",
             "received_at")  # fmt: skip
    return [dict(zip(names, row, strict=True)) for row in connection.execute(_SQL["warnings_now"], {"at": at})]


def list_fences(
    connection: Connection, *, after: str, with_retired: bool, limit: int, depots: list[str] | None = None
) -> list[Fence]:
    """Geofences by id. `depots`: those of every vehicle, and of vehicles there, which alone are named; None: all."""
    parameters = {"after": after, "with_retired": with_retired, "limit": limit, "depots": depots}
    return _fences(connection, "fences_all", parameters)


def fence_by_id(connection: Connection, fence_id: str) -> Fence | None:
    """One geofence, or None."""
    found = _fences(connection, "fence_by_id", {"fence_id": fence_id})
    return found[0] if found else None


def insert_fence(connection: Connection, values: dict[str, Any]) -> Fence | None:
    """Create a geofence. None: the id is taken."""
    found = _fences(connection, "insert_fence", {**values, "area": _encode(values["area"]).decode()})
    return found[0] if found else None


def update_fence(connection: Connection, values: dict[str, Any]) -> Fence | None:
    """Write all editable fields. None: `revision` is not the stored one."""
    found = _fences(connection, "update_fence", {**values, "area": _encode(values["area"]).decode()})
    return found[0] if found else None


def _fences(connection: Connection, name: str, parameters: dict[str, Any]) -> list[Fence]:
    with connection.cursor(row_factory=class_row(Fence)) as cursor:
        return cursor.execute(_SQL[name], parameters).fetchall()
