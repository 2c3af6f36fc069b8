"""The incidents worker is killed while steps fall due every second: what it did is compared with the plan."""

import os
import random
import signal
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg
import pytest
import yaml

from fleet_core import clock, db
from fleet_core.embedded import tether
from incidents.response import actions, people
from incidents.response.actions import By
from incidents.response.rota import Channel, Person
from tests.response_cases import open_case
from tests.services.sink import Sink

pytestmark = pytest.mark.fault

REPOSITORY = Path(__file__).resolve().parents[2]
SECRET = "0123456789abcdef"
KILLS = 8
CASES = 5


def plan_of(repeats: int) -> list[dict[str, Any]]:
    """Steps that fall due every second or two."""
    return [
        {"role": "dispatcher", "after_s": 0, "acknowledge_within_s": 5, "repeat_every_s": 1, "max_repeats": repeats},
        {
            "role": "supervisor",
            "after_s": 2,
            "acknowledge_within_s": 4,
            "repeat_every_s": 2,
            "max_repeats": repeats // 2,
        },
        {"role": "management", "after_s": 4, "acknowledge_within_s": 3},
    ]


@dataclass
class Watch:
    """A database, a receiver and a worker to be killed."""

    folder: Path
    database_url: str
    connection: db.Connection
    sink: Sink
    steps: list[dict[str, Any]]
    processes: list[tether.Process] = field(default_factory=list)

    @property
    def planned(self) -> set[tuple[int, int]]:
        """(step, repeat) of every call."""
        return {
            (number, repeat)
            for number, step in enumerate(self.steps)
            for repeat in range(step.get("max_repeats", 0) + 1)
        }

    @property
    def log(self) -> Path:
        return self.folder / "worker.log"

    def start(self, fault: str = "") -> tether.Process:
        module = ["tests.faults.incidents_launcher", fault] if fault else ["fleet_core.cli"]
        environ = {
            **os.environ,
            "FLEET_DATABASE_URL": self.database_url,
            "FLEET_RESPONSE_POLICY": str(self.folder / "policy.yaml"),
        }
        with self.log.open("ab") as log:
            process = tether.spawn(
                [sys.executable, "-m", *module, "run", "incidents"], environ=environ, cwd=REPOSITORY, output=log
            )
        self.processes.append(process)
        return process

    def kill(self, process: tether.Process) -> None:
        process.kill()
        process.wait(20)
        self.time_out_leases()

    def time_out_leases(self) -> None:
        """Whoever held them is dead: do not wait the two minutes until the database may know it."""
        self.connection.execute("UPDATE outbox SET lease_until = now() WHERE state = 'sending'")
        self.connection.commit()

    def number(self, statement: str) -> int:
        (found,) = self.connection.execute(statement).fetchone() or (0,)
        self.connection.commit()
        return int(found)

    def wait_until(self, is_so: Callable[[], bool], within_s: float = 120) -> None:
        until = time.monotonic() + within_s
        while not is_so():
            assert time.monotonic() < until, self.log.read_text(encoding="utf-8")[-3000:]
            time.sleep(0.05)

    def wait_until_through(self) -> None:
        self.wait_until(
            lambda: (
                self.number("SELECT count(*) FROM escalations") == CASES
                and self.number("SELECT count(*) FROM escalation_steps WHERE done_at IS NULL") == 0
                and self.number("SELECT count(*) FROM outbox WHERE state <> 'sent'") == 0
            )
        )

    def compare_with_the_plan(self) -> None:
        """Every step of every incident was done once, in its order, not before its time, with its proof."""
        steps = self.connection.execute(
            "SELECT incident_id, step, repeat, due_at, done_at, outcome FROM escalation_steps WHERE purpose = 'call'"
        ).fetchall()
        for case in {row[0] for row in steps}:
            mine = {(step, repeat): (due, done) for of, step, repeat, due, done, _ in steps if of == case}
            assert mine.keys() == self.planned
            for number in range(len(self.steps)):
                done = [at for (step, _), (_, at) in sorted(mine.items()) if step == number]
                assert done == sorted(done)
        assert len(steps) == CASES * len(self.planned)
        assert all(done >= due and outcome == "notified" for *_, due, done, outcome in steps)
        notices = Counter(
            self.connection.execute("SELECT incident_id, step, repeat FROM outbox WHERE purpose = 'call'")
        )
        lines = Counter(
            self.connection.execute(
                "SELECT incident_id, (data ->> 'step')::int, (data ->> 'repeat')::int FROM incident_events"
                " WHERE kind IN ('called', 'called_again')"
            )
        )
        assert set(notices.values()) == set(lines.values()) == {1}
        assert notices.keys() == lines.keys() == {(case, *call) for case, *call in (row[:3] for row in steps)}
        missed = self.number("SELECT count(*) FROM escalation_steps WHERE purpose = 'deadline' AND outcome = 'missed'")
        assert missed == CASES * len(self.steps)
        keys = {key for (key,) in self.connection.execute("SELECT idempotency_key FROM outbox")}
        assert {got.key for got in self.sink.taken} == keys, "nothing lost, nothing under another key"
        assert len({(got.key, got.body) for got in self.sink.received}) == len(keys)

    def close(self) -> None:
        for process in self.processes:
            if process.poll() is None:
                process.kill()
                process.wait(20)


@pytest.fixture
def repeats() -> int:
    """How often the first step is repeated."""
    return 4


@pytest.fixture
def watch(database_url: str, tmp_path: Path, repeats: int) -> Iterator[Watch]:
    held: dict[str, Any] = yaml.safe_load(
        (REPOSITORY / "incidents" / "response" / "policies" / "default.yaml").read_text(encoding="utf-8")
    )
    steps = plan_of(repeats)
    held["levels"][2] |= {"steps": steps, "inform": {}}
    (tmp_path / "policy.yaml").write_text(yaml.safe_dump(held, allow_unicode=True), encoding="utf-8")
    sink = Sink().start()
    with db.connect(database_url, "test") as connection:
        for role in held["roles"]:
            hook = Channel("webhook", f"{sink.url}&role={role}", SECRET)
            people.insert_person(connection, Person(role, role, (role,), (hook,)))
        connection.commit()
        made = Watch(tmp_path, database_url, connection, sink, steps)
        yield made
        made.close()
    sink.stop()


def open_cases(watch: Watch) -> list[int]:
    now = clock.now()
    found = [open_case(watch.connection, now, vehicle_id=f"v{number}") for number in range(CASES)]
    watch.connection.commit()
    return found


@pytest.mark.timeout(400)
@pytest.mark.parametrize("repeats", [12])
def test_random_kills_neither_skip_nor_double_a_step(watch: Watch) -> None:
    chance = random.Random(8)
    worker = watch.start()
    open_cases(watch)
    watch.wait_until(lambda: watch.number("SELECT count(*) FROM escalations") > 0)
    for turn in range(KILLS):
        # Each kill falls among steps of its own, however long a start takes here.
        done = watch.number("SELECT count(*) FROM escalation_steps WHERE done_at IS NOT NULL")
        watch.wait_until(
            lambda before=done: watch.number("SELECT count(*) FROM escalation_steps WHERE done_at IS NOT NULL") > before
        )
        time.sleep(chance.uniform(0.0, 1.5))
        assert worker.poll() is None, watch.log.read_text(encoding="utf-8")[-3000:]
        watch.kill(worker)
        # Something is left for the next: the kills fall into the plan, not after it.
        assert watch.number("SELECT count(*) FROM escalation_steps WHERE done_at IS NULL") > 0, f"kill {turn}"
        worker = watch.start()
    watch.wait_until_through()
    watch.compare_with_the_plan()
    worker.terminate()
    assert worker.wait(30) == 0


@pytest.mark.timeout(400)
@pytest.mark.parametrize("fault", ["before_step_commit:7", "after_step_commit:4", "after_claim:9", "before_settle:6"])
def test_a_kill_at_the_worst_instant(watch: Watch, fault: str) -> None:
    open_cases(watch)
    unlucky = watch.start(fault)
    watch.wait_until(lambda: unlucky.poll() is not None)
    assert unlucky.returncode == -signal.SIGKILL, watch.log.read_text(encoding="utf-8")[-3000:]
    watch.time_out_leases()
    watch.start()
    watch.wait_until_through()
    watch.compare_with_the_plan()


@pytest.mark.timeout(400)
def test_two_workers_and_one_of_them_dies(watch: Watch) -> None:
    first, _ = watch.start(), watch.start()
    open_cases(watch)
    watch.wait_until(lambda: watch.number("SELECT count(*) FROM outbox WHERE state = 'sent'") > 5)
    watch.kill(first)
    watch.wait_until_through()
    watch.compare_with_the_plan()


@pytest.mark.timeout(400)
def test_an_acknowledgement_holds_through_a_kill(watch: Watch) -> None:
    cases = open_cases(watch)
    worker = watch.start()
    watch.wait_until(lambda: watch.number("SELECT count(*) FROM outbox WHERE state = 'sent'") >= CASES)
    watch.kill(worker)
    for case in cases:
        actions.acknowledge(watch.connection, By(case, "wang", clock.now()))
    watch.connection.commit()
    before = watch.number("SELECT count(*) FROM outbox WHERE state = 'sent'")
    received = len(watch.sink.received)
    watch.start()
    beats = "SELECT count(*) FROM worker_heartbeats WHERE ticked_at > '{}' AND name IN ('escalation', 'notices')"
    # It has been at work for longer than several steps would have taken.
    since = clock.now()
    until = time.monotonic() + 6
    watch.wait_until(lambda: watch.number(beats.format(since.isoformat())) == 2 and time.monotonic() > until)
    assert watch.number("SELECT count(*) FROM outbox WHERE state = 'sent'") == before
    assert len(watch.sink.received) == received
    assert watch.number("SELECT count(*) FROM outbox WHERE state NOT IN ('sent', 'withdrawn')") == 0


@pytest.mark.timeout(400)
def test_the_database_away_is_waited_for(watch: Watch) -> None:
    worker = watch.start()
    open_cases(watch)
    watch.wait_until(lambda: watch.number("SELECT count(*) FROM outbox WHERE state = 'sent'") > 3)
    for _ in range(3):
        with psycopg.connect(watch.database_url, autocommit=True) as administrator:
            administrator.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE application_name LIKE 'fleetward-incidents-%' AND datname = current_database()"
            )
        done = watch.number("SELECT count(*) FROM escalation_steps WHERE done_at IS NOT NULL")
        watch.wait_until(
            lambda before=done: watch.number("SELECT count(*) FROM escalation_steps WHERE done_at IS NOT NULL") > before
        )
    watch.time_out_leases()
    watch.wait_until_through()
    watch.compare_with_the_plan()
    assert worker.poll() is None
    assert "the database is back" in watch.log.read_text(encoding="utf-8")
