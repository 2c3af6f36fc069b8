"""What is done from the command line of the server, for the audit log."""

import getpass
from typing import Any

from fleet_api.access import audit
from fleet_api.access.audit import Trail
from fleet_core import clock
from fleet_core.db import Connection


def trace(connection: Connection, action: str, object_kind: str, object_id: str, **details: Any) -> None:
    """Write what a command does, in its transaction, with the account of the machine that ran it."""
    trail = Trail(action, object_kind, object_id, details=details)
    audit.write_command(connection, trail, _account(), clock.now())


def _account() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        # A container may run under a number that has no name.
        return "unnamed"
