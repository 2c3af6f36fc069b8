"""Publishing a stream at its own pace: simulated time mapped to the wall clock, stopped on request."""

import contextlib
import itertools
import signal
import time
from collections.abc import Callable, Iterable, Iterator
from types import FrameType
from typing import Final

from fleet_core.publications import Message
from simulators.publisher import Publisher

_BLOCK: Final = 200_000
DRAIN_S: Final = 120.0
DRAIN_STOPPED_S: Final = 5.0


class Stop:
    """Set by SIGINT or SIGTERM while `listening`; a second signal ends the process at once."""

    def __init__(self) -> None:
        self.wanted = False

    def __call__(self) -> bool:
        return self.wanted

    @contextlib.contextmanager
    def listening(self) -> Iterator[None]:
        """Take the signals over for the length of the block."""

        def handle(_number: int, _frame: FrameType | None) -> None:
            if self.wanted:
                raise KeyboardInterrupt
            self.wanted = True

        before = {number: signal.signal(number, handle) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


def publish_paced(
    publisher: Publisher,
    messages: Iterable[Message],
    speed: float,
    stop: Callable[[], bool],
    clock_s: Callable[[], float] = time.monotonic,
) -> None:
    """Publish each message when it is due, `speed` times faster than real time; 0 is as fast as possible.

    The first message sets the beat. When publishing falls behind, nothing is skipped: messages just leave late.
    """
    began_s = clock_s()
    first_ms: int | None = None
    for message in messages:
        # A recorded message may have no time at all (0): it follows the one before it at once.
        if first_ms is None and message.due_ms:
            first_ms = message.due_ms
        if speed > 0 and message.due_ms and first_ms is not None:
            due_s = began_s + (message.due_ms - first_ms) / 1000.0 / speed
            while not stop() and (wait_s := due_s - clock_s()) > 0:
                publisher.pump(min(wait_s, 0.2))
        publisher.publish(message)


def publish_burst(publisher: Publisher, messages: Iterator[Message], stop: Callable[[], bool]) -> float:
    """Publish as fast as possible what was encoded beforehand; seconds spent from first publish to last PUBACK.

    At most 200,000 messages are held encoded at a time; encoding them does not count.
    """
    spent_s = 0.0
    while block := list(itertools.islice(messages, _BLOCK)):
        began_s = time.perf_counter()
        for message in block:
            if stop():
                break
            publisher.publish(message)
        publisher.drain(DRAIN_STOPPED_S if stop() else DRAIN_S)
        spent_s += time.perf_counter() - began_s
        if stop():
            break
    return spent_s
