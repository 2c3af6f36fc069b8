"""`fleet simulate`."""

import contextlib
import heapq
import json
import tempfile
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any, BinaryIO, Final

import click
import msgspec

from fleet_core import clock, publications, settings, topics
from fleet_core.cli import Refusal
from fleet_core.publications import Counted
from simulators import broker_address, citypack, faults, pacing, scenario, town
from simulators.citypack import CityPack
from simulators.faults import Faults
from simulators.ledger import Ledger
from simulators.publisher import Publisher, PublisherError
from simulators.scenario import Request, Scenario, Tell

Share = click.FloatRange(0, 1)
Positive = click.IntRange(min=1)

# Traffic without a story goes on until stopped; every other scenario ends when its story does.
UNTIL_STOPPED: Final = frozenset({"drive", "load"})


def _list(context: click.Context, _parameter: click.Parameter, wanted: bool) -> None:
    """`--list`: needs no scenario, no broker and no other option."""
    if not wanted:
        return
    for name, item in sorted(scenario.scenarios().items()):
        click.echo(f"{name}: {item.purpose}\n    expects: {', '.join(sorted(item.expects)) or 'nothing'}")
    context.exit()


@click.command("simulate")
@click.argument("names", nargs=-1, required=True, metavar="SCENARIO..")
@click.option(
    "--list",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_list,
    help="Name, purpose and expected incidents of every scenario.",
)
@click.option("--vehicles", type=Positive, default=50, show_default=True, help="Vehicles in each scenario.")
@click.option("--seed", type=click.IntRange(min=0), default=1, show_default=True, help="Same seed, same traffic.")
@click.option(
    "--duration-s",
    type=Positive,
    help="Simulated seconds; without it each scenario's own length, drive and load until stopped.",
)
@click.option(
    "--speed",
    type=click.FloatRange(min=0),
    default=1.0,
    show_default=True,
    help="Times real time; 0 is as fast as possible. Above 1 and at 0 the last message is stamped with now.",
)
@click.option("--realtime", is_flag=True, help="The same as --speed 1.")
@click.option("--city", type=click.Path(path_type=Path), help="City pack folder; without it the invented demo town.")
@click.option("--id-prefix", help="Beginning of every vehicle id; without it each scenario's own.")
@click.option("--drill", is_flag=True, help="Vehicles of a drill: whatever they cause is marked as one everywhere.")
@click.option("--format", "format_name", type=click.Choice(publications.FORMATS), default="json", show_default=True)
@click.option("--truth", type=click.Path(path_type=Path), help="JSON Lines of what the vehicles really did.")
@click.option(
    "--ledger",
    "ledger_path",
    type=click.Path(path_type=Path),
    help="JSON Lines of every message whose PUBACK came back; corrupted ones go to FILE.dead.jsonl.",
)
@click.option("--mqtt-url", help="Broker; without it FLEET_MQTT_URL, else the one of `fleet up`.")
@click.option("--data", type=click.Path(path_type=Path), help="Data folder of the `fleet up` to send to.")
@click.option("--connections", type=click.IntRange(1, 64), default=1, show_default=True)
@click.option(
    "--window",
    type=click.IntRange(1, 20_000),
    default=1000,
    show_default=True,
    help="Most messages without a PUBACK, a connection.",
)
@click.option("--messages", "total", type=Positive, help="Messages in all (load).")
@click.option("--samples-per-message", type=click.IntRange(1, 1000), default=1, show_default=True, help="(load)")
@click.option("--rate", type=click.FloatRange(min=0.001), help="Messages a second (load); without it all at once.")
@click.option("--drop-resend", type=Share, default=0.0, help="Share of messages lost at first and sent again later.")
@click.option("--duplicate", type=Share, default=0.0, help="Share of messages sent twice.")
@click.option("--delay-s", type=click.FloatRange(min=0), default=0.0, help="Every message is late by up to this.")
@click.option("--reorder", type=Share, default=0.0, help="Share of messages held back behind later ones.")
@click.option("--clock-skew-s", type=click.FloatRange(min=0), default=0.0, help="Device clocks are off by up to this.")
@click.option("--corrupt", type=Share, default=0.0, help="Share of messages spoiled beyond reading.")
def simulate(names: tuple[str, ...], **options: Any) -> None:
    """Traffic over MQTT, with the ground truth beside it.

    SCENARIO is one or more of the scenarios of simulators/scenarios, such as drive and load.
    """
    known = scenario.scenarios()
    chosen = [_scenario(name, known) for name in dict.fromkeys(names)]
    options["speed"] = 1.0 if options.pop("realtime") else options["speed"]
    _run(chosen, options)


def _scenario(name: str, known: dict[str, Scenario]) -> Scenario:
    if name not in known:
        raise Refusal(f"there is no scenario {name!r}: choose from {', '.join(sorted(known))}")
    return known[name]


def _run(chosen: list[Scenario], options: dict[str, Any]) -> None:
    configured = settings.from_process()
    speed = options["speed"]
    # Load without a rate has no pace of its own.
    burst = all(item.name == "load" for item in chosen) and options["rate"] is None and options["duration_s"] is None
    if burst and options["total"] is None:
        raise Refusal("load needs --messages, or --rate with or without --duration-s")
    lasts_s = [_lasts_s(item, options["duration_s"]) for item in chosen]
    if speed != 1.0 and not burst and None in lasts_s and options["total"] is None:
        raise Refusal(f"--speed {speed:g} needs --duration-s: device times must end now, not in the future")
    url, tls = broker_address.find(options["mqtt_url"], options["data"], configured)
    city = load_city(options["city"])
    spoiling = Faults(**{name: options[name] for name in Faults.__dataclass_fields__})
    stop = pacing.Stop()
    with contextlib.ExitStack() as stack:
        stack.enter_context(stop.listening())
        tell = _truth_writer(stack, options["truth"])
        ledger = stack.enter_context(Ledger.opened(options["ledger_path"])) if options["ledger_path"] else None
        try:
            publisher = Publisher(
                url,
                ledger.acknowledged if ledger else None,
                connections=options["connections"],
                window=options["window"],
                tls=tls,
                stopped=stop,
            )
            known_s = [seconds for seconds in lasts_s if seconds is not None]
            start_ms = clock.now_ms() - _head_start_ms(max(known_s, default=None), speed)
            streams = [
                item.messages(
                    _request(
                        item,
                        options=options,
                        city=city,
                        spoiling=spoiling,
                        start_ms=start_ms,
                        duration_s=duration_s,
                        partitions=configured.partitions,
                        stop=stop,
                    ),
                    tell,
                )
                for item, duration_s in zip(chosen, lasts_s, strict=True)
            ]
            merged = heapq.merge(*streams, key=lambda message: message.due_ms)
            spoiled = faults.apply(merged, spoiling, options["seed"])
            counted = Counted(spoiled)
            spent_s = None
            if burst:
                spent_s = pacing.publish_burst(publisher, counted, stop)
            else:
                pacing.publish_paced(publisher, counted, speed, stop)
            complete = publisher.drain(pacing.DRAIN_STOPPED_S if stop() else pacing.DRAIN_S)
            publisher.close()
        except PublisherError as error:
            raise Refusal(str(error)) from None
        summary = {"scenarios": [item.name for item in chosen], **counted.summary(), **asdict(publisher.sent)}
        summary["outstanding"] = publisher.outstanding
        if spent_s:
            summary["seconds"] = round(spent_s, 3)
            summary["messages_per_s"] = round(publisher.sent.acknowledged / spent_s)
    click.echo(json.dumps(summary))
    if not complete and not stop():
        raise Refusal(f"{publisher.outstanding} messages were never acknowledged by the broker")


def _lasts_s(item: Scenario, asked_s: int | None) -> int | None:
    """How long a scenario goes on, simulated seconds; None until stopped."""
    if asked_s is not None:
        return asked_s
    return None if item.name in UNTIL_STOPPED else item.duration_s


def _head_start_ms(duration_s: int | None, speed: float) -> int:
    """How far in the past the simulated time begins, so that it reaches now when the last message leaves."""
    if duration_s is None or speed == 1.0:
        return 0
    lasts_s = duration_s / speed if speed > 0 else 0.0
    return max(0, round((duration_s - lasts_s) * 1000))


def _request(
    item: Scenario,
    *,
    options: dict[str, Any],
    city: CityPack,
    spoiling: Faults,
    start_ms: int,
    duration_s: int | None,
    partitions: int,
    stop: pacing.Stop,
) -> Request:
    return Request(
        vehicles=options["vehicles"],
        seed=options["seed"],
        city=city,
        start_ms=start_ms,
        duration_s=duration_s,
        encode=publications.encoder(options["format_name"]),
        partitions=partitions,
        id_prefix=(topics.DRILL_PREFIX if options["drill"] else "") + (options["id_prefix"] or item.id_prefix),
        clock_offset_ms=spoiling.clock_offsets_ms(options["vehicles"], options["seed"]),
        messages=options["total"],
        samples_a_message=options["samples_per_message"],
        rate=options["rate"],
        stopped=stop,
    )


def load_city(folder: Path | None) -> CityPack:
    """The city pack of `folder`, or the demo town. Raises Refusal."""
    try:
        if folder is not None:
            return citypack.load(folder)
        with tempfile.TemporaryDirectory() as scratch:
            return town.write_demo_pack(Path(scratch))
    except citypack.CityPackError as error:
        raise Refusal(str(error)) from None


def _truth_writer(stack: contextlib.ExitStack, path: Path | None) -> Tell:
    if path is None:
        return scenario.untold
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        file: BinaryIO = stack.enter_context(path.open("wb"))
    except OSError as error:
        raise Refusal(f"the truth file {path} cannot be written: {error.strerror}") from None
    encode: Callable[[Any], bytes] = msgspec.json.Encoder().encode
    return lambda record: (file.write(encode(record) + b"\n"), None)[1]
