"""Notices on their way out: real HTTP to a receiver that behaves badly, and none is lost or sent under two keys."""

import hashlib
import hmac
import http.server
import json
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest

from fleet_core import clock, db
from fleet_core.settings import Settings
from incidents import worker
from incidents.response import notify, outbox, people, policy_file, rounds, webhooks
from incidents.response.outbox import Attempt, Claimed, Notice
from incidents.response.rota import Channel, Person
from incidents.response.webhooks import RefusedHostError
from tests.response_cases import OPENED, open_case
from tests.services.sink import Sink

SECRET = "0123456789abcdef"
POLICY = policy_file.load()


@pytest.fixture
def sink() -> Iterator[Sink]:
    made = Sink().start()
    yield made
    made.stop()


def claimed(target: str, kind: str = "webhook", secret: str | None = SECRET, **more: Any) -> Claimed:
    notice = Notice(
        7, 1, "call", 0, 0, 3, "li", kind, target, "en", "EMERGENCY", "please", {"type": "call", "step": 0}, "key-1"
    )
    return Claimed(1, replace(notice, **more), 1, OPENED, clock.now() + outbox.LEASE, secret)


# -- web hooks ---------------------------------------------------------------------------------------------------------


def test_a_web_hook_is_signed_and_says_what_it_is(sink: Sink) -> None:
    assert notify.deliver(claimed(sink.url), (), 1_764_000_000) == Attempt()
    (got,) = sink.received
    assert got.key == "key-1"
    held, signed = got.signature.split(",")
    assert held == "t=1764000000"
    expected = hmac.new(SECRET.encode(), b"1764000000." + got.body, hashlib.sha256).hexdigest()
    assert signed == f"v1={expected}"
    told = json.loads(got.body)
    assert (told["id"], told["type"], told["level"], told["drill"], told["subject"]) == (
        "key-1", "call", 3, False, "EMERGENCY",
    )  # fmt: skip


def test_every_attempt_sends_the_same_bytes_under_the_same_key(sink: Sink) -> None:
    for attempt in range(3):
        notify.deliver(replace(claimed(sink.url), attempts=attempt + 1), (), 1_764_000_000 + attempt)
    assert len({(got.key, got.body) for got in sink.received}) == 1
    assert len({got.signature for got in sink.received}) == 3


@pytest.mark.parametrize(
    ("mood", "error"),
    [
        ("error", "answered 500: try later"),
        ("redirect", "answered 302"),
        ("hang_up", "RemoteDisconnected: "),
        ("slow", "no answer within 0.3 s"),
        ("drip", "no answer within 0.3 s"),
    ],
)
def test_a_receiver_that_does_not_take_it_is_named(
    sink: Sink, mood: str, error: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(notify, "SEND_WITHIN_S", 0.3)
    sink.mood = mood
    found = notify.deliver(claimed(sink.url), (), 1)
    assert (found.error or "").startswith(error)
    assert not found.hopeless
    assert len(sink.received) == 1, "redirects are not followed"


def test_a_receiver_that_is_away_is_named(sink: Sink) -> None:
    sink.stop()
    found = notify.deliver(claimed(sink.url), (), 1)
    assert "refused" in (found.error or "")
    assert not found.hopeless


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("ftp://hooks.example/x", "begins with https://"),
        ("https:///x", "names a host"),
        ("http://hooks.example/x", "http is for the loopback address"),
        ("https://user:word@127.0.0.1/x", "holds no user or password"),
        ("https://[::1", "not a URL"),
        ("https://10.0.0.1/x", "inside a private network"),
        ("https://169.254.169.254/latest/meta-data", "inside a private network"),
        ("https://[fd00::1]/x", "inside a private network"),
        ("https://[::ffff:10.0.0.1]/x", "inside a private network"),
        ("https://0.0.0.0/x", "inside a private network"),
        ("https://intranet.test/x", "intranet.test is 192.168.1.9, inside a private network"),
    ],
)
def test_a_channel_cannot_be_turned_on_our_own_network(url: str, why: str, monkeypatch: pytest.MonkeyPatch) -> None:
    real = socket.getaddrinfo

    def look_up(host: str, port: int, **more: Any) -> Any:
        return real("192.168.1.9" if host == "intranet.test" else host, port, **more)

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    with pytest.raises(RefusedHostError, match=why.replace("[", r"\[")):
        webhooks.target(url, ())
    assert notify.deliver(claimed(url), (), 1).hopeless


def test_hosts_that_the_operator_names_are_allowed() -> None:
    assert webhooks.target("http://10.0.0.1:8080/x", {"10.0.0.1"}).port == 8080
    assert webhooks.target("https://10.0.0.1/x", {"10.0.0.1"}).port == 443
    assert webhooks.target("http://127.0.0.1/x?y=1", ()).path == "/x?y=1"
    assert webhooks.target("http://localhost", ()).path == "/"


def test_the_address_that_was_checked_is_the_one_that_is_used(sink: Sink, monkeypatch: pytest.MonkeyPatch) -> None:
    """A name that gives a harmless address first and another afterwards gains nothing."""
    answers = iter([[(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", sink.port))]])
    to = None
    with monkeypatch.context() as patched:
        patched.setattr(socket, "getaddrinfo", lambda *_, **__: next(answers))
        to = webhooks.target(f"http://localhost:{sink.port}/x", ())
    assert webhooks.post(to, b"{}", {"Idempotency-Key": "k", "Fleetward-Signature": "s"}, 5.0) is None
    assert to.address == "127.0.0.1"


# -- apprise -----------------------------------------------------------------------------------------------------------


def test_apprise_sends_to_its_services(monkeypatch: pytest.MonkeyPatch) -> None:
    got: list[tuple[str, bytes]] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            got.append((self.path, self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(200 if len(got) == 1 else 503)
            self.send_header("Content-Length", "2")
            self.end_headers()
            self.wfile.write(b"{}")

        def log_message(self, *_: Any) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        target = f"ntfy://127.0.0.1:{server.server_address[1]}/night"
        assert notify.deliver(claimed(target, "apprise", ""), (), 1) == Attempt()
        refused = notify.deliver(claimed(target, "apprise", ""), (), 1)
        server.shutdown()
    assert b"EMERGENCY" in got[0][1]
    assert b"please" in got[0][1]
    assert "503" in (refused.error or ""), "what apprise only logs is the reason"
    assert not refused.hopeless


@pytest.mark.parametrize(
    ("target", "why"),
    [
        ("json://10.0.0.1/x", "use a channel of kind webhook"),
        ("syslog://", "use a channel of kind webhook"),
        ("nothing://x", "knows no such service"),
        ("gotify://", "knows no such service"),
    ],
)
def test_a_service_that_cannot_work_is_given_up_at_once(target: str, why: str) -> None:
    found = notify.deliver(claimed(target, "apprise", ""), (), 1)
    assert why in (found.error or "")
    assert found.hopeless


def test_a_channel_that_is_gone_is_not_used(sink: Sink) -> None:
    assert notify.deliver(claimed(sink.url, secret=None), (), 1).hopeless
    assert sink.received == []


def test_foreign_code_that_fails_costs_one_attempt(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_: Claimed) -> Attempt:
        raise KeyError("surprise")

    monkeypatch.setattr(notify, "_apprise", fail)
    assert notify.deliver(claimed("ntfy://h/x", "apprise", ""), (), 1) == Attempt("KeyError: 'surprise'")


# -- the sender --------------------------------------------------------------------------------------------------------


def test_one_slow_receiver_holds_up_nobody() -> None:
    release = threading.Event()

    def deliver(item: Claimed, _hosts: object, _now: int) -> Attempt:
        if item.outbox_id == 1:
            release.wait(30)
        return Attempt()

    sender = notify.Sender(deliver=deliver)
    slow = claimed("https://slow.example")
    sender.start(slow)
    for number in range(2, 6):
        sender.start(replace(slow, outbox_id=number))
    through: list[int] = []
    while len(through) < 4:
        through += [item.outbox_id for item, _ in sender.finished(5.0)]
    assert sorted(through) == [2, 3, 4, 5]
    assert (sender.under_way, sender.free) == (1, notify.AT_ONCE - 1)
    release.set()
    assert [item.outbox_id for item, _ in sender.finished(30.0)] == [1]
    assert sender.finished(30.0) == [], "nothing under way: nothing to wait for"


def test_what_was_claimed_too_long_ago_is_not_sent(sink: Sink) -> None:
    """A worker that stood still must not send what another may have taken over."""
    sender = notify.Sender()
    sender.start(replace(claimed(sink.url), lease_until=clock.now()))
    ((_, attempt),) = sender.finished(5.0)
    assert attempt.error == "the lease ran out before it was sent"
    assert sink.received == []


# -- all of it ---------------------------------------------------------------------------------------------------------

CASES = 6


@pytest.fixture
def connection(database_url: str) -> Iterator[db.Connection]:
    with db.connect(database_url, "test") as made:
        yield made


def settled(sink: Sink, connection: db.Connection, trouble: Callable[[], None]) -> None:
    """Incidents whose notices all go to the sink, sent by the worker's own job while `trouble` happens."""
    everything = tuple(role.role for role in POLICY.roles)
    people.insert_person(connection, Person("li", "Li", everything, (Channel("webhook", sink.url, SECRET),)))
    now = clock.now()
    for number in range(CASES):
        case = open_case(connection, now, vehicle_id=f"v{number}", level=3)
        assert rounds.work_on(connection, case, now, POLICY)
        connection.commit()
    context = worker.Context(Settings(), POLICY, threading.Event())
    troubled = threading.Thread(target=trouble, daemon=True)
    troubled.start()
    until = time.monotonic() + 60
    while connection.execute("SELECT count(*) FROM outbox WHERE state <> 'sent'").fetchone() != (0,):
        worker._send(connection, context)
        assert time.monotonic() < until, connection.execute("SELECT state, last_error FROM outbox").fetchall()
    connection.commit()
    troubled.join(30)


def moods(sink: Sink, *turns: str) -> Callable[[], None]:
    """Each mood until it has met some requests, then well again."""

    def change() -> None:
        for mood in turns:
            seen = len(sink.received)
            sink.mood = mood
            until = time.monotonic() + 10
            while len(sink.received) < seen + 3 and time.monotonic() < until:
                time.sleep(0.005)
        sink.mood = "ok"

    return change


def away_for_a_while(sink: Sink) -> Callable[[], None]:
    def change() -> None:
        sink.stop()
        time.sleep(0.5)
        sink.start()

    return change


@pytest.mark.parametrize("trouble", ["down", "slow", "error", "hang_up", "swallow", "everything"])
def test_nothing_is_lost_and_nothing_is_sent_under_another_key(
    sink: Sink, connection: db.Connection, trouble: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outbox, "FIRST_WAIT_S", 0.01)
    monkeypatch.setattr(outbox, "LONGEST_WAIT_S", 0.05)
    monkeypatch.setattr(notify, "SEND_WITHIN_S", 0.2)
    sink.mood = {"down": "ok", "everything": "slow"}.get(trouble, trouble)
    change = {
        "down": away_for_a_while(sink),
        "everything": moods(sink, "slow", "error", "hang_up", "swallow", "drip"),
    }.get(trouble) or moods(sink, trouble)
    settled(sink, connection, change)
    rows = connection.execute("SELECT idempotency_key, state, attempts, facts ->> 'type' FROM outbox").fetchall()
    keys = {key for key, *_ in rows}
    assert {state for _, state, *_ in rows} == {"sent"}
    assert {got.key for got in sink.taken} == keys, "each was taken, under its own key"
    assert {got.key for got in sink.received} == keys, "and none under another"
    contents = Counter((got.key, got.body) for got in sink.received)
    assert len(contents) == len(keys), "one key, one content"
    if trouble not in ("slow", "everything"):  # there the receiver is still at it when we have hung up
        assert sink.most_at_once == 1, "a receiver is asked one thing at a time"
    if trouble not in ("down", "swallow", "everything"):
        assert Counter(got.key for got in sink.taken).most_common(1)[0][1] == 1
    # What was taken and not confirmed comes again: the receiver sees by the key that it has it already.
    assert sum(attempts for _, _, attempts, _ in rows) >= len(sink.received)


def test_an_outcome_outlives_an_absence_of_the_database(
    sink: Sink, connection: db.Connection, database_url: str
) -> None:
    people.insert_person(connection, Person("li", "Li", ("dispatcher",), (Channel("webhook", sink.url, SECRET),)))
    now = clock.now()
    case = open_case(connection, now, level=1)
    assert rounds.work_on(connection, case, now, POLICY)
    connection.commit()
    context = worker.Context(Settings(), POLICY, threading.Event())
    lost = db.connect(database_url, "test-lost")
    item, *_ = outbox.claim(lost, clock.now(), 1)
    lost.commit()
    context.sender.start(item)
    lost.close()
    with pytest.raises(db.psycopg.OperationalError):
        worker._send(lost, replace(context, stop=_set()))
    assert len(context.unsettled) == 1
    worker._send(connection, context)
    assert context.unsettled == []
    assert connection.execute("SELECT state, attempts FROM outbox").fetchall() == [("sent", 1)]
    assert len(sink.received) == 1


def _set() -> threading.Event:
    event = threading.Event()
    event.set()
    return event
