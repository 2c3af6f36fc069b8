"""`fleet dlq`: look at the dead letters and send them again. `fleet decode`: read one message, store nothing."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import click

from fleet_core import clock, db, settings
from fleet_core.cli import Refusal
from fleet_core.db import Connection
from ingest import decoding, queries, replay
from ingest.broker_probe import BrokerUnreachableError
from ingest.queries import DeadLetter, WhichLetters

_PAGE: Final = 500
_SHOWN_BYTES: Final = 120

_REASON = click.option("--reason", "reason_code", help="Only letters with this reason code, such as wrong_partition.")
_SINCE = click.option("--since", help="Only letters received at or after this time, ISO 8601, UTC unless it says.")


@click.group()
def dlq() -> None:
    """Dead letters: messages that could not be read or were refused, kept whole with the reason."""


@dlq.command("list")
@_REASON
@_SINCE
@click.option("--limit", type=click.IntRange(1, 100_000), default=50, show_default=True, help="Newest first.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line, payload in hexadecimal.")
def list_letters(reason_code: str | None, since: str | None, limit: int, as_json: bool) -> None:
    """List dead letters, newest first."""
    instant = _instant(since)
    with db.connect(settings.from_process().database_url, "dlq-list") as connection:
        letters = queries.dead_letters(connection, reason_code, instant, limit)
    for letter in letters:
        click.echo(json.dumps(_as_json(letter), ensure_ascii=False) if as_json else _as_lines(letter))
    if not as_json:
        click.echo(f"{len(letters)} dead letters" if letters else "no dead letters")


@dlq.command("replay")
@_REASON
@_SINCE
@click.option("--id", "ids", type=int, multiple=True, help="This letter, replayed before or not; may be repeated.")
@click.option("--all", "everything", is_flag=True, help="All letters that were not replayed yet.")
@click.option("--again", is_flag=True, help="Also letters that were replayed before.")
def replay_letters(
    reason_code: str | None, since: str | None, ids: tuple[int, ...], everything: bool, again: bool
) -> None:
    """Publish dead letters again, oldest first, each marked only when the broker has acknowledged it.

    What is stored already is not stored twice. What is refused again stays a dead letter, counted once more.
    """
    if not (reason_code or since or ids or everything):
        raise Refusal("say which letters to replay: --reason, --since, --id or --all")
    configured = settings.from_process()
    configured.require("database_url", "mqtt_url")
    which = WhichLetters(reason_code, _instant(since), ids or None, only_unreplayed=not (again or ids))
    try:
        with (
            db.connect(configured.database_url, "dlq-replay") as connection,
            replay.Publisher(configured) as publisher,
        ):
            _replay(connection, publisher, which, configured.partitions)
    except BrokerUnreachableError as error:
        raise Refusal(str(error)) from None


def _replay(connection: Connection, publisher: replay.Publisher, which: WhichLetters, partitions: int) -> None:
    # What is refused again keeps its id, and what comes meanwhile is later than this: so there is an end.
    until = clock.now()
    sent = left = after_id = 0
    while letters := queries.dead_letters_to_replay(connection, which, until, after_id, _PAGE):
        after_id = letters[-1].id
        sendable: list[tuple[int, str, bytes]] = []
        for letter in letters:
            try:
                sendable.append((letter.id, replay.topic_for(letter, partitions), letter.payload))
            except ValueError as error:
                left += 1
                click.echo(f"letter {letter.id} is left: {error}", err=True)
        acknowledged = publisher.publish([(topic, payload) for _, topic, payload in sendable])
        queries.mark_replayed(connection, [sendable[index][0] for index in acknowledged])
        connection.commit()
        sent += len(acknowledged)
        if len(acknowledged) < len(sendable):
            raise Refusal(
                f"the broker acknowledged {sent} letters and then no more; the others are not marked and can be "
                "replayed again"
            )
    click.echo(f"replayed {sent} dead letters" + (f", left {left}" if left else ""))


def _instant(text: str | None) -> datetime | None:
    if text is None:
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise Refusal(
            f"--since {text!r} is not a time in ISO 8601, such as 2026-01-31 or 2026-01-31T08:00:00Z"
        ) from None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _as_json(letter: DeadLetter) -> dict[str, Any]:
    return {
        "id": letter.id,
        "received_at": _utc(letter.received_at),
        "topic": letter.topic,
        "vehicle_id": letter.vehicle_id,
        "reason_code": letter.reason_code,
        "reason": letter.reason,
        "times_received": letter.times_received,
        "replayed_at": None if letter.replayed_at is None else _utc(letter.replayed_at),
        "payload_hex": letter.payload.hex(),
    }


def _as_lines(letter: DeadLetter) -> str:
    replayed = "" if letter.replayed_at is None else f", replayed {_utc(letter.replayed_at)}"
    start = letter.payload[:_SHOWN_BYTES]
    more = "..." if len(letter.payload) > len(start) else ""
    return (
        f"{letter.id}  {_utc(letter.received_at)}  {letter.reason_code}: {letter.reason}\n"
        f"    {letter.topic}  ({len(letter.payload)} bytes, received {letter.times_received} times{replayed})\n"
        f"    {start!r}{more}"
    )


def _utc(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat().replace("+00:00", "Z")


@click.command()
@click.argument("format_name", metavar="FORMAT")
@click.option("--hex", "hex_text", help="The message in hexadecimal; spaces do not matter.")
@click.option(
    "--file", "path", type=click.Path(exists=True, dir_okay=False, path_type=Path), help="File with its bytes."
)
@click.option("--stage", default=decoding.MQTT_PAYLOAD, show_default=True, help="What the bytes are.")
@click.option("--topic", help="Topic it came on: names vehicle and stream.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line.")
def decode(  # noqa: PLR0917  options of one command
    format_name: str, hex_text: str | None, path: Path | None, stage: str, topic: str | None, as_json: bool
) -> None:
    """Decode one message of FORMAT (native, owntracks, traccar) to native names, a record a line.

    A record that ingest would refuse has `ok` false and says why; that is an answer, not a failure of the command.
    """
    if (hex_text is None) == (path is None):
        raise Refusal("give the message with either --hex or --file")
    if hex_text is not None:
        try:
            payload = bytes.fromhex(hex_text)
        except ValueError as error:
            raise Refusal(f"--hex: {error}") from None
    else:
        assert path is not None
        try:
            payload = path.read_bytes()
        except OSError as error:
            raise Refusal(f"{path}: {error.strerror}") from None
    try:
        records = decoding.records(format_name, stage, payload, topic)
    except decoding.UnknownFormatError as error:
        raise Refusal(str(error)) from None
    for record in records:
        click.echo(json.dumps(record, ensure_ascii=False) if as_json else decoding.as_text(record))
