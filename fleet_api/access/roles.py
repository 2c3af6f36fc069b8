"""Roles of people, scopes of tokens, and the groups that routes name. What each may do is said beside each route."""

from enum import StrEnum
from typing import Final


class Role(StrEnum):
    """What somebody does. A user has one or more."""

    DISPATCHER = "dispatcher"
    SUPERVISOR = "supervisor"
    MAINTENANCE = "maintenance"
    CLAIMS = "claims"
    AUDITOR = "auditor"
    ADMIN = "admin"


class Scope(StrEnum):
    """What a token may be used for, within what its user may do."""

    READ = "read"
    INCIDENTS = "incidents"
    FLEET = "fleet"
    AUDIT = "audit"
    ADMIN = "admin"


# Whoever is signed in.
EVERYONE: Final = tuple(Role)
# Where vehicles are now: those who send somebody there.
WATCHERS: Final = (Role.DISPATCHER, Role.SUPERVISOR, Role.MAINTENANCE, Role.AUDITOR, Role.ADMIN)
# Where a vehicle was: an answer about a person's movements, so not for everybody.
TRACERS: Final = (Role.DISPATCHER, Role.SUPERVISOR, Role.CLAIMS, Role.AUDITOR, Role.ADMIN)
# Those who answer incidents.
RESPONDERS: Final = (Role.DISPATCHER, Role.SUPERVISOR, Role.ADMIN)
# Those who have something to say in an incident, or something to do because of it.
INVOLVED: Final = (Role.DISPATCHER, Role.SUPERVISOR, Role.MAINTENANCE, Role.CLAIMS, Role.ADMIN)
# Those who keep the register of vehicles and devices.
KEEPERS: Final = (Role.SUPERVISOR, Role.MAINTENANCE, Role.ADMIN)
# Those who decide how the response works.
PLANNERS: Final = (Role.SUPERVISOR, Role.ADMIN)
# Those who see who did what.
OVERSEERS: Final = (Role.AUDITOR, Role.ADMIN)
