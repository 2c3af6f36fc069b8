"""How the worker makes batches of what its sessions have received."""

import json
import time

from prometheus_client import CollectorRegistry

from fleet_core import clock, topics
from fleet_core.settings import Settings
from ingest.metrics import Metrics
from ingest.worker import Worker


def test_alarms_do_not_put_ordinary_messages_off() -> None:
    settings = Settings(mqtt_url="mqtt://127.0.0.1", database_url="postgresql://127.0.0.1/none", partitions=1)
    worker = Worker(settings, Metrics(CollectorRegistry()))
    worker._open(frozenset({0}), frozenset())
    urgent, ordinary = worker._source.sessions["a00"], worker._source.sessions["p00"]
    body = {"boot": 1, "seq": 1, "t_ms": clock.now_ms(), "kind": "crash"}
    ordinary._on_publish(1, topics.topic_of("v1", "telemetry", 1).encode(), json.dumps(body).encode())
    worker._hand_over(urgent=False)
    since = worker._first_waiting_since
    assert since is not None, "the linger has begun"
    time.sleep(0.001)
    urgent._on_publish(1, topics.topic_of("v1", "alarm", 1).encode(), json.dumps(body).encode())
    worker._hand_over(urgent=True)
    assert not urgent.queue, "an alarm waits for nothing"
    worker._hand_over(urgent=False)
    assert worker._first_waiting_since == since
