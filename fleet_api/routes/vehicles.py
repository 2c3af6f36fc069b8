"""/api/vehicles: the register of vehicles, their newest positions and their tracks."""

from dataclasses import asdict
from datetime import datetime, timedelta
from typing import Annotated, Any, Final, Literal

import psycopg
from fastapi import APIRouter, Path, Query, Response
from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from fleet_api import queries
from fleet_api.access import visible
from fleet_api.access.admission import Caller, Traced, allowed
from fleet_api.access.roles import EVERYONE, KEEPERS, TRACERS, WATCHERS, Scope
from fleet_api.problems import Problem, documented
from fleet_api.requests import (
    Cursor,
    Limit,
    LongText,
    Revision,
    Search,
    ShortText,
    Transaction,
    VehicleId,
    no_such,
    parse_viewport,
    stale_revision,
)
from fleet_api.routes.devices import DeviceOut, device_out
from fleet_api.times import Utc, Zoned
from fleet_core import clock

router = APIRouter(prefix="/api/vehicles", tags=["vehicles"])

_READERS: Final = allowed(*EVERYONE, scope=Scope.READ)
_WATCHERS: Final = allowed(*WATCHERS, scope=Scope.READ)
_TRACERS: Final = allowed(*TRACERS, scope=Scope.READ, history=True)
_KEEPERS: Final = allowed(*KEEPERS, scope=Scope.FLEET)

MAX_TRACK_DAYS: Final = 31
MAX_TRACK_POINTS: Final = 20_000
MAX_LIVE: Final = 50_000

# ISO 3779: 17 characters without I, O and Q.
Vin = Annotated[str, StringConstraints(pattern=r"^[A-HJ-NPR-Z0-9]{17}$", to_upper=True, strip_whitespace=True)]
VehicleClass = Literal["car", "van", "heavy"]


class VehicleOut(BaseModel):
    """A vehicle as people keep it."""

    vehicle_id: str
    plate: str | None
    vin: str | None
    model: str | None
    vehicle_class: VehicleClass
    depot: str | None
    note: str | None
    registered_by: Literal["first_sight", "people"] = Field(
        description="first_sight: registered when its first message came; people: created here."
    )
    registered_at: Utc
    retired_at: Utc | None
    revision: int = Field(description="Goes up with every edit; send it back when you edit.")


class PositionOut(BaseModel):
    """Newest state of a vehicle; fields it never reported are null."""

    vehicle_id: str
    device_time: Utc | None = Field(description="Device's own time of its newest valid fix.")
    received_at: Utc = Field(description="When its newest reading of any kind arrived.")
    last_reading_at: Utc = Field(description="Device's time of its newest reading, with or without a fix.")
    lat_deg: float | None = Field(description="WGS-84.")
    lon_deg: float | None = Field(description="WGS-84.")
    accuracy_m: float | None
    speed_kmh: float | None
    heading_deg: float | None = Field(description="0 is north, clockwise.")
    ignition: bool | None
    odometer_km: float | None
    fuel_pct: float | None
    soc_pct: float | None


class VehiclePage(BaseModel):
    """One page of vehicles by id."""

    vehicles: list[VehicleOut]
    next_cursor: str | None = Field(description="Send it as `cursor` for the next page; null on the last.")


class VehicleDetail(VehicleOut):
    """A vehicle with its newest state and the devices it carries."""

    position: PositionOut | None
    devices: list[DeviceOut]


class VehicleNew(BaseModel):
    """What a new vehicle needs."""

    model_config = ConfigDict(extra="forbid")

    vehicle_id: VehicleId
    plate: ShortText | None = None
    vin: Vin | None = None
    model: ShortText | None = None
    vehicle_class: VehicleClass = "car"
    depot: ShortText | None = None
    note: LongText | None = None


class VehicleEdit(BaseModel):
    """Fields to change; those left out stay as they are, null empties them."""

    model_config = ConfigDict(extra="forbid")

    revision: Revision
    plate: ShortText | None = None
    vin: Vin | None = None
    model: ShortText | None = None
    vehicle_class: VehicleClass = "car"
    depot: ShortText | None = None
    note: LongText | None = None
    retired: bool = Field(default=False, description="true takes it out of service, false brings it back.")


class LivePositions(BaseModel):
    """Newest position of every vehicle in service that ever had a fix."""

    server_time: Utc
    truncated: bool = Field(description="Whether there are more vehicles than `limit`.")
    vehicles: list[PositionOut]


class TrackPointOut(BaseModel):
    """One stored reading, unaltered."""

    device_time: Utc
    seq: str = Field(description="64-bit counter of the reading, as decimal text: it does not fit a JavaScript number.")
    received_at: Utc
    lat_deg: float
    lon_deg: float
    accuracy_m: float | None
    speed_kmh: float | None
    heading_deg: float | None
    ignition: bool | None
    buffered: bool | None = Field(description="Stored on the device first and sent later.")


class TrackOut(BaseModel):
    """Readings with a valid fix, in order of device time."""

    model_config = ConfigDict(validate_by_name=True)

    vehicle_id: str
    from_: Utc = Field(serialization_alias="from")
    to: Utc
    raw_count: int = Field(description="Valid fixes stored in the span.")
    returned_count: int
    downsampled: bool = Field(
        description="Whether rows were left out. Every point is a stored row all the same: of each run of consecutive "
        "fixes the first, last, fastest, slowest and the one farthest off the straight line are kept."
    )
    points: list[TrackPointOut]


@router.get("", summary="List vehicles", dependencies=[_READERS])
def list_vehicles(
    connection: Transaction,
    who: Caller,
    *,
    q: Search = None,
    depot: Annotated[str | None, Query(max_length=100, description="Only this depot.")] = None,
    with_retired: Annotated[bool, Query(description="Also vehicles out of service.")] = False,
    cursor: Cursor = "",
    limit: Limit = 100,
) -> VehiclePage:
    """Vehicles by id, a page at a time. `q` is looked for in id, plate, VIN and model."""
    found = queries.list_vehicles(
        connection, text=q, depot=depot, depots=who.depot_list, with_retired=with_retired, after=cursor, limit=limit + 1
    )
    page = found[:limit]
    return VehiclePage(
        vehicles=[VehicleOut(**asdict(vehicle)) for vehicle in page],
        next_cursor=page[-1].vehicle_id if len(found) > limit else None,
    )


@router.post("", status_code=201, summary="Create a vehicle", dependencies=[_KEEPERS], responses=documented(409))
def create_vehicle(
    connection: Transaction, who: Caller, traced: Traced, body: VehicleNew, response: Response
) -> VehicleOut:
    """Create a vehicle. A vehicle that ingest registered on first sight exists already: edit it instead."""
    if body.vehicle_id == "live":
        raise Problem(422, "vehicle_id: `live` is the address of the snapshot of all vehicles.", "vehicle_id")
    visible.require_depot(who, body.depot)
    try:
        vehicle = queries.insert_vehicle(connection, body.model_dump())
    except psycopg.errors.UniqueViolation:
        raise _plate_taken(body.plate) from None
    if vehicle is None:
        raise Problem(409, f"There is a vehicle {body.vehicle_id!r} already.", "vehicle_id")
    traced.about("vehicle", vehicle.vehicle_id, depot=vehicle.depot)
    response.headers["Location"] = f"/api/vehicles/{vehicle.vehicle_id}"
    return VehicleOut(**asdict(vehicle))


@router.get("/live", summary="Newest positions of all vehicles", dependencies=[_WATCHERS])
def live_positions(
    connection: Transaction,
    who: Caller,
    viewport: Annotated[
        str | None,
        Query(
            description="west,south,east,north in degrees; west above east crosses 180 degrees.",
            examples=["121.4,31.2,121.6,31.3"],
        ),
    ] = None,
    limit: Annotated[int, Query(ge=1, le=MAX_LIVE, description="Most vehicles to answer.")] = 10_000,
) -> LivePositions:
    """A snapshot from the store. For positions as they come use the WebSocket `/api/live`."""
    box = parse_viewport(viewport)
    found = queries.latest_positions(connection, box, limit + 1, who.depot_list)
    return LivePositions(
        server_time=clock.now(),
        truncated=len(found) > limit,
        vehicles=[PositionOut(**asdict(position)) for position in found[:limit]],
    )


@router.get("/{vehicle_id}", summary="Read a vehicle", dependencies=[_READERS], responses=documented(404))
def read_vehicle(connection: Transaction, vehicle_id: Annotated[VehicleId, Path()]) -> VehicleDetail:
    """A vehicle, its newest state, its devices."""
    vehicle = queries.vehicle_by_id(connection, vehicle_id)
    if vehicle is None:
        raise no_such("vehicle", vehicle_id)
    position = queries.latest_position_of(connection, vehicle_id)
    devices = queries.list_devices(connection, text=None, vehicle_id=vehicle_id, after="", limit=100)
    return VehicleDetail(
        **asdict(vehicle),
        position=None if position is None else PositionOut(**asdict(position)),
        devices=[device_out(device) for device in devices],
    )


@router.patch("/{vehicle_id}", summary="Edit a vehicle", dependencies=[_KEEPERS], responses=documented(404, 409))
def edit_vehicle(
    connection: Transaction, who: Caller, traced: Traced, vehicle_id: Annotated[VehicleId, Path()], body: VehicleEdit
) -> VehicleOut:
    """Change the fields sent. The revision must be the stored one, so that nobody overwrites what they did not see."""
    current = queries.vehicle_by_id(connection, vehicle_id)
    if current is None:
        raise no_such("vehicle", vehicle_id)
    if current.revision != body.revision:
        raise stale_revision("vehicle", vehicle_id, body.revision, current.revision)
    values: dict[str, Any] = asdict(current) | {"retired": current.retired_at is not None}
    values |= body.model_dump(include=body.model_fields_set)
    visible.require_depot(who, values["depot"])
    traced.details["fields"] = sorted(body.model_fields_set - {"revision"})
    try:
        vehicle = queries.update_vehicle(connection, values)
    except psycopg.errors.UniqueViolation:
        raise _plate_taken(values["plate"]) from None
    if vehicle is None:
        # Another editor committed between our read and our write.
        latest = queries.vehicle_by_id(connection, vehicle_id)
        assert latest is not None
        raise stale_revision("vehicle", vehicle_id, body.revision, latest.revision)
    return VehicleOut(**asdict(vehicle))


@router.get("/{vehicle_id}/track", summary="Where a vehicle was", dependencies=[_TRACERS], responses=documented(404))
def read_track(
    connection: Transaction,
    traced: Traced,
    vehicle_id: Annotated[VehicleId, Path()],
    *,
    since: Annotated[
        Zoned, Query(alias="from", description="Begin of the span, ISO 8601 with zone, included. Device time.")
    ],
    until: Annotated[Zoned, Query(alias="to", description="End of the span, ISO 8601 with zone, not included.")],
    max_points: Annotated[int, Query(ge=10, le=MAX_TRACK_POINTS, description="Most points to answer.")] = 2000,
) -> TrackOut:
    """Stored readings with a valid fix, thinned in the database when there are more than `max_points`."""
    _check_span(since, until)
    if queries.vehicle_by_id(connection, vehicle_id) is None:
        raise no_such("vehicle", vehicle_id)
    traced.details |= {"from": since.isoformat(), "to": until.isoformat()}
    track = queries.track(connection, vehicle_id, since, until, max_points)
    points = [TrackPointOut(**(asdict(point) | {"seq": str(point.seq)})) for point in track.points]
    return TrackOut(
        vehicle_id=vehicle_id,
        from_=since,
        to=until,
        raw_count=track.raw_count,
        returned_count=len(points),
        downsampled=len(points) < track.raw_count,
        points=points,
    )


def _check_span(since: datetime, until: datetime) -> None:
    if until <= since:
        raise Problem(422, "to: the end of the span must come after its begin.", "to")
    if until - since > timedelta(days=MAX_TRACK_DAYS):
        raise Problem(422, f"to: a span is at most {MAX_TRACK_DAYS} days.", "to")


def _plate_taken(plate: str | None) -> Problem:
    return Problem(409, f"Another vehicle in service carries the plate {plate!r}.", "plate")
