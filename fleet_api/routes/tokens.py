"""/api/tokens: what programs send instead of signing in."""

from dataclasses import asdict
from datetime import timedelta
from typing import Annotated

from fastapi import APIRouter, Path, Query
from pydantic import BaseModel, ConfigDict, Field

from fleet_api.access import accounts, credentials
from fleet_api.access.admission import Caller, Traced, allowed
from fleet_api.access.roles import OVERSEERS, Role, Scope
from fleet_api.problems import Problem, documented
from fleet_api.requests import Limit, ShortText, Transaction, no_such
from fleet_api.routes.session import UserId
from fleet_api.times import Utc
from fleet_core import clock

router = APIRouter(prefix="/api/tokens", tags=["access"])


class TokenNew(BaseModel):
    """A new token."""

    model_config = ConfigDict(extra="forbid")

    user_id: UserId = Field(description="For whom it acts: it may what they may, within its scopes.")
    name: ShortText = Field(description="What it is for.", examples=["telephone bridge"])
    scopes: list[Scope] = Field(min_length=1, max_length=len(Scope))
    expires_in_days: float = Field(default=90, gt=0, le=730)


class TokenOut(BaseModel):
    """A token, without its secret."""

    token_id: int
    user_id: str
    name: str
    scopes: list[Scope]
    created_at: Utc
    created_by: str
    expires_at: Utc
    revoked_at: Utc | None
    last_used_at: Utc | None


class TokenCreated(TokenOut):
    """A new token."""

    token: str = Field(description="Shown this once. Send it as `Authorization: Bearer ...`.")


class Tokens(BaseModel):
    """Newest first."""

    tokens: list[TokenOut]


@router.get("", summary="List tokens", dependencies=[allowed(*OVERSEERS, scope=Scope.ADMIN, whole_fleet=True)])
def list_tokens(
    connection: Transaction,
    user_id: Annotated[UserId | None, Query(description="Only those that act for this user.")] = None,
    limit: Limit = 100,
) -> Tokens:
    """Tokens, newest first, those that ended too."""
    found = credentials.tokens(connection, user_id=user_id, limit=limit)
    return Tokens(tokens=[TokenOut(**asdict(token)) for token in found])


# A token cannot make another: whoever steals one could live on by it.
@router.post(
    "", status_code=201, summary="Create a token", responses=documented(404),
    dependencies=[allowed(Role.ADMIN, scope=None, whole_fleet=True)],
)  # fmt: skip
def create_token(connection: Transaction, who: Caller, traced: Traced, body: TokenNew) -> TokenCreated:
    """The secret is answered once and kept nowhere."""
    user = accounts.user_by_id(connection, body.user_id)
    if user is None or user.disabled_at is not None:
        raise Problem(404, f"There is no user {body.user_id!r} who can sign in.", "user_id")
    now = clock.now()
    token_id, secret = credentials.begin_token(
        connection, user.user_id, body.name, set(body.scopes),
        created_by=who.user_id, now=now, expires_at=now + timedelta(days=body.expires_in_days),
    )  # fmt: skip
    traced.about("token", token_id, user_id=user.user_id, scopes=sorted(body.scopes))
    [kept] = credentials.tokens(connection, token_id=token_id, limit=1)
    return TokenCreated(**asdict(kept), token=secret)


@router.delete(
    "/{token_id}", status_code=204, summary="Revoke a token", responses=documented(404),
    dependencies=[allowed(Role.ADMIN, scope=Scope.ADMIN, whole_fleet=True)],
)  # fmt: skip
def revoke_token(connection: Transaction, token_id: Annotated[int, Path(ge=1, lt=2**63)]) -> None:
    """It is refused from now on."""
    if not credentials.revoke_token(connection, token_id, clock.now()):
        raise no_such("token", str(token_id))
