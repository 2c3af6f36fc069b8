"""The broker is restarted, or killed, under load."""

import time
from pathlib import Path

import pytest

from fleet_core.embedded.nats import EmbeddedNats
from tests.faults.conftest import Rig
from tests.faults.traffic import Traffic, messages

pytestmark = pytest.mark.fault


def test_broker_restarts_under_load(rig: Rig) -> None:
    worker = rig.worker().start()
    worker.wait_until_reading()
    traffic = Traffic(rig.broker.url, messages(9000), rate=1500).start()
    for _ in range(3):
        time.sleep(1.5)
        rig.broker.stop()
        rig.broker.start()
        worker.wait_until_reading()
    rig.expect_nothing_lost(traffic)
    assert worker.stop() == 0


def test_nats_is_killed_under_load(nats: EmbeddedNats, database_url: str, tmp_path: Path) -> None:
    """Its answer to a device means that the kernel has the message. Mosquitto promises less: see the guide."""
    rig = Rig(tmp_path, nats, database_url)
    try:
        worker = rig.worker().start()
        worker.wait_until_reading()
        traffic = Traffic(nats.url, messages(6000), rate=1500).start()
        for _ in range(2):
            time.sleep(1.3)
            nats.kill()
            nats.start()
            worker.wait_until_reading()
        rig.expect_nothing_lost(traffic)
        assert worker.stop() == 0
    finally:
        rig.close()
