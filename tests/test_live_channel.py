"""/api/live against a real server, a real database and a real WebSocket client."""

import json
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection, connect

from fleet_api import live, live_frames, live_wire
from fleet_core import db, migrate
from fleet_core.embedded.postgres import EmbeddedPostgres
from tests.services import api

CITY = [121.4, 31.1, 121.6, 31.3]
NOW = datetime.now(UTC).replace(microsecond=250_000) - timedelta(hours=1)


@pytest.fixture
def writer(database_url: str) -> Iterator[psycopg.Connection[Any]]:
    with psycopg.connect(database_url) as connection:
        yield connection


View = Callable[..., "Viewer"]


class Viewer:
    """A client as docs/live-protocol.md describes one."""

    def __init__(self, socket: ClientConnection) -> None:
        self.socket = socket
        self.names: dict[int, str] = {}
        self.texts: list[dict[str, Any]] = []
        self.vehicles: dict[str, dict[str, int]] = {}
        self.kinds: list[int] = []
        self.revision = 0

    def look_at(self, viewport: list[float]) -> None:
        self.socket.send(json.dumps({"viewport": viewport}))

    def take_one(self, timeout: float = 20) -> None:
        message = self.socket.recv(timeout=timeout)
        if isinstance(message, str):
            self.texts.append(json.loads(message))
            return
        frame = live_frames.decode(message)
        if frame.header.kind == live_frames.NAMES:
            self.names |= frame.names
            return
        if frame.header.kind == live_frames.SNAPSHOT:
            self.vehicles.clear()
        else:
            assert frame.header.base_revision == self.revision, "a delta must follow what was sent before"
        self.revision = frame.header.revision
        self.kinds.append(frame.header.kind)
        for row in range(frame.header.count):
            values = {name: int(column[row]) for name, column in frame.columns.items()}
            values["device_time_ms"] = frame.header.server_time_ms - values["fix_age_ms"]
            self.vehicles[self.names[values["index"]]] = values

    def take_until(self, condition: Any, seconds: float = 30) -> None:
        deadline = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < deadline, f"never came; have {self.vehicles} {self.texts}"
            self.take_one()


@pytest.fixture
def view() -> Iterator[View]:
    """Opens viewers, and closes them at the end of the test."""
    with ExitStack() as sockets:

        def opened(server: api.Server, viewport: list[float] | None = None, **options: Any) -> Viewer:
            viewer = Viewer(
                sockets.enter_context(
                    connect(server.live_url, max_size=None, additional_headers=server.headers, **options)
                )
            )
            viewer.look_at(viewport or CITY)
            return viewer

        yield opened


def wait_for_feed(server: api.Server, state: str = "live") -> dict[str, Any]:
    for _ in range(300):
        health: dict[str, Any] = httpx.get(server.http_url + "/api/health").json()
        if health["live"]["state"] == state:
            return health
        time.sleep(0.1)
    raise AssertionError(f"the feed never became {state}")


def test_snapshot_then_deltas(server: api.Server, writer: psycopg.Connection[Any], view: View) -> None:
    api.put_position(writer, "v-1", NOW, 31.23, 121.47, speed_kmh=42.5, heading_deg=271.25)
    api.put_position(writer, "v-2", NOW, 31.24, 121.48, speed_kmh=None, heading_deg=float("nan"), ignition=None)
    writer.commit()
    viewer = view(server)
    viewer.take_until(lambda: len(viewer.vehicles) == 2)
    assert viewer.texts[0]["type"] == "hello" and viewer.texts[0]["protocol"] == 1
    first, second = viewer.vehicles["v-1"], viewer.vehicles["v-2"]
    assert (first["lat_e7"], first["lon_e7"]) == (312_300_000, 1_214_700_000)
    assert (first["speed_ckmh"], first["heading_cdeg"]) == (4250, 27125)
    assert first["device_time_ms"] == NOW.timestamp() * 1000
    known = live_frames.IGNITION_ON | live_frames.IGNITION_KNOWN
    assert first["state"] == known | live_frames.MOVING | live_frames.STALE
    assert (second["speed_ckmh"], second["heading_cdeg"]) == (65535, 65535)
    assert second["state"] == live_frames.STALE

    api.put_position(writer, "v-1", datetime.now(UTC), 31.231, 121.471)
    api.ring(writer)
    writer.commit()
    viewer.take_until(lambda: viewer.vehicles["v-1"]["lat_e7"] == 312_310_000)
    assert viewer.kinds[-1] == live_frames.DELTA
    assert viewer.vehicles["v-1"]["state"] == known | live_frames.MOVING, "a fresh fix is not stale"
    assert "v-2" in viewer.vehicles


def test_positions_come_without_the_door_bell(server: api.Server, writer: psycopg.Connection[Any], view: View) -> None:
    viewer = view(server)
    api.put_position(writer, "quiet", NOW, 31.23, 121.47)
    writer.commit()
    viewer.take_until(lambda: "quiet" in viewer.vehicles)


def test_transactions_that_commit_out_of_order_are_all_seen(
    server: api.Server, writer: psycopg.Connection[Any], database_url: str, view: View
) -> None:
    # A feed that starts begins now: alarms from before are not news.
    wait_for_feed(server)
    with psycopg.connect(database_url) as late:
        viewer = view(server)
        # The older transaction takes its id first and commits last.
        api.put_position(late, "late", NOW, 31.23, 121.47)
        api.put_alarm(late, "late", NOW, "tow")
        api.put_position(writer, "early", NOW, 31.23, 121.48)
        api.put_alarm(writer, "early", NOW, "crash")
        api.ring(writer, "a")
        writer.commit()
        alarms = lambda: [text["vehicle_id"] for text in viewer.texts if text["type"] == "alarm"]  # noqa: E731
        viewer.take_until(lambda: "early" in viewer.vehicles and alarms())
        assert "late" not in viewer.vehicles
        # More transactions pass the open one, each read moves on.
        api.put_position(writer, "early", NOW + timedelta(seconds=1), 31.24, 121.48)
        api.ring(writer)
        writer.commit()
        viewer.take_until(lambda: viewer.vehicles["early"]["lat_e7"] == 312_400_000)
        api.ring(late, "a")
        late.commit()
        viewer.take_until(lambda: "late" in viewer.vehicles and len(alarms()) == 2)
    assert alarms() == ["early", "late"], "each alarm once"


def test_only_the_viewport_is_sent_and_leaving_it_is_seen(
    server: api.Server, writer: psycopg.Connection[Any], view: View
) -> None:
    api.put_position(writer, "here", NOW, 31.23, 121.47)
    api.put_position(writer, "helsinki", NOW, 60.17, 24.94)
    writer.commit()
    viewer = view(server)
    viewer.take_until(lambda: "here" in viewer.vehicles)
    assert set(viewer.vehicles) == {"here"}
    assert "helsinki" not in viewer.names.values()

    api.put_position(writer, "here", NOW + timedelta(seconds=1), 45.0, 100.0)
    api.ring(writer)
    writer.commit()
    viewer.take_until(lambda: viewer.vehicles["here"]["lat_e7"] == 450_000_000)

    viewer.look_at([24.0, 60.0, 26.0, 61.0])
    viewer.take_until(lambda: "helsinki" in viewer.vehicles)
    assert viewer.kinds[-1] == live_frames.SNAPSHOT
    assert set(viewer.vehicles) == {"helsinki"}


def test_alarm_is_pushed_whatever_the_viewport(server: api.Server, writer: psycopg.Connection[Any], view: View) -> None:
    api.put_alarm(writer, "old", NOW, "sos")
    writer.commit()
    wait_for_feed(server)
    viewer = view(server, [0, 0, 1, 1])
    viewer.take_until(lambda: viewer.kinds)
    api.put_alarm(writer, "v-9", NOW, "crash", '{"lat_deg": 31.2, "lon_deg": 121.5, "crs": "wgs84"}')
    api.put_alarm(writer, "v-8", NOW, "tow", '{"lat_deg": "NaN", "lon_deg": 1e400, "boot": 3}'.replace("1e400", "999"))
    api.put_alarm(writer, "v-7", NOW, "tow", '{"lat_deg": 31.2, "lon_deg": 121.5, "crs": "gcj02"}')
    api.ring(writer, "a")
    writer.commit()
    alarms = lambda: {text["vehicle_id"]: text for text in viewer.texts if text["type"] == "alarm"}  # noqa: E731
    viewer.take_until(lambda: len(alarms()) == 3)
    assert alarms()["v-9"] == {
        "type": "alarm",
        "vehicle_id": "v-9",
        "kind": "crash",
        "occurred_at": f"{NOW:%Y-%m-%dT%H:%M:%S}.250Z",
        "device_time": f"{NOW:%Y-%m-%dT%H:%M:%S}.250Z",
        "received_at": f"{NOW:%Y-%m-%dT%H:%M:%S}.250Z",
        "clock_valid": True,
        "lat_deg": 31.2,
        "lon_deg": 121.5,
    }
    assert alarms()["v-8"]["lat_deg"] is None, "a position that is none is not passed on"
    assert alarms()["v-7"]["lat_deg"] is None, "GCJ-02 is never shown as WGS-84"


def test_more_alarms_than_are_pushed_are_announced(
    server: api.Server, writer: psycopg.Connection[Any], monkeypatch: pytest.MonkeyPatch, view: View
) -> None:
    monkeypatch.setattr("fleet_api.live_source.MAX_ALARMS", 3)
    wait_for_feed(server)
    viewer = view(server)
    viewer.take_until(lambda: viewer.kinds)
    for number in range(5):
        api.put_alarm(writer, f"v-{number}", NOW + timedelta(seconds=number), "crash")
    api.ring(writer, "a")
    writer.commit()
    pushed = lambda: [text for text in viewer.texts if text["type"].startswith("alarm")]  # noqa: E731
    viewer.take_until(lambda: len(pushed()) == 4)
    assert pushed()[0] == {"type": "alarms_left_out", "count": 2}
    assert [text["vehicle_id"] for text in pushed()[1:]] == ["v-2", "v-3", "v-4"]


def test_slow_client_is_cut_off_while_another_goes_on(
    server: api.Server, writer: psycopg.Connection[Any], monkeypatch: pytest.MonkeyPatch, view: View
) -> None:
    monkeypatch.setattr(live_wire.LiveWire, "patience_s", 1.0)
    monkeypatch.setattr(live_wire.LiveWire, "last_word_s", 3.0)
    fleet = 20_000
    writer.execute(
        "INSERT INTO latest_positions (vehicle_id, last_reading_at, received_at, device_time, seq, lat_deg, lon_deg)"
        " SELECT 'bulk-' || n, now(), now(), now(), 1, 31.2 + n * 1e-6, 121.5 FROM generate_series(1, %s) n",
        [fleet],
    )
    writer.commit()
    # Never reads: its library takes a few frames, then the buffers on the way fill up.
    stuck = view(server, max_queue=1, ping_interval=None).socket
    reader = view(server)
    reader.take_until(lambda: len(reader.vehicles) == fleet)
    for step in range(400):
        writer.execute(
            "UPDATE latest_positions SET lon_deg = 121.5 + %s * 1e-5, changed_xid = pg_current_xact_id()", [step + 1]
        )
        api.ring(writer)
        writer.commit()
        wanted = 1_215_000_000 + (step + 1) * 100
        reader.take_until(lambda wanted=wanted: reader.vehicles["bulk-7"]["lon_e7"] == wanted)
        if httpx.get(server.http_url + "/api/health").json()["live"]["slow_clients_cut"]:
            break
    else:
        raise AssertionError("the stuck client was never cut off")
    assert httpx.get(server.http_url + "/api/health").json()["live"]["clients"] == 1
    with pytest.raises(ConnectionClosed) as closed:
        for _ in range(1000):
            stuck.recv(timeout=10)
    assert closed.value.rcvd is not None, "it is told why, behind what was still under way"
    assert (closed.value.rcvd.code, closed.value.rcvd.reason) == (4008, "too slow: frames were not read")


def test_database_restart_gives_a_fresh_snapshot_and_no_alarm_is_lost(tmp_path: Path, view: View) -> None:
    database = EmbeddedPostgres(tmp_path / "own")
    database.start()
    try:
        with db.connect(database.url, "test") as connection:
            migrate.migrate(connection)
            api.put_position(connection, "v-1", NOW, 31.23, 121.47)
            connection.commit()
        with api.running(api.settings_for(database.url)) as server:
            viewer = view(server)
            viewer.take_until(lambda: "v-1" in viewer.vehicles)
            database.stop("immediate")
            viewer.take_until(lambda: {"type": "feed", "state": "lost"} in viewer.texts)
            answer = httpx.get(server.http_url + "/api/health")
            assert answer.status_code == 503
            assert answer.json()["reasons"] == ["The database cannot be reached.", "The live feed lost the database."]
            refused = httpx.get(server.http_url + "/api/vehicles", headers=server.headers)
            assert (refused.status_code, refused.json()["detail"]) == (503, "The database cannot be reached.")
            assert viewer.vehicles, "what was known stays on the map"
            kinds = len(viewer.kinds)
            database.start()
            with db.connect(database.url, "test") as connection:
                api.put_position(connection, "v-1", NOW + timedelta(seconds=1), 31.25, 121.47)
                api.put_alarm(connection, "v-1", NOW, "crash")
                connection.commit()
            viewer.take_until(lambda: viewer.vehicles.get("v-1", {}).get("lat_e7") == 312_500_000)
            viewer.take_until(lambda: any(text["type"] == "alarm" for text in viewer.texts))
            assert live_frames.SNAPSHOT in viewer.kinds[kinds:]
            assert httpx.get(server.http_url + "/api/vehicles", headers=server.headers).status_code == 200
            assert httpx.get(server.http_url + "/api/health").status_code == 200
    finally:
        database.stop("immediate")


def test_retired_vehicle_leaves_the_map(server: api.Server, writer: psycopg.Connection[Any], view: View) -> None:
    api.put_position(writer, "v-1", NOW, 31.23, 121.47)
    api.put_position(writer, "v-2", NOW, 31.23, 121.48)
    writer.commit()
    viewer = view(server)
    viewer.take_until(lambda: len(viewer.vehicles) == 2)
    answer = httpx.patch(
        server.http_url + "/api/vehicles/v-1", json={"revision": 1, "retired": True}, headers=server.headers
    )
    assert answer.status_code == 200
    viewer.take_until(lambda: set(viewer.vehicles) == {"v-2"})
    live_list = httpx.get(server.http_url + "/api/vehicles/live", headers=server.headers).json()
    assert [vehicle["vehicle_id"] for vehicle in live_list["vehicles"]] == ["v-2"]


@pytest.mark.parametrize(
    ("message", "said"),
    [
        ('{"viewport": [1, 2, 3]}', "[west, south, east, north]"),
        ('{"viewport": [1, 2, 3, NaN]}', "four finite numbers"),
        ('{"viewport": [1, 3, 3, 2]}', "south is not above north"),
        ('{"viewport": [1, 2, 3, true]}', "four finite numbers"),
        ("[]", "expected"),
        ("nonsense", "not understood"),
    ],
)
def test_bad_message_closes_with_the_reason(server: api.Server, message: str, said: str) -> None:
    with connect(server.live_url, additional_headers=server.headers) as socket:
        socket.send(message)
        with pytest.raises(ConnectionClosed) as closed:
            for _ in range(10):
                socket.recv(timeout=20)
    assert closed.value.rcvd is not None
    assert closed.value.rcvd.code == 1008
    assert said in closed.value.rcvd.reason


def test_message_larger_than_a_viewport_is_refused(server: api.Server) -> None:
    with connect(server.live_url, additional_headers=server.headers) as socket:
        socket.send(json.dumps({"viewport": [0] * 4000}))
        with pytest.raises(ConnectionClosed) as closed:
            for _ in range(10):
                socket.recv(timeout=20)
    assert closed.value.rcvd is not None and closed.value.rcvd.code == 1009


def test_another_site_may_not_connect(server: api.Server) -> None:
    with pytest.raises(InvalidStatus) as refused:
        connect(server.live_url, origin="http://evil.example")  # type: ignore[arg-type]
    assert refused.value.response.status_code == 403
    with connect(
        server.live_url,
        origin=server.http_url,
        additional_headers=server.headers,
    ) as socket:  # type: ignore[arg-type]
        assert json.loads(socket.recv(timeout=20))["type"] == "hello"


def test_one_client_too_many_is_told_so(server: api.Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live, "MAX_CLIENTS", 1)
    with connect(server.live_url, additional_headers=server.headers) as first:
        assert json.loads(first.recv(timeout=20))["type"] == "hello"
        with connect(server.live_url, additional_headers=server.headers) as second:
            with pytest.raises(ConnectionClosed) as closed:
                second.recv(timeout=20)
            assert closed.value.rcvd is not None
            assert (closed.value.rcvd.code, closed.value.rcvd.reason) == (
                1013,
                "too many live connections: at most 1",
            )
