"""Detectors of position: speeding, geofences, and whether the places that a vehicle tells can be true."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st

from fleet_core.readings import Readings
from fleet_core.recordings import files
from incidents.detectors import _distances
from incidents.detectors.feed_late import DETECTOR as FEED_LATE
from incidents.detectors.geofence import DETECTOR as GEOFENCE
from incidents.detectors.geofence_dwell import DETECTOR as GEOFENCE_DWELL
from incidents.detectors.position_integrity import DETECTOR as POSITION_INTEGRITY
from incidents.detectors.speeding import DETECTOR as SPEEDING
from incidents.fences import Fence, FenceSet
from incidents.source import Detection
from incidents.window import S
from tests import made_drives
from tests.made_drives import (
    START_S,
    assert_same_in_any_order,
    judged,
    judged_piecemeal,
    kinds,
    place,
    readings,
    spans_s,
    told,
)

ALL = (SPEEDING, GEOFENCE, GEOFENCE_DWELL, POSITION_INTEGRITY, FEED_LATE)
DRIVES = Path(__file__).resolve().parents[2] / "shared" / "data" / "drives" / "drives.csv.gz"


def square(fence_id: str, west_m: float, south_m: float, east_m: float, north_m: float, **more: Any) -> Fence:
    low, high = place(west_m, south_m), place(east_m, north_m)
    area = shapely.box(*(float(corner[name]) for corner in (low, high) for name in ("lon_deg", "lat_deg")))
    return Fence(fence_id, fence_id.title(), area, **more)


def wander(rng: np.random.Generator, seconds: int, size_m: float = 2.2) -> np.ndarray[Any, Any]:
    """Error of a receiver: a first-order Gauss-Markov process with a time constant of 80 s, east and north."""
    keep = np.exp(-1 / 80.0)
    error = np.zeros((2, seconds))
    error[:, 0] = rng.normal(0.0, size_m, 2)
    for second in range(1, seconds):
        error[:, second] = keep * error[:, second - 1] + rng.normal(0.0, size_m * np.sqrt(1 - keep**2), 2)
    return error


def city_drive(seed: int, seconds: int = 1500) -> dict[str, Any]:
    """A drive with turns at right angles and stops, its odometer, and fixes with an ordinary error."""
    rng = np.random.default_rng(seed)
    speed = np.zeros(seconds)
    heading = np.zeros(seconds)
    at, direction = 0, 0.0
    while at < seconds:
        leg = int(rng.integers(25, 70))
        ramp = np.minimum(np.arange(leg), np.arange(leg)[::-1]) * 1.2
        speed[at : at + leg] = np.minimum(ramp, rng.uniform(9.0, 15.0))[: seconds - at]
        heading[at : at + leg] = direction
        at += leg
        stop = int(rng.integers(0, 25))
        heading[at : at + stop] = direction
        at += stop
        direction = (direction + rng.choice([90.0, 270.0, 0.0])) % 360.0
    east = np.cumsum(speed * np.sin(np.radians(heading)))
    north = np.cumsum(speed * np.cos(np.radians(heading)))
    error = wander(rng, seconds)
    return {
        "east_m": east + error[0] + rng.normal(0.0, 0.3, seconds) * (speed > 0.3),
        "north_m": north + error[1] + rng.normal(0.0, 0.3, seconds) * (speed > 0.3),
        "speed_kmh": np.round(speed * 3.6, 2),
        "heading_deg": heading,
        "odometer_km": np.round(1000.0 + np.cumsum(speed) / 1000.0, 3),
        "accel_x_mps2": np.append(0.0, np.diff(speed)) + rng.normal(0.0, 0.1, seconds),
    }


def as_readings(drive: dict[str, Any], *, leave_out: tuple[str, ...] = (), **more: Any) -> Readings:
    values = {name: value for name, value in drive.items() if name not in ("east_m", "north_m", *leave_out)}
    standard = {"accuracy_m": 4.0, "satellites": 12.0, "hdop": 0.9, "ignition": True} | more
    return readings(np.arange(len(drive["east_m"])), **values, **place(drive["east_m"], drive["north_m"]), **standard)


# -- speeding ----------------------------------------------------------------------------------------------------------


def at_speed(speed_kmh: Any, **more: Any) -> Readings:
    speed = np.asarray(speed_kmh, dtype=np.float64)
    standard = {"accuracy_m": 4.0} | more
    return readings(np.arange(len(speed)), speed_kmh=speed, **place(np.cumsum(speed / 3.6), 0.0), **standard)


def test_speeding_tells_the_excess_its_band_and_where_the_limit_is_from() -> None:
    speed = [55.0] * 30 + [78.0] * 20 + [55.0] * 30
    (found,) = judged([SPEEDING], at_speed(speed, speed_limit_kmh=60.0))
    assert (found.finding.kind, found.finding.level) == ("speeding", 1)
    assert found.finding.values == {
        "limit_kmh": 60.0, "limit_source": "message", "peak_kmh": 78.0, "over_pct": 30.0, "band": "20-50",
        "duration_s": 19.0,
    }  # fmt: skip
    assert spans_s([found]) == [(30.0, 49.0)]


@pytest.mark.parametrize(
    ("excess_pct", "band", "level"), [(8, "<=10", 1), (15, "10-20", 1), (49, "20-50", 1), (55, ">=50", 2)]
)
def test_bands_of_the_law_grade_speeding(excess_pct: int, band: str, level: int) -> None:
    speed = [90.0] * 20 + [100.0 + excess_pct] * 20 + [90.0] * 20
    (found,) = judged([SPEEDING], at_speed(speed, speed_limit_kmh=100.0))
    assert (found.finding.values["band"], found.finding.level) == (band, level)


@pytest.mark.parametrize(
    ("speed", "more"),
    [
        ([59.0] * 20 + [62.9] * 30 + [59.0] * 20, {}),  # within the tolerance of 3 km/h
        ([55.0] * 20 + [80.0] * 3 + [55.0] * 20, {}),  # over at once
        ([55.0] * 20 + [80.0] * 30 + [55.0] * 20, {"accuracy_m": 60.0}),
        ([55.0] * 20 + [80.0] * 30 + [55.0] * 20, {"fix_valid": False}),
        ([80.0] * 20 + [80.0 - 6 * step for step in range(5)] + [50.0] * 20,
         {"speed_limit_kmh": [80.0] * 20 + [50.0] * 25}),  # slowing down behind the sign
    ],
)  # fmt: skip
def test_no_speeding(speed: list[float], more: dict[str, Any]) -> None:
    assert judged([SPEEDING], at_speed(speed, **{"speed_limit_kmh": 60.0, **more})) == []


def test_one_wrong_speed_is_no_peak_and_does_not_make_it_urgent() -> None:
    speed = [55.0] * 20 + [70.0] * 10 + [130.0] + [70.0] * 10 + [55.0] * 20
    (found,) = judged([SPEEDING], at_speed(speed, speed_limit_kmh=60.0))
    assert (found.finding.level, found.finding.values["peak_kmh"]) == (1, 70.0)


def test_the_lowest_limit_holds_and_a_fence_has_one_only_inside() -> None:
    fences = FenceSet([square("yard", 300.0, -50.0, 900.0, 50.0, speed_limit_kmh=20.0)])
    speed = [40.0] * 100
    (found,) = judged([SPEEDING], at_speed(speed, speed_limit_kmh=50.0), fences=fences)
    assert (found.finding.values["limit_source"], found.finding.values["limit_kmh"]) == ("fence", 20.0)
    begin, end = spans_s([found])[0]
    assert 31.0 <= begin <= 34.0  # five seconds after it came in
    assert 78.0 <= end <= 82.0
    other = FenceSet([square("yard", 300.0, -50.0, 900.0, 50.0, speed_limit_kmh=20.0, vehicle_ids=frozenset({"v2"}))])
    assert judged([SPEEDING], at_speed(speed), fences=other) == []


def test_speed_of_the_wheels_stands_in_where_there_is_no_fix() -> None:
    speed = np.array([50.0] * 20 + [75.0] * 20 + [50.0] * 20)
    whole = readings(np.arange(60), obd_speed_kmh=speed, speed_limit_kmh=60.0)
    assert kinds(judged([SPEEDING], whole)) == ["speeding"]


@settings(max_examples=20)
@given(st.integers(0, 10_000))
def test_speeding_is_the_same_in_any_order(seed: int) -> None:
    rng = np.random.default_rng(seed)
    speed = np.full(400, 55.0)
    for at in rng.integers(0, 380, 4).tolist():
        speed[at : at + int(rng.integers(2, 60))] = rng.uniform(60.0, 110.0)
    assert_same_in_any_order(ALL, seed, at_speed(speed, speed_limit_kmh=60.0))


def test_speeding_for_an_hour_is_one_episode_however_it_comes() -> None:
    speed = 90.0 + 5.0 * np.sin(np.arange(3_600) / 100.0)
    whole = at_speed(speed, speed_limit_kmh=80.0)
    once = judged([SPEEDING], whole)
    assert spans_s(once) == [(5.0, 3_599.0)]
    assert told(judged_piecemeal(np.random.default_rng(3), [SPEEDING], whole, shuffled=False)) == told(once)


# -- geofences ---------------------------------------------------------------------------------------------------------

YARD = square("yard", 500.0, -100.0, 900.0, 100.0, rules=frozenset({"entry", "exit", "dwell"}), dwell_s=240.0, level=2)


def visit(park_m: float, seed: int = 1) -> Readings:
    """Drive east, park for 400 s, drive back."""
    rng = np.random.default_rng(seed)
    there, stay = np.linspace(park_m - 600.0, park_m, 61)[1:], np.full(400, park_m)
    east = np.concatenate([there, stay, there[::-1]])
    speed = np.concatenate([np.full(60, 36.0), np.zeros(400), np.full(60, 36.0)])
    error = wander(rng, len(east))
    return readings(np.arange(len(east)), speed_kmh=speed, accuracy_m=4.0, **place(east + error[0], error[1]))


def test_a_visit_is_an_entry_a_stay_and_an_exit() -> None:
    found = judged([GEOFENCE, GEOFENCE_DWELL], visit(700.0), fences=FenceSet([YARD]))
    assert [(one.finding.kind, one.finding.level) for one in found] == [
        ("geofence_entry", 2), ("geofence_dwell", 2), ("geofence_exit", 2),
    ]  # fmt: skip
    assert [one.finding.at_us / S - START_S for one in found] == pytest.approx([40, 280, 480], abs=1.5)
    assert {one.finding.values["fence_id"] for one in found} == {"yard"}


def test_what_is_no_rule_of_a_fence_or_not_its_vehicle_is_no_incident() -> None:
    exits = square("yard", 500.0, -100.0, 900.0, 100.0, rules=frozenset({"exit"}))
    assert kinds(judged([GEOFENCE, GEOFENCE_DWELL], visit(700.0), fences=FenceSet([exits]))) == ["geofence_exit"]
    others = square("yard", 500.0, -100.0, 900.0, 100.0, vehicle_ids=frozenset({"v2"}))
    assert judged([GEOFENCE], visit(700.0), fences=FenceSet([others])) == []


def test_leaving_before_the_time_is_no_stay() -> None:
    long = square("yard", 500.0, -100.0, 900.0, 100.0, rules=frozenset({"dwell"}), dwell_s=600.0)
    assert judged([GEOFENCE_DWELL], visit(700.0), fences=FenceSet([long])) == []


@pytest.mark.parametrize("seed", range(6))
def test_a_parked_vehicle_that_drifts_over_the_border_crosses_nothing(seed: int) -> None:
    rng = np.random.default_rng(seed)
    error = wander(rng, 3_000, size_m=8.0)
    assert (error[1] > 5.0).any()  # beyond the border, now and then
    parked = readings(np.arange(3_000), speed_kmh=0.0, accuracy_m=6.0, **place(700.0 + error[0], 95.0 + error[1]))
    assert judged([GEOFENCE], parked, fences=FenceSet([YARD])) == []


def test_a_road_along_the_border_does_not_flap() -> None:
    found = []
    for seed in range(10):
        error = wander(np.random.default_rng(seed), 300)
        east = np.linspace(520.0, 880.0, 300)
        along = readings(np.arange(300), speed_kmh=4.3, accuracy_m=4.0, **place(east + error[0], 100.0 + error[1]))
        found += judged([GEOFENCE], along, fences=FenceSet([YARD]))
    assert len(found) <= 1


def test_a_bad_fix_or_a_single_stray_one_crosses_nothing() -> None:
    east = np.arange(0.0, 400.0, 4.0)
    stray = east.copy()
    stray[50] = 700.0
    for accuracy_m, path in ((80.0, np.where(np.arange(100) % 10 == 0, 700.0, east)), (4.0, stray)):
        whole = readings(np.arange(100), speed_kmh=14.4, accuracy_m=accuracy_m, **place(path, 0.0))
        assert judged([GEOFENCE], whole, fences=FenceSet([YARD])) == []


def test_a_fence_between_two_fixes_was_gone_through() -> None:
    narrow = square("toll", 540.0, -100.0, 700.0, 100.0)
    t_s = np.arange(0.0, 400.0, 40.0)
    whole = readings(t_s, speed_kmh=72.0, heading_deg=90.0, accuracy_m=4.0, **place(t_s * 20.0 - 300.0, 0.0))
    found = judged([GEOFENCE], whole, fences=FenceSet([narrow]))
    assert kinds(found) == ["geofence_entry", "geofence_exit"]
    assert all(one.finding.reasons[0].code == "geofence_crossed_between_fixes" for one in found)
    assert [one.finding.at_us / S - START_S for one in found] == pytest.approx([42.0, 50.0], abs=1.0)
    # The same two places, but the road goes around.
    around = readings(t_s, speed_kmh=120.0, heading_deg=30.0, accuracy_m=4.0, **place(t_s * 20.0 - 300.0, 0.0))
    assert judged([GEOFENCE], around, fences=FenceSet([narrow])) == []


@pytest.mark.parametrize("ends_kmh", [(50.0, 0.0), (0.0, 45.0), (0.0, 0.0)])
def test_a_vehicle_that_sets_off_or_pulls_up_went_through_a_fence_between_two_fixes(
    ends_kmh: tuple[float, float],
) -> None:
    narrow = square("toll", 70.0, -100.0, 210.0, 100.0)
    t_s = np.array([0.0, 30.0, 60.0, 90.0])
    whole = readings(t_s, speed_kmh=[50.0, *ends_kmh, 50.0], heading_deg=90.0, accuracy_m=3.0,
                     **place(np.array([-300.0, 0.0, 280.0, 600.0]), 0.0))  # fmt: skip
    assert kinds(judged([GEOFENCE], whole, fences=FenceSet([narrow]))) == ["geofence_entry", "geofence_exit"]


@pytest.mark.parametrize("told", [{"speed_kmh": 0.0}, {"ignition": False}])
@pytest.mark.parametrize("seed", range(6))
def test_reports_of_a_parked_unit_that_scatter_over_the_border_cross_nothing(seed: int, told: dict[str, Any]) -> None:
    rng = np.random.default_rng(seed)
    east, north = rng.normal(0.0, 17.0, (2, 90))
    t_s = np.arange(90) * 120.0
    parked = readings(t_s, accuracy_m=6.0, **told, **place(700.0 + east, 93.0 + north))
    assert judged([GEOFENCE], parked, fences=FenceSet([YARD])) == []


def test_a_vehicle_parked_beside_the_border_after_a_drive_does_not_leave_by_drift() -> None:
    t_s = np.concatenate((np.arange(0.0, 61.0), 60.0 + np.arange(1, 60) * 120.0))
    speed = np.where(t_s < 60.0, 36.0, 0.0)
    for seed in range(6):
        drift = np.random.default_rng(seed).normal(0.0, 14.0, len(t_s)) * (t_s > 60.0)
        north = np.where(t_s < 60.0, 94.0 - (60.0 - t_s) * 2.5, 94.0) + drift
        whole = readings(t_s, speed_kmh=speed, accuracy_m=5.0, **place(600.0 + np.minimum(t_s, 60.0), north))
        assert judged([GEOFENCE], whole, fences=FenceSet([YARD])) == []


def test_a_unit_found_elsewhere_twice_was_moved_while_it_slept() -> None:
    t_s = np.arange(12) * 120.0
    for elsewhere, expected in ((slice(6, None), ["geofence_exit"]), (slice(6, 7), [])):
        east = np.full(12, 870.0)
        east[elsewhere] = 990.0
        whole = readings(t_s, speed_kmh=0.0, accuracy_m=5.0, **place(east, 0.0))
        assert kinds(judged([GEOFENCE], whole, fences=FenceSet([YARD]))) == expected
        assert_same_in_any_order(ALL, 5, whole, fences=FenceSet([YARD]))


def test_two_fences_at_once_are_two_incidents() -> None:
    fences = FenceSet([YARD, square("town", 500.0, -2_000.0, 3_000.0, 2_000.0)])
    found = judged([GEOFENCE], visit(700.0), fences=fences)
    assert sorted((one.finding.subject, one.finding.kind) for one in found) == [
        ("town", "geofence_entry"), ("town", "geofence_exit"), ("yard", "geofence_entry"), ("yard", "geofence_exit"),
    ]  # fmt: skip


@settings(max_examples=20)
@given(st.integers(0, 10_000))
def test_crossings_are_the_same_in_any_order(seed: int) -> None:
    rng = np.random.default_rng(seed)
    assert_same_in_any_order(ALL, seed, visit(float(rng.uniform(515.0, 880.0)), seed), fences=FenceSet([YARD]))


# -- places that cannot be true ----------------------------------------------------------------------------------------


def moved(drive: dict[str, Any], rows: slice, east_m: Any, north_m: Any) -> dict[str, Any]:
    """The drive with other places for some of its seconds."""
    changed = {name: np.array(value) for name, value in drive.items()}
    changed["east_m"][rows] += east_m
    changed["north_m"][rows] += north_m
    return changed


def codes(found: list[Detection]) -> set[str]:
    return {reason.code for one in found for reason in one.finding.reasons}


@pytest.mark.parametrize("seed", range(4))
def test_an_honest_drive_raises_nothing(seed: int) -> None:
    assert judged(ALL, as_readings(city_drive(seed))) == []


@pytest.mark.parametrize("seed", range(4))
def test_a_leap_that_stays_is_spoofing(seed: int) -> None:
    found = judged([POSITION_INTEGRITY], as_readings(moved(city_drive(seed), slice(700, 1000), 2_500.0, 1_000.0)))
    assert set(kinds(found)) == {"spoofing"}
    assert max(one.finding.level for one in found) == 2
    assert codes(found) >= {"spoofing_leap", "spoofing_witness_odometer"}


def test_a_leap_without_any_witness_is_an_implausible_position() -> None:
    drive = moved(city_drive(1), slice(700, 1000), 2_500.0, 1_000.0)
    found = judged([POSITION_INTEGRITY], as_readings(drive, leave_out=("odometer_km", "accel_x_mps2")))
    assert set(kinds(found)) == {"implausible_position"}
    assert {one.finding.level for one in found} == {1}


@pytest.mark.parametrize("speed_mps", [2.0, 5.0])
@pytest.mark.parametrize("seed", range(3))
def test_a_creeping_offset_is_spoofing_although_speed_and_heading_are_genuine(seed: int, speed_mps: float) -> None:
    offset = speed_mps * np.arange(400) * 0.7
    found = judged([POSITION_INTEGRITY], as_readings(moved(city_drive(seed), slice(700, 1100), offset, offset)))
    assert set(kinds(found)) == {"spoofing"}


@pytest.mark.parametrize("seed", range(3))
def test_a_creeping_offset_whose_speed_and_heading_fit_it_is_spoofing(seed: int) -> None:
    drive = moved(city_drive(seed), slice(700, None), 1.5 * np.arange(800), 1.5 * np.arange(800))
    speed, heading = drive["speed_kmh"] / 3.6, np.radians(drive["heading_deg"])
    east, north = speed * np.sin(heading), speed * np.cos(heading)
    east[700:] += 1.5
    north[700:] += 1.5
    drive["speed_kmh"] = np.hypot(east, north) * 3.6
    drive["heading_deg"] = np.degrees(np.arctan2(east, north)) % 360.0
    found = judged([POSITION_INTEGRITY], as_readings(drive))
    assert set(kinds(found)) == {"spoofing"}
    assert codes(found) & {"spoofing_drift", "spoofing_other_way"}


@pytest.mark.parametrize("seed", range(3))
def test_another_drive_replayed_from_the_same_place_is_spoofing(seed: int) -> None:
    drive, other = city_drive(seed), city_drive(seed + 50)
    for name in ("speed_kmh", "heading_deg"):
        drive[name][700:1100] = other[name][:400]
    for name in ("east_m", "north_m"):
        drive[name][700:1100] = other[name][:400] - other[name][0] + drive[name][700]
    assert set(kinds(judged([POSITION_INTEGRITY], as_readings(drive)))) == {"spoofing"}


@pytest.mark.parametrize("witness", ["odometer_km", "obd_speed_kmh"])
def test_a_place_that_stands_still_while_the_wheels_turn_is_spoofing(witness: str) -> None:
    drive = city_drive(2)
    drive["obd_speed_kmh"] = np.round(drive["speed_kmh"])
    for name in ("east_m", "north_m"):
        drive[name][700:900] = drive[name][700]
    left_out = tuple({"odometer_km", "obd_speed_kmh"} - {witness})
    found = judged([POSITION_INTEGRITY], as_readings(drive, leave_out=left_out))
    assert set(kinds(found)) == {"spoofing"}
    assert "spoofing_frozen" in codes(found)


def test_a_feed_that_repeats_itself_is_frozen_and_a_parked_vehicle_is_not() -> None:
    drive = {name: np.array(value) for name, value in city_drive(2).items()}
    row = int(np.flatnonzero(drive["speed_kmh"][700:] > 20.0)[0]) + 700
    for values in drive.values():
        values[row : row + 200] = values[row]
    found = judged([POSITION_INTEGRITY], as_readings(drive))
    assert kinds(found)[0] == "feed_frozen"
    assert {one.finding.level for one in found if one.finding.kind == "feed_frozen"} == {1}
    still = readings(np.arange(1_000), speed_kmh=0.0, accuracy_m=4.0, odometer_km=1_000.0, ignition=True, **place(0, 0))
    assert judged(ALL, still) == []


def test_a_place_told_once_is_implausible_and_many_are_a_jumping_feed() -> None:
    once = judged(ALL, as_readings(moved(city_drive(3), slice(700, 702), 3_000.0, 0.0)))
    assert kinds(once) == ["implausible_position"]
    drive = city_drive(3)
    for at in range(700, 900, 25):
        drive = moved(drive, slice(at, at + 3), 2_000.0, 500.0)
    often = judged(ALL, as_readings(drive))
    assert kinds(often) == ["feed_jumping"]
    assert often[0].finding.level == 1


@pytest.mark.parametrize("seed", [0, 1, 23, 29])
def test_a_bad_aerial_that_throws_one_fix_in_five_is_a_jumping_feed_and_no_spoofing(seed: int) -> None:
    rng = np.random.default_rng(seed)
    drive = {name: np.array(value) for name, value in city_drive(seed).items()}
    drive["obd_speed_kmh"] = np.round(drive["speed_kmh"])
    bad = np.flatnonzero((rng.random(1500) < 0.2) & (np.arange(1500) >= 600) & (np.arange(1500) < 1300))
    away_m, course = rng.uniform(200.0, 900.0, len(bad)), rng.uniform(0.0, 2 * np.pi, len(bad))
    drive["east_m"][bad] += away_m * np.sin(course)
    drive["north_m"][bad] += away_m * np.cos(course)
    found = judged([POSITION_INTEGRITY], as_readings(drive))
    assert set(kinds(found)) == {"feed_jumping"}


def test_one_fix_beside_the_way_is_a_reflection() -> None:
    assert judged([POSITION_INTEGRITY], as_readings(moved(city_drive(3), slice(700, 701), 180.0, 0.0))) == []


@pytest.mark.parametrize("every_s", [3, 5, 7, 10])
@pytest.mark.parametrize("seed", range(8))
def test_an_honest_drive_told_seldom_raises_nothing(seed: int, every_s: int) -> None:
    """Turns at every corner and stops, a fix in several seconds: no step of it comes early or late."""
    whole = as_readings(city_drive(seed, 3_000))
    assert judged([POSITION_INTEGRITY], whole.take(np.arange(0, 3_000, every_s))) == []


@pytest.mark.parametrize("phase_s", [0.0, 1.2, 2.4, 3.6])
def test_places_of_fixes_told_seldom_are_those_of_the_instant_whenever_they_fall(phase_s: float) -> None:
    t_s = np.arange(phase_s, 300.0, 5.0)
    fixes = np.round(t_s * S).astype(np.int64)
    grid = np.arange(10, 290, 10) * S
    assert _distances._around(grid, fixes, 14.0 * t_s, 10 * S) == pytest.approx(14.0 * grid / S, abs=0.01)
    seen = (t_s < 100.0) | (t_s > 120.0)
    holes = _distances._around(grid, fixes[seen], 14.0 * t_s[seen], 10 * S)
    assert np.isnan(holes[(grid > 100 * S) & (grid < 120 * S)]).all()
    assert np.isfinite(holes[(grid < 90 * S) | (grid > 130 * S)]).all()


def test_a_tunnel_a_hole_and_bunched_stamps_are_plausible() -> None:
    drive = city_drive(4)
    lost = (np.arange(1500) >= 700) & (np.arange(1500) < 790)
    without = {name: np.where(lost, np.nan, drive[name]) for name in ("east_m", "north_m", "speed_kmh", "heading_deg")}
    tunnel = as_readings({**drive, **without}, satellites=np.where(lost, 0.0, 12.0))
    assert judged(ALL, tunnel) == []
    whole = as_readings(drive)
    assert judged(ALL, whole.take(np.flatnonzero(~lost))) == []
    # Ten seconds of fixes stamped within one: 300 to 900 km/h between neighbours.
    t_s = np.arange(1500.0)
    for at in range(100, 1400, 40):
        t_s[at : at + 10] = t_s[at + 9] - np.linspace(0.9, 0.0, 10)
    values = {name: value for name, value in drive.items() if name not in ("east_m", "north_m")}
    bunched = readings(t_s, **values, accuracy_m=4.0, ignition=True, **place(drive["east_m"], drive["north_m"]))
    assert judged(ALL, bunched) == []


def test_a_receiver_that_repeats_its_last_fix_in_a_tunnel_is_no_spoofing() -> None:
    drive = city_drive(5)
    for name in ("east_m", "north_m"):
        drive[name][700:740] = drive[name][700]
    assert judged([POSITION_INTEGRITY], as_readings(drive)) == []


def test_a_vehicle_carried_with_its_engine_off_is_not_contradicted_by_its_odometer() -> None:
    t = np.arange(1_500)
    speed = np.clip((t - 600) * 0.08, 0.0, 8.0)
    ferry = readings(
        t, speed_kmh=speed * 3.6, heading_deg=90.0, ignition=t < 300, odometer_km=1_000.0, accuracy_m=4.0,
        **place(np.cumsum(speed), 0.0),
    )  # fmt: skip
    assert judged(ALL, ferry) == []


def test_an_odometer_that_was_set_or_is_told_seldom_is_no_witness() -> None:
    drive = city_drive(6)
    drive["odometer_km"][800:] += 5_000.0
    assert judged([POSITION_INTEGRITY], as_readings(drive)) == []
    seldom = city_drive(6)
    seldom["odometer_km"] = np.full(1500, 1_000.0)
    assert judged([POSITION_INTEGRITY], as_readings(seldom)) == []


def test_a_clock_that_was_set_back_mixes_two_times_and_makes_no_places_implausible() -> None:
    drive = city_drive(7)
    t_s = np.arange(1500.0)
    t_s[900:] -= 300.0
    values = {name: value for name, value in drive.items() if name not in ("east_m", "north_m")}
    delay = np.where(np.arange(1500) < 900, 2.0, 302.0)
    whole = readings(
        t_s, delay_s=delay, **values, accuracy_m=4.0, ignition=True, **place(drive["east_m"], drive["north_m"])
    )
    assert judged([POSITION_INTEGRITY, GEOFENCE], whole, fences=FenceSet([YARD])) == []


@settings(max_examples=12, deadline=None)
@given(st.integers(0, 10_000), st.sampled_from(["leap", "jumps", "strays", "offset", "freeze"]))
def test_doubts_about_places_are_the_same_in_any_order(seed: int, doubt: str) -> None:
    drive = city_drive(seed % 7)
    if doubt == "leap":
        drive = moved(drive, slice(700, 1000), 3_000.0, 0.0)
    elif doubt == "jumps":
        for at in range(700, 900, 30):
            drive = moved(drive, slice(at, at + 3), 2_500.0, 0.0)
    elif doubt == "strays":
        rng = np.random.default_rng(seed)
        for at in np.flatnonzero(rng.random(300) < 0.2).tolist():
            drive = moved(drive, slice(700 + at, 701 + at), *rng.uniform(-700.0, 700.0, 2))
    elif doubt == "offset":
        drive = moved(drive, slice(700, 1100), 3.0 * np.arange(400), 0.0)
    else:
        for name in ("east_m", "north_m"):
            drive[name][700:900] = drive[name][700]
    assert_same_in_any_order(ALL, seed, as_readings(drive))


# -- feeds that come late ----------------------------------------------------------------------------------------------


def delayed(delay_s: Any, **more: Any) -> Readings:
    return readings(np.arange(1_200), speed_kmh=50.0, delay_s=delay_s, **{"ignition": True, **more})


def test_a_feed_that_is_late_by_minutes_is_found() -> None:
    t = np.arange(1_200)
    away = (t >= 300) & (t < 900)
    (found,) = judged([FEED_LATE], delayed(np.where(away, 605.0, 2.0)))
    assert (found.finding.kind, found.finding.level) == ("feed_late", 1)
    assert spans_s([found]) == [(300.0, 899.0)]
    assert found.finding.values["max_delay_s"] == 605.0
    # What the device says it kept until it could send is what it is for.
    assert judged([FEED_LATE], delayed(np.where(away, 605.0, 2.0), buffered=away)) == []


def test_what_comes_all_at_once_is_no_late_feed() -> None:
    # Ten minutes that a broker held, read within one: the whole fleet would be late, and it is over.
    t = np.arange(1_200)
    away = (t >= 300) & (t < 900)
    assert judged([FEED_LATE], delayed(np.where(away, 905.0 - t, 2.0))) == []
    assert judged([FEED_LATE], delayed(np.where(away, 905.0 + (t - 300) / 10.0 - t, 2.0))) == []


@pytest.mark.parametrize(
    ("delay_s", "ignition"),
    [
        (np.where((np.arange(1_200) >= 300) & (np.arange(1_200) < 420), 425.0 - np.arange(1_200), 2.0), True),
        (np.where(np.arange(1_200) % 100 == 0, 400.0, 2.0), True),  # one now and then, sent again
        (3_600.0, False),  # a parked device that sends once an hour
    ],
)
def test_an_ordinary_gap_of_coverage_is_no_late_feed(delay_s: Any, ignition: bool) -> None:
    assert judged([FEED_LATE], delayed(delay_s, ignition=ignition)) == []


# -- real drives and ordinary traffic ----------------------------------------------------------------------------------


@pytest.mark.skipif(not DRIVES.exists(), reason="the recorded drives are not part of the product")
def test_recorded_drives_raise_nothing() -> None:
    parts = []
    for drive in files.read([DRIVES], None).drives:
        t_s = np.array(drive.t_ms) / 1000.0
        values = {
            name: np.array([np.nan if value is None else value for value in column], dtype=np.float64)
            for name, column in drive.columns.items()
            if name not in ("fix_valid", "ignition")
        }
        parts.append(readings(t_s - START_S, vehicle_id=drive.vehicle_id, **values))
    assert judged(ALL, parts) == []


def test_ordinary_traffic_raises_nothing() -> None:
    assert judged(ALL, made_drives.ordinary_traffic(vehicles=20, seconds=1_200, seed=4)) == []
