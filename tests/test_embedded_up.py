"""`fleet up` and `fleet status`, run as a person runs them."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import psutil
import psycopg
import pytest

from fleet_core import processes
from fleet_core.embedded import service
from fleet_core.embedded.restarts import LONGEST_DELAY_S, WELL_AFTER_S, Restarts

CLI = [sys.executable, "-m", "fleet_core.cli"]
BOUND_S = 60.0


def status(folder: Path) -> dict[str, Any] | None:
    done = subprocess.run(
        [*CLI, "status", "--data", str(folder), "--json"], capture_output=True, text=True, check=False
    )
    if done.returncode:
        assert "nothing runs" in done.stderr
        return None
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


def until(condition: Callable[[], object], what: str) -> None:
    deadline = time.monotonic() + BOUND_S
    while not condition():
        assert time.monotonic() < deadline, f"{what} did not happen within {BOUND_S} s"
        time.sleep(0.1)


@contextmanager
def fleet_up(folder: Path, *options: str) -> Iterator[subprocess.Popen[bytes]]:
    with (folder.parent / "up.log").open("ab") as log:
        process = subprocess.Popen(
            [*CLI, "up", "--data", str(folder), "--http-port", "0", "--mqtt-port", "0", "--no-demo", *options],
            stdout=log,
            stderr=log,
        )
    try:
        yield process
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
            process.wait(BOUND_S)


def all_run(folder: Path) -> dict[str, Any] | None:
    now = status(folder)
    if now is None or set(now["processes"]) != {"broker", "database", *processes.BY_NAME}:
        return None
    return now if all(process["pid"] for process in now["processes"].values()) else None


def pids(now: dict[str, Any]) -> set[int]:
    return {process["pid"] for process in now["processes"].values() if process["pid"]}


def alive(found: set[int]) -> set[int]:
    return {pid for pid in found if psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE}


def first_sign_in(folder: Path, http_url: str) -> None:
    """What was printed once signs in, and lies nowhere in the folder."""

    def printed() -> list[str]:
        said = (folder.parent / "up.log").read_text(encoding="utf-8")
        return re.findall(r"First sign-in:  (\S+)  password  (\S+)", said)

    until(printed, "the first sign-in on the screen")
    [(name, password)] = printed()
    answer = httpx.post(f"{http_url}/api/session", json={"user_id": name, "password": password})
    assert answer.json()["user"]["must_change_password"]
    for path in folder.rglob("*"):
        if path.is_file():
            assert password.encode() not in path.read_bytes(), path
    listed = subprocess.run(
        [*CLI, "user", "list", "--data", str(folder)], capture_output=True, text=True, check=True
    ).stdout
    assert listed == "admin\tadmin\t*\tnew password\tAdministrator\n"


def test_up_restarts_what_dies_and_stops_all(tmp_path: Path) -> None:
    folder = tmp_path / "fleet"
    with fleet_up(folder) as supervisor:
        until(lambda: all_run(folder), "all processes running")
        before = status(folder)
        assert before is not None
        assert set(before) == {"database_dsn", "mqtt_url", "http_url", "processes"}
        first_sign_in(folder, before["http_url"])
        with psycopg.connect(before["database_dsn"]) as connection:
            assert connection.execute("SELECT count(*) FROM schema_migrations").fetchone() != (0,)
            connection.execute("INSERT INTO vehicles (vehicle_id) VALUES ('kept')")
        for name in ("maintenance", "broker", "database"):
            old = before["processes"][name]["pid"]
            os.kill(old, signal.SIGKILL)

            def is_back(name: str = name, old: int = old) -> bool:
                now = all_run(folder)
                return now is not None and now["processes"][name]["pid"] != old

            until(is_back, f"restart of {name}")
        after = status(folder)
        assert after is not None
        # Tools that read the addresses once go on working.
        assert {key: after[key] for key in ("database_dsn", "mqtt_url", "http_url")} == {
            key: before[key] for key in ("database_dsn", "mqtt_url", "http_url")
        }
        with psycopg.connect(after["database_dsn"]) as connection:
            assert connection.execute("SELECT count(*) FROM vehicles WHERE vehicle_id = 'kept'").fetchone() == (1,)

        second = subprocess.run([*CLI, "up", "--data", str(folder)], capture_output=True, text=True, check=False)
        assert second.returncode != 0
        assert f"process {supervisor.pid}, {after['http_url']}" in second.stderr
        assert len(second.stderr.strip().splitlines()) == 1

        running = pids(after)
        supervisor.send_signal(signal.SIGINT)
        assert supervisor.wait(BOUND_S) == 0
        assert alive(running) == set()
    assert status(folder) is None


@pytest.mark.fault
def test_children_do_not_outlive_a_killed_supervisor(tmp_path: Path) -> None:
    folder = tmp_path / "fleet"
    with fleet_up(folder) as supervisor:
        until(lambda: all_run(folder), "all processes running")
        now = status(folder)
        assert now is not None
        supervisor.kill()
        supervisor.wait()
        until(lambda: not alive(pids(now)), "end of the children")
    assert status(folder) is None
    # The folder is usable at once: the next start recovers.
    with fleet_up(folder):
        until(lambda: all_run(folder), "all processes running again")


def test_a_taken_port_is_one_sentence_that_names_the_option(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind((service.LOOPBACK, 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        for option, other in (("--http-port", "--mqtt-port"), ("--mqtt-port", "--http-port")):
            done = subprocess.run(
                [*CLI, "up", "--data", str(tmp_path / "fleet"), option, port, other, "0"],
                capture_output=True,
                text=True,
                check=False,
            )
            assert done.returncode != 0
            assert done.stderr.strip() == (
                f"Error: port {port} is taken: choose another with {option} (0 takes any free one)"
            )


def test_back_off_grows_is_bounded_and_forgets() -> None:
    restarts = Restarts()
    restarts.started(0.0)
    delays = [restarts.died(1.0) - 1.0 for _ in range(40)]
    assert delays == sorted(delays)
    assert delays[0] < 1.0
    assert delays[-1] == LONGEST_DELAY_S
    restarts.started(100.0)
    assert restarts.died(100.0 + WELL_AFTER_S) - 100.0 - WELL_AFTER_S == delays[0]
