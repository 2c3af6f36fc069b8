"""Who sent a request: by the cookie of a session, or by a token."""

from datetime import timedelta
from typing import Final

from starlette.requests import HTTPConnection

from fleet_api.access import credentials, passwords
from fleet_api.access.credentials import Lifetimes
from fleet_api.access.principal import Principal
from fleet_api.problems import Problem
from fleet_core import clock
from fleet_core.db import Connection
from fleet_core.settings import Settings

COOKIE: Final = "fleet_session"
CSRF_HEADER: Final = "x-csrf-token"
SAFE_METHODS: Final = frozenset({"GET", "HEAD", "OPTIONS"})
# Longer than any secret of ours: not worth hashing.
_LONGEST: Final = 200


def lifetimes_of(settings: Settings) -> Lifetimes:
    """How long sessions live."""
    return Lifetimes(timedelta(minutes=settings.session_idle_minutes), timedelta(hours=settings.session_hours))


def session_token_of(asked: HTTPConnection) -> str | None:
    """The session's token that the browser holds, valid or not."""
    found = asked.cookies.get(COOKIE)
    return found if found and len(found) <= _LONGEST else None


def bearer_of(asked: HTTPConnection) -> str | None:
    """The token of the Authorization header, valid or not."""
    kind, _, token = asked.headers.get("authorization", "").partition(" ")
    return token.strip()[:_LONGEST] if kind.lower() == "bearer" else None


def holder_of(connection: Connection, asked: HTTPConnection) -> Principal | None:
    """Who sent it; None when nobody that can be known. A token that is sent counts, also beside a cookie."""
    bearer = bearer_of(asked)
    if bearer is not None:
        return credentials.holder_of_token(connection, bearer, clock.now())
    token = session_token_of(asked)
    if token is None:
        return None
    settings: Settings = asked.app.state.settings
    return credentials.holder_of_session(connection, token, lifetimes_of(settings), clock.now())


def required_holder(connection: Connection, asked: HTTPConnection, *, method: str) -> Principal:
    """Who sent it. Raises Problem 401; 403 when a cookie came without what only our own pages know."""
    who = holder_of(connection, asked)
    if who is None:
        raise Problem(401, "Sign in first, or send a valid token.", code="sign_in_required")
    if who.session_hash is not None and method not in SAFE_METHODS:
        sent = asked.headers.get(CSRF_HEADER, "")
        if not passwords.same(sent, passwords.csrf_token(session_token_of(asked) or "")):
            raise Problem(403, "The X-CSRF-Token header is missing or is not this session's.", code="csrf")
    return who
