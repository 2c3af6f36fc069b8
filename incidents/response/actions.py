"""What people do with an incident. Each action is one row of its timeline with who and why; rounds and obligations
follow in the same transaction. Connection first, never a commit.

Every action takes the revision the person has seen (None: whatever it is now) and returns the new one. It raises
NoSuchIncidentError, StaleRevisionError when somebody was faster, or RefusedError with a sentence for the person.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from fleet_core import sql
from fleet_core.db import Connection
from incidents import timeline
from incidents.response import lifecycle, obligations, rounds, standing
from incidents.response.lifecycle import Refusal, RefusedError
from incidents.response.policy import ChecklistItem, LevelPlan
from incidents.response.standing import Facts

_SQL: Final = sql.load("incidents.response", "actions.sql")


class NoSuchIncidentError(LookupError):
    """There is no incident of this id."""


class StaleRevisionError(Exception):
    """The incident was changed meanwhile; `current` is its revision now."""

    def __init__(self, current: int) -> None:
        super().__init__(f"the incident is at revision {current} by now")
        self.current = current


@dataclass(frozen=True, slots=True)
class By:
    """Who does something to which incident, when, and what they have seen of it."""

    incident_id: int
    actor: str
    now: datetime
    revision: int | None = None


def acknowledge(connection: Connection, by: By, note: str | None = None) -> int:
    """Take notice: calling stops, and what is not sent yet is taken back."""
    facts = _take(connection, by, "acknowledge")
    waited_s = round((by.now - facts.incident.detected_at).total_seconds(), 1)
    return _do(connection, by, facts, "acknowledge", kind="acknowledged", reason=note, after_s=waited_s)


def assign(connection: Connection, by: By, to: str | None, note: str | None = None) -> int:
    """Give it to somebody; None: to nobody in particular."""
    facts = _take(connection, by, "assign")
    return _do(connection, by, facts, "assign", kind="assigned", values={"to": to}, reason=note, to=to)


def comment(connection: Connection, by: By, text: str) -> int:
    """Say something."""
    facts = _take(connection, by, "comment", text)
    return _do(connection, by, facts, "touch", kind="commented", reason=text)


def change_level(connection: Connection, by: By, level: int, reason: str) -> int:
    """Set the level by hand. The plan of the new level begins."""
    facts = _take(connection, by, "change_level", reason)
    was = facts.incident.level
    _refuse(lifecycle.refuse_level(level, was))
    kind = "level_raised" if level > was else "level_lowered"
    return _do(
        connection, by, facts, "set_level", kind=kind, values={"level": level}, reason=reason, was=was, level=level
    )


def state_injury(connection: Connection, by: By, injured: bool, reason: str | None = None) -> int:
    """Say whether anybody is hurt. The authority is told of it then, at any level."""
    facts = _take(connection, by, "state_injury")
    return _do(
        connection,
        by,
        facts,
        "state_injury",
        kind="injury_stated",
        values={"injured": injured},
        reason=reason,
        injured=injured,
    )


def tick(connection: Connection, by: By, item: str, note: str | None = None) -> int:
    """Note that an item of the checklist is done. Ticking it twice changes nothing."""
    facts = _take(connection, by, "tick")
    _refuse(lifecycle.refuse_item(item, _plan(facts)))
    values = {"incident_id": by.incident_id, "item": item, "now": by.now, "actor": by.actor, "note": note}
    if connection.execute(_SQL["tick_item"], values).rowcount == 0:
        return facts.revision
    return _do(connection, by, facts, "touch", kind="item_done", reason=note, item=item)


def untick(connection: Connection, by: By, item: str, note: str | None = None) -> int:
    """Note that an item is not done after all."""
    facts = _take(connection, by, "untick")
    if connection.execute(_SQL["untick_item"], {"incident_id": by.incident_id, "item": item}).rowcount == 0:
        return facts.revision
    return _do(connection, by, facts, "touch", kind="item_not_done", reason=note, item=item)


def dismiss(connection: Connection, by: By, reason: str) -> int:
    """Close it as a false alarm."""
    facts = _take(connection, by, "dismiss", reason)
    values = {"status": "dismissed", "reason": reason, "cause": None}
    revision = _do(connection, by, facts, "close", kind="dismissed", values=values, reason=reason)
    connection.execute(_SQL["follow_members_anew"], {"incident_id": by.incident_id})
    return revision


def resolve(connection: Connection, by: By, reason: str, cause: str | None = None) -> int:
    """Close it as dealt with, once its plan's conditions are met; `reason` says what was done."""
    facts = _take(connection, by, "resolve", reason)
    plan = _plan(facts)
    done = {item.item for item in ticked(connection, by.incident_id)}
    _refuse(lifecycle.refuse_resolve(plan, done, cause))
    values = {"status": "resolved", "reason": reason, "cause": cause}
    revision = _do(connection, by, facts, "close", kind="resolved", values=values, reason=reason, cause=cause)
    if plan.closed_loop is not None and not facts.drill:
        obligations.require_countermeasure(connection, by.incident_id, plan.closed_loop, by.now)
    return revision


def reopen(connection: Connection, by: By, reason: str) -> int:
    """Work on it again. Its plan begins anew."""
    facts = _take(connection, by, "reopen", reason)
    return _do(connection, by, facts, "reopen", kind="reopened", reason=reason, was=facts.incident.status)


@dataclass(frozen=True, slots=True)
class Ticked:
    """An item of the checklist that is done."""

    item: str
    done_at: datetime
    done_by: str
    note: str | None


def ticked(connection: Connection, incident_id: int) -> list[Ticked]:
    """What is done of the checklist, in order of time."""
    return [Ticked(*row) for row in connection.execute(_SQL["ticked"], {"incident_id": incident_id})]


def checklist(connection: Connection, incident_id: int) -> list[tuple[ChecklistItem, Ticked | None]]:
    """The checklist of an incident at its level, in order, with what is done of it. Empty before it is followed."""
    facts = standing.read(connection, incident_id)
    if facts is None:
        raise NoSuchIncidentError(incident_id)
    if facts.policy is None:
        return []
    done = {item.item: item for item in ticked(connection, incident_id)}
    return [(item, done.get(item.item)) for item in _plan(facts).checklist]


def _take(connection: Connection, by: By, action: str, reason: str | None = "-") -> Facts:
    """Lock the incident, read it, and refuse what is not possible now."""
    if not standing.lock(connection, by.incident_id):
        raise NoSuchIncidentError(by.incident_id)
    facts = standing.read(connection, by.incident_id)
    assert facts is not None
    if by.revision is not None and by.revision != facts.revision:
        raise StaleRevisionError(facts.revision)
    _refuse(lifecycle.refuse(action, facts.incident.status, reason))
    return facts


def _do(
    connection: Connection,
    by: By,
    facts: Facts,
    block: str,
    *,
    kind: str,
    values: dict[str, Any] | None = None,
    reason: str | None = None,
    **told: Any,
) -> int:
    """Change the row, write the line, let rounds and obligations follow, ring. Returns the new revision."""
    parameters = {
        "incident_id": by.incident_id,
        "actor": by.actor,
        "now": by.now,
        "revision": facts.revision,
        **(values or {}),
    }
    row = connection.execute(_SQL[block], parameters).fetchone()
    assert row is not None, "the incident is locked"
    timeline.note(connection, by.incident_id, by.now, by.actor, kind, reason=reason, **told)
    after = rounds.follow(connection, by.incident_id, by.now, None)
    timeline.ring(connection)
    return int(row[0]) if after is None else after.revision


def _plan(facts: Facts) -> LevelPlan:
    if facts.policy is None:
        sentence = f"The response to incident {facts.incident_id} has not begun yet: is the incidents worker running?"
        raise RefusedError(Refusal("not_begun", sentence))
    return facts.policy.plan(facts.incident.kind, facts.incident.level)


def _refuse(refusal: Refusal | None) -> None:
    if refusal is not None:
        raise RefusedError(refusal)
