"""The live channel: who may watch, whose vehicles, and for how long."""

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

import httpx
import psycopg
import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

from fleet_api import live, live_frames
from fleet_api.access.roles import Role, Scope
from tests.services import api

NOW = datetime.now(UTC)
EVERYWHERE = [-180, -90, 180, 90]


@pytest.fixture
def writer(database_url: str) -> Iterator[psycopg.Connection[Any]]:
    with psycopg.connect(database_url) as connection:
        for depot in ("north", "south"):
            connection.execute("INSERT INTO vehicles (vehicle_id, depot) VALUES (%s, %s)", [f"v-{depot}", depot])
            api.put_position(connection, f"v-{depot}", NOW, 31.2, 121.4)
        api.put_position(connection, "v-nowhere", NOW, 31.2, 121.4)
        connection.commit()
        yield connection


@contextmanager
def watching(server: api.Server, headers: dict[str, str]) -> Iterator["Seen"]:
    with connect(server.live_url, additional_headers=headers, max_size=None) as socket:
        socket.send(json.dumps({"viewport": EVERYWHERE}))
        yield Seen(socket)


class Seen:
    """What a client was told."""

    def __init__(self, socket: ClientConnection) -> None:
        self.socket = socket
        self.named: dict[int, str] = {}
        self.shown: set[str] = set()
        self.texts: list[dict[str, Any]] = []

    def until(self, condition: Any, seconds: float = 20) -> None:
        deadline = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < deadline, (self.shown, self.texts)
            message = self.socket.recv(timeout=20)
            if isinstance(message, str):
                self.texts.append(json.loads(message))
                continue
            frame = live_frames.decode(message)
            if frame.header.kind == live_frames.NAMES:
                self.named |= frame.names
                continue
            if frame.header.kind == live_frames.SNAPSHOT:
                self.shown.clear()
            self.shown |= {self.named[int(index)] for index in frame.columns["index"]}

    def told_of(self, kind: str) -> list[str]:
        return [text["vehicle_id"] for text in self.texts if text["type"] == kind]


def closing_code(server: api.Server, headers: dict[str, str]) -> int:
    with connect(server.live_url, additional_headers=headers) as socket, pytest.raises(ConnectionClosed) as closed:
        socket.recv(timeout=20)
    assert closed.value.rcvd is not None and closed.value.rcvd.reason
    return closed.value.rcvd.code


def test_who_is_not_signed_in_or_may_not_is_told_by_the_closing_code(server: api.Server, database_url: str) -> None:
    assert closing_code(server, {}) == live.SIGN_IN == 4401
    assert closing_code(server, {"Authorization": "Bearer flt_made-up"}) == 4401
    assert closing_code(server, {"Cookie": "fleet_session=made-up"}) == 4401
    claims = api.session_of(database_url, "chen", [Role.CLAIMS])
    assert closing_code(server, claims) == live.NOT_ALLOWED == 4403
    scope = api.headers_of(database_url, "li", [Role.DISPATCHER], scopes=[Scope.INCIDENTS])
    assert closing_code(server, scope) == 4403
    old = api.session_of(database_url, "new", [Role.DISPATCHER], must_change=True)
    assert closing_code(server, old) == 4403
    for headers in (api.session_of(database_url, "zhao", [Role.DISPATCHER]), server.headers):
        with connect(server.live_url, additional_headers=headers) as socket:
            assert json.loads(socket.recv(timeout=20))["type"] == "hello"
    with psycopg.connect(database_url) as connection:
        kept = connection.execute("SELECT outcome, count(*) FROM audit_log WHERE action = 'open_live' GROUP BY 1")
        assert dict(kept.fetchall()) == {"refused": 3, "done": 2}


def test_somebody_with_depots_watches_their_vehicles_alone(
    server: api.Server, writer: psycopg.Connection[Any], database_url: str
) -> None:
    north = api.session_of(database_url, "li", [Role.DISPATCHER], ["north"])
    with watching(server, north) as mine, watching(server, server.headers) as every:
        every.until(lambda: every.shown == {"v-north", "v-south", "v-nowhere"})
        mine.until(lambda: mine.shown == {"v-north"})
        for depot in ("south", "north"):
            api.put_alarm(writer, f"v-{depot}", NOW, "sos")
        api.ring(writer, "a")
        writer.commit()
        mine.until(lambda: mine.told_of("alarm"))
        every.until(lambda: len(every.told_of("alarm")) == 2)
        report = {"kind": "accident", "occurred_at": NOW.isoformat(), "told": "a bump"}
        with server.client() as client:
            for depot in ("south", "north"):
                assert client.post("/api/reports", json=report | {"vehicle_id": f"v-{depot}"}).status_code == 201
        mine.until(lambda: mine.told_of("incident"))
        every.until(lambda: set(every.told_of("incident")) == {"v-north", "v-south"})
        assert {*mine.told_of("alarm"), *mine.told_of("incident")} == {"v-north"}
        assert set(mine.named.values()) == {"v-north"}, "not even the name of another"


def test_a_vehicle_that_changes_its_depot_comes_and_goes(
    server: api.Server, writer: psycopg.Connection[Any], database_url: str
) -> None:
    north = api.session_of(database_url, "li", [Role.DISPATCHER], ["north"])
    with watching(server, north) as mine, server.client() as client:
        mine.until(lambda: mine.shown == {"v-north"})
        for vehicle_id, depot, shown in (("v-south", "north", {"v-north", "v-south"}), ("v-north", None, {"v-south"})):
            assert client.patch(f"/api/vehicles/{vehicle_id}", json={"revision": 1, "depot": depot}).status_code == 200
            mine.until(lambda shown=shown: mine.shown == shown)


def test_an_open_connection_ends_with_its_session(
    server: api.Server, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live, "LOOK_AGAIN_SECONDS", 0.2)
    headers = api.session_of(database_url, "li", [Role.DISPATCHER])

    def code_after(change: str) -> int:
        with watching(server, headers) as seen:
            seen.until(lambda: seen.texts)
            with psycopg.connect(database_url) as connection:
                connection.execute(change)
            with pytest.raises(ConnectionClosed) as closed:
                seen.until(lambda: False)
        assert closed.value.rcvd is not None
        return closed.value.rcvd.code

    assert code_after("UPDATE users SET depot_ids = '{north}' WHERE user_id = 'li'") == 4401
    assert code_after("UPDATE users SET roles = '{claims}' WHERE user_id = 'li'") == 4403
    with psycopg.connect(database_url) as connection:
        connection.execute("UPDATE users SET roles = '{dispatcher}' WHERE user_id = 'li'")
    with server.client(headers) as client:
        assert client.get("/api/session").status_code == 200
    assert code_after("DELETE FROM sessions WHERE user_id = 'li'") == 4401
    assert httpx.get(f"{server.http_url}/api/health").json()["live"]["clients"] == 0
