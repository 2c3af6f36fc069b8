"""`fleet bench detect`: what detection costs ingest, as a ratio measured in one run, and how fast detectors judge.

The stream is simulated ordinary driving, because a detector's cost depends on what vehicles do: plain numbers would
either open every gate or none.
"""

import json
import os
import platform
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import click
import numpy as np

from benchmarks import ingest, services, stream
from benchmarks.stream import Outgoing
from fleet_core import clock, db, publications, topics
from fleet_core.settings import Settings
from incidents import detector
from incidents.judge import Judge
from incidents.remembered import Memory
from incidents.rows import Rows
from ingest.batch import decode
from ingest.message import Message
from simulators import town
from simulators.scenario import Request, untold
from simulators.traffic import Traffic

_VEHICLES: Final = 1_000
_BATCH: Final = 5_000


@dataclass(frozen=True, slots=True)
class Figures:
    """What was measured. Rates a second; the ratio is that of two rates of this run."""

    messages: int
    samples: int
    store_only_samples_per_s: float
    with_detection_samples_per_s: float
    ratio: float
    worker_cpu_us_a_sample_store_only: float
    worker_cpu_us_a_sample_with_detection: float
    worker_peak_rss_mb: float
    detections: int
    incidents: int


@click.command("detect")
@click.option("--seconds", default=400, show_default=True, help="Simulated seconds of 1,000 vehicles.")
@click.option("--broker", type=click.Choice(["nats", "mosquitto"]), default="nats", show_default=True)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def bench(seconds: int, broker: str, as_json: bool) -> None:
    """Ingest with all detectors against ingest that only stores, and the time of each detector's gate."""
    outgoing = ordinary_traffic(seconds)
    result: dict[str, Any] = {
        "broker": broker,
        "machine": {"cores": os.cpu_count(), "python": platform.python_version(), "load_before": os.getloadavg()[0]},
        "pipeline": asdict(measure(outgoing, broker)),
        "judge": judge_alone(outgoing),
    }
    if as_json:
        click.echo(json.dumps(result, indent=2))
        return
    for part in ("pipeline", "judge"):
        click.echo(part)
        for name, value in result[part].items():
            click.echo(f"  {name:40} {value:>14,.3f}" if isinstance(value, float) else f"  {name:40} {value:>14}")


def ordinary_traffic(seconds: int) -> list[Outgoing]:
    """Telemetry of ordinary driving in the invented town, ending now."""
    with tempfile.TemporaryDirectory() as folder:
        city = town.write_demo_pack(Path(folder))
    request = Request(
        vehicles=_VEHICLES, seed=1, city=city, start_ms=clock.now_ms() - seconds * 1000, duration_s=seconds,
        encode=publications.encoder("json"), partitions=stream.PARTITIONS, id_prefix="bench",
        clock_offset_ms=np.zeros(_VEHICLES, dtype=np.int64),
    )  # fmt: skip
    sent = Traffic(request, untold).run()
    return [Outgoing(one.topic, one.payload) for one in sent if one.topic.endswith(f"/{topics.TELEMETRY}")]


def measure(outgoing: list[Outgoing], broker: str) -> Figures:
    """Drain the same backlog with and without detection, each with fresh services."""
    batch = decode(_as_received(outgoing), Settings())
    samples = len(batch.readings)
    average = samples / len(outgoing)
    with services.running(broker) as running:
        plain = ingest.drain(running, outgoing, average, module="benchmarks.store_only")
    with services.running(broker) as running:
        full = ingest.drain(running, outgoing, average)
        with db.connect(running.database_url, "bench") as connection:
            found = connection.execute(
                "SELECT (SELECT count(*) FROM detections), (SELECT count(*) FROM incidents)"
            ).fetchone() or (0, 0)
    return Figures(
        messages=len(outgoing),
        samples=samples,
        store_only_samples_per_s=round(plain.messages_per_s * average),
        with_detection_samples_per_s=round(full.messages_per_s * average),
        ratio=round(full.messages_per_s / plain.messages_per_s, 3),
        worker_cpu_us_a_sample_store_only=round(plain.cpu_us_a_message / average, 2),
        worker_cpu_us_a_sample_with_detection=round(full.cpu_us_a_message / average, 2),
        worker_peak_rss_mb=round(full.peak_rss_mb, 1),
        detections=int(found[0]),
        incidents=int(found[1]),
    )


def judge_alone(outgoing: list[Outgoing]) -> dict[str, float]:
    """Readings a second through the judge in memory, and microseconds of each gate for one batch of readings."""
    detectors = detector.detectors()
    memory, judge = Memory(), Judge(detectors)
    first, second = (
        decode(_as_received(outgoing[at : at + _BATCH]), Settings()).readings.in_key_order()[0] for at in (0, _BATCH)
    )
    # The first meets vehicles it does not know; the second is what a worker does all day.
    judge.judge(memory, memory.add(first, []), [])
    fresh = memory.add(second, [])
    started = time.perf_counter()
    judge.judge(memory, fresh, [])
    told = {"readings": float(len(fresh)), "readings_per_s": len(fresh) / (time.perf_counter() - started)}
    for name, one in detectors.items():
        if one.lane is detector.Lane.STREAM:
            # A fresh one for each: what one gate works out the next would find ready.
            rows = Rows(first, {})
            started = time.perf_counter()
            one.wants(rows)
            told[f"gate_us_{name}"] = (time.perf_counter() - started) * 1e6
    return told


def _as_received(outgoing: list[Outgoing]) -> list[Message]:
    now_us = clock.now_us()
    return [Message("p00", 0, 0, one.topic, one.payload, now_us) for one in outgoing]
