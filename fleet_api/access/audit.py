"""The audit log as rows: written in the transaction of what it speaks of, never changed. Never a commit."""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final, Literal

import msgspec
from psycopg.rows import class_row

from fleet_api.access.principal import Principal
from fleet_core import sql
from fleet_core.db import Connection

_SQL: Final = sql.load("fleet_api.access", "audit.sql")
_encode: Final = msgspec.json.Encoder().encode

Outcome = Literal["done", "refused", "failed"]


@dataclass(frozen=True, slots=True)
class Origin:
    """Where something came from."""

    address: str | None = None
    request_id: str | None = None


@dataclass(slots=True)
class Trail:
    """What a request is about. Whoever answers it may say more than the address of the route does."""

    action: str
    object_kind: str | None = None
    object_id: str | None = None
    purpose: str | None = None
    outcome: Outcome = "done"
    details: dict[str, Any] = field(default_factory=dict)

    def about(self, object_kind: str, object_id: object, **details: Any) -> None:
        """Name what it is about."""
        self.object_kind, self.object_id = object_kind, str(object_id)
        self.details |= details


@dataclass(frozen=True, slots=True)
class Entry:
    """A line of the audit log. `user_id` None: nobody was signed in."""

    entry_id: int
    at: datetime
    user_id: str | None
    roles: list[str]
    via: str
    action: str
    object_kind: str | None
    object_id: str | None
    purpose: str | None
    request_id: str | None
    address: str | None
    outcome: Outcome
    details: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Narrow:
    """What a page is narrowed to; None does not narrow. `before` is the last entry of the page before."""

    user_id: str | None = None
    action: str | None = None
    object_kind: str | None = None
    object_id: str | None = None
    outcome: Outcome | None = None
    since: datetime | None = None
    until: datetime | None = None
    before: int | None = None


def write(connection: Connection, who: Principal | None, trail: Trail, origin: Origin, now: datetime) -> None:
    """Write what somebody did, or tried."""
    _insert(
        connection, trail, origin, now,
        user_id=None if who is None else who.user_id,
        roles=[] if who is None else sorted(role.value for role in who.roles),
        via="none" if who is None else who.via,
    )  # fmt: skip


def write_command(connection: Connection, trail: Trail, operator: str, now: datetime) -> None:
    """Write what was done from the command line of the server; `operator` is the account of the machine."""
    trail.details |= {"operator": operator}
    _insert(connection, trail, Origin(), now, user_id=None, roles=[], via="command")


def entries(connection: Connection, narrow: Narrow, limit: int) -> list[Entry]:
    """Entries, newest first."""
    parameters = {name: getattr(narrow, name) for name in Narrow.__dataclass_fields__} | {"limit": limit}
    with connection.cursor(row_factory=class_row(Entry)) as cursor:
        return cursor.execute(_SQL["entries"], parameters).fetchall()


def _insert(
    connection: Connection, trail: Trail, origin: Origin, now: datetime, *,
    user_id: str | None, roles: list[str], via: str,
) -> None:  # fmt: skip
    parameters = {
        "at": now, "user_id": user_id, "roles": roles, "via": via, "action": trail.action,
        "object_kind": trail.object_kind, "object_id": trail.object_id, "purpose": trail.purpose,
        "request_id": origin.request_id, "address": origin.address, "outcome": trail.outcome,
        "details": _encode(trail.details).decode(),
    }  # fmt: skip
    connection.execute(_SQL["insert_entry"], parameters)
