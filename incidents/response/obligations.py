"""What has to be done about an incident by a clock of its own: reports, claims, feedback, countermeasures and their
checks. They are rows with a due time, called to mind until they are met or waived. Connection first, never a commit."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from fleet_core import sql
from fleet_core.db import Connection
from incidents import timeline
from incidents.response import notices, outbox, people, standing
from incidents.response.lifecycle import Refusal, RefusedError
from incidents.response.notices import Reminder
from incidents.response.policy import COUNTERMEASURE, EFFECTIVENESS_CHECK, ClosedLoop, IncidentPolicy
from incidents.response.standing import Facts

_SQL: Final = sql.load("incidents.response", "obligations.sql")

NAME: Final = "obligations"
VERSION: Final = 1
ACTOR: Final = f"machine:{NAME} v{VERSION}"

# An obligation that is overdue is called to mind every day for so long. Judgement: after two weeks another notice
# changes nothing, and the page still shows it.
_OVERDUE_DAYS: Final = 14
# What comes of a closed loop is called to mind a day before it is due. Judgement.
_LOOP_REMIND_BEFORE_S: Final = (86_400,)


def next_reminder(due_at: datetime, remind_before_s: Sequence[int], after: datetime) -> datetime | None:
    """The first reminder later than `after`: so long before it is due, when it is, then daily for two weeks. Pure."""
    instants = [due_at - timedelta(seconds=before_s) for before_s in remind_before_s]
    instants += [due_at + timedelta(days=day) for day in range(_OVERDUE_DAYS + 1)]
    return min((at for at in instants if at > after), default=None)


def follow(connection: Connection, facts: Facts, policy: IncidentPolicy, now: datetime) -> None:
    """Bring the obligations of an incident in line with its level, whether anybody is hurt, and how it ended."""
    if facts.drill:
        return
    if facts.incident.status == "dismissed":
        _waive(connection, facts.incident_id, None, "the incident was a false alarm", now)
        return
    if facts.incident.status == "resolved":
        return
    held = {
        kind: (done, waived)
        for kind, done, waived in connection.execute(_SQL["obligations_held"], {"incident_id": facts.incident_id})
    }
    # An incident that is worked on again is not yet through with its causes.
    needless = [COUNTERMEASURE] if COUNTERMEASURE in held else []
    for item in policy.obligations:
        if not item.applies(facts.incident.level, facts.injured):
            needless.append(item.kind)
        elif held.get(item.kind, (False, True))[1]:
            due_at = item.due_at(facts.occurred_at, facts.incident.detected_at)
            require(
                connection,
                facts.incident_id,
                item.kind,
                role=item.role,
                due_at=due_at,
                remind_before_s=item.remind_before_s,
                now=now,
            )
    open_ones = [kind for kind in needless if held.get(kind, (False, True)) == (False, False)]
    if open_ones:
        _waive(connection, facts.incident_id, open_ones, f"not asked for at level {facts.incident.level}", now)


def require_countermeasure(connection: Connection, incident_id: int, loop: ClosedLoop, now: datetime) -> None:
    """After resolving: somebody is to decide what keeps it from happening again."""
    due_at = now + timedelta(seconds=loop.plan_within_s)
    require(
        connection,
        incident_id,
        COUNTERMEASURE,
        role=loop.role,
        due_at=due_at,
        remind_before_s=_LOOP_REMIND_BEFORE_S,
        now=now,
        again=True,
    )


def require_check(
    connection: Connection, incident_id: int, countermeasure_id: int, role: str, due_at: datetime, *, now: datetime
) -> None:
    """Somebody is to look whether a countermeasure worked."""
    require(
        connection,
        incident_id,
        EFFECTIVENESS_CHECK,
        role=role,
        due_at=due_at,
        remind_before_s=_LOOP_REMIND_BEFORE_S,
        now=now,
        countermeasure_id=countermeasure_id,
    )


def require(
    connection: Connection,
    incident_id: int,
    kind: str,
    *,
    role: str,
    due_at: datetime,
    remind_before_s: Sequence[int],
    now: datetime,
    countermeasure_id: int | None = None,
    again: bool = False,
) -> None:
    """Ask for something by a clock, once; what was waived is asked for again, what was done only if `again`."""
    # What is overdue when it is first known is called to mind at once.
    remind_at = now if due_at <= now else next_reminder(due_at, remind_before_s, now)
    asked = connection.execute(
        _SQL["require_obligation"],
        {
            "incident_id": incident_id,
            "kind": kind,
            "countermeasure_id": countermeasure_id,
            "role": role,
            "due_at": due_at,
            "remind_at": remind_at,
            "again": again,
        },
    ).fetchone()
    if asked is not None:
        reason = f"{kind} is due by {due_at.isoformat(timespec='seconds')}"
        timeline.note(
            connection, incident_id, now, ACTOR, "obligation_begun", reason=reason, obligation=kind, role=role
        )


def _waive(connection: Connection, incident_id: int, kinds: Sequence[str] | None, because: str, now: datetime) -> None:
    parameters = {"incident_id": incident_id, "kinds": kinds, "because": because, "now": now}
    for (kind,) in connection.execute(_SQL["waive_obligations"], parameters).fetchall():
        timeline.note(connection, incident_id, now, ACTOR, "obligation_waived", reason=because, obligation=kind)


def finish_obligation(
    connection: Connection, obligation_id: int, actor: str, now: datetime, note: str | None = None
) -> bool:
    """Note that an obligation was met. False when there is none of this id, or it was met before.

    Raises RefusedError for one that is met by entering or checking a countermeasure.
    """
    held = connection.execute(_SQL["obligation"], {"obligation_id": obligation_id}).fetchone()
    if held is None:
        return False
    if held[1] in (COUNTERMEASURE, EFFECTIVENESS_CHECK):
        raise RefusedError(Refusal("done_elsewhere", "Enter the countermeasure, or check it: that meets this."))
    standing.lock(connection, held[0])
    row = connection.execute(
        _SQL["finish_obligation"], {"obligation_id": obligation_id, "actor": actor, "now": now, "note": note}
    ).fetchone()
    if row is None:
        return False
    incident_id, kind, due_at = row
    late_s = round(max(0.0, (now - due_at).total_seconds()), 1)
    timeline.note(connection, incident_id, now, actor, "obligation_done", reason=note, obligation=kind, late_s=late_s)
    timeline.ring(connection)
    return True


def met(
    connection: Connection, incident_id: int, kind: str, countermeasure_id: int | None, actor: str, *, now: datetime
) -> None:
    """Something was done by which an obligation is met."""
    connection.execute(
        _SQL["finish_obligation_of"],
        {
            "incident_id": incident_id,
            "kind": kind,
            "countermeasure_id": countermeasure_id,
            "actor": actor,
            "now": now,
            "note": None,
        },
    )


def reminders_due(connection: Connection, now: datetime, at_most: int) -> list[tuple[int, int]]:
    """Obligations to be called to mind: (obligation, incident)."""
    parameters = {"now": now, "max_rows": at_most}
    return [(obligation_id, incident_id) for obligation_id, incident_id in connection.execute(
        _SQL["reminders_due"], parameters)]  # fmt: skip


def remind(connection: Connection, obligation_id: int, incident_id: int, now: datetime) -> bool:
    """Call one obligation to mind. False when it is not due any more or somebody else is at it."""
    if not standing.lock_if_free(connection, incident_id):
        return False
    row = connection.execute(_SQL["reminder"], {"obligation_id": obligation_id, "now": now}).fetchone()
    facts = standing.read(connection, incident_id)
    if row is None or facts is None or facts.policy is None:
        return False
    kind, role, due_at, reminders = row
    rota = people.rota_at(connection, now)
    reached = rota.reach(role, facts.incident.depot, now)
    asked = role
    for role_instead in facts.policy.role(asked).next:
        if reached.people:
            break
        role = role_instead
        reached = rota.reach(role, facts.incident.depot, now)
    reminder = Reminder(kind, due_at, reminders)
    outbox.queue(connection, notices.of_obligation(facts, facts.policy, reminder, reached.people, now), now)
    known = facts.policy.obligation(kind)
    before_s = known.remind_before_s if known is not None else _LOOP_REMIND_BEFORE_S
    remind_at = next_reminder(due_at, before_s, now)
    connection.execute(_SQL["mark_reminded"], {"obligation_id": obligation_id, "remind_at": remind_at})
    told = ", ".join(person.person_id for person in reached.people)
    overdue = due_at <= now
    timeline.note(
        connection,
        incident_id,
        now,
        ACTOR,
        "obligation_overdue" if overdue else "obligation_reminder",
        reason=f"{kind} is {'overdue since' if overdue else 'due by'} {due_at.isoformat(timespec='seconds')}: "
        + (f"{told} told" if told else f"nobody reachable for {asked}, nor for anybody who stands in for it"),
        obligation=kind,
        role=role,
        asked=asked,
    )
    return True


@dataclass(frozen=True, slots=True)
class Obligation:
    """An obligation as kept."""

    obligation_id: int
    incident_id: int
    kind: str
    countermeasure_id: int | None
    role: str
    due_at: datetime
    done_at: datetime | None
    done_by: str | None
    note: str | None
    waived_at: datetime | None
    waived_because: str | None
    remind_at: datetime | None
    reminders: int


def obligations(connection: Connection, incident_id: int | None = None) -> list[Obligation]:
    """The obligations of one incident; without one, all that are still open. By due time."""
    return [Obligation(*row) for row in connection.execute(_SQL["obligations_of"], {"incident_id": incident_id})]
