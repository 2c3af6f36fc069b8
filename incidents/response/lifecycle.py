"""What may be done with an incident in which state. Pure.

open ──acknowledge──> acknowledged ──resolve / dismiss──> resolved / dismissed
 │                        │  ▲                                   │
 └──────resolve / dismiss─┘  └── (a higher level: open again)    │
 ▲                                                               │
 └──────────────────────────reopen───────────────────────────────┘
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Final

from incidents.response.policy import LevelPlan

ALIVE: Final = frozenset({"open", "acknowledged"})

# Action to the statuses in which it is possible.
POSSIBLE: Final[Mapping[str, frozenset[str]]] = {
    "acknowledge": frozenset({"open"}),
    "assign": ALIVE,
    "comment": ALIVE | {"resolved", "dismissed"},
    "change_level": ALIVE,
    "state_injury": ALIVE | {"resolved"},
    "tick": ALIVE,
    "untick": ALIVE,
    "dismiss": ALIVE,
    "resolve": ALIVE,
    "reopen": frozenset({"resolved", "dismissed"}),
}
# Actions that are worth nothing to those who come later unless they say why.
_NEED_REASON: Final[Mapping[str, str]] = {
    "comment": "a comment needs a text",
    "change_level": "a change of level needs its reason",
    "dismiss": "a false alarm needs its reason: it teaches the detectors",
    "resolve": "say what was done",
    "reopen": "say why it is taken up again",
}
_VERBS: Final[Mapping[str, str]] = {
    "acknowledge": "acknowledged",
    "assign": "assigned",
    "comment": "commented on",
    "change_level": "given another level",
    "state_injury": "said to have injured anybody",
    "tick": "worked on",
    "untick": "worked on",
    "dismiss": "dismissed",
    "resolve": "resolved",
    "reopen": "reopened",
}


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why something is not done. `code` for machines, `sentence` for people; `missing` names what a resolve lacks."""

    code: str
    sentence: str
    missing: tuple[str, ...] = ()


class RefusedError(Exception):
    """Something that is not done; `refusal` says why."""

    def __init__(self, refusal: Refusal) -> None:
        super().__init__(refusal.sentence)
        self.refusal = refusal


def refuse(action: str, status: str, reason: str | None = "-") -> Refusal | None:
    """Why an action is not possible, None when it is."""
    if status not in POSSIBLE[action]:
        return Refusal("not_now", f"An incident that is {status} cannot be {_VERBS[action]}.")
    if action in _NEED_REASON and not (reason or "").strip():
        needed = _NEED_REASON[action]
        return Refusal("reason_missing", f"{needed[0].upper()}{needed[1:]}.")
    return None


def refuse_level(level: int, now_at: int) -> Refusal | None:
    """Why an incident cannot be given a level."""
    if level not in (1, 2, 3):
        return Refusal("no_such_level", f"There is no level {level}: 1 attention, 2 urgent, 3 emergency.")
    if level == now_at:
        return Refusal("same_level", f"The incident is at level {level} already.")
    return None


def refuse_item(item: str, plan: LevelPlan) -> Refusal | None:
    """Why a checklist item cannot be ticked."""
    known = [entry.item for entry in plan.checklist]
    if item not in known:
        return Refusal("no_such_item", f"There is no item {item!r} in this checklist: it has {', '.join(known)}.")
    return None


def refuse_resolve(plan: LevelPlan, ticked: Collection[str], cause: str | None) -> Refusal | None:
    """What an incident still lacks to be resolved by its plan, None when nothing."""
    open_items = [entry.item for entry in plan.checklist if entry.required and entry.item not in ticked]
    lacks = []
    if open_items:
        lacks.append(f"{'items' if len(open_items) > 1 else 'the item'} {', '.join(open_items)} of the checklist")
    if plan.cause_required and not (cause or "").strip():
        lacks.append("the cause")
    if not lacks:
        return None
    missing = (*open_items, *(("cause",) if lacks[-1] == "the cause" else ()))
    return Refusal("not_complete", f"It cannot be resolved yet, missing: {' and '.join(lacks)}.", missing)
