"""New credentials of a device as they are told once, and the certificate that belongs to them."""

import secrets
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Final

import click

from fleet_core import clock
from fleet_core.cli import Refusal
from fleet_core.device_access.issue import Issued
from fleet_core.device_access.rights import rights_of

_CLIENT_ID_RANDOM_BYTES: Final = 6


@dataclass(frozen=True, slots=True)
class CertificateFiles:
    """Where the files of a certificate lie."""

    certificate: Path
    key: Path
    authority: Path


@dataclass(frozen=True, slots=True)
class Shown:
    """What whoever sets a device up needs."""

    device_id: str
    vehicle_id: str
    mqtt_user: str
    mqtt_password: str
    # A broker gives a session to whoever comes with its client id: one that cannot be guessed stays the device's own.
    client_id: str
    publish: tuple[str, ...]
    subscribe: tuple[str, ...]
    certificate: str | None
    key: str | None
    authority: str | None


class CertificateFolder:
    """The authority's folder of one command. Without a folder there is no certificate."""

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder
        self._now = clock.now()
        self.ends_at = None if folder is None else self._ends_at(folder)

    def issue(self, name: str) -> CertificateFiles | None:
        """Issue a client certificate and write it."""
        if self._folder is None:
            return None
        from fleet_core.device_access import certificates  # noqa: PLC0415  only where one is asked for

        try:
            issued = certificates.issue_client(certificates.authority(self._folder, self._now), name, self._now)
            # In a folder of their own: a vehicle may be called `ca`.
            certificate, key = certificates.write(self._folder / "devices", name, issued)
        except certificates.CertificateError as error:
            raise Refusal(str(error)) from None
        except OSError as error:
            raise Refusal(f"{error.filename or self._folder}: {error.strerror}") from None
        return CertificateFiles(certificate, key, self._folder / "ca.pem")

    def _ends_at(self, folder: Path) -> datetime:
        from fleet_core.device_access import certificates  # noqa: PLC0415

        try:
            return certificates.client_ends_at(certificates.authority(folder, self._now), self._now)
        except certificates.CertificateError as error:
            raise Refusal(str(error)) from None


def shown(  # noqa: PLR0917  each is a thing shown
    issued: Issued, device_id: str, vehicle_id: str, kind: str, partitions: int, paths: CertificateFiles | None
) -> Shown:
    """Everything about new credentials."""
    rights = rights_of(vehicle_id, kind, partitions)
    return Shown(
        device_id,
        vehicle_id,
        issued.mqtt_user,
        issued.password,
        f"{issued.mqtt_user}-{secrets.token_hex(_CLIENT_ID_RANDOM_BYTES)}",
        rights.publish,
        rights.subscribe,
        *((str(paths.certificate), str(paths.key), str(paths.authority)) if paths else (None, None, None)),
    )


def tell(credentials: Shown) -> None:
    """Print credentials for a person."""
    click.echo(f"MQTT user       {credentials.mqtt_user}")
    click.echo(f"MQTT password   {credentials.mqtt_password}   (shown this once)")
    click.echo(f"MQTT client id  {credentials.client_id}   (or any other that cannot be guessed)")
    if credentials.certificate:
        click.echo(f"certificate     {credentials.certificate}")
        click.echo(f"its key         {credentials.key}")
        click.echo(f"authority       {credentials.authority}")
    click.echo("publishes       " + "\n                ".join(credentials.publish))
    click.echo("hears           " + "\n                ".join(credentials.subscribe))
    click.echo(
        "The broker knows it once its accounts are written: `fleet device export`; `fleet up` does it by itself."
    )
