"""/api/audit: who did what, when, from where, why."""

from dataclasses import asdict
from typing import Annotated, Any

from fastapi import APIRouter, Query
from pydantic import BaseModel, Field

from fleet_api.access import audit
from fleet_api.access.admission import allowed
from fleet_api.access.audit import Outcome
from fleet_api.access.roles import OVERSEERS, Scope
from fleet_api.requests import Limit, Transaction
from fleet_api.times import Utc, Zoned

router = APIRouter(prefix="/api/audit", tags=["access"])


class EntryOut(BaseModel):
    """A line of the audit log."""

    entry_id: int
    at: Utc
    user_id: str | None = Field(description="null: nobody was signed in, or it was done from the command line.")
    roles: list[str] = Field(description="Theirs at the time.")
    via: str = Field(description="session, token:<number>, command or none.")
    action: str
    object_kind: str | None
    object_id: str | None
    purpose: str | None = Field(description="Why a history of positions was read, as they said.")
    request_id: str | None
    address: str | None
    outcome: Outcome = Field(description="done; refused: they may not; failed: a password or code was wrong.")
    details: dict[str, Any]


class AuditPage(BaseModel):
    """Newest first."""

    entries: list[EntryOut]
    next_cursor: str | None


@router.get("", summary="The audit log", dependencies=[allowed(*OVERSEERS, scope=Scope.AUDIT, whole_fleet=True)])
def list_entries(
    connection: Transaction,
    *,
    user_id: Annotated[str | None, Query(max_length=64, description="Only what this user did.")] = None,
    action: Annotated[str | None, Query(max_length=64, description="Only this action.")] = None,
    object_kind: Annotated[str | None, Query(max_length=64, description="Only about this: vehicle, user, ...")] = None,
    object_id: Annotated[str | None, Query(max_length=128, description="Only about the one of this id.")] = None,
    outcome: Annotated[Outcome | None, Query(description="Only with this outcome.")] = None,
    since: Annotated[Zoned | None, Query(alias="from", description="At or after.")] = None,
    until: Annotated[Zoned | None, Query(alias="to", description="Before.")] = None,
    cursor: Annotated[int | None, Query(ge=1, lt=2**63, description="`next_cursor` of the page before.")] = None,
    limit: Limit = 100,
) -> AuditPage:
    """Who did what, newest first. Nothing in it is ever changed or removed."""
    narrow = audit.Narrow(
        user_id=user_id, action=action, object_kind=object_kind, object_id=object_id, outcome=outcome, since=since,
        until=until, before=cursor,
    )  # fmt: skip
    found = audit.entries(connection, narrow, limit + 1)
    page = found[:limit]
    return AuditPage(
        entries=[EntryOut(**asdict(entry)) for entry in page],
        next_cursor=str(page[-1].entry_id) if len(found) > limit else None,
    )
