"""The HTTP resources against a real server and a real database."""

import gzip
import json
import socket
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest

from fleet_api import pool, queries, serve
from fleet_api.app import create_app
from fleet_core import settings as settings_module
from fleet_core.cli import Refusal
from fleet_core.settings import Settings
from tests.services import api

START = datetime(2026, 3, 1, 8, 0, tzinfo=UTC)


@pytest.fixture
def client(database_url: str) -> Iterator[httpx.Client]:
    with (
        api.running(api.settings_for(database_url)) as server,
        server.client() as client,
    ):
        yield client


@pytest.fixture
def writer(database_url: str) -> Iterator[psycopg.Connection[Any]]:
    with psycopg.connect(database_url) as connection:
        yield connection


def problem(answer: httpx.Response, status: int) -> dict[str, Any]:
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    body: dict[str, Any] = answer.json()
    assert body["status"] == status and body["detail"].endswith(".")
    return body


def test_vehicle_is_created_read_edited_and_retired(client: httpx.Client) -> None:
    created = client.post("/api/vehicles", json={"vehicle_id": "hu-1", "plate": "沪A12345", "depot": "north"})
    assert created.status_code == 201
    assert created.headers["location"] == "/api/vehicles/hu-1"
    assert created.json()["revision"] == 1 and created.json()["registered_by"] == "people"
    assert created.json()["registered_at"].endswith("Z")

    edited = client.patch("/api/vehicles/hu-1", json={"revision": 1, "model": "Model 3", "plate": None}).json()
    assert (edited["model"], edited["plate"], edited["depot"], edited["revision"]) == ("Model 3", None, "north", 2)

    read = client.get("/api/vehicles/hu-1").json()
    assert read["model"] == "Model 3" and read["position"] is None and read["devices"] == []

    stale = problem(client.patch("/api/vehicles/hu-1", json={"revision": 1, "model": "Polo"}), 409)
    assert (stale["field"], stale["current_revision"]) == ("revision", 2)
    assert client.get("/api/vehicles/hu-1").json()["model"] == "Model 3"

    retired = client.patch("/api/vehicles/hu-1", json={"revision": 2, "retired": True}).json()
    assert retired["retired_at"] is not None
    kept = client.patch("/api/vehicles/hu-1", json={"revision": 3, "note": "sold"}).json()
    assert kept["retired_at"] == retired["retired_at"]
    assert client.get("/api/vehicles").json()["vehicles"] == []
    assert len(client.get("/api/vehicles", params={"with_retired": True}).json()["vehicles"]) == 1


def test_two_editors_at_once_cannot_both_win(client: httpx.Client, writer: psycopg.Connection[Any]) -> None:
    client.post("/api/vehicles", json={"vehicle_id": "v-1"})
    # Another editor has written and not yet committed when the request reads the old revision.
    writer.execute("UPDATE vehicles SET note = 'first', revision = revision + 1 WHERE vehicle_id = 'v-1'")
    answers: list[httpx.Response] = []
    second = threading.Thread(
        target=lambda: answers.append(client.patch("/api/vehicles/v-1", json={"revision": 1, "note": "second"}))
    )
    second.start()
    while not writer.execute(
        "SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND application_name = 'fleetward-api'"
        " AND datname = current_database()"
    ).fetchone():
        assert second.is_alive()
    writer.commit()
    second.join()
    assert problem(answers[0], 409)["current_revision"] == 2
    assert client.get("/api/vehicles/v-1").json()["note"] == "first"


def test_doubles_are_conflicts_that_name_the_field(client: httpx.Client) -> None:
    client.post("/api/vehicles", json={"vehicle_id": "v-1", "plate": "沪A1"})
    assert problem(client.post("/api/vehicles", json={"vehicle_id": "v-1"}), 409)["field"] == "vehicle_id"
    taken = problem(client.post("/api/vehicles", json={"vehicle_id": "v-2", "plate": "沪A1"}), 409)
    assert taken["field"] == "plate" and "沪A1" in taken["detail"]
    client.post("/api/vehicles", json={"vehicle_id": "v-2"})
    assert problem(client.patch("/api/vehicles/v-2", json={"revision": 1, "plate": "沪A1"}), 409)["field"] == "plate"
    assert client.post("/api/devices", json={"device_id": "d"}).status_code == 201
    assert problem(client.post("/api/devices", json={"device_id": "d"}), 409)["field"] == "device_id"


def test_search_and_pages(client: httpx.Client, writer: psycopg.Connection[Any]) -> None:
    writer.execute(
        "INSERT INTO vehicles (vehicle_id, plate, depot) SELECT 'v_' || to_char(n, 'FM000'), 'P%' || n,"
        " CASE WHEN n % 2 = 0 THEN 'even' ELSE 'odd' END FROM generate_series(1, 25) n"
    )
    writer.commit()
    seen, cursor = [], ""
    while cursor is not None:
        page = client.get("/api/vehicles", params={"limit": 10, "cursor": cursor, "depot": "odd"}).json()
        seen += [vehicle["vehicle_id"] for vehicle in page["vehicles"]]
        cursor = page["next_cursor"]
    assert seen == [f"v_{n:03}" for n in range(1, 26, 2)]
    found = lambda text: len(client.get("/api/vehicles", params={"q": text}).json()["vehicles"])  # noqa: E731
    assert found("V_01") == 10
    assert found("p%2") == 7, "a % in the text is a %, not anything"
    assert found("_02") == 6, "an underscore is an underscore"
    assert found("v-") == 0


def test_devices_belong_to_vehicles(client: httpx.Client) -> None:
    client.post("/api/vehicles", json={"vehicle_id": "v-1"})
    created = client.post("/api/devices", json={"device_id": "user/phone", "vehicle_id": "v-1", "kind": "owntracks"})
    assert created.status_code == 201
    assert client.get("/api/devices/user/phone").json()["kind"] == "owntracks"
    assert client.get("/api/vehicles/v-1").json()["devices"][0]["device_id"] == "user/phone"
    assert client.get("/api/devices", params={"vehicle_id": "v-1"}).json()["next_cursor"] is None
    moved = client.patch("/api/devices/user/phone", json={"revision": 1, "vehicle_id": None}).json()
    assert (moved["vehicle_id"], moved["kind"], moved["revision"]) == (None, "owntracks", 2)
    unknown = problem(client.patch("/api/devices/user/phone", json={"revision": 2, "vehicle_id": "nope"}), 422)
    assert unknown["field"] == "vehicle_id" and "'nope'" in unknown["detail"]
    assert problem(client.patch("/api/devices/user/phone", json={"revision": 1}), 409)["current_revision"] == 2
    problem(client.get("/api/devices/other"), 404)


@pytest.mark.parametrize(
    ("method", "path", "body", "field", "said"),
    [
        ("GET", "/api/vehicles?limit=0", None, "limit", "greater than or equal to 1"),
        ("GET", "/api/vehicles?limit=many", None, "limit", "integer"),
        ("GET", "/api/vehicles/live?viewport=1,2,3", None, "viewport", "west,south,east,north"),
        ("GET", "/api/vehicles/live?viewport=1,2,3,nan", None, "viewport", "-180 to 180"),
        ("GET", "/api/vehicles/v/track", None, "from", "required"),
        ("GET", "/api/vehicles/v/track?from=2026-03-01T08:00:00&to=2026-03-01T09:00:00Z", None, "from", "zone"),
        ("GET", "/api/vehicles/v/track?from=1764000000&to=2026-03-01T09:00:00Z", None, "from", "written out"),
        ("GET", "/api/vehicles/v/track?from=2026-03-01T08:00:00+08:00&to=2026-03-01T09:00:00Z", None, "from", "%2B"),
        ("GET", "/api/vehicles/v/track?from=2026-03-01T08:00:00Z&to=2026-03-01T08:00:00Z", None, "to", "after"),
        ("GET", "/api/vehicles/v/track?from=2026-01-01T08:00:00Z&to=2026-03-01T08:00:00Z", None, "to", "31 days"),
        ("GET", "/api/vehicles/no%20id", None, "vehicle_id", "match"),
        ("POST", "/api/vehicles", {"vehicle_id": "a b"}, "vehicle_id", "match"),
        ("POST", "/api/vehicles", {"vehicle_id": "live"}, "vehicle_id", "live"),
        ("POST", "/api/vehicles", {"vehicle_id": "v", "colour": "red"}, "colour", "not permitted"),
        ("POST", "/api/vehicles", {"vehicle_id": "v", "vin": "SHORT"}, "vin", "match"),
        ("POST", "/api/vehicles", {"vehicle_id": "v", "plate": "a\u0000b"}, "plate", "match"),
        ("POST", "/api/vehicles", {"vehicle_id": "v", "vehicle_class": "boat"}, "vehicle_class", "'car'"),
        ("POST", "/api/vehicles", [], "body", "not a JSON object"),
        ("POST", "/api/vehicles", None, "body", "missing"),
        ("PATCH", "/api/vehicles/v", {"note": "x"}, "revision", "required"),
        ("POST", "/api/devices", {"device_id": "d", "imei": "12"}, "imei", "match"),
        ("POST", "/api/devices", {"device_id": "d", "vehicle_id": "nope"}, "vehicle_id", "no vehicle"),
    ],
)
def test_bad_parameters_are_one_clear_sentence(
    client: httpx.Client, method: str, path: str, body: Any, field: str, said: str
) -> None:
    answer = problem(client.request(method, path, json=body) if body is not None else client.request(method, path), 422)
    assert answer["field"] == field
    assert said in answer["detail"]


def test_body_that_is_no_json(client: httpx.Client) -> None:
    answer = client.post("/api/vehicles", content=b"{oops", headers={"content-type": "application/json"})
    assert problem(answer, 422)["field"] == "body"


def test_what_is_not_there_is_404(client: httpx.Client) -> None:
    assert "'ghost'" in problem(client.get("/api/vehicles/ghost"), 404)["detail"]
    problem(client.patch("/api/vehicles/ghost", json={"revision": 1}), 404)
    problem(client.get("/api/vehicles/ghost/track?from=2026-03-01T08:00:00Z&to=2026-03-01T09:00:00Z"), 404)
    problem(client.get("/api/nothing"), 404)
    problem(client.delete("/api/vehicles"), 405)
    assert "FLEET_CITY_PACK" in problem(client.get("/api/basemap"), 404)["detail"]


def test_live_snapshot_has_no_nan_and_keeps_to_the_viewport(
    client: httpx.Client, writer: psycopg.Connection[Any]
) -> None:
    api.put_position(writer, "here", START, 31.23, 121.47, speed_kmh=float("nan"), heading_deg=None)
    api.put_position(writer, "fiji-west", START, -17.0, 179.9)
    api.put_position(writer, "fiji-east", START, -17.0, -179.9)
    api.put_position(writer, "nowhere", START, float("nan"), 121.0)
    writer.execute(
        "INSERT INTO latest_positions (vehicle_id, last_reading_at, received_at) VALUES ('no-fix', now(), now())"
    )
    writer.commit()
    ids = lambda **query: [  # noqa: E731
        vehicle["vehicle_id"] for vehicle in client.get("/api/vehicles/live", params=query).json()["vehicles"]
    ]
    assert ids() == ["fiji-east", "fiji-west", "here"]
    assert ids(viewport="121,31,122,32") == ["here"]
    assert ids(viewport="179,-18,-179,-16") == ["fiji-east", "fiji-west"]
    answer = client.get("/api/vehicles/live", params={"limit": 1}).json()
    assert answer["truncated"] is True and len(answer["vehicles"]) == 1
    here = client.get("/api/vehicles/live", params={"viewport": "121,31,122,32"}).json()["vehicles"][0]
    assert here["speed_kmh"] is None and here["device_time"] == "2026-03-01T08:00:00.000Z"
    assert client.get("/api/vehicles/here").json()["position"]["speed_kmh"] is None


def drive(writer: psycopg.Connection[Any], seconds: int) -> list[dict[str, Any]]:
    """A right-angled drive with one speed peak, one reading a second; the corner and the peak lie anywhere."""
    corner, peak = seconds * 37 // 100, seconds * 71 // 100
    rows = []
    for n in range(seconds):
        north, east = min(n, corner), max(0, n - corner)
        rows.append(
            {
                "t": START + timedelta(seconds=n),
                "q": n,
                "la": 31.2 + north * 1e-5,
                "lo": 121.4 + east * 1e-5,
                "s": 133.7 if n == peak else 36.0,
            }
        )
    with writer.cursor().copy(
        "COPY readings (vehicle_id, device_time, seq, received_at, lat_deg, lon_deg, speed_kmh) FROM STDIN"
    ) as copy:
        for row in rows:
            copy.write_row(("v-1", row["t"], row["q"], row["t"], row["la"], row["lo"], row["s"]))
    writer.execute("INSERT INTO vehicles (vehicle_id) VALUES ('v-1')")
    # Readings that are no valid fix.
    writer.execute(
        "INSERT INTO readings (vehicle_id, device_time, seq, received_at, lat_deg, lon_deg, speed_kmh, fix_valid)"
        " VALUES"
        " ('v-1', %(t)s, 900001, %(t)s, 0, 0, 200, NULL), ('v-1', %(t)s, 900002, %(t)s, 31, 121, 200, false),"
        " ('v-1', %(t)s, 900003, %(t)s, NULL, NULL, 200, NULL), ('v-1', %(t)s, 900004, %(t)s, 'NaN', 121, 200, NULL)",
        {"t": START + timedelta(seconds=5)},
    )
    writer.commit()
    return rows


def test_track_is_thinned_by_choosing_stored_rows(client: httpx.Client, writer: psycopg.Connection[Any]) -> None:
    rows = drive(writer, 5000)
    span = {"from": "2026-03-01T16:00:00+08:00", "to": "2026-03-01T12:00:00Z"}
    track = client.get("/api/vehicles/v-1/track", params={**span, "max_points": 200}).json()
    assert (track["raw_count"], track["downsampled"]) == (5000, True)
    assert track["from"] == "2026-03-01T08:00:00.000Z"
    points = track["points"]
    assert track["returned_count"] == len(points) <= 200
    stored = {(row["q"], row["la"], row["lo"], row["s"]) for row in rows}
    chosen = [(int(point["seq"]), point["lat_deg"], point["lon_deg"], point["speed_kmh"]) for point in points]
    assert set(chosen) <= stored, "every point is a row as it was stored"
    assert chosen == sorted(chosen), "in order of time, none twice"
    assert len(set(chosen)) == len(chosen)
    assert chosen[0][0] == 0 and chosen[-1][0] == 4999, "begin and end are kept"
    assert max(point["speed_kmh"] for point in points) == 133.7, "the peak is kept"
    assert 1850 in {number for number, *_ in chosen}, "the corner is kept to the second"

    whole = client.get("/api/vehicles/v-1/track", params={**span, "max_points": 5000}).json()
    assert (whole["returned_count"], whole["downsampled"]) == (5000, False)
    few = client.get("/api/vehicles/v-1/track", params={**span, "max_points": 10}).json()
    assert 2 <= few["returned_count"] <= 10
    part = {"from": "2026-03-01T08:00:10Z", "to": "2026-03-01T08:00:20Z"}
    assert [point["seq"] for point in client.get("/api/vehicles/v-1/track", params=part).json()["points"]] == [
        str(n) for n in range(10, 20)
    ], "the begin is included, the end is not"
    none = client.get(
        "/api/vehicles/v-1/track", params={"from": "2020-01-01T00:00:00Z", "to": "2020-01-02T00:00:00Z"}
    ).json()
    assert (none["raw_count"], none["points"], none["downsampled"]) == (0, [], False)
    assert writer.execute("SELECT count(*) FROM readings").fetchone() == (5004,), "nothing stored was altered"


def test_answer_is_sent_only_after_the_commit(client: httpx.Client, writer: psycopg.Connection[Any]) -> None:
    # A constraint that is looked at only at commit: the route succeeds, the transaction does not.
    writer.execute(
        "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS"
        " $$ BEGIN RAISE EXCEPTION 'no' USING ERRCODE = '57014'; END $$;"
        " CREATE CONSTRAINT TRIGGER late AFTER INSERT ON vehicles DEFERRABLE INITIALLY DEFERRED"
        " FOR EACH ROW EXECUTE FUNCTION refuse()"
    )
    writer.commit()
    problem(client.post("/api/vehicles", json={"vehicle_id": "v-1"}), 503)
    assert writer.execute("SELECT count(*) FROM vehicles").fetchone() == (0,)


def test_pool_is_bounded_and_says_so(database_url: str) -> None:
    small = pool.Pool(database_url, size=1, wait_seconds=0.05)
    busy = pytest.raises(pool.BusyError, match="no database connection came free")
    with small.transaction(), busy, small.transaction():
        pass
    with pytest.raises(ZeroDivisionError), small.transaction() as connection:
        queries.insert_device(
            connection,
            {"device_id": "d", "vehicle_id": None, "kind": "native", "imei": None, "firmware": None, "note": None},
        )
        raise ZeroDivisionError
    with small.transaction() as connection:
        assert queries.device_by_id(connection, "d") is None, "what raised was rolled back"
    small.close()


def test_pool_replaces_a_connection_that_the_server_ended(database_url: str, writer: psycopg.Connection[Any]) -> None:
    small = pool.Pool(database_url, size=1)
    with small.transaction() as connection:
        backend = connection.info.backend_pid
    writer.execute("SELECT pg_terminate_backend(%s, 10000)", [backend])
    with small.transaction() as connection:
        assert connection.info.backend_pid != backend
    small.close()


def test_health_states_what_is_missing(
    database_url: str, client: httpx.Client, writer: psycopg.Connection[Any]
) -> None:
    quiet = client.get("/api/health").json()
    assert quiet["ingest"] == {"newest_received_at": None, "lag_s": None}
    api.put_position(writer, "v-1", datetime.now(UTC) - timedelta(minutes=2), 31.2, 121.4)
    writer.execute("INSERT INTO schema_migrations (number, name, digest) VALUES (9999, 'later', 'x')")
    writer.commit()
    answer = client.get("/api/health")
    assert answer.status_code == 503
    assert answer.json()["database"]["migration"] == 9999
    assert answer.json()["ingest"]["lag_s"] > 119
    assert any("at migration 9999" in reason for reason in answer.json()["reasons"])
    writer.execute("DROP TABLE schema_migrations")
    writer.commit()
    assert "no schema yet" in client.get("/api/health").json()["reasons"][0]


def test_roads_of_the_city_pack(database_url: str, tmp_path: Path) -> None:
    roads = {"type": "FeatureCollection", "features": []}
    (tmp_path / "toytown.roads.geojson.gz").write_bytes(gzip.compress(json.dumps(roads).encode()))
    (tmp_path / "meta.json").write_text(
        json.dumps({"name": {"zh": "玩具城", "en": "Toytown"}, "bounds": [1, 2, 3, 4], "attribution": "© nobody"})
    )
    with (
        api.running(api.settings_for(database_url, city_pack=str(tmp_path))) as server,
        server.client() as client,
    ):
        about = client.get("/api/basemap").json()
        assert about == {
            "name": {"zh": "玩具城", "en": "Toytown"},
            "bounds": [1, 2, 3, 4],
            "attribution": {"zh": "© nobody", "en": "© nobody"},
        }
        answer = client.get("/api/basemap/roads")
        assert answer.headers["content-encoding"] == "gzip" and answer.json() == roads
        plain = client.get("/api/basemap/roads", headers={"accept-encoding": "identity"})
        assert "content-encoding" not in plain.headers and plain.json() == roads
        again = client.get("/api/basemap/roads", headers={"if-none-match": answer.headers["etag"]})
        assert again.status_code == 304


def test_other_sites_and_other_names_are_kept_out(client: httpx.Client) -> None:
    foreign = problem(
        client.post("/api/vehicles", json={"vehicle_id": "v"}, headers={"origin": "http://evil.example"}), 403
    )
    assert "another site" in foreign["detail"]
    problem(client.get("/api/vehicles", headers={"host": "rebound.example"}), 403)
    assert client.get("/", headers={"host": f"localhost:{client.base_url.port}"}).status_code == 200
    page = client.get("/")
    assert "default-src 'none'" in page.headers["content-security-policy"]
    assert page.headers["x-content-type-options"] == "nosniff"


def test_openapi_describes_every_route_and_parameter(client: httpx.Client) -> None:
    document = client.get("/api/openapi.json").json()
    expected = {
        "/api/health",
        "/api/vehicles",
        "/api/vehicles/live",
        "/api/vehicles/{vehicle_id}",
        "/api/vehicles/{vehicle_id}/track",
        "/api/devices",
        "/api/devices/{device_id}",
        "/api/alarms",
        "/api/basemap",
        "/api/basemap/roads",
    }
    assert expected <= set(document["paths"])
    for path, operations in document["paths"].items():
        for operation in operations.values():
            assert operation["summary"], path
            for parameter in operation.get("parameters", []):
                if parameter["in"] == "query":
                    assert parameter["description"], (path, parameter["name"])


def test_address_that_others_reach_is_refused_until_allowed(database_url: str) -> None:
    remote = Settings(database_url=database_url, http_host="0.0.0.0", http_port=0)
    with pytest.raises(Refusal, match="FLEET_HTTP_ALLOW_REMOTE"):
        serve.bind(remote)
    allowed = Settings(database_url=database_url, http_host="0.0.0.0", http_port=0, http_allow_remote="yes")
    serve.bind(allowed).close()
    with pytest.raises(Refusal, match="not an address"):
        serve.bind(Settings(database_url=database_url, http_host="no-such-host.invalid", http_port=0))


def test_port_taken_is_one_sentence(database_url: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(Refusal, match=f"port {port} on 127.0.0.1 cannot be used: address already in use"):
            serve.bind(Settings(database_url=database_url, http_port=port))


def test_app_without_a_database_url_is_refused() -> None:
    with pytest.raises(settings_module.SettingsError, match="FLEET_DATABASE_URL"):
        create_app(Settings())
