"""The response policy as values: who is called and when, what is to be done, what closes an incident.

Read from a file by policy_file.py. Each incident keeps the part that applies to it, frozen as JSON when it is opened:
what runs never changes under the hands of those who work on it, and can be shown years later.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final

import msgspec

from incidents import kinds

# Language to text. Both languages are always there.
Text = Mapping[str, str]
LANGUAGES: Final = ("en", "zh-CN")

LEVELS: Final = (1, 2, 3)
CHANNELS: Final = ("apprise", "webhook")
# At what people who need not acknowledge are told.
OCCASIONS: Final = ("opened", "raised", "lowered", "reopened", "resolved", "dismissed")
# In place of a role: everybody whom a notice of the incident has reached.
CALLED: Final = "called"
COUNTS_FROM: Final = ("occurred", "detected")
# Obligations that come from a closed loop, not from the table of obligations.
COUNTERMEASURE: Final = "countermeasure"
EFFECTIVENESS_CHECK: Final = "effectiveness_check"


@dataclass(frozen=True, slots=True)
class Role:
    """A role of the response. `next`: who is called instead, in order, when nobody of it can be reached."""

    role: str
    name: Text
    next: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Step:
    """One call of a plan. Times in seconds.

    after_s               from the begin of the plan
    acknowledge_within_s  how long those who are called have
    repeat_every_s        between calls, until acknowledged, at most `max_repeats` after the first
    channels              kinds of channel it may use; empty: whatever a person has
    """

    role: str
    after_s: int
    acknowledge_within_s: int
    repeat_every_s: int
    max_repeats: int
    channels: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ChecklistItem:
    """Something to be done. `required`: it must be ticked before the incident can be resolved."""

    item: str
    text: Text
    required: bool


@dataclass(frozen=True, slots=True)
class ClosedLoop:
    """After resolving: a countermeasure planned by `role` within `plan_within_s`, its effect checked `check_after_s`
    after it is due."""

    role: str
    plan_within_s: int
    check_after_s: int


@dataclass(frozen=True, slots=True)
class LevelPlan:
    """What happens at one level."""

    level: int
    name: Text
    steps: tuple[Step, ...]
    inform: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    checklist: tuple[ChecklistItem, ...] = ()
    cause_required: bool = False
    closed_loop: ClosedLoop | None = None


Plans = tuple[LevelPlan, LevelPlan, LevelPlan]


@dataclass(frozen=True, slots=True)
class Obligation:
    """Something that must be done by a clock of its own.

    levels, when_injured  it applies at these levels, and at any when somebody is hurt
    families              only to incidents of these families; empty: to all
    counts_from           `occurred` or `detected`
    remind_before_s       reminders so long before it is due; when it is due and then daily come by themselves
    """

    kind: str
    text: Text
    role: str
    levels: tuple[int, ...]
    within_s: int
    when_injured: bool = False
    families: tuple[str, ...] = ()
    counts_from: str = "occurred"
    remind_before_s: tuple[int, ...] = ()

    def applies(self, level: int, injured: bool) -> bool:
        """Whether an incident of the obligation's families has it."""
        return level in self.levels or (self.when_injured and injured)

    def due_at(self, occurred_at: datetime, detected_at: datetime) -> datetime:
        """When it must be done."""
        begin = occurred_at if self.counts_from == "occurred" else detected_at
        return begin + timedelta(seconds=self.within_s)


@dataclass(frozen=True, slots=True)
class IncidentPolicy:
    """The part of a policy that applies to one incident. This is what is frozen into it.

    `kinds`: kinds of its family with plans of their own, because an incident's kind is that of its gravest evidence.
    """

    version: str
    timezone: str
    roles: tuple[Role, ...]
    levels: Plans
    obligations: tuple[Obligation, ...]
    kinds: Mapping[str, Plans] = field(default_factory=dict)

    def plan(self, kind: str, level: int) -> LevelPlan:
        """The plan for a kind at a level, 1 to 3."""
        return self.kinds.get(kind, self.levels)[level - 1]

    def role(self, name: str) -> Role:
        """The role of this name."""
        return next(role for role in self.roles if role.role == name)

    def obligation(self, kind: str) -> Obligation | None:
        """The obligation of this kind, if the policy knows it."""
        return next((item for item in self.obligations if item.kind == kind), None)


@dataclass(frozen=True, slots=True)
class RotaCheck:
    """Who is told every day of holes in the rota of the coming `days`."""

    role: str
    days: int


@dataclass(frozen=True, slots=True)
class Policy:
    """A whole policy. `families` and `kinds` hold their own three plans where they differ from `levels`.

    `version` is the declared one and a hash of the content: two policies that differ never share one.
    """

    version: str
    timezone: str
    roles: tuple[Role, ...]
    levels: Plans
    obligations: tuple[Obligation, ...]
    rota_check: RotaCheck
    families: Mapping[str, Plans] = field(default_factory=dict)
    kinds: Mapping[str, Plans] = field(default_factory=dict)

    def for_family(self, family: str) -> IncidentPolicy:
        """What applies to an incident of a family: the plans of its kind, else of the family, else the general ones."""
        return IncidentPolicy(
            version=self.version,
            timezone=self.timezone,
            roles=self.roles,
            levels=self.families.get(family, self.levels),
            obligations=tuple(item for item in self.obligations if not item.families or family in item.families),
            kinds={name: plans for name, plans in self.kinds.items() if kinds.of(name).family == family},
        )

    def role(self, name: str) -> Role:
        """The role of this name."""
        return next(role for role in self.roles if role.role == name)

    def wanted(self) -> list[tuple[str, tuple[str, ...]]]:
        """Every role that any plan may call or tell, with the channels allowed (empty: any), each once."""
        found: dict[tuple[str, tuple[str, ...]], None] = {}
        for plans in (self.levels, *self.families.values(), *self.kinds.values()):
            for plan in plans:
                found.update({(step.role, step.channels): None for step in plan.steps})
                found.update({(role, ()): None for roles in plan.inform.values() for role in roles if role != CALLED})
                if plan.closed_loop is not None:
                    found[plan.closed_loop.role, ()] = None
        found.update({(item.role, ()): None for item in self.obligations})
        found[self.rota_check.role, ()] = None
        return list(found)


def to_json(frozen: IncidentPolicy) -> str:
    """The frozen part as JSON text."""
    return msgspec.json.encode(frozen).decode()


def from_json(held: Any) -> IncidentPolicy:
    """The frozen part from JSON as the database gives it. Raises msgspec.ValidationError when it was tampered with."""
    return msgspec.convert(held, IncidentPolicy)
