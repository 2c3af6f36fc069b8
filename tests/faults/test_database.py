"""The database is stopped, stays away, or is cut off during COMMIT."""

import time
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from fleet_core.embedded.nats import EmbeddedNats
from fleet_core.embedded.postgres import EmbeddedPostgres
from tests.conftest import Broker
from tests.faults import oracle
from tests.faults.conftest import Rig
from tests.faults.fault_proxy import FaultProxy
from tests.faults.traffic import Traffic, messages
from tests.services import databases

pytestmark = pytest.mark.fault

# The promise of the guide: a worker with a full backlog stays under this.
RESIDENT_MB_MAX = 400.0


@pytest.fixture(scope="module")
def own_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedPostgres]:
    """A server that these tests may stop."""
    server = EmbeddedPostgres(tmp_path_factory.mktemp("stopped-postgres"))
    server.start()
    databases.make_template(server)
    yield server
    server.stop("immediate")


@pytest.fixture
def own_rig(broker: Broker, own_server: EmbeddedPostgres, tmp_path: Path) -> Iterator[Rig]:
    """A rig on that server."""
    with databases.fresh_database(own_server) as url:
        made = Rig(tmp_path, broker, url)
        yield made
        made.close()


def test_five_immediate_stops_under_load(own_rig: Rig, own_server: EmbeddedPostgres) -> None:
    worker = own_rig.worker().start()
    worker.wait_until_reading()
    traffic = Traffic(own_rig.broker.url, messages(15_000), rate=2000).start()
    for _ in range(5):
        time.sleep(1.0)
        own_server.stop("immediate")
        worker.wait_until_says("database:")
        own_server.start()
        worker.wait_until_reading()
    own_rig.expect_nothing_lost(traffic)
    assert worker.stop() == 0


@pytest.mark.timeout(600)
def test_a_minute_without_the_database(own_rig: Rig, own_server: EmbeddedPostgres) -> None:
    """Nothing is acknowledged meanwhile, the devices are still answered, memory stays bounded, all is caught up."""
    # Once in full length is enough: what differs between brokers shows at once.
    broker = own_rig.broker
    away_s = 60.0 if isinstance(broker, EmbeddedNats) else 10.0
    worker = own_rig.worker().start()
    worker.wait_until_reading()
    traffic = Traffic(broker.url, messages(int(1500 * (away_s + 8))), rate=1500).start()
    time.sleep(3.0)
    own_server.stop("immediate")
    stopped = time.monotonic()
    worker.wait_until_says("database:")
    answered_before = len(traffic.ledger)
    largest_mb, waiting = 0.0, []
    while time.monotonic() - stopped < away_s:
        largest_mb = max(largest_mb, worker.resident_mb)
        if isinstance(broker, EmbeddedNats):
            waiting.append(unacknowledged(broker))
        time.sleep(1.0)
    assert len(traffic.ledger) > answered_before, "the broker answered no device while the database was away"
    assert waiting == sorted(waiting), f"messages were acknowledged without a database: {waiting}"
    own_server.start()
    with psycopg.connect(own_rig.database_url, autocommit=True) as connection:
        stored = oracle.count(connection)
    verdict = own_rig.expect_nothing_lost(traffic)
    largest_mb = max(largest_mb, worker.resident_mb)
    print(f"stored at the stop at most {stored}, caught up to {verdict.kept}, {largest_mb:.0f} MB resident, {waiting=}")
    assert largest_mb < RESIDENT_MB_MAX
    assert worker.stop() == 0


def unacknowledged(broker: EmbeddedNats) -> int:
    """Messages the broker still keeps for a session."""
    details = broker.figures()["account_details"][0]["stream_detail"]
    return sum(stream["state"]["messages"] for stream in details if stream["name"] == "$MQTT_msgs")


@pytest.mark.parametrize("when", ["before", "after"])
def test_the_connection_is_cut_during_commit(rig: Rig, when: str) -> None:
    proxy = FaultProxy(rig.database_url)
    worker = rig.worker(database_url=proxy.url).start()
    worker.wait_until_reading()
    traffic = Traffic(rig.broker.url, messages(9000), rate=3000).start()
    for number in range(1, 4):
        proxy.cut_next(when)
        deadline = time.monotonic() + 30
        while len(proxy.cuts) < number:
            assert time.monotonic() < deadline, f"no commit came by: {worker.said()[-1000:]}"
            time.sleep(0.02)
    worker.wait_until_says("database:")
    verdict = rig.expect_nothing_lost(traffic)
    assert verdict.kept == 9000
    proxy.close()
