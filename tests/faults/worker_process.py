"""The ingest worker as the platform runs it, a process of its own, to be killed and frozen."""

import json
import os
import signal
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import psutil

from fleet_core.embedded import service, tether

REPOSITORY = Path(__file__).resolve().parents[2]
LEASE_SECONDS = 3
_READY_WITHIN_S = 60.0


class WorkerProcess:
    """`fleet run ingest` with the given services; or, with `fault`, the same with one call spoiled (see launcher)."""

    def __init__(
        self, folder: Path, database_url: str, mqtt_url: str, *, name: str = "worker", fault: str = "", **settings: str
    ) -> None:
        self.log_path = folder / f"{name}.log"
        self._fault = fault
        self._health_port = service.free_port()
        self._environ = {
            **os.environ,
            "FLEET_DATABASE_URL": database_url,
            "FLEET_MQTT_URL": mqtt_url,
            "FLEET_INGEST_HEALTH_PORT": str(self._health_port),
            "FLEET_LEASE_SECONDS": str(LEASE_SECONDS),
            # The probe is tested on its own; here it would only slow each of many starts.
            "FLEET_BROKER_CHECK": "off",
            **{f"FLEET_{key.upper()}": value for key, value in settings.items()},
        }
        self._process: tether.Process | None = None
        self._log_from = 0

    @property
    def process(self) -> tether.Process:
        assert self._process is not None
        return self._process

    def start(self) -> "WorkerProcess":
        """Start it, or start it again."""
        command = ["-m", "tests.faults.launcher", self._fault] if self._fault else ["-m", "fleet_core.cli"]
        self._log_from = self.log_path.stat().st_size if self.log_path.exists() else 0
        with self.log_path.open("ab") as log:
            self._process = tether.spawn(
                [sys.executable, *command, "run", "ingest"], environ=self._environ, cwd=REPOSITORY, output=log
            )
        return self

    def said(self) -> str:
        """What it logged since its last start."""
        return self.log_path.read_text(encoding="utf-8", errors="replace")[self._log_from :]

    def wait_until_says(self, words: str, within_s: float = _READY_WITHIN_S) -> None:
        """Wait for words in the log."""
        deadline = time.monotonic() + within_s
        while words not in self.said():
            assert self.process.poll() is None, f"the worker ended: {self.said()[-2000:]}"
            assert time.monotonic() < deadline, f"the worker did not say {words!r}: {self.said()[-2000:]}"
            time.sleep(0.02)

    def health(self) -> dict[str, Any]:
        """What its health endpoint says; empty when it does not answer."""
        try:
            with urllib.request.urlopen(f"http://{service.LOOPBACK}:{self._health_port}/health", timeout=5) as answer:
                found: dict[str, Any] = json.load(answer)
        except urllib.error.HTTPError as error:
            found = json.load(error)
        except OSError:
            return {}
        return found

    def wait_until_reading(self, partitions: int = 16, within_s: float = _READY_WITHIN_S) -> None:
        """Wait until the broker has confirmed its subscriptions to so many partitions."""
        deadline = time.monotonic() + within_s
        while not ((state := self.health()).get("healthy") and len(state["partitions"]) == partitions):
            assert self.process.poll() is None, f"the worker ended: {self.said()[-2000:]}"
            assert time.monotonic() < deadline, f"the worker says {state}: {self.said()[-2000:]}"
            time.sleep(0.02)

    def wait_until_killed(self, within_s: float = 120.0) -> None:
        """Wait until it died by SIGKILL, its own or ours."""
        deadline = time.monotonic() + within_s
        while self.process.poll() is None:
            assert time.monotonic() < deadline, f"the worker lives on: {self.said()[-2000:]}"
            time.sleep(0.02)
        assert self.process.returncode == -signal.SIGKILL, self.said()[-2000:]

    def wait_until_frozen(self, within_s: float = 120.0) -> None:
        """Wait until it stands still."""
        deadline = time.monotonic() + within_s
        while psutil.Process(self.process.pid).status() != psutil.STATUS_STOPPED:
            assert time.monotonic() < deadline, f"the worker did not freeze: {self.said()[-2000:]}"
            time.sleep(0.05)

    def kill(self) -> None:
        """SIGKILL."""
        if self._process is not None and self._process.poll() is None:
            self._process.kill()
            self._process.wait(20)

    def freeze(self) -> None:
        """SIGSTOP."""
        self.process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """SIGCONT."""
        self.process.send_signal(signal.SIGCONT)

    def stop(self) -> int:
        """SIGTERM; its exit code."""
        self.process.terminate()
        return self.process.wait(60)

    @property
    def resident_mb(self) -> float:
        """Resident memory, megabytes."""
        return float(psutil.Process(self.process.pid).memory_info().rss) / 1e6
