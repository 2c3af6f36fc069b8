"""Every route, every role, one's own and a foreign depot: what is allowed is written here a second time, by hand."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from types import ModuleType
from typing import Any, Final

import httpx
import psycopg
import pytest
from fastapi import APIRouter, FastAPI
from fastapi.routing import APIRoute

from fleet_api import app as application
from fleet_api.access import admission
from fleet_api.access.roles import Role
from fleet_core.embedded.postgres import EmbeddedPostgres
from tests.services import api, databases

NOW: Final = datetime.now(UTC)
LETTERS: Final = {
    "D": Role.DISPATCHER, "S": Role.SUPERVISOR, "M": Role.MAINTENANCE, "C": Role.CLAIMS, "U": Role.AUDITOR,
    "A": Role.ADMIN,
}  # fmt: skip

# route -> who may, and how depots count: "-" not at all, "v" the address names something of a vehicle, "l" a list that
# narrows, "f" only who has every depot, "public".
MATRIX: Final = {
    "GET /api/health": ("", "public"),
    "POST /api/session": ("", "public"),
    "DELETE /api/session": ("", "public"),
    "GET /api/session": ("DSMCUA", "-"),
    "POST /api/session/password": ("DSMCUA", "-"),
    "POST /api/session/totp": ("DSMCUA", "-"),
    "POST /api/session/totp/confirm": ("DSMCUA", "-"),
    "POST /api/session/totp/remove": ("DSMCUA", "-"),
    "GET /api/users": ("UA", "f"),
    "POST /api/users": ("A", "f"),
    "GET /api/users/{user_id}": ("UA", "f"),
    "PUT /api/users/{user_id}": ("A", "f"),
    "POST /api/users/{user_id}/password": ("A", "f"),
    "DELETE /api/users/{user_id}/totp": ("A", "f"),
    "GET /api/depots": ("DSMCUA", "l"),
    "POST /api/depots": ("A", "f"),
    "PUT /api/depots/{depot_id}": ("A", "f"),
    "GET /api/tokens": ("UA", "f"),
    "POST /api/tokens": ("A", "f"),
    "DELETE /api/tokens/{token_id}": ("A", "f"),
    "GET /api/audit": ("UA", "f"),
    "GET /api/vehicles": ("DSMCUA", "l"),
    "POST /api/vehicles": ("SMA", "-"),
    "GET /api/vehicles/live": ("DSMUA", "l"),
    "GET /api/vehicles/{vehicle_id}": ("DSMCUA", "v"),
    "PATCH /api/vehicles/{vehicle_id}": ("SMA", "v"),
    "GET /api/vehicles/{vehicle_id}/track": ("DSCUA", "v"),
    "GET /api/devices": ("DSMCUA", "l"),
    "POST /api/devices": ("SMA", "-"),
    "GET /api/devices/{device_id:path}": ("DSMCUA", "v"),
    "PATCH /api/devices/{device_id:path}": ("SMA", "v"),
    "GET /api/alarms": ("DSMCUA", "l"),
    "GET /api/basemap": ("DSMCUA", "-"),
    "GET /api/basemap/maps": ("DSMCUA", "-"),
    "GET /api/basemap/roads": ("DSMCUA", "-"),
    "GET /api/incidents": ("DSMCUA", "l"),
    "GET /api/incidents/counts": ("DSMCUA", "l"),
    "GET /api/incidents/drills": ("DSMCUA", "l"),
    "GET /api/incidents/{incident_id}": ("DSMCUA", "v"),
    "GET /api/incidents/{incident_id}/response": ("DSMCUA", "v"),
    "POST /api/incidents/{incident_id}/acknowledge": ("DSA", "v"),
    "POST /api/incidents/{incident_id}/assign": ("DSA", "v"),
    "POST /api/incidents/{incident_id}/comment": ("DSMCA", "v"),
    "POST /api/incidents/{incident_id}/level": ("DSA", "v"),
    "POST /api/incidents/{incident_id}/injury": ("DSA", "v"),
    "POST /api/incidents/{incident_id}/checklist/{item}": ("DSA", "v"),
    "POST /api/incidents/{incident_id}/checklist/{item}/undo": ("DSA", "v"),
    "POST /api/incidents/{incident_id}/dismiss": ("DSA", "v"),
    "POST /api/incidents/{incident_id}/resolve": ("DSA", "v"),
    "POST /api/incidents/{incident_id}/reopen": ("DSA", "v"),
    "POST /api/incidents/{incident_id}/countermeasures": ("DSMCA", "v"),
    "POST /api/incidents/{incident_id}/countermeasures/{countermeasure_id}/done": ("DSMCA", "v"),
    "POST /api/incidents/{incident_id}/countermeasures/{countermeasure_id}/check": ("DSMCA", "v"),
    "POST /api/incidents/{incident_id}/obligations/{obligation_id}/done": ("DSMCA", "v"),
    "GET /api/detections": ("DSMCUA", "l"),
    "GET /api/detections/detectors": ("DSMCUA", "-"),
    "GET /api/detections/{detection_id}/judgements": ("DSMCUA", "v"),
    "POST /api/reports": ("DSMCA", "-"),
    "POST /api/weather": ("DSA", "f"),
    "GET /api/weather": ("DSMCUA", "-"),
    "GET /api/geofences": ("DSMCUA", "l"),
    "POST /api/geofences": ("SA", "f"),
    "PUT /api/geofences/{fence_id}": ("SA", "f"),
    "GET /api/people": ("DSMCUA", "l"),
    "POST /api/people": ("SA", "f"),
    "PUT /api/people/{person_id}": ("SA", "f"),
    "GET /api/duty": ("DSMCUA", "l"),
    "POST /api/duty": ("SA", "f"),
    "DELETE /api/duty/{shift_id}": ("SA", "f"),
    "GET /api/response/holes": ("DSMCUA", "-"),
    "GET /api/response/health": ("DSMCUA", "-"),
    "GET /api/response/policy": ("DSMCUA", "-"),
    "GET /api/response/false-alarms": ("DSMCUA", "l"),
}
SPAN: Final = {"from": (NOW - timedelta(days=1)).isoformat(), "to": (NOW + timedelta(days=1)).isoformat()}
NEED_SPAN: Final = ("/counts", "/drills", "/duty", "/track", "/false-alarms")


@dataclass(frozen=True)
class World:
    """A server whose database has the same in the depots north and south."""

    server: api.Server
    database_url: str
    incidents: dict[str, int]
    detections: dict[str, int]

    def address(self, path: str, depot: str) -> str:
        held = {
            "vehicle_id": f"v-{depot}", "device_id:path": f"d-{depot}", "incident_id": self.incidents[depot],
            "detection_id": self.detections[depot],
        }  # fmt: skip
        return re.sub(r"\{([^}]+)\}", lambda match: str(held.get(match.group(1), 999_999)), path)


@pytest.fixture(scope="module")
def world(migrated_server: EmbeddedPostgres) -> Iterator[World]:
    with (
        databases.fresh_database(migrated_server) as url,
        api.running(api.settings_for(url)) as server,
        server.client() as client,
    ):
        found = World(server, url, {}, {})
        for depot in ("north", "south"):
            _fill(client, url, found, depot)
        fence = {"fence_id": "both", "name": "Both", "area": SQUARE, "vehicle_ids": ["v-north", "v-south"]}
        assert client.post("/api/geofences", json=fence).status_code == 201
        yield found


SQUARE: Final = {"type": "Polygon", "coordinates": [[[121, 31], [122, 31], [122, 32], [121, 31]]]}


def _fill(client: httpx.Client, url: str, world: World, depot: str) -> None:
    vehicle_id = f"v-{depot}"
    assert client.post("/api/vehicles", json={"vehicle_id": vehicle_id, "depot": depot}).status_code == 201
    assert client.post("/api/devices", json={"device_id": f"d-{depot}", "vehicle_id": vehicle_id}).status_code == 201
    for name in (vehicle_id, f"drill-{vehicle_id}"):
        client.post("/api/vehicles", json={"vehicle_id": name, "depot": depot})
        report = {"vehicle_id": name, "kind": "accident", "occurred_at": NOW.isoformat(), "told": "a bump"}
        world.incidents.setdefault(depot, client.post("/api/reports", json=report).json()["incident_id"])
    fence = {"fence_id": f"fence-of-v-{depot}", "name": depot, "area": SQUARE, "vehicle_ids": [vehicle_id]}
    assert client.post("/api/geofences", json=fence).status_code == 201
    person = {"person_id": f"p-v-{depot}", "name": depot, "roles": ["dispatcher"], "depot": depot}
    assert client.post("/api/people", json=person).status_code == 201
    shift = {"role": "dispatcher", "person_id": f"p-v-{depot}", "depot": depot}
    span = {"starts_at": SPAN["from"], "ends_at": SPAN["to"]}
    assert client.post("/api/duty", json=shift | span).status_code == 201
    with psycopg.connect(url) as connection:
        api.put_position(connection, vehicle_id, NOW, 31.2, 121.4)
        api.put_alarm(connection, vehicle_id, NOW, "sos")
        row = connection.execute(
            "INSERT INTO detections (vehicle_id, kind, detector, version, level, score, started_at, occurred_at,"
            " ended_at, measured, reasons, first_judged_at, delay_s, judged_at, stale, incident_id)"
            " VALUES (%s, 'harsh_braking', 'd', 1, 1, 0.9, now(), now(), now(), '{}', '[]', now(), 0, now(), false,"
            " %s) RETURNING detection_id",
            [vehicle_id, world.incidents[depot]],
        ).fetchone()
        assert row is not None
        world.detections[depot] = row[0]
        connection.execute(
            "INSERT INTO detection_judgements (detection_id, judged_at, change, version, level, score, reasons,"
            " measured) VALUES (%s, now(), 'found', 1, 1, 0.9, '[]', '{}')",
            [row[0]],
        )


def served() -> set[str]:
    return {
        f"{method} {route.path}"
        for module in application._ROUTES
        for route in _router(module).routes
        if isinstance(route, APIRoute)
        for method in route.methods
    }


def _router(module: ModuleType) -> APIRouter:
    router: APIRouter = module.router
    return router


def ask(client: httpx.Client, world: World, route: str, depot: str) -> httpx.Response:
    """Ask without a body: whoever is let through is told that it is missing."""
    method, path = route.split(" ")
    address = world.address(path, depot)
    return client.request(method, address, params=SPAN if path.endswith(NEED_SPAN) else None)


def test_the_matrix_speaks_of_every_route() -> None:
    assert served() == set(MATRIX)


@pytest.mark.parametrize("route", MATRIX)
def test_nobody_is_let_through_who_is_not_signed_in(world: World, route: str) -> None:
    with world.server.client({}) as client:
        status = ask(client, world, route, "north").status_code
    assert (status != 401) if MATRIX[route][1] == "public" else (status == 401)


@pytest.mark.parametrize("letter", LETTERS)
@pytest.mark.parametrize("depots", [None, ["north"]], ids=["all depots", "one depot"])
def test_every_route(world: World, letter: str, depots: list[str] | None) -> None:
    role = LETTERS[letter]
    name = f"{role.value}-{'north' if depots else 'all'}"
    headers = api.session_of(world.database_url, name, [role], depots)
    wrong = []
    with world.server.client(headers) as client:
        for route, (letters, kind) in MATRIX.items():
            if kind == "public":
                continue
            for depot in ("north", "south"):
                answer = ask(client, world, route, depot)
                found = (answer.status_code, answer.json().get("code") if answer.status_code == 403 else None)
                if letter not in letters:
                    expected: Any = (403, "role")
                elif kind == "f" and depots:
                    expected = (403, "depots")
                elif kind == "v" and depots and depot == "south":
                    expected = (404, None)
                else:
                    # Let through: done, or told what is missing. Only what no vehicle is about may not be there.
                    expected = (
                        found if found[0] in ((200, 204, 422) if kind == "v" else (200, 204, 404, 422)) else "let"
                    )
                if found != expected:
                    wrong.append(f"{name} {route} {depot}: {found}, expected {expected}")
    assert wrong == []


@pytest.mark.parametrize("route", [route for route, (_, kind) in MATRIX.items() if kind == "l"])
def test_lists_hold_ones_own_depots_alone(world: World, route: str) -> None:
    admin = api.session_of(world.database_url, "everything", [Role.ADMIN])
    some = api.session_of(world.database_url, "somebody", [Role.SUPERVISOR], ["north"])
    with world.server.client(admin) as all_of_it, world.server.client(some) as some_of_it:
        whole, part = ask(all_of_it, world, route, "north").json(), ask(some_of_it, world, route, "north").json()
    if route.endswith("/counts"):
        assert (whole["kinds"][0]["incidents"], part["kinds"][0]["incidents"]) == (2, 1)
    elif route.endswith("/false-alarms"):
        assert whole == part == {"false_alarms": []}
    else:
        assert "south" in str(whole) and "north" in str(whole)
        assert "north" in str(part) and "south" not in str(part)


def test_what_a_body_names_is_looked_at_too(world: World) -> None:
    headers = api.session_of(world.database_url, "north-keeper", [Role.SUPERVISOR], ["north"])
    with world.server.client(headers) as client:
        report = {"kind": "accident", "occurred_at": NOW.isoformat(), "told": "a bump"}
        assert client.post("/api/reports", json=report | {"vehicle_id": "v-south"}).status_code == 404
        assert client.post("/api/reports", json=report | {"vehicle_id": "v-nowhere"}).status_code == 404
        assert client.post("/api/reports", json=report | {"vehicle_id": "v-north"}).status_code == 201
        assert client.post("/api/devices", json={"device_id": "new", "vehicle_id": "v-south"}).status_code == 422
        assert client.post("/api/devices", json={"device_id": "new"}).status_code == 422, "stock is in no depot"
        assert client.post("/api/devices", json={"device_id": "new", "vehicle_id": "v-north"}).status_code == 201
        moved = {"revision": 1, "vehicle_id": "v-south"}
        assert client.patch("/api/devices/new", json=moved).status_code == 422
        assert client.patch("/api/devices/d-south", json=moved | {"vehicle_id": "v-north"}).status_code == 404
        for depot, status in (("south", 422), (None, 422), ("north", 201)):
            made = client.post("/api/vehicles", json={"vehicle_id": f"made-{status}", "depot": depot})
            assert made.status_code == status
        assert client.patch("/api/vehicles/v-north", json={"revision": 1, "depot": "south"}).status_code == 422
        assert client.get("/api/alarms", params={"vehicle_id": "v-south"}).json() == {"alarms": []}
        missing, foreign = client.get("/api/vehicles/v-nowhere"), client.get("/api/vehicles/v-south")
        assert missing.json()["detail"].replace("v-nowhere", "v-south") == foreign.json()["detail"]
        for odd in ("+5", "5_0", "%205", "٣"):
            assert client.get(f"/api/incidents/{odd}").status_code == 404


def test_a_route_without_a_declaration_keeps_the_api_from_starting(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    bare, odd, twice = APIRouter(), APIRouter(), APIRouter(dependencies=[admission.PUBLIC])
    bare.get("/api/forgotten")(lambda: None)
    odd.get("/api/odd/{contract_id}", dependencies=[admission.PUBLIC])(lambda: None)
    twice.get("/api/twice", dependencies=[admission.PUBLIC])(lambda: None)
    assert "does not declare" in admission.undeclared([bare], [])[0]
    assert "contract_id" in admission.undeclared([odd], [])[0]
    assert admission.undeclared([twice], [])
    assert admission.undeclared([], FastAPI().routes), "the documentation pages of the framework"

    module = ModuleType("forgotten")
    module.router = bare  # type: ignore[attr-defined]
    monkeypatch.setattr(application, "_ROUTES", (*application._ROUTES, module))
    with pytest.raises(admission.UndeclaredError, match="/api/forgotten does not declare who may use it"):
        application.create_app(api.settings_for(database_url))
