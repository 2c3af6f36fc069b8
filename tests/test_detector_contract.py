"""What is asked of every detector alike: those shipped today and the next one, found by scan.

What each finds is its own tests' matter; here it must only keep its word: sane attributes, gates that do not depend on
the batch, examinations that fail on nothing, change nothing and say the same twice, and reasons worded for people.
"""

import ast
import re
import string
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fleet_core import plugins
from fleet_core.columns import BY_NAME, Kind
from fleet_core.readings import Readings
from incidents import kinds, wording
from incidents.detector import Candidates, Detector, Finding, Lane, detectors
from incidents.rows import Rows
from incidents.window import Window
from tests import random_windows

INCIDENTS = Path(__file__).resolve().parents[1] / "incidents"
DETECTORS = detectors()
EACH = pytest.mark.parametrize("detector", DETECTORS.values(), ids=DETECTORS)
SEEDS = st.integers(0, 2**32 - 1)


# -- attributes ----------------------------------------------------------------------------------------------------


def test_each_detector_is_named_as_its_file() -> None:
    files = [module.__name__.rpartition(".")[2] for module in plugins.modules_in("incidents.detectors")]
    assert files == sorted(DETECTORS)


@EACH
def test_attributes_are_sane(detector: Detector) -> None:
    assert isinstance(detector.version, int) and detector.version >= 1
    assert detector.purpose.strip() == detector.purpose != ""
    assert detector.kinds and set(detector.kinds) <= kinds.KINDS.keys()
    assert len(set(detector.kinds)) == len(detector.kinds)
    for seconds in (detector.before_s, detector.after_s, detector.episode_gap_s):
        assert 0.0 <= seconds < float("inf")
    assert 0.0 < detector.stale_after_s < float("inf")
    assert detector.columns <= BY_NAME.keys()
    assert not any(BY_NAME[name].kind is Kind.TEXT for name in detector.columns), "windows hold no texts"
    assert detector.streams <= set(random_windows.STREAMS)


@EACH
def test_a_detector_looks_by_the_clock_or_in_the_stream(detector: Detector) -> None:
    if detector.lane is Lane.SWEEP:
        assert detector.every_s > 0.0
        assert isinstance(detector.candidates, Candidates)
    else:
        assert detector.lane is Lane.STREAM
        assert (detector.every_s, detector.candidates) == (0.0, None)
        assert detector.columns or detector.streams, "nothing would ever wake it"


@EACH
def test_who_lives_on_hours_reads_no_readings(detector: Detector) -> None:
    # Windows of weeks: reading after reading of them would be read for nothing.
    if detector.candidates is Candidates.HOURLY:
        assert not detector.columns


def test_a_kind_has_one_detector_in_each_lane() -> None:
    """Two in one lane would tell of one episode twice. A slow look may add what the stream cannot see."""
    of: dict[tuple[str, Lane], list[str]] = defaultdict(list)
    for name, detector in DETECTORS.items():
        for kind in detector.kinds:
            of[kind, detector.lane].append(name)
    assert {kind: names for kind, names in of.items() if len(names) > 1} == {}


# -- gates ---------------------------------------------------------------------------------------------------------


def wanted(detector: Detector, readings: Readings) -> Any:
    vehicles = {vehicle_id: random_windows.vehicle(np.random.default_rng(7)) for vehicle_id in readings.vehicles}
    classes = {vehicle_id: vehicle.vehicle_class for vehicle_id, vehicle in vehicles.items()}
    mask = detector.wants(Rows(readings, classes, vehicles, random_windows.fences(np.random.default_rng(1))))
    assert isinstance(mask, np.ndarray) and mask.dtype == np.bool_ and mask.shape == (len(readings),)
    return mask


@EACH
def test_an_empty_batch_wants_nothing(detector: Detector) -> None:
    assert len(wanted(detector, Readings.empty())) == 0
    assert len(wanted(detector, random_windows.batch(0, 0))) == 0


@EACH
@settings(max_examples=8)
@given(seed=SEEDS, vehicles=st.integers(1, 5))
def test_a_gate_gives_a_mask_that_other_vehicles_do_not_change(detector: Detector, seed: int, vehicles: int) -> None:
    readings = random_windows.batch(seed, vehicles)
    mask = wanted(detector, readings)
    assert (wanted(detector, readings) == mask).all()
    if detector.lane is Lane.SWEEP:
        assert not mask.any()
    for number in range(vehicles):
        rows = np.flatnonzero(readings.vehicle_index == number)
        alone = wanted(detector, readings.take(rows))
        assert (alone == mask[rows]).all()


@EACH
@settings(max_examples=8)
@given(seed=SEEDS)
def test_any_event_is_wanted_or_not(detector: Detector, seed: int) -> None:
    rng = np.random.default_rng(seed)
    for _ in range(5):
        event = random_windows.event(rng, random_windows.START_US)
        answer = detector.wants_event(event)
        assert isinstance(answer, bool)
        assert not (answer and event.stream not in detector.streams), "the judge would not ask, nor look again"


# -- examinations --------------------------------------------------------------------------------------------------


def held(window: Window, detector: Detector) -> Window:
    """What a source would show the detector."""
    names = detector.columns & window.columns.keys()
    events = tuple(event for event in window.events if event.stream in detector.streams)
    rows = np.arange(len(window) if detector.columns else 0)
    part = window.take(rows)
    object.__setattr__(part, "columns", {name: part.columns[name] for name in names})
    object.__setattr__(part, "events", events)
    return random_windows.read_only(part)


def checked(detector: Detector, finding: Finding) -> None:
    assert finding.kind in detector.kinds
    assert finding.level in (1, 2, 3)
    assert 0.0 <= finding.score <= 1.0
    for instant in (finding.start_us, finding.at_us, finding.end_us):
        assert type(instant) is int
    assert finding.start_us <= finding.at_us <= finding.end_us
    assert finding.revisit_us is None or type(finding.revisit_us) is int
    assert finding.reasons, "nobody could say why"
    told = msgspec.json.decode(msgspec.json.encode([finding.values, [reason.values for reason in finding.reasons]]))
    assert told is not None
    for reason in finding.reasons:
        for language in wording.LANGUAGES:
            text = wording.catalogue(language)["reasons"].get(reason.code)
            assert text is not None, f"{reason.code} is not worded in {language}"
            assert text.format(**reason.values)


@EACH
def test_an_empty_window_has_nothing_in_it(detector: Detector) -> None:
    # With hours and without; silence itself is what some look for, so only that nothing fails.
    for seed in range(6):
        for finding in detector.examine(held(random_windows.window(seed, 0), detector)):
            checked(detector, finding)


@EACH
@settings(max_examples=20)
@given(seed=SEEDS)
def test_an_examination_fails_on_nothing_changes_nothing_and_says_the_same_twice(detector: Detector, seed: int) -> None:
    window = held(random_windows.window(seed), detector)
    before = [(name, values.copy()) for name, values in window.columns.items()]
    with np.errstate(all="ignore"):
        found = detector.examine(window)
        again = detector.examine(window)
    assert repr(found) == repr(again)
    assert [finding.start_us for finding in found] == sorted(finding.start_us for finding in found) or [
        finding.at_us for finding in found
    ] == sorted(finding.at_us for finding in found), "findings come in order of time"
    for finding in found:
        checked(detector, finding)
    for name, values in before:
        np.testing.assert_array_equal(window.columns[name], values)


# -- words ---------------------------------------------------------------------------------------------------------


def literal_codes(tree: ast.AST) -> Iterator[tuple[str, ast.Call]]:
    """Codes of `Reason("code", ...)`, the alternatives of a conditional expression among them."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and getattr(node.func, "id", getattr(node.func, "attr", "")) == "Reason":
            first = node.args[0] if node.args else next((kw.value for kw in node.keywords if kw.arg == "code"), None)
            for value in (first.body, first.orelse) if isinstance(first, ast.IfExp) else (first,):
                if isinstance(value, ast.Constant) and isinstance(value.value, str):
                    yield value.value, node


def placeholders(text: str) -> set[str]:
    return {name for _, name, _, _ in string.Formatter().parse(text) if name is not None}


TREES = {
    path.relative_to(INCIDENTS).as_posix(): ast.parse(path.read_text(encoding="utf-8"))
    for path in sorted(INCIDENTS.rglob("*.py"))
}
CODES = [(path, code, call) for path, tree in TREES.items() for code, call in literal_codes(tree)]


def test_the_scan_sees_codes() -> None:
    seen = [code for code, _ in literal_codes(ast.parse('Reason("a"); x.Reason("b" if y else "c", {}); Reason(code)'))]
    assert seen == ["a", "b", "c"]
    assert len(CODES) > 50


@pytest.mark.parametrize("language", wording.LANGUAGES)
def test_every_reason_is_worded(language: str) -> None:
    worded = wording.catalogue(language)["reasons"]
    missing = sorted({f"{path}: {code}" for path, code, _ in CODES if code not in worded})
    assert not missing, "\n".join(missing)


@pytest.mark.parametrize("language", wording.LANGUAGES)
def test_words_ask_only_for_values_that_are_given(language: str) -> None:
    worded = wording.catalogue(language)["reasons"]
    wrong = []
    for path, code, call in CODES:
        given_values = call.args[1] if len(call.args) > 1 else ast.Dict(keys=[], values=[])
        if isinstance(given_values, ast.Dict) and all(isinstance(key, ast.Constant) for key in given_values.keys):
            names = {key.value for key in given_values.keys if isinstance(key, ast.Constant)}
            if not placeholders(worded.get(code, "")) <= names:
                wrong.append(f"{path}: {code} gives {sorted(map(str, names))}, {language} says {worded[code]!r}")
    assert not wrong, "\n".join(wrong)


def test_both_languages_say_the_same() -> None:
    english, chinese = (wording.catalogue(language) for language in wording.LANGUAGES)
    assert english.keys() == chinese.keys()
    for section in english:
        assert english[section].keys() == chinese[section].keys(), section
        assert list(english[section]) == sorted(english[section]) == list(chinese[section]), (
            f"{section}: keep keys sorted"
        )
        for code, text in english[section].items():
            assert text.strip() and chinese[section][code].strip(), f"{section}.{code} says nothing"
            assert placeholders(text) == placeholders(chinese[section][code]), f"{section}.{code}"


def test_every_kind_is_worded() -> None:
    assert wording.catalogue("en")["kinds"].keys() == kinds.KINDS.keys()


def test_no_reason_is_worded_for_nothing() -> None:
    """A code is used where it stands as a text in the source, or where an f-string can make it."""
    texts: set[str] = set()
    patterns: list[str] = []
    for tree in TREES.values():
        for node in ast.walk(tree):
            if isinstance(node, ast.JoinedStr):
                parts = [re.escape(p.value) if isinstance(p, ast.Constant) else r"\w+" for p in node.values]
                if re.fullmatch(r"[a-z]\w+_", str(getattr(node.values[0], "value", ""))):
                    patterns.append("".join(parts))
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                texts.add(node.value)
    unused = [
        code
        for code in wording.catalogue("en")["reasons"]
        if code not in texts and not any(re.fullmatch(pattern, code) for pattern in patterns)
    ]
    assert not unused, f"worded, but no rule says {unused}"
