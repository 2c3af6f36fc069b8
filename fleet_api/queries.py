"""Typed reads and writes of the HTTP interface. Connection first, frozen dataclasses back, never a commit."""

import math
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, TypeVar

from psycopg.rows import class_row

from fleet_core import sql
from fleet_core.db import Connection

_SQL: Final = sql.load("fleet_api")

Row = TypeVar("Row")


@dataclass(frozen=True, slots=True)
class Vehicle:
    """What people keep about a vehicle. Times are UTC."""

    vehicle_id: str
    plate: str | None
    vin: str | None
    model: str | None
    vehicle_class: str
    depot: str | None
    note: str | None
    registered_by: str
    registered_at: datetime
    retired_at: datetime | None
    revision: int


@dataclass(frozen=True, slots=True)
class Device:
    """A telematics unit."""

    device_id: str
    vehicle_id: str | None
    kind: str
    imei: str | None
    firmware: str | None
    note: str | None
    registered_at: datetime
    revision: int


@dataclass(frozen=True, slots=True)
class Position:
    """Newest state of a vehicle. `device_time`, `lat_deg` and `lon_deg` are those of its newest valid fix."""

    vehicle_id: str
    device_time: datetime | None
    received_at: datetime
    last_reading_at: datetime
    lat_deg: float | None
    lon_deg: float | None
    accuracy_m: float | None
    speed_kmh: float | None
    heading_deg: float | None
    ignition: bool | None
    odometer_km: float | None
    fuel_pct: float | None
    soc_pct: float | None


@dataclass(frozen=True, slots=True)
class Alarm:
    """A device-raised event. The position is None when the device sent none, or sent it in another datum."""

    vehicle_id: str
    kind: str | None
    occurred_at: datetime
    device_time: datetime
    received_at: datetime
    clock_valid: bool
    lat_deg: float | None
    lon_deg: float | None


@dataclass(frozen=True, slots=True)
class TrackPoint:
    """One stored reading with a valid fix, as it came."""

    device_time: datetime
    seq: int
    received_at: datetime
    lat_deg: float
    lon_deg: float
    accuracy_m: float | None
    speed_kmh: float | None
    heading_deg: float | None
    ignition: bool | None
    buffered: bool | None


@dataclass(frozen=True, slots=True)
class Track:
    """Chosen readings of a span in order of device time, and how many valid fixes the span has in all."""

    raw_count: int
    points: list[TrackPoint]


@dataclass(frozen=True, slots=True)
class StoreHealth:
    """Newest arrival of anything (None: nothing ever came), migration level, server version."""

    newest_received_at: datetime | None
    migration: int | None
    server_version: str


def pattern_of(text: str | None) -> str | None:
    """ILIKE pattern for `text` anywhere; its own wildcards are taken literally."""
    if not text:
        return None
    escaped = text.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
    return f"%{escaped}%"


def list_vehicles(
    connection: Connection, *, text: str | None, depot: str | None, with_retired: bool, after: str, limit: int,
    depots: list[str] | None = None,
) -> list[Vehicle]:  # fmt: skip
    """Up to `limit` vehicles whose id comes after `after` (byte order); `depots` None does not narrow."""
    parameters = {
        "pattern": pattern_of(text),
        "depot": depot,
        "depots": depots,
        "with_retired": with_retired,
        "after": after,
        "limit": limit,
    }
    return _all(connection, Vehicle, "list_vehicles", parameters)


def vehicle_by_id(connection: Connection, vehicle_id: str) -> Vehicle | None:
    """One vehicle, or None."""
    return _one(connection, Vehicle, "vehicle_by_id", {"vehicle_id": vehicle_id})


def insert_vehicle(connection: Connection, values: dict[str, Any]) -> Vehicle | None:
    """Create a vehicle and tell the live feed. None: the id is taken. psycopg.errors.UniqueViolation: the plate is."""
    _list_depot(connection, values["depot"])
    vehicle = _one(connection, Vehicle, "insert_vehicle", values)
    if vehicle is not None:
        connection.execute(_SQL["ring_vehicles_changed"])
    return vehicle


def update_vehicle(connection: Connection, values: dict[str, Any]) -> Vehicle | None:
    """Write all editable fields and tell the live feed. None: `revision` is not the stored one."""
    _list_depot(connection, values["depot"])
    vehicle = _one(connection, Vehicle, "update_vehicle", values)
    if vehicle is not None:
        connection.execute(_SQL["ring_vehicles_changed"])
    return vehicle


def list_devices(
    connection: Connection, *, text: str | None, vehicle_id: str | None, after: str, limit: int,
    depots: list[str] | None = None,
) -> list[Device]:  # fmt: skip
    """Up to `limit` devices whose id comes after `after` (byte order); `depots` None does not narrow."""
    parameters = {
        "pattern": pattern_of(text),
        "vehicle_id": vehicle_id,
        "after": after,
        "limit": limit,
        "depots": depots,
    }
    return _all(connection, Device, "list_devices", parameters)


def device_by_id(connection: Connection, device_id: str) -> Device | None:
    """One device, or None."""
    return _one(connection, Device, "device_by_id", {"device_id": device_id})


def insert_device(connection: Connection, values: dict[str, Any]) -> Device | None:
    """Create a device. None: the id is taken. psycopg.errors.ForeignKeyViolation: there is no such vehicle."""
    return _one(connection, Device, "insert_device", values)


def update_device(connection: Connection, values: dict[str, Any]) -> Device | None:
    """Write all editable fields. None: `revision` is not the stored one."""
    return _one(connection, Device, "update_device", values)


def latest_positions(
    connection: Connection,
    viewport: tuple[float, float, float, float] | None,
    limit: int,
    depots: list[str] | None = None,
) -> list[Position]:
    """Positions of vehicles in service by id; `viewport` is west, south, east, north in degrees."""
    west, south, east, north = viewport or (None, None, None, None)
    parameters = {"west": west, "south": south, "east": east, "north": north, "limit": limit, "depots": depots}
    return [Position(*map(_finite, row)) for row in connection.execute(_SQL["latest_positions"], parameters)]


def latest_position_of(connection: Connection, vehicle_id: str) -> Position | None:
    """Newest state of one vehicle, or None when nothing ever came from it."""
    row = connection.execute(_SQL["latest_position_of"], {"vehicle_id": vehicle_id}).fetchone()
    return None if row is None else Position(*map(_finite, row))


def recent_alarms(
    connection: Connection, vehicle_id: str | None, limit: int, depots: list[str] | None = None
) -> list[Alarm]:
    """Newest alarms, newest first; `depots` None does not narrow."""
    parameters = {"vehicle_id": vehicle_id, "limit": limit, "depots": depots}
    rows = connection.execute(_SQL["recent_alarms"], parameters).fetchall()
    return [alarm_of(*row) for row in rows]


def alarm_of(  # noqa: PLR0917  the columns of a row, in order
    vehicle_id: str,
    kind: str | None,
    occurred_at: datetime,
    device_time: datetime,
    received_at: datetime,
    clock_valid: bool,
    lat: object,
    lon: object,
    crs: object,
) -> Alarm:
    """An alarm from a row. `lat`, `lon` and `crs` are what the device wrote, so they are believed only when sound."""
    lat_deg, lon_deg = _degrees(lat, 90.0), _degrees(lon, 180.0)
    placed = crs in (None, "wgs84") and lat_deg is not None and lon_deg is not None and (lat_deg, lon_deg) != (0.0, 0.0)
    return Alarm(
        vehicle_id,
        kind,
        occurred_at,
        device_time,
        received_at,
        clock_valid,
        lat_deg if placed else None,
        lon_deg if placed else None,
    )


def track(connection: Connection, vehicle_id: str, since: datetime, until: datetime, max_points: int) -> Track:
    """Readings with a valid fix in [since, until), at most `max_points` of them, all of them stored rows."""
    parameters = {"vehicle_id": vehicle_id, "since": since, "until": until, "max_points": max_points}
    rows = connection.execute(_SQL["track"], parameters).fetchall()
    return Track(rows[0][0] if rows else 0, [TrackPoint(*map(_finite, row[1:])) for row in rows])


def store_health(connection: Connection) -> StoreHealth:
    """Read what /api/health states about the store."""
    row = connection.execute(_SQL["health"]).fetchone()
    assert row is not None
    return StoreHealth(*row)


def _list_depot(connection: Connection, depot: str | None) -> None:
    if depot is not None:
        connection.execute(_SQL["list_depot"], {"depot": depot})


def _one(connection: Connection, kind: type[Row], block: str, parameters: dict[str, Any]) -> Row | None:
    found = _all(connection, kind, block, parameters)
    return found[0] if found else None


def _all(connection: Connection, kind: type[Row], block: str, parameters: dict[str, Any]) -> list[Row]:
    with connection.cursor(row_factory=class_row(kind)) as cursor:
        return cursor.execute(_SQL[block], parameters).fetchall()


def _finite(value: Any) -> Any:
    # JSON has no NaN: absent is null.
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _degrees(value: object, bound: float) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if math.isfinite(value) and abs(value) <= bound else None
