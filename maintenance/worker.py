"""The maintenance worker turns usage into due work. Nothing is due yet: programmes come with the maintenance part."""

import threading

from fleet_core.settings import Settings


def run(_settings: Settings, stop: threading.Event) -> None:
    """Wait until `stop` is set."""
    stop.wait()
