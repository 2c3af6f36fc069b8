"""A worker stands still, a successor takes its partitions, it wakes. And two workers share."""

import itertools
import time

import psycopg
import pytest

from tests.faults.conftest import Rig
from tests.faults.traffic import Traffic, messages
from tests.faults.worker_process import WorkerProcess

pytestmark = pytest.mark.fault


def sessions_of_ingest(url: str) -> set[int]:
    """Server processes that work for ingest workers."""
    with psycopg.connect(url, autocommit=True) as connection:
        found = connection.execute("SELECT pid FROM pg_stat_activity WHERE application_name = 'fleetward-ingest'")
        return {pid for (pid,) in found}


def wait_until_shared(*workers: WorkerProcess) -> None:
    """Wait until the workers hold all partitions between them, each some and none twice."""
    deadline = time.monotonic() + 60
    while True:
        held = [worker.health().get("partitions", []) for worker in workers]
        if all(held) and sorted(itertools.chain(*held)) == list(range(16)):
            return
        assert time.monotonic() < deadline, f"partitions are not shared: {held}"
        time.sleep(0.1)


@pytest.mark.parametrize("fault", ["", "freeze_before_commit:3", "freeze_in_copy:3"], ids=["anywhere", "open", "copy"])
def test_a_frozen_worker_that_wakes_after_its_successor_took_over(rig: Rig, fault: str) -> None:
    rig.subscribed_once()
    frozen = rig.worker("frozen", fault=fault, batch_max_messages="500").start()
    if not fault:
        frozen.wait_until_reading()
    traffic = Traffic(rig.broker.url, messages(9000), rate=1500).start()
    if fault:
        frozen.wait_until_frozen()
    else:
        time.sleep(2.0)
        frozen.freeze()
    stale = sessions_of_ingest(rig.database_url)
    assert len(stale) == 1

    successor = rig.worker("successor").start()
    # Only when the database has ended the silent session can the successor have them all.
    successor.wait_until_reading()
    assert not stale & sessions_of_ingest(rig.database_url)
    frozen.thaw()
    frozen.wait_until_says("database:")
    wait_until_shared(frozen, successor)
    rig.expect_nothing_lost(traffic)
    assert frozen.stop() == successor.stop() == 0


def test_two_workers_share_a_backlog_and_give_back(rig: Rig) -> None:
    rig.subscribed_once()
    # As fast as the broker takes it until the partitions are shared, however fast the workers are: giving up a
    # partition must not wait for a pause in the work.
    traffic = Traffic(rig.broker.url, messages(400_000)).start()
    one = rig.worker("one", batch_max_messages="1000").start()
    one.wait_until_reading()
    two = rig.worker("two", batch_max_messages="1000").start()
    wait_until_shared(one, two)
    assert traffic.running, "the traffic ended before it was shared: the test shows nothing"
    traffic.stop()
    assert two.stop() == 0
    one.wait_until_reading()
    rig.expect_nothing_lost(traffic)


def test_a_killed_worker_leaves_its_share_to_the_other(rig: Rig) -> None:
    rig.subscribed_once()
    one, two = rig.worker("one").start(), rig.worker("two").start()
    wait_until_shared(one, two)
    traffic = Traffic(rig.broker.url, messages(10_000), rate=2500).start()
    time.sleep(1.5)
    two.kill()
    one.wait_until_reading()
    rig.expect_nothing_lost(traffic)
