"""Who is called for a role at an instant, and where nobody could be. Pure.

An override beats the plan, of several overrides the newest; without a shift anybody active with the role is called, in
order. A person without a usable channel cannot be reached, whatever the rota says, and the next one is asked.
"""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from enum import Enum


@dataclass(frozen=True, slots=True)
class Channel:
    """A way to reach a person. `kind`: apprise or webhook; `secret` signs a web hook's messages."""

    kind: str
    url: str
    secret: str = ""


@dataclass(frozen=True, slots=True)
class Person:
    """Somebody who can be called. `depot` None: works for every depot."""

    person_id: str
    name: str
    roles: tuple[str, ...]
    channels: tuple[Channel, ...] = ()
    depot: str | None = None
    language: str = "en"
    active: bool = True

    def reachable_by(self, allowed: Collection[str]) -> tuple[Channel, ...]:
        """The channels of the allowed kinds (empty: of any)."""
        return tuple(channel for channel in self.channels if not allowed or channel.kind in allowed)


@dataclass(frozen=True, slots=True)
class Shift:
    """On duty from `starts_at` to before `ends_at`. `depot` None: for every depot. Later entered = greater id."""

    shift_id: int
    role: str
    person_id: str
    starts_at: datetime
    ends_at: datetime
    depot: str | None = None
    override: bool = False

    def covers(self, at: datetime) -> bool:
        """Whether it holds at an instant."""
        return self.starts_at <= at < self.ends_at


class Source(Enum):
    """Why somebody is the one to be called."""

    OVERRIDE = "override"
    PLAN = "plan"
    ROLE = "role"


@dataclass(frozen=True, slots=True)
class Reached:
    """Who is to be called, and whom the rota names but who cannot be: (person, why)."""

    people: tuple[Person, ...]
    source: Source | None
    passed_over: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Rota:
    """People and shifts as they stand."""

    people: tuple[Person, ...] = ()
    shifts: tuple[Shift, ...] = ()

    def reach(
        self, role: str, depot: str | None, at: datetime, allowed: Collection[str] = (), turn: int = 0
    ) -> Reached:
        """Whom to call for a role at an instant.

        On duty by override: one; by plan: all who are. Otherwise one of those with the role: `turn` (the number of the
        repeat) walks through them, so that a call nobody answers reaches somebody else next.
        """
        by_id = {person.person_id: person for person in self.people}
        passed_over: list[tuple[str, str]] = []
        for source, shifts in self._on_duty(role, depot, at):
            found: dict[str, Person] = {}
            for shift in shifts:
                why = _why_not(by_id.get(shift.person_id), allowed)
                if why is None:
                    found[shift.person_id] = by_id[shift.person_id]
                elif (shift.person_id, why) not in passed_over:
                    passed_over.append((shift.person_id, why))
            if found:
                return Reached(tuple(found.values()), source, tuple(passed_over))
        having = []
        for person in self._having(role, depot):
            why = _why_not(person, allowed)
            if why is None:
                having.append(person)
            elif (person.person_id, why) not in passed_over:
                passed_over.append((person.person_id, why))
        if not having:
            return Reached((), None, tuple(passed_over))
        return Reached((having[turn % len(having)],), Source.ROLE, tuple(passed_over))

    def _on_duty(self, role: str, depot: str | None, at: datetime) -> Iterable[tuple[Source, Sequence[Shift]]]:
        """Groups of shifts to try, best first."""
        holding = [
            shift for shift in self.shifts if shift.role == role and shift.covers(at) and shift.depot in (None, depot)
        ]
        for shift in sorted((shift for shift in holding if shift.override), key=lambda item: -item.shift_id):
            yield Source.OVERRIDE, (shift,)
        planned = sorted((shift for shift in holding if not shift.override), key=lambda item: item.shift_id)
        # A depot's own plan before the one for all depots.
        yield Source.PLAN, [shift for shift in planned if shift.depot is not None]
        yield Source.PLAN, [shift for shift in planned if shift.depot is None]

    def _having(self, role: str, depot: str | None) -> list[Person]:
        """People with the role, those of the depot first, then by id."""
        having = [person for person in self.people if role in person.roles and person.depot in (None, depot)]
        return sorted(having, key=lambda person: (person.depot is None, person.person_id))


def _why_not(person: Person | None, allowed: Collection[str]) -> str | None:
    if person is None:
        return "unknown"
    if not person.active:
        return "inactive"
    if not person.channels:
        return "no_channel"
    if not person.reachable_by(allowed):
        return "no_such_channel"
    return None


class HoleKind(Enum):
    """NOBODY: nobody of the role can be reached at all. UNREACHABLE: who is on duty cannot be, somebody else would be
    called. UNPLANNED: the role has a rota, and it leaves this time open."""

    NOBODY = "nobody"
    UNREACHABLE = "unreachable"
    UNPLANNED = "unplanned"


@dataclass(frozen=True, slots=True)
class Hole:
    """A span in which a role of the policy is not covered as it should be. `instead`: who would be called."""

    kind: HoleKind
    role: str
    depot: str | None
    channels: tuple[str, ...]
    starts_at: datetime
    ends_at: datetime
    passed_over: tuple[tuple[str, str], ...] = ()
    instead: tuple[str, ...] = ()


def holes(
    rota: Rota,
    wanted: Collection[tuple[str, tuple[str, ...]]],
    depots: Collection[str | None],
    starts_at: datetime,
    ends_at: datetime,
) -> list[Hole]:
    """Spans between two instants in which a wanted role (with the channels allowed) is not covered, by role and time.

    `depots`: those with vehicles; None stands for vehicles of no depot.
    """
    found: list[Hole] = []
    for role, allowed in wanted:
        edges = {starts_at}
        for shift in rota.shifts:
            if shift.role == role:
                edges.update(edge for edge in (shift.starts_at, shift.ends_at) if starts_at < edge < ends_at)
        begins = sorted(edges)
        for depot in sorted(depots, key=lambda name: (name is not None, name or "")):
            spans: list[Hole] = []
            for begin, end in zip(begins, [*begins[1:], ends_at], strict=True):
                reached = rota.reach(role, depot, begin, allowed)
                kind = _lack(rota, role, depot, begin, reached)
                if kind is None:
                    continue
                instead = tuple(person.person_id for person in reached.people)
                hole = Hole(kind, role, depot, allowed, begin, end, reached.passed_over, instead)
                # The same as just before, and nothing in between: one span.
                newest = spans[-1] if spans and spans[-1].ends_at == begin else None
                if newest is not None and replace(hole, starts_at=newest.starts_at) == replace(newest, ends_at=end):
                    hole = replace(hole, starts_at=spans.pop().starts_at)
                spans.append(hole)
            found += spans
    return found


def _lack(rota: Rota, role: str, depot: str | None, at: datetime, reached: Reached) -> HoleKind | None:
    if not reached.people:
        return HoleKind.NOBODY
    if reached.source is not Source.ROLE:
        return None
    of_role = [shift for shift in rota.shifts if shift.role == role and shift.depot in (None, depot)]
    if any(shift.covers(at) for shift in of_role):
        return HoleKind.UNREACHABLE
    return HoleKind.UNPLANNED if any(not shift.override for shift in of_role) else None
