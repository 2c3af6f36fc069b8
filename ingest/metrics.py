"""What the ingest worker counts, in Prometheus' terms."""

from typing import Final

from prometheus_client import REGISTRY, CollectorRegistry, Counter, Gauge, Histogram

_SECONDS: Final = (0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0)
_SIZES: Final = (1, 3, 10, 30, 100, 300, 1000, 3000, 10_000, 30_000)


class Metrics:
    """The worker's counters. One instance a process."""

    def __init__(self, registry: CollectorRegistry = REGISTRY) -> None:
        def counter(name: str, text: str, labels: tuple[str, ...] = ()) -> Counter:
            return Counter(f"fleet_ingest_{name}", text, labels, registry=registry)

        self.messages = counter("messages_total", "Messages committed and acknowledged")
        self.accepted = counter("accepted_total", "Readings stored (fresh)")
        self.events = counter("events_total", "Alarms, bursts and other device events stored (fresh)")
        self.duplicates = counter("duplicates_total", "Readings and events that were already stored")
        self.late = counter("late_total", "Readings stored more than 60 s after their own time")
        self.dead = counter("dead_total", "Messages sent to the dead letters, by reason", ("reason",))
        self.redelivered_held = counter("redelivered_held_total", "Messages sent again while still held")
        self.stale_acks = counter("stale_acks_total", "Acknowledgements dropped because their connection was gone")
        self.failed_batches = counter("failed_batches_total", "Batches that did not commit and will come again")
        self.lost_sessions = counter(
            "lost_sessions_total", "Sessions the broker did not remember on reconnect: messages may have been lost"
        )
        self.held_messages = Gauge(
            "fleet_ingest_held_messages", "Messages received and not yet acknowledged", registry=registry
        )
        self.held_bytes = Gauge("fleet_ingest_held_bytes", "Payload bytes not yet acknowledged", registry=registry)
        self.lag_seconds = Gauge(
            "fleet_ingest_lag_seconds", "Age of the oldest message received and not yet committed", registry=registry
        )
        self.partitions = Gauge("fleet_ingest_partitions", "Partitions whose lease is held", registry=registry)
        self.batch_messages = Histogram(
            "fleet_ingest_batch_messages", "Messages a batch", buckets=_SIZES, registry=registry
        )
        self.commit_seconds = Histogram(
            "fleet_ingest_commit_seconds",
            "Time from the first statement of a batch to its commit",
            buckets=_SECONDS,
            registry=registry,
        )
        self.prepare_seconds = Histogram(
            "fleet_ingest_prepare_seconds", "Time to decode and hash a batch", buckets=_SECONDS, registry=registry
        )
