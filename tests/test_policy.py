"""The response policy: the shipped one means what it says, and what is wrong in a file is named in one sentence."""

import copy
import itertools
import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml

from fleet_core.settings import SettingsError
from incidents import kinds
from incidents.response import policy, policy_file
from incidents.response.policy import CALLED
from incidents.response.policy_file import PolicyError

SHIPPED = (Path(policy_file.__file__).parent / "policies" / "default.yaml").read_text(encoding="utf-8")
THEN = datetime(2026, 3, 1, 3, tzinfo=UTC)


def test_the_shipped_policy_answers_by_level() -> None:
    found = policy_file.load()
    first = [[step.role for step in plan.steps] for plan in found.levels]
    assert first[0] == ["dispatcher", "supervisor"]
    assert {"supervisor", "on_site_team"} <= set(first[1])
    assert {"command_centre", "management"} <= set(first[2])
    assert {"insurance", "legal", "customer_service"} <= set(found.levels[2].inform["opened"])
    assert {role.role for role in found.roles} == {
        "command_centre", "on_site_team", "information_feedback", "customer_service", "insurance", "legal",
        "dispatcher", "supervisor", "management",
    }  # fmt: skip


def test_the_graver_the_sooner() -> None:
    plans = policy_file.load().levels
    for lighter, graver in itertools.pairwise(plans):
        assert graver.steps[0].acknowledge_within_s < lighter.steps[0].acknowledge_within_s
        assert len(graver.steps) > len(lighter.steps)


def test_the_scene_comes_before_the_reports() -> None:
    for plans in [policy_file.load().levels, *policy_file.load().families.values()]:
        for plan in plans:
            items = [item.item for item in plan.checklist]
            reports = [n for n, item in enumerate(items) if item.startswith(("report_", "inform_customer"))]
            scene = [
                n for n, item in enumerate(items) if item in ("persons", "emergency_call", "secure_scene", "photos")
            ]
            assert not (reports and scene) or max(scene) < min(reports), items
    assert policy_file.load().levels[2].checklist[0].item == "persons"


def test_the_clocks_of_the_trade() -> None:
    frozen = policy_file.load().for_family("collision")
    hours = {item.kind: item.within_s / 3600 for item in frozen.obligations}
    assert hours == {"authority_report": 24, "claim": 48, "customer_feedback": 24}
    authority = frozen.obligation("authority_report")
    assert authority is not None
    assert [authority.applies(level, injured=False) for level in (1, 2, 3)] == [False, False, True]
    assert authority.applies(1, injured=True)
    late = THEN + timedelta(hours=5)
    assert authority.due_at(THEN, late) == THEN + timedelta(hours=24)
    feedback = frozen.obligation("customer_feedback")
    assert feedback is not None
    assert feedback.due_at(THEN, late) == late + timedelta(hours=24)
    assert not policy_file.load().for_family("device").obligations


def test_levels_two_and_three_close_the_loop() -> None:
    one, two, three = policy_file.load().for_family("collision").levels
    assert (one.closed_loop, one.cause_required) == (None, False)
    for plan in (two, three):
        assert plan.cause_required
        assert plan.closed_loop is not None


def test_a_kind_goes_before_its_family_and_a_family_before_the_rest() -> None:
    found = policy_file.load()
    general, collision = found.levels, found.for_family("collision")
    assert collision.plan("crash", 2) == general[1]
    assert collision.plan("sos", 2).steps[0].acknowledge_within_s == 60
    assert collision.plan("sos", 2).checklist == general[1].checklist, "what is not given stays"
    security = found.for_family("security")
    assert security.plan("tow", 2).checklist != general[1].checklist
    assert security.plan("tow", 2).steps == general[1].steps
    assert "sos" not in security.kinds


def test_frozen_and_read_again_it_is_the_same() -> None:
    for family in kinds.FAMILIES:
        frozen = policy_file.load().for_family(family)
        assert policy.from_json(json.loads(policy.to_json(frozen))) == frozen


def test_the_version_changes_with_the_content_alone() -> None:
    version = policy_file.load().version
    assert version.startswith("1+")
    assert policy_file.parse(f"# a remark\n{SHIPPED}", "f").version == version
    other = SHIPPED.replace("acknowledge_within_s: 900", "acknowledge_within_s: 901")
    assert policy_file.parse(other, "f").version != version


def test_a_step_without_a_time_follows_the_one_before() -> None:
    held = yaml.safe_load(SHIPPED)
    held["levels"][1]["steps"] = [
        {"role": "dispatcher", "acknowledge_within_s": 100},
        {"role": "supervisor", "acknowledge_within_s": 50},
        {"role": "management", "acknowledge_within_s": 1, "channels": ["webhook"]},
    ]
    steps = policy_file.parse(yaml.safe_dump(held), "f").levels[0].steps
    assert [(step.after_s, step.max_repeats) for step in steps] == [(0, 0), (100, 0), (150, 0)]
    assert steps[2].channels == ("webhook",)
    assert ("management", ("webhook",)) in policy_file.parse(yaml.safe_dump(held), "f").wanted()


def test_everybody_who_may_be_called_is_wanted() -> None:
    roles = {role for role, _ in policy_file.load().wanted()}
    assert CALLED not in roles
    assert roles == {role.role for role in policy_file.load().roles}


def set_at(path: str, value: Any) -> Callable[[dict[str, Any]], None]:
    """An edit of the parsed file; the value DROP removes the key."""

    def edit(held: Any) -> None:
        *way, last = [int(part) if part.isdecimal() else part for part in path.split("/")]
        for part in way:
            held = held[part]
        if value is DROP:
            del held[last]
        else:
            held[last] = value

    return edit


DROP = object()
STEP = {"role": "dispatcher", "acknowledge_within_s": 60}


@pytest.mark.parametrize(
    ("edit", "sentence"),
    [
        (set_at("levels", DROP), "the policy lacks the key 'levels'"),
        (set_at("rolls", {}), "the policy has no key 'rolls'; did you mean 'roles'?"),
        (set_at("version", 1), "version is 1, expected 1 to 40 of"),
        (set_at("version", "a b"), 'version is "a b", expected 1 to 40 of'),
        (set_at("timezone", "Mars/Base"), 'timezone is "Mars/Base", expected a time zone such as'),
        (set_at("levels/4", {}), "levels has no key '4'"),
        (set_at("levels/1/steps", []), "levels.1.steps is [], expected at least one step"),
        (set_at("levels/1/steps", "x"), 'levels.1.steps is "x", expected a list'),
        (set_at("levels/1/steps/0/role", "dispacher"), 'levels.1.steps[0].role is "dispacher", expected a role of'),
        (set_at("levels/1/steps/0/role", "dispacher"), "did you mean dispatcher?"),
        (set_at("levels/1/steps/0/after_s", -1), "levels.1.steps[0].after_s is -1, expected a whole number of seconds"),
        (set_at("levels/1/steps/1/after_s", 1.5), "levels.1.steps[1].after_s is 1.5, expected a whole number"),
        (set_at("levels/1/steps/0/acknowledge_within_s", 0), "levels.1.steps[0].acknowledge_within_s is 0, expected"),
        (set_at("levels/1/steps/0/acknowledge_within_s", True), "acknowledge_within_s is true, expected"),
        (
            set_at("levels/1/steps/0/acknowledge_within_s", DROP),
            "levels.1.steps[0] lacks the key 'acknowledge_within_s'",
        ),
        (set_at("levels/1/steps/0/max_repeats", DROP), "expected repeat_every_s and max_repeats together"),
        (set_at("levels/1/steps/0/max_repeats", 10**6), "levels.1.steps[0].max_repeats is 1000000, expected"),
        (set_at("levels/1/steps", [{**STEP, "after_s": 9}, {**STEP, "after_s": 5}]), "steps[1].after_s is 5, expected"),
        (set_at("levels/1/steps", [{**STEP, "channels": ["sms"]}]), 'channels[0] is "sms", expected a kind of channel'),
        (set_at("levels/1/inform/lowerd", []), "levels.1.inform has no key 'lowerd'; did you mean 'lowered'?"),
        (set_at("levels/1/inform/lowered", ["nobody"]), 'levels.1.inform.lowered[0] is "nobody", expected a role'),
        (set_at("levels/1/inform/lowered", ["legal", "legal"]), "expected each only once"),
        (set_at("levels/2/checklist/0/text/zh-CN", DROP), "levels.2.checklist[0].text lacks the key 'zh-CN'"),
        (set_at("levels/2/checklist/0/text/en", ""), 'levels.2.checklist[0].text.en is "", expected a text'),
        (set_at("levels/2/checklist/0/required", "yes"), 'checklist[0].required is "yes", expected true or false'),
        (set_at("levels/2/checklist/1/item", "persons"), "expected each item only once"),
        (set_at("levels/2/closed_loop/role", "x"), 'levels.2.closed_loop.role is "x", expected a role'),
        (set_at("roles/dispatcher/next/0", "dispatcher"), "expected another role of this policy"),
        (set_at("roles/dispatcher/next/0", "x"), 'roles.dispatcher.next[0] is "x", expected another role'),
        (set_at("roles/called", {"name": {"en": "a", "zh-CN": "a"}}), "roles.called cannot be a role"),
        (set_at("roles/Boss", {}), 'a name in roles is "Boss", expected a-z'),
        (set_at("rota_check/days", 0), "rota_check.days is 0, expected a whole number of days from 1 to 90"),
        (
            set_at("obligations/claim/levels/0", 4),
            "obligations.claim.levels[0] is 4, expected a whole number of a level",
        ),
        (set_at("obligations/claim/counts_from", "now"), 'obligations.claim.counts_from is "now", expected a begin'),
        (set_at("obligations/claim/remind_before_s", [1, 2]), "expected seconds, the longest first"),
        (set_at("obligations/claim/families", ["x"]), 'obligations.claim.families[0] is "x", expected a family'),
        (set_at("obligations/countermeasure", {**STEP}), "obligations.countermeasure"),
        (set_at("families/colision", {"levels": {}}), "did you mean collision?"),
        (set_at("kinds/crsh", {"levels": {}}), "did you mean crash?"),
        (set_at("kinds/sos/levels/2/steps/0/role", "x"), 'kinds.sos.levels.2.steps[0].role is "x"'),
        (set_at("kinds/sos/levels", None), "kinds.sos.levels is null, expected a mapping"),
    ],
)
def test_what_is_wrong_is_named_in_one_sentence(edit: Callable[[dict[str, Any]], None], sentence: str) -> None:
    held = copy.deepcopy(yaml.safe_load(SHIPPED))
    edit(held)
    with pytest.raises(PolicyError) as refused:
        policy_file.parse(yaml.safe_dump(held, allow_unicode=True, sort_keys=False), "/etc/fleet/policy.yaml")
    assert str(refused.value).startswith("/etc/fleet/policy.yaml: ")
    assert sentence in str(refused.value)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "p.yaml: the policy is null, expected a mapping"),
        ("- a", 'p.yaml: the policy is ["a"], expected a mapping'),
        ("a: [", "p.yaml: not readable as YAML: "),
        ("version: '1'\nversion: '2'", "key 'version' appears twice"),
        ("? [a]\n: b", "is not a word"),
        ("a: !!python/object/apply:os.getcwd []", "not readable as YAML"),
    ],
)
def test_what_is_no_policy_at_all_is_named(text: str, sentence: str) -> None:
    with pytest.raises(PolicyError) as refused:
        policy_file.parse(text, "p.yaml")
    assert sentence in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_file_of_the_operator_is_read(tmp_path: Path) -> None:
    file = tmp_path / "ours.yaml"
    file.write_text(SHIPPED.replace('version: "1"', 'version: "night-2"'), encoding="utf-8")
    assert policy_file.load(str(file)).version.startswith("night-2+")
    with pytest.raises(SettingsError, match=r"none\.yaml: the policy cannot be read"):
        policy_file.load(str(tmp_path / "none.yaml"))
