"""Words of notices: every kind and every text in both languages, with the same blanks."""

import string
from typing import Any

import pytest

from incidents import wording
from incidents.kinds import KINDS
from incidents.response import notices


def blanks(text: str) -> set[str]:
    return {name for _, name, _, _ in string.Formatter().parse(text) if name is not None}


@pytest.mark.parametrize("section", ["kinds", "notices"])
def test_both_languages_say_the_same(section: str) -> None:
    english, chinese = wording.catalogue("en")[section], wording.catalogue("zh-CN")[section]
    assert english.keys() == chinese.keys()
    for key, text in english.items():
        assert blanks(text) == blanks(chinese[key]), key


def test_every_kind_of_incident_has_a_name() -> None:
    assert wording.catalogue("en")["kinds"].keys() >= KINDS.keys()
    assert notices.kind_name("crash", "zh-CN") == "碰撞"
    assert notices.kind_name("unheard_of", "en") == "unheard_of"


@pytest.mark.parametrize(
    ("seconds", "told"),
    [(0.0, "1 min"), (-61.0, "1 min"), (3600.0, "60 min"), (7199.0, "2 h"), (90_000.0, "25 h")],
)
def test_spans_are_told_as_people_say_them(seconds: float, told: Any) -> None:
    assert notices._span(seconds, "en") == told
