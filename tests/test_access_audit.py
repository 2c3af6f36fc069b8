"""The audit log: what is written into it, in whose transaction, and that nobody changes it."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest
from click.testing import CliRunner

from fleet_api.access.roles import Role
from fleet_core import settings as settings_module
from fleet_core.cli import fleet
from fleet_core.settings import Settings
from tests.services import api

GUIDE = Path(__file__).resolve().parents[1] / "docs" / "guide" / "access.md"
SPAN = {"from": "2026-03-01T08:00:00Z", "to": "2026-03-01T09:00:00Z"}


@pytest.fixture
def client(server: api.Server) -> Iterator[httpx.Client]:
    with server.client() as made:
        assert made.post("/api/vehicles", json={"vehicle_id": "v-1", "depot": "north"}).status_code == 201
        yield made


def entries(client: httpx.Client, **narrow: Any) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = client.get("/api/audit", params=narrow).json()["entries"]
    return found


def test_every_write_says_who_what_and_from_where(client: httpx.Client) -> None:
    headers = {"X-Request-Id": "desk-17"}
    answer = client.patch("/api/vehicles/v-1", json={"revision": 1, "note": "x"}, headers=headers)
    assert answer.headers["x-request-id"] == "desk-17" and answer.headers["cache-control"] == "no-store"
    [edit, create] = entries(client, object_kind="vehicle", object_id="v-1")
    assert (edit["action"], edit["user_id"], edit["outcome"]) == ("edit_vehicle", "wang", "done")
    assert edit["via"].startswith("token:") and edit["roles"] == ["admin", "dispatcher"]
    assert (edit["request_id"], edit["address"], edit["details"]) == ("desk-17", "127.0.0.1", {"fields": ["note"]})
    assert (create["action"], create["details"]) == ("create_vehicle", {"depot": "north"})
    assert client.get("/api/vehicles").status_code == 200
    assert len(entries(client)) == 2, "reading a list is not written down"


def test_what_was_not_done_is_not_written(client: httpx.Client) -> None:
    assert client.patch("/api/vehicles/v-1", json={"revision": 9}).status_code == 409
    assert client.post("/api/vehicles", json={"vehicle_id": "v-1"}).status_code == 409
    assert [one["action"] for one in entries(client)] == ["create_vehicle"]


@pytest.mark.parametrize(
    ("headers", "parameters", "purpose"),
    [
        ({}, {}, None),
        ({"X-Purpose": "claim 17"}, {}, "claim 17"),
        ({"X-Purpose": "%E7%90%86%E8%B5%94"}, {}, "理赔"),
        ({"X-Purpose": "header"}, {"purpose": "theft report"}, "theft report"),
    ],
)
def test_reading_where_a_vehicle_was_is_written_with_its_purpose(
    client: httpx.Client, headers: dict[str, str], parameters: dict[str, str], purpose: str | None
) -> None:
    for path, span in (("/api/vehicles/v-1/track", SPAN), ("/api/alarms", {})):
        assert client.get(path, params=span | parameters, headers=headers).status_code == 200
    alarms, track = entries(client, limit=2)
    assert (track["action"], track["object_id"], track["purpose"]) == ("read_track", "v-1", purpose)
    assert track["details"]["from"].startswith("2026-03-01T08")
    assert (alarms["action"], alarms["purpose"]) == ("recent_alarms", purpose)


def test_a_purpose_may_be_required(database_url: str) -> None:
    with api.running(api.settings_for(database_url, history_purpose="required")) as server, server.client() as client:
        missing = client.get("/api/alarms")
        assert (missing.status_code, missing.json()["field"]) == (422, "purpose")
        assert client.get("/api/alarms", headers={"X-Purpose": "%20"}).status_code == 422
        assert client.get("/api/alarms", params={"purpose": "theft"}).status_code == 200
        assert httpx.get(f"{server.http_url}/api/alarms").status_code == 401
        assert [one["purpose"] for one in entries(client)] == ["theft"]


def test_whoever_may_not_is_written_down(server: api.Server, client: httpx.Client, database_url: str) -> None:
    with server.client(api.session_of(database_url, "chen", [Role.CLAIMS])) as claims:
        assert claims.patch("/api/vehicles/v-1", json={"revision": 1}).status_code == 403
        assert claims.get("/api/audit").status_code == 403
    refused = entries(client, outcome="refused")
    assert [(one["user_id"], one["action"], one["details"]["code"]) for one in refused] == [
        ("chen", "list_entries", "role"),
        ("chen", "edit_vehicle", "role"),
    ]
    assert refused[1]["object_id"] == "v-1"


def test_pages_of_the_log(client: httpx.Client) -> None:
    for number in range(5):
        client.post("/api/vehicles", json={"vehicle_id": f"w-{number}"})
    seen, cursor = [], None
    while True:
        page = client.get("/api/audit", params={"limit": 2} | ({"cursor": cursor} if cursor else {})).json()
        seen += [one["object_id"] for one in page["entries"]]
        cursor = page["next_cursor"]
        if cursor is None:
            break
    assert seen == ["w-4", "w-3", "w-2", "w-1", "w-0", "v-1"]


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE audit_log SET user_id = 'somebody'",
        "DELETE FROM audit_log",
        "TRUNCATE audit_log",
        "DELETE FROM audit_log WHERE false",
        "SET session_replication_role = replica; DELETE FROM audit_log",
    ],
)
def test_nobody_changes_it_the_administrator_of_the_database_neither(
    client: httpx.Client, database_url: str, statement: str
) -> None:
    with psycopg.connect(database_url, autocommit=True) as connection:
        before = connection.execute("SELECT count(*) FROM audit_log").fetchone()
        with pytest.raises(psycopg.errors.InsufficientPrivilege, match="never changed"):
            connection.execute(statement)
        assert connection.execute("SELECT count(*) FROM audit_log").fetchone() == before


def test_the_role_of_the_guide_can_work_and_not_change_the_log(client: httpx.Client, database_url: str) -> None:
    """The statements that administrators copy are run as they are written."""
    written = re.search(r"```sql\n(.*?)```", GUIDE.read_text(encoding="utf-8"), re.DOTALL)
    assert written
    name = f"fleet_run_{abs(hash(database_url)) % 10**9}"
    with psycopg.connect(database_url) as owner:
        owner.execute(written.group(1).replace("fleet_run", name).encode())
        owner.commit()
        owner.execute(f"ALTER ROLE {name} PASSWORD 'for this test'".encode())
        owner.commit()
        own = re.sub("//[^@]+@", f"//{name}:for%20this%20test@", database_url)
        headers = api.session_of(database_url, "zhao", [Role.ADMIN])
        with api.running(api.settings_for(own)) as server, server.client(headers) as working:
            assert working.post("/api/vehicles", json={"vehicle_id": "v-9", "depot": "west"}).status_code == 201
            assert working.get("/api/vehicles/v-9/track", params=SPAN).status_code == 200
            wrong = working.post("/api/session", json={"user_id": "zhao", "password": "wrong"})
            assert wrong.status_code == 401
            assert working.get("/api/audit").json()["entries"][0]["outcome"] == "failed"
        owner.execute(f"SET ROLE {name}".encode())
        owner.commit()
        for statement in (
            "UPDATE audit_log SET user_id = 'somebody'",
            "DELETE FROM audit_log",
            "TRUNCATE audit_log",
            "ALTER TABLE audit_log DISABLE TRIGGER ALL",
            "DROP TRIGGER audit_log_append_only ON audit_log",
            "DROP TABLE audit_log",
        ):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                owner.execute(statement.encode())
            owner.rollback()
            owner.execute(f"SET ROLE {name}".encode())
            owner.commit()
        owner.execute("RESET ROLE")
        owner.execute(f"DROP OWNED BY {name}; DROP ROLE {name}".encode())


def test_commands_make_users_and_are_written_down(
    database_url: str, client: httpx.Client, monkeypatch: pytest.MonkeyPatch, server: api.Server
) -> None:
    monkeypatch.setattr(settings_module, "from_process", lambda: Settings(database_url=database_url))
    runner = CliRunner()

    def run(*arguments: str, say: str | None = None, fails: bool = False) -> str:
        done = runner.invoke(fleet, list(arguments), input=say)
        assert (done.exit_code != 0) is fails, done.output
        return done.output

    run("depot", "add", "south", "--name", "South side")
    assert "south\t0\tSouth side" in run("depot", "list")
    assert "no depot 'west'" in run("user", "add", "li", "--role", "dispatcher", "--depot", "west", fails=True)
    assert "12 to 256" in run("user", "add", "li", "--role", "dispatcher", "--password-stdin", say="x\n", fails=True)
    made = run("user", "add", "li", "--role", "dispatcher", "--role", "claims", "--depot", "south")
    once = made.splitlines()[-1].removeprefix("one-time password: ")
    assert "already" in run("user", "add", "LI", "--role", "admin", fails=True)
    assert "li\tclaims,dispatcher\tsouth\tnew password\tli" in run("user", "list")
    run("user", "add", "zhao", "--role", "supervisor", "--password-stdin", say=f"{api.PASSWORD}\n")
    with server.client({}) as browser:
        for name, password, must in (("li", once, True), ("zhao", api.PASSWORD, False)):
            answer = browser.post("/api/session", json={"user_id": name, "password": password})
            assert answer.json()["user"]["must_change_password"] is must
        run("user", "password", "zhao")
        assert browser.get("/api/session").status_code == 401
    token = run("token", "add", "zhao", "--scope", "read").strip()
    with server.client({"Authorization": f"Bearer {token}"}) as program:
        assert program.get("/api/vehicles").status_code == 200
        number = run("token", "list").split("\t", maxsplit=1)[0]
        run("token", "revoke", number)
        assert program.get("/api/vehicles").status_code == 401
    run("user", "disable", "li")
    assert "last administrator" in run("user", "disable", "wang", fails=True)
    actions = [one["action"] for one in entries(client) if one["via"] == "command"]
    assert actions == [
        "disable_user", "revoke_token", "add_token", "set_password", "add_user", "add_user", "add_depot",
    ]  # fmt: skip
    kept = str(entries(client))
    assert once not in kept and api.PASSWORD not in kept and token not in kept
