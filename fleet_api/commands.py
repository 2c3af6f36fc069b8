"""`fleet device`: telematics units and their accounts at the broker, from the command line."""

import json
from dataclasses import asdict
from pathlib import Path

import click

from fleet_api import queries
from fleet_api.access import operator
from fleet_api.broker_commands import broker_certificate, export
from fleet_api.shown_credentials import CertificateFolder, shown, tell
from fleet_core import db, settings, topics
from fleet_core.cli import Refusal
from fleet_core.db import Connection
from fleet_core.device_access import issue
from fleet_core.device_access import queries as access
from fleet_core.device_access.accounts import platform_of
from fleet_core.device_access.issue import AccountError
from fleet_core.device_access.queries import Credential

_PAGE = 500

_CERT_DIR = click.option(
    "--cert-dir",
    type=click.Path(path_type=Path, file_okay=False),
    help="Folder of a certificate authority, made when there is none: a client certificate is issued there too.",
)
_AS_JSON = click.option("--json", "as_json", is_flag=True, help="One JSON object.")


@click.group()
def device() -> None:
    """Telematics units, and the accounts by which they sign in at the broker."""


device.add_command(export)
device.add_command(broker_certificate)


@device.command("add")
@click.argument("vehicle_id")
@click.option("--device-id", help="Name of the unit itself, such as its IMEI; the vehicle's id when not given.")
@click.option("--kind", default="native", show_default=True, help="Codec or gateway that reads it.")
@click.option("--imei", help="15 digits.")
@click.option("--no-account", is_flag=True, help="Only register it: it is heard through a gateway.")
@_CERT_DIR
@_AS_JSON
def add(  # noqa: PLR0917  options of one command
    vehicle_id: str,
    device_id: str | None,
    kind: str,
    imei: str | None,
    no_account: bool,
    cert_dir: Path | None,
    as_json: bool,
) -> None:
    """Register a device of VEHICLE_ID, and the vehicle, and give it an account. Its password is shown this once.

    A device that was registered without an account, or whose account was revoked, gets one.
    """
    topics.check_vehicle_id(vehicle_id)
    device_id = vehicle_id if device_id is None else device_id
    if not 1 <= len(device_id) <= 128 or not device_id.isprintable():
        raise Refusal("the device's id must be 1 to 128 printable characters")
    if no_account and cert_dir:
        raise Refusal("--no-account and --cert-dir exclude each other: a certificate is a way to sign in")
    configured = settings.from_process()
    credentials = None
    with db.connect(configured.database_url, "device-add") as connection:
        created, kind = _register(connection, vehicle_id, device_id, kind, imei, may_exist=not no_account)
        if not no_account:
            folder = CertificateFolder(cert_dir)
            try:
                given = issue.give(connection, device_id, vehicle_id, platform_of(configured).user, folder.ends_at)
            except AccountError as error:
                raise Refusal(str(error)) from None
            # Before the commit: a certificate that cannot be written leaves no account behind.
            paths = folder.issue(given.mqtt_user)
            credentials = shown(given, device_id, vehicle_id, kind, configured.partitions, paths)
        account = given.mqtt_user if credentials else None
        operator.trace(connection, "add_device", "device", device_id, vehicle_id=vehicle_id, account=account)
        connection.commit()
    if as_json:
        click.echo(json.dumps(asdict(credentials) if credentials else _bare(device_id, vehicle_id)))
        return
    if created:
        click.echo(f"created vehicle {vehicle_id}")
    click.echo(f"added device {device_id} ({kind}) in vehicle {vehicle_id}")
    if credentials:
        tell(credentials)


@device.command("rotate")
@click.argument("device_id")
@_CERT_DIR
@_AS_JSON
def rotate(device_id: str, cert_dir: Path | None, as_json: bool) -> None:
    """Give DEVICE_ID a new password, and with --cert-dir a new certificate; the old ones are worth nothing."""
    configured = settings.from_process()
    with db.connect(configured.database_url, "device-rotate") as connection:
        folder = CertificateFolder(cert_dir)
        try:
            given, vehicle_id = issue.rotate(connection, device_id, platform_of(configured).user, folder.ends_at)
        except AccountError as error:
            raise Refusal(str(error)) from None
        found = queries.device_by_id(connection, device_id)
        assert found is not None, "it was locked a moment ago"
        paths = folder.issue(given.mqtt_user)
        operator.trace(connection, "rotate_device", "device", device_id, account=given.mqtt_user)
        connection.commit()
    credentials = shown(given, device_id, vehicle_id, found.kind, configured.partitions, paths)
    if as_json:
        click.echo(json.dumps(asdict(credentials)))
        return
    click.echo(f"device {device_id} of vehicle {vehicle_id} has new credentials")
    tell(credentials)


@device.command("revoke")
@click.argument("device_id")
def revoke(device_id: str) -> None:
    """Take the account of DEVICE_ID away. Its name is never given again."""
    with db.connect(settings.from_process().database_url, "device-revoke") as connection:
        name = access.revoke_credential(connection, device_id)
        if name is not None:
            operator.trace(connection, "revoke_device", "device", device_id, account=name)
        connection.commit()
    if name is None:
        raise Refusal(f"device {device_id!r} has no account")
    click.echo(f"revoked {name}, the account of device {device_id}")
    click.echo(
        "The broker knows it once its accounts are written: `fleet device export`; `fleet up` does it by itself."
    )


@device.command("list")
@click.option("--vehicle", "vehicle_id", help="Only those this vehicle carries.")
def list_all(vehicle_id: str | None) -> None:
    """List devices, one a line: device, vehicle, kind, IMEI, account, its state, end of its certificate."""
    configured = settings.from_process()
    after = ""
    with db.connect(configured.database_url, "device-list") as connection:
        while True:
            page = queries.list_devices(connection, text=None, vehicle_id=vehicle_id, after=after, limit=_PAGE)
            newest = access.newest_credentials(connection, [item.device_id for item in page])
            for item in page:
                click.echo("\t".join(_columns(item, newest.get(item.device_id))))
            if len(page) < _PAGE:
                return
            after = page[-1].device_id


def _register(
    connection: Connection, vehicle_id: str, device_id: str, kind: str, imei: str | None, *, may_exist: bool
) -> tuple[bool, str]:
    """Create vehicle and device. Returns whether the vehicle is new, and the device's kind as it is stored."""
    names = ("plate", "vin", "model", "depot", "note")
    vehicle = dict.fromkeys(names) | {"vehicle_id": vehicle_id, "vehicle_class": "car"}
    created = queries.insert_vehicle(connection, vehicle) is not None
    unit = {
        "device_id": device_id,
        "vehicle_id": vehicle_id,
        "kind": kind,
        "imei": imei,
        "firmware": None,
        "note": None,
    }
    if queries.insert_device(connection, unit) is not None:
        return created, kind
    # Locked, so that it is not put into another vehicle meanwhile.
    if not may_exist or access.lock_device(connection, device_id) != (vehicle_id,):
        raise Refusal(f"there is a device {device_id!r} already")
    stored = queries.device_by_id(connection, device_id)
    assert stored is not None, "it was locked a moment ago"
    return created, stored.kind


def _bare(device_id: str, vehicle_id: str) -> dict[str, str]:
    return {"device_id": device_id, "vehicle_id": vehicle_id}


def _columns(item: queries.Device, credential: Credential | None) -> list[str]:
    columns = [item.device_id, item.vehicle_id or "-", item.kind, item.imei or "-"]
    if credential is None:
        return [*columns, "-", "-", "-"]
    ends_at = credential.certificate_ends_at
    return [*columns, credential.mqtt_user, _state(credential, item), f"{ends_at:%Y-%m-%d}" if ends_at else "-"]


def _state(credential: Credential, item: queries.Device) -> str:
    if credential.revoked_at is not None:
        return "revoked"
    # It was given the account for another vehicle, and may speak for neither.
    return "valid" if credential.vehicle_id == item.vehicle_id else "moved"
