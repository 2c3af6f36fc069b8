"""What later stages of the pipeline are promised, across kills: each fresh reading once, in the broker's order."""

import random
import time
from collections import defaultdict

import psycopg
import pytest

from tests.faults import watching_stage
from tests.faults.conftest import Rig
from tests.faults.traffic import Traffic, messages

pytestmark = pytest.mark.fault


def test_later_stages_see_each_reading_once_and_in_order(rig: Rig) -> None:
    with psycopg.connect(rig.database_url, autocommit=True) as connection:
        connection.execute(watching_stage.CREATE)
    worker = rig.worker(fault="watch").start()
    worker.wait_until_reading()
    traffic = Traffic(rig.broker.url, messages(12_000, vehicles=50), rate=1500).start()
    chance = random.Random(5)
    for _ in range(5):
        time.sleep(chance.uniform(0.3, 1.2))
        worker.kill()
        worker.start().wait_until_reading()
    rig.expect_nothing_lost(traffic)

    with psycopg.connect(rig.database_url, autocommit=True) as connection:
        twice = connection.execute(
            "SELECT count(*) FROM (SELECT FROM shown GROUP BY vehicle_id, seq HAVING count(*) > 1) AS doubled"
        ).fetchone()
        never = connection.execute(
            "SELECT count(*) FROM readings LEFT JOIN shown USING (vehicle_id, seq) WHERE shown.vehicle_id IS NULL"
        ).fetchone()
        first_time = connection.execute(
            "SELECT worker, session, generation, vehicle_id, seq FROM shown WHERE NOT redelivered ORDER BY shown_number"
        ).fetchall()
    assert twice == (0,)
    assert never == (0,)
    orders: dict[tuple[object, ...], list[int]] = defaultdict(list)
    for *whose, seq in first_time:
        orders[tuple(whose)].append(seq)
    assert len({worker for worker, *_ in orders}) > 1, "no kill fell among the messages"
    assert [whose for whose, seen in orders.items() if seen != sorted(seen)] == []
