"""Users and depots as rows. Connection first, frozen dataclasses back, never a commit."""

import re
from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, TypeVar

from psycopg.rows import class_row

from fleet_core import sql
from fleet_core.db import Connection

_SQL: Final = sql.load("fleet_api.access", "accounts.sql")

USER_ID: Final = re.compile(r"[A-Za-z0-9_.@-]{1,64}")

Row = TypeVar("Row")


@dataclass(frozen=True, slots=True)
class User:
    """Somebody who signs in. `depot_ids` None: every depot. `person_id` is theirs in the rota, if they are in it."""

    user_id: str
    display_name: str
    language: str
    roles: list[str]
    depot_ids: list[str] | None
    must_change_password: bool
    totp_enabled: bool
    person_id: str | None
    created_at: datetime
    created_by: str
    last_sign_in_at: datetime | None
    disabled_at: datetime | None
    failed_sign_ins: int
    locked_until: datetime | None
    revision: int


@dataclass(frozen=True, slots=True)
class Secrets:
    """What signing in compares with."""

    user_id: str
    password_hash: str
    must_change_password: bool
    totp_secret: str | None
    totp_enabled: bool
    totp_last_step: int | None
    disabled_at: datetime | None


@dataclass(frozen=True, slots=True)
class Depot:
    """A depot and how many vehicles in service it has."""

    depot_id: str
    name: str
    created_at: datetime
    revision: int
    vehicles: int


@dataclass(frozen=True, slots=True)
class Fresh:
    """A user to be created."""

    user_id: str
    display_name: str
    language: str
    password_hash: str
    must_change_password: bool
    roles: list[str]
    depot_ids: list[str] | None
    created_by: str


def users(connection: Connection, *, after: str = "", with_disabled: bool = True, limit: int) -> list[User]:
    """Up to `limit` users whose id comes after `after` (byte order)."""
    parameters = {"user_id": None, "after": after, "with_disabled": with_disabled, "limit": limit}
    return _all(connection, User, "users", parameters)


def user_by_id(connection: Connection, user_id: str) -> User | None:
    """One user, or None."""
    found = _all(connection, User, "users", {"user_id": user_id, "after": "", "with_disabled": True, "limit": 1})
    return found[0] if found else None


def secrets_of(connection: Connection, user_id: str) -> Secrets | None:
    """What signing in as `user_id`, in any case of letters, compares with."""
    found = _all(connection, Secrets, "secrets_of", {"user_id": user_id})
    return found[0] if found else None


def insert_user(connection: Connection, fresh: Fresh) -> bool:
    """Create a user. False: the name is taken."""
    parameters = {name: getattr(fresh, name) for name in Fresh.__dataclass_fields__}
    return connection.execute(_SQL["insert_user"], parameters).fetchone() is not None


def update_user(connection: Connection, values: dict[str, Any], now: datetime) -> bool:
    """Write what is editable. False: `revision` is not the stored one."""
    return connection.execute(_SQL["update_user"], {**values, "now": now}).fetchone() is not None


def set_password(
    connection: Connection, user_id: str, password_hash: str, now: datetime, *, must_change: bool = False
) -> bool:
    """Keep a new password's hash. False: there is no such user."""
    parameters = {
        "user_id": user_id, "password_hash": password_hash, "must_change_password": must_change, "now": now,
    }  # fmt: skip
    return connection.execute(_SQL["set_password"], parameters).fetchone() is not None


def rehash_password(connection: Connection, user_id: str, password_hash: str, was: str) -> None:
    """Keep the same password under today's parameters."""
    connection.execute(_SQL["rehash_password"], {"user_id": user_id, "password_hash": password_hash, "was": was})


def begin_totp(connection: Connection, user_id: str, secret: str) -> bool:
    """Keep a secret to be confirmed. False: codes are asked for already."""
    return connection.execute(_SQL["begin_totp"], {"user_id": user_id, "secret": secret}).fetchone() is not None


def confirm_totp(connection: Connection, user_id: str, step: int, now: datetime) -> bool:
    """Ask for codes from now on. False: nothing was begun, or it was confirmed before."""
    parameters = {"user_id": user_id, "step": step, "now": now}
    return connection.execute(_SQL["confirm_totp"], parameters).fetchone() is not None


def remove_totp(connection: Connection, user_id: str) -> bool:
    """Ask for codes no more. False: there is no such user."""
    return connection.execute(_SQL["remove_totp"], {"user_id": user_id}).fetchone() is not None


def take_totp_step(connection: Connection, user_id: str, step: int) -> bool:
    """Use up a code. False: it was used before."""
    return connection.execute(_SQL["take_totp_step"], {"user_id": user_id, "step": step}).fetchone() is not None


def note_sign_in(connection: Connection, user_id: str, now: datetime) -> None:
    """Remember when somebody last signed in."""
    connection.execute(_SQL["note_sign_in"], {"user_id": user_id, "now": now})


def lock_administration(connection: Connection) -> None:
    """Wait until nobody else decides who administers; held until the transaction ends."""
    connection.execute(_SQL["lock_administration"])


def count(connection: Connection) -> tuple[int, int]:
    """How many users there are, and how many administrators of every depot that can sign in."""
    row = connection.execute(_SQL["user_count"]).fetchone()
    assert row is not None
    return int(row[0]), int(row[1])


def depots(connection: Connection, only: Collection[str] | None = None) -> list[Depot]:
    """Depots by id."""
    return _all(connection, Depot, "depots", {"only": None if only is None else list(only)})


def unknown_depots(connection: Connection, depot_ids: Collection[str]) -> list[str]:
    """Those of `depot_ids` that are no depot."""
    return sorted(set(depot_ids) - {depot.depot_id for depot in depots(connection, depot_ids)})


def insert_depot(connection: Connection, depot_id: str, name: str) -> bool:
    """Create a depot. False: the id is taken."""
    return connection.execute(_SQL["insert_depot"], {"depot_id": depot_id, "name": name}).fetchone() is not None


def rename_depot(connection: Connection, depot_id: str, name: str, revision: int) -> bool:
    """Rename a depot. False: it is not there, or not at `revision`."""
    parameters = {"depot_id": depot_id, "name": name, "revision": revision}
    return connection.execute(_SQL["rename_depot"], parameters).fetchone() is not None


def _all(connection: Connection, kind: type[Row], block: str, parameters: dict[str, Any]) -> list[Row]:
    with connection.cursor(row_factory=class_row(kind)) as cursor:
        return cursor.execute(_SQL[block], parameters).fetchall()
