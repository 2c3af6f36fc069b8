"""How a process ends: SIGTERM and SIGINT set one event that every loop looks at."""

import logging
import signal
import threading
from types import FrameType


def stop_event() -> threading.Event:
    """An event that SIGTERM or SIGINT sets. Call it once, in the main thread."""
    stop = threading.Event()

    def handle(number: int, _frame: FrameType | None) -> None:
        logging.getLogger("fleet").info("stopping on %s", signal.Signals(number).name)
        stop.set()

    signal.signal(signal.SIGTERM, handle)
    signal.signal(signal.SIGINT, handle)
    return stop
