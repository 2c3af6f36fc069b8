"""The incidents worker: every job runs and says so, it stops, waits for its database, tells of holes once a day."""

import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from fleet_core import clock, db
from fleet_core.embedded.postgres import EmbeddedPostgres
from fleet_core.settings import Settings
from incidents import worker
from incidents.response import outbox, people, policy_file, rounds, watchdog
from incidents.response.rota import Channel
from tests.response_cases import Desk, everybody, open_case
from tests.services.sink import Sink

POLICY = policy_file.load()


def wait_until(is_so: Callable[[], bool], within_s: float = 60) -> None:
    until = time.monotonic() + within_s
    while not is_so():
        assert time.monotonic() < until
        time.sleep(0.02)


@pytest.fixture
def connection(database_url: str) -> Iterator[db.Connection]:
    with db.connect(database_url, "test") as made:
        made.autocommit = True
        yield made


def running(url: str) -> tuple[threading.Thread, threading.Event]:
    stop = threading.Event()
    thread = threading.Thread(target=worker.run, args=(Settings(database_url=url), stop), daemon=True)
    thread.start()
    return thread, stop


def test_every_job_runs_says_so_and_stops(connection: db.Connection, database_url: str) -> None:
    thread, stop = running(database_url)
    wait_until(lambda: {beat.name for beat in watchdog.beats(connection)} == {job.name for job in worker.JOBS})
    assert watchdog.check(connection, clock.now()) == []
    assert all(beat.detail["pid"] for beat in watchdog.beats(connection))
    stop.set()
    thread.join(30)
    assert not thread.is_alive()
    left = "SELECT count(*) FROM pg_stat_activity WHERE application_name LIKE 'fleetward-incidents%%' AND datname = %s"
    wait_until(lambda: connection.execute(left, [connection.info.dbname]).fetchone() == (0,))


def test_a_database_that_comes_later_is_waited_for(tmp_path: Path, database_url: str) -> None:
    server = EmbeddedPostgres(tmp_path / "postgres")
    server.start()
    url = server.url
    server.stop("fast")
    thread, stop = running(url)
    server.start()
    try:
        with db.connect(url, "test") as connection:
            from fleet_core import migrate

            migrate.migrate(connection)
            connection.autocommit = True
            wait_until(lambda: any(beat.name == "escalation" for beat in watchdog.beats(connection)))
    finally:
        stop.set()
        thread.join(30)
        server.stop("immediate")
    assert not thread.is_alive()


def test_what_is_being_sent_is_settled_before_the_end(connection: db.Connection, database_url: str) -> None:
    """Otherwise a restart for an update would send it again."""
    sink = Sink(mood="late", slow_s=1.0).start()
    connection.autocommit = False
    hook = Channel("webhook", sink.url, "0123456789abcdef")
    for person in everybody(POLICY):
        people.insert_person(connection, replace(person, channels=(hook,)))
    case = open_case(connection, clock.now(), level=1)
    assert rounds.work_on(connection, case, clock.now(), POLICY)
    connection.commit()
    thread, stop = running(database_url)
    wait_until(lambda: len(sink.received) == 1)
    stop.set()
    thread.join(30)
    assert connection.execute("SELECT state, attempts FROM outbox").fetchall() == [("sent", 1)]
    sink.stop()


def test_holes_are_told_once_a_day_to_each(connection: db.Connection) -> None:
    mute = [replace(one, channels=()) if one.person_id in ("legal", "supervisor") else one for one in everybody(POLICY)]
    connection.autocommit = False
    Desk(connection, POLICY).staffed(*mute)
    for _ in range(3):
        worker._look_for_holes(connection, worker.Context(Settings(), POLICY, threading.Event()))
        connection.commit()
    notices = connection.execute("SELECT person_id, level, subject, body FROM outbox").fetchall()
    ((person_id, level, subject, body),) = notices
    assert (person_id, level) == ("command_centre", 1), "the supervisor cannot be told: who stands in is"
    assert subject == "Duty rota: 2 holes in the next 7 days"
    assert "Legal: NOBODY can be reached" in body
    assert "legal has no channel" in body


def test_no_holes_no_notice(connection: db.Connection) -> None:
    Desk(connection, POLICY).staffed()
    worker._look_for_holes(connection, worker.Context(Settings(), POLICY, threading.Event()))
    assert connection.execute("SELECT count(*) FROM outbox").fetchone() == (0,)


def test_an_incident_that_cannot_be_worked_on_is_left_aside_for_a_while(connection: db.Connection) -> None:
    connection.autocommit = False
    desk = Desk(connection, POLICY).staffed()
    bad, good = open_case(connection, clock.now(), level=3), open_case(connection, clock.now(), vehicle_id="v2")
    connection.execute("UPDATE incidents SET policy = '{}', policy_version = 'x' WHERE incident_id = %s", [bad])
    connection.commit()
    context = worker.Context(Settings(), POLICY, threading.Event())
    for _ in range(3):
        worker._escalate(connection, context)
    assert list(context.postponed) == [bad]
    assert desk.rows("SELECT DISTINCT incident_id FROM escalations") == [good]
    context.postponed[bad] = 0.0
    connection.execute("UPDATE incidents SET policy = NULL WHERE incident_id = %s", [bad])
    connection.commit()
    worker._escalate(connection, context)
    assert desk.rows("SELECT DISTINCT incident_id FROM escalations ORDER BY 1") == [bad, good]


def test_who_is_told_in_several_roles_is_told_once(connection: db.Connection) -> None:
    connection.autocommit = False
    desk = Desk(connection, POLICY)
    (boss, *_) = everybody(POLICY)
    desk.staffed(replace(boss, roles=tuple(role.role for role in POLICY.roles)))
    case = open_case(connection, level=3)
    desk.tick(0)
    assert sorted(notice.purpose for notice in outbox.notices_of(connection, case)) == ["call", "call", "opened"]


def test_a_policy_that_cannot_be_used_stops_the_worker_with_a_sentence(tmp_path: Path) -> None:
    file = tmp_path / "policy.yaml"
    file.write_text("version: '1'\nlevel: {}\n", encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-m", "fleet_core.cli", "run", "incidents"],
        env={"PATH": "/usr/bin:/bin", "FLEET_DATABASE_URL": "postgresql://127.0.0.1:1/d",
             "FLEET_RESPONSE_POLICY": str(file)},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )  # fmt: skip
    assert done.returncode == 1
    assert done.stderr.strip() == f"Error: {file}: the policy has no key 'level'; did you mean 'levels'?"
