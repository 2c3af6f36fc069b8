"""`fleet user`, `fleet depot`, `fleet token`: who may sign in, from the command line of the server."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

import click

from fleet_api.access import accounts, credentials, operator, passwords
from fleet_api.access.accounts import Fresh
from fleet_api.access.roles import Role, Scope
from fleet_core import clock, db, settings
from fleet_core.cli import Refusal
from fleet_core.db import Connection
from fleet_core.embedded import state

FIRST_ADMIN: Final = "admin"
_PAGE: Final = 500
_ROLES: Final = click.Choice([role.value for role in Role])
_SCOPES: Final = click.Choice([scope.value for scope in Scope])

_data = click.option(
    "--data",
    type=click.Path(path_type=Path),
    help="Folder of a running `fleet up`, when FLEET_DATABASE_URL is not set.",
)


@click.group()
def user() -> None:
    """People who sign in."""


@user.command("add")
@click.argument("user_id", metavar="NAME")
@click.option(
    "--role",
    "roles",
    multiple=True,
    required=True,
    type=_ROLES,
    help="May be repeated.",
)
@click.option("--depot", "depots", multiple=True, help="Only vehicles of this depot; may be repeated. None: all.")
@click.option("--display-name", help="As others see it; NAME when absent.")
@click.option("--language", type=click.Choice(["en", "zh-CN"]), default="en", show_default=True)
@click.option("--password-stdin", is_flag=True, help="Read the password from standard input, one line.")
@click.option(
    "--must-change", is_flag=True, help="It must be changed at the first sign-in. A generated one always must."
)
@_data
def add_user(
    user_id: str,
    *,
    roles: tuple[str, ...],
    depots: tuple[str, ...],
    display_name: str | None,
    language: str,
    password_stdin: bool,
    must_change: bool,
    data: Path | None,
) -> None:
    """Create user NAME. Without a password a one-time password is made and printed once."""
    given = _given_password(user_id, from_stdin=password_stdin)
    password = given or passwords.one_time_password()
    with _connected(data) as connection:
        _check_depots(connection, depots)
        _insert(
            connection, user_id, password, roles=roles, depots=depots, display_name=display_name or user_id,
            language=language, must_change=must_change or given is None,
        )  # fmt: skip
        operator.trace(connection, "add_user", "user", user_id, roles=list(roles), depots=list(depots) or None)
        connection.commit()
    click.echo(f"added user {user_id} ({', '.join(roles)})")
    if given is None:
        click.echo(f"one-time password: {password}")


@user.command("list")
@_data
def list_users(data: Path | None) -> None:
    """List users, one a line: name, roles, depots, state, display name."""
    after = ""
    with _connected(data) as connection:
        while page := accounts.users(connection, after=after, limit=_PAGE):
            for found in page:
                standing = (
                    "disabled" if found.disabled_at else "new password" if found.must_change_password else "active"
                )
                depots = "*" if found.depot_ids is None else ",".join(found.depot_ids)
                click.echo("\t".join((found.user_id, ",".join(found.roles), depots, standing, found.display_name)))
            after = page[-1].user_id


@user.command("disable")
@click.argument("user_id", metavar="NAME")
@_data
def disable_user(user_id: str, data: Path | None) -> None:
    """Keep NAME from signing in; their sessions end and their tokens are refused."""
    with _connected(data) as connection:
        found = accounts.user_by_id(connection, user_id)
        if found is None:
            raise Refusal(f"there is no user {user_id!r}")
        accounts.lock_administration(connection)
        values: dict[str, Any] = {
            "user_id": user_id, "display_name": found.display_name, "language": found.language, "roles": found.roles,
            "depot_ids": found.depot_ids, "disabled": True, "revision": found.revision,
        }  # fmt: skip
        if not accounts.update_user(connection, values, clock.now()):
            raise Refusal(f"{user_id} was changed meanwhile: try again")
        if accounts.count(connection)[1] == 0:
            raise Refusal(f"{user_id} is the last administrator of every depot: make another one first")
        credentials.end_sessions_of(connection, user_id)
        operator.trace(connection, "disable_user", "user", user_id)
        connection.commit()
    click.echo(f"disabled user {user_id}")


@user.command("password")
@click.argument("user_id", metavar="NAME")
@click.option("--password-stdin", is_flag=True, help="Read the password from standard input, one line.")
@_data
def set_password(user_id: str, password_stdin: bool, data: Path | None) -> None:
    """Give NAME another password, for somebody who forgot theirs; their sessions end, and held-up sign-ins go on."""
    given = _given_password(user_id, from_stdin=password_stdin)
    password = given or passwords.one_time_password()
    with _connected(data) as connection:
        hashed = passwords.hashed(password)
        if not accounts.set_password(connection, user_id, hashed, clock.now(), must_change=given is None):
            raise Refusal(f"there is no user {user_id!r}")
        credentials.end_sessions_of(connection, user_id)
        credentials.forget_failures(connection, user_id)
        operator.trace(connection, "set_password", "user", user_id)
        connection.commit()
    click.echo(f"changed the password of {user_id}")
    if given is None:
        click.echo(f"one-time password: {password}")


@click.group()
def depot() -> None:
    """Depots, which vehicles and users belong to."""


@depot.command("add")
@click.argument("depot_id", metavar="ID")
@click.option("--name", help="As people call it; ID when absent.")
@_data
def add_depot(depot_id: str, name: str | None, data: Path | None) -> None:
    """Create depot ID."""
    if not 1 <= len(depot_id) <= 100 or not depot_id.isprintable():
        raise Refusal("ID must be 1 to 100 printable characters")
    with _connected(data) as connection:
        if not accounts.insert_depot(connection, depot_id, name or depot_id):
            raise Refusal(f"there is a depot {depot_id!r} already")
        operator.trace(connection, "add_depot", "depot", depot_id)
        connection.commit()
    click.echo(f"added depot {depot_id}")


@depot.command("list")
@_data
def list_depots(data: Path | None) -> None:
    """List depots, one a line: id, vehicles in service, name."""
    with _connected(data) as connection:
        for found in accounts.depots(connection):
            click.echo(f"{found.depot_id}\t{found.vehicles}\t{found.name}")


@click.group()
def token() -> None:
    """What programs send instead of signing in."""


@token.command("add")
@click.argument("user_id", metavar="NAME")
@click.option(
    "--scope",
    "scopes",
    multiple=True,
    required=True,
    type=_SCOPES,
    help="May be repeated.",
)
@click.option("--for", "purpose", default="command line", show_default=True, help="What it is for.")
@click.option("--days", type=click.FloatRange(0, 730, min_open=True), default=90.0, show_default=True)
@_data
def add_token(user_id: str, scopes: tuple[str, ...], purpose: str, days: float, data: Path | None) -> None:
    """Create a token that acts for user NAME and print it, once."""
    now = clock.now()
    with _connected(data) as connection:
        if accounts.user_by_id(connection, user_id) is None:
            raise Refusal(f"there is no user {user_id!r}")
        token_id, secret = credentials.begin_token(
            connection, user_id, purpose, {Scope(scope) for scope in scopes},
            created_by="command", now=now, expires_at=now + timedelta(days=days),
        )  # fmt: skip
        operator.trace(connection, "add_token", "token", str(token_id), user_id=user_id, scopes=list(scopes))
        connection.commit()
    click.echo(secret)


@token.command("list")
@_data
def list_tokens(data: Path | None) -> None:
    """List tokens, one a line: number, user, scopes, end, what for."""
    with _connected(data) as connection:
        for found in credentials.tokens(connection, limit=_PAGE):
            end = f"revoked {found.revoked_at:%F}" if found.revoked_at else f"until {found.expires_at:%F}"
            click.echo("\t".join((str(found.token_id), found.user_id, ",".join(found.scopes), end, found.name)))


@token.command("revoke")
@click.argument("token_id", type=int, metavar="NUMBER")
@_data
def revoke_token(token_id: int, data: Path | None) -> None:
    """Refuse token NUMBER from now on."""
    with _connected(data) as connection:
        if not credentials.revoke_token(connection, token_id, clock.now()):
            raise Refusal(f"there is no token {token_id}")
        operator.trace(connection, "revoke_token", "token", str(token_id))
        connection.commit()
    click.echo(f"revoked token {token_id}")


def make_first_admin(database_url: str) -> tuple[str, str] | None:
    """On a database without users: create an administrator. Returns the name and the one-time password, which is kept
    nowhere and must be changed at the first sign-in; None when there are users."""
    with db.connect(database_url, "first-admin") as connection:
        accounts.lock_administration(connection)
        if accounts.count(connection)[0]:
            return None
        password = passwords.one_time_password()
        _insert(
            connection, FIRST_ADMIN, password, roles=(Role.ADMIN,), depots=(), display_name="Administrator",
            language="en", must_change=True,
        )  # fmt: skip
        operator.trace(connection, "make_first_admin", "user", FIRST_ADMIN)
        connection.commit()
    return FIRST_ADMIN, password


@contextmanager
def _connected(data: Path | None) -> Iterator[Connection]:
    configured = settings.from_process()
    url = configured.database_url
    if data is not None or not url:
        folder = (data.expanduser().absolute() if data else configured.data_path).resolve()
        running = state.read(folder)
        if running is None:
            raise Refusal(f"FLEET_DATABASE_URL is not set, and nothing runs on {folder}: name the folder with --data")
        url = running.database_dsn
    with db.connect(url, "access-command") as connection:
        yield connection


def _given_password(user_id: str, *, from_stdin: bool) -> str | None:
    """The password somebody types, twice; None: one is to be made."""
    if from_stdin:
        password = sys.stdin.readline().rstrip("\r\n")
    elif sys.stdin.isatty():
        password = click.prompt("Password (empty: make one)", default="", show_default=False, hide_input=True)
        if not password:
            return None
        if click.prompt("Again", hide_input=True) != password:
            raise Refusal("the passwords differ")
    else:
        return None
    wrong = passwords.complaint(password, user_id)
    if wrong:
        raise Refusal(f"{wrong[:1].lower()}{wrong[1:-1]}")
    return password


def _insert(
    connection: Connection, user_id: str, password: str, *, roles: tuple[str, ...], depots: tuple[str, ...],
    display_name: str, language: str, must_change: bool,
) -> None:  # fmt: skip
    if not accounts.USER_ID.fullmatch(user_id):
        raise Refusal("NAME must be 1 to 64 of A-Z, a-z, 0-9, _, ., @ and -")
    fresh = Fresh(
        user_id=user_id, display_name=display_name, language=language, password_hash=passwords.hashed(password),
        must_change_password=must_change, roles=sorted(set(roles)), depot_ids=sorted(set(depots)) or None,
        created_by="command",
    )  # fmt: skip
    if not accounts.insert_user(connection, fresh):
        raise Refusal(f"there is a user {user_id!r} already")


def _check_depots(connection: Connection, depots: tuple[str, ...]) -> None:
    unknown = accounts.unknown_depots(connection, depots)
    if unknown:
        raise Refusal(f"there is no depot {unknown[0]!r}: create it with `fleet depot add`")
