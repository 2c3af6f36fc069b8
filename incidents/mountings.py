"""How devices sit in their vehicles, learned from the hours they were driven and kept with the vehicle.

A device that is mounted askew tells bumps from braking only if somebody knows how it sits. An hour of driving shows it
better than the minute before a blow; what was learned holds until the device comes loose, and is learned anew weekly.
"""

from collections.abc import Iterable
from typing import Final

from fleet_core import sql
from fleet_core.db import Connection
from incidents.detectors._mounting import KNOWN_QUALITY, learn
from incidents.window import Mounting, S, Window

_SQL: Final = sql.load("incidents", "mountings.sql")

# So long is what was learned believed without another look: glue settles over weeks, not over days. Judgement.
FRESH_US: Final = 7 * 24 * 3600 * S


def worth_keeping(kept: Mounting | None, learned: Mounting | None) -> bool:
    """Whether what an hour shows is to be kept beside what is. `kept`: None where it came loose since."""
    if learned is None or learned.quality < KNOWN_QUALITY:
        return False
    return kept is None or learned.learned_until_us > kept.learned_until_us + FRESH_US


def keep(connection: Connection, windows: Iterable[Window]) -> int:
    """Learn from windows and keep what is worth it; returns how many. Without a commit."""
    rows = []
    for window in windows:
        kept = window.vehicle.mounting
        if kept is not None and window.until_us <= kept.learned_until_us + FRESH_US:
            continue
        learned = learn(window)
        if learned is not None and worth_keeping(kept, learned):
            rows.append(
                {
                    "vehicle_id": window.vehicle.vehicle_id,
                    "learned_from_us": learned.learned_from_us,
                    "learned_until_us": learned.learned_until_us,
                    "rotation": learned.rotation.ravel().tolist(),
                    "quality": learned.quality,
                }
            )
    if rows:
        connection.cursor().executemany(_SQL["keep_mounting"], rows)
    return len(rows)
