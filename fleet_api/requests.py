"""What routes share: the transaction of a request, paging, and the shapes of ids and texts."""

from collections.abc import Iterator
from typing import Annotated, Final

from fastapi import Depends, Query, Request
from pydantic import Field, StringConstraints

from fleet_api.pool import Pool
from fleet_api.problems import Problem
from fleet_core.db import Connection

MAX_PAGE: Final = 500

# No control characters: they break lists, logs and exports. A note may have lines.
_PRINTABLE: Final = r"^[^\x00-\x1f\x7f]*$"

VehicleId = Annotated[
    str,
    StringConstraints(pattern=r"^[A-Za-z0-9_-]{1,64}$"),
    Field(description="The operator's own id: 1 to 64 of A-Z, a-z, 0-9, _ and -.", examples=["hu-a12345"]),
]
DeviceId = Annotated[
    str,
    StringConstraints(min_length=1, max_length=128, pattern=_PRINTABLE),
    Field(description="Id of the telematics unit.", examples=["861585040983561"]),
]
ShortText = Annotated[str, StringConstraints(min_length=1, max_length=100, strip_whitespace=True, pattern=_PRINTABLE)]
LongText = Annotated[str, StringConstraints(max_length=4000, pattern=r"^[^\x00-\x08\x0b-\x1f\x7f]*$")]

Search = Annotated[
    str | None, Query(max_length=100, pattern=_PRINTABLE, description="Text to look for, anywhere, any case.")
]
Cursor = Annotated[
    str, Query(max_length=128, pattern=_PRINTABLE, description="`next_cursor` of the page before; empty: begin.")
]
Limit = Annotated[int, Query(ge=1, le=MAX_PAGE, description="Most rows of a page.")]
Revision = Annotated[int, Field(ge=1, description="The revision you last read; another one stored is a conflict.")]


def transaction(request: Request) -> Iterator[Connection]:
    """One transaction a request, committed here and nowhere below."""
    pool: Pool = request.app.state.pool
    with pool.transaction() as connection:
        yield connection


# scope=function: committed before the answer is sent, so that a commit that fails is never answered with success.
Transaction = Annotated[Connection, Depends(transaction, scope="function")]


def parse_viewport(text: str | None) -> tuple[float, float, float, float] | None:
    """`west,south,east,north` in degrees. Raises Problem 422."""
    if text is None:
        return None
    try:
        west, south, east, north = (float(part) for part in text.split(","))
    except ValueError:
        raise Problem(422, "viewport: expected west,south,east,north in degrees.", "viewport") from None
    if not (-180 <= west <= 180 and -180 <= east <= 180 and -90 <= south <= north <= 90):
        raise Problem(
            422,
            "viewport: longitudes are -180 to 180, latitudes -90 to 90, and south is not above north.",
            "viewport",
        )
    return west, south, east, north


def no_such(kind: str, identity: str) -> Problem:
    """404 for a vehicle or device that is not there."""
    return Problem(404, f"There is no {kind} {identity!r}.", f"{kind}_id")


def stale_revision(kind: str, identity: str, seen: int, current: int) -> Problem:
    """409 for an edit of something that changed meanwhile."""
    return Problem(
        409,
        f"The {kind} {identity!r} was changed meanwhile: you saw revision {seen}, it is at {current}. Read it again.",
        "revision",
        current_revision=current,
    )
