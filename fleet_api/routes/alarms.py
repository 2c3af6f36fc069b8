"""/api/alarms: what devices raised, to look up what a live connection missed."""

from dataclasses import asdict
from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import BaseModel, Field

from fleet_api import queries
from fleet_api.access.admission import Caller, allowed
from fleet_api.access.roles import EVERYONE, Scope
from fleet_api.requests import Transaction, VehicleId
from fleet_api.times import Utc

router = APIRouter(prefix="/api/alarms", tags=["alarms"])


class AlarmOut(BaseModel):
    """A device-raised event."""

    vehicle_id: str
    kind: str | None = Field(description="crash, sos, airbag, tow, unplug, jamming, door, ...")
    occurred_at: Utc = Field(description="device_time, or received_at when the device's clock was not set.")
    device_time: Utc
    received_at: Utc
    clock_valid: bool
    lat_deg: float | None = Field(description="WGS-84; null when the device sent no usable position.")
    lon_deg: float | None


class AlarmList(BaseModel):
    """Newest first."""

    alarms: list[AlarmOut]


@router.get("", summary="Newest alarms", dependencies=[allowed(*EVERYONE, scope=Scope.READ, history=True)])
def recent_alarms(
    connection: Transaction,
    who: Caller,
    vehicle_id: Annotated[VehicleId | None, Query(description="Only this vehicle's.")] = None,
    limit: Annotated[int, Query(ge=1, le=500, description="Most alarms to answer.")] = 50,
) -> AlarmList:
    """Alarms, newest first. As they come they are pushed through the WebSocket `/api/live`."""
    found = queries.recent_alarms(connection, vehicle_id, limit, who.depot_list)
    return AlarmList(alarms=[AlarmOut(**asdict(alarm)) for alarm in found])
