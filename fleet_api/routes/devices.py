"""/api/devices: telematics units and the vehicles that carry them."""

from dataclasses import asdict
from typing import Annotated, Any, Final

import psycopg
from fastapi import APIRouter, Path, Query, Response
from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from fleet_api import queries
from fleet_api.access import visible
from fleet_api.access.admission import Caller, Traced, allowed
from fleet_api.access.roles import EVERYONE, KEEPERS, Scope
from fleet_api.problems import Problem, documented
from fleet_api.requests import (
    Cursor,
    DeviceId,
    Limit,
    LongText,
    Revision,
    Search,
    ShortText,
    Transaction,
    VehicleId,
    no_such,
    stale_revision,
)
from fleet_api.times import Utc

router = APIRouter(prefix="/api/devices", tags=["devices"])

_READERS: Final = allowed(*EVERYONE, scope=Scope.READ)
_KEEPERS: Final = allowed(*KEEPERS, scope=Scope.FLEET)

Kind = Annotated[
    str,
    StringConstraints(pattern=r"^[a-z][a-z0-9_]{0,31}$"),
    Field(description="Codec or gateway that reads it.", examples=["native", "owntracks", "traccar"]),
]
Imei = Annotated[str, StringConstraints(pattern=r"^[0-9]{15}$"), Field(description="15 digits.")]


class DeviceOut(BaseModel):
    """A telematics unit."""

    device_id: str
    vehicle_id: str | None = Field(description="Vehicle that carries it; null while it lies in stock.")
    kind: str
    imei: str | None
    firmware: str | None
    note: str | None
    registered_at: Utc
    revision: int


class DevicePage(BaseModel):
    """One page of devices by id."""

    devices: list[DeviceOut]
    next_cursor: str | None


class DeviceNew(BaseModel):
    """What a new device needs."""

    model_config = ConfigDict(extra="forbid")

    device_id: DeviceId
    vehicle_id: VehicleId | None = None
    kind: Kind = "native"
    imei: Imei | None = None
    firmware: ShortText | None = None
    note: LongText | None = None


class DeviceEdit(BaseModel):
    """Fields to change; those left out stay as they are, null empties them."""

    model_config = ConfigDict(extra="forbid")

    revision: Revision
    vehicle_id: VehicleId | None = None
    kind: Kind = "native"
    imei: Imei | None = None
    firmware: ShortText | None = None
    note: LongText | None = None


def device_out(device: queries.Device) -> DeviceOut:
    """The response of a device."""
    return DeviceOut(**asdict(device))


@router.get("", summary="List devices", dependencies=[_READERS])
def list_devices(
    connection: Transaction,
    who: Caller,
    *,
    q: Search = None,
    vehicle_id: Annotated[VehicleId | None, Query(description="Only those this vehicle carries.")] = None,
    cursor: Cursor = "",
    limit: Limit = 100,
) -> DevicePage:
    """Devices by id, a page at a time. `q` is looked for in id, IMEI and firmware. Those in stock are in no depot."""
    found = queries.list_devices(
        connection, text=q, vehicle_id=vehicle_id, after=cursor, limit=limit + 1, depots=who.depot_list
    )
    page = found[:limit]
    return DevicePage(
        devices=[device_out(device) for device in page],
        next_cursor=page[-1].device_id if len(found) > limit else None,
    )


@router.post("", status_code=201, summary="Create a device", dependencies=[_KEEPERS], responses=documented(409))
def create_device(
    connection: Transaction, who: Caller, traced: Traced, body: DeviceNew, response: Response
) -> DeviceOut:
    """Create a device, in stock or in a vehicle that exists."""
    visible.require_vehicle(connection, who, body.vehicle_id, _unknown_vehicle(body.vehicle_id))
    try:
        device = queries.insert_device(connection, body.model_dump())
    except psycopg.errors.ForeignKeyViolation:
        raise _unknown_vehicle(body.vehicle_id) from None
    if device is None:
        raise Problem(409, f"There is a device {body.device_id!r} already.", "device_id")
    traced.about("device", device.device_id, vehicle_id=device.vehicle_id)
    response.headers["Location"] = f"/api/devices/{device.device_id}"
    return device_out(device)


# An id may hold a slash (`user/device` of OwnTracks), hence the :path.
@router.get("/{device_id:path}", summary="Read a device", dependencies=[_READERS], responses=documented(404))
def read_device(connection: Transaction, device_id: Annotated[DeviceId, Path()]) -> DeviceOut:
    """One device."""
    device = queries.device_by_id(connection, device_id)
    if device is None:
        raise no_such("device", device_id)
    return device_out(device)


@router.patch("/{device_id:path}", summary="Edit a device", dependencies=[_KEEPERS], responses=documented(404, 409))
def edit_device(
    connection: Transaction, who: Caller, traced: Traced, device_id: Annotated[DeviceId, Path()], body: DeviceEdit
) -> DeviceOut:
    """Change the fields sent. The revision must be the stored one."""
    current = queries.device_by_id(connection, device_id)
    if current is None:
        raise no_such("device", device_id)
    if current.revision != body.revision:
        raise stale_revision("device", device_id, body.revision, current.revision)
    values: dict[str, Any] = asdict(current) | body.model_dump(include=body.model_fields_set)
    if "vehicle_id" in body.model_fields_set:
        visible.require_vehicle(connection, who, body.vehicle_id, _unknown_vehicle(body.vehicle_id))
    traced.details["fields"] = sorted(body.model_fields_set - {"revision"})
    try:
        device = queries.update_device(connection, values)
    except psycopg.errors.ForeignKeyViolation:
        raise _unknown_vehicle(values["vehicle_id"]) from None
    if device is None:
        # Another editor committed between our read and our write.
        latest = queries.device_by_id(connection, device_id)
        assert latest is not None
        raise stale_revision("device", device_id, body.revision, latest.revision)
    return device_out(device)


def _unknown_vehicle(vehicle_id: str | None) -> Problem:
    return Problem(422, f"vehicle_id: there is no vehicle {vehicle_id!r}.", "vehicle_id")
