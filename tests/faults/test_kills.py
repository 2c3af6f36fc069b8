"""The ingest worker is killed: at any time, between COPY and COMMIT, between COMMIT and PUBACK."""

import random
import time

import pytest

from fleet_core.embedded.nats import EmbeddedNats
from tests.faults.conftest import Rig
from tests.faults.traffic import Traffic, messages

pytestmark = pytest.mark.fault

KILLS = 20
MESSAGES_A_KILL = 5000


@pytest.mark.timeout(600)
def test_twenty_random_kills_lose_and_double_nothing(rig: Rig) -> None:
    # Once in full length is enough: what differs between brokers shows at once.
    kills = KILLS if isinstance(rig.broker, EmbeddedNats) else KILLS // 4
    worker = rig.worker().start()
    worker.wait_until_reading()
    chance = random.Random(20)
    traffic = Traffic(rig.broker.url, messages(kills * MESSAGES_A_KILL), rate=4000)
    traffic.allowed = 0
    traffic.start()
    for _ in range(kills):
        # Each kill falls among messages of its own, however slow the machine.
        traffic.allowed += MESSAGES_A_KILL
        time.sleep(chance.uniform(0.2, 1.5))
        worker.kill()
        worker.start().wait_until_reading()
    verdict = rig.expect_nothing_lost(traffic)
    assert verdict.kept == kills * MESSAGES_A_KILL
    assert worker.stop() == 0


@pytest.mark.parametrize("fault", ["die_after_commit:2", "die_before_commit:2"])
def test_a_kill_beside_the_commit(rig: Rig, fault: str) -> None:
    rig.subscribed_once()
    traffic = Traffic(rig.broker.url, messages(6000)).start()
    traffic.finish()
    unlucky = rig.worker("unlucky", fault=fault, batch_max_messages="1000").start()
    unlucky.wait_until_killed()
    rig.worker("successor").start().wait_until_reading()
    rig.expect_nothing_lost(traffic)
