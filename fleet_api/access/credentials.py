"""Sessions, tokens and failed sign-ins as rows. Connection first, never a commit; the time comes as an argument."""

import hashlib
import ipaddress
from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from psycopg.rows import class_row

from fleet_api.access import passwords
from fleet_api.access.principal import Principal, roles_of
from fleet_api.access.roles import Scope
from fleet_api.access.throttle import Standing
from fleet_core import sql
from fleet_core.db import Connection

_SQL: Final = sql.load("fleet_api.access", "credentials.sql")

MOST_SESSIONS: Final = 20
MOST_STANDINGS: Final = 20_000
_AGENT_LENGTH: Final = 200


@dataclass(frozen=True, slots=True)
class Lifetimes:
    """How long a session lives: unused, and at all."""

    idle: timedelta
    longest: timedelta


@dataclass(frozen=True, slots=True)
class Token:
    """A token, without its secret."""

    token_id: int
    user_id: str
    name: str
    scopes: list[str]
    created_at: datetime
    created_by: str
    expires_at: datetime
    revoked_at: datetime | None
    last_used_at: datetime | None


def holder_of_session(connection: Connection, token: str, lifetimes: Lifetimes, now: datetime) -> Principal | None:
    """Who holds a living session, which is thereby in use; None when there is none."""
    token_hash = passwords.digest(token)
    parameters = {"token_hash": token_hash, "now": now, "idle_since": now - lifetimes.idle}
    row = connection.execute(_SQL["session_holder"], parameters).fetchone()
    if row is None:
        return None
    connection.execute(_SQL["touch_session"], parameters)
    user_id, display_name, roles, depots, must_change, expires_at = row
    return Principal(
        user_id, display_name, roles_of(roles), _depots(depots), must_change, expires_at, session_hash=token_hash
    )


def holder_of_token(connection: Connection, token: str, now: datetime) -> Principal | None:
    """Who acts by a valid token; None when it is not, or no more, valid."""
    parameters = {"token_hash": passwords.digest(token), "now": now}
    row = connection.execute(_SQL["token_holder"], parameters).fetchone()
    if row is None:
        return None
    user_id, display_name, roles, depots, expires_at, token_id, scopes = row
    connection.execute(_SQL["touch_token"], {"token_id": token_id, "now": now})
    return Principal(
        user_id, display_name, roles_of(roles), _depots(depots), False, expires_at,
        token_id=token_id, scopes=frozenset(map(Scope, scopes)),
    )  # fmt: skip


def holder_of_user(connection: Connection, user_id: str, expires_at: datetime) -> Principal:
    """A user who just proved who they are, as the audit log names them."""
    row = connection.execute(_SQL["user_as_holder"], {"user_id": user_id}).fetchone()
    assert row is not None
    display_name, roles, depots, must_change = row
    return Principal(user_id, display_name, roles_of(roles), _depots(depots), must_change, expires_at)


def begin_session(
    connection: Connection, user_id: str, lifetimes: Lifetimes, now: datetime, *, address: str | None, agent: str | None
) -> str:
    """A session of its own for whoever just proved who they are. Returns its token, which is kept nowhere."""
    token = passwords.session_token()
    connection.execute(_SQL["delete_dead_sessions"], {"now": now, "idle_since": now - lifetimes.idle})
    # Bounded a user: who signs in by a script again and again ends the oldest.
    connection.execute(_SQL["delete_sessions_of"], {"user_id": user_id, "keep": MOST_SESSIONS - 1})
    parameters = {
        "token_hash": passwords.digest(token), "user_id": user_id, "now": now, "expires_at": now + lifetimes.longest,
        "address": address, "agent": _printable(agent),
    }  # fmt: skip
    connection.execute(_SQL["insert_session"], parameters)
    return token


def end_session(connection: Connection, token: str) -> str | None:
    """End a session. Returns whose it was, None when there was none."""
    row = connection.execute(_SQL["delete_session"], {"token_hash": passwords.digest(token)}).fetchone()
    return None if row is None else str(row[0])


def end_sessions_of(connection: Connection, user_id: str) -> None:
    """End every session of a user."""
    connection.execute(_SQL["delete_sessions_of"], {"user_id": user_id, "keep": 0})


def begin_token(
    connection: Connection, user_id: str, name: str, scopes: Collection[Scope], *,
    created_by: str, now: datetime, expires_at: datetime,
) -> tuple[int, str]:  # fmt: skip
    """A token that acts for a user. Returns its number and its secret, which is kept nowhere."""
    secret = passwords.api_token()
    parameters = {
        "token_hash": passwords.digest(secret), "user_id": user_id, "name": name,
        "scopes": sorted(scope.value for scope in scopes), "now": now, "created_by": created_by,
        "expires_at": expires_at,
    }  # fmt: skip
    row = connection.execute(_SQL["insert_token"], parameters).fetchone()
    assert row is not None
    return int(row[0]), secret


def revoke_token(connection: Connection, token_id: int, now: datetime) -> bool:
    """End a token. False: there is none of this number."""
    return connection.execute(_SQL["revoke_token"], {"token_id": token_id, "now": now}).fetchone() is not None


def tokens(
    connection: Connection, *, user_id: str | None = None, token_id: int | None = None, limit: int
) -> list[Token]:
    """Tokens, newest first."""
    with connection.cursor(row_factory=class_row(Token)) as cursor:
        parameters: dict[str, Any] = {"user_id": user_id, "token_id": token_id, "limit": limit}
        return cursor.execute(_SQL["tokens"], parameters).fetchall()


def subject_of_name(user_id: str) -> str:
    """The name of a throttle for a sign-in name. A hash: people type their password there by mistake."""
    return "name:" + hashlib.sha256(user_id.lower().encode()).hexdigest()


def subject_of_address(address: str) -> str:
    """The name of a throttle for an address; of IPv6 the network of 64 bits, which one customer has."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return f"address:{address[:100]}"
    if isinstance(parsed, ipaddress.IPv6Address):
        if parsed.ipv4_mapped is not None:
            return f"address:{parsed.ipv4_mapped}"
        return f"address:{ipaddress.ip_network((parsed, 64), strict=False)}"
    return f"address:{parsed}"


def lock_attempts(connection: Connection) -> None:
    """Count alone until the transaction ends, which must be soon."""
    connection.execute(_SQL["lock_attempts"])


def standing_of(connection: Connection, subject: str) -> Standing:
    """How a name or an address stands; locked until the transaction ends."""
    row = connection.execute(_SQL["lock_standing"], {"subject": subject}).fetchone()
    return Standing() if row is None else Standing(*row)


def keep_standing(connection: Connection, subject: str, standing: Standing) -> None:
    """Keep how it stands; nothing is kept of one without failures."""
    if not standing.failures:
        connection.execute(_SQL["forget_standing"], {"subject": subject})
        return
    parameters = {
        "subject": subject, "failures": standing.failures, "last_at": standing.last_at,
        "blocked_until": standing.blocked_until,
    }  # fmt: skip
    connection.execute(_SQL["keep_standing"], parameters)


def forget_failures(connection: Connection, user_id: str) -> None:
    """Hold nothing against a name any more."""
    connection.execute(_SQL["forget_standing"], {"subject": subject_of_name(user_id)})


def forget_old_standings(connection: Connection, before: datetime) -> None:
    """Bound what is kept of failures."""
    connection.execute(_SQL["forget_old_standings"], {"before": before, "most": MOST_STANDINGS})


def _depots(depot_ids: list[str] | None) -> frozenset[str] | None:
    return None if depot_ids is None else frozenset(depot_ids)


def _printable(agent: str | None) -> str | None:
    return None if agent is None else "".join(filter(str.isprintable, agent))[:_AGENT_LENGTH]
