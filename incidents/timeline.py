"""Lines of an incident's timeline: who did what and why. Append only, never a commit."""

from datetime import datetime
from typing import Any, Final

import msgspec

from fleet_core import sql
from fleet_core.db import Connection

_SQL: Final = sql.load("incidents", "intake.sql")
_encode: Final = msgspec.json.Encoder().encode


def note(
    connection: Connection,
    incident_id: int,
    at: datetime,
    actor: str,
    kind: str,
    *,
    reason: str | None = None,
    **values: Any,
) -> None:
    """Add a line. `actor`: a person, or `machine:<rule> v<version>`."""
    connection.execute(
        _SQL["note_event"],
        {
            "incident_id": incident_id,
            "at": at,
            "actor": actor,
            "kind": kind,
            "reason": reason,
            "data": _encode(values).decode(),
        },
    )


def ring(connection: Connection) -> None:
    """Tell readers that incidents changed."""
    connection.execute(_SQL["ring_incidents"])
