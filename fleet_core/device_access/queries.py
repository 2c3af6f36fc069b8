"""The statements about devices' accounts as typed functions. Connection first, never a commit."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from fleet_core import sql
from fleet_core.db import Connection
from fleet_core.device_access.accounts import Account

_SQL: Final = sql.load("fleet_core.device_access")

# Channel that rings when accounts changed (0004_device_credentials.sql).
CHANNEL: Final = "fleet_device_accounts"


@dataclass(frozen=True, slots=True)
class Credential:
    """A device's account as people see it. Times in UTC."""

    device_id: str
    mqtt_user: str
    vehicle_id: str
    certificate_ends_at: datetime | None
    issued_at: datetime
    rotated_at: datetime | None
    revoked_at: datetime | None


@dataclass(frozen=True, slots=True)
class Valid:
    """The account by which a device signs in now."""

    mqtt_user: str
    vehicle_id: str
    certificate_ends_at: datetime | None


@dataclass(frozen=True, slots=True)
class Hashes:
    """What is kept of a password."""

    nats: str
    mosquitto: str


def accounts(connection: Connection) -> list[Account]:
    """Accounts that may sign in, by name."""
    return [Account(*row) for row in connection.execute(_SQL["accounts"])]


def lock_device(connection: Connection, device_id: str) -> tuple[str | None] | None:
    """The vehicle a device is in (None in stock), held until the transaction ends; None when there is no device."""
    row = connection.execute(_SQL["lock_device"], {"device_id": device_id}).fetchone()
    return None if row is None else (row[0],)


def lock_vehicle(connection: Connection, vehicle_id: str) -> bool:
    """Hold a vehicle's row until the transaction ends. False: there is none."""
    return connection.execute(_SQL["lock_vehicle"], {"vehicle_id": vehicle_id}).fetchone() is not None


def names_given(connection: Connection, vehicle_id: str) -> set[str]:
    """Names that accounts of this vehicle ever had."""
    return {row[0] for row in connection.execute(_SQL["names_given"], {"vehicle_id": vehicle_id})}


def valid_credential(connection: Connection, device_id: str) -> Valid | None:
    """The account of a device that was not revoked, or None."""
    row = connection.execute(_SQL["valid_credential"], {"device_id": device_id}).fetchone()
    return None if row is None else Valid(*row)


def insert_credential(  # noqa: PLR0917  the columns of a row
    connection: Connection,
    mqtt_user: str,
    device_id: str,
    vehicle_id: str,
    hashes: Hashes,
    certificate_ends_at: datetime | None,
) -> None:
    """Give a device an account."""
    connection.execute(
        _SQL["insert_credential"],
        {
            "mqtt_user": mqtt_user,
            "device_id": device_id,
            "vehicle_id": vehicle_id,
            "nats_hash": hashes.nats,
            "mosquitto_hash": hashes.mosquitto,
            "certificate_ends_at": certificate_ends_at,
        },
    )


def replace_password(connection: Connection, mqtt_user: str, hashes: Hashes) -> None:
    """Give an account another password."""
    parameters = {"mqtt_user": mqtt_user, "nats_hash": hashes.nats, "mosquitto_hash": hashes.mosquitto}
    connection.execute(_SQL["replace_password"], parameters)


def revoke_credential(connection: Connection, device_id: str) -> str | None:
    """Take a device's account away. Returns its name; None: the device had none."""
    row = connection.execute(_SQL["revoke_credential"], {"device_id": device_id}).fetchone()
    return None if row is None else str(row[0])


def newest_credentials(connection: Connection, device_ids: Sequence[str]) -> dict[str, Credential]:
    """The newest account of each device that ever had one: the valid one before revoked ones."""
    rows = connection.execute(_SQL["newest_credentials"], {"device_ids": list(device_ids)})
    return {row[0]: Credential(*row) for row in rows}


def cut_off_vehicles(connection: Connection, vehicle_ids: Sequence[str]) -> set[str]:
    """Vehicles that had accounts, all of which were revoked. A vehicle that never had one is not among them."""
    return {row[0] for row in connection.execute(_SQL["cut_off_vehicles"], {"vehicle_ids": list(vehicle_ids)})}
