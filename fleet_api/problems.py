"""Errors as RFC 9457 problem documents: one clear sentence, and the field it is about."""

import logging
from collections.abc import Sequence
from typing import Any, Final

import psycopg
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException

from fleet_api.pool import BusyError
from fleet_core.db import DatabaseUnusableError

log = logging.getLogger("fleet.api")

MEDIA_TYPE: Final = "application/problem+json"
_TITLES: Final = {
    400: "Bad request",
    401: "Not signed in",
    403: "Refused",
    404: "Not found",
    405: "Method not allowed",
    409: "Conflict",
    422: "Not understood",
    429: "Too many attempts",
    503: "Not available now",
}


class Problem(Exception):  # noqa: N818  the word of RFC 9457
    """Answer with `status` and a sentence. `field` names the parameter or key that is wrong."""

    def __init__(self, status: int, detail: str, field: str | None = None, **extra: object) -> None:
        super().__init__(detail)
        self.status, self.detail, self.field, self.extra = status, detail, field, extra


class ProblemDocument(BaseModel):
    """RFC 9457 problem document."""

    type: str = Field(description="Always about:blank: the status says what kind of problem it is.")
    title: str
    status: int
    detail: str = Field(description="One sentence for people.")
    field: str | None = Field(default=None, description="Parameter or key that is wrong.")
    code: str | None = Field(default=None, description="For programs, where the status leaves it open.")


def response(status: int, detail: str, field: str | None = None, **extra: object) -> JSONResponse:
    """A problem document."""
    body = {"type": "about:blank", "title": _TITLES.get(status, "Error"), "status": status, "detail": detail}
    headers = {401: {"WWW-Authenticate": "Bearer"}, 429: {"Retry-After": str(extra.get("retry_after_s", 1))}}
    return JSONResponse(
        {**body, **({"field": field} if field else {}), **extra},
        status_code=status,
        headers=headers.get(status),
        media_type=MEDIA_TYPE,
    )


def answer(problem: Problem) -> JSONResponse:
    """A problem as an answer, where raising it would undo what the request wrote."""
    return response(problem.status, problem.detail, problem.field, **problem.extra)


def documented(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """The `responses` argument of a route that may answer with these problems."""
    return {
        status: {"model": ProblemDocument, "description": _TITLES[status], "content": {MEDIA_TYPE: {}}}
        for status in statuses
    }


def install(app: FastAPI) -> None:
    """Turn every expected error of the application into a problem document."""

    @app.exception_handler(Problem)
    def _problem(_request: Request, error: Problem) -> JSONResponse:
        return answer(error)

    @app.exception_handler(RequestValidationError)
    def _invalid(_request: Request, error: RequestValidationError) -> JSONResponse:
        return _invalid_response(error.errors())

    @app.exception_handler(HTTPException)
    def _http(request: Request, error: HTTPException) -> JSONResponse:
        said = {
            404: f"There is nothing at {request.url.path}.",
            405: f"{request.method} is not possible at {request.url.path}.",
        }
        told = response(error.status_code, said.get(error.status_code, f"{error.detail}."))
        told.headers.update(error.headers or {})
        return told

    @app.exception_handler(BusyError)
    def _busy(_request: Request, error: BusyError) -> JSONResponse:
        return response(503, f"The database is busy: {error}.")

    @app.exception_handler(psycopg.DataError)
    def _unstorable(_request: Request, _error: psycopg.DataError) -> JSONResponse:
        return response(422, "A value holds what the database cannot keep, such as a NUL character.")

    @app.exception_handler(psycopg.errors.QueryCanceled)
    def _too_long(_request: Request, _error: psycopg.errors.QueryCanceled) -> JSONResponse:
        return response(503, "The database took too long to answer: ask for less.")

    @app.exception_handler(psycopg.OperationalError)
    def _unreachable(_request: Request, error: psycopg.OperationalError) -> JSONResponse:
        # The driver's words may hold host and user: they go to the log.
        log.warning("a request failed because the database cannot be reached: %s", error)
        return response(503, "The database cannot be reached.")

    @app.exception_handler(DatabaseUnusableError)
    def _unusable(_request: Request, error: DatabaseUnusableError) -> JSONResponse:
        return response(503, f"The database cannot be used: {error}.")


def _invalid_response(errors: Sequence[Any]) -> JSONResponse:
    told = []
    for error in errors:
        # ("query", "max_points"), ("body", "plate"), ("body", 17): the place in front is of no use to people.
        path = [str(part) for part in error["loc"][1:]]
        said = str(error["msg"]).removeprefix("Value error, ")
        if error["type"] in ("json_invalid", "model_attributes_type"):
            told.append({"field": "body", "detail": f"The body is not a JSON object: {said}."})
        elif error["type"] == "missing" and not path:
            told.append({"field": "body", "detail": "The body is missing."})
        else:
            field = ".".join(path)
            told.append({"field": field, "detail": f"{field}: {said[:1].lower()}{said[1:]}."})
    return response(422, told[0]["detail"], told[0]["field"], errors=told)
