"""The declaration beside each route of who may use it, and the admission it puts before it.

    @router.post("", dependencies=[allowed(*PLANNERS, scope=Scope.FLEET)])

Admission finds out who asks, refuses what is not declared, looks at the depots of what the address names, and after the
route writes the audit log in the route's own transaction. A route without a declaration keeps the API from starting.
"""

import logging
from collections.abc import Iterable, Iterator, Sequence
from typing import Annotated, Any, Final, Literal
from urllib.parse import unquote

import psycopg
from fastapi import APIRouter, Depends, FastAPI, Query, Request
from fastapi.responses import JSONResponse
from fastapi.routing import APIRoute, APIWebSocketRoute
from starlette.requests import HTTPConnection
from starlette.routing import BaseRoute, Mount, Route

from fleet_api import problems
from fleet_api.access import audit, identity, origin, visible
from fleet_api.access.audit import Trail
from fleet_api.access.principal import Declaration, Denial, Principal, denial
from fleet_api.access.roles import Role, Scope
from fleet_api.pool import BusyError, Pool
from fleet_api.problems import Problem
from fleet_api.requests import Transaction
from fleet_core import clock
from fleet_core.db import Connection
from fleet_core.settings import Settings

log = logging.getLogger("fleet.api.access")

PURPOSE_HEADER: Final = "x-purpose"
_MAX_PURPOSE: Final = 300

# Served to whoever asks, beside routes that declare it: files of the pages, and the description of the interface.
PUBLIC_PATHS: Final = frozenset({"/web", "/web/assets", "/api/openapi.json"})


class UndeclaredError(RuntimeError):
    """Routes that do not say who may use them; the text names them."""


class Denied(Problem):
    """Somebody who is signed in may not: answered 403 and written into the audit log."""

    def __init__(self, reason: Denial, who: Principal, trail: Trail) -> None:
        super().__init__(403, reason.sentence, code=reason.code)
        self.who, self.trail = who, trail


class Admission:
    """Lets those through whom the declaration names."""

    def __init__(self, declared: Declaration) -> None:
        self.declared = declared

    def __call__(self, request: Request, connection: Transaction) -> Iterator[None]:
        """Before and after a route, in its transaction."""
        yield from self._pass(request, connection, trace=request.method not in identity.SAFE_METHODS)

    def _pass(
        self, request: Request, connection: Connection, *, trace: bool, purpose: str | None = None
    ) -> Iterator[None]:
        who = identity.required_holder(connection, request, method=request.method)
        trail = Trail(request.scope["endpoint"].__name__, purpose=purpose, **_named(request.path_params))
        reason = denial(who, self.declared)
        if reason is not None:
            raise Denied(reason, who, trail)
        visible.check_address(connection, who, request.path_params)
        request.state.principal, request.state.trail = who, trail
        yield
        if trace:
            audit.write(connection, who, trail, origin.origin_of(request), clock.now())


class HistoryAdmission(Admission):
    """Admission to a history of positions: reading it is written down with its purpose."""

    def __call__(
        self,
        request: Request,
        connection: Transaction,
        purpose: Annotated[
            str | None,
            Query(
                max_length=_MAX_PURPOSE,
                pattern=r"^[^\x00-\x1f\x7f]*$",
                description="Why it is read, for the audit log; or in the header `X-Purpose`, percent-encoded UTF-8.",
            ),
        ] = None,
    ) -> Iterator[None]:
        """Before and after a route, in its transaction. Raises Problem 422 without a purpose where one is required."""
        said = purpose or _sent_purpose(request)
        settings: Settings = request.app.state.settings
        if said is None and settings.history_purpose == "required":
            # Whoever may not read it is told that, and not what is missing.
            identity.required_holder(connection, request, method=request.method)
            raise Problem(422, "purpose: say why positions are read, here or in the header X-Purpose.", "purpose")
        yield from self._pass(request, connection, trace=True, purpose=said)


# Who may, why somebody may not, None when nobody is signed in, or that it cannot be found out now.
Answer = Principal | Denial | Literal["unknown"] | None


class LiveAdmission:
    """Finds out who opens a WebSocket. It does not refuse: a browser is told a reason only after it was accepted."""

    def __init__(self, declared: Declaration) -> None:
        self.declared = declared

    def __call__(self, asked: HTTPConnection) -> Answer:
        """Who opens it; the audit log keeps that, because whoever watches for long has a history."""
        return self._ask(asked, trace=True)

    def look_again(self, asked: HTTPConnection) -> Answer:
        """Whoever has it open, as they are now."""
        return self._ask(asked, trace=False)

    def _ask(self, asked: HTTPConnection, *, trace: bool) -> Answer:
        pool: Pool = asked.app.state.pool
        try:
            with pool.transaction() as connection:
                who = identity.holder_of(connection, asked)
                if who is None:
                    return None
                reason = denial(who, self.declared)
                if trace:
                    trail = Trail("open_live", outcome="done" if reason is None else "refused")
                    audit.write(connection, who, trail, origin.origin_of(asked), clock.now())
        except (psycopg.Error, BusyError) as error:
            log.warning("whether a live client may is not known: %s", error)
            return "unknown"
        return reason or who


class Public:
    """Marks a route that whoever asks may use."""

    def __call__(self) -> None:
        """Let everybody through."""


PUBLIC: Final = Depends(Public())


def allowed(
    *roles: Role,
    scope: Scope | None,
    whole_fleet: bool = False,
    history: bool = False,
    while_password_is_old: bool = False,
) -> Any:
    """Declare who may use a route: somebody with one of `roles`; with a token only if it has `scope` (None: never).

    `whole_fleet`: only who has every depot. `history`: it answers with a history of positions, so that reading it is
    written down. `while_password_is_old`: also before a password that must be changed was.
    """
    declared = Declaration(frozenset(roles), scope, whole_fleet, while_password_is_old)
    return Depends((HistoryAdmission if history else Admission)(declared), scope="function")


def caller(request: Request) -> Principal:
    """Who was admitted."""
    who: Principal = request.state.principal
    return who


def trail(request: Request) -> Trail:
    """What will be written down of this request."""
    found: Trail = request.state.trail
    return found


Caller = Annotated[Principal, Depends(caller)]
Traced = Annotated[Trail, Depends(trail)]


def undeclared(routers: Iterable[APIRouter], others: Sequence[BaseRoute]) -> list[str]:
    """Routes that do not say who may use them, or that name something of which nobody has said whose it is."""
    found = []
    for route in [*(route for router in routers for route in router.routes), *others]:
        path = getattr(route, "path", "")
        if isinstance(route, APIRoute | APIWebSocketRoute):
            calls = [dependant.call for dependant in route.dependant.dependencies]
            if sum(isinstance(call, Admission | LiveAdmission | Public) for call in calls) != 1:
                found.append(f"{path} does not declare who may use it")
            unknown = visible.unknown_parameters(route.param_convertors)
            if unknown:
                found.append(f"{path} names {', '.join(sorted(unknown))}: say in access/visible.py whose that is")
        elif isinstance(route, Route | Mount) and path not in PUBLIC_PATHS:
            found.append(f"{path} does not declare who may use it")
    return found


def install(app: FastAPI) -> None:
    """Write refusals into the audit log. In a transaction of its own: the request's was rolled back."""

    @app.exception_handler(Denied)
    def _denied(request: Request, error: Denied) -> JSONResponse:
        pool: Pool = request.app.state.pool
        error.trail.outcome = "refused"
        error.trail.details |= {"code": error.extra["code"], "method": request.method}
        try:
            with pool.transaction() as connection:
                audit.write(connection, error.who, error.trail, origin.origin_of(request), clock.now())
        except (psycopg.Error, BusyError) as failure:
            log.warning("a refusal could not be written down: %s", failure)
        return problems.answer(error)


def _named(parameters: dict[str, Any]) -> dict[str, Any]:
    """What an address names: its first parameter is what it is about, the others are details of it."""
    if not parameters:
        return {}
    (kind, identity_), *others = parameters.items()
    details = {name: str(value) for name, value in others}
    return {"object_kind": kind.removesuffix("_id"), "object_id": str(identity_), "details": details}


def _sent_purpose(request: Request) -> str | None:
    said = unquote(request.headers.get(PURPOSE_HEADER, ""))
    return "".join(filter(str.isprintable, said)).strip()[:_MAX_PURPOSE] or None
