"""The API as its process runs it, on a free port, and rows as ingest would write them."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime

import psycopg

from fleet_api import serve
from fleet_core.settings import Settings


@dataclass(frozen=True)
class Server:
    """Where a running API answers."""

    http_url: str

    @property
    def live_url(self) -> str:
        return self.http_url.replace("http", "ws", 1) + "/api/live"


@contextmanager
def running(settings: Settings) -> Iterator[Server]:
    """Serve in a thread until the block ends, with everything that `fleet run api` has."""
    stop = threading.Event()
    listener = serve.bind(settings)
    port = listener.getsockname()[1]
    thread = threading.Thread(target=serve.serve, args=(settings, stop, listener), name="api-under-test")
    thread.start()
    try:
        yield Server(f"http://127.0.0.1:{port}")
    finally:
        stop.set()
        thread.join(30)
        listener.close()
        assert not thread.is_alive(), "the API did not stop"


def settings_for(database_url: str, **more: str | int) -> Settings:
    """Settings on any free port."""
    return Settings(database_url=database_url, **({"http_port": 0} | more))  # type: ignore[arg-type]


def put_position(
    connection: psycopg.Connection[tuple[object, ...]],
    vehicle_id: str,
    at: datetime,
    lat_deg: float,
    lon_deg: float,
    *,
    speed_kmh: float | None = 30.0,
    heading_deg: float | None = 90.0,
    ignition: bool | None = True,
    seq: int = 1,
) -> None:
    """Move a vehicle's live state as ingest does; does not commit."""
    connection.execute(
        "INSERT INTO vehicles (vehicle_id, registered_by) VALUES (%s, 'first_sight') ON CONFLICT DO NOTHING",
        [vehicle_id],
    )
    connection.execute(
        "INSERT INTO latest_positions (vehicle_id, last_reading_at, received_at, device_time, seq, lat_deg, lon_deg,"
        " speed_kmh, heading_deg, ignition) VALUES (%(v)s, %(t)s, %(t)s, %(t)s, %(q)s, %(la)s, %(lo)s, %(s)s, %(h)s,"
        " %(i)s) ON CONFLICT (vehicle_id) DO UPDATE SET last_reading_at = excluded.last_reading_at,"
        " received_at = excluded.received_at, device_time = excluded.device_time, seq = excluded.seq,"
        " lat_deg = excluded.lat_deg, lon_deg = excluded.lon_deg, speed_kmh = excluded.speed_kmh,"
        " heading_deg = excluded.heading_deg, ignition = excluded.ignition, changed_xid = pg_current_xact_id()",
        {
            "v": vehicle_id,
            "t": at,
            "q": seq,
            "la": lat_deg,
            "lo": lon_deg,
            "s": speed_kmh,
            "h": heading_deg,
            "i": ignition,
        },
    )


def put_alarm(
    connection: psycopg.Connection[tuple[object, ...]], vehicle_id: str, at: datetime, kind: str, body: str = "{}"
) -> None:
    """Store an alarm as ingest does; does not commit."""
    connection.execute(
        "INSERT INTO device_events (vehicle_id, stream, device_time, seq, occurred_at, clock_valid, received_at, kind,"
        " body) VALUES (%s, 'alarm', %s, 1, %s, true, %s, %s, %s::jsonb)",
        [vehicle_id, at, at, at, kind, body],
    )


def ring(connection: psycopg.Connection[tuple[object, ...]], payload: str = "") -> None:
    """The door-bell, as ingest rings it in its transaction."""
    connection.execute("SELECT pg_notify('fleet_live', %s)", [payload])
