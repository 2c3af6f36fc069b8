"""Detectors of vehicle health: what they find in traces whose truth is known, and what they must not take for it.

Each recipe runs with a few seeds here; the rates over hundreds are measured the same way.
"""

import zlib
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fleet_core import topics
from incidents.detector import Lane, of
from incidents.detectors import (
    battery_trend,
    coolant,
    fuel_loss,
    fuel_theft,
    odometer,
    supply,
    trouble_codes,
    tyre_blowout,
    tyre_leak,
)
from incidents.examine import sweep
from incidents.remembered import Memory
from incidents.rows import Rows
from incidents.source import Detection, Span
from incidents.window import Event, S
from tests import battery_recipes as batteries
from tests import health_recipes as health
from tests.health_traces import (
    DAY_S,
    START_S,
    Score,
    Trace,
    drive_speed,
    fleet_of,
    judged,
    judged_in_parts,
    readings_of,
    sparse,
)

ALL = of([battery_trend, coolant, fuel_loss, fuel_theft, odometer, supply, trouble_codes, tyre_blowout, tyre_leak])
STREAM = {name: one for name, one in ALL.items() if one.lane is Lane.STREAM}
SWEEP = {name: one for name, one in ALL.items() if one.lane is Lane.SWEEP}
KINDS = frozenset(kind for one in ALL.values() for kind in one.kinds)

Recipe = Callable[[np.random.Generator], Trace]
FAULTS: dict[Recipe, int] = {
    health.overheating: 10,
    health.blowout: 14,
    health.slow_leak: 5,
    health.leak_over_days: 4,
    health.fuel_theft: 12,
    health.fuel_theft_asleep: 12,
    health.odometer_rollback: 10,
    batteries.generator_fails: 6,
    batteries.flat_battery: 3,
    batteries.weak_generator: 1,
    batteries.weak_battery: 2,
}
SOUND: dict[Recipe, int] = {
    health.normal_coolant: 8,
    health.hot_soak: 12,
    health.faulty_coolant_sensor: 15,
    health.tyre_signal_lost: 10,
    health.warm_tyres: 6,
    health.days_of_sound_tyres: 5,
    health.honest_tank: 18,
    health.honest_odometer: 12,
    batteries.sound_supply: 12,
    batteries.healthy_battery: 2,
}


def made(recipe: Recipe, number: int) -> Trace:
    trace = recipe(np.random.default_rng([number, zlib.crc32(recipe.__name__.encode())]))
    trace.name = f"{recipe.__name__} {number}"
    return trace


def told(detections: list[Detection]) -> list[tuple[Any, ...]]:
    """What stands, without the ids that depend on the order of finding."""
    return [
        (one.detector, one.finding.kind, one.finding.subject, one.finding.level, one.finding.score, one.finding.at_us,
         one.finding.start_us, one.finding.end_us, tuple(sorted(one.finding.values.items())), one.finding.reasons)
        for one in detections
    ]  # fmt: skip


@pytest.mark.parametrize("recipe", FAULTS, ids=lambda recipe: recipe.__name__)
def test_what_is_wrong_is_found_and_nothing_else(recipe: Recipe) -> None:
    scores = {kind: Score() for kind in KINDS}
    for number in range(FAULTS[recipe]):
        trace = made(recipe, number)
        found = judged(trace, ALL)
        for kind, score in scores.items():
            score.count(trace, found, kind)
    for kind, score in scores.items():
        assert not score.missed, f"{kind} not found: {score.missed}"
        assert not score.wrong, f"{kind} found wrongly: {score.wrong}"


@pytest.mark.parametrize("recipe", SOUND, ids=lambda recipe: recipe.__name__)
def test_what_only_looks_wrong_is_left_alone(recipe: Recipe) -> None:
    for number in range(SOUND[recipe]):
        trace = made(recipe, number)
        assert [one.finding for one in judged(trace, ALL)] == [], trace.name


@settings(max_examples=15)
@given(
    recipe=st.sampled_from(
        [health.overheating, health.faulty_coolant_sensor, health.blowout, health.tyre_signal_lost, health.fuel_theft,
         health.honest_tank, batteries.generator_fails, batteries.flat_battery, batteries.sound_supply]
    ),
    number=st.integers(100, 10_000),
    parts=st.integers(2, 25),
    shuffled=st.booleans(),
    seed=st.integers(0, 1_000),
)  # fmt: skip
def test_batches_order_duplicates_and_restarts_make_no_difference(
    recipe: Recipe, number: int, parts: int, shuffled: bool, seed: int
) -> None:
    rng, trace = np.random.default_rng(seed), made(recipe, number)
    rows = np.arange(len(trace.t_s))
    whole = told(judged_in_parts(trace, STREAM, [rows]))
    if shuffled:
        messages = np.array_split(rows, max(1, len(rows) // 10))
        order = rng.permutation(np.concatenate((np.arange(len(messages)), rng.integers(0, len(messages), 5))))
        batches = [np.concatenate([messages[at] for at in part]) for part in np.array_split(order, parts) if len(part)]
    else:
        batches = [part for part in np.split(rows, np.sort(rng.integers(0, len(rows), parts))) if len(part)]
    assert told(judged_in_parts(trace, STREAM, batches, (rng.random(len(batches)) < 0.2).tolist())) == whole


@pytest.mark.parametrize("recipe", [health.overheating, health.blowout, health.fuel_theft, batteries.generator_fails])
def test_one_reading_at_a_time_makes_no_difference(recipe: Recipe) -> None:
    trace = next(one for number in range(100) if len((one := made(recipe, number)).t_s) < 500)
    rows = np.arange(len(trace.t_s))
    whole = told(judged_in_parts(trace, STREAM, [rows]))
    assert whole
    assert told(judged_in_parts(trace, STREAM, [rows[at : at + 1] for at in rows])) == whole


@pytest.mark.parametrize(
    ("recipe", "step_s"),
    [(health.slow_leak, 3_600), (health.fuel_theft_asleep, 3_600), (health.odometer_rollback, 10_800)],
)
def test_looking_every_hour_gives_what_one_look_gives(recipe: Recipe, step_s: int) -> None:
    """Sweeps as the worker makes them: over the last day, when an hour is over, again and again."""
    readings = readings_of(made(recipe, 1))
    last_s = int(readings.device_time_us[-1]) // S
    whole, stepwise = Memory(with_hours=True), Memory(with_hours=True)
    whole.add(readings, [])
    for detector in SWEEP.values():
        whole.keep(sweep(whole, detector, whole.spans()).changes)
    known, now_s = 0, int(readings.device_time_us[0]) // S
    while now_s <= last_s + 30 * 3_600:
        now_s += step_s
        over = int(np.searchsorted(readings.device_time_us, now_s // 3_600 * 3_600 * S))
        if over > known:
            stepwise.add(readings.take(np.arange(known, over)), [])
            known = over
        for detector in SWEEP.values():
            span = Span("v1", (now_s - step_s - round(detector.every_s) - DAY_S) * S, now_s * S)
            stepwise.keep(sweep(stepwise, detector, [span]).changes)
    assert told(whole.standing)
    assert told(stepwise.standing) == told(whole.standing)


def test_gates_fire_in_every_episode_and_seldom_in_a_sound_fleet() -> None:
    sound = [made(recipe, 50) for recipe in (health.warm_tyres, health.normal_coolant, health.hot_soak)]
    rows = Rows(fleet_of(sound), {})
    for name in ("tyre_blowout", "supply", "coolant", "fuel_theft"):
        assert STREAM[name].wants(rows).mean() < 0.02, name
    for recipe in (health.overheating, health.blowout, batteries.generator_fails, batteries.flat_battery):
        trace = made(recipe, 3)
        readings = readings_of(trace)
        for one in judged_in_parts(trace, STREAM, [np.arange(len(readings))]):
            wanted = readings.device_time_us[STREAM[one.detector].wants(Rows(readings, {}))]
            assert ((wanted >= one.finding.start_us) & (wanted <= one.finding.end_us)).any()


# -- levels and single cases ---------------------------------------------------------------------------------------


def coolant_trace(celsius: Callable[[Any], Any], seconds: int = 1_800, **more: Any) -> Trace:
    t = np.arange(float(seconds))
    columns = {"coolant_c": celsius(t), "speed_kmh": np.full(seconds, 60.0), "ignition": np.ones(seconds)}
    return Trace(t, {**columns, **more})


def test_a_warning_is_level_one_and_a_stop_level_two() -> None:
    warm = coolant_trace(lambda t: np.minimum(90 + t / 30, 112.4) + 0.3 * np.sin(t))
    assert [one.finding.level for one in judged(warm, ALL)] == [1]
    hot = coolant_trace(lambda t: np.minimum(90 + t / 30, 118.0) + 0.3 * np.sin(t))
    (one,) = judged(hot, ALL)
    assert one.finding.level == 2
    assert one.finding.values["max_coolant_c"] == pytest.approx(118.3, abs=0.1)
    assert one.finding.reasons[0].code == "coolant_hot"


def test_a_fast_rise_is_told_before_it_is_too_hot() -> None:
    rising = coolant_trace(lambda t: np.clip(70 + t / 10, None, 108.5))
    (one,) = judged(rising, ALL)
    assert one.finding.reasons[0].code == "coolant_rising"
    assert one.finding.values["max_coolant_c"] < 110.0


def test_heat_that_soaks_in_over_the_warning_is_none() -> None:
    t = np.arange(1_800.0)
    trace = coolant_trace(lambda t: 104.0 + 8.0 * (1 - np.exp(-np.maximum(0, t - 600) / 60.0)) + 0.2 * np.sin(t))
    trace.columns["ignition"] = (t < 600).astype(np.float64)
    trace.columns["speed_kmh"] = np.where(t < 600, 60.0, 0.0)
    assert judged(trace, ALL) == []


def test_a_blow_out_names_the_wheel_and_is_no_leak() -> None:
    t = np.arange(1_800.0)
    columns = {f"tyre_{wheel}_kpa": np.full(1_800, 240.0) + np.sin(t) for wheel in ("fl", "fr", "rl", "rr")}
    columns["tyre_rl_kpa"] = np.maximum(8.0, 240.0 - np.maximum(0.0, t - 900) * 4.0)
    trace = Trace(t, {**columns, "speed_kmh": np.full(1_800, 90.0)})
    (one,) = judged(trace, ALL)
    assert (one.finding.kind, one.finding.subject, one.finding.level) == ("tyre_blowout", "rl", 2)
    assert one.finding.values["min_pressure_kpa"] == 8
    assert one.finding.start_us / S - START_S == pytest.approx(900.0, abs=10.0)


def test_two_wheels_that_leak_are_two_episodes() -> None:
    t = np.arange(0.0, 3 * 3_600, 30.0)
    kpa = {wheel: np.full(len(t), 240.0) for wheel in ("fl", "fr", "rl", "rr")}
    kpa["fl"] = 240.0 - t * 0.8 / 60.0
    kpa["rr"] = 240.0 - t * 0.6 / 60.0
    trace = Trace(t, {f"tyre_{wheel}_kpa": values for wheel, values in kpa.items()})
    assert sorted(one.finding.subject for one in judged(trace, ALL)) == ["fl", "rr"]


@pytest.mark.parametrize("fuel_every_s", [1, 60, 600])
def test_the_level_before_parking_counts_however_seldom_it_is_told(fuel_every_s: int) -> None:
    """The device tells fuel once in ten minutes, sleeps for half a day, and wakes with a third of the tank gone."""
    rng = np.random.default_rng(5)
    before, after = np.arange(0.0, 3_000.0), 50_000.0 + np.arange(0.0, 1_800.0)
    t = np.concatenate((before, after))
    speed = np.concatenate((drive_speed(rng, 3_000, 1.0), drive_speed(rng, 1_800, 1.0)))
    level = np.concatenate((72.0 - before / 3_000.0 * 5.0, 67.0 - 30.0 - (after - 50_000.0) / 1_800.0 * 3.0))
    columns = {"fuel_pct": sparse(rng, level, fuel_every_s), "speed_kmh": speed, "ignition": np.ones(len(t))}
    (one,) = judged(Trace(t, columns), ALL)
    assert (one.detector, one.finding.kind) == ("fuel_loss", "fuel_theft")
    assert one.finding.start_us // S - START_S <= 3_000
    assert one.finding.values["max_fall_pct"] == pytest.approx(30.0, abs=5.0)


@pytest.mark.parametrize("recipe", [health.fuel_theft, health.fuel_theft_asleep])
def test_a_theft_of_fuel_is_told_once(recipe: Recipe) -> None:
    """By the stream or by the hour, whoever saw it."""
    for number in range(12):
        assert [one.finding.kind for one in judged(made(recipe, number), ALL)] == ["fuel_theft"], number


@pytest.mark.parametrize("step_s", [1.0, 5.0, 30.0])
def test_fuel_that_is_taken_while_the_driver_sleeps_is_found_within_minutes(step_s: float) -> None:
    t = np.arange(0.0, 7_200.0, step_s)
    level = 80.0 - np.clip((t - 3_600.0) / 600.0, 0.0, 1.0) * 30.0
    columns = {"fuel_pct": level, "speed_kmh": np.where(t < 900, 50.0, 0.0), "ignition": np.ones(len(t))}
    (one,) = judged(Trace(t, columns), ALL)
    assert one.detector == "fuel_theft"
    assert 3_600 < one.finding.at_us / S - START_S <= 4_000
    # Idling for as long burns less than anybody would steal.
    columns["fuel_pct"] = 80.0 - t / 3_600.0 * 2.5
    assert judged(Trace(t, columns), ALL) == []


def test_a_leak_over_hours_is_found_by_the_hour() -> None:
    t = np.arange(0.0, 6 * 3_600.0, 120.0)
    level = 80.0 - np.clip((t - 4_000.0) / 3_600.0, 0.0, 2.5) * 5.0
    (one,) = judged(Trace(t, {"fuel_pct": level, "speed_kmh": np.zeros(len(t)), "ignition": np.zeros(len(t))}), ALL)
    assert (one.detector, one.finding.kind) == ("fuel_loss", "fuel_theft")


def test_fuel_that_is_taken_now_is_found_while_it_is_taken() -> None:
    t = np.arange(0.0, 3_600.0, 10.0)
    level = 80.0 - np.clip((t - 1_800.0) / 600.0, 0.0, 1.0) * 40.0
    trace = Trace(t, {"fuel_pct": level, "speed_kmh": np.zeros(len(t)), "ignition": np.zeros(len(t))})
    at_s = [one.finding.at_us / S - START_S for one in judged(trace, STREAM)]
    assert len(at_s) == 1
    assert 1_800 < at_s[0] <= 2_000


def test_a_lorry_is_measured_by_two_batteries() -> None:
    t = np.arange(0.0, 2_400.0, 10.0)
    columns = {"speed_kmh": np.full(len(t), 70.0), "ignition": np.ones(len(t)), "rpm": np.full(len(t), 1_200.0)}
    assert judged(Trace(t, {**columns, "external_v": np.full(len(t), 27.8)}), ALL) == []
    (one,) = judged(Trace(t, {**columns, "external_v": np.full(len(t), 24.2)}), STREAM)
    assert one.finding.kind == "charging_fault"
    assert one.finding.values["supply_v_of_12"] == 12.1


def test_a_device_that_is_cut_off_has_no_flat_battery() -> None:
    t = np.arange(0.0, 3_600.0, 10.0)
    volts = np.where(t < 1_200, 12.6, 0.0)
    trace = Trace(t, {"external_v": volts, "ignition": np.zeros(len(t)), "speed_kmh": np.zeros(len(t))})
    assert judged(trace, ALL) == []


# -- trouble codes -------------------------------------------------------------------------------------------------


def diagnostics(at_s: float, body: dict[str, Any], seq: int = 1) -> Event:
    at_us = round((START_S + at_s) * S)
    return Event(topics.DIAGNOSTICS, at_us, at_us, seq, None, {"t_ms": at_us // 1000, **body})


def codes_found(*events: Event) -> list[tuple[str, int, int, int]]:
    trace = Trace(np.empty(0), {}, events=list(events))
    return sorted(
        (one.finding.subject, one.finding.level, one.finding.start_us // S - START_S, one.finding.end_us // S - START_S)
        for one in judged(trace, ALL)
    )


def report(code: str, status: str = "confirmed", lamp: str = "on") -> dict[str, Any]:
    return {"codes": [{"code": code, "status": status, "lamp": lamp}]}


@pytest.mark.parametrize(
    ("body", "level"),
    [
        (report("P0301", lamp="flashing"), 2),
        (report("P0301"), 1),
        (report("P0301", "pending", "off"), 1),
        (report("P0AA6"), 3),
        (report("P0524"), 2),
        (report("C0035"), 2),
        (report("C1234", lamp="off"), 1),
        (report("C1234"), 2),
        (report("B0028"), 2),
        (report("P0455"), 1),
        (report("P0420"), 1),
        (report("P0420", lamp="flashing"), 2),
        (report("U0100"), 1),
        (report("p0524 "), 2),
        (report("C0035-62"), 2),
        (report("SPN 100 FMI 1"), 1),
        ({"dtcs": ["P0300"]}, 1),
        ({"dtcs": ["B0001"]}, 2),
        ({"dtcs": ["P0302"], "lamp": "flashing"}, 2),
    ],
)
def test_a_code_is_as_urgent_as_what_it_means(body: dict[str, Any], level: int) -> None:
    assert [found[1] for found in codes_found(diagnostics(0, body))] == [level]


@pytest.mark.parametrize(
    "body",
    [
        {}, {"codes": None}, {"codes": "P0300"}, {"codes": []}, {"codes": [None, 7, {}, {"code": 5}, ""]},
        {"dtcs": [["P0300"]]}, report("P0300", "cleared"), {"codes": [{"code": "x" * 500}]},
    ],
)  # fmt: skip
def test_what_tells_no_code_is_no_finding(body: dict[str, Any]) -> None:
    event = diagnostics(0, body)
    assert not ALL["trouble_codes"].wants_event(event)
    assert codes_found(event) == []


def test_each_code_is_one_episode_for_as_long_as_it_stays() -> None:
    both = {"codes": [{"code": "P0420", "status": "confirmed"}, {"code": "P0301", "status": "pending"}]}
    grave = {"codes": [{"code": "P0420"}, {"code": "P0301", "status": "confirmed", "lamp": "flashing"}]}
    events = [
        diagnostics(0, both, 1),
        diagnostics(DAY_S, grave, 2),
        diagnostics(3 * DAY_S, {"dtcs": ["P0420"]}, 3),
        diagnostics(30 * DAY_S, {"dtcs": ["P0420"]}, 4),
    ]
    expected = [("P0301", 2, 0, DAY_S), ("P0420", 1, 0, 3 * DAY_S), ("P0420", 1, 30 * DAY_S, 30 * DAY_S)]
    assert codes_found(*events) == expected


@given(order=st.permutations(range(6)))
@settings(max_examples=20)
def test_codes_come_out_the_same_in_any_order(order: list[int]) -> None:
    events = [
        diagnostics(0, report("P0420", "pending"), 1),
        diagnostics(DAY_S, report("P0420"), 2),
        diagnostics(DAY_S + 5, report("P0301"), 3),
        diagnostics(2 * DAY_S, report("P0420", "cleared"), 4),
        diagnostics(5 * DAY_S, report("P0301", lamp="flashing"), 5),
        diagnostics(6 * DAY_S, report("P0420", "pending"), 6),
    ]
    rows = np.arange(0)
    found = []
    for arrived in (range(6), order):
        trace = Trace(np.empty(0), {}, events=[events[at] for at in arrived])
        found.append(told(judged_in_parts(trace, STREAM, [rows] * 6)))
    assert found[0] == found[1]
    assert len(found[0]) == 2
