"""Logging to standard error, one line an event, UTC."""

import logging
import sys
import time


def configure(level: str) -> None:
    """Set up the root logger. `level` is a name of `Settings.log_level`."""
    handler = logging.StreamHandler(sys.stderr)
    formatter = logging.Formatter("%(asctime)s.%(msecs)03dZ %(levelname)-7s %(name)s: %(message)s", "%Y-%m-%dT%H:%M:%S")
    formatter.converter = time.gmtime
    handler.setFormatter(formatter)
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
