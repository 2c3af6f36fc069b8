"""Words a person is told: subject, body and the facts a machine may read, in the person's language. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from zoneinfo import ZoneInfo

from incidents import wording
from incidents.response import outbox
from incidents.response.escalation import CALL, Call, Done, Due, Scene
from incidents.response.outbox import Notice
from incidents.response.policy import CALLED, IncidentPolicy, Policy
from incidents.response.rota import Hole, Person
from incidents.response.standing import Facts

# Items of the checklist that a call names: what to do before anything else. More would not be read on a telephone.
_FIRST_ITEMS: Final = 2
# A delay of what we know that is worth telling.
_LATE_S: Final = 120.0
# Holes named in one notice.
_HOLES_TOLD: Final = 20


def of_step(facts: Facts, number: int, due: Due, done: Done, scene: Scene) -> list[Notice]:
    """The notices of a step of round `number`, one a person and channel."""
    return [
        Notice(
            incident_id=facts.incident_id,
            round=number,
            purpose=due.purpose,
            step=due.step,
            repeat=due.repeat,
            level=scene.plan.level,
            person_id=call.person.person_id,
            channel_kind=call.channel.kind,
            target=call.channel.url,
            language=call.person.language,
            subject=_subject(facts, scene, call.person.language),
            body=_body(facts, due, done, call, scene),
            facts=_facts(facts, due, done, call, scene),
            idempotency_key=_key(facts, number, due, call),
            drill=facts.drill,
        )
        for call in done.calls
    ]


def _key(facts: Facts, number: int, due: Due, call: Call) -> str:
    # Who is told of one thing in several roles is told once; each call is a notice of its own.
    step = (due.step, due.repeat) if due.purpose == CALL else ()
    # With the time it was first known: in a database made anew the numbers begin again.
    incident = (facts.incident_id, facts.incident.detected_at.isoformat())
    to = (call.person.person_id, call.channel.kind, call.channel.url)
    return outbox.key_of("incident", *incident, number, due.purpose, *step, *to)


@dataclass(frozen=True, slots=True)
class Reminder:
    """A reminder of an obligation. `number` counts them."""

    kind: str
    due_at: datetime
    number: int


def of_obligation(
    facts: Facts, policy: IncidentPolicy, reminder: Reminder, people: Sequence[Person], now: datetime
) -> list[Notice]:
    """Reminders of something that has a clock of its own, one a person and channel."""
    known = policy.obligation(reminder.kind)
    left_s = (reminder.due_at - now).total_seconds()
    told = {
        "type": "obligation",
        "obligation": reminder.kind,
        "due_at": reminder.due_at.isoformat(),
        "incident": _incident(facts),
    }
    found = []
    for person in people:
        language = person.language
        what = known.text[language] if known is not None else _text(f"obligation.{reminder.kind}", language)
        when = "obligation.due_in" if left_s > 0 else "obligation.overdue"
        subject = _text(
            "obligation.subject",
            language,
            when=_text(when, language, span=_span(left_s, language)),
            what=what,
            vehicle=_vehicle(facts),
        )
        lines = [
            _text("obligation.line", language, what=what, by=_clock(reminder.due_at, policy.timezone)),
            *_what_and_where(facts, policy.timezone, language),
        ]
        found += [
            Notice(
                incident_id=facts.incident_id,
                round=None,
                purpose="obligation",
                step=None,
                repeat=None,
                level=facts.incident.level,
                person_id=person.person_id,
                channel_kind=channel.kind,
                target=channel.url,
                language=language,
                subject=_marked(subject, facts.drill, language),
                body="\n".join(lines),
                facts=told,
                idempotency_key=outbox.key_of(
                    *("obligation", facts.incident_id, facts.incident.detected_at.isoformat(), reminder.kind),
                    *(reminder.due_at.isoformat(), reminder.number, person.person_id, channel.kind, channel.url),
                ),
                drill=facts.drill,
            )
            for channel in person.channels
        ]
    return found


def of_holes(holes: Sequence[Hole], policy: Policy, days: float, people: Sequence[Person], day: str) -> list[Notice]:
    """The daily notice about holes in the rota, one a person and channel and day."""
    names = {role.role: role.name for role in policy.roles}
    told = [
        {
            "kind": hole.kind.value,
            "role": hole.role,
            "depot": hole.depot,
            "starts_at": hole.starts_at.isoformat(),
            "ends_at": hole.ends_at.isoformat(),
        }
        for hole in holes[:_HOLES_TOLD]
    ]
    found = []
    for person in people:
        language = person.language
        lines = [_hole_line(hole, names, policy.timezone, language) for hole in holes[:_HOLES_TOLD]]
        if len(holes) > _HOLES_TOLD:
            lines.append(_text("rota.more", language, count=len(holes) - _HOLES_TOLD))
        found += [
            Notice(
                incident_id=None,
                round=None,
                purpose="rota",
                step=None,
                repeat=None,
                level=1,
                person_id=person.person_id,
                channel_kind=channel.kind,
                target=channel.url,
                language=language,
                subject=_text("rota.subject", language, count=len(holes), days=f"{days:g}"),
                body="\n".join(lines),
                facts={"type": "rota", "day": day, "holes": told},
                idempotency_key=outbox.key_of("rota", day, person.person_id, channel.kind, channel.url),
            )
            for channel in person.channels
        ]
    return found


def _hole_line(hole: Hole, names: Mapping[str, Mapping[str, str]], timezone: str, language: str) -> str:
    passed = ", ".join(_text(f"passed.{why}", language, person=person_id) for person_id, why in hole.passed_over)
    return _text(
        f"rota.{hole.kind.value}",
        language,
        role=names[hole.role][language],
        depot=_text("rota.depot", language, depot=hole.depot) if hole.depot else "",
        why=_text("rota.why", language, people=passed) if passed else "",
        instead=", ".join(hole.instead),
        **{"from": _clock(hole.starts_at, timezone), "until": _clock(hole.ends_at, timezone)},
    )


def _subject(facts: Facts, scene: Scene, language: str) -> str:
    subject = _text(
        "subject",
        language,
        level=scene.policy.plan(facts.incident.kind, facts.incident.level).name[language],
        kind=kind_name(facts.incident.kind, language),
        vehicle=_vehicle(facts),
    )
    return _marked(subject, facts.drill, language)


def _body(facts: Facts, due: Due, done: Done, call: Call, scene: Scene) -> str:
    language, timezone = call.person.language, scene.policy.timezone
    lines = [_text("drill_line", language)] if facts.drill else []
    role = _text("called", language) if done.role == CALLED else scene.policy.role(done.role).name[language]
    if due.purpose == CALL:
        assert call.acknowledge_by is not None
        key = "call_again" if due.repeat else "call"
        by = _clock(call.acknowledge_by, timezone)
        lines.append(_text(key, language, role=role, by=by, number=due.repeat + 1))
    else:
        lines.append(_text(due.purpose, language, role=role))
    if done.role != due.role:
        lines.append(_text("stands_in", language, asked=scene.policy.role(due.role).name[language]))
    level = scene.policy.plan(facts.incident.kind, facts.incident.level)
    kind = kind_name(facts.incident.kind, language)
    lines.append(f"{_text('level', language, number=level.level, name=level.name[language])}: {kind}")
    lines += _what_and_where(facts, timezone, language)
    if due.purpose == CALL:
        items = [item.text[language] for item in level.checklist[:_FIRST_ITEMS]]
        lines += [_text("first", language, item=item) for item in items]
    return "\n".join(lines)


def _what_and_where(facts: Facts, timezone: str, language: str) -> list[str]:
    happened = _text("happened", language, at=_clock(facts.occurred_at, timezone))
    if facts.delay_s >= _LATE_S:
        happened += f" ({_text('known_late', language, delay=_span(facts.delay_s, language))})"
    lines = [_text("vehicle", language, vehicle=_vehicle(facts)), happened]
    if facts.lat_deg is None or facts.lon_deg is None:
        lines.append(_text("no_place", language))
    else:
        lines.append(_text("place", language, lat_deg=facts.lat_deg, lon_deg=facts.lon_deg))
    if facts.injured:
        lines.append(_text("injured", language))
    return [*lines, _text("incident", language, incident=facts.incident_id)]


def _facts(facts: Facts, due: Due, done: Done, call: Call, scene: Scene) -> dict[str, Any]:
    told: dict[str, Any] = {"type": due.purpose, "incident": _incident(facts), "role": done.role}
    told["policy"] = scene.policy.version
    if due.purpose == CALL:
        assert call.acknowledge_by is not None
        told |= {"step": due.step, "repeat": due.repeat, "acknowledge_by": call.acknowledge_by.isoformat()}
    return told


def _incident(facts: Facts) -> dict[str, Any]:
    return {
        "incident_id": facts.incident_id,
        "vehicle_id": facts.vehicle_id,
        "plate": facts.plate,
        "family": facts.family,
        "kind": facts.incident.kind,
        "level": facts.incident.level,
        "status": facts.incident.status,
        "score": facts.score,
        "occurred_at": facts.occurred_at.isoformat(),
        "detected_at": facts.incident.detected_at.isoformat(),
        "lat_deg": facts.lat_deg,
        "lon_deg": facts.lon_deg,
        "injured": facts.injured,
        "drill": facts.drill,
    }


def kind_name(kind: str, language: str) -> str:
    """A kind of incident in words; one that nobody worded as it is."""
    return wording.catalogue(language)["kinds"].get(kind, kind)


def _text(key: str, language: str, **values: Any) -> str:
    return wording.catalogue(language)["notices"][key].format(**values)


def _marked(subject: str, drill: bool, language: str) -> str:
    return f"[{_text('drill', language)}] {subject}" if drill else subject


def _vehicle(facts: Facts) -> str:
    return f"{facts.plate} ({facts.vehicle_id})" if facts.plate else facts.vehicle_id


def _clock(at: datetime, timezone: str) -> str:
    return f"{at.astimezone(ZoneInfo(timezone)):%Y-%m-%d %H:%M} {timezone}"


def _span(seconds: float, language: str) -> str:
    minutes = max(1, round(abs(seconds) / 60))
    if minutes < 120:
        return _text("minutes", language, n=minutes)
    return _text("hours", language, n=round(minutes / 60))
