"""Giving, replacing and taking away the account of a device, in the caller's transaction."""

from dataclasses import dataclass
from datetime import datetime

from fleet_core.db import Connection
from fleet_core.device_access import passwords, queries
from fleet_core.device_access.accounts import next_user
from fleet_core.device_access.queries import Hashes, Valid


class AccountError(ValueError):
    """An account that cannot be given or replaced; the text says why in one sentence."""


@dataclass(frozen=True, slots=True)
class Issued:
    """What a device signs in with. The password is in no other place than this."""

    mqtt_user: str
    password: str


def keeps_name(valid: Valid, vehicle_id: str, *, with_certificate: bool) -> bool:
    """Whether a new password alone makes the old credentials worthless.

    A certificate is good until it ends, whatever the password: its name must end. So must that of another vehicle.
    """
    return valid.vehicle_id == vehicle_id and valid.certificate_ends_at is None and not with_certificate


def give(
    connection: Connection, device_id: str, vehicle_id: str, platform_user: str, certificate_ends_at: datetime | None
) -> Issued:
    """Give a device of `vehicle_id` an account. Raises AccountError when it has a valid one.

    The caller has made sure that the device is in that vehicle.
    """
    valid = queries.valid_credential(connection, device_id)
    if valid is not None and valid.vehicle_id == vehicle_id:
        raise AccountError(
            f"device {device_id} signs in as {valid.mqtt_user} already: `fleet device rotate {device_id}` gives it a "
            "new password, --device-id names another device"
        )
    return _give_new_name(connection, device_id, vehicle_id, platform_user, certificate_ends_at)


def rotate(
    connection: Connection, device_id: str, platform_user: str, certificate_ends_at: datetime | None
) -> tuple[Issued, str]:
    """Replace the credentials of a device: the old ones are worth nothing. Returns them and the device's vehicle.

    Raises AccountError for a device that is unknown, in stock, without an account, or that would lose its certificate.
    """
    found = queries.lock_device(connection, device_id)
    if found is None:
        raise AccountError(f"there is no device {device_id!r}")
    (vehicle_id,) = found
    if vehicle_id is None:
        raise AccountError(f"device {device_id} is in no vehicle")
    valid = queries.valid_credential(connection, device_id)
    if valid is None:
        raise AccountError(
            f"device {device_id} has no account to replace: `fleet device add {vehicle_id} --device-id {device_id}`"
        )
    if valid.certificate_ends_at is not None and certificate_ends_at is None:
        raise AccountError(f"device {device_id} has a certificate: --cert-dir says where a new one is issued")
    if not keeps_name(valid, vehicle_id, with_certificate=certificate_ends_at is not None):
        return _give_new_name(connection, device_id, vehicle_id, platform_user, certificate_ends_at), vehicle_id
    password = passwords.generate()
    queries.replace_password(connection, valid.mqtt_user, _hashes(password))
    return Issued(valid.mqtt_user, password), vehicle_id


def _give_new_name(
    connection: Connection, device_id: str, vehicle_id: str, platform_user: str, certificate_ends_at: datetime | None
) -> Issued:
    queries.lock_vehicle(connection, vehicle_id)
    queries.revoke_credential(connection, device_id)
    # A vehicle may have the platform's name; its device must not have the platform's rights.
    user = next_user(vehicle_id, queries.names_given(connection, vehicle_id) | {platform_user})
    password = passwords.generate()
    queries.insert_credential(connection, user, device_id, vehicle_id, _hashes(password), certificate_ends_at)
    return Issued(user, password)


def _hashes(password: str) -> Hashes:
    return Hashes(passwords.nats_hash(password), passwords.mosquitto_hash(password))
