"""/api/session: signing in and out, changing one's password, one-time codes."""

import secrets
from typing import Annotated, Final

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from fleet_api import problems
from fleet_api.access import accounts, audit, credentials, identity, passwords, sign_in, totp
from fleet_api.access import origin as origins
from fleet_api.access.accounts import Secrets
from fleet_api.access.admission import PUBLIC, Caller, Traced, allowed
from fleet_api.access.audit import Trail
from fleet_api.access.principal import Principal
from fleet_api.access.roles import EVERYONE, Role, Scope
from fleet_api.access.sign_in import Proof
from fleet_api.problems import Problem, documented
from fleet_api.requests import Transaction
from fleet_api.times import Utc
from fleet_core import clock
from fleet_core.db import Connection
from fleet_core.settings import Settings

router = APIRouter(prefix="/api/session", tags=["session"])

UserId = Annotated[
    str,
    StringConstraints(pattern=r"^[A-Za-z0-9_.@-]{1,64}$"),
    Field(description="Sign-in name: 1 to 64 of A-Z, a-z, 0-9, _, ., @ and -.", examples=["wang"]),
]
Password = Annotated[str, StringConstraints(min_length=1, max_length=passwords.MAX_LENGTH)]
Code = Annotated[str, StringConstraints(pattern=rf"^[0-9]{{{totp.DIGITS}}}$"), Field(examples=["123456"])]
_WRONG: Final = documented(401, 429)


class SignIn(BaseModel):
    """Name and password, and the code of an authenticator where one is enrolled."""

    model_config = ConfigDict(extra="forbid")

    user_id: UserId
    password: Password
    totp: Code | None = None


class SessionUser(BaseModel):
    """Who is signed in."""

    user_id: str
    display_name: str
    language: str
    roles: list[Role]
    depot_ids: list[str] | None = Field(description="null: every depot.")
    must_change_password: bool = Field(description="Until it is changed nothing else is answered.")
    totp_enabled: bool
    person_id: str | None = Field(description="Theirs in the rota; null when they are not in it.")


class SessionOut(BaseModel):
    """A session."""

    user: SessionUser
    csrf_token: str | None = Field(
        description="Send it as X-CSRF-Token with everything that is not read; null with a token instead of a cookie."
    )
    expires_at: Utc = Field(description="At the latest; earlier when unused.")


class PasswordChange(BaseModel):
    """The password as it is and as it shall be."""

    model_config = ConfigDict(extra="forbid")

    current_password: Password
    new_password: Password


class PasswordAgain(BaseModel):
    """The password, because what is asked for changes how one signs in."""

    model_config = ConfigDict(extra="forbid")

    password: Password


class Enrolment(BaseModel):
    """What goes into an authenticator. Not in force until a code of it was confirmed."""

    secret: str = Field(description="Base 32, for typing.")
    otpauth_uri: str = Field(description="The same for a QR code.")


class CodeIn(BaseModel):
    """A code."""

    model_config = ConfigDict(extra="forbid")

    code: Code


@router.post("", summary="Sign in", dependencies=[PUBLIC], responses=_WRONG)
def sign_in_(request: Request, body: SignIn, response: Response) -> SessionOut:
    """A session of its own, by the cookie `fleet_session`; the one this browser had before ends."""
    origin, now = origins.origin_of(request), clock.now()
    trail = Trail("sign_in", "user", body.user_id)

    def begin(connection: Connection, known: Secrets) -> SessionOut:
        if passwords.is_outdated(known.password_hash):
            fresh = passwords.hashed(body.password)
            accounts.rehash_password(connection, known.user_id, fresh, known.password_hash)
        before = identity.session_token_of(request)
        if before is not None:
            credentials.end_session(connection, before)
        accounts.note_sign_in(connection, known.user_id, now)
        begun = _begin(request, connection, known.user_id, response)
        who = credentials.holder_of_user(connection, known.user_id, begun.expires_at)
        audit.write(connection, who, trail, origin, now)
        return begun

    return sign_in.prove(
        request.app.state.pool,
        Proof(body.user_id, body.password, body.totp),
        trail=trail,
        origin=origin,
        now=now,
        then=begin,
    )


@router.get(
    "", summary="Who is signed in", responses=documented(401),
    dependencies=[allowed(*EVERYONE, scope=Scope.READ, while_password_is_old=True)],
)  # fmt: skip
def read_session(request: Request, connection: Transaction, who: Caller) -> SessionOut:
    """The session of this browser, or whom a token acts for."""
    token = identity.session_token_of(request) if who.session_hash is not None else None
    csrf_token = None if token is None else passwords.csrf_token(token)
    return SessionOut(user=_user_out(connection, who.user_id), csrf_token=csrf_token, expires_at=who.expires_at)


@router.delete("", status_code=204, summary="Sign out", dependencies=[PUBLIC], responses=documented(403))
def sign_out(request: Request, connection: Transaction, response: Response) -> None:
    """End the session. Without one, or with one that ended before, only the cookie goes."""
    token = identity.session_token_of(request)
    if token is None:
        return
    if identity.bearer_of(request) is None and identity.holder_of(connection, request) is not None:
        who = identity.required_holder(connection, request, method=request.method)
        credentials.end_session(connection, token)
        audit.write(connection, who, Trail("sign_out"), origins.origin_of(request), clock.now())
    response.delete_cookie(
        identity.COOKIE, path="/", secure=origins.is_https(request), httponly=True, samesite="strict"
    )


@router.post(
    "/password", summary="Change one's password", response_model=SessionOut, responses=documented(403, 429),
    dependencies=[allowed(*EVERYONE, scope=None, while_password_is_old=True)],
)  # fmt: skip
def change_password(
    request: Request,
    connection: Transaction,
    who: Caller,
    traced: Traced,
    *,
    body: PasswordChange,
    response: Response,
) -> SessionOut | JSONResponse:
    """Every other session of theirs ends, and this one gets a new cookie and a new CSRF token."""
    wrong = passwords.complaint(body.new_password, who.user_id)
    if wrong is None and body.new_password == body.current_password:
        wrong = "It is the one you have."
    if wrong is not None:
        raise Problem(422, f"new_password: {wrong[:1].lower()}{wrong[1:]}", "new_password")
    refused = _prove_again(request, connection, who, traced, body.current_password)
    if refused is not None:
        return refused
    accounts.set_password(connection, who.user_id, passwords.hashed(body.new_password), clock.now())
    credentials.end_sessions_of(connection, who.user_id)
    return _begin(request, connection, who.user_id, response)


@router.post(
    "/totp", summary="Begin to enrol an authenticator", response_model=Enrolment, responses=documented(403, 409, 429),
    dependencies=[allowed(*EVERYONE, scope=None)],
)  # fmt: skip
def begin_totp(
    request: Request, connection: Transaction, who: Caller, traced: Traced, body: PasswordAgain
) -> Enrolment | JSONResponse:
    """A new secret, shown once. Not in force until `/api/session/totp/confirm`."""
    refused = _prove_again(request, connection, who, traced, body.password)
    if refused is not None:
        return refused
    secret = totp.secret_of(secrets.token_bytes(totp.SECRET_BYTES))
    if not accounts.begin_totp(connection, who.user_id, secret):
        raise Problem(409, "An authenticator is enrolled already: remove it first.")
    return Enrolment(secret=secret, otpauth_uri=totp.uri(secret, who.user_id))


@router.post(
    "/totp/confirm", summary="Confirm an authenticator", responses=documented(409),
    dependencies=[allowed(*EVERYONE, scope=None)],
)  # fmt: skip
def confirm_totp(connection: Transaction, who: Caller, traced: Traced, body: CodeIn) -> SessionUser:
    """From now on signing in asks for a code."""
    traced.about("user", who.user_id)
    known = accounts.secrets_of(connection, who.user_id)
    if known is None or known.totp_secret is None or known.totp_enabled:
        raise Problem(409, "No enrolment was begun that could be confirmed.")
    now = clock.now()
    step = totp.step_of(known.totp_secret, body.code, now.timestamp(), None)
    if step is None or not accounts.confirm_totp(connection, who.user_id, step, now):
        raise Problem(422, "code: not the one of this moment.", "code")
    return _user_out(connection, who.user_id)


@router.post(
    "/totp/remove", summary="Remove one's authenticator", response_model=SessionUser, responses=documented(403, 429),
    dependencies=[allowed(*EVERYONE, scope=None)],
)  # fmt: skip
def remove_totp(
    request: Request, connection: Transaction, who: Caller, traced: Traced, body: PasswordAgain
) -> SessionUser | JSONResponse:
    """From now on signing in asks for no code."""
    refused = _prove_again(request, connection, who, traced, body.password)
    if refused is not None:
        return refused
    accounts.remove_totp(connection, who.user_id)
    return _user_out(connection, who.user_id)


def _prove_again(
    request: Request, connection: Connection, who: Principal, traced: Trail, password: str
) -> JSONResponse | None:
    traced.about("user", who.user_id)
    refused = sign_in.prove_again(connection, who.user_id, password, origins.origin_of(request), clock.now())
    if refused is None:
        return None
    traced.outcome = "failed"
    # Answered, not raised: the attempt must stay counted.
    return problems.answer(refused)


def _begin(request: Request, connection: Connection, user_id: str, response: Response) -> SessionOut:
    """A new session, its cookie, and what is answered."""
    settings: Settings = request.app.state.settings
    lifetimes, now = identity.lifetimes_of(settings), clock.now()
    agent = request.headers.get("user-agent")
    address = origins.origin_of(request).address
    token = credentials.begin_session(connection, user_id, lifetimes, now, address=address, agent=agent)
    response.set_cookie(
        identity.COOKIE, token, max_age=int(lifetimes.longest.total_seconds()), path="/",
        secure=origins.is_https(request), httponly=True, samesite="strict",
    )  # fmt: skip
    return SessionOut(
        user=_user_out(connection, user_id), csrf_token=passwords.csrf_token(token), expires_at=now + lifetimes.longest
    )


def _user_out(connection: Connection, user_id: str) -> SessionUser:
    user = accounts.user_by_id(connection, user_id)
    assert user is not None
    return SessionUser(**{name: getattr(user, name) for name in SessionUser.model_fields})
