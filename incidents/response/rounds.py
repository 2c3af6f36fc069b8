"""Runs escalation on the store: rounds follow incidents, and what is due in them is done. Connection first, no commit.

`follow` brings the rounds of one incident in line with it, whoever changed it: intake, a person, a sweep. `work_on`
does what is due. Both run with the incident locked and leave everything to the caller's transaction, so each step
happens whole or not at all, and a second worker finds it done.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

import msgspec

from fleet_core import sql
from fleet_core.db import Connection
from incidents import timeline
from incidents.response import escalation, notices, obligations, outbox, people, policy, standing
from incidents.response.escalation import ACTOR, CALL, CLOSED, DEADLINE, Done, Due, Scene
from incidents.response.policy import OCCASIONS, IncidentPolicy, Policy
from incidents.response.standing import Facts

_SQL: Final = sql.load("incidents.response", "rounds.sql")
_encode: Final = msgspec.json.Encoder().encode

# What an acknowledgement makes needless.
_CALLING: Final = (CALL, DEADLINE)


def waiting(connection: Connection, now: datetime, but: Sequence[int], at_most: int) -> list[int]:
    """Incidents in which something is to be done, the gravest first, leaving some out."""
    return [
        row[0]
        for row in connection.execute(_SQL["incidents_to_work_on"], {"now": now, "but": list(but), "max_rows": at_most})
    ]


def work_on(connection: Connection, incident_id: int, now: datetime, policy_now: Policy) -> bool:
    """Follow one incident and do what is due in it. False when somebody else is just working on it.

    `policy_now` is frozen into an incident that has none yet.
    """
    if not standing.lock_if_free(connection, incident_id):
        return False
    facts = follow(connection, incident_id, now, policy_now)
    assert facts is not None
    assert facts.policy is not None
    due = connection.execute(_SQL["due_steps"], {"incident_id": incident_id, "now": now}).fetchall()
    if due:
        rota = people.rota_at(connection, now)
        for number, *row, kind, level in due:
            scene = Scene(
                facts.incident,
                facts.policy.plan(kind, level),
                facts.policy,
                rota,
                outbox.called_people(connection, incident_id),
                now,
            )
            _do(connection, facts, number, Due(*row), scene)
    return True


def follow(connection: Connection, incident_id: int, now: datetime, policy_now: Policy | None) -> Facts | None:
    """Bring the rounds of an incident in line with how it stands. The incident must be locked.

    Without `policy_now` an incident whose policy is not frozen yet is left to the worker. Returns how it stands.
    """
    facts = standing.read(connection, incident_id)
    if facts is None or (facts.policy is None and policy_now is None):
        return facts
    frozen = facts.policy
    if frozen is None:
        assert policy_now is not None
        frozen = policy_now.for_family(facts.family)
        connection.execute(
            _SQL["freeze_policy"],
            {"incident_id": incident_id, "policy": policy.to_json(frozen), "version": frozen.version},
        )
    elif facts.followed_revision == facts.revision:
        return facts
    _move(connection, facts, frozen, now)
    obligations.follow(connection, facts, frozen, now)
    connection.execute(_SQL["mark_followed"], {"incident_id": incident_id})
    return standing.read(connection, incident_id)


def _move(connection: Connection, facts: Facts, frozen: IncidentPolicy, now: datetime) -> None:
    incident, newest = facts.incident, facts.newest
    move = escalation.move(incident, newest)
    if move.stop is not None:
        _stop(connection, facts, move.stop, now, only_calls=incident.status not in CLOSED and move.start is None)
    if move.reopen:
        connection.execute(_SQL["take_back_acknowledgement"], {"incident_id": facts.incident_id})
        timeline.note(
            connection, facts.incident_id, now, ACTOR, "acknowledgement_lapsed",
            reason=f"it was acknowledged at a lower level than {incident.level}", was=incident.acknowledged_by,
        )  # fmt: skip
        timeline.ring(connection)
    if move.start is not None:
        number = 1 if newest is None else newest.number + 1
        # The plan of an incident that was opened while no worker ran has been running since then.
        begin = incident.detected_at if newest is None and incident.detected_at < now else now
        plan = frozen.plan(incident.kind, incident.level)
        connection.execute(
            _SQL["start_round"],
            {
                "incident_id": facts.incident_id,
                "round": number,
                "kind": incident.kind,
                "level": incident.level,
                "occasion": move.start,
                "started_at": begin,
                "stopped_at": None if move.running else begin,
                "stopped_because": None if move.running else move.because,
            },
        )
        _write(connection, facts, number, escalation.beginning(plan, move.start, begin, move.running))
        kind = "escalation_started" if move.running else "escalation_not_needed"
        reason = f"{move.start} at level {incident.level}" + (f"; {move.because}" if move.because else "")
        timeline.note(
            connection, facts.incident_id, now, ACTOR, kind, reason=reason,
            round=number, level=incident.level, policy=frozen.version,
        )  # fmt: skip
    if move.tell is not None and newest is not None:
        plan = frozen.plan(newest.kind, newest.level)
        _write(connection, facts, newest.number, escalation.told(plan, move.tell, now))


def _stop(connection: Connection, facts: Facts, because: str, now: datetime, *, only_calls: bool) -> None:
    purposes = _CALLING if only_calls else (*_CALLING, *OCCASIONS)
    parameters = {"incident_id": facts.incident_id, "now": now, "because": because, "purposes": list(purposes)}
    connection.execute(_SQL["stop_round"], parameters)
    stopped = connection.execute(_SQL["stop_steps"], parameters).rowcount
    withdrawn = outbox.withdraw(connection, facts.incident_id, purposes, because)
    timeline.note(
        connection, facts.incident_id, now, ACTOR, "escalation_stopped", reason=because,
        steps_stopped=stopped, notices_withdrawn=withdrawn,
    )  # fmt: skip


def _write(connection: Connection, facts: Facts, number: int, due: Sequence[Due]) -> None:
    connection.execute(
        _SQL["write_steps"],
        {
            "incident_id": facts.incident_id,
            "round": number,
            "purpose": [item.purpose for item in due],
            "step": [item.step for item in due],
            "repeat": [item.repeat for item in due],
            "role": [item.role for item in due],
            "due_at": [item.due_at for item in due],
        },
    )


def _do(connection: Connection, facts: Facts, number: int, due: Due, scene: Scene) -> None:
    """Carry out one step: its notices, its lines, what follows it and the mark that it is done."""
    done = escalation.carry_out(due, scene)
    outbox.queue(connection, notices.of_step(facts, number, due, done, scene), scene.now)
    _write(connection, facts, number, done.follows)
    for line in done.lines:
        timeline.note(
            connection, facts.incident_id, scene.now, ACTOR, line.kind, reason=line.reason, round=number, **line.facts
        )
    connection.execute(
        _SQL["finish_step"],
        {
            "incident_id": facts.incident_id,
            "round": number,
            "purpose": due.purpose,
            "step": due.step,
            "repeat": due.repeat,
            "now": scene.now,
            "outcome": done.outcome,
            "detail": _encode(_detail(done)).decode(),
        },
    )


def _detail(done: Done) -> Mapping[str, Any]:
    return {"role": done.role, "people": sorted({call.person.person_id for call in done.calls})}


class Responder:
    """What intake starts when a case opens, changes its level or is reopened: see incidents.intake.Response."""

    def __init__(self, policy_now: Policy) -> None:
        self._policy = policy_now

    def opened(self, connection: Connection, incident_id: int, now: datetime) -> None:
        """A case was opened: its policy is frozen and its plan begins."""
        standing.lock(connection, incident_id)
        follow(connection, incident_id, now, self._policy)

    def level_changed(self, connection: Connection, incident_id: int, _before: int, now: datetime) -> None:
        """A case went up or down: the plan of its level begins."""
        self.opened(connection, incident_id, now)

    def reopened(self, connection: Connection, incident_id: int, now: datetime) -> None:
        """A closed case is open again: its plan begins again."""
        self.opened(connection, incident_id, now)


@dataclass(frozen=True, slots=True)
class StepTaken:
    """A row of the plan, done or still to come. `outcome` None: to come."""

    round: int
    level: int
    purpose: str
    step: int
    repeat: int
    role: str
    due_at: datetime
    done_at: datetime | None
    outcome: str | None
    detail: Mapping[str, Any]


def steps_of(connection: Connection, incident_id: int) -> list[StepTaken]:
    """Everything that was or will be due of an incident."""
    return [StepTaken(*row) for row in connection.execute(_SQL["steps_of"], {"incident_id": incident_id})]
