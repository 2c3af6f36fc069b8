"""Detectors of driving time: too long at the wheel, and at the wheel in the small hours."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fleet_core.readings import Readings
from incidents.detectors import _spells
from incidents.detectors.long_driving import DETECTOR as LONG
from incidents.detectors.night_driving import DETECTOR as NIGHT
from incidents.examine import sweep
from incidents.remembered import Memory
from incidents.source import Detection, Span
from incidents.window import S, Vehicle
from tests.made_drives import START_S, assert_same_in_any_order, judged, kinds, place, readings

ALL = (LONG, NIGHT)
STEP_S = 5
# START_S is midnight by the sun at 121.5 degrees east (UTC+8).
MORNING_S = 8 * 3_600.0
Parts = Sequence[tuple[float, float]]


def day(parts: Parts, *, begin_s: float = MORNING_S, step_s: int = STEP_S, **more: Any) -> Readings:
    """Minutes and speed (m/s) one after the other."""
    speed = np.concatenate([np.full(round(minutes * 60 / step_s), mps) for minutes, mps in parts])
    t_s = begin_s + np.arange(len(speed)) * step_s
    # Kept near the origin: only how far apart places are matters, and where the sun is.
    east = np.cumsum(speed) * step_s / 10.0
    values: dict[str, Any] = {"speed_kmh": speed * 3.6, "ignition": True, "accuracy_m": 4.0, **place(east, 0.0 * east)}
    return readings(t_s, **{**values, **more})


def levels(found: Sequence[Detection]) -> list[int]:
    return [one.finding.level for one in found]


def codes(found: Sequence[Detection]) -> set[str]:
    return {reason.code for one in found for reason in one.finding.reasons}


def minutes(us: int) -> float:
    return (us / S - START_S - MORNING_S) / 60.0


# -- too long ----------------------------------------------------------------------------------------------------------


def test_four_hours_without_a_rest_are_too_long() -> None:
    (found,) = judged(ALL, day([(260, 15)]))
    assert (found.finding.kind, found.finding.level) == ("long_driving", 1)
    assert [round(minutes(at)) for at in (found.finding.start_us, found.finding.at_us, found.finding.end_us)] == [
        0, 240, 260,
    ]  # fmt: skip
    assert found.finding.reasons[0].code == "long_driving"
    assert round(minutes(found.finding.values["passed_210_min_us"])) == 210
    assert round(minutes(found.finding.values["passed_230_min_us"])) == 230


def test_it_is_told_before_the_time_is_over_and_urgent_an_hour_after() -> None:
    (warned,) = judged([LONG], day([(220, 15)]))
    assert warned.finding.reasons[0].code == "long_driving_soon"
    assert warned.finding.reasons[0].values == {"limit_min": 240, "left_min": 30}
    assert warned.finding.level == 1
    assert judged([LONG], day([(205, 15)])) == []
    assert levels(judged([LONG], day([(310, 15)]))) == [2]


@pytest.mark.parametrize(
    ("parts", "too_long"),
    [
        ([(200, 15), (21, 0), (200, 15)], False),
        ([(200, 15), (15, 0), (60, 15)], True),  # too short a rest: it counts as driving
        ([(60, 15), (10, 0)] * 4, True),
        ([(60, 15), (25, 0)] * 4, False),
        ([(200, 15), (10, 0), (0.2, 1.0), (11, 0), (200, 15)], False),  # a metre in a queue is no driving
    ],
)
def test_only_a_rest_of_twenty_minutes_ends_a_spell(parts: Parts, too_long: bool) -> None:
    assert kinds(judged([LONG], day(parts))) == (["long_driving"] if too_long else [])


def test_noise_of_a_standing_receiver_does_not_break_a_rest() -> None:
    whole = day([(200, 15), (22, 0), (200, 15)], step_s=1)
    whole.columns["speed_kmh"][200 * 60 + 600] = 9.0
    assert judged([LONG], whole) == []


def test_a_hole_in_the_feed_is_a_rest_only_where_the_vehicle_stood() -> None:
    driven = day([(260, 15)], step_s=1)
    standing = day([(120, 15), (25, 0), (115, 15)], step_s=1)
    t_min = (driven.device_time_us / S - START_S - MORNING_S) / 60.0
    hole = np.flatnonzero((t_min < 120.2) | (t_min >= 144.8))
    assert kinds(judged([LONG], driven.take(hole))) == ["long_driving"]
    assert judged([LONG], standing.take(hole)) == []
    # Nobody can have driven the way in so little of the time that no rest was left.
    crept = day([(120, 15), (2, 15), (28, 0), (110, 15)], step_s=1)
    t_min = (crept.device_time_us / S - START_S - MORNING_S) / 60.0
    assert judged([LONG], crept.take(np.flatnonzero((t_min < 120.0) | (t_min >= 149.9)))) == []
    short = np.flatnonzero((t_min[: len(driven)] % 30.0) < 29.0)
    assert kinds(judged([LONG], driven.take(short[short < len(driven)]))) == ["long_driving"]


def test_heavy_vehicles_have_two_hours_by_night_and_four_by_day() -> None:
    heavy, car = Vehicle("v1", "heavy"), Vehicle("v1", "car")
    night = day([(130, 15)], begin_s=-3_600.0)
    (found,) = judged([LONG], night, vehicles=[heavy])
    assert found.finding.reasons[0].code == "long_driving_by_night"
    assert found.finding.values["max_by_night_min"] == 130
    assert judged([LONG], night, vehicles=[car]) == []
    assert judged([LONG], day([(130, 15)]), vehicles=[heavy]) == []
    # From half past eight in the evening: an hour and a half by day, then two by night.
    evening = day([(205, 15)], begin_s=-3.5 * 3_600.0)
    assert judged([LONG], evening, vehicles=[car]) == []
    assert codes(judged([LONG], evening, vehicles=[heavy])) == {"long_driving_soon"}


def test_where_nobody_knows_the_place_night_is_not_assumed() -> None:
    night = day([(130, 15)], begin_s=-3_600.0, lat_deg=np.nan, lon_deg=np.nan)
    assert judged(ALL, night, vehicles=[Vehicle("v1", "heavy")]) == []


def test_a_vehicle_that_is_carried_with_its_engine_off_does_not_drive() -> None:
    assert judged([LONG], day([(260, 15)], ignition=False)) == []


def test_sweeps_by_the_clock_come_to_what_one_look_sees() -> None:
    whole = day([(100, 15), (12, 0), (260, 15), (30, 0), (100, 15)], step_s=20)
    once = judged([LONG], whole)
    memory = Memory()
    memory.add(whole, [])
    begin, end = memory.spans()[0].from_us, memory.spans()[0].until_us
    seen: list[str] = []
    for now in range(begin, end + 300 * S, 300 * S):
        memory.known_until_us = now
        verdict = sweep(memory, LONG, [Span("v1", now - 600 * S, now)])
        assert not verdict.faults
        memory.keep(verdict.changes)
        seen += [change.detection.finding.reasons[0].code for change in verdict.changes]
    assert [one.finding for one in memory.standing] == [one.finding for one in once]
    assert seen[-1] == "long_driving"


# -- the small hours ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("begin_h", "drive_min", "vehicle_class", "found"),
    [
        (2.5, 60, "car", True),
        (1.0, 120, "car", True),
        (2.5, 25, "car", False),  # a drive home
        (2.5, 15, "heavy", True),  # which is not to run at all
        (4.8, 60, "car", False),
        (22.0, 180, "car", False),
        (12.0, 120, "heavy", False),
    ],
)
def test_driving_in_the_small_hours(begin_h: float, drive_min: float, vehicle_class: str, found: bool) -> None:
    night = day([(drive_min, 14)], begin_s=begin_h * 3_600.0)
    detections = judged([NIGHT], night, vehicles=[Vehicle("v1", vehicle_class)])
    assert kinds(detections) == (["night_driving"] if found else [])
    assert levels(detections) == [1] * found


def test_the_small_hours_are_those_of_the_sun() -> None:
    assert _spells.local_hour(np.array([START_S * S]), 121.5)[0] == 0.0
    # In Kashgar, 76 degrees east, the sun is two and three quarters behind Beijing's clock: UTC+5.
    assert _spells.local_hour(np.array([START_S * S]), 76.0)[0] == 21.0
    assert _spells.local_hour(np.array([START_S * S]), -96.0)[0] == 10.0


def test_the_span_is_that_within_the_small_hours() -> None:
    (found,) = judged([NIGHT], day([(300, 14)], begin_s=1.0 * 3_600.0))
    assert (found.finding.start_us / S - START_S) / 3_600.0 == pytest.approx(2.0, abs=0.01)
    assert (found.finding.end_us / S - START_S) / 3_600.0 == pytest.approx(5.0, abs=0.01)
    assert found.finding.values == {"max_driven_min": 180, "max_at_wheel_before_min": 60}


# -- together ----------------------------------------------------------------------------------------------------------


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 10_000))
def test_the_outcome_is_the_same_in_any_order(seed: int) -> None:
    rng = np.random.default_rng(seed)
    parts = [
        part
        for _ in range(6)
        for part in ((float(rng.integers(20, 140)), float(rng.uniform(8, 20))), (float(rng.integers(2, 40)), 0.0))
    ]
    whole = day(parts, begin_s=float(rng.integers(-4, 10)) * 3_600.0, step_s=20)
    vehicle = [Vehicle("v1", str(rng.choice(["car", "heavy"])))]
    assert_same_in_any_order(ALL, seed, whole, vehicles=vehicle)
