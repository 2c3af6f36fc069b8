"""Reads a policy file. What is wrong is one sentence that names the file, the path inside it and the value."""

import difflib
import hashlib
import json
import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass, replace
from importlib.resources import files
from pathlib import Path
from typing import Any, Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import yaml

from fleet_core.settings import SettingsError
from incidents import kinds
from incidents.response.policy import (
    CALLED,
    CHANNELS,
    COUNTERMEASURE,
    COUNTS_FROM,
    EFFECTIVENESS_CHECK,
    LANGUAGES,
    LEVELS,
    OCCASIONS,
    ChecklistItem,
    ClosedLoop,
    LevelPlan,
    Obligation,
    Plans,
    Policy,
    Role,
    RotaCheck,
    Step,
    Text,
)

SHIPPED: Final = "incidents/response/policies/default.yaml"

# Longest span a policy may name: a year.
_MAX_S: Final = 366 * 86_400
_MAX_REPEATS: Final = 1000
_MAX_STEPS: Final = 50
_NAME: Final = re.compile(r"[a-z][a-z0-9_]{0,63}\Z")
_VERSION: Final = re.compile(r"[A-Za-z0-9._-]{1,40}\Z")


class PolicyError(SettingsError):
    """A policy that cannot be used; the text is one sentence that names file, path and value."""


def load(path: str = "") -> Policy:
    """The policy in the file `path`, the shipped one when it is empty. Raises PolicyError."""
    if not path:
        return parse(files("incidents.response").joinpath("policies/default.yaml").read_text(encoding="utf-8"), SHIPPED)
    try:
        text = Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise PolicyError(f"{path}: the policy cannot be read: {error}") from None
    return parse(text, path)


def parse(text: str, source: str) -> Policy:
    """The policy in `text`; `source` names it in complaints. Raises PolicyError."""
    try:
        # A subclass of SafeLoader: it builds plain values only.
        held = yaml.load(text, Loader=_Loader)
    except yaml.YAMLError as error:
        raise PolicyError(f"{source}: not readable as YAML: {' '.join(str(error).split())}") from None
    root = _Node(held, source, "").keys(
        {"version", "timezone", "roles", "rota_check", "levels", "obligations"}, {"families", "kinds"}
    )
    roles = tuple(_role(name, node) for name, node in root.at("roles").entries())
    known = {role.role for role in roles}
    for role in roles:
        for position, other in enumerate(role.next):
            if other not in known or other == role.role:
                raise root.at("roles").at(role.role).at("next").item(position).wrong("another role of this policy")
    levels = _levels(root.at("levels"), known)
    families, of_kinds = _exceptions(root, levels, known)
    declared = root.at("version").matching(_VERSION, "1 to 40 of A-Z, a-z, 0-9, '.', '_' and '-', in quotes")
    return Policy(
        version=f"{declared}+{_digest(held)}",
        timezone=_timezone(root.at("timezone")),
        roles=roles,
        levels=levels,
        rota_check=_rota_check(root.at("rota_check"), known),
        obligations=tuple(_obligation(name, node, known) for name, node in root.at("obligations").entries()),
        families=families,
        kinds=of_kinds,
    )


def _digest(held: Any) -> str:
    # Of the content and not of the text: a comment does not make another policy.
    return hashlib.sha256(json.dumps(held, sort_keys=True).encode()).hexdigest()[:12]


class _Loader(yaml.SafeLoader):
    """Refuses a key that appears twice: YAML would keep the last in silence."""


def _mapping(loader: _Loader, node: yaml.MappingNode) -> dict[Any, Any]:
    seen = set()
    for key_node, _ in node.value:
        key = loader.construct_object(key_node)
        if not isinstance(key, str | int):
            raise yaml.constructor.ConstructorError(None, None, f"key {key!r} is not a word", key_node.start_mark)
        if key in seen:
            raise yaml.constructor.ConstructorError(None, None, f"key {key!r} appears twice", key_node.start_mark)
        seen.add(key)
    return dict(loader.construct_pairs(node, deep=True))


_Loader.add_constructor(yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, _mapping)


@dataclass(frozen=True, slots=True)
class _Node:
    """A value of the file with its place, so that a complaint can name both."""

    value: Any
    source: str
    path: str

    def wrong(self, expected: str) -> PolicyError:
        shown = json.dumps(self.value, ensure_ascii=False, default=str)
        shown = shown if len(shown) <= 80 else f"{shown[:77]}..."
        return PolicyError(f"{self.source}: {self.path or 'the policy'} is {shown}, expected {expected}")

    def at(self, key: str) -> "_Node":
        path = f"{self.path}.{key}" if self.path else key
        held = self.value.get(key, self.value.get(int(key)) if key.isdecimal() else None)
        return _Node(held, self.source, path)

    def has(self, key: str) -> bool:
        return key in self.value

    def item(self, position: int) -> "_Node":
        return _Node(self.value[position], self.source, f"{self.path}[{position}]")

    def keys(self, needed: Collection[str], allowed: Collection[str] = ()) -> "_Node":
        """This mapping, once it has all of `needed` and nothing but these and `allowed`."""
        if not isinstance(self.value, dict):
            raise self.wrong(f"a mapping with {', '.join(sorted(needed) or sorted(allowed))}")
        for key in map(str, self.value):
            if key not in needed and key not in allowed:
                near = difflib.get_close_matches(key, [*needed, *allowed], n=1)
                hint = f"; did you mean {near[0]!r}?" if near else f", only {', '.join(sorted({*needed, *allowed}))}"
                raise PolicyError(f"{self.source}: {self.path or 'the policy'} has no key {key!r}{hint}")
        for key in needed:
            if key not in map(str, self.value):
                raise PolicyError(f"{self.source}: {self.path or 'the policy'} lacks the key {key!r}")
        return self

    def entries(self) -> Iterator[tuple[str, "_Node"]]:
        if not isinstance(self.value, dict):
            raise self.wrong("a mapping of names")
        for key in self.value:
            if not isinstance(key, str) or not _NAME.match(key):
                raise _Node(key, self.source, f"a name in {self.path}").wrong("a-z, 0-9 and _, a letter first")
            yield key, self.at(key)

    def items(self, at_most: int = _MAX_STEPS) -> Iterator["_Node"]:
        if not isinstance(self.value, list) or len(self.value) > at_most:
            raise self.wrong(f"a list of at most {at_most}")
        yield from (self.item(position) for position in range(len(self.value)))

    def matching(self, pattern: re.Pattern[str], expected: str) -> str:
        if not isinstance(self.value, str) or not pattern.match(self.value):
            raise self.wrong(expected)
        return self.value

    def choice(self, choices: Collection[str], what: str) -> str:
        if not isinstance(self.value, str) or self.value not in choices:
            near = difflib.get_close_matches(str(self.value), list(choices), n=1)
            raise self.wrong(f"{what}: {f'did you mean {near[0]}?' if near else ', '.join(sorted(choices))}")
        return self.value

    def choices(self, choices: Collection[str], what: str) -> tuple[str, ...]:
        found = tuple(node.choice(choices, what) for node in self.items())
        if len(set(found)) != len(found):
            raise self.wrong("each only once")
        return found

    def whole(self, low: int, high: int, unit: str = "") -> int:
        if isinstance(self.value, bool) or not isinstance(self.value, int) or not low <= self.value <= high:
            raise self.wrong(f"a whole number of {unit or 'times'} from {low} to {high}")
        return self.value

    def seconds(self, low: int = 1) -> int:
        return self.whole(low, _MAX_S, "seconds")

    def flag(self) -> bool:
        if not isinstance(self.value, bool):
            raise self.wrong("true or false")
        return self.value

    def text(self) -> Text:
        self.keys(LANGUAGES)
        for language in LANGUAGES:
            node = self.at(language)
            if not isinstance(node.value, str) or not node.value.strip() or len(node.value) > 500:
                raise node.wrong("a text of 1 to 500 characters")
        return dict(self.value)


def _timezone(node: _Node) -> str:
    expected = "a time zone such as UTC, Asia/Shanghai or Europe/Berlin"
    if not isinstance(node.value, str):
        raise node.wrong(expected)
    try:
        ZoneInfo(node.value)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise node.wrong(expected) from None
    return node.value


def _rota_check(node: _Node, roles: Collection[str]) -> RotaCheck:
    node.keys({"role", "days"})
    return RotaCheck(node.at("role").choice(roles, "a role of this policy"), node.at("days").whole(1, 90, "days"))


def _role(name: str, node: _Node) -> Role:
    node.keys({"name"}, {"next"})
    if name == CALLED:
        raise PolicyError(f"{node.source}: {node.path} cannot be a role: the word means everybody called so far")
    following = (
        tuple(item.matching(_NAME, "the name of a role") for item in node.at("next").items())
        if node.has("next")
        else ()
    )
    return Role(name, node.at("name").text(), following)


def _levels(node: _Node, roles: Collection[str]) -> Plans:
    node.keys({str(level) for level in LEVELS})
    blank = LevelPlan(0, {}, ())
    one, two, three = (
        _plan(node.at(str(level)), replace(blank, level=level), roles, {"name", "steps"}) for level in LEVELS
    )
    return one, two, three


def _exceptions(root: _Node, levels: Plans, roles: Collection[str]) -> tuple[dict[str, Plans], dict[str, Plans]]:
    families: dict[str, Plans] = {}
    of_kinds: dict[str, Plans] = {}
    if root.has("families"):
        for name, node in root.at("families").entries():
            _Node(name, root.source, f"a name in {root.at('families').path}").choice(kinds.FAMILIES, "a family")
            families[name] = _replaced(node, levels, roles)
    if root.has("kinds"):
        for name, node in root.at("kinds").entries():
            _Node(name, root.source, f"a name in {root.at('kinds').path}").choice(kinds.KINDS, "a kind of incident")
            of_kinds[name] = _replaced(node, families.get(kinds.of(name).family, levels), roles)
    return families, of_kinds


def _replaced(node: _Node, base: Plans, roles: Collection[str]) -> Plans:
    given = node.keys({"levels"}).at("levels").keys((), {str(level) for level in LEVELS})
    names = set(map(str, given.value))
    one, two, three = (
        _plan(given.at(str(plan.level)), plan, roles, ()) if str(plan.level) in names else plan for plan in base
    )
    return one, two, three


def _plan(node: _Node, base: LevelPlan, roles: Collection[str], needed: Collection[str]) -> LevelPlan:
    node.keys(needed, {"name", "steps", "inform", "checklist", "cause_required", "closed_loop"})
    changed: dict[str, Any] = {}
    if node.has("name"):
        changed["name"] = node.at("name").text()
    if node.has("steps"):
        changed["steps"] = _steps(node.at("steps"), roles)
    if node.has("inform"):
        inform = node.at("inform").keys((), OCCASIONS)
        changed["inform"] = {
            occasion: inform.at(occasion).choices({*roles, CALLED}, "a role of this policy or `called`")
            for occasion in OCCASIONS
            if inform.has(occasion)
        }
    if node.has("checklist"):
        items = tuple(map(_checklist_item, node.at("checklist").items()))
        if len({item.item for item in items}) != len(items):
            raise node.at("checklist").wrong("each item only once")
        changed["checklist"] = items
    if node.has("cause_required"):
        changed["cause_required"] = node.at("cause_required").flag()
    if node.has("closed_loop"):
        changed["closed_loop"] = _closed_loop(node.at("closed_loop"), roles)
    return replace(base, **changed)


def _steps(node: _Node, roles: Collection[str]) -> tuple[Step, ...]:
    steps: list[Step] = []
    for item in node.items():
        item.keys({"role", "acknowledge_within_s"}, {"after_s", "repeat_every_s", "max_repeats", "channels"})
        before = steps[-1] if steps else None
        # Without `after_s` a step begins when the one before it has had its time.
        after_s = before.after_s + before.acknowledge_within_s if before else 0
        if item.has("after_s"):
            after_s = item.at("after_s").seconds(low=before.after_s if before else 0)
        if item.has("repeat_every_s") != item.has("max_repeats"):
            raise item.wrong("repeat_every_s and max_repeats together, or neither")
        steps.append(
            Step(
                role=item.at("role").choice(roles, "a role of this policy"),
                after_s=after_s,
                acknowledge_within_s=item.at("acknowledge_within_s").seconds(),
                repeat_every_s=item.at("repeat_every_s").seconds() if item.has("repeat_every_s") else 0,
                max_repeats=item.at("max_repeats").whole(0, _MAX_REPEATS) if item.has("max_repeats") else 0,
                channels=item.at("channels").choices(CHANNELS, "a kind of channel") if item.has("channels") else (),
            )
        )
    if not steps:
        raise node.wrong("at least one step: an incident nobody is called for is nobody's")
    return tuple(steps)


def _checklist_item(node: _Node) -> ChecklistItem:
    node.keys({"item", "required", "text"})
    name = node.at("item").matching(_NAME, "a-z, 0-9 and _, a letter first")
    return ChecklistItem(name, node.at("text").text(), node.at("required").flag())


def _closed_loop(node: _Node, roles: Collection[str]) -> ClosedLoop | None:
    if node.value is None:
        return None
    node.keys({"role", "plan_within_s", "check_after_s"})
    return ClosedLoop(
        node.at("role").choice(roles, "a role of this policy"),
        node.at("plan_within_s").seconds(),
        node.at("check_after_s").seconds(),
    )


def _obligation(name: str, node: _Node, roles: Collection[str]) -> Obligation:
    node.keys({"text", "role", "levels", "within_s"}, {"families", "when_injured", "counts_from", "remind_before_s"})
    if name in (COUNTERMEASURE, EFFECTIVENESS_CHECK):
        raise PolicyError(f"{node.source}: {node.path} belongs to closed_loop and cannot be an obligation of the file")
    levels = tuple(item.whole(1, 3, "a level") for item in node.at("levels").items())
    if len(set(levels)) != len(levels):
        raise node.at("levels").wrong("each level only once")
    within_s = node.at("within_s").seconds()
    remind = tuple(item.seconds() for item in node.at("remind_before_s").items()) if node.has("remind_before_s") else ()
    if list(remind) != sorted(set(remind), reverse=True) or (remind and remind[0] >= within_s):
        raise node.at("remind_before_s").wrong(f"seconds, the longest first, each shorter than within_s={within_s}")
    return Obligation(
        kind=name,
        text=node.at("text").text(),
        role=node.at("role").choice(roles, "a role of this policy"),
        levels=levels,
        within_s=within_s,
        when_injured=node.at("when_injured").flag() if node.has("when_injured") else False,
        families=node.at("families").choices(kinds.FAMILIES, "a family") if node.has("families") else (),
        counts_from=node.at("counts_from").choice(COUNTS_FROM, "a begin") if node.has("counts_from") else "occurred",
        remind_before_s=remind,
    )
