"""What falls due in an incident and what is to be written when it does. Pure: given facts, plan, rota and time.

A *round* is the plan of one level running for an incident. Everything in it that will happen is a row before it is due
(`Due`); carrying one out gives the notices, the timeline rows and the rows that follow, all for one transaction. So a
worker may die at any instant: either the whole step happened or none of it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final

from incidents.response.policy import CALLED, IncidentPolicy, LevelPlan
from incidents.response.rota import Channel, Person, Reached, Rota

NAME: Final = "escalation"
VERSION: Final = 1
ACTOR: Final = f"machine:{NAME} v{VERSION}"

CALL: Final = "call"
DEADLINE: Final = "deadline"

# Statuses of an incident.
OPEN: Final = "open"
ACKNOWLEDGED: Final = "acknowledged"
CLOSED: Final = frozenset({"resolved", "dismissed"})


@dataclass(frozen=True, slots=True)
class Round:
    """The newest round of an incident."""

    number: int
    kind: str
    level: int
    running: bool


@dataclass(frozen=True, slots=True)
class Standing:
    """An incident as far as the response asks. `mass_incident_id`: an incident that stands for this one and at whose
    level people are called already."""

    incident_id: int
    kind: str
    level: int
    status: str
    detected_at: datetime
    depot: str | None = None
    acknowledged_by: str | None = None
    closed_by: str | None = None
    mass_incident_id: int | None = None


@dataclass(frozen=True, slots=True)
class Move:
    """What brings the rounds of an incident in line with it.

    stop      why the running round ends, None when it goes on
    start     occasion on which a new round begins, None when none does
    running   whether the new round calls anybody, or stands still from its begin, `because`
    reopen    the acknowledgement was for a lower level and does not hold for this one
    tell      occasion of which people are told that belongs to the round there is (resolved, dismissed)
    """

    stop: str | None = None
    start: str | None = None
    running: bool = True
    because: str = ""
    reopen: bool = False
    tell: str | None = None


def move(incident: Standing, newest: Round | None) -> Move:
    """Compare an incident with its newest round. A `Move()` means that they agree."""
    running = newest is not None and newest.running
    if incident.status in CLOSED:
        stop = f"{incident.status} by {incident.closed_by}" if running else None
        return Move(stop=stop, tell=incident.status if newest is not None else None)
    quiet = _why_quiet(incident)
    if newest is None:
        return Move(start="opened", running=not quiet, because=quiet)
    if incident.level > newest.level:
        raised = f"level raised from {newest.level} to {incident.level}"
        quiet = _why_quiet(incident, acknowledged_counts=False)
        return Move(
            stop=raised if running else None,
            start="raised",
            running=not quiet,
            because=quiet,
            reopen=incident.status == ACKNOWLEDGED and not quiet,
        )
    if incident.level < newest.level:
        lowered = f"level lowered from {newest.level} to {incident.level}"
        return Move(stop=lowered if running else None, start="lowered", running=not quiet, because=quiet)
    if quiet:
        return Move(stop=quiet if running else None)
    return Move() if running else Move(start="reopened")


def _why_quiet(incident: Standing, acknowledged_counts: bool = True) -> str:
    if incident.mass_incident_id is not None:
        return f"people are called for incident {incident.mass_incident_id}, which stands for this one"
    if acknowledged_counts and incident.status == ACKNOWLEDGED:
        return f"acknowledged by {incident.acknowledged_by}"
    return ""


@dataclass(frozen=True, slots=True)
class Due:
    """A row of what will be done. `step` counts within the purpose, `repeat` the calls after the first."""

    purpose: str
    step: int
    repeat: int
    role: str
    due_at: datetime


def beginning(plan: LevelPlan, occasion: str, started_at: datetime, running: bool) -> list[Due]:
    """The rows of a round that begins: people to tell at once, and the first call of every step."""
    due = told(plan, occasion, started_at)
    if running:
        due += [
            Due(CALL, number, 0, step.role, started_at + timedelta(seconds=step.after_s))
            for number, step in enumerate(plan.steps)
        ]
    return due


def told(plan: LevelPlan, occasion: str, at: datetime) -> list[Due]:
    """The rows of people who are told of something without being asked to acknowledge."""
    return [Due(occasion, number, 0, role, at) for number, role in enumerate(plan.inform.get(occasion, ()))]


@dataclass(frozen=True, slots=True)
class Call:
    """A notice to one person by one channel."""

    person: Person
    channel: Channel
    acknowledge_by: datetime | None


@dataclass(frozen=True, slots=True)
class Line:
    """A row of the timeline."""

    kind: str
    reason: str
    facts: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Done:
    """What carrying out a step comes to: to be written in one transaction."""

    outcome: str
    role: str
    calls: tuple[Call, ...]
    lines: tuple[Line, ...]
    follows: tuple[Due, ...]


@dataclass(frozen=True, slots=True)
class Scene:
    """Everything a step is decided by. `plan` is that of the round, `called` are those whom notices have reached."""

    incident: Standing
    plan: LevelPlan
    policy: IncidentPolicy
    rota: Rota
    called: Sequence[str]
    now: datetime


def carry_out(due: Due, scene: Scene) -> Done:
    """Carry out one due row of a running round, or of people to be told.

    Never raises for want of people: that is an outcome, with its row.
    """
    if due.purpose == DEADLINE:
        line = Line(
            "deadline_missed",
            f"not acknowledged in time after calling {due.role}",
            {"step": due.step, "role": due.role, "due_at": due.due_at.isoformat()},
        )
        return Done("missed", due.role, (), (line,), ())
    if due.purpose != CALL:
        return _tell(due, scene)
    step = scene.plan.steps[due.step]
    role, reached, lines = _reach(due, step.channels, scene)
    acknowledge_by = scene.now + timedelta(seconds=step.acknowledge_within_s)
    calls = _calls(reached, step.channels, acknowledge_by)
    follows: list[Due] = []
    if due.repeat < step.max_repeats:
        # On time the repeats keep to the plan's beat. After an absence they begin again from now: none is left out, and
        # nobody gets a heap of them at once.
        every = timedelta(seconds=step.repeat_every_s)
        on_beat = due.due_at + every
        next_at = on_beat if on_beat - scene.now >= every / 2 else scene.now + every
        follows.append(Due(CALL, due.step, due.repeat + 1, due.role, next_at))
    if due.repeat == 0:
        follows.append(Due(DEADLINE, due.step, 0, due.role, acknowledge_by))
    if calls:
        lines.append(_called_line(due, role, reached, scene))
    return Done("notified" if calls else "nobody_reachable", role, calls, tuple(lines), tuple(follows))


def _tell(due: Due, scene: Scene) -> Done:
    lines: list[Line] = []
    role = due.role
    if role == CALLED:
        wanted = set(scene.called)
        people = tuple(person for person in scene.rota.people if person.person_id in wanted and person.active)
        reached = Reached(people, None)
    else:
        role, reached, lines = _reach(due, (), scene)
    calls = _calls(reached, (), None)
    if calls:
        told_of = ", ".join(person.person_id for person in reached.people)
        lines.append(Line("informed", f"{due.purpose}: {told_of} told", _facts(due, role, reached, scene)))
    # Nobody was called, so there is nobody to tell that it is over.
    outcome = "notified" if calls or due.role == CALLED else "nobody_reachable"
    return Done(outcome, role, calls, tuple(lines), ())


def _reach(due: Due, channels: Sequence[str], scene: Scene) -> tuple[str, Reached, list[Line]]:
    """Whom to call for the role, or for the first of those that stand in for it. Also the rows that say so."""
    rota, depot, now = scene.rota, scene.incident.depot, scene.now
    asked = rota.reach(due.role, depot, now, channels, due.repeat)
    if asked.people:
        return due.role, asked, []
    facts: dict[str, Any] = {"step": due.step, "repeat": due.repeat, "purpose": due.purpose, "role": due.role}
    facts["passed_over"] = [list(item) for item in asked.passed_over]
    for role in scene.policy.role(due.role).next:
        # Whoever stands in is called by whatever they have.
        reached = rota.reach(role, depot, now, (), due.repeat)
        if reached.people:
            reason = f"nobody reachable for {due.role}: {role} instead"
            return role, reached, [Line("nobody_reachable", reason, {**facts, "instead": role})]
    reason = f"nobody reachable for {due.role}, nor for anybody who stands in for it"
    return due.role, asked, [Line("nobody_reachable", reason, {**facts, "instead": None})]


def _calls(reached: Reached, allowed: Sequence[str], acknowledge_by: datetime | None) -> tuple[Call, ...]:
    return tuple(
        Call(person, channel, acknowledge_by)
        for person in reached.people
        # A person who stands in may have none of the allowed kinds.
        for channel in person.reachable_by(allowed) or person.channels
    )


def _called_line(due: Due, role: str, reached: Reached, scene: Scene) -> Line:
    names = ", ".join(person.person_id for person in reached.people)
    again = f", call {due.repeat + 1}" if due.repeat else ""
    reason = f"level {scene.plan.level}, step {due.step + 1}{again}: {role} ({names})"
    kind = "called_again" if due.repeat else "called"
    return Line(kind, reason, _facts(due, role, reached, scene))


def _facts(due: Due, role: str, reached: Reached, scene: Scene) -> dict[str, Any]:
    return {
        "step": due.step,
        "repeat": due.repeat,
        "role": role,
        "people": [person.person_id for person in reached.people],
        "on_duty_by": reached.source.value if reached.source is not None else None,
        "passed_over": [list(item) for item in reached.passed_over],
        "due_at": due.due_at.isoformat(),
        "late_s": round(max(0.0, (scene.now - due.due_at).total_seconds()), 1),
        "policy": scene.policy.version,
    }
