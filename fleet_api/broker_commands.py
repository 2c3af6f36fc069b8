"""`fleet device export` and `fleet device broker-certificate`: what the broker needs to know devices by."""

import os
import signal
from dataclasses import replace
from pathlib import Path

import click

from fleet_core import clock, db, settings
from fleet_core.cli import Refusal
from fleet_core.device_access import files, queries
from fleet_core.device_access.accounts import platform_of

_FOLDER = click.Path(path_type=Path, file_okay=False)


@click.command("export")
@click.option("--broker", type=click.Choice(["nats", "mosquitto"]), required=True, help="Whose files.")
@click.option("--to", "folder", type=_FOLDER, required=True, help="Folder that the broker reads.")
@click.option(
    "--pid-file",
    type=click.Path(path_type=Path, dir_okay=False, exists=True),
    help="The broker's process id: it is sent SIGHUP when something changed, and reads its files again.",
)
def export(broker: str, folder: Path, pid_file: Path | None) -> None:
    """Write the accounts of all devices into the broker's files, each in one step."""
    configured = settings.from_process()
    with db.connect(configured.database_url, "device-export") as connection:
        accounts = queries.accounts(connection)
    try:
        if broker == "nats":
            # NATS takes the platform's password from its environment, where it stands in no file.
            platform = replace(platform_of(configured), password=None)
            changed = files.write_nats(folder, accounts, configured.partitions, platform)
        else:
            changed = files.write_mosquitto(folder, accounts, configured.partitions, platform_of(configured))
        if changed and pid_file is not None:
            os.kill(int(pid_file.read_text(encoding="ascii")), signal.SIGHUP)
    except OSError as error:
        raise Refusal(f"{error.filename or folder}: {error.strerror}") from None
    except ValueError:
        raise Refusal(f"{pid_file} holds no process id") from None
    click.echo(f"{len(accounts)} accounts of devices in {folder}" + ("" if changed else ", as they were"))
    if changed and pid_file is None:
        click.echo("Tell the broker to read them: SIGHUP.")


@click.command("broker-certificate")
@click.argument("hosts", nargs=-1, required=True)
@click.option("--cert-dir", "folder", type=_FOLDER, required=True, help="Folder of the authority, made if missing.")
def broker_certificate(hosts: tuple[str, ...], folder: Path) -> None:
    """Issue the certificate of a broker that devices reach as HOSTS, and the platform's own client certificate."""
    from fleet_core.device_access import certificates  # noqa: PLC0415  only this command needs cryptography

    now = clock.now()
    try:
        signer = certificates.authority(folder, now)
        written = [certificates.write(folder, "broker", certificates.issue_server(signer, hosts, now))]
        user = platform_of(settings.from_process()).user
        written.append(certificates.write(folder, "platform", certificates.issue_client(signer, user, now)))
    except certificates.CertificateError as error:
        raise Refusal(str(error)) from None
    except ValueError as error:
        raise Refusal(f"{' '.join(hosts)}: {error}") from None
    except OSError as error:
        raise Refusal(f"{error.filename or folder}: {error.strerror}") from None
    for certificate, key in written:
        click.echo(f"{certificate}  {key}")
    click.echo(f"authority: {folder / 'ca.pem'}")
