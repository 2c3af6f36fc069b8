"""How found is compared with true, and how it adds up: a score is only as honest as this."""

from typing import Any

import pytest

from benchmarks.scoring import document, match, pictures, tally
from benchmarks.scoring.match import Found, Matched, Truth
from benchmarks.scoring.runs import Delay, Run
from incidents.detector import Finding
from incidents.source import Detection

S = 1_000_000


def truth(
    kind: str = "crash", at_s: float = 100.0, level: Any = 2, vehicle_id: str = "v1", **more: Any
) -> dict[str, Any]:
    return {
        "kind": "incident", "incident": kind, "vehicle_id": vehicle_id, "t_ms": int(at_s * 1000), "level": level,
    }  # fmt: skip


def detection(kind: str = "crash", at_s: float = 100.0, level: int = 2, vehicle_id: str = "v1") -> Detection:
    at = int(at_s * S)
    return Detection(1, vehicle_id, kind, 1, Finding(kind, level, 0.9, at, at, at))


def matched(records: list[dict[str, Any]], *detections: Detection) -> Matched:
    return match.match(match.truths_of(records), detections)


def test_a_detection_near_its_truth_is_found_with_its_level() -> None:
    [found] = matched([truth()], detection(at_s=103)).found
    assert found.level == 2 and found.level_right
    [wrong] = matched([truth()], detection(level=3)).found
    assert wrong.level == 3 and not wrong.level_right
    [either] = matched([truth(level=[2, 3])], detection(level=3)).found
    assert either.level_right


@pytest.mark.parametrize(
    "other",
    [detection(at_s=120), detection("rollover"), detection(vehicle_id="v2")],
    ids=["too late", "another kind", "another vehicle"],
)
def test_anything_else_is_missed_and_false(other: Detection) -> None:
    result = matched([truth()], other)
    assert [one.detections for one in result.found] == [()]
    assert result.false == (other,)


def test_two_codes_at_once_are_two_truths() -> None:
    both = [{**truth("trouble_code", level=1), "code": code} for code in ("P0300", "C0035")]
    at = 100 * S
    found = Detection(1, "v1", "codes", 1, Finding("trouble_code", 1, 0.9, at, at, at, subject="C0035"))
    assert [bool(one.detections) for one in matched(both, found).found] == [False, True]


def test_what_is_allowed_counts_neither_way() -> None:
    allowed = {"kind": "allowed", "incident": "crash", "vehicle_id": "v1", "from_ms": 90_000, "until_ms": 110_000}
    assert matched([allowed], detection()) == Matched((), ())
    # At most at the level that is allowed.
    assert len(matched([{**allowed, "level": 1}], detection()).false) == 1
    # A truth nearby is not hidden by it.
    [found] = matched([allowed, truth()], detection()).found
    assert found.detections


def test_two_detections_of_one_truth_are_one_found_and_one_split() -> None:
    result = matched([truth()], detection(at_s=99), detection(at_s=104))
    run = Run("frontal_crash", 1, 2, 10, 0, 1.0, 0.5, 20.0, result)
    [score] = tally.tally([run], {}).kinds
    assert (score.truths, score.found, score.split, score.false) == (1, 1, 1, 0)


def runs() -> list[Run]:
    first = matched([truth(), truth(at_s=500, level=1)], detection(), detection("speeding", 700, 1))
    quiet = matched([], detection("tow", 50, 2))
    return [
        Run("frontal_crash", 1, 2, 10, 0, 2.0, 1.0, 40.0, first, delays=[Delay("crash", 3.0), Delay("crash", 5.0)]),
        Run("ordinary_day", 1, 60, 99, 0, 500.0, 300.0, 9000.0, quiet),
    ]


def test_runs_add_up() -> None:
    score = tally.tally(runs(), {"ordinary_day": frozenset({"tow"}), "frontal_crash": frozenset()})
    kinds = {one.kind: one for one in score.kinds}
    assert (kinds["crash"].recall, kinds["crash"].precision, kinds["crash"].level_share) == (0.5, 1.0, 1.0)
    assert kinds["crash"].missed_in == {"frontal_crash": 1}
    assert (kinds["speeding"].recall, kinds["speeding"].precision) == (None, 0.0)
    assert [(one.level, one.truths, one.found) for one in score.impacts] == [(1, 1, 0), (2, 1, 1), (3, 0, 0)]
    assert score.ordinary.false == {1: 0, 2: 1, 3: 0}
    assert score.ordinary.per_1000_h[2] == 2.0
    assert score.ordinary.bound_per_1000_h[1] == pytest.approx(2.996 / 500 * 1000, abs=1e-3)
    assert score.must_not == {"ordinary_day": {"tow": 1}}
    assert score.delays_s["crash"] == {"count": 2, "p50": 4.0, "p99": 4.98, "worst": 5.0}
    assert score.as_json()["kinds"][0]["recall"] == 0.5


# Upper limits of a Poisson mean at 95 % one-sided, from tables (Garwood 1936).
@pytest.mark.parametrize(("count", "limit"), [(0, 2.996), (1, 4.744), (3, 7.754), (10, 16.962)])
def test_the_bound_is_that_of_the_tables(count: int, limit: float) -> None:
    assert tally.poisson_bound(count) == pytest.approx(limit, rel=0.01)


def test_the_page_is_written_between_its_marks(tmp_path: Any) -> None:
    docs = tmp_path / "docs"
    (docs / "images").mkdir(parents=True)
    page = docs / "detection.md"
    marks = "\n".join(document._DETECTORS)
    page.write_text(f"before\n{marks}\n{document._BEGIN}\nstale words\n{document._END}\nafter\n")
    score = tally.tally(runs(), {})
    document.write(score, docs)
    text = page.read_text()
    assert text.startswith("before\n") and text.endswith("\nafter\n") and "stale words" not in text
    assert "| crash | 2 | 1 | 0.500 |" in text
    assert (docs / "images" / "crash-pulses.svg").read_text().count("<polyline") == 6
    assert "crash" in pictures.recall_and_precision(score)
    assert "crash" in document.as_text(score)


def test_a_truth_without_a_level_accepts_any() -> None:
    found = Found(Truth("v1", "harsh_braking", 0, 0, frozenset()), (detection("harsh_braking", 0, 1),))
    assert found.level_right
