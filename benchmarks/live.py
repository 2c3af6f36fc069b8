"""`fleet bench live`: how long from a device's publish to the frame in a viewer's hands, the whole product running.

Publisher, broker, ingest, database, API and viewer share this machine and its clock. A position's device time is the
moment it is handed to the publisher's socket, and the frame gives it back, so the difference is the latency, to 1 ms.
"""

import json
import os
import platform
import subprocess
import sys
import threading
import time
from dataclasses import asdict, dataclass, field
from datetime import timedelta
from typing import Any, Final

import click
import msgspec
import numpy as np
from websockets.sync.client import connect

from benchmarks import ingest, services, stream
from benchmarks.services import Services
from fleet_api.access import accounts, credentials
from fleet_api.access.roles import Role, Scope
from fleet_core import clock, db, topics

_HTTP_PORT: Final = 19_180
_TICK_SECONDS: Final = 0.01
_WARM_UP_SECONDS: Final = 5.0
_HEADER_BYTES: Final = 32
_NAMES: Final = 1
# 10 m northward, a second at 36 km/h.
_STEP_DEG: Final = 10.0 / 111_195.0


@dataclass(slots=True)
class Seen:
    """Latencies in milliseconds, after the warm-up."""

    positions: list[float] = field(default_factory=list)
    alarms: list[float] = field(default_factory=list)
    incidents: list[float] = field(default_factory=list)
    frames: int = 0
    frame_bytes: int = 0


@dataclass(frozen=True, slots=True)
class Latency:
    """Milliseconds from publish to frame."""

    count: int
    p50_ms: float
    p99_ms: float
    worst_ms: float

    @classmethod
    def of(cls, values: list[float]) -> "Latency":
        """Summary of measured values. Raises ValueError when there are none."""
        if not values:
            raise ValueError("nothing was received: the product did not start, or the machine is too busy")
        p50, p99 = np.percentile(values, [50, 99])
        return cls(len(values), round(float(p50), 1), round(float(p99), 1), round(max(values), 1))


@click.command("live")
@click.option("--rate", default=2000, show_default=True, help="Position messages a second, one a vehicle.")
@click.option("--alarms", default=5, show_default=True, help="Alarms a second among them.")
@click.option("--seconds", default=20, show_default=True, help="How long to measure, after a warm-up of 5 s.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def bench(rate: int, alarms: int, seconds: int, as_json: bool) -> None:
    """Publish to WebSocket frame, with the whole product running."""
    with services.running() as running:
        seen, sent = measure(running, rate, alarms, seconds)
    result: dict[str, Any] = {
        "machine": {"cores": os.cpu_count(), "python": platform.python_version(), "load_before": os.getloadavg()[0]},
        "asked_messages_per_s": rate,
        "sent_messages_per_s": round(sent / (seconds + _WARM_UP_SECONDS), 1),
        "position": asdict(Latency.of(seen.positions)),
        "alarm": asdict(Latency.of(seen.alarms)),
        "incident": asdict(Latency.of(seen.incidents)),
        "frames_per_s": round(seen.frames / seconds, 2),
        "frame_bytes_per_s": round(seen.frame_bytes / seconds),
    }
    click.echo(json.dumps(result, indent=2) if as_json else _as_text(result))


def measure(running: Services, rate: int, alarms: int, seconds: int) -> tuple[Seen, int]:
    """Start ingest and API, publish, watch. Returns what was seen and how many messages were sent."""
    token = _viewer_token(running.database_url)
    worker = ingest.start_worker(running)
    api = subprocess.Popen(
        [sys.executable, "-m", "fleet_core.cli", "run", "api"], env=running.environment(http_port=str(_HTTP_PORT))
    )
    try:
        ingest.wait_until_connected(worker)
        stop = threading.Event()
        sent = [0]
        publisher = threading.Thread(target=_publish, args=(running.mqtt_url, rate, alarms, stop, sent))
        publisher.start()
        try:
            seen = _watch(_WARM_UP_SECONDS, seconds, token)
        finally:
            stop.set()
            publisher.join()
        return seen, sent[0]
    finally:
        ingest.stop(api)
        ingest.stop(worker)


def _publish(mqtt_url: str, rate: int, alarms: int, stop: threading.Event, sent: list[int]) -> None:
    encode = msgspec.json.Encoder().encode
    names = [f"bench-{number:05d}" for number in range(rate)]
    position_topics = [topics.topic_of(name, topics.TELEMETRY, stream.PARTITIONS) for name in names]
    alarm_topics = [topics.topic_of(name, topics.ALARM, stream.PARTITIONS) for name in names]
    publisher = stream.client(mqtt_url, "bench-live", durable=False)
    publisher.connect(*stream.address(mqtt_url))
    publisher.loop_start()
    started = time.monotonic()
    number = next_alarm = 0
    while not stop.is_set():
        elapsed = time.monotonic() - started
        while number < elapsed * rate:
            vehicle, turn = number % rate, number // rate
            body = {
                "boot": 1,
                "seq": turn * 2,
                "t_ms": clock.now_ms(),
                # As far as the speed says in a second, or detectors would rightly complain.
                "lat_deg": 31.2 + vehicle * 1e-5 + turn * _STEP_DEG,
                "lon_deg": 121.47,
                "speed_kmh": 36.0,
                "heading_deg": 0.0,
            }
            publisher.publish(position_topics[vehicle], encode(body), qos=1)
            number += 1
        while next_alarm < elapsed * alarms:
            vehicle = next_alarm * 7919 % rate
            alarm = {"boot": 1, "seq": next_alarm * 2 + 1, "t_ms": clock.now_ms(), "kind": "sos"}
            publisher.publish(alarm_topics[vehicle], encode(alarm), qos=1)
            next_alarm += 1
        stop.wait(_TICK_SECONDS)
    sent[0] = number
    publisher.disconnect()
    publisher.loop_stop()


def _viewer_token(database_url: str) -> str:
    """What a viewer sends who may see every vehicle."""
    now = clock.now()
    with db.connect(database_url, "bench") as connection:
        viewer = accounts.Fresh("bench", "Bench", "en", "none", False, [Role.DISPATCHER.value], None, "bench")
        accounts.insert_user(connection, viewer)
        _, secret = credentials.begin_token(
            connection, "bench", "bench", {Scope.READ}, created_by="bench", now=now, expires_at=now + timedelta(days=1)
        )
    return secret


def _watch(warm_up_s: float, seconds: float, token: str) -> Seen:
    seen = Seen()
    newest: dict[int, int] = {}
    opened: set[int] = set()
    with _connected(token) as socket:
        socket.send(json.dumps({"viewport": [-180, -90, 180, 90]}))
        begin = time.monotonic() + warm_up_s
        while (now := time.monotonic()) < begin + seconds:
            message = socket.recv(timeout=30)
            now_ms = time.time_ns() / 1e6
            counting = now >= begin
            if isinstance(message, str):
                text = json.loads(message)
                if text["type"] == "alarm" and counting:
                    seen.alarms.append(now_ms - _ms_of(text["device_time"]))
                # An incident happened when its first alarm was raised; what comes later of it is no opening.
                if text["type"] == "incident" and text["incident_id"] not in opened:
                    opened.add(text["incident_id"])
                    if counting:
                        seen.incidents.append(now_ms - _ms_of(text["occurred_at"]))
                continue
            if message[3] == _NAMES:
                continue
            if counting:
                seen.frames += 1
                seen.frame_bytes += len(message)
            seen.positions += _fresh_latencies(message, now_ms, newest) if counting else []
            if not counting:
                _fresh_latencies(message, now_ms, newest)
    return seen


def _fresh_latencies(frame: bytes, now_ms: float, newest: dict[int, int]) -> list[float]:
    """Latency of each vehicle whose fix is newer than the one seen before. Layout: docs/live-protocol.md."""
    count = int.from_bytes(frame[4:8], "little")
    server_time_ms = int.from_bytes(frame[24:32], "little")
    indexes = np.frombuffer(frame, "<u4", count, _HEADER_BYTES).tolist()
    ages = np.frombuffer(frame, "<i4", count, _HEADER_BYTES + 12 * count).astype(np.int64)
    latencies = []
    for index, device_ms in zip(indexes, (server_time_ms - ages).tolist(), strict=True):
        if device_ms > newest.get(index, 0):
            newest[index] = device_ms
            latencies.append(now_ms - device_ms)
    return latencies


def _ms_of(text: str) -> float:
    return float(np.datetime64(text.removesuffix("Z"), "us").astype(np.int64)) / 1000.0


def _connected(token: str) -> Any:
    headers = {"Authorization": f"Bearer {token}"}
    deadline = time.monotonic() + 60
    while True:
        try:
            return connect(
                f"ws://127.0.0.1:{_HTTP_PORT}/api/live", max_size=None, compression=None, additional_headers=headers
            )
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.2)


def _as_text(result: dict[str, Any]) -> str:
    lines = []
    for name, value in result.items():
        lines.append(f"{name:22} {value}" if not isinstance(value, dict) else f"{name}")
        if isinstance(value, dict):
            lines += [f"  {inner:20} {figure}" for inner, figure in value.items()]
    return "\n".join(lines)
