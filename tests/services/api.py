"""The API as its process runs it, on a free port, and rows as ingest would write them."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import httpx
import psycopg

from fleet_api import serve
from fleet_api.access import accounts, credentials, passwords
from fleet_api.access.identity import COOKIE
from fleet_api.access.roles import Role, Scope
from fleet_core import db
from fleet_core.settings import Settings


@dataclass(frozen=True)
class Server:
    """Where a running API answers, and what somebody who may everything sends."""

    http_url: str
    headers: dict[str, str] = field(default_factory=dict)
    cookie: str = ""

    @property
    def live_url(self) -> str:
        return self.http_url.replace("http", "ws", 1) + "/api/live"

    def client(self, headers: dict[str, str] | None = None) -> httpx.Client:
        """A client that sends `headers`; those of somebody who may everything when none are given."""
        return httpx.Client(base_url=self.http_url, headers=self.headers if headers is None else headers, timeout=30)


@contextmanager
def running(settings: Settings) -> Iterator[Server]:
    """Serve in a thread until the block ends, with everything that `fleet run api` has."""
    headers = headers_of(settings.database_url, USER, list(USER_ROLES))
    cookie = session_of(settings.database_url, USER, list(USER_ROLES))["Cookie"]
    stop = threading.Event()
    listener = serve.bind(settings)
    port = listener.getsockname()[1]
    thread = threading.Thread(target=serve.serve, args=(settings, stop, listener), name="api-under-test")
    thread.start()
    try:
        yield Server(f"http://127.0.0.1:{port}", headers, cookie)
    finally:
        stop.set()
        thread.join(30)
        listener.close()
        assert not thread.is_alive(), "the API did not stop"


USER = "wang"
USER_ROLES = (Role.ADMIN, Role.DISPATCHER)
PASSWORD = "a long enough phrase"


def put_user(
    connection: db.Connection,
    user_id: str,
    roles: list[Role],
    depots: list[str] | None = None,
    *,
    password_hash: str = "none",
    must_change: bool = False,
) -> None:
    """A user, unless there is one; without a hash nobody signs in as them by password. Does not commit."""
    if accounts.user_by_id(connection, user_id) is not None:
        return
    for depot in depots or []:
        accounts.insert_depot(connection, depot, depot)
    fresh = accounts.Fresh(
        user_id=user_id, display_name=user_id.title(), language="en", password_hash=password_hash,
        must_change_password=must_change, roles=[role.value for role in roles], depot_ids=depots, created_by="test",
    )  # fmt: skip
    accounts.insert_user(connection, fresh)


def headers_of(
    database_url: str,
    user_id: str,
    roles: list[Role],
    depots: list[str] | None = None,
    scopes: list[Scope] | None = None,
) -> dict[str, str]:
    """What a program sends that acts for a user, who is created when there is none."""
    with db.connect(database_url, "test") as connection:
        put_user(connection, user_id, roles, depots)
        now = datetime.now(UTC)
        _, secret = credentials.begin_token(
            connection, user_id, "test", scopes or list(Scope),
            created_by="test", now=now, expires_at=now + timedelta(days=1),
        )  # fmt: skip
    return {"Authorization": f"Bearer {secret}"}


def session_of(
    database_url: str, user_id: str, roles: list[Role], depots: list[str] | None = None, *, must_change: bool = False
) -> dict[str, str]:
    """What a browser sends in which a user is signed in, who is created when there is none."""
    lifetimes = credentials.Lifetimes(timedelta(hours=1), timedelta(hours=12))
    with db.connect(database_url, "test") as connection:
        put_user(connection, user_id, roles, depots, must_change=must_change)
        token = credentials.begin_session(connection, user_id, lifetimes, datetime.now(UTC), address=None, agent=None)
    return {"Cookie": f"{COOKIE}={token}", "X-CSRF-Token": passwords.csrf_token(token)}


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
