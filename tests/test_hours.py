"""Facts of hours: exact on hours made by hand, unknown where nothing is known, the same in any order of arrival."""

import json
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from incidents.hours import COLUMNS, FACTS, HOUR_US, facts_of, hours_of
from incidents.remembered import Memory
from incidents.source import Span
from incidents.window import S, Window
from tests.health_recipes import fuel_theft, slow_leak
from tests.health_traces import START_S, Floats, Trace, readings_of


def window_of(trace: Trace, columns: frozenset[str] = COLUMNS) -> Window:
    memory = Memory()
    memory.add(readings_of(trace), [])
    span = Span("v1", START_S * S, (START_S + 86_400) * S)
    return memory.windows([span], columns, ())[0]


def facts(t_s: Floats, **columns: Floats) -> dict[str, float]:
    return facts_of(window_of(Trace(t_s, columns)))


def seconds(count: int, begin: float = 0.0, step: float = 1.0) -> Floats:
    return begin + np.arange(count) * step


def test_an_hour_without_readings_has_no_facts() -> None:
    window = window_of(Trace(seconds(1), {}))
    nothing = facts_of(window.take(np.array([], dtype=np.intp)))
    assert list(nothing) == list(FACTS)
    assert nothing.pop("readings") == 0.0
    assert all(math.isnan(value) for value in nothing.values())


def test_what_no_reading_carries_is_unknown() -> None:
    told = facts(seconds(10), coolant_c=np.full(10, 88.0))
    assert told["coolant_c"] == 88.0
    assert told["readings"] == 10.0
    assert (told["first_s"], told["last_s"]) == (0.0, 9.0)
    known = {name for name, value in told.items() if not math.isnan(value)}
    assert known == {"readings", "first_s", "last_s", "boot_first", "boot_last", "coolant_c"}


def test_time_of_movement_counts_only_what_readings_show() -> None:
    # A minute at speed, a hole of ten minutes, ten seconds standing with the engine on, ten off.
    t = np.concatenate((seconds(61), seconds(20, 661)))
    speed = np.where(t < 61, 50.0, 0.0)
    told = facts(t, speed_kmh=speed, ignition=np.where(t < 671, 1.0, 0.0))
    assert told["moving_s"] == 60.0
    assert told["engine_s"] == 70.0


def test_the_speed_of_the_vehicle_stands_in_for_that_over_ground() -> None:
    assert facts(seconds(11), obd_speed_kmh=np.full(11, 30.0))["moving_s"] == 10.0


def test_engine_by_its_turning_where_the_ignition_is_not_told() -> None:
    t = seconds(11)
    assert facts(t, rpm=np.full(11, 800.0))["engine_s"] == 10.0
    assert facts(t, rpm=np.full(11, 200.0))["engine_s"] == 0.0


def test_a_set_back_odometer_falls_and_a_wrong_value_does_not() -> None:
    t, km = seconds(100), 500.0 + seconds(100) * 0.02
    glitch = km.copy()
    glitch[40] += 9_000.0
    glitch[60] -= 300.0
    glitch[70] = 0.0
    assert facts(t, odometer_km=glitch)["odometer_fall_km"] < 0.1
    back = km - np.where(t >= 50, 120.0, 0.0)
    told = facts(t, odometer_km=back)
    # 120 km back, of which it has made good 1 km since.
    assert told["odometer_fall_km"] == pytest.approx(119.0, abs=0.1)
    assert told["odometer_fall_s"] == 50.0
    assert told["odometer_first_km"] == pytest.approx(500.02)
    assert told["odometer_last_km"] == pytest.approx(381.96)


def test_boots_are_told_only_by_devices_that_count() -> None:
    trace = Trace(seconds(10), {"coolant_c": np.full(10, 80.0)}, boot=np.array([3] * 6 + [4] * 4))
    told = facts_of(window_of(trace))
    assert (told["boot_first"], told["boot_last"]) == (3.0, 4.0)
    window = window_of(trace)
    object.__setattr__(window, "seq", np.random.default_rng(1).integers(-(2**62), 2**62, 10))
    assert math.isnan(facts_of(window)["boot_first"])


def test_levels_of_fuel_and_what_was_driven_unseen() -> None:
    t = seconds(1_000)
    fuel = np.full(1_000, np.nan)
    fuel[200:800:20] = 60.0 - t[200:800:20] / 100.0
    told = facts(t, fuel_pct=fuel, speed_kmh=np.full(1_000, 40.0), ignition=np.ones(1_000))
    assert (told["fuel_first_s"], told["fuel_last_s"]) == (200.0, 780.0)
    assert told["fuel_first_pct"] == pytest.approx(60.0 - 2.3)
    assert told["fuel_last_pct"] == pytest.approx(60.0 - 7.5)
    assert (told["fuel_unseen_before_s"], told["fuel_unseen_after_s"]) == (200.0, 219.0)
    assert told["fuel_fall_pct"] == 0.0  # it moved all the time
    assert told["fuel_on"] == 1.0


def test_fuel_that_leaves_a_standing_vehicle() -> None:
    t = seconds(1_800)
    fuel = 70.0 - np.clip((t - 600) / 600, 0, 1) * 25.0
    told = facts(t, fuel_pct=fuel, speed_kmh=np.zeros(1_800), ignition=np.zeros(1_800))
    assert told["fuel_fall_pct"] == pytest.approx(25.0, abs=0.1)
    assert told["fuel_fall_begin_s"] == pytest.approx(600.0, abs=15.0)
    assert told["fuel_fall_s"] == pytest.approx(1_200.0, abs=15.0)
    assert told["fuel_on"] == 0.0
    assert (told["fuel_stood_first_pct"], told["fuel_stood_last_pct"]) == (70.0, 45.0)
    assert (told["fuel_stood_first_on"], told["fuel_stood_last_s"]) == (0.0, 1_799.0)


def test_a_fall_is_dated_to_itself_and_not_to_the_noise_before_it() -> None:
    """Half an hour of a sender that flips by a step, ten minutes of a pump, twenty of flipping again."""
    t = seconds(3_600)
    steps = np.where(np.random.default_rng(3).random(3_600) < 0.1, 0.4, 0.0)
    fuel = 70.0 - np.clip((t - 1_800) / 600, 0, 1) * 25.0 + steps
    told = facts(t, fuel_pct=fuel, speed_kmh=np.zeros(3_600), ignition=np.zeros(3_600))
    assert told["fuel_fall_begin_s"] == pytest.approx(1_800.0, abs=60.0)
    assert told["fuel_fall_s"] == pytest.approx(2_400.0, abs=60.0)


def test_fuel_that_sloshes_after_a_stop_does_not_fall() -> None:
    t = seconds(600)
    speed = np.where(t < 300, 40.0, 0.0)
    wave = 15.0 * np.exp(-np.maximum(t - 300, 0) / 8.0) * np.where(t < 300, 0.0, np.cos((t - 300) / 2.0))
    told = facts(t, fuel_pct=60.0 + wave, speed_kmh=speed, ignition=np.ones(600))
    assert told["fuel_fall_pct"] < 1.0


def test_a_sender_that_loses_its_supply_is_no_fall() -> None:
    t = seconds(600)
    on = np.where(t < 300, 1.0, 0.0)
    told = facts(t, fuel_pct=np.where(t < 300, 70.0, 20.0), speed_kmh=np.zeros(600), ignition=on)
    assert told["fuel_fall_pct"] == 0.0
    assert (told["fuel_first_pct"], told["fuel_last_pct"]) == (70.0, 70.0)


def test_voltages_of_rest_start_and_charging() -> None:
    t = seconds(3_000)
    on = (t >= 2_400).astype(np.float64)
    volts = np.where(on > 0, 13.9, 12.5)
    volts[t < 1_000] = 13.0  # surface charge
    volts[2_401:2_404] = [9.1, 9.6, 10.4]
    told = facts(t, external_v=volts, ignition=on, rpm=np.where(t > 2_404, 900.0, 0.0))
    assert told["rest_v"] == 12.5
    assert told["crank_v"] == 9.1
    assert told["crank_s"] == 3.0
    assert told["starts"] == 1.0
    assert told["charge_v"] == 13.9
    assert math.isnan(told["off_v"])


def test_a_start_that_was_sampled_too_seldom_says_nothing() -> None:
    t = seconds(300, step=10.0)
    on = (t >= 1_500).astype(np.float64)
    told = facts(t, external_v=np.where(t == 1_500, 9.0, 12.5), ignition=on)
    assert told["starts"] == 0.0
    assert math.isnan(told["crank_v"])


def test_an_hour_at_rest_by_heartbeats() -> None:
    told = facts(seconds(4, step=900.0), external_v=np.array([12.4, 12.4, 0.0, 12.3]), ignition=np.zeros(4))
    assert told["off_v"] == 12.4
    assert told["rest_v"] == 12.3  # the only one that is known to be half an hour into the rest and not cut off


def test_temperatures_leave_out_what_is_none() -> None:
    told = facts(
        seconds(5),
        coolant_c=np.array([91.0, -40.0, 215.0, 92.0, 93.0]),
        ambient_c=np.array([20.0, 21.0, 999.0, np.nan, 22.0]),
    )
    assert told["coolant_c"] == 92.0  # one reading alone shows 93
    assert told["ambient_c"] == 21.0


def test_tyres_by_their_middle_their_ends_and_their_steepest_fall() -> None:
    t = seconds(1_200)
    leaking = 240.0 - np.maximum(0.0, t - 600) * 6.0 / 60.0
    leaking[300] = 0.0
    told = facts(t, tyre_fl_kpa=leaking, tyre_fr_kpa=np.full(1_200, 238.0))
    assert told["tyre_fl_first_kpa"] == 240.0
    assert told["tyre_fl_last_kpa"] == pytest.approx(183.0, abs=0.1)
    assert told["tyre_fl_fall_kpa_min"] == pytest.approx(6.0, abs=0.1)
    assert told["tyre_fr_kpa"] == 238.0
    assert told["tyre_fr_fall_kpa_min"] == 0.0
    assert math.isnan(told["tyre_rl_kpa"])


def test_hours_are_cut_at_the_hour() -> None:
    trace = Trace(seconds(7_000, 3_000.0), {"coolant_c": np.full(7_000, 90.0)})
    hours = hours_of(window_of(trace))
    assert ((hours.hour_us - START_S * S) / HOUR_US).tolist() == [0.0, 1.0, 2.0]
    assert hours.number("readings").tolist() == [600.0, 3600.0, 2800.0]
    assert hours.number("first_s").tolist() == [3000.0, 0.0, 0.0]
    assert list(hours.columns) == list(FACTS)


def test_facts_are_finite_numbers_that_json_can_keep() -> None:
    told = facts_of(window_of(fuel_theft(np.random.default_rng(3))).between(START_S * S, (START_S + 86_400) * S))
    known = {name: value for name, value in told.items() if math.isfinite(value)}
    assert json.loads(json.dumps(known)) == known
    assert not any(math.isinf(value) for value in told.values())


@settings(max_examples=12)
@given(seed=st.integers(0, 10_000), parts=st.integers(1, 8))
def test_the_order_of_arrival_makes_no_difference(seed: int, parts: int) -> None:
    rng = np.random.default_rng(seed)
    trace = (fuel_theft if seed % 2 else slow_leak)(rng)
    readings = readings_of(trace)
    rows = rng.permutation(len(readings))
    span = Span("v1", int(readings.device_time_us.min()), int(readings.device_time_us.max()))
    whole, pieces = Memory(with_hours=True), Memory(with_hours=True)
    whole.add(readings, [])
    for part in np.array_split(rows, parts):
        pieces.windows([span], (), ())  # computed before all is there, and anew after
        pieces.add(readings.take(part), [])
    one, other = (memory.windows([span], (), ())[0].hours for memory in (whole, pieces))
    assert one.hour_us.tolist() == other.hour_us.tolist()
    for name in FACTS:
        np.testing.assert_array_equal(one.number(name), other.number(name))


@settings(max_examples=12)
@given(held=st.sets(st.sampled_from(sorted(COLUMNS)), min_size=1))
def test_a_source_may_hold_only_some_columns(held: set[str]) -> None:
    trace = slow_leak(np.random.default_rng(1))
    whole, part = facts_of(window_of(trace)), facts_of(window_of(trace, frozenset(held)))
    for wheel in ("fl", "rr"):
        fact = f"tyre_{wheel}_kpa"
        assert part[fact] == whole[fact] if fact in held else math.isnan(part[fact])
    assert math.isnan(part["engine_s"]) == held.isdisjoint({"ignition", "speed_kmh"})
    assert part["readings"] == whole["readings"]
