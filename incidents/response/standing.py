"""How an incident stands, as far as its response asks. Connection first, never a commit.

Whoever works on the response locks the incident first and reads it afterwards: a statement that waits for a lock sees
the locked row as it is then, but everything beside it as it was before.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from fleet_core import sql
from fleet_core.db import Connection
from incidents.response import policy
from incidents.response.escalation import Round, Standing
from incidents.response.policy import IncidentPolicy

_SQL: Final = sql.load("incidents.response", "standing.sql")


@dataclass(frozen=True, slots=True)
class Facts:
    """An incident with its newest round. `policy` None: not frozen yet."""

    incident: Standing
    family: str
    vehicle_id: str
    plate: str | None
    occurred_at: datetime
    delay_s: float
    lat_deg: float | None
    lon_deg: float | None
    drill: bool
    revision: int
    followed_revision: int | None
    score: float
    injured: bool
    policy: IncidentPolicy | None
    newest: Round | None

    @property
    def incident_id(self) -> int:
        """Its id."""
        return self.incident.incident_id


def lock(connection: Connection, incident_id: int) -> bool:
    """Hold an incident to the commit. False when there is none."""
    return connection.execute(_SQL["lock_incident"], {"incident_id": incident_id}).fetchone() is not None


def lock_if_free(connection: Connection, incident_id: int) -> bool:
    """The same, but False as well when somebody else holds it."""
    return connection.execute(_SQL["lock_incident_if_free"], {"incident_id": incident_id}).fetchone() is not None


def read(connection: Connection, incident_id: int) -> Facts | None:
    """How it stands. Raises msgspec.ValidationError when its frozen policy cannot be read."""
    row = connection.execute(_SQL["standing"], {"incident_id": incident_id}).fetchone()
    if row is None:
        return None
    held, number, kind, level, running = row[21:]
    frozen = None if held is None else policy.from_json(held)
    newest = None if number is None else Round(number, kind, level, running)
    values: tuple[Any, ...] = (Standing(*row[:9]), *row[9:21], frozen, newest)
    return Facts(*values)
