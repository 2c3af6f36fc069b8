"""Who asks, and whether they may. Pure."""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from enum import Enum

from fleet_api.access.roles import Role, Scope


@dataclass(frozen=True, slots=True)
class Principal:
    """Whoever sent a request. `depots` None: every depot. `scopes` None: signed in, so not narrowed."""

    user_id: str
    display_name: str
    roles: frozenset[Role]
    depots: frozenset[str] | None
    must_change_password: bool
    expires_at: datetime
    session_hash: bytes | None = None
    token_id: int | None = None
    scopes: frozenset[Scope] | None = None

    @property
    def via(self) -> str:
        """How they came, for the audit log."""
        return "session" if self.token_id is None else f"token:{self.token_id}"

    @property
    def depot_list(self) -> list[str] | None:
        """The depots as queries take them; None does not narrow."""
        return None if self.depots is None else sorted(self.depots)

    def has_depot(self, depot: str | None) -> bool:
        """Whether what belongs to `depot` is theirs. What is in none belongs to those who have every one."""
        return self.depots is None or depot in self.depots


class Denial(Enum):
    """Why somebody who is signed in may not: a code for programs, a sentence for people."""

    PASSWORD = ("password_change_required", "Change your password first.")
    ROLE = ("role", "Your role may not do this.")
    SCOPE = ("scope", "This token's scopes do not cover it.")
    DEPOTS = ("depots", "This concerns every depot, and you have some of them.")

    @property
    def code(self) -> str:
        """For programs."""
        return self.value[0]

    @property
    def sentence(self) -> str:
        """For people."""
        return self.value[1]


@dataclass(frozen=True, slots=True)
class Declaration:
    """Who may use a route. `scope` None: no token. `whole_fleet`: only who has every depot."""

    roles: frozenset[Role]
    scope: Scope | None
    whole_fleet: bool = False
    while_password_is_old: bool = False


def denial(who: Principal, declared: Declaration) -> Denial | None:
    """Why `who` may not use what is so declared, or None when they may."""
    if who.must_change_password and not declared.while_password_is_old:
        return Denial.PASSWORD
    if not who.roles & declared.roles:
        return Denial.ROLE
    if who.scopes is not None and (declared.scope is None or declared.scope not in who.scopes):
        return Denial.SCOPE
    if declared.whole_fleet and who.depots is not None:
        return Denial.DEPOTS
    return None


def roles_of(names: Collection[str]) -> frozenset[Role]:
    """Roles by name. Raises ValueError for one there is not."""
    return frozenset(map(Role, names))
