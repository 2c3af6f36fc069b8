"""Signing in, out and again, against a real server: guessing, forging, fixing, expiring."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import psycopg
import pytest

from fleet_api.access import passwords, throttle, totp
from fleet_api.access.identity import COOKIE
from fleet_api.access.roles import Role, Scope
from fleet_core import clock, db
from tests.services import api

KEPT = passwords.hashed(api.PASSWORD)
NEW = "another long phrase"


class Clock:
    """The server's clock."""

    def __init__(self) -> None:
        self.at = datetime.now(UTC)

    def now(self) -> datetime:
        return self.at

    def go_on(self, **span: float) -> None:
        self.at += timedelta(**span)


@pytest.fixture
def time(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(clock, "now", made.now)
    return made


@pytest.fixture
def server(database_url: str) -> Iterator[api.Server]:
    with db.connect(database_url, "test") as connection:
        api.put_user(connection, "li", [Role.DISPATCHER], password_hash=KEPT)
    with api.running(api.settings_for(database_url)) as running:
        yield running


@pytest.fixture
def browser(server: api.Server) -> Iterator[httpx.Client]:
    """A client that keeps cookies, as yet without any."""
    with server.client({}) as made:
        yield made


def sign_in(client: httpx.Client, user_id: str = "li", password: str = api.PASSWORD, **more: Any) -> httpx.Response:
    return client.post("/api/session", json={"user_id": user_id, "password": password, **more})


def csrf(answer: httpx.Response) -> dict[str, str]:
    assert answer.status_code == 200, answer.text
    return {"X-CSRF-Token": answer.json()["csrf_token"]}


def test_a_session_begins_is_seen_and_ends(browser: httpx.Client, database_url: str) -> None:
    assert browser.get("/api/session").status_code == 401
    answer = sign_in(browser)
    headers = csrf(answer)
    user = answer.json()["user"]
    assert (user["user_id"], user["roles"], user["depot_ids"]) == ("li", ["dispatcher"], None)
    cookie = answer.headers["set-cookie"]
    assert all(part in cookie for part in ("HttpOnly", "SameSite=strict", "Path=/")) and "Secure" not in cookie
    assert browser.get("/api/session").json() == answer.json(), "another tab has the same token against forgery"
    assert browser.get("/api/vehicles").status_code == 200
    with psycopg.connect(database_url) as connection:
        kept = connection.execute(
            "SELECT sessions::text, users::text FROM sessions JOIN users USING (user_id)"
        ).fetchall()
    for secret in (browser.cookies[COOKIE], headers["X-CSRF-Token"], api.PASSWORD):
        assert secret not in str(kept)
    taken = browser.cookies[COOKIE]
    assert browser.request("DELETE", "/api/session", headers=headers).status_code == 204
    assert COOKIE not in browser.cookies
    assert httpx.get(f"{browser.base_url}/api/session", headers={"cookie": f"{COOKIE}={taken}"}).status_code == 401


def test_the_cookie_is_sent_by_https_only_where_that_is_said(database_url: str) -> None:
    with db.connect(database_url, "test") as connection:
        api.put_user(connection, "li", [Role.DISPATCHER], password_hash=KEPT)
    with api.running(api.settings_for(database_url, http_scheme="https")) as server, server.client({}) as client:
        assert "Secure" in sign_in(client).headers["set-cookie"]


def test_a_name_nobody_has_is_answered_like_a_wrong_password(browser: httpx.Client, database_url: str) -> None:
    """The same words, the same waits, at the same attempt."""
    with psycopg.connect(database_url) as connection:
        connection.execute("UPDATE users SET disabled_at = now() WHERE user_id = 'wang'")
    told: dict[str, list[Any]] = {"li": [], "nobody": [], "wang": []}
    for name, answers in told.items():
        for _ in range(throttle.OF_A_NAME.free + 1):
            answer = sign_in(browser, name, "not the password")
            answers.append((answer.status_code, answer.json() | {"retry_after_s": None, "detail": None}))
    assert told["li"] == told["nobody"] == told["wang"]
    assert [status for status, _ in told["li"]] == [401] * throttle.OF_A_NAME.free + [429]


def test_guessing_is_held_up_for_longer_and_longer(browser: httpx.Client, time: Clock, database_url: str) -> None:
    for _ in range(throttle.OF_A_NAME.free):
        assert sign_in(browser, password="wrong").status_code == 401
    waits = []
    for _ in range(4):
        held_up = sign_in(browser)
        assert held_up.status_code == 429, "held up whether or not the password is right"
        waits.append(int(held_up.headers["retry-after"]))
        time.go_on(seconds=waits[-1])
        assert sign_in(browser, password="wrong").status_code == 401
    assert waits == [15, 30, 60, 120]
    time.go_on(seconds=241)
    assert sign_in(browser).status_code == 200, "after the wait the right password is right"
    assert sign_in(browser, password="wrong").status_code == 401, "and what was before is forgotten"
    assert sign_in(browser).status_code == 200
    with psycopg.connect(database_url) as connection:
        failed = connection.execute(
            "SELECT count(*), min(user_id), min(details->>'tried') FROM audit_log WHERE outcome = 'failed'"
        ).fetchone()
    assert failed == (throttle.OF_A_NAME.free + 5, None, "li")


def test_guessing_at_many_names_is_held_up_by_address(browser: httpx.Client) -> None:
    statuses = [sign_in(browser, f"nobody-{number}", "wrong").status_code for number in range(22)]
    assert statuses == [401] * throttle.OF_AN_ADDRESS.free + [429] * 2
    assert sign_in(browser).status_code == 429


def test_what_is_kept_of_failures_is_bounded(database_url: str, time: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    from fleet_api.access import credentials
    from fleet_api.access import sign_in as proving
    from fleet_api.access.audit import Origin, Trail
    from fleet_api.pool import Pool
    from fleet_api.problems import Problem

    monkeypatch.setattr(credentials, "MOST_STANDINGS", 10)
    pool = Pool(database_url, size=1)
    for number in range(40):
        proof = proving.Proof(f"nobody-{number}", "wrong")
        with pytest.raises(Problem):
            proving.prove(
                pool, proof, trail=Trail("sign_in"), origin=Origin(f"198.51.100.{number}"), now=time.now(),
                then=lambda _connection, _known: None,
            )  # fmt: skip
        time.go_on(seconds=1)
    pool.close()
    with psycopg.connect(database_url) as connection:
        assert connection.execute("SELECT count(*) <= 12 FROM sign_in_failures").fetchone() == (True,)


def test_attempts_side_by_side_do_not_outrun_the_count(server: api.Server) -> None:
    from concurrent.futures import ThreadPoolExecutor

    def attempt(_: int) -> int:
        with server.client({}) as client:
            return sign_in(client, password="wrong").status_code

    with ThreadPoolExecutor(12) as threads:
        statuses = list(threads.map(attempt, range(24)))
    assert statuses.count(401) == throttle.OF_A_NAME.free
    assert statuses.count(429) == 24 - throttle.OF_A_NAME.free


def test_a_forged_request_is_refused(browser: httpx.Client, database_url: str) -> None:
    headers = csrf(sign_in(browser))
    with psycopg.connect(database_url) as connection:
        connection.execute("UPDATE users SET roles = '{admin}' WHERE user_id = 'li'")
    other = api.session_of(database_url, "zhao", [Role.ADMIN])["X-CSRF-Token"]
    for sent in ({}, {"X-CSRF-Token": ""}, {"X-CSRF-Token": other}, {"X-CSRF-Token": headers["X-CSRF-Token"][:-1]}):
        for method, path in (("POST", "/api/vehicles"), ("DELETE", "/api/session"), ("PUT", "/api/users/li")):
            answer = browser.request(method, path, json={"vehicle_id": "v"}, headers=sent)
            assert (answer.status_code, answer.json()["code"]) == (403, "csrf"), (method, path)
    assert browser.post("/api/vehicles", json={"vehicle_id": "v"}, headers=headers).status_code == 201
    # A form of another site can be sent without asking first, but not as JSON.
    form = browser.post("/api/session", data={"user_id": "li", "password": api.PASSWORD})
    assert form.status_code == 422


def test_a_session_that_was_planted_is_not_taken_over(browser: httpx.Client, database_url: str) -> None:
    browser.cookies[COOKIE] = "chosen-by-somebody-else"
    assert sign_in(browser).status_code == 200
    first = browser.cookies.jar._cookies  # type: ignore[attr-defined]
    tokens = {cookie.value for paths in first.values() for names in paths.values() for cookie in names.values()}
    with psycopg.connect(database_url) as connection:
        hashes = {bytes(row[0]) for row in connection.execute("SELECT token_hash FROM sessions WHERE user_id = 'li'")}
    assert len(hashes) == 1
    assert passwords.digest("chosen-by-somebody-else") not in hashes
    assert hashes <= {passwords.digest(str(token)) for token in tokens}


def test_signing_in_again_ends_the_session_before(browser: httpx.Client, server: api.Server) -> None:
    sign_in(browser)
    before = browser.cookies[COOKIE]
    sign_in(browser)
    assert browser.cookies[COOKIE] != before
    with server.client({"Cookie": f"{COOKIE}={before}"}) as old:
        assert old.get("/api/session").status_code == 401


def test_sessions_end_unused_and_at_last(browser: httpx.Client, time: Clock) -> None:
    sign_in(browser)
    for _ in range(14):
        time.go_on(minutes=50)
        assert browser.get("/api/vehicles").status_code == 200, "used within the hour it goes on"
    time.go_on(minutes=21)
    assert browser.get("/api/vehicles").status_code == 401, "twelve hours after sign-in it ends"
    sign_in(browser)
    time.go_on(minutes=61)
    assert browser.get("/api/vehicles").status_code == 401, "unused for an hour it ends"


def test_a_changed_password_ends_every_other_session(browser: httpx.Client, server: api.Server) -> None:
    headers = csrf(sign_in(browser))
    with server.client({}) as elsewhere:
        sign_in(elsewhere)
        assert elsewhere.get("/api/session").status_code == 200
        before = browser.cookies[COOKIE]
        wrong = browser.post(
            "/api/session/password", json={"current_password": "wrong", "new_password": NEW}, headers=headers
        )
        assert (wrong.status_code, wrong.json()["code"]) == (403, "wrong")
        weak = browser.post(
            "/api/session/password", json={"current_password": api.PASSWORD, "new_password": "short"}, headers=headers
        )
        assert (weak.status_code, weak.json()["field"]) == (422, "new_password")
        changed = browser.post(
            "/api/session/password", json={"current_password": api.PASSWORD, "new_password": NEW}, headers=headers
        )
        assert csrf(changed) != headers
        assert browser.cookies[COOKIE] != before
        assert browser.get("/api/session").status_code == 200
        assert elsewhere.get("/api/session").status_code == 401
        assert sign_in(elsewhere).status_code == 401
        assert sign_in(elsewhere, password=NEW).status_code == 200
    with server.client({"Cookie": f"{COOKIE}={before}"}) as old:
        assert old.get("/api/session").status_code == 401


def test_a_stolen_session_cannot_guess_at_the_password(browser: httpx.Client) -> None:
    headers = csrf(sign_in(browser))
    statuses = [
        browser.post(
            "/api/session/password", json={"current_password": "wrong", "new_password": NEW}, headers=headers
        ).status_code
        for _ in range(throttle.OF_A_NAME.free + 1)
    ]
    assert statuses == [403] * throttle.OF_A_NAME.free + [429]


def test_a_given_password_must_be_changed_first(browser: httpx.Client, database_url: str) -> None:
    with psycopg.connect(database_url) as connection:
        connection.execute("UPDATE users SET must_change_password = true WHERE user_id = 'li'")
    answer = sign_in(browser)
    assert answer.json()["user"]["must_change_password"]
    refused = browser.get("/api/vehicles")
    assert (refused.status_code, refused.json()["code"]) == (403, "password_change_required")
    assert browser.get("/api/session").status_code == 200
    same = {"current_password": api.PASSWORD, "new_password": api.PASSWORD}
    assert browser.post("/api/session/password", json=same, headers=csrf(answer)).status_code == 422
    changed = browser.post(
        "/api/session/password", json={"current_password": api.PASSWORD, "new_password": NEW}, headers=csrf(answer)
    )
    assert not changed.json()["user"]["must_change_password"]
    assert browser.get("/api/vehicles").status_code == 200


def test_one_time_codes(browser: httpx.Client, time: Clock) -> None:
    headers = csrf(sign_in(browser))
    assert browser.post("/api/session/totp", json={"password": "wrong"}, headers=headers).status_code == 403
    enrolment = browser.post("/api/session/totp", json={"password": api.PASSWORD}, headers=headers).json()
    assert enrolment["secret"] in enrolment["otpauth_uri"]
    assert sign_in(browser).status_code == 200, "not in force before it is confirmed"
    headers = csrf(browser.get("/api/session"))

    def code() -> str:
        return totp.code_at(enrolment["secret"], int(time.at.timestamp()) // totp.STEP_S)

    wrong = "000000" if code() != "000000" else "000001"
    assert browser.post("/api/session/totp/confirm", json={"code": wrong}, headers=headers).status_code == 422
    confirmed = browser.post("/api/session/totp/confirm", json={"code": code()}, headers=headers)
    assert confirmed.json()["totp_enabled"]
    assert browser.post("/api/session/totp", json={"password": api.PASSWORD}, headers=headers).status_code == 409

    missing = sign_in(browser)
    assert (missing.status_code, missing.json()["code"]) == (401, "totp_required")
    assert sign_in(browser, password="wrong").json()["code"] == "wrong", "only to whoever knows the password"
    assert sign_in(browser, totp=code()).status_code == 401, "the code that confirmed was used"
    time.go_on(seconds=totp.STEP_S)
    used = code()
    assert sign_in(browser, totp=used).status_code == 200
    assert sign_in(browser, totp=used).status_code == 401, "a code works once"
    headers = csrf(browser.get("/api/session"))
    removed = browser.post("/api/session/totp/remove", json={"password": api.PASSWORD}, headers=headers)
    assert not removed.json()["totp_enabled"]
    assert sign_in(browser).status_code == 200


def test_codes_are_not_guessed(browser: httpx.Client, database_url: str) -> None:
    secret = totp.secret_of(b"x" * totp.SECRET_BYTES)
    with psycopg.connect(database_url) as connection:
        connection.execute(
            "UPDATE users SET totp_secret = %s, totp_confirmed_at = now() WHERE user_id = 'li'", [secret]
        )
    statuses = [sign_in(browser, totp=f"{number:06d}").status_code for number in range(throttle.OF_A_NAME.free + 1)]
    assert statuses == [401] * throttle.OF_A_NAME.free + [429]


def test_tokens_do_what_their_scopes_say_until_they_end(server: api.Server, time: Clock, database_url: str) -> None:
    admin = api.session_of(database_url, "zhao", [Role.ADMIN])
    with server.client(admin) as client:
        made = client.post(
            "/api/tokens", json={"user_id": "li", "name": "bridge", "scopes": ["read"], "expires_in_days": 2}
        )
        assert made.status_code == 201
        token = made.json()["token"]
        assert token.startswith("flt_")
        assert token not in client.get("/api/tokens").text
        assert client.post("/api/tokens", json={"user_id": "ghost", "name": "x", "scopes": ["read"]}).status_code == 404
        bearer = {"Authorization": f"Bearer {token}"}
        with server.client(bearer) as program:
            assert program.get("/api/vehicles").status_code == 200
            assert program.get("/api/session").json()["csrf_token"] is None
            refused = program.post("/api/reports", json={})
            assert (refused.status_code, refused.json()["code"]) == (403, "scope")
            assert program.post("/api/session/password", json={}).json()["code"] == "scope"
            # A dispatcher's token is no administrator's, whatever its scopes.
            api_admin = api.headers_of(database_url, "li", [], scopes=[Scope.ADMIN, Scope.AUDIT])
            assert program.get("/api/users", headers=api_admin).json()["code"] == "role"
            time.go_on(days=2)
            ended = program.get("/api/vehicles")
            assert ended.status_code == 401 and ended.headers["www-authenticate"] == "Bearer"
    admin = api.session_of(database_url, "zhao", [Role.ADMIN])
    again = api.headers_of(database_url, "li", [])
    with psycopg.connect(database_url) as connection:
        connection.execute("UPDATE api_tokens SET expires_at = %s", [time.at + timedelta(days=9)])
        connection.execute(
            "UPDATE sessions SET last_seen_at = %(t)s, expires_at = %(t)s + interval '1 hour'", {"t": time.at}
        )
        number = connection.execute("SELECT max(token_id) FROM api_tokens").fetchone()
    assert number is not None
    with server.client(admin) as client, server.client(again) as program:
        assert program.get("/api/vehicles").status_code == 200
        assert client.delete(f"/api/tokens/{number[0]}").status_code == 204
        assert program.get("/api/vehicles").status_code == 401
    with server.client({"Authorization": "Bearer flt_made-up"}) as program:
        assert program.get("/api/vehicles").status_code == 401


def test_users_are_administered(server: api.Server, browser: httpx.Client, database_url: str) -> None:
    with server.client(api.session_of(database_url, "zhao", [Role.ADMIN])) as admin:
        assert admin.post("/api/depots", json={"depot_id": "north", "name": "North"}).status_code == 201
        fields = {"display_name": "Chen", "roles": ["claims"], "depot_ids": ["north"]}
        assert admin.post("/api/users", json={"user_id": "chen", **fields, "depot_ids": ["gone"]}).status_code == 422
        made = admin.post("/api/users", json={"user_id": "chen", **fields})
        assert made.status_code == 201
        assert admin.post("/api/users", json={"user_id": "CHEN", **fields}).status_code == 409
        once = made.json()["one_time_password"]
        assert once not in admin.get("/api/users/chen").text
        assert sign_in(browser, "chen", once).json()["user"]["must_change_password"]
        revision = made.json()["revision"]
        edit = {**fields, "roles": ["dispatcher"], "depot_ids": None, "revision": revision}
        assert admin.put("/api/users/chen", json=edit).json()["roles"] == ["dispatcher"]
        assert browser.get("/api/session").json()["user"]["depot_ids"] is None, "in force at the next request"
        assert admin.put("/api/users/chen", json=edit).status_code == 409
        assert browser.get("/api/session").status_code == 200
        disabled = admin.put("/api/users/chen", json={**edit, "revision": revision + 1, "disabled": True})
        assert disabled.json()["disabled_at"]
        assert browser.get("/api/session").status_code == 401
        assert sign_in(browser, "chen", once).status_code == 401
        assert {user["user_id"] for user in admin.get("/api/users").json()["users"]} == {"li", "wang", "zhao"}

        again = admin.post("/api/users/li/password", json={}).json()["one_time_password"]
        assert sign_in(browser).status_code == 401
        assert sign_in(browser, "li", again).json()["user"]["must_change_password"]
        for name in ("wang", "zhao"):
            user = admin.get(f"/api/users/{name}").json()
            edit = {key: user[key] for key in ("display_name", "language", "roles", "depot_ids", "revision")}
            last = admin.put(f"/api/users/{name}", json=edit | {"disabled": name == "wang", "roles": ["claims"]})
            assert last.status_code == (200 if name == "wang" else 409)
        assert last.json()["code"] == "last_admin"
