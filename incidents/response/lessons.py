"""What incidents teach: whether something happened again after a countermeasure, and how often detectors were wrong.
Connection first, never a commit."""

from dataclasses import dataclass
from datetime import datetime
from typing import Final

from fleet_core import sql
from fleet_core.db import Connection

_SQL: Final = sql.load("incidents.response", "lessons.sql")

# The same place: a junction with its approaches. Judgement.
SAME_PLACE_M: Final = 200.0


@dataclass(frozen=True, slots=True)
class Recurrence:
    """An incident of the same kind after a countermeasure. `metres` None: a place is not known."""

    incident_id: int
    vehicle_id: str
    level: int
    status: str
    occurred_at: datetime
    same_vehicle: bool
    same_place: bool
    metres: float | None


def recurrences(connection: Connection, countermeasure_id: int) -> list[Recurrence]:
    """Incidents of the same kind, of the same vehicle or at the same place, after the countermeasure."""
    parameters = {"countermeasure_id": countermeasure_id, "within_m": SAME_PLACE_M}
    return [Recurrence(*row) for row in connection.execute(_SQL["recurrences"], parameters)]


@dataclass(frozen=True, slots=True)
class FalseAlarms:
    """Closed incidents in which a detector version had a part. `device_id` None: over all devices."""

    detector: str
    version: int
    kind: str
    device_id: str | None
    closed: int
    false: int

    @property
    def rate(self) -> float:
        """Share of them that people dismissed as false alarms."""
        return self.false / self.closed


def false_alarms(
    connection: Connection, since: datetime, until: datetime, *, depots: list[str] | None = None
) -> list[FalseAlarms]:
    """By detector, version and kind: over all devices, then for each device. Drills do not count.

    `depots`: only incidents of their vehicles; None does not narrow.
    """
    parameters = {"since": since, "until": until, "depots": depots}
    return [FalseAlarms(*row) for row in connection.execute(_SQL["false_alarms"], parameters)]
