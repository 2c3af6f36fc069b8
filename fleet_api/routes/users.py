"""/api/users and /api/depots: who signs in, as what, for which depots."""

from dataclasses import asdict
from typing import Annotated, Any

from fastapi import APIRouter, Path, Query, Response
from pydantic import BaseModel, ConfigDict, Field

from fleet_api.access import accounts, credentials, passwords
from fleet_api.access.accounts import Fresh, User
from fleet_api.access.admission import Caller, Traced, allowed
from fleet_api.access.roles import EVERYONE, OVERSEERS, Role, Scope
from fleet_api.problems import Problem, documented
from fleet_api.requests import Cursor, Limit, Revision, ShortText, Transaction, no_such
from fleet_api.routes.session import Password, SessionUser, UserId
from fleet_api.times import Utc
from fleet_core import clock
from fleet_core.db import Connection

router = APIRouter(tags=["access"])

UserPath = Annotated[str, Path(pattern=r"^[A-Za-z0-9_.@-]{1,64}$")]
_ADMIN = allowed(Role.ADMIN, scope=Scope.ADMIN, whole_fleet=True)


class UserFields(BaseModel):
    """What an administrator decides of a user."""

    model_config = ConfigDict(extra="forbid")

    display_name: ShortText
    language: str = Field(default="en", pattern="^(en|zh-CN)$")
    roles: list[Role] = Field(min_length=1, max_length=len(Role))
    depot_ids: list[ShortText] | None = Field(
        default=None, min_length=1, max_length=1000, description="null: every depot, and vehicles that are in none."
    )


class UserNew(UserFields):
    """A new user. Without a password one is made and answered once."""

    user_id: UserId
    password: Password | None = None


class UserEdit(UserFields):
    """A user as they shall be. Disabling ends their sessions and their tokens' use."""

    revision: Revision
    disabled: bool = False


class UserOut(SessionUser):
    """A user as administrators see them."""

    created_at: Utc
    created_by: str
    last_sign_in_at: Utc | None
    disabled_at: Utc | None
    failed_sign_ins: int
    locked_until: Utc | None = Field(description="Sign-ins under this name are not looked at until then.")
    revision: int


class UserCreated(UserOut):
    """A new user."""

    one_time_password: str | None = Field(description="Shown this once; must be changed at the first sign-in.")


class UserPage(BaseModel):
    """One page of users by name."""

    users: list[UserOut]
    next_cursor: str | None


class PasswordNew(BaseModel):
    """A password that an administrator gives; without one it is made."""

    model_config = ConfigDict(extra="forbid")

    password: Password | None = None


class OneTimePassword(BaseModel):
    """Shown once."""

    one_time_password: str | None = Field(description="null when the password was given.")


class DepotNew(BaseModel):
    """A new depot."""

    model_config = ConfigDict(extra="forbid")

    depot_id: ShortText
    name: ShortText


class DepotEdit(BaseModel):
    """Another name."""

    model_config = ConfigDict(extra="forbid")

    name: ShortText
    revision: Revision


class DepotOut(BaseModel):
    """A depot."""

    depot_id: str = Field(description="What `depot` of a vehicle and `depot_ids` of a user name.")
    name: str
    vehicles: int = Field(description="In service.")
    created_at: Utc
    revision: int


class Depots(BaseModel):
    """By id."""

    depots: list[DepotOut]


@router.get("/api/users", summary="List users", dependencies=[allowed(*OVERSEERS, scope=Scope.ADMIN, whole_fleet=True)])
def list_users(
    connection: Transaction,
    with_disabled: Annotated[bool, Query(description="Also those who were disabled.")] = False,
    cursor: Cursor = "",
    limit: Limit = 100,
) -> UserPage:
    """Users by name, a page at a time."""
    found = accounts.users(connection, after=cursor, with_disabled=with_disabled, limit=limit + 1)
    page = found[:limit]
    return UserPage(
        users=[UserOut(**asdict(user)) for user in page],
        next_cursor=page[-1].user_id if len(found) > limit else None,
    )


@router.post("/api/users", status_code=201, summary="Create a user", dependencies=[_ADMIN], responses=documented(409))
def create_user(connection: Transaction, who: Caller, traced: Traced, body: UserNew, response: Response) -> UserCreated:
    """A password that was made, or given by the administrator, must be changed at the first sign-in."""
    password, shown = _password(body.password, body.user_id)
    _check_depots(connection, body.depot_ids)
    fresh = Fresh(
        user_id=body.user_id, display_name=body.display_name, language=body.language,
        password_hash=passwords.hashed(password), must_change_password=True, roles=_names(body.roles),
        depot_ids=body.depot_ids, created_by=who.user_id,
    )  # fmt: skip
    if not accounts.insert_user(connection, fresh):
        raise Problem(409, f"There is a user {body.user_id!r} already.", "user_id")
    traced.about("user", body.user_id, roles=fresh.roles, depot_ids=fresh.depot_ids)
    response.headers["Location"] = f"/api/users/{body.user_id}"
    return UserCreated(**asdict(_user(connection, body.user_id)), one_time_password=shown)


@router.get(
    "/api/users/{user_id}", summary="Read a user", responses=documented(404),
    dependencies=[allowed(*OVERSEERS, scope=Scope.ADMIN, whole_fleet=True)],
)  # fmt: skip
def read_user(connection: Transaction, user_id: UserPath) -> UserOut:
    """One user."""
    return UserOut(**asdict(_user(connection, user_id)))


@router.put("/api/users/{user_id}", summary="Change a user", dependencies=[_ADMIN], responses=documented(404, 409))
def edit_user(connection: Transaction, traced: Traced, user_id: UserPath, body: UserEdit) -> UserOut:
    """In force at their next request. The last administrator of every depot can neither be disabled nor demoted."""
    before = _user(connection, user_id)
    _check_depots(connection, body.depot_ids)
    accounts.lock_administration(connection)
    values = {**body.model_dump(), "user_id": user_id, "roles": _names(body.roles)}
    if not accounts.update_user(connection, values, clock.now()):
        current = _user(connection, user_id)
        raise Problem(409, f"{user_id} was changed meanwhile, read them again.", "revision",
                      current_revision=current.revision)  # fmt: skip
    if accounts.count(connection)[1] == 0:
        raise Problem(409, "This is the last administrator of every depot who can sign in.", code="last_admin")
    if body.disabled:
        credentials.end_sessions_of(connection, user_id)
    after = _user(connection, user_id)
    names = ("display_name", "language", "roles", "depot_ids", "disabled_at")
    traced.details |= {"changed": {
        name: [_plain(getattr(before, name)), _plain(getattr(after, name))]
        for name in names if getattr(before, name) != getattr(after, name)
    }}  # fmt: skip
    return UserOut(**asdict(after))


@router.post(
    "/api/users/{user_id}/password", summary="Give a user another password", dependencies=[_ADMIN],
    responses=documented(404),
)  # fmt: skip
def reset_password(connection: Transaction, user_id: UserPath, body: PasswordNew) -> OneTimePassword:
    """Must be changed at the next sign-in; every session of theirs ends."""
    password, shown = _password(body.password, user_id)
    _user(connection, user_id)
    accounts.set_password(connection, user_id, passwords.hashed(password), clock.now(), must_change=True)
    credentials.end_sessions_of(connection, user_id)
    credentials.forget_failures(connection, user_id)
    return OneTimePassword(one_time_password=shown)


@router.delete(
    "/api/users/{user_id}/totp", status_code=204, summary="Remove a user's authenticator", dependencies=[_ADMIN],
    responses=documented(404),
)  # fmt: skip
def remove_users_totp(connection: Transaction, user_id: UserPath) -> None:
    """For somebody who lost it."""
    if not accounts.remove_totp(connection, user_id):
        raise no_such("user", user_id)


@router.get("/api/depots", summary="List depots", dependencies=[allowed(*EVERYONE, scope=Scope.READ)])
def list_depots(connection: Transaction, who: Caller) -> Depots:
    """Depots by id: all of them, or one's own."""
    return Depots(depots=[DepotOut(**asdict(depot)) for depot in accounts.depots(connection, who.depot_list)])


@router.post("/api/depots", status_code=201, summary="Create a depot", dependencies=[_ADMIN], responses=documented(409))
def create_depot(connection: Transaction, traced: Traced, body: DepotNew) -> DepotOut:
    """A vehicle entered with a depot that is not there creates it too."""
    if not accounts.insert_depot(connection, body.depot_id, body.name):
        raise Problem(409, f"There is a depot {body.depot_id!r} already.", "depot_id")
    traced.about("depot", body.depot_id)
    return DepotOut(**asdict(accounts.depots(connection, [body.depot_id])[0]))


@router.put(
    "/api/depots/{depot_id}", summary="Rename a depot", dependencies=[_ADMIN], responses=documented(404, 409)
)  # fmt: skip
def rename_depot(connection: Transaction, depot_id: Annotated[str, Path(max_length=100)], body: DepotEdit) -> DepotOut:
    """The id stays: vehicles and users name it."""
    renamed = accounts.rename_depot(connection, depot_id, body.name, body.revision)
    found = accounts.depots(connection, [depot_id])
    if not found:
        raise no_such("depot", depot_id)
    if not renamed:
        raise Problem(409, f"{depot_id} was changed meanwhile, read it again.", "revision",
                      current_revision=found[0].revision)  # fmt: skip
    return DepotOut(**asdict(found[0]))


def _user(connection: Connection, user_id: str) -> User:
    user = accounts.user_by_id(connection, user_id)
    if user is None:
        raise no_such("user", user_id)
    return user


def _password(given: str | None, user_id: str) -> tuple[str, str | None]:
    """The password, and what is shown of it."""
    if given is None:
        made = passwords.one_time_password()
        return made, made
    wrong = passwords.complaint(given, user_id)
    if wrong is not None:
        raise Problem(422, f"password: {wrong[:1].lower()}{wrong[1:]}", "password")
    return given, None


def _check_depots(connection: Connection, depot_ids: list[str] | None) -> None:
    unknown = accounts.unknown_depots(connection, depot_ids or [])
    if unknown:
        raise Problem(422, f"depot_ids: there is no depot {unknown[0]!r}.", "depot_ids")


def _names(roles: list[Role]) -> list[str]:
    return sorted({role.value for role in roles})


def _plain(value: Any) -> Any:
    return value.isoformat() if hasattr(value, "isoformat") else value
