"""Detectors of security: tow, theft, unplug, tamper, jamming, and silence while moving."""

from typing import Any

import numpy as np
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st

from fleet_core.readings import Readings
from incidents.detectors.jamming import DETECTOR as JAMMING
from incidents.detectors.offline_while_moving import DETECTOR as OFFLINE
from incidents.detectors.position_integrity import DETECTOR as POSITION_INTEGRITY
from incidents.detectors.tamper import DETECTOR as TAMPER
from incidents.detectors.theft import DETECTOR as THEFT
from incidents.detectors.tow import DETECTOR as TOW
from incidents.detectors.unplug import DETECTOR as UNPLUG
from incidents.fences import Fence, FenceSet
from incidents.judge import Judge
from incidents.reconcile import ChangeKind
from incidents.remembered import Memory
from incidents.source import Detection
from incidents.window import S, Tenure, Vehicle
from tests import made_drives
from tests.made_drives import (
    START_S,
    alarm,
    assert_same_in_any_order,
    judged,
    judged_piecemeal,
    kinds,
    place,
    readings,
    spans_s,
    told,
)

ALL = (TOW, THEFT, UNPLUG, TAMPER, JAMMING, OFFLINE)
G = 9.80665


def codes(found: list[Detection]) -> set[str]:
    return {reason.code for one in found for reason in one.finding.reasons}


def levels(found: list[Detection]) -> list[int]:
    return [one.finding.level for one in found]


def drive(seconds: int, *, speed_mps: float = 14.0, seed: int = 0) -> dict[str, Any]:
    """Columns of a drive east at a steady speed, with a sky that changes a little."""
    rng = np.random.default_rng(seed)
    t = np.arange(seconds)
    return {
        "speed_kmh": np.full(seconds, speed_mps * 3.6),
        "heading_deg": np.full(seconds, 90.0),
        "obd_speed_kmh": np.full(seconds, round(speed_mps * 3.6)),
        "odometer_km": 1_000.0 + t * speed_mps / 1000.0,
        "accuracy_m": np.full(seconds, 3.0),
        "satellites": np.round(13.0 + rng.normal(0.0, 0.7, seconds)),
        "hdop": 0.9 + rng.normal(0.0, 0.03, seconds),
        "ignition": np.ones(seconds),
        "fix_valid": np.ones(seconds),
        "external_v": np.full(seconds, 13.9),
        **place(t * speed_mps, np.zeros(seconds)),
    }


def without_fixes(columns: dict[str, Any], begin: int, end: int) -> dict[str, Any]:
    lost = {name: np.array(values, dtype=np.float64) for name, values in columns.items()}
    for name in ("lat_deg", "lon_deg", "speed_kmh", "heading_deg", "hdop", "accuracy_m"):
        lost[name][begin:end] = np.nan
    lost["satellites"][begin:end] = 0.0
    lost["fix_valid"][begin:end] = 0.0
    return lost


def jammed(*, fade_s: int = 15, loss_s: int = 120, begin: int = 400, seconds: int = 800) -> dict[str, Any]:
    columns = drive(seconds)
    for step in range(fade_s):
        share = (step + 1) / fade_s
        columns["satellites"][begin - fade_s + step] = round(13.0 - 9.0 * share)
        columns["hdop"][begin - fade_s + step] = 0.9 + 5.0 * share
    return without_fixes(columns, begin, begin + loss_s)


def in_order(columns: dict[str, Any], **more: Any) -> Readings:
    return readings(np.arange(len(columns["external_v"])), **columns, **more)


# -- jamming -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("fade_s", "loss_s"), [(6, 15), (15, 120), (30, 600)])
def test_fixes_that_fade_away_while_driving_are_jammed(fade_s: int, loss_s: int) -> None:
    found = judged([JAMMING], in_order(jammed(fade_s=fade_s, loss_s=loss_s, seconds=1_100)))
    assert kinds(found) == ["jamming"]
    assert codes(found) >= {"jamming_faded_while_driving", "jamming_satellites_fell", "jamming_geometry_worse"}
    begin, end = spans_s(found)[0]
    assert 400 - fade_s - 2 <= begin <= 400
    assert end == 400 + loss_s - 1


@pytest.mark.parametrize("witness", ["obd_speed_kmh", "odometer_km", "accel_x_mps2"])
def test_any_witness_of_motion_will_do_and_none_will_not(witness: str) -> None:
    columns = jammed()
    columns["accel_x_mps2"] = np.random.default_rng(1).normal(0.0, 0.8, len(columns["external_v"]))
    kept = {name: v for name, v in columns.items() if name not in {"obd_speed_kmh", "odometer_km", "accel_x_mps2"}}
    assert kinds(judged([JAMMING], in_order({**kept, witness: columns[witness]}))) == ["jamming"]
    assert judged([JAMMING], in_order(kept)) == []


def test_a_tunnel_and_a_car_park_are_not_jammed() -> None:
    assert judged(ALL, in_order(without_fixes(drive(900), 400, 520))) == []
    standing = jammed()
    standing["obd_speed_kmh"][400:] = 0.0
    standing["odometer_km"][400:] = standing["odometer_km"][400]
    assert judged([JAMMING], in_order(standing)) == []
    parked = jammed()
    parked["ignition"][395:] = 0.0
    assert judged([JAMMING], in_order(parked)) == []


@pytest.mark.parametrize("seed", range(4))
def test_a_vehicle_that_was_fast_as_the_sky_went_and_then_stopped_is_jammed_however_it_comes(seed: int) -> None:
    columns = jammed(loss_s=30)
    slower = np.clip(50.0 - 9.0 * np.arange(30), 0.0, None)
    columns["obd_speed_kmh"][400:430] = slower
    columns["odometer_km"][400:430] = columns["odometer_km"][399] + np.cumsum(slower) / 3_600.0
    columns["odometer_km"][430:] += columns["odometer_km"][429] - columns["odometer_km"][430]
    whole = in_order(columns)
    once = judged([JAMMING], whole)
    assert kinds(once) == ["jamming"]
    for shuffled in (False, True):
        assert told(judged_piecemeal(np.random.default_rng(seed), [JAMMING], whole, shuffled=shuffled)) == told(once)


@pytest.mark.parametrize("before_s", [15, 30])
def test_a_sky_that_gets_worse_before_a_tunnel_is_not_jammed(before_s: int) -> None:
    columns = drive(900)
    rows = slice(398 - before_s, 398)
    columns["satellites"][rows] = np.round(np.linspace(13.0, 8.0, before_s))
    columns["hdop"][rows] = np.geomspace(0.9, 2.0, before_s)
    columns["satellites"][398:400], columns["hdop"][398:400] = (7.0, 4.0), (2.5, 4.8)  # the mouth
    assert judged([JAMMING], in_order(without_fixes(columns, 400, 460))) == []


def test_a_quick_fade_whose_last_fix_still_had_six_satellites_is_jammed() -> None:
    columns = drive(800)
    columns["satellites"][395:400] = (12.0, 10.0, 8.0, 7.0, 6.0)
    columns["hdop"][395:400] = np.geomspace(1.1, 3.2, 5)
    columns["satellites"][:395] = 15.0
    assert kinds(judged([JAMMING], in_order(without_fixes(columns, 400, 460)))) == ["jamming"]


def test_in_and_out_of_a_car_park_is_not_one_way_on_a_road() -> None:
    columns = jammed(loss_s=500, seconds=1_200)
    kmh = np.concatenate((np.full(30, 12.0), np.full(120, 14.0), np.zeros(250), np.full(120, 14.0)))
    columns["obd_speed_kmh"][380:900] = kmh
    columns["odometer_km"][380:] = 2_000.0 + np.cumsum(np.append(kmh, np.full(300, 50.0))) / 3_600.0
    columns["ignition"][530:780] = 0.0
    assert judged([JAMMING], in_order(columns)) == []
    columns["ignition"][530:780] = 1.0  # and 930 m without the engine ever off are
    assert kinds(judged([JAMMING], in_order(columns))) == ["jamming"]


def test_a_sky_that_gets_worse_over_minutes_is_not_jammed() -> None:
    columns = drive(900)
    columns["satellites"][200:400] = np.round(np.linspace(13.0, 5.0, 200))
    columns["hdop"][200:400] = np.linspace(0.9, 4.0, 200)
    assert judged([JAMMING], in_order(without_fixes(columns, 400, 440))) == []


def test_jamming_stands_as_soon_as_it_is_told_and_does_not_flap() -> None:
    whole = in_order(jammed(loss_s=300))
    memory, judge = Memory(), Judge({"jamming": JAMMING})
    for begin in range(0, len(whole), 10):
        part = memory.add(whole.take(np.arange(begin, min(begin + 10, len(whole)))), [])
        memory.keep(judge.judge(memory, part, []).changes)
    changes = [change.kind for change in memory.changes]
    assert changes[0] is ChangeKind.FOUND
    assert set(changes[1:]) == {ChangeKind.REVISED}
    found_at = memory.changes[0].detection.finding.end_us / S - START_S
    assert found_at <= 400 + 20


def test_the_devices_own_word_is_enough_for_jamming() -> None:
    found = judged(ALL, in_order(drive(300)), events=[alarm("jamming", 100)])
    assert (kinds(found), levels(found)) == (["jamming"], [2])


# -- tow ---------------------------------------------------------------------------------------------------------------


def parked_then(
    speed_mps: Any, *, tilt_deg: Any = 0.0, gravity: bool = True, seed: int = 0, heading_deg: Any = 90.0, **more: Any
) -> Readings:
    """A vehicle with its engine off, whatever moves it."""
    rng = np.random.default_rng(seed)
    speed = np.asarray(speed_mps, dtype=np.float64)
    count = len(speed)
    tilt = np.radians(np.broadcast_to(tilt_deg, count))
    noise = rng.normal(0.0, 0.05, (3, count))
    values: dict[str, Any] = {
        "speed_kmh": speed * 3.6, "heading_deg": heading_deg, "ignition": False, "rpm": 0.0, "external_v": 12.6,
        "accuracy_m": 3.0, "satellites": 12.0, "accel_x_mps2": G * np.sin(tilt) + noise[0], "accel_y_mps2": noise[1],
        "accel_z_mps2": G * np.cos(tilt) - (0.0 if gravity else G) + noise[2], "accel_gravity": gravity,
    }  # fmt: skip
    return readings(np.arange(count), **{**values, **place(np.cumsum(speed), 0.0), **more})


def by_road(seconds: int = 1_200, begin: int = 500) -> Any:
    speed = np.zeros(seconds)
    speed[begin:] = np.clip((np.arange(seconds - begin)) * 0.8, 0.0, 11.0)
    for at in range(begin + 120, seconds - 60, 160):
        speed[at : at + 40] *= np.abs(np.linspace(-1.0, 1.0, 40))
    return speed


def lifted(to_deg: float, seconds: int = 1_200, begin: int = 430, over_s: int = 40) -> Any:
    tilt = np.zeros(seconds)
    tilt[begin : begin + over_s] = np.linspace(0.0, to_deg, over_s)
    tilt[begin + over_s :] = to_deg
    return tilt


def test_a_lifted_vehicle_that_leaves_with_its_engine_off_is_towed() -> None:
    found = judged(ALL, parked_then(by_road(), tilt_deg=lifted(6.0)))
    assert (kinds(found), levels(found)) == (["tow"], [2])
    assert codes(found) >= {"tow_moved_engine_off", "tow_lifted"}
    begin, end = spans_s(found)[0]
    assert 430 <= begin <= 480
    assert end >= 1_150


@pytest.mark.parametrize("gravity", [True, False])
def test_a_lift_is_enough_where_the_journey_itself_shows_nothing(gravity: bool) -> None:
    steady = np.where(np.arange(1_200) < 500, 0.0, 8.0)
    found = judged([TOW], parked_then(steady, tilt_deg=lifted(4.0), gravity=gravity))
    assert kinds(found) == ["tow"]
    assert judged([TOW], parked_then(steady, gravity=gravity)) == []


def test_a_journey_by_road_is_enough_where_nothing_shows_a_lift() -> None:
    found = judged(ALL, parked_then(by_road(), accel_x_mps2=np.nan, accel_y_mps2=np.nan, accel_z_mps2=np.nan))
    assert kinds(found) == ["tow"]
    assert "tow_by_road" in codes(found)


def test_ferries_jacks_drift_and_pushing_are_no_tow() -> None:
    t = np.arange(2_400)
    roll = 4.0 * np.sin(2 * np.pi * t / 11.0) + 2.0 * np.sin(2 * np.pi * t / 8.0)
    turn = 90.0 + np.clip((t - 1_300) * 1.0, 0.0, 60.0)
    ferry = parked_then(np.clip((t - 500) * 0.08, 0.0, 9.0), tilt_deg=roll, heading_deg=turn)
    assert judged(ALL, ferry) == []
    sudden = parked_then(np.where((t > 500) & (t < 2_000), 8.0, 0.0), tilt_deg=roll)
    assert judged(ALL, sudden) == []
    jack = parked_then(np.zeros(1_200), tilt_deg=lifted(7.0))
    assert judged(ALL, jack) == []
    pushed = parked_then(np.where((np.arange(900) > 500) & (np.arange(900) < 540), 2.5, 0.0), tilt_deg=lifted(3.0, 900))
    assert judged(ALL, pushed) == []
    drift = np.cumsum(np.random.default_rng(3).normal(0.0, 1.5, (2, 1_200)), axis=1)
    drifting = parked_then(np.zeros(1_200), **place(drift[0], drift[1]))
    assert judged(ALL, drifting) == []


def seldom_then(
    on_the_way_s: float,
    *,
    heartbeat_s: float = 300.0,
    tilt_deg: float = 0.0,
    roll_deg: float = 0.0,
    seed: int = 0,
    gain_mps2: float = 0.4,
) -> Readings:
    """Reports of a parked unit minutes apart, then of one that is carried straight on at a steady 10 m/s."""
    rng = np.random.default_rng(seed)
    parked, way = np.arange(0.0, 2_000.0, heartbeat_s), np.arange(2_150.0, 3_600.0, on_the_way_s)
    t_s = np.concatenate((parked, way))
    carried = t_s >= 2_150.0
    tilt = np.radians(carried * (tilt_deg + roll_deg * np.sin(rng.uniform(0.0, 2 * np.pi, len(t_s)))))
    gained = carried * rng.normal(0.0, gain_mps2, len(t_s))
    noise = rng.normal(0.0, 0.03, (3, len(t_s)))
    return readings(
        t_s, speed_kmh=36.0 * carried, heading_deg=90.0, ignition=False, rpm=0.0, external_v=12.6, accuracy_m=3.0,
        satellites=12.0, accel_x_mps2=G * np.sin(tilt) + gained + noise[0], accel_y_mps2=noise[1],
        accel_z_mps2=G * np.cos(tilt) + noise[2], accel_gravity=True,
        **place(np.where(carried, (t_s - 2_100.0) * 10.0, 0.0), 0.0),
    )  # fmt: skip


@pytest.mark.parametrize("on_the_way_s", [20.0, 60.0])
@pytest.mark.parametrize("heartbeat_s", [60.0, 300.0])
@pytest.mark.parametrize("tilt_deg", [4.0, -8.0])
def test_a_unit_that_seldom_reports_hangs_tilted_on_a_hook(
    on_the_way_s: float, heartbeat_s: float, tilt_deg: float
) -> None:
    whole = seldom_then(on_the_way_s, heartbeat_s=heartbeat_s, tilt_deg=tilt_deg, gain_mps2=0.3)
    found = judged(ALL, whole)
    assert (kinds(found), levels(found)) == (["tow"], [2])
    assert codes(found) >= {"tow_moved_engine_off", "tow_hangs_tilted"}
    assert found[0].finding.values["max_tilt_deg"] == pytest.approx(abs(tilt_deg), abs=1.5)
    assert_same_in_any_order(ALL, 3, whole)


@pytest.mark.parametrize("roll_deg", [0.0, 2.0, 5.0])
def test_a_ship_that_rolls_between_seldom_reports_stays_level(roll_deg: float) -> None:
    for seed in range(8):
        for on_the_way_s in (20.0, 60.0, 300.0):
            ferry = seldom_then(on_the_way_s, roll_deg=roll_deg, seed=seed, gain_mps2=0.1)
            assert judged_piecemeal(np.random.default_rng(seed), ALL, ferry, shuffled=False) == []


def test_a_road_shows_in_seldom_reports_without_accelerations() -> None:
    t_s = np.append(np.arange(0.0, 1_500.0, 120.0), np.arange(1_500.0, 2_700.0, 25.0))
    speed = np.where(t_s >= 1_500.0, np.where((t_s // 25.0) % 4 == 0, 0.0, 12.0), 0.0)
    whole = readings(t_s, speed_kmh=speed * 3.6, heading_deg=90.0, ignition=False, accuracy_m=3.0, satellites=12.0,
                     **place(np.cumsum(speed * np.diff(t_s, prepend=0.0)), 0.0))  # fmt: skip
    found = judged(ALL, whole)
    assert (kinds(found), codes(found)) == (["tow"], {"tow_moved_engine_off", "tow_by_road"})
    ferry = np.clip((t_s - 1_500.0) * 0.14, 0.0, 12.0)
    slow = readings(t_s, speed_kmh=ferry * 3.6, heading_deg=90.0 + np.clip(t_s - 1_600.0, 0.0, 90.0), ignition=False,
                    accuracy_m=3.0, satellites=12.0,
                    **place(np.cumsum(ferry * np.diff(t_s, prepend=0.0)), 0.0))  # fmt: skip
    assert judged(ALL, slow) == []


@pytest.mark.parametrize(
    "own", [{"rpm": 1_800.0}, {"external_v": 14.1}, {"external_v": 28.0}, {"obd_speed_kmh": by_road() * 3.6}]
)
def test_a_vehicle_whose_ignition_is_not_wired_drives_and_is_not_towed(own: dict[str, Any]) -> None:
    assert judged([TOW], parked_then(by_road(), tilt_deg=lifted(6.0), **own)) == []


def test_a_tow_that_was_ordered_is_none() -> None:
    ordered = Vehicle("v1", keeps_contracts=True, tenures=(Tenure("tow", START_S * S, None),))
    assert judged(ALL, parked_then(by_road(), tilt_deg=lifted(6.0)), vehicles=[ordered]) == []


def test_the_devices_own_tow_alarm_is_attention_until_the_vehicle_moves() -> None:
    parked = parked_then(np.zeros(600))
    found = judged([TOW], parked, events=[alarm("tow", 300)])
    assert (kinds(found), levels(found)) == (["tow"], [1])
    steady = np.where(np.arange(1_200) < 500, 0.0, 8.0)
    found = judged([TOW], parked_then(steady), events=[alarm("tow", 480)])
    assert (kinds(found), levels(found)) == (["tow"], [2])
    assert judged([TOW], in_order(drive(600)), events=[alarm("tow", 300)]) == []


# -- theft -------------------------------------------------------------------------------------------------------------


def held(*tenures: tuple[str, float, float | None], fence_ids: tuple[str, ...] = ()) -> Vehicle:
    return Vehicle(
        "v1",
        keeps_contracts=True,
        tenures=tuple(
            Tenure(kind, round((START_S + begin) * S), None if end is None else round((START_S + end) * S), fence_ids)
            for kind, begin, end in tenures
        ),
    )


def test_driving_without_a_contract_is_theft() -> None:
    for vehicle, code in (
        (held(), "theft_without_contract"),
        (held(("rental", -90_000.0, -7_200.0)), "theft_after_contract"),
    ):
        found = judged(ALL, in_order(drive(600)), vehicles=[vehicle])
        assert (kinds(found), levels(found), codes(found)) == (["theft"], [2], {code})
        assert spans_s(found) == [(0.0, 599.0)]


@pytest.mark.parametrize(
    "vehicle",
    [
        held(("rental", -3_600.0, None)),
        held(("staff", -100.0, 3_600.0)),
        held(("rental", -90_000.0, -300.0)),  # brought back a little late
        held(("rental", 700.0, 9_000.0)),  # fetched a little early
        Vehicle("v1"),  # nobody keeps contracts
    ],
)
def test_driving_with_a_contract_is_no_theft(vehicle: Vehicle) -> None:
    assert judged(ALL, in_order(drive(600)), vehicles=[vehicle]) == []


def test_shunting_drift_and_a_tow_are_no_theft() -> None:
    shunted = readings(np.arange(200), speed_kmh=12.0, ignition=True, accuracy_m=3.0, **place(np.arange(200) % 60, 0.0))
    assert judged([THEFT], shunted, vehicles=[held()]) == []
    glitch = np.zeros(600)
    glitch[300] = 40.0
    parked = readings(np.arange(600), speed_kmh=glitch, ignition=True, accuracy_m=3.0, **place(np.zeros(600), 0.0))
    assert judged([THEFT], parked, vehicles=[held()]) == []
    assert kinds(judged(ALL, parked_then(by_road(), tilt_deg=lifted(6.0)), vehicles=[held()])) == ["tow"]


def test_leaving_the_fence_of_the_contract_is_theft_and_its_rim_is_not() -> None:
    low, high = place(-500.0, -500.0), place(4_000.0, 500.0)
    area = shapely.box(*(float(corner[name]) for corner in (low, high) for name in ("lon_deg", "lat_deg")))
    fences = FenceSet([Fence("city", "City", area, rules=frozenset())])
    vehicle = held(("rental", -3_600.0, None), fence_ids=("city",))
    found = judged(ALL, in_order(drive(600)), vehicles=[vehicle], fences=fences)  # as far as 8.4 km
    assert (kinds(found), codes(found)) == (["theft"], {"theft_out_of_fence"})
    assert 290 <= spans_s(found)[0][0] <= 300  # 150 m beyond
    assert judged(ALL, in_order(drive(290)), vehicles=[vehicle], fences=fences) == []


def test_a_theft_with_stops_is_one_episode() -> None:
    columns = drive(2_400)
    for begin, end in ((500, 800), (1_300, 1_500)):
        columns["speed_kmh"][begin:end] = 0.0
    found = judged([THEFT], in_order(columns), vehicles=[held()])
    assert spans_s(found) == [(0.0, 2_399.0)]


# -- unplug ------------------------------------------------------------------------------------------------------------


def supplied(volts: Any, **more: Any) -> Readings:
    count = len(volts)
    return readings(np.arange(count), external_v=volts, battery_v=4.1, **{"speed_kmh": 0.0, "ignition": False, **more})


def cut_at(at: int, lasts: int, count: int = 900, to_v: float = 0.0) -> Any:
    volts = np.full(count, 12.6)
    volts[at : at + lasts] = to_v
    return volts


def test_a_supply_that_goes_at_once_is_unplugged_and_urgent_when_it_stays_away() -> None:
    found = judged(ALL, supplied(cut_at(300, 600)))
    assert (kinds(found), levels(found)) == (["unplug"], [2])
    assert codes(found) == {"unplug_supply_lost", "unplug_lasts"}
    found = judged(ALL, supplied(cut_at(300, 30)))
    assert (kinds(found), levels(found)) == (["unplug"], [1])
    assert found[0].finding.values["back_after_s"] == 30.0


def test_a_glitch_a_starter_and_a_battery_that_runs_flat_are_not_unplugged() -> None:
    assert judged(ALL, supplied(cut_at(300, 2))) == []
    assert judged(ALL, supplied(cut_at(300, 4, to_v=7.4))) == []
    assert judged(ALL, supplied(np.linspace(12.6, 2.0, 900))) == []
    weak = supplied(cut_at(300, 5, to_v=4.9), ignition=np.arange(900) >= 299)
    assert judged(ALL, weak) == []
    assert judged(ALL, supplied(np.zeros(900))) == []  # never connected


def test_silence_after_a_cut_is_urgent() -> None:
    other = in_order(drive(1_500), vehicle_id="v2")
    found = judged([UNPLUG], [supplied(cut_at(300, 20, 320)), other])
    assert (kinds(found), levels(found)) == (["unplug"], [2])
    assert "unplug_then_silent" in codes(found)


def test_a_cut_while_the_device_slept_is_found_when_it_wakes() -> None:
    t_s = np.array([0.0, 1_800.0, 3_600.0, 3_605.0, 3_700.0])
    whole = readings(t_s, external_v=[12.6, 12.5, 0.0, 0.0, 0.0], ignition=False, speed_kmh=0.0)
    assert kinds(judged([UNPLUG], whole)) == ["unplug"]


def test_a_workshop_may_unplug_and_the_device_may_say_so_itself() -> None:
    found = judged([UNPLUG], supplied(cut_at(300, 600)), vehicles=[held(("workshop", -60.0, None))])
    assert levels(found) == [1]
    assert kinds(judged([UNPLUG], supplied(np.full(600, np.nan)), events=[alarm("unplug", 300)])) == ["unplug"]
    assert judged([UNPLUG], supplied(np.full(600, 12.6)), events=[alarm("unplug", 300)]) == []


# -- tamper ------------------------------------------------------------------------------------------------------------


def set_back(by_s: float, at: int = 600, seconds: int = 1_200, **more: Any) -> Readings:
    t_s = np.arange(float(seconds))
    t_s[at:] -= by_s
    return readings(t_s, delay_s=np.where(np.arange(seconds) < at, 2.0, 2.0 + by_s), **drive(seconds), **more)


def test_a_clock_that_goes_back_is_tampered_with() -> None:
    found = judged(ALL, set_back(300.0))
    assert kinds(found) == ["tamper"]
    assert codes(found) == {"tamper_clock_set_back"}
    assert found[0].finding.values["max_clock_back_s"] == 300.0


def test_a_correction_a_reboot_late_data_and_a_hash_for_a_number_are_no_tampering() -> None:
    assert judged([TAMPER], set_back(20.0)) == []
    rebooted = set_back(300.0)
    rebooted.seq[600:] += 1 << 32
    assert judged([TAMPER], rebooted) == []
    late = readings(np.arange(900), delay_s=np.where(np.arange(900) % 7 == 0, 500.0, 2.0), **drive(900))
    assert judged([TAMPER], late) == []
    hashed = set_back(300.0)
    hashed.seq[:] = np.random.default_rng(1).integers(-(2**62), 2**62, len(hashed))
    assert judged([TAMPER], hashed) == []
    corrected = np.where(np.arange(1_200) < 600, np.arange(1_200) + 240.0, np.arange(1_200))
    ahead = readings(corrected, delay_s=np.where(np.arange(1_200) < 600, -238.0, 2.0), **drive(1_200))
    assert judged([TAMPER], ahead) == []
    restarted = in_order(drive(900), seq=np.concatenate((np.arange(400), np.arange(500))))
    assert judged([TAMPER], restarted) == []


def test_an_aerial_that_is_gone_is_no_tunnel() -> None:
    found = judged(ALL, in_order(without_fixes(drive(1_500), 300, 1_200)))
    assert (kinds(found), codes(found)) == (["tamper"], {"tamper_aerial"})
    assert judged(ALL, in_order(without_fixes(drive(1_500), 300, 700))) == []


def restless_sky(columns: dict[str, Any], begin: int) -> dict[str, Any]:
    """Houses take a third of the satellites in the last half minute, as streets do."""
    columns["satellites"][begin - 30 : begin] = 9.0
    columns["hdop"][begin - 30 : begin] = 1.6
    return columns


def two_drives(rest_s: int = 1_200) -> dict[str, Any]:
    """The aerial goes near the end of a drive, and is still gone on the next one."""
    parts = [restless_sky(drive(700), 400), drive(rest_s, speed_mps=0.0), drive(600)]
    parts[1]["ignition"][:] = 0.0
    columns = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    columns["odometer_km"] = 1_000.0 + np.cumsum(columns["obd_speed_kmh"]) / 3_600.0
    return without_fixes(columns, 400, 1_300 + rest_s)


def test_an_aerial_that_is_gone_is_found_on_the_next_drive_and_under_any_sky() -> None:
    found = judged(ALL, in_order(two_drives()))
    assert (kinds(found), codes(found)) == (["tamper"], {"tamper_aerial"})
    # Parking without a fix is no drive without one.
    parked = two_drives()
    for name in ("ignition", "obd_speed_kmh"):
        parked[name][1_900:] = 0.0
    parked["odometer_km"][1_900:] = parked["odometer_km"][1_900]
    assert judged(ALL, in_order(parked)) == []


def test_a_boot_counter_that_falls_is_another_device() -> None:
    first, second = drive(300), drive(300)
    one = readings(np.arange(300), boot=40, **first)
    two = readings(np.arange(300, 600), boot=3, **second)
    assert codes(judged([TAMPER], [one, two])) == {"tamper_device_exchanged"}
    workshop = held(("workshop", 0.0, 600.0))
    assert judged([TAMPER], [one, two], vehicles=[workshop]) == []
    later = readings(np.arange(300, 600), boot=41, **second)
    assert judged([TAMPER], [one, later]) == []


@pytest.mark.parametrize("kind", ["tamper", "case_open", "gnss_antenna_open", "gpsAntennaCut", "sim_swap"])
def test_the_devices_own_word_is_enough_for_tampering(kind: str) -> None:
    found = judged(ALL, in_order(drive(300)), events=[alarm(kind, 100)])
    assert (kinds(found), levels(found)) == (["tamper"], [2])


def test_an_alarm_that_is_over_or_of_something_else_is_no_tampering() -> None:
    for kind in ("gnss_antenna_ok", "gnss_antenna_restored", "door", "low_battery", "overspeed"):
        assert judged([TAMPER], in_order(drive(300)), events=[alarm(kind, 100)]) == []


# -- silence while moving ----------------------------------------------------------------------------------------------


def silent_after(seconds: int, *, known_s: int = 1_500, **more: Any) -> list[Readings]:
    columns = drive(seconds) | more
    return [in_order(columns), in_order(drive(known_s), vehicle_id="v2")]


def test_a_vehicle_that_falls_silent_while_driving_is_found_and_graded_by_its_last_state() -> None:
    found = judged([OFFLINE], silent_after(600))
    assert (kinds(found), levels(found)) == (["offline_while_moving"], [2])
    assert spans_s(found) == [(599.0, pytest.approx(1_499.0, abs=3.0))]
    for more in ({"external_v": np.full(600, 8.0)}, {"speed_kmh": np.full(600, 15.0)}):
        assert levels(judged([OFFLINE], silent_after(600, **more))) == [1]
    assert levels(judged([OFFLINE], silent_after(600, known_s=1_000))) == [1]


def test_a_stop_a_gap_of_coverage_a_backlog_and_a_clock_set_forward_are_no_silence() -> None:
    stopped = drive(600)
    stopped["speed_kmh"][590:] = 0.0
    assert judged([OFFLINE], [in_order(stopped), in_order(drive(1_500), vehicle_id="v2")]) == []
    parked = drive(600)
    parked["ignition"][598:] = 0.0
    assert judged([OFFLINE], [in_order(parked), in_order(drive(1_500), vehicle_id="v2")]) == []
    columns = drive(1_500)
    kept = np.flatnonzero((np.arange(1_500) < 600) | (np.arange(1_500) >= 720))
    assert judged([OFFLINE], in_order(columns).take(kept)) == []
    t = np.arange(1_500)
    backlog = in_order(columns, delay_s=np.where((t >= 600) & (t < 1_300), 1_302.0 - t, 2.0))
    assert judged([OFFLINE], backlog) == []
    ahead = readings(np.where(t < 600, t - 200.0, t + 150.0), delay_s=np.where(t < 600, 202.0, -148.0), **columns)
    assert judged([OFFLINE], ahead) == []


def test_a_silence_after_a_crash_or_a_cut_is_theirs() -> None:
    crash = [alarm("crash", 597)]
    assert judged([OFFLINE], silent_after(600), events=crash) == []
    unplugged = np.where(np.arange(600) < 590, 13.9, 0.0)
    assert kinds(judged([OFFLINE, UNPLUG], silent_after(600, external_v=unplugged))) == ["unplug"]


def test_a_vehicle_that_comes_back_was_silent_and_one_that_speaks_seldom_is_not() -> None:
    columns = drive(2_000)
    kept = np.flatnonzero((np.arange(2_000) < 600) | (np.arange(2_000) >= 1_000))
    (found,) = judged([OFFLINE], in_order(columns).take(kept))
    assert spans_s([found]) == [(599.0, 1_000.0)]
    assert found.finding.values["back"] is True
    seldom = readings(np.arange(0, 6_000, 300), speed_kmh=60.0, ignition=True)
    assert judged([OFFLINE], seldom) == []


# -- together ----------------------------------------------------------------------------------------------------------


_CASES = ["jamming", "aerial", "aerial, two drives", "tow", "theft", "unplug", "clock", "silence"]


def case_of(name: str) -> tuple[Readings, dict[str, Any]]:
    if name == "jamming":
        return in_order(jammed(loss_s=200)), {}
    if name == "aerial":
        return in_order(without_fixes(drive(1_300), 300, 1_100)), {}
    if name == "aerial, two drives":
        return in_order(two_drives()), {}
    if name == "tow":
        return parked_then(by_road(), tilt_deg=lifted(6.0)), {"events": [alarm("tow", 470)]}
    if name == "theft":
        return in_order(drive(900)), {"vehicles": [held(("rental", -90_000.0, -7_200.0))]}
    if name == "unplug":
        return supplied(cut_at(300, 400)), {"events": [alarm("unplug", 301)]}
    if name == "clock":
        return set_back(240.0), {}
    return in_order(drive(900)).take(np.flatnonzero((np.arange(900) < 300) | (np.arange(900) >= 700))), {}


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10_000), st.sampled_from(_CASES))
def test_the_outcome_is_the_same_in_any_order(seed: int, name: str) -> None:
    whole, more = case_of(name)
    assert judged(ALL, whole, **more)
    assert_same_in_any_order(ALL, seed, whole, **more)


def test_one_cause_gives_one_kind() -> None:
    every = (*ALL, POSITION_INTEGRITY)
    for name, kind in (("jamming", "jamming"), ("aerial", "tamper"), ("tow", "tow"), ("clock", "tamper")):
        whole, more = case_of(name)
        assert set(kinds(judged(every, whole, **more))) == {kind}


def test_ordinary_traffic_raises_nothing() -> None:
    ordinary = made_drives.ordinary_traffic(vehicles=20, seconds=1_200, seed=4)
    vehicles = [Vehicle(one, keeps_contracts=True, tenures=(Tenure("rental", 0, None),)) for one in ordinary.vehicles]
    assert judged(ALL, ordinary, vehicles=vehicles) == []


def test_a_gate_opens_only_where_there_is_something_to_see() -> None:
    memory = Memory(vehicles={"v1": held(("rental", 0.0, None))})
    fresh = memory.add(in_order(drive(900)), [])
    verdict = Judge({one.name: one for one in ALL}).judge(memory, fresh, [])
    assert verdict.examined == 0
