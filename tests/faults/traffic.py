"""Messages with a ledger: what a device may forget because the broker answered for it."""

import json
import math
import threading
from collections.abc import Iterable, Iterator, Sequence

from fleet_core import clock, topics
from fleet_core.publications import Message
from simulators.publisher import Publisher

PARTITIONS = 16
BOOT = 17
# One message in this many is an alarm, which travels in a session of its own.
ALARM_EVERY = 97
METRES_A_DEGREE = 111_195.0


def messages(count: int, *, vehicles: int = 200, first: int = 0, prefix: str = "v") -> Iterator[Message]:
    """`count` messages of `vehicles` in turn; each vehicle's own count up in `seq` and in device time.

    Device times end about now: none is ahead of the clock, and every reading is newer than its vehicle's last. Vehicles
    drive as vehicles do, or are parked: what a worker is to be kept busy with here is storing, not what detection would
    make of leaps and of full stops within a second.
    """
    rounds = (first + count) // vehicles + 1
    start_ms = clock.now_ms() - rounds * 1000
    for index in range(first, first + count):
        number, seq = index % vehicles, index // vehicles
        vehicle_id, t_ms = f"{prefix}{number}", start_ms + seq * 1000 + number
        if index % ALARM_EVERY == 0:
            stream, body = topics.ALARM, {"t_ms": t_ms, "kind": "tow", "number": index}
        else:
            stream, body = topics.TELEMETRY, {"t_ms": [t_ms], **_reading(number, seq)}
        yield message(vehicle_id, stream, {"boot": BOOT, "seq": seq, **body})


def _reading(number: int, seq: int) -> dict[str, object]:
    """Second `seq` of a vehicle that drives north at its own steady speed, or is parked; every second differs."""
    parked = number % 3 == 0
    speed_kmh = 0.0 if parked else 30.0 + number % 50
    north_m = seq % 11 * 0.02 if parked else seq * speed_kmh / 3.6
    return {
        "lat_deg": [round(31.0 + north_m / METRES_A_DEGREE, 7)],
        "lon_deg": [round(121.0 + number * 1e-4, 7)],
        "speed_kmh": [speed_kmh if parked else speed_kmh + seq % 7 * 0.1],
        "ignition": not parked,
    }


def message(vehicle_id: str, stream: str, body: dict[str, object]) -> Message:
    """One message on its right topic."""
    payload = json.dumps(body).encode()
    return Message(topics.topic_of(vehicle_id, stream, PARTITIONS), payload, vehicle_id, due_ms=0, count=1)


class Traffic:
    """Publishes from a thread of its own. `ledger` holds every message whose PUBACK came, in that order."""

    def __init__(self, url: str, stream: Iterable[Message], *, rate: float | None = None) -> None:
        self.ledger: list[Message] = []
        self.published: list[Message] = []
        # Published no further than this number: lets a test hold back a part for each of its faults.
        self.allowed: float = math.inf
        self._url, self._stream, self._rate = url, stream, rate
        self._stop = threading.Event()
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="traffic", daemon=True)

    def start(self) -> "Traffic":
        """Begin."""
        self._thread.start()
        return self

    def stop(self) -> None:
        """Publish no more; what is on its way is still waited for by `finish`."""
        self._stop.set()

    @property
    def running(self) -> bool:
        """Whether there is more to publish or to be answered."""
        return self._thread.is_alive()

    def finish(self, within_s: float = 240.0) -> Sequence[Message]:
        """Wait until every message was answered; the ledger."""
        self._thread.join(within_s)
        assert not self._thread.is_alive(), f"only {len(self.ledger)} of {len(self.published)} messages were answered"
        if self._error is not None:
            raise self._error
        return self.ledger

    def _run(self) -> None:
        try:
            publisher = Publisher(self._url, self.ledger.append, stopped=self._stop.is_set)
            try:
                self._publish(publisher)
                assert publisher.drain(120.0), f"{publisher.outstanding} messages were never answered"
            finally:
                publisher.close()
        except BaseException as error:
            self._error = error

    def _publish(self, publisher: Publisher) -> None:
        started_ms = clock.now_ms()
        for number, item in enumerate(self._stream):
            while not self._stop.is_set() and (number >= self.allowed or number > self._due(started_ms)):
                publisher.pump(0.01)
            if self._stop.is_set() or not publisher.publish(item):
                return
            self.published.append(item)

    def _due(self, started_ms: int) -> float:
        return math.inf if self._rate is None else (clock.now_ms() - started_ms) / 1000.0 * self._rate
