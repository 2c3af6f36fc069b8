"""A case in the store, as intake reads and writes it. Connection first, never a commit."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

import msgspec
import shapely

from fleet_core import sql
from fleet_core.db import Connection
from incidents import timeline
from incidents.detector import Reason
from incidents.fusion import Evidence
from incidents.kept import reasons_json
from incidents.stored import instant
from incidents.window import S

_SQL: Final = sql.load("incidents", "intake.sql")

_encode: Final = msgspec.json.Encoder().encode
_decode: Final = msgspec.json.Decoder().decode


@dataclass(frozen=True, slots=True)
class Incident:
    """What intake needs to know of a case. Times in microseconds since the epoch."""

    incident_id: int
    kind: str
    level: int
    score: float
    status: str
    level_set_by: str | None
    lower_level: int | None
    lower_since: datetime | None
    occurred_us: int
    last_evidence_us: int

    @property
    def closed(self) -> bool:
        """Whether nobody works on it any more."""
        return self.status in ("resolved", "dismissed")


def incident(connection: Connection, block: str, parameters: Mapping[str, Any]) -> Incident | None:
    """The incident that a block of intake.sql finds, or None."""
    row = connection.execute(_SQL[block], parameters).fetchone()
    return None if row is None else Incident(*row)


def evidence_of(connection: Connection, incident_id: int) -> list[Evidence]:
    """All that stands for a case."""
    return [
        Evidence(source, reference, kind, level, score, at_us, until_us, _decode(measured))
        for source, reference, kind, level, score, at_us, until_us, measured in connection.execute(
            _SQL["evidence_of"], {"incident_id": incident_id}
        )
    ]


def regrade(connection: Connection, case: Incident) -> None:
    """Write what the evidence supports now."""
    connection.execute(
        _SQL["regrade_incident"],
        {"incident_id": case.incident_id, "level": case.level, "kind": case.kind, "score": case.score,
         "lower_level": case.lower_level, "lower_since": case.lower_since,
         "occurred_at": instant(case.occurred_us), "last_evidence_at": instant(case.last_evidence_us)},
    )  # fmt: skip


def attach(
    connection: Connection, incident_id: int, evidence: Evidence, reasons: Sequence[Reason], now: datetime
) -> bool:
    """Attach evidence that is no detection. False when it was there before."""
    row = connection.execute(
        _SQL["attach_evidence"],
        {"incident_id": incident_id, "source": evidence.source, "reference": evidence.reference,
         "kind": evidence.kind, "level": evidence.level, "score": evidence.score,
         "occurred_at": instant(evidence.at_us), "attached_at": now,
         "measured": _encode(evidence.measured).decode(), "reasons": reasons_json(reasons)},
    ).fetchone()  # fmt: skip
    return row is not None


def attach_context(connection: Connection, incident_id: int, evidence: Evidence, actor: str, now: datetime) -> None:
    """Tell a case something that explains it and does not change its level: the weather, the vehicle's condition."""
    if attach(connection, incident_id, evidence, (), now):
        timeline.note(
            connection, incident_id, now, actor, "context_added", source=evidence.source, evidence=evidence.kind
        )


def weather_at(connection: Connection, at: datetime, lat_deg: float, lon_deg: float) -> list[Evidence]:
    """Weather warnings that hold at a place and instant, as evidence."""
    point = shapely.Point(lon_deg, lat_deg)
    at_us = round(at.timestamp() * S)
    return [
        Evidence("weather", str(warning_id), kind, level, 0.0, at_us, at_us, {"told": told} if told else {})
        for warning_id, kind, level, area, told in connection.execute(_SQL["weather_at"], {"at": at})
        if shapely.from_geojson(area).intersects(point)
    ]
