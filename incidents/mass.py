"""Many vehicles at one place and time: hail, a flood, a pile-up. One incident stands for all, so that people are called
once and not a hundred times. An emergency is never folded in: whoever is hurt is answered for themselves."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final, Protocol

from fleet_core import sql
from fleet_core.db import Connection
from incidents import case_rows, timeline
from incidents.geometry import distance_m

_SQL: Final = sql.load("incidents", "intake.sql")

NAME: Final = "mass"
VERSION: Final = 1

# Judgement, all three: neighbours of one hailstorm or one flooded street.
WITHIN_S: Final = 600.0
WITHIN_M: Final = 2_000.0
FROM_VEHICLES: Final = 3
# What one incident that stands for many is at least.
LEVEL: Final = 2
FAMILIES: Final = frozenset({"collision", "health"})

ACTOR: Final = f"machine:{NAME} v{VERSION}"


class Raised(Protocol):
    """Who hears that the incident which stands for many went up."""

    def level_changed(self, connection: Connection, incident_id: int, before: int, now: datetime) -> None:
        """See incidents.intake.Response."""
        ...


@dataclass(frozen=True, slots=True)
class Neighbour:
    """An open incident near the new one."""

    incident_id: int
    vehicle_id: str
    level: int
    lat_deg: float
    lon_deg: float
    mass_incident_id: int | None


@dataclass(frozen=True, slots=True)
class Mass:
    """Which incident stands for which; `vehicles` are those of all of them."""

    stands: int
    members: tuple[int, ...]
    vehicles: int


def gather(new: Neighbour, around: Sequence[Neighbour]) -> Mass | None:
    """What a new incident and those around it make together; None when they are too few. Pure."""
    near = [one for one in around if distance_m(new.lat_deg, new.lon_deg, one.lat_deg, one.lon_deg) <= WITHIN_M]
    everyone = {one.incident_id: one for one in (*near, new)}
    vehicles = {one.vehicle_id for one in everyone.values()}
    if len(vehicles) < FROM_VEHICLES:
        return None
    standing = sorted(one.mass_incident_id for one in everyone.values() if one.mass_incident_id is not None)
    stands = standing[0] if standing else min(everyone)
    members = tuple(sorted(one.incident_id for one in everyone.values() if one.incident_id != stands and one.level < 3))
    return Mass(stands, members, len(vehicles))


def join(connection: Connection, incident_id: int, family: str, response: Raised, now: datetime) -> None:
    """Let one incident stand for those of many vehicles at the place and time of a new one. Does not commit."""
    row = connection.execute(_SQL["case_place"], {"incident_id": incident_id}).fetchone()
    assert row is not None
    *fields, at, drill = row
    new = Neighbour(*fields)
    near = {"family": family, "drill": drill, "at": at, "within_s": WITHIN_S, "lat_deg": new.lat_deg,
            "box_deg": WITHIN_M / 111_000.0}  # fmt: skip
    found = gather(new, [Neighbour(*other) for other in connection.execute(_SQL["cases_around"], near)])
    if found is None:
        return
    members = {"mass_incident_id": found.stands, "incident_ids": list(found.members)}
    for (member,) in connection.execute(_SQL["join_mass"], members).fetchall():
        timeline.note(connection, member, now, ACTOR, "joined_mass", mass_incident=found.stands)
    stands = case_rows.incident(connection, "incident_by_id", {"incident_id": found.stands})
    if stands is None or stands.closed:
        return
    timeline.note(connection, found.stands, now, ACTOR, "stands_for", vehicles=found.vehicles)
    if stands.level < LEVEL:
        case_rows.regrade(connection, replace(stands, level=LEVEL, lower_level=None, lower_since=None))
        why = f"{found.vehicles} vehicles at one place and time"
        timeline.note(connection, found.stands, now, ACTOR, "level_raised", reason=why, was=stands.level, level=LEVEL)
        if found.stands != incident_id:
            response.level_changed(connection, found.stands, stands.level, now)
