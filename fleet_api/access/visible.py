"""What somebody who has some depots may see and act on: the vehicles of these, and what is about such a vehicle.

What the address of a route names is looked at before the route runs, here; lists narrow in their queries by
`Principal.depot_list`; what a body names is looked at by the route with `require_vehicle`.
"""

import re
from collections.abc import Iterable, Mapping
from typing import Any, Final

from fleet_api.access.principal import Principal
from fleet_api.problems import Problem
from fleet_api.requests import no_such
from fleet_core import sql
from fleet_core.db import Connection

_SQL: Final = sql.load("fleet_api.access", "visible.sql")

# Parameter in the address of a route -> the block that tells whether it is theirs.
_BY_VEHICLE: Final = {
    "vehicle_id": "vehicle_in_depots",
    "incident_id": "incident_in_depots",
    "detection_id": "detection_in_depots",
    "device_id": "device_in_depots",
}
_NUMBERED: Final = {"incident_id", "detection_id"}
_NUMBER: Final = re.compile(r"[0-9]{1,18}")
# Parameters that are about no vehicle by themselves: a part of what another parameter names, or of the whole fleet, or
# an address that the pages read for themselves.
_NOT_BY_VEHICLE: Final = {
    "item", "countermeasure_id", "obligation_id", "fence_id", "person_id", "shift_id", "user_id", "depot_id",
    "token_id", "rest",
}  # fmt: skip


def unknown_parameters(names: Iterable[str]) -> set[str]:
    """Those of which nobody has said whether they are about a vehicle: a route with one is not served."""
    return set(names) - _BY_VEHICLE.keys() - _NOT_BY_VEHICLE


def check_address(connection: Connection, who: Principal, parameters: Mapping[str, Any]) -> None:
    """Look at what the address of a request names. Raises Problem 404 as if it were not there."""
    for name, block in _BY_VEHICLE.items():
        if name in parameters and not _is_theirs(connection, who, block, name, str(parameters[name])):
            raise no_such(name.removesuffix("_id"), str(parameters[name]))


def sees_vehicle(connection: Connection, who: Principal, vehicle_id: str) -> bool:
    """Whether a vehicle is theirs; one that is not there is nobody's but of those who have every depot."""
    return _is_theirs(connection, who, "vehicle_in_depots", "vehicle_id", vehicle_id)


def require_vehicle(connection: Connection, who: Principal, vehicle_id: str | None, otherwise: Problem) -> None:
    """Look at what a body names; None is in no depot. Raises `otherwise` as if the vehicle were not there."""
    if who.depots is not None and (vehicle_id is None or not sees_vehicle(connection, who, vehicle_id)):
        raise otherwise


def require_depot(who: Principal, depot: str | None) -> None:
    """Look at the depot that a body gives a vehicle. Raises Problem 422."""
    if not who.has_depot(depot):
        raise Problem(422, f"depot: choose one of yours, which are {', '.join(who.depot_list or [])}.", "depot")


def _is_theirs(connection: Connection, who: Principal, block: str, name: str, identity: str) -> bool:
    if who.depots is None:
        return True
    if name in _NUMBERED and not _NUMBER.fullmatch(identity):
        return False
    return connection.execute(_SQL[block], {"id": identity, "depots": who.depot_list}).fetchone() is not None
