"""Start-up check of the broker, through the front door: how many messages it keeps for an absent session, and how
many it sends before it waits for an acknowledgement. Both are below what lossless ingest needs in most brokers'
defaults, and neither can be asked for in MQTT 3.1.1, so they are measured with a private topic.
"""

import threading
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from prometheus_client import CollectorRegistry

from fleet_core.cli import Refusal
from fleet_core.settings import Settings
from ingest.database_checks import Finding
from ingest.metrics import Metrics
from ingest.sessions import Sessions
from ingest.source import Session

# More than the 1,000 messages that Mosquitto, EMQX and HiveMQ keep for an absent session by default.
PROBE_MESSAGES: Final = 1_200
_STEP_TIMEOUT_SECONDS: Final = 20.0
# A broker that sends nothing more for this long waits for acknowledgements, or has no more.
_QUIET_SECONDS: Final = 1.0
# Before a broker is said to have dropped messages it is given this long: a busy one may only pause.
_SURE_SECONDS: Final = 5.0


class BrokerUnreachableError(RuntimeError):
    """The broker cannot be reached or refuses us."""


class LossyBrokerError(Refusal):
    """The broker would lose messages; the text names the setting to change."""


@dataclass(frozen=True, slots=True)
class BrokerProbe:
    """Of `sent` messages for an absent session, `kept` came back later, `window` of them without an acknowledgement."""

    sent: int
    kept: int
    window: int

    @property
    def loses(self) -> bool:
        """Whether the broker dropped messages it had acknowledged."""
        return self.kept < self.sent

    def findings(self) -> list[Finding]:
        """What an operator should change."""
        found = []
        if self.loses:
            found.append(
                Finding(
                    "max_queued_messages",
                    f"the broker kept {self.kept} of {self.sent} messages for an absent session, so a short pause of "
                    "ingest loses data. Raise its queue limit (Mosquitto: max_queued_messages 0 with "
                    "max_queued_bytes; EMQX: max_mqueue_len; HiveMQ: max-queue-size)",
                )
            )
        if self.window < self.kept:
            found.append(
                Finding(
                    "max_inflight_messages",
                    f"the broker sends {self.window} messages before it waits for an acknowledgement, which limits a "
                    "partition to that many a commit (Mosquitto: max_inflight_messages 0; EMQX: max_inflight; "
                    "NATS: max_ack_pending)",
                )
            )
        return found


def probe_broker(settings: Settings, stop: threading.Event | None = None) -> BrokerProbe:
    """Subscribe, leave, publish, come back, count. Leaves nothing behind.

    Raises BrokerUnreachableError, also when `stop` is set meanwhile.
    """
    stop = stop or threading.Event()
    name = f"probe-{uuid.uuid4().hex[:12]}"
    topic = f"fleet/probe/{name}"
    source = Sessions(settings, Metrics(CollectorRegistry()), on_lost=lambda _name: None)
    try:
        _opened(source, stop, name, [topic])
        source.close(name)

        publisher = _opened(source, stop, f"{name}-pub", [])
        waiting: set[int] = set()
        publisher.on_published(waiting.discard)
        waiting |= {publisher.publish(topic, b"probe %d" % number) for number in range(PROBE_MESSAGES)}
        _pump(source, stop, lambda: not waiting)
        if waiting:
            raise BrokerUnreachableError(f"the broker acknowledged only {PROBE_MESSAGES - len(waiting)} probe messages")
        source.close(publisher.name)

        subscriber = _opened(source, stop, name, [topic])
        window = kept = 0
        while kept < PROBE_MESSAGES:
            _pump_until_quiet(source, stop, subscriber, PROBE_MESSAGES - kept, _QUIET_SECONDS)
            if not subscriber.queue:
                _pump_until_quiet(source, stop, subscriber, 1, _SURE_SECONDS)
            received = len(subscriber.queue)
            if not received:
                break
            window = window or received
            kept += received
            for message in subscriber.take(received, 1 << 30):
                subscriber.acknowledge(message)
        _pump(source, stop, lambda: not subscriber.wants_write)
        source.close(name)
        # A clean session under the same name ends the durable one, and its queue.
        _opened(source, stop, name, [], durable=False)
        return BrokerProbe(PROBE_MESSAGES, kept, window)
    finally:
        source.close_all()


def _opened(source: Sessions, stop: threading.Event, name: str, filters: list[str], durable: bool = True) -> Session:
    session = source.open(name, filters, durable)
    _pump(source, stop, lambda: session.subscribed)
    if not session.subscribed:
        raise BrokerUnreachableError("the broker cannot be reached or refuses us")
    return session


def _pump(source: Sessions, stop: threading.Event, done: Callable[[], bool]) -> None:
    deadline = time.monotonic() + _STEP_TIMEOUT_SECONDS
    while not done() and time.monotonic() < deadline:
        _wait(source, stop)


def _pump_until_quiet(
    source: Sessions, stop: threading.Event, session: Session, enough: int, quiet_seconds: float
) -> None:
    deadline = time.monotonic() + _STEP_TIMEOUT_SECONDS
    count, since = len(session.queue), time.monotonic()
    while count < enough and time.monotonic() < deadline and time.monotonic() - since < quiet_seconds:
        _wait(source, stop)
        if len(session.queue) != count:
            count, since = len(session.queue), time.monotonic()


def _wait(source: Sessions, stop: threading.Event) -> None:
    if stop.is_set():
        raise BrokerUnreachableError("stopped while asking the broker what it keeps")
    source.wait(0.02, reading=True)
