"""`fleet device`: register and list telematics units from the command line."""

import getpass

import click

from fleet_api import queries
from fleet_api.access import audit
from fleet_api.access.audit import Trail
from fleet_core import clock, db, settings, topics
from fleet_core.cli import Refusal

_PAGE = 500


@click.group()
def device() -> None:
    """Telematics units."""


@device.command("add")
@click.argument("device_id")
@click.option("--vehicle", "vehicle_id", required=True, help="Vehicle that carries it; created when there is none yet.")
@click.option("--kind", default="native", show_default=True, help="Codec or gateway that reads it.")
@click.option("--imei", help="15 digits.")
def add(device_id: str, vehicle_id: str, kind: str, imei: str | None) -> None:
    """Register DEVICE_ID and the vehicle that carries it."""
    topics.check_vehicle_id(vehicle_id)
    if not 1 <= len(device_id) <= 128 or not device_id.isprintable():
        raise Refusal("DEVICE_ID must be 1 to 128 printable characters")
    configured = settings.from_process()
    with db.connect(configured.database_url, "device-add") as connection:
        new_vehicle = queries.insert_vehicle(
            connection,
            {
                "vehicle_id": vehicle_id,
                "plate": None,
                "vin": None,
                "model": None,
                "vehicle_class": "car",
                "depot": None,
                "note": None,
            },
        )
        added = queries.insert_device(
            connection,
            {
                "device_id": device_id,
                "vehicle_id": vehicle_id,
                "kind": kind,
                "imei": imei,
                "firmware": None,
                "note": None,
            },
        )
        if added is None:
            raise Refusal(f"there is a device {device_id!r} already")
        trail = Trail("add_device", "device", device_id, details={"vehicle_id": vehicle_id})
        audit.write_command(connection, trail, getpass.getuser(), clock.now())
        connection.commit()
    if new_vehicle is not None:
        click.echo(f"created vehicle {vehicle_id}")
    click.echo(f"added device {device_id} ({kind}) in vehicle {vehicle_id}")


@device.command("list")
@click.option("--vehicle", "vehicle_id", help="Only those this vehicle carries.")
def list_all(vehicle_id: str | None) -> None:
    """List devices, one a line: device, vehicle, kind, IMEI."""
    configured = settings.from_process()
    after = ""
    with db.connect(configured.database_url, "device-list") as connection:
        while True:
            page = queries.list_devices(connection, text=None, vehicle_id=vehicle_id, after=after, limit=_PAGE)
            for item in page:
                click.echo("\t".join((item.device_id, item.vehicle_id or "-", item.kind, item.imei or "-")))
            if len(page) < _PAGE:
                return
            after = page[-1].device_id
