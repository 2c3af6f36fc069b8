"""Time at the edge. Pure code takes the time as an argument and never calls these."""

import time
from datetime import UTC, datetime


def now() -> datetime:
    """Current time, UTC, with zone."""
    return datetime.now(UTC)


def now_ms() -> int:
    """Current time, milliseconds since the Unix epoch, UTC."""
    return time.time_ns() // 1_000_000


def now_us() -> int:
    """Current time, microseconds since the Unix epoch, UTC."""
    return time.time_ns() // 1_000
