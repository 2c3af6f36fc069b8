"""Scenarios played by roles: contract, truth, companions, and that what is decoded means what the truth says."""

from collections import defaultdict
from collections.abc import Callable
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
import shapely

from fleet_core import publications, topics
from fleet_core.publications import Message
from fleet_core.readings import Readings
from fleet_core.settings import Settings
from ingest import batch
from ingest.message import Message as Received
from simulators import scenario, town
from simulators.citypack import CityPack
from simulators.errands import DAY_S, HOUR_S
from simulators.play import Play
from simulators.scenario import CRASH_LIKE, EVERY_KIND, Request

# 10:00 in Shanghai.
START_MS = 1_764_036_000_000
PARTITIONS = 16
# Roles in which something must be found, by scenario; every other role is a companion that only looks like it.
POSITIVE: dict[str, set[str]] = {
    "speeding": {"_over_the_limit", "_with_gaps", "_through_a_fence"},
    "long_driving": {"_with_short_stops", "_rest_too_short", "_heavy_at_night"},
    "night_driving": {"_in_the_small_hours", "_right_through"},
    "tow": {"_from_the_street", "_from_the_depot", "_without_a_lift_to_see", "_nobody_keeps_contracts"},
    "theft": {"_without_a_contract", "_out_of_its_fence", "_between_rentals", "_cut_off"},
    "unplug_tamper": {"_unplugged", "_antenna_off", "_clock_turned_back"},
    "jamming": {"_jammed_long", "_jammed_short"},
    "spoofing": {"_jump", "_ramp", "_freeze", "_replay"},
    "tunnel": set(),
    "car_park": set(),
    "weak_battery": {"_worn", "_alternator_fails"},
    "overheating": {"_driven_on", "_stopped_in_time"},
    "tyre_trouble": {"_leak_of_minutes", "_blow_out", "_leak_of_hours", "_leak_of_days"},
    "trouble_codes": {"_misfire", "_grave", "_slight", "_two_at_once", "_repaired"},
    "fuel_theft": {"_while_parked", "_while_asleep", "_while_idling"},
    "odometer_rollback": {"_turned_back", "_turned_back_on_the_road"},
    "geofence_exit": {"_leaves", "_arrives_and_stays", "_between_two_fixes"},
    "offline_while_moving": {"_heard_no_more", "_cut_by_a_thief"},
    "outage_backfill": {"_speeds", "_stops_hard"},
    "reboot_clock": set(),
    "feed_trouble": {"_always_late", "_frozen", "_jumping", "_loose"},
}
Records = list[dict[str, Any]]


@pytest.fixture(scope="module")
def city(tmp_path_factory: pytest.TempPathFactory) -> CityPack:
    return town.write_demo_pack(tmp_path_factory.mktemp("town"))


class Played:
    """One run of a scenario with every role once: what was sent, what is true, and what ingest makes of it."""

    def __init__(self, name: str, city: CityPack, **changes: Any) -> None:
        found = scenario.scenarios()[name]
        assert isinstance(found, Play)
        self.play = found
        asked: dict[str, Any] = {
            "vehicles": len(found.roles), "seed": 3, "city": city, "start_ms": START_MS, "duration_s": None,
            "encode": publications.encoder("json"), "partitions": PARTITIONS, "id_prefix": found.id_prefix,
        } | changes  # fmt: skip
        asked.setdefault("clock_offset_ms", np.zeros(asked["vehicles"], dtype=np.int64))
        self.request = Request(**asked)
        self.order: list[str] = []
        self.truth: Records = []
        self.sent: list[Message] = []
        for message in found.messages(self.request, self._tell):
            self.sent.append(message)
            self.order.append("message")
        self.decoded = decoded(self.sent)

    def _tell(self, record: dict[str, Any]) -> None:
        self.truth.append(record)
        self.order.append(record["kind"])

    def role(self, name: str) -> str:
        """Vehicle that plays a role."""
        names = [role.__name__ for role in self.play.roles]
        return self.request.vehicle_ids()[names.index(name)]

    def incidents(self, vehicle_id: str) -> Records:
        return [one for one in self.truth if one["kind"] == "incident" and one["vehicle_id"] == vehicle_id]

    def readings(self, vehicle_id: str) -> Readings:
        everything = self.decoded.readings
        index = everything.vehicles.index(vehicle_id)
        return everything.take(np.flatnonzero(everything.vehicle_index == index)).in_key_order()[0]

    def track(self, vehicle_id: str, name: str) -> tuple[Any, Any]:
        """True times (ms) and values while the ignition was on."""
        parts = [one for one in self.truth if one["kind"] == "track" and one["vehicle_id"] == vehicle_id]
        return (np.concatenate([part[key] for part in parts]) for key in ("t_ms", name))  # type: ignore[return-value]


def decoded(sent: list[Message]) -> batch.Batch:
    received = [Received("s", 1, n, item.topic, item.payload, item.due_ms * 1000) for n, item in enumerate(sent)]
    return batch.decode(received, Settings(partitions=PARTITIONS))


@pytest.fixture(scope="module")
def played(city: CityPack) -> Callable[[str], Played]:
    return cache(lambda name: Played(name, city))


def within(readings: Readings, record: dict[str, Any], *, margin_ms: int = 0) -> Any:
    times = readings.device_time_us // 1000
    return (times >= record["t_ms"] - margin_ms) & (times <= record["until_ms"] + margin_ms)


# -- every scenario ----------------------------------------------------------------------------------------------------


def test_every_play_is_here() -> None:
    plays = {name for name, item in scenario.scenarios().items() if isinstance(item, Play)}
    assert set(POSITIVE) <= plays
    for name, positive in POSITIVE.items():
        play = scenario.scenarios()[name]
        assert isinstance(play, Play)
        assert positive <= {role.__name__ for role in play.roles}, name


@pytest.mark.parametrize("name", POSITIVE)
def test_a_scenario_speaks_the_contract(played: Callable[[str], Played], name: str) -> None:
    run = played(name)
    codes = {refusal.code for refusal in run.decoded.refused.values()}
    assert codes == ({"clock_not_set"} if name == "reboot_clock" else set())
    due = [message.due_ms for message in run.sent]
    assert due == sorted(due)
    assert due[0] >= START_MS
    assert due[-1] <= START_MS + run.play.duration_s * 1000
    counted: dict[tuple[str, int], list[tuple[int, int]]] = defaultdict(list)
    for message in run.sent:
        parsed = topics.parse(message.topic)
        assert parsed.vehicle_id == message.vehicle_id
        assert message.retain == (parsed.stream == topics.STATUS)
        if message.count:
            counted[message.vehicle_id, message.boot].append((message.seq, message.seq + message.count))
    # A number is given once: the same span again is the same message again.
    for spans in counted.values():
        once = sorted(set(spans))
        assert all(before[1] <= after[0] for before, after in pairwise(once))
    assert {message.vehicle_id for message in run.sent} == set(run.request.vehicle_ids())


@pytest.mark.parametrize("name", POSITIVE)
def test_its_truth_is_complete(played: Callable[[str], Played], name: str) -> None:
    run = played(name)
    ids = run.request.vehicle_ids()
    known = [one["vehicle_id"] for one in run.truth if one["kind"] == "vehicle"]
    assert known == ids
    assert "vehicle" not in run.order[run.order.index("message") :]
    assert run.play.expects <= EVERY_KIND
    assert run.play.must_not <= EVERY_KIND
    assert run.play.must_not >= CRASH_LIKE
    assert not run.play.expects & run.play.must_not
    end_ms = START_MS + run.play.duration_s * 1000
    for one in run.truth:
        if one["kind"] == "incident":
            assert one["incident"] in run.play.expects
            assert START_MS <= one["t_ms"] <= one.get("until_ms", one["t_ms"]) <= end_ms
            levels = one.get("level", [])
            assert set(levels if isinstance(levels, list) else [levels]) <= {1, 2, 3}
        if one["kind"] == "allowed":
            assert one["incident"] not in run.play.must_not
            assert one["from_ms"] < one["until_ms"]
    told = {one["incident"] for one in run.truth if one["kind"] == "incident"}
    assert told == run.play.expects


@pytest.mark.parametrize("name", POSITIVE)
def test_companions_have_no_incident_and_the_others_have(played: Callable[[str], Played], name: str) -> None:
    run = played(name)
    for role in (role.__name__ for role in run.play.roles):
        assert bool(run.incidents(run.role(role))) == (role in POSITIVE[name]), role
    if POSITIVE[name]:
        assert run.play.roles[0].__name__ in POSITIVE[name]
        assert len(run.play.roles) > len(POSITIVE[name])


@pytest.mark.parametrize("name", ["speeding", "tow", "trouble_codes", "geofence_exit"])
def test_the_seed_decides_everything(played: Callable[[str], Played], city: CityPack, name: str) -> None:
    first, again = played(name), Played(name, city)
    assert again.sent == first.sent
    assert again.truth == first.truth
    assert Played(name, city, seed=4, vehicles=2).sent != [
        one for one in first.sent if one.vehicle_id in first.request.vehicle_ids()[:2]
    ]


def test_messagepack_says_the_same(played: Callable[[str], Played], city: CityPack) -> None:
    packed = Played("trouble_codes", city, encode=publications.encoder("msgpack"))
    plain = played("trouble_codes")
    assert not packed.decoded.refused
    for name, values in plain.decoded.readings.columns.items():
        assert np.array_equal(packed.decoded.readings.columns[name], values, equal_nan=values.dtype.kind == "f"), name


def test_a_clock_that_is_ahead_shifts_all_stamps_and_no_departure(
    played: Callable[[str], Played], city: CityPack
) -> None:
    plain = played("tow")
    offset = np.full(len(plain.play.roles), 45_000, dtype=np.int64)
    ahead = Played("tow", city, clock_offset_ms=offset)
    assert [one.due_ms for one in ahead.sent] == [one.due_ms for one in plain.sent]
    assert [one.t_first_ms - 45_000 for one in ahead.sent] == [one.t_first_ms for one in plain.sent]


def test_a_shorter_run_is_the_beginning_of_the_whole(played: Callable[[str], Played], city: CityPack) -> None:
    whole, part = played("jamming"), Played("jamming", city, duration_s=1_500)
    assert part.sent == [one for one in whole.sent if one.due_ms <= START_MS + 1_500_000]
    expected = [one for one in whole.truth if one["kind"] == "incident" and one["t_ms"] <= START_MS + 1_500_000]
    assert [one for one in part.truth if one["kind"] == "incident"] == expected


def test_a_month_is_short(played: Callable[[str], Played]) -> None:
    """What costs is samples and messages: a month of one vehicle has no more than a day of driving at 1 Hz."""
    run = played("weak_battery")
    vehicles = len(run.play.roles)
    assert run.decoded.readings.device_time_us.max() // 1000 > START_MS + 29.9 * DAY_S * 1000
    assert len(run.decoded.readings) < 20_000 * vehicles
    assert len(run.sent) < 2_000 * vehicles


# -- what the scenarios mean, by what ingest decodes -------------------------------------------------------------------


def test_speeding_is_above_the_tolerance_and_its_companions_are_not(played: Callable[[str], Played]) -> None:
    run = played("speeding")
    fast = run.role("_over_the_limit")
    times, speed = run.track(fast, "speed_kmh")
    _, limit = run.track(fast, "limit_kmh")
    excess = speed - limit - np.maximum(3.0, 0.05 * limit)
    for one in run.incidents(fast):
        rows = (times >= one["t_ms"]) & (times <= one["until_ms"])
        assert rows.sum() >= 6
        assert excess[rows].max() >= 1.5
        assert speed[rows].max() == pytest.approx(one["peak_kmh"], abs=0.1)
    # In between there is no second above the tolerance that is not told.
    told = np.zeros(len(times), dtype=bool)
    for one in [*run.incidents(fast), *(a for a in run.truth if a["kind"] == "allowed" and a["vehicle_id"] == fast)]:
        told |= (times >= one.get("t_ms", one.get("from_ms"))) & (times <= one["until_ms"])
    run_lengths = np.diff(np.flatnonzero(np.diff(np.concatenate(([0], (excess > 0) & ~told, [0])).astype(int))))[::2]
    assert (run_lengths <= 3).all()
    _, calm = run.track(run.role("_within_tolerance"), "speed_kmh")
    _, calm_limit = run.track(run.role("_within_tolerance"), "limit_kmh")
    assert (calm - calm_limit).max() < 3.0
    assert (calm - calm_limit).max() > -0.5
    gaps = run.incidents(run.role("_with_gaps"))
    assert all(one["until_ms"] - one["t_ms"] > 15_000 for one in gaps)


def test_rests_and_spells_are_as_long_as_they_are_said_to_be(played: Callable[[str], Played]) -> None:
    run = played("long_driving")
    for role, longest_h in (("_with_short_stops", 4.0), ("_rest_too_short", 4.0), ("_heavy_at_night", 2.0)):
        (one,) = run.incidents(run.role(role))
        assert one["until_ms"] - one["t_ms"] > 0
        assert one["driven_h"] > longest_h
    rested = run.readings(run.role("_rested"))
    on_us = rested.device_time_us[rested.flag("ignition") == 1]
    pauses = np.diff(on_us) / 60e6
    assert sorted(pauses[pauses > 15])[-1] >= 20.0
    spells = np.diff(np.concatenate(([0], np.flatnonzero(pauses > 20), [len(on_us) - 1])))
    assert (spells * 5.0 / 3600 < 3.5).all() or len(spells) > 1
    hours = (run.readings(run.role("_heavy_at_night")).device_time_us / 3.6e9 + 8) % 24
    moving = run.readings(run.role("_heavy_at_night")).number("speed_kmh") > 5
    assert ((hours[moving] >= 22) | (hours[moving] < 2)).all()


def test_night_is_night(played: Callable[[str], Played]) -> None:
    run = played("night_driving")
    for role, hours_allowed in (("_home_before", (0.0, 2.0)), ("_early_start", (5.0, 8.0))):
        readings = run.readings(run.role(role))
        moving = np.nan_to_num(readings.number("speed_kmh")) > 3
        hours = (readings.device_time_us[moving] / 3.6e9 + 8) % 24
        assert (hours > hours_allowed[0]).all()
        assert (hours < hours_allowed[1]).all()


def test_a_tow_moves_far_with_the_ignition_off_and_a_jack_does_not(played: Callable[[str], Played]) -> None:
    run = played("tow")

    def moved_m(readings: Readings, rows: Any) -> float:
        lat, lon = readings.number("lat_deg")[rows], readings.number("lon_deg")[rows]
        return float(np.hypot((lat.max() - lat.min()) * 111e3, (lon.max() - lon.min()) * 95e3))

    for role in POSITIVE["tow"]:
        readings = run.readings(run.role(role))
        (one,) = run.incidents(run.role(role))
        rows = within(readings, one)
        assert (readings.flag("ignition")[rows] == 0).all()
        assert moved_m(readings, rows) > 300
        assert np.nan_to_num(readings.number("rpm")[rows]).max() == 0
    lifted = run.readings(run.role("_from_the_street"))
    (one,) = run.incidents(run.role("_from_the_street"))
    tilt = np.degrees(np.arcsin(lifted.number("accel_x_mps2")[within(lifted, one)] / 9.80665))
    assert 3.0 - 1.0 < np.abs(np.median(tilt)) < 15.0 + 1.0
    assert (lifted.flag("accel_gravity") == 1).all()
    for role in ("_wheel_change", "_storm"):
        readings = run.readings(run.role(role))
        on = np.flatnonzero(readings.flag("ignition") == 1)
        gap = int(np.argmax(np.diff(on) > 5))  # the first stop after the first drive
        last = on[gap + 1] if (np.diff(on) > 5).any() else len(readings)
        stop = slice(on[gap] + 1 if last != len(readings) else on[-1] + 1, last)
        assert readings.device_time_us[stop][-1] - readings.device_time_us[stop][0] > 2_000e6
        assert moved_m(readings, stop) < 250
    ferry = run.readings(run.role("_on_a_ferry"))
    assert moved_m(ferry, ferry.flag("ignition") == 0) > 1_000


def test_theft_happens_without_a_contract(played: Callable[[str], Played]) -> None:
    run = played("theft")
    known = {one["vehicle_id"]: one.get("tenures") for one in run.truth if one["kind"] == "vehicle"}
    assert known[run.role("_nobody_keeps_contracts")] is None
    for role in ("_without_a_contract", "_between_rentals"):
        for one in run.incidents(run.role(role)):
            held = [t for t in known[run.role(role)] or [] if t["from_ms"] <= one["t_ms"] < (t["until_ms"] or 1e18)]
            assert held == []
    for role in ("_rented_out", "_moved_by_staff", "_road_test"):
        times, _ = run.track(run.role(role), "speed_kmh")
        (_, until) = known[run.role(role)][-1]["from_ms"], known[run.role(role)][-1]["until_ms"]
        assert known[run.role(role)][-1]["from_ms"] <= times.min()
        assert until is None or times.max() <= until
    cut = run.readings(run.role("_cut_off"))
    assert cut.number("external_v")[-1] < 0.5
    assert cut.number("battery_v")[-1] > 3.5


def test_what_is_cut_reads_zero_and_a_cranking_dip_does_not(played: Callable[[str], Played]) -> None:
    run = played("unplug_tamper")
    readings = run.readings(run.role("_unplugged"))
    (one,) = run.incidents(run.role("_unplugged"))
    rows = within(readings, one)
    assert readings.number("external_v")[rows].max() < 0.5
    assert readings.number("external_v")[~rows].min() > 5.25
    assert run.readings(run.role("_hard_starts")).number("external_v").min() > 7.0
    swinging = run.readings(run.role("_smart_alternator"))
    running = swinging.number("external_v")[swinging.number("rpm") > 600]
    assert running.min() < 12.9
    assert running.max() > 14.7
    turned = [one for one in run.sent if one.vehicle_id == run.role("_clock_turned_back") and one.count]
    back = [(a, b) for a, b in pairwise(turned) if b.t_first_ms < a.t_last_ms - HOUR_S * 1000]
    assert len(back) == 1
    assert back[0][0].boot == back[0][1].boot
    assert back[0][1].seq == back[0][0].seq + back[0][0].count


def test_jammed_fixes_fade_and_are_gone_while_wheels_turn(played: Callable[[str], Played]) -> None:
    run = played("jamming")
    for role in POSITIVE["jamming"]:
        readings = run.readings(run.role(role))
        for one in run.incidents(run.role(role)):
            times = readings.device_time_us // 1000
            lost = (times > one["t_ms"] + one["faded_s"] * 1000 + 1_000) & (times < one["until_ms"] - 1_000)
            assert (readings.flag("fix_valid")[lost] == 0).all()
            assert np.isnan(readings.number("lat_deg")[lost]).all()
            before = (times < one["t_ms"]) & (times > one["t_ms"] - 60_000)
            fading = (times >= one["t_ms"]) & (times < one["t_ms"] + one["faded_s"] * 1000)
            fading &= readings.flag("fix_valid") != 0
            assert readings.number("satellites")[fading][-1] < readings.number("satellites")[before].mean() - 3
            assert readings.number("hdop")[fading][-1] > readings.number("hdop")[before].mean()
            assert np.nanmax(readings.number("obd_speed_kmh")[lost | fading]) > 5
    canyon = run.readings(run.role("_between_towers"))
    assert (canyon.flag("fix_valid") != 0).all()


def test_a_tunnel_ends_where_its_road_leads(played: Callable[[str], Played]) -> None:
    run = played("tunnel")
    for vehicle_id in run.request.vehicle_ids():
        readings = run.readings(vehicle_id)
        valid = readings.flag("fix_valid") != 0
        seconds = readings.device_time_us / 1e6
        edges = np.flatnonzero(np.diff(valid.astype(int)))
        assert len(edges) >= 4
        for begin, end in zip(edges[::2], edges[1::2], strict=True):
            lat, lon, odometer = (readings.number(name) for name in ("lat_deg", "lon_deg", "odometer_km"))
            straight = np.hypot((lat[end + 1] - lat[begin]) * 111e3, (lon[end + 1] - lon[begin]) * 95e3)
            driven = (odometer[end + 1] - odometer[begin]) * 1000
            assert 0.8 * driven - 70 < straight < driven + 70
            assert 10 < seconds[end] - seconds[begin] < 175


def test_spoofed_places_are_false_and_wheels_are_not(played: Callable[[str], Played]) -> None:
    run = played("spoofing")
    for role in POSITIVE["spoofing"]:
        vehicle_id = run.role(role)
        readings = run.readings(vehicle_id)
        (one,) = run.incidents(vehicle_id)
        times, lat = run.track(vehicle_id, "lat_deg")
        _, lon = run.track(vehicle_id, "lon_deg")
        _, speed = run.track(vehicle_id, "speed_kmh")
        at = readings.device_time_us / 1000
        north = (readings.number("lat_deg") - np.interp(at, times, lat)) * 111e3
        east = (readings.number("lon_deg") - np.interp(at, times, lon)) * 95e3
        off = np.hypot(north, east)
        rows = within(readings, one, margin_ms=-2_000)
        assert np.nanmax(off[rows]) > 300, role
        clear = ~within(readings, one, margin_ms=2_000) & (readings.flag("ignition") == 1)
        assert np.nanpercentile(off[clear], 99) < 30, role
        wheels = readings.number("obd_speed_kmh")[rows]
        assert np.nanmedian(np.abs(wheels - np.interp(at, times, speed)[rows])) < 4


def test_a_worn_battery_falls_and_a_cold_week_passes(played: Callable[[str], Played]) -> None:
    run = played("weak_battery")

    def rest_v(role: str) -> tuple[float, float, float]:
        readings = run.readings(run.role(role))
        day = (readings.device_time_us / 1e6 - START_MS / 1e3) / DAY_S
        resting = (readings.flag("ignition") == 0) & ((readings.device_time_us / 3.6e9 + 8) % 24 < 6)
        volts = readings.number("external_v")
        spans = ((0, 4), (13, 15), (26, 30))
        return tuple(float(np.median(volts[resting & (day >= a) & (day < b)])) for a, b in spans)  # type: ignore[return-value]

    begin, middle, end = rest_v("_worn")
    assert 0.018 * 25 < begin - end < 0.026 * 28
    (one,) = run.incidents(run.role("_worn"))
    assert -0.025 < one["rest_v_a_day"] < -0.017
    begin, middle, end = rest_v("_cold_week")
    assert begin - middle > 0.03
    assert abs(begin - end) < 0.1
    healthy = run.readings(run.role("_healthy_scatter"))
    volts = healthy.number("external_v")[healthy.flag("ignition") == 0]
    assert volts.min() >= 11.94
    assert volts.max() <= 13.08
    dead = run.readings(run.role("_alternator_fails"))
    (one,) = run.incidents(run.role("_alternator_fails"))
    running = (dead.number("rpm") > 600) & (dead.device_time_us // 1000 > one["t_ms"] + 5_000)
    assert running.sum() > 20
    assert dead.number("external_v")[running].max() < 12.6


def test_coolant_climbs_and_its_companions_stay_below(played: Callable[[str], Played]) -> None:
    run = played("overheating")
    for role in POSITIVE["overheating"]:
        readings = run.readings(run.role(role))
        (one,) = run.incidents(run.role(role))
        assert 2.0 <= one["climb_c_min"] <= 6.0
        assert np.nanmax(readings.number("coolant_c")) >= 116
        before = readings.device_time_us // 1000 < one["t_ms"]
        assert np.nanmax(readings.number("coolant_c")[before]) < 96
    for role in ("_hot_soak", "_up_a_hill", "_dead_sensor"):
        assert np.nanmax(run.readings(run.role(role)).number("coolant_c")) < 106, role


def test_one_tyre_leaks_and_four_warm_up_together(played: Callable[[str], Played]) -> None:
    run = played("tyre_trouble")
    wheels = ("fl", "fr", "rl", "rr")
    for role in POSITIVE["tyre_trouble"]:
        readings = run.readings(run.role(role))
        (one,) = run.incidents(run.role(role))
        for wheel in wheels:
            pressure = readings.number(f"tyre_{wheel}_kpa")
            known = pressure[~np.isnan(pressure)]
            if wheel == one["wheel"]:
                assert known[-1] < 0.75 * known[0], role
            else:
                assert known.min() > 0.85 * known[0], role
    for role in ("_warm_tyres", "_cold_mornings", "_pumped_up"):
        readings = run.readings(run.role(role))
        shares = np.array([readings.number(f"tyre_{wheel}_kpa") for wheel in wheels])
        shares = shares[:, ~np.isnan(shares).any(axis=0)]
        shares = shares / np.median(shares, axis=1, keepdims=True)
        assert np.ptp(shares, axis=0).max() < 0.08, role
        assert np.ptp(shares) > 0.07, role


def test_codes_are_said_as_the_truth_tells(played: Callable[[str], Played]) -> None:
    run = played("trouble_codes")
    said: dict[str, list[tuple[int, Any]]] = defaultdict(list)
    for event in run.decoded.events:
        assert event.stream == topics.DIAGNOSTICS
        body = msgspec.json.decode(event.body_json)
        said[event.vehicle_id].append((body["t_ms"], body["codes"]))
    for vehicle_id in run.request.vehicle_ids():
        confirmed = {c["code"] for _, codes in said[vehicle_id] for c in codes if c["status"] == "confirmed"}
        assert confirmed == {one["code"] for one in run.incidents(vehicle_id)}
        for one in run.incidents(vehicle_id):
            first = min(t for t, codes in said[vehicle_id] if any(
                c["code"] == one["code"] and c["status"] == "confirmed" for c in codes))  # fmt: skip
            assert first == one["t_ms"]
            assert one["level"] == ([1] if one["code"] in ("P0440", "P0442", "P0455", "P0420") else [2, 3])


def test_stolen_fuel_is_gone_and_slosh_comes_back(played: Callable[[str], Played]) -> None:
    run = played("fuel_theft")

    def around(role: str) -> tuple[float, float]:
        readings = run.readings(run.role(role))
        (one,) = run.incidents(run.role(role))
        level, times = readings.number("fuel_pct"), readings.device_time_us // 1000
        known = ~np.isnan(level)
        before, after = known & (times < one["t_ms"]), known & (times > one["until_ms"])
        assert one["stolen_pct"] >= 12
        return float(np.median(level[before][-10:]) - np.median(level[after][:10])), one["stolen_pct"]

    for role in POSITIVE["fuel_theft"]:
        fallen, stolen = around(role)
        assert abs(fallen - stolen) < 4, role
    hills = run.readings(run.role("_over_hills")).number("fuel_pct")
    assert np.nanmax(hills) - np.nanmin(hills) > 6
    filled = run.readings(run.role("_filled_up")).number("fuel_pct")
    assert filled[~np.isnan(filled)][-1] > filled[~np.isnan(filled)][0] + 20


def test_an_odometer_that_was_turned_back_stays_back(played: Callable[[str], Played]) -> None:
    run = played("odometer_rollback")
    for vehicle_id in run.request.vehicle_ids():
        odometer = run.readings(vehicle_id).number("odometer_km")
        odometer = odometer[odometer > 0]
        lost = float(odometer.max() - odometer[-1])
        taken = [one["taken_off_km"] for one in run.incidents(vehicle_id)]
        assert lost == pytest.approx(taken[0], abs=60) if taken else lost < 1.5


def test_fences_are_crossed_where_the_truth_says(played: Callable[[str], Played]) -> None:
    run = played("geofence_exit")
    fences = {one["fence_id"]: one for one in run.truth if one["kind"] == "fence"}
    assert all(one["vehicle_ids"] == [one["fence_id"].removesuffix("-area")] for one in fences.values())
    for role in ("_leaves", "_arrives_and_stays"):
        vehicle_id = run.role(role)
        area = shapely.from_geojson(msgspec.json.encode(fences[f"{vehicle_id}-area"]["geojson"]).decode())
        times, lat = run.track(vehicle_id, "lat_deg")
        _, lon = run.track(vehicle_id, "lon_deg")
        inside = shapely.contains_xy(area, lon, lat)
        for one in run.incidents(vehicle_id):
            if one["incident"] == "geofence_dwell":
                continue
            before, after = inside[times < one["t_ms"] - 2_000], inside[times >= one["t_ms"] + 2_000]
            assert (bool(before[-1]), bool(after[0])) == (
                (False, True) if one["incident"] == "geofence_entry" else (True, False)
            )
    crossing = run.role("_between_two_fixes")
    area = shapely.from_geojson(msgspec.json.encode(fences[f"{crossing}-area"]["geojson"]).decode())
    readings = run.readings(crossing)
    one = run.incidents(crossing)[0]
    rows = np.flatnonzero(within(readings, one, margin_ms=100))
    lat, lon = readings.number("lat_deg")[rows], readings.number("lon_deg")[rows]
    assert not shapely.contains_xy(area, lon, lat).any()
    assert shapely.LineString(np.column_stack((lon, lat))).intersects(area)
    parked = run.role("_parked_at_the_border")
    area = shapely.from_geojson(msgspec.json.encode(fences[f"{parked}-area"]["geojson"]).decode())
    sides = shapely.contains_xy(area, run.readings(parked).number("lon_deg"), run.readings(parked).number("lat_deg"))
    assert 0.02 < sides.mean() < 0.98  # the fix does wander over the border


def test_the_silent_are_never_heard_again(played: Callable[[str], Played]) -> None:
    run = played("offline_while_moving")
    for role in POSITIVE["offline_while_moving"]:
        vehicle_id = run.role(role)
        (one,) = run.incidents(vehicle_id)
        mine = [message for message in run.sent if message.vehicle_id == vehicle_id]
        assert max(message.due_ms for message in mine) <= one["t_ms"] + 1_000
        readings = run.readings(vehicle_id)
        assert readings.flag("ignition")[-1] == 1
        assert readings.number("obd_speed_kmh")[-1] > 10
        assert all(b'"online":true' in message.payload for message in mine if message.retain)
    said = [m for m in run.sent if m.vehicle_id == run.role("_signs_off") and m.retain]
    assert b'"online":false' in said[-1].payload


def test_the_backfill_is_late_shuffled_and_doubled_and_complete(played: Callable[[str], Played]) -> None:
    run = played("outage_backfill")
    for vehicle_id in run.request.vehicle_ids():
        late = [one for one in run.sent if one.vehicle_id == vehicle_id and one.due_ms - one.t_last_ms > 60_000]
        order = [one.seq for one in late]
        assert len(order) > 200
        assert order != sorted(order)
        assert len(set(order)) < len(order)
        assert all(b'"buffered":true' in one.payload for one in late)
        seconds = np.unique(run.readings(vehicle_id).device_time_us[run.readings(vehicle_id).flag("ignition") == 1])
        assert np.diff(seconds).max() <= 2_000_000
    hard = run.readings(run.role("_stops_hard"))
    (one,) = [one for one in run.incidents(run.role("_stops_hard")) if one["incident"] == "harsh_braking"]
    rows = within(hard, one)
    assert -hard.number("accel_x_mps2")[rows].min() == pytest.approx(one["peak_g"] * 9.80665, abs=0.6)
    assert np.ptp(hard.number("speed_kmh")[rows]) > 40


def test_clocks_go_wrong_and_come_right(played: Callable[[str], Played]) -> None:
    run = played("reboot_clock")
    boots = {v: {one.boot for one in run.sent if one.vehicle_id == v} for v in run.request.vehicle_ids()}
    assert len(boots[run.role("_reboots")]) == 4
    refused = {run.sent[index].vehicle_id for index in run.decoded.refused}
    assert refused == {run.role("_starts_in_1970")}
    ahead = [one for one in run.sent if one.vehicle_id == run.role("_jumps_ahead_and_back") and one.count]
    assert 110_000 < max(one.t_last_ms - one.due_ms for one in ahead) < 300_000
    behind = [one for one in run.sent if one.vehicle_id == run.role("_falls_behind") and one.count]
    assert max(one.due_ms - one.t_last_ms for one in behind) > 110_000


def test_feeds_are_as_troubled_as_the_truth_says(played: Callable[[str], Played]) -> None:
    run = played("feed_trouble")
    late = [one for one in run.sent if one.vehicle_id == run.role("_always_late") and one.count]
    assert min(one.due_ms - one.t_last_ms for one in late) > 850_000
    frozen = run.readings(run.role("_frozen"))
    (one,) = run.incidents(run.role("_frozen"))
    rows = within(frozen, one, margin_ms=-1_000)
    assert len(np.unique(frozen.number("lat_deg")[rows])) == 1
    assert np.nanmedian(frozen.number("obd_speed_kmh")[rows]) > 5
    loose = run.readings(run.role("_loose"))
    down = np.column_stack([loose.number(f"accel_{axis}_mps2") for axis in "xyz"])
    (one,) = run.incidents(run.role("_loose"))
    after = loose.device_time_us // 1000 > one["t_ms"]
    assert np.ptp(down[after, 2]) > 2.0
    firm = run.readings(run.role("_askew_but_firm"))
    standing = firm.flag("ignition") == 0
    assert np.ptp(firm.number("accel_z_mps2")[standing]) < 0.5
    assert np.linalg.norm(down[~after], axis=1).mean() == pytest.approx(9.8, abs=0.3)


def test_the_guide_tells_of_every_scenario() -> None:
    guide = (Path(__file__).parents[1] / "docs" / "guide" / "scenarios.md").read_text(encoding="utf-8")
    for name in [*POSITIVE, "sumo_traffic"]:
        assert f"| `{name}` |" in guide, name
        play = scenario.scenarios()[name]
        row = next(line for line in guide.splitlines() if line.startswith(f"| `{name}` |"))
        assert all(f"`{kind}`" in row for kind in play.expects), name
