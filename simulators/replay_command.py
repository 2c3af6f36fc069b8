"""`fleet replay`."""

import contextlib
import json
from dataclasses import asdict
from pathlib import Path

import click

from fleet_core import clock, publications, settings
from fleet_core.cli import Refusal
from fleet_core.publications import Counted
from fleet_core.recordings import drive_recording
from fleet_core.recordings import files as recording_files
from fleet_core.recordings.drive_recording import RecordingError
from fleet_core.recordings.files import Recordings
from fleet_core.topics import check_vehicle_id
from simulators import broker_address, pacing
from simulators.ledger import Ledger
from simulators.publisher import Publisher, PublisherError


@click.command("replay")
@click.argument("files", nargs=-1, required=True, metavar="FILE..", type=click.Path(path_type=Path))
@click.option(
    "--speed",
    type=click.FloatRange(min=0),
    default=0.0,
    show_default=True,
    help="Times real time; 0 is as fast as possible.",
)
@click.option("--vehicle", help="Vehicle id for the drive of a GPX or CSV file; several become ID-1, ID-2, ..")
@click.option("--as-recorded", is_flag=True, help="Keep the recorded times of drives, however old.")
@click.option(
    "--format",
    "format_name",
    type=click.Choice(publications.FORMATS),
    default="json",
    show_default=True,
    help="Encoding of drives.",
)
@click.option(
    "--ledger",
    "ledger_path",
    type=click.Path(path_type=Path),
    help="JSON Lines of every message whose PUBACK came back.",
)
@click.option("--mqtt-url", help="Broker; without it FLEET_MQTT_URL, else the one of `fleet up`.")
@click.option("--data", type=click.Path(path_type=Path), help="Data folder of the `fleet up` to send to.")
def replay(
    files: tuple[Path, ...], *, speed: float, vehicle: str | None, as_recorded: bool, format_name: str,
    ledger_path: Path | None, mqtt_url: str | None, data: Path | None,
) -> None:  # fmt: skip
    """Recorded messages and drives to the broker.

    FILE is JSON Lines {"topic", "payload", "received_ms"?}, GPX, or CSV of drives, each also as .gz. Messages leave as
    they were recorded. Drives become telemetry of a vehicle each and move to the recent past: by whole days, or, with
    --speed above 0, to now.
    """
    configured = settings.from_process()
    if vehicle is not None:
        check_vehicle_id(vehicle)
    try:
        recorded = recording_files.read(files, vehicle)
    except RecordingError as error:
        raise Refusal(str(error)) from None
    if not as_recorded and recorded.drives:
        now_ms = clock.now_ms()
        moved = (
            drive_recording.to_live(recorded.drives, now_ms, speed)
            if speed > 0
            else drive_recording.to_recent_days(recorded.drives, now_ms)
        )
        recorded = Recordings(moved, recorded.message_files)
    url, tls = broker_address.find(mqtt_url, data, configured)
    stop = pacing.Stop()
    with contextlib.ExitStack() as stack:
        stack.enter_context(stop.listening())
        ledger = stack.enter_context(Ledger.opened(ledger_path)) if ledger_path else None
        try:
            publisher = Publisher(url, ledger.acknowledged if ledger else None, tls=tls, stopped=stop)
            stream = Counted(recorded.messages(publications.encoder(format_name), configured.partitions))
            pacing.publish_paced(publisher, stream, speed, stop)
            complete = publisher.drain(pacing.DRAIN_STOPPED_S if stop() else pacing.DRAIN_S)
            publisher.close()
        except (PublisherError, RecordingError) as error:
            raise Refusal(str(error)) from None
    summary = {"files": len(files), **stream.summary(), **asdict(publisher.sent)}
    click.echo(json.dumps({**summary, "outstanding": publisher.outstanding}))
    if not complete and not stop():
        raise Refusal(f"{publisher.outstanding} messages were never acknowledged by the broker")
