"""/api/reports and /api/weather: what people and the weather service tell us, as evidence."""

from typing import Annotated, Any, Final, Literal

from fastapi import APIRouter, Header, Request, Response
from pydantic import BaseModel, ConfigDict, Field, model_validator

from fleet_api.access import visible
from fleet_api.access.admission import Caller, Traced, allowed
from fleet_api.access.roles import EVERYONE, INVOLVED, RESPONDERS, Scope
from fleet_api.problems import Problem, documented
from fleet_api.requests import LongText, ShortText, Transaction, VehicleId
from fleet_api.routes.geofences import checked_area
from fleet_api.times import Utc, Zoned
from fleet_core import clock
from incidents import reports
from incidents.response.rounds import Responder

router = APIRouter(tags=["reports"])

ReportKind = Literal["accident", "breakdown", "theft", "assistance"]
WeatherKind = Literal["hail", "flood", "rain", "storm", "snow", "ice", "fog", "heat", "cold"]
RequestKey = Annotated[
    str | None,
    Header(alias="Idempotency-Key", min_length=8, max_length=100, description="Makes sending it twice harmless."),
]


class ReportNew(BaseModel):
    """What somebody told us."""

    model_config = ConfigDict(extra="forbid")

    vehicle_id: VehicleId
    kind: ReportKind
    occurred_at: Zoned = Field(description="When it happened, as far as they know.")
    told: LongText = Field(min_length=1, description="In their own words.")
    taken_by: ShortText | None = Field(default=None, description="Who took the report; whoever sends it when absent.")
    reporter: ShortText | None = None
    contact: ShortText | None = Field(default=None, description="How to reach them.")
    injured: bool | None = Field(default=None, description="Whether anybody is hurt; null when they do not know.")
    drivable: bool | None = None
    lat_deg: float | None = Field(default=None, ge=-90, le=90)
    lon_deg: float | None = Field(default=None, ge=-180, le=180)

    @model_validator(mode="after")
    def _whole_place(self) -> "ReportNew":
        if (self.lat_deg is None) != (self.lon_deg is None):
            raise ValueError("lat_deg and lon_deg must be given together")
        return self


class ReportOut(BaseModel):
    """A kept report and the incident it belongs to."""

    report_id: int
    incident_id: int | None


class WarningNew(BaseModel):
    """A weather warning for an area and a span."""

    model_config = ConfigDict(extra="forbid")

    source: ShortText = Field(examples=["cma"])
    source_key: ShortText = Field(description="The service's own id: the same one sent again replaces it.")
    kind: WeatherKind
    level: int = Field(ge=1, le=3, description="3 is the gravest (red).")
    area: dict[str, Any] = Field(description="GeoJSON Polygon or MultiPolygon, WGS-84.")
    valid_from: Zoned
    valid_until: Zoned
    told: LongText | None = None

    @model_validator(mode="after")
    def _ends_after_begin(self) -> "WarningNew":
        if self.valid_until <= self.valid_from:
            raise ValueError("valid_until must come after valid_from")
        return self


class WarningOut(BaseModel):
    """A kept warning."""

    warning_id: int
    source: str
    source_key: str
    kind: WeatherKind
    level: int
    area: dict[str, Any]
    valid_from: Utc
    valid_until: Utc
    told: str | None
    received_at: Utc


class WarningKept(BaseModel):
    """The number of a kept warning."""

    warning_id: int


class WarningList(BaseModel):
    """Soonest first."""

    warnings: list[WarningOut]


_LONGEST_AHEAD_S: Final = 300.0


@router.post(
    "/api/reports",
    status_code=201,
    summary="Take a report",
    dependencies=[allowed(*INVOLVED, scope=Scope.INCIDENTS)],
    responses=documented(404),
)
def take_report(
    request: Request,
    connection: Transaction,
    who: Caller,
    traced: Traced,
    *,
    body: ReportNew,
    response: Response,
    key: RequestKey = None,
) -> ReportOut:
    """Keep what a customer, a passer-by or our own staff told us; it joins the incident it belongs to, or opens one."""
    now = clock.now()
    if (body.occurred_at - now).total_seconds() > _LONGEST_AHEAD_S:
        raise Problem(422, "occurred_at: a report cannot be of the future.", "occurred_at")
    nowhere = Problem(404, f"There is no vehicle {body.vehicle_id!r}.", "vehicle_id")
    visible.require_vehicle(connection, who, body.vehicle_id, nowhere)
    if not reports.vehicle_exists(connection, body.vehicle_id):
        raise nowhere
    told = {**body.model_dump(), "taken_by": body.taken_by or who.user_id}
    # A key is its sender's: the same one of somebody else is another report.
    request_key = None if key is None else f"{who.user_id}:{key}"
    report = reports.Report(**told, reported_at=now, request_key=request_key)
    responder: Responder = request.app.state.responder
    report_id, incident_id = reports.take_report(connection, report, responder)
    traced.about("vehicle", body.vehicle_id, report_id=report_id, incident_id=incident_id)
    if incident_id is not None:
        response.headers["Location"] = f"/api/incidents/{incident_id}"
    return ReportOut(report_id=report_id, incident_id=incident_id)


@router.post(
    "/api/weather",
    status_code=201,
    summary="Keep a weather warning",
    dependencies=[allowed(*RESPONDERS, scope=Scope.INCIDENTS, whole_fleet=True)],
)
def keep_warning(connection: Transaction, traced: Traced, body: WarningNew) -> WarningKept:
    """Keep a warning. It is told in collisions at its place and time, those that are there and those to come."""
    warning = reports.Warning(**{**body.model_dump(), "area": checked_area(body.area)})
    kept = WarningKept(warning_id=reports.keep_warning(connection, warning, clock.now()))
    traced.about("weather", kept.warning_id)
    return kept


@router.get("/api/weather", summary="Weather warnings from now on", dependencies=[allowed(*EVERYONE, scope=Scope.READ)])
def list_warnings(connection: Transaction) -> WarningList:
    """Warnings that hold now or later."""
    return WarningList(warnings=[WarningOut(**item) for item in reports.warnings_from(connection, clock.now())])
