"""After an incident: what keeps it from happening again, and whether it worked. Connection first, never a commit."""

from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Any, Final

from fleet_core import sql
from fleet_core.db import Connection
from incidents import timeline
from incidents.response import obligations, standing
from incidents.response.lifecycle import Refusal, RefusedError
from incidents.response.policy import COUNTERMEASURE, EFFECTIVENESS_CHECK

_SQL: Final = sql.load("incidents.response", "countermeasures.sql")


@dataclass(frozen=True, slots=True)
class Plan:
    """A countermeasure to be entered. `check_on`: the day to look whether it worked."""

    cause: str
    countermeasure: str
    owner: str
    due_on: date
    check_on: date


def add_countermeasure(connection: Connection, incident_id: int, plan: Plan, actor: str, now: datetime) -> int:
    """Enter what keeps it from happening again. Returns its id. Raises RefusedError."""
    if not standing.lock(connection, incident_id):
        raise RefusedError(Refusal("no_such_incident", f"There is no incident {incident_id}."))
    if plan.check_on < plan.due_on:
        raise RefusedError(Refusal("check_too_early", "It cannot be checked before it is due."))
    for name in ("cause", "countermeasure", "owner"):
        if not getattr(plan, name).strip():
            raise RefusedError(Refusal("incomplete", f"A countermeasure needs its {name}.", (name,)))
    values: dict[str, Any] = {
        "incident_id": incident_id,
        "cause": plan.cause,
        "countermeasure": plan.countermeasure,
        "owner": plan.owner,
        "due_on": plan.due_on,
        "check_on": plan.check_on,
    }
    row = connection.execute(_SQL["insert_countermeasure"], {**values, "actor": actor, "now": now}).fetchone()
    assert row is not None
    countermeasure_id = int(row[0])
    obligations.met(connection, incident_id, COUNTERMEASURE, None, actor, now=now)
    # The whole of that day is there for it.
    check_by = datetime.combine(plan.check_on, time(), UTC) + timedelta(days=1)
    obligations.require_check(
        connection, incident_id, countermeasure_id, _loop_role(connection, incident_id), check_by, now=now
    )
    timeline.note(
        connection, incident_id, now, actor, "countermeasure_planned", reason=plan.countermeasure,
        countermeasure=countermeasure_id, owner=plan.owner, due_on=plan.due_on.isoformat(),
        check_on=plan.check_on.isoformat(),
    )  # fmt: skip
    timeline.ring(connection)
    return countermeasure_id


def finish_countermeasure(
    connection: Connection, countermeasure_id: int, actor: str, now: datetime, note: str | None = None
) -> None:
    """It was carried out. Raises RefusedError."""
    incident_id = _lock_by_countermeasure(connection, countermeasure_id)
    parameters = {"countermeasure_id": countermeasure_id, "actor": actor, "now": now, "note": note}
    if connection.execute(_SQL["finish_countermeasure"], parameters).rowcount == 0:
        raise RefusedError(Refusal("not_now", f"The countermeasure {countermeasure_id} was carried out before."))
    timeline.note(
        connection, incident_id, now, actor, "countermeasure_done", reason=note, countermeasure=countermeasure_id
    )
    timeline.ring(connection)


def check_countermeasure(
    connection: Connection, countermeasure_id: int, worked: bool, actor: str, now: datetime, *, note: str | None = None
) -> None:
    """Somebody looked whether it worked. One that did not asks for another. Raises RefusedError."""
    incident_id = _lock_by_countermeasure(connection, countermeasure_id)
    parameters = {
        "countermeasure_id": countermeasure_id, "actor": actor, "now": now, "note": note, "worked": worked,
    }  # fmt: skip
    if connection.execute(_SQL["check_countermeasure"], parameters).rowcount == 0:
        sentence = f"The countermeasure {countermeasure_id} was checked before, or was not carried out yet."
        raise RefusedError(Refusal("not_now", sentence))
    obligations.met(connection, incident_id, EFFECTIVENESS_CHECK, countermeasure_id, actor, now=now)
    kind = "countermeasure_worked" if worked else "countermeasure_failed"
    timeline.note(connection, incident_id, now, actor, kind, reason=note, countermeasure=countermeasure_id)
    facts = standing.read(connection, incident_id)
    if not worked and facts is not None and facts.policy is not None:
        loop = facts.policy.plan(facts.incident.kind, facts.incident.level).closed_loop
        if loop is not None:
            obligations.require_countermeasure(connection, incident_id, loop, now)
    timeline.ring(connection)


def _loop_role(connection: Connection, incident_id: int) -> str:
    """Who answers for the closed loop: its role in the plan, else the one who is called last."""
    facts = standing.read(connection, incident_id)
    if facts is None or facts.policy is None:
        sentence = f"The response to incident {incident_id} has not begun yet: is the incidents worker running?"
        raise RefusedError(Refusal("not_begun", sentence))
    plan = facts.policy.plan(facts.incident.kind, facts.incident.level)
    return plan.closed_loop.role if plan.closed_loop is not None else plan.steps[-1].role


def _lock_by_countermeasure(connection: Connection, countermeasure_id: int) -> int:
    row = connection.execute(
        _SQL["countermeasures"], {"incident_id": None, "countermeasure_id": countermeasure_id}
    ).fetchone()
    if row is None:
        raise RefusedError(Refusal("no_such_countermeasure", f"There is no countermeasure {countermeasure_id}."))
    standing.lock(connection, row[1])
    return int(row[1])


@dataclass(frozen=True, slots=True)
class Countermeasure:
    """A countermeasure as kept."""

    countermeasure_id: int
    incident_id: int
    cause: str
    countermeasure: str
    owner: str
    due_on: date
    check_on: date
    created_at: datetime
    created_by: str
    done_at: datetime | None
    done_by: str | None
    checked_at: datetime | None
    checked_by: str | None
    worked: bool | None
    note: str | None


def countermeasures(connection: Connection, incident_id: int) -> list[Countermeasure]:
    """Countermeasures of an incident, in order."""
    parameters = {"incident_id": incident_id, "countermeasure_id": None}
    return [Countermeasure(*row) for row in connection.execute(_SQL["countermeasures"], parameters)]
