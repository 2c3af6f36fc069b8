"""What every fault test starts from: a broker, a database and workers to maltreat."""

import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from fleet_core.publications import Message
from tests.conftest import Broker
from tests.faults import oracle
from tests.faults.traffic import Traffic
from tests.faults.worker_process import WorkerProcess


@dataclass
class Rig:
    """Services and workers of one test."""

    folder: Path
    broker: Broker
    database_url: str
    workers: list[WorkerProcess] = field(default_factory=list)

    def worker(
        self, name: str = "worker", *, database_url: str = "", fault: str = "", **settings: str
    ) -> WorkerProcess:
        """A worker, not started yet."""
        made = WorkerProcess(
            self.folder, database_url or self.database_url, self.broker.url, name=name, fault=fault, **settings
        )
        self.workers.append(made)
        return made

    def subscribed_once(self) -> None:
        """Let a worker make the sessions, as any deployment does before its first vehicle: see the guide."""
        first = self.worker("first")
        first.start().wait_until_reading()
        assert first.stop() == 0

    def expect_nothing_lost(self, traffic: Traffic | Sequence[Message]) -> oracle.Verdict:
        """Wait until everything answered is stored, then compare."""
        if isinstance(traffic, Traffic):
            ledger, published = traffic.finish(), traffic.published
        else:
            ledger, published = traffic, list(traffic)
        oracle.wait_for(self.database_url, len(oracle.expected_rows(ledger)), describe=self.last_words)
        verdict = oracle.judge(self.database_url, ledger, published)
        assert verdict.clean, verdict
        return verdict

    def last_words(self) -> str:
        """Ends of the workers' logs."""
        return "\n".join(f"{worker.log_path.name}: {worker.said()[-1500:]}" for worker in self.workers)

    def close(self) -> None:
        """Kill what still runs, frozen or not."""
        for worker in self.workers:
            try:
                worker.kill()
            except subprocess.TimeoutExpired:
                pytest.fail(f"{worker.log_path.name} could not be killed")


@pytest.fixture
def rig(broker: Broker, database_url: str, tmp_path: Path) -> Iterator[Rig]:
    """A broker with the sessions made, a migrated database, no worker running."""
    made = Rig(tmp_path, broker, database_url)
    yield made
    made.close()
