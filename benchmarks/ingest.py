"""`fleet bench ingest`: how fast messages become rows, as ratios measured in one run on one machine.

For each message form the same stream is published to durable sessions and then drained, by (a) the ingest worker,
committing before it acknowledges, (b) paho alone, acknowledging by hand, and its rows are (c) copied raw.
"""

import json
import os
import platform
import subprocess
import sys
import time
import urllib.error
import urllib.request
from dataclasses import asdict, dataclass
from typing import Any, Final

import click
import psutil

from benchmarks import bare, services, stream
from benchmarks.services import Services
from benchmarks.stream import Outgoing
from fleet_core import clock, db
from fleet_core.readings import Readings
from fleet_core.settings import Settings
from ingest import batch, pgcopy
from ingest.message import Message

_HEALTH_PORT: Final = 19_101
_VEHICLES: Final = 1_000
_SESSIONS: Final = 2 * stream.PARTITIONS + 1
_GIVE_UP_SECONDS: Final = 300.0


@dataclass(frozen=True, slots=True)
class Figures:
    """What was measured for one form of message. Rates a second; ratios are rates of this run divided by each other."""

    messages: int
    samples_a_message: int
    payload_bytes: int
    publish_messages_per_s: float
    fleet_messages_per_s: float
    fleet_samples_per_s: float
    worker_cpu_us_a_message: float
    worker_peak_rss_mb: float
    bare_one_connection_messages_per_s: float
    bare_connection_a_partition_messages_per_s: float
    copy_without_key_rows_per_s: float
    copy_with_key_rows_per_s: float
    ratio_to_bare_one_connection: float
    ratio_to_bare_connection_a_partition: float
    ratio_to_copy_without_key: float
    ratio_to_copy_with_key: float
    lost: int
    doubled: int


@click.command("ingest")
@click.option("--messages", default=100_000, show_default=True, help="Messages of each form.")
@click.option("--broker", type=click.Choice(["nats", "mosquitto"]), default="nats", show_default=True)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def bench(messages: int, broker: str, as_json: bool) -> None:
    """Messages to committed rows, against paho alone and against raw COPY."""
    result: dict[str, Any] = {
        "broker": broker,
        "machine": {"cores": os.cpu_count(), "python": platform.python_version(), "load_before": os.getloadavg()[0]},
        "one_sample": asdict(measure(messages, 1, broker)),
        "ten_samples": asdict(measure(messages // 2, 10, broker)),
    }
    if as_json:
        click.echo(json.dumps(result, indent=2))
        return
    for form in ("one_sample", "ten_samples"):
        click.echo(form)
        for name, value in result[form].items():
            click.echo(f"  {name:45} {value:>14,.2f}" if isinstance(value, float) else f"  {name:45} {value:>14,}")


def measure(messages: int, samples: int, broker: str) -> Figures:
    """All figures for one form of message, each receiver with a fresh copy of the stream on a fresh broker."""
    outgoing = stream.telemetry(messages, samples, _VEHICLES)
    with services.running(broker) as running:
        bare.subscribe(running.mqtt_url, bare.ONE_CONNECTION)
        stream.publish(running.mqtt_url, outgoing)
        one_connection = bare.receive(running.mqtt_url, bare.ONE_CONNECTION, messages)
    with services.running(broker) as running:
        bare.subscribe(running.mqtt_url, bare.A_CONNECTION_A_PARTITION)
        stream.publish(running.mqtt_url, outgoing)
        partitioned = bare.receive(running.mqtt_url, bare.A_CONNECTION_A_PARTITION, messages)
    with services.running(broker) as running:
        drained = drain(running, outgoing, samples)
        lost, doubled = count(running, messages * samples)
        readings = decoded(outgoing)
        without_key, with_key = copy_rate(running, readings, False), copy_rate(running, readings, True)
    rate = drained.messages_per_s
    return Figures(
        messages=messages,
        samples_a_message=samples,
        payload_bytes=len(outgoing[0].payload),
        publish_messages_per_s=drained.publish_per_s,
        fleet_messages_per_s=rate,
        fleet_samples_per_s=rate * samples,
        worker_cpu_us_a_message=drained.cpu_us_a_message,
        worker_peak_rss_mb=drained.peak_rss_mb,
        bare_one_connection_messages_per_s=one_connection,
        bare_connection_a_partition_messages_per_s=partitioned,
        copy_without_key_rows_per_s=without_key,
        copy_with_key_rows_per_s=with_key,
        ratio_to_bare_one_connection=rate / one_connection,
        ratio_to_bare_connection_a_partition=rate / partitioned,
        ratio_to_copy_without_key=rate * samples / without_key,
        ratio_to_copy_with_key=rate * samples / with_key,
        lost=lost,
        doubled=doubled,
    )


@dataclass(frozen=True, slots=True)
class Drained:
    """How the worker took the backlog."""

    publish_per_s: float
    messages_per_s: float
    cpu_us_a_message: float
    peak_rss_mb: float


def drain(running: Services, outgoing: list[Outgoing], samples: float, module: str = "fleet_core.cli") -> Drained:
    """Let the worker make its sessions, stop it, publish, and measure how it takes the backlog.

    `samples` a message, on average; `module` starts the worker.
    """
    worker = start_worker(running, module)
    wait_until_connected(worker)
    stop(worker)
    publish_per_s = stream.publish(running.mqtt_url, outgoing)

    worker = start_worker(running, module)
    process = psutil.Process(worker.pid)
    deadline = time.monotonic() + _GIVE_UP_SECONDS
    first: tuple[float, float, float] | None = None
    done = peak = 0.0
    # A thousandth of a message is less than any row, and more than the error of adding fractions.
    while done < len(outgoing) - 0.001:
        rows, cpu_s = _counted()
        done = rows / samples
        if first is None and done > 0:
            first = (time.perf_counter(), done, cpu_s)
        peak = max(peak, process.memory_info().rss / 1e6)
        if time.monotonic() > deadline:
            raise TimeoutError(f"the worker committed {done:.0f} of {len(outgoing)} messages")
        # Each look costs the worker some milliseconds.
        time.sleep(0.25)
    assert first is not None
    at, before, cpu_before = first
    seconds = time.perf_counter() - at
    stop(worker)
    rest = done - before
    if rest <= 0:
        raise click.ClickException("the backlog was gone before it could be timed: ask for more --messages")
    return Drained(publish_per_s, rest / seconds, (cpu_s - cpu_before) / rest * 1e6, peak)


def count(running: Services, expected: int) -> tuple[int, int]:
    """Rows lost and rows doubled."""
    with db.connect(running.database_url, "bench") as connection:
        rows, keys = connection.execute(
            "SELECT count(*), count(DISTINCT (vehicle_id, device_time, seq)) FROM readings"
        ).fetchone() or (0, 0)
    return expected - keys, rows - keys


def decoded(outgoing: list[Outgoing]) -> Readings:
    """The stream's rows as ingest would write them."""
    now_us = clock.now_us()
    messages = [Message("p00", 0, 0, message.topic, message.payload, now_us) for message in outgoing]
    return batch.decode(messages, Settings()).readings.in_key_order()[0]


def copy_rate(running: Services, readings: Readings, with_key: bool) -> float:
    """Rows a second of one binary COPY of ready-made bytes in one transaction."""
    blocks = list(pgcopy.chunks(readings))
    columns = ", ".join(pgcopy.columns_of(readings))
    key = "INCLUDING INDEXES" if with_key else ""
    with db.connect(running.database_url, "bench") as connection:
        connection.execute(f"CREATE TABLE raw_copy (LIKE readings {key})")
        connection.commit()
        started = time.perf_counter()
        with connection.cursor().copy(f"COPY raw_copy ({columns}) FROM STDIN BINARY") as copy:
            for block in blocks:
                copy.write(block)
        connection.commit()
        seconds = time.perf_counter() - started
        connection.execute("DROP TABLE raw_copy")
        connection.commit()
    return len(readings) / seconds


def start_worker(running: Services, module: str = "fleet_core.cli") -> "subprocess.Popen[bytes]":
    """Start `fleet run ingest` with its health endpoint on a port of its own."""
    environment = running.environment(ingest_health_port=str(_HEALTH_PORT), broker_check="off")
    return subprocess.Popen([sys.executable, "-m", module, "run", "ingest"], env=environment)


def stop(worker: "subprocess.Popen[bytes]") -> None:
    """End a child in order."""
    worker.terminate()
    worker.wait(timeout=30)


def wait_until_connected(worker: "subprocess.Popen[bytes]") -> None:
    """Wait until every session of the worker is there. Raises TimeoutError."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        if worker.poll() is not None:
            raise RuntimeError(f"the worker ended with {worker.returncode}")
        if json.loads(_get("/health") or b"{}").get("sessions_connected") == _SESSIONS:
            return
        time.sleep(0.1)
    raise TimeoutError("the worker did not connect its sessions")


def _counted() -> tuple[float, float]:
    """Fresh rows the worker committed (messages that came twice count once), and its CPU seconds."""
    values = {}
    for line in _get("/metrics").decode().splitlines():
        name, _, value = line.partition(" ")
        values[name] = value
    return float(values.get("fleet_ingest_accepted_total", 0)), float(values.get("process_cpu_seconds_total", 0))


def _get(path: str) -> bytes:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{_HEALTH_PORT}{path}", timeout=5) as answer:
            body: bytes = answer.read()
            return body
    except urllib.error.HTTPError as error:
        return error.read()
    except OSError:
        return b""
