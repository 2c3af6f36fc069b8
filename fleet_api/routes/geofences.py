"""/api/geofences: areas whose entry, exit or dwell is an incident, and whose speed limit holds inside."""

from dataclasses import asdict
from typing import Annotated, Any, Final, Literal

import msgspec
import shapely
from fastapi import APIRouter, Path, Query, Response
from pydantic import BaseModel, ConfigDict, Field

from fleet_api.access.admission import Caller, Traced, allowed
from fleet_api.access.roles import EVERYONE, PLANNERS, Scope
from fleet_api.problems import Problem, documented
from fleet_api.requests import Cursor, Limit, Revision, ShortText, Transaction, VehicleId, no_such, stale_revision
from fleet_api.times import Utc
from incidents import reports

router = APIRouter(prefix="/api/geofences", tags=["geofences"])

_PLANNERS: Final = allowed(*PLANNERS, scope=Scope.FLEET, whole_fleet=True)

Rule = Literal["entry", "exit", "dwell"]
FenceId = Annotated[str, Path(pattern=r"^[A-Za-z0-9_-]{1,64}$")]
_MOST_POINTS: Final = 5_000


class GeofenceOut(BaseModel):
    """A geofence."""

    fence_id: str
    name: str
    area: dict[str, Any] = Field(description="GeoJSON, WGS-84.")
    rules: list[Rule]
    level: int
    dwell_s: float | None
    speed_limit_kmh: float | None
    vehicle_ids: list[str] | None = Field(description="null: it concerns every vehicle.")
    retired_at: Utc | None
    revision: int
    changed_at: Utc


class GeofenceFields(BaseModel):
    """What people give."""

    model_config = ConfigDict(extra="forbid")

    name: ShortText
    area: dict[str, Any] = Field(description="GeoJSON Polygon or MultiPolygon, WGS-84.")
    rules: list[Rule] = Field(default=["entry", "exit"])
    level: int = Field(default=1, ge=1, le=3)
    dwell_s: float | None = Field(default=None, gt=0, le=30 * 86_400)
    speed_limit_kmh: float | None = Field(default=None, gt=0, le=300)
    vehicle_ids: list[VehicleId] | None = Field(default=None, max_length=10_000)


class GeofenceNew(GeofenceFields):
    """A new geofence."""

    fence_id: str = Field(pattern=r"^[A-Za-z0-9_-]{1,64}$")


class GeofenceEdit(GeofenceFields):
    """The whole geofence as it shall be."""

    revision: Revision
    retired: bool = False


class GeofencePage(BaseModel):
    """One page of geofences by id."""

    geofences: list[GeofenceOut]
    next_cursor: str | None


def checked_area(area: dict[str, Any]) -> dict[str, Any]:
    """The area itself. Raises Problem 422 with a sentence when it is no valid polygon in WGS-84."""
    try:
        shape = shapely.from_geojson(msgspec.json.encode(area).decode())
    except (shapely.errors.GEOSException, TypeError, ValueError):
        raise Problem(422, "area: not a GeoJSON geometry.", "area") from None
    if shape.geom_type not in ("Polygon", "MultiPolygon") or shape.is_empty:
        raise Problem(422, "area: expected a Polygon or MultiPolygon.", "area")
    if not shape.is_valid:
        why = shapely.is_valid_reason(shape)
        raise Problem(422, f"area: the outline crosses itself or is otherwise wrong ({why}).", "area")
    west, south, east, north = shape.bounds
    if west < -180 or east > 180 or south < -90 or north > 90:
        raise Problem(422, "area: longitudes are -180 to 180, latitudes -90 to 90.", "area")
    if shapely.get_num_coordinates(shape) > _MOST_POINTS:
        raise Problem(422, f"area: more than {_MOST_POINTS} points.", "area")
    return area


@router.get("", summary="List geofences", dependencies=[allowed(*EVERYONE, scope=Scope.READ)])
def list_geofences(
    connection: Transaction,
    who: Caller,
    with_retired: Annotated[bool, Query(description="Also those out of service.")] = False,
    cursor: Cursor = "",
    limit: Limit = 100,
) -> GeofencePage:
    """Geofences by id, a page at a time. With some depots: those of all vehicles, and of one's own, which are named."""
    found = reports.list_fences(
        connection, after=cursor, with_retired=with_retired, limit=limit + 1, depots=who.depot_list
    )
    page = found[:limit]
    return GeofencePage(
        geofences=[GeofenceOut(**asdict(fence)) for fence in page],
        next_cursor=page[-1].fence_id if len(found) > limit else None,
    )


@router.post("", status_code=201, summary="Create a geofence", dependencies=[_PLANNERS], responses=documented(409))
def create_geofence(connection: Transaction, traced: Traced, body: GeofenceNew, response: Response) -> GeofenceOut:
    """Create a geofence; it is in force within seconds."""
    fence = reports.insert_fence(connection, {**body.model_dump(), "area": checked_area(body.area)})
    if fence is None:
        raise Problem(409, f"There is a geofence {body.fence_id!r} already.", "fence_id")
    traced.about("fence", fence.fence_id)
    response.headers["Location"] = f"/api/geofences/{fence.fence_id}"
    return GeofenceOut(**asdict(fence))


@router.put(
    "/{fence_id}", summary="Change or retire a geofence", dependencies=[_PLANNERS], responses=documented(404, 409)
)
def edit_geofence(connection: Transaction, fence_id: FenceId, body: GeofenceEdit) -> GeofenceOut:
    """Change a geofence. The revision must be the stored one."""
    values = {**body.model_dump(), "fence_id": fence_id, "area": checked_area(body.area)}
    fence = reports.update_fence(connection, values)
    if fence is None:
        current = reports.fence_by_id(connection, fence_id)
        if current is None:
            raise no_such("fence", fence_id)
        raise stale_revision("geofence", fence_id, body.revision, current.revision)
    return GeofenceOut(**asdict(fence))
