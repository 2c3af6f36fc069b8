"""Scripted vehicles: motion, the vehicle's own sensors, the receiver and the unit, each by what physics demands."""

from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fleet_core import publications, topics
from fleet_core.publications import Message
from fleet_core.settings import Settings
from ingest import batch
from ingest.message import Message as Received
from simulators import routes, town
from simulators.condition import Build, linear, sense
from simulators.errands import HOUR_S, Errands, Life, Span
from simulators.reception import Shade, receive
from simulators.unit import Clock, Event, Fate, Log, Unit

START_MS = 1_764_036_000_000


@pytest.fixture(scope="module")
def roads(tmp_path_factory: pytest.TempPathFactory) -> routes.Roads:
    return routes.roads_of(town.write_demo_pack(tmp_path_factory.mktemp("town")).graph)


def decoded(sent: list[Message]) -> batch.Batch:
    received = [Received("s", 1, n, item.topic, item.payload, item.due_ms * 1000) for n, item in enumerate(sent)]
    return batch.decode(received, Settings(partitions=16))


@pytest.mark.parametrize("vehicle_class", ["car", "van", "heavy"])
def test_a_drive_is_calm_and_continuous(roads: routes.Roads, vehicle_class: str) -> None:
    rng = np.random.default_rng(5)
    errands = Errands(roads, rng, vehicle_class=vehicle_class)
    errands.park(300)
    drive = errands.drive(1_800)
    life = errands.life(3_000.0)
    lateral, share = routes.MANNER[vehicle_class]
    rows = life.within(drive)
    assert np.diff(life.t_s).min() > 0
    assert life.accel_mps2.max() <= share * routes.ACCELERATE_MPS2[1] + 0.01
    assert -life.accel_mps2.min() <= share * routes.BRAKE_MPS2[1] + 0.01
    # A mean over a second on a drawn line; 15 % is what its corners add.
    assert np.abs(life.lateral_mps2).max() <= 1.15 * lateral
    assert (life.speed_mps * 3.6 <= life.limit_kmh + 1e-6).all()
    moved = np.hypot(np.diff(life.x_m), np.diff(life.y_m))
    assert (moved <= life.rolled_m[1:] + 0.01).all()
    assert life.rolled_m.sum() == pytest.approx(life.speed_mps[rows].sum(), rel=0.01)
    assert (life.speed_mps[~life.ignition] == 0).all()
    assert (life.engine <= life.ignition).all()
    assert 1_700 < drive.lasts_s < 1_900


@given(seed=st.integers(0, 2**32 - 1), every_s=st.sampled_from([1.0, 5.0, 10.0, 30.0]))
@settings(max_examples=15, deadline=None)
def test_the_way_does_not_depend_on_how_often_it_is_sampled(roads: routes.Roads, seed: int, every_s: float) -> None:
    lives: list[Life] = []
    for step_s in (1.0, every_s):
        errands = Errands(roads, np.random.default_rng(seed), every_s=step_s)
        errands.drive(400)
        errands.park(600)
        lives.append(errands.life(0.0))
    fine, coarse = lives
    common, at_fine, at_coarse = np.intersect1d(fine.t_s.round(3), coarse.t_s.round(3), return_indices=True)
    assert len(common) > 10
    for name in ("x_m", "y_m", "speed_mps", "ignition"):
        assert np.allclose(getattr(fine, name)[at_fine], getattr(coarse, name)[at_coarse])
    assert fine.rolled_m.sum() == pytest.approx(coarse.rolled_m.sum(), abs=0.01)


def test_an_emergency_stop_is_as_hard_as_asked(roads: routes.Roads) -> None:
    errands = Errands(roads, np.random.default_rng(8), start=roads.anywhere(np.random.default_rng(8), greater=True))
    errands.drive(900, bold=True, emergency_mps2=7.0)
    life = errands.life(0.0)
    assert life.accel_mps2.min() == pytest.approx(-7.0, abs=0.4)
    assert (life.accel_mps2 < -2.0).sum() <= 6


def test_carried_vehicles_do_not_roll(roads: routes.Roads) -> None:
    rng = np.random.default_rng(2)
    errands = Errands(roads, rng)
    errands.drive(300)
    errands.park(600)
    towed = errands.towed(900, tilt_deg=8.0, tilting_s=30.0, speed_kmh=40.0)
    ferried = errands.ferried(600, speed_kmh=20.0, to=roads.anywhere(rng))
    life = errands.life(0.0)
    for span in (towed, ferried):
        rows = life.within(span)
        assert not life.ignition[rows].any()
        assert life.rolled_m[rows].sum() == 0
        assert life.speed_mps[rows].max() > 3
        assert life.wheel_mps[rows].max() == 0
    assert life.pitch_deg[life.within(towed)].max() == pytest.approx(8.0)
    assert np.abs(life.pitch_deg[life.within(ferried)]).max() < 1.0


def _day(roads: routes.Roads, seed: int = 4) -> tuple[Life, Build, dict[str, Any]]:
    rng = np.random.default_rng(seed)
    errands = Errands(roads, rng, every_s=5.0, heartbeat_s=120.0)
    for _ in range(3):
        errands.park(2 * HOUR_S)
        errands.drive(2_400)
    life = errands.life(12 * HOUR_S)
    build = Build.drawn(rng, network_parked=True)
    return life, build, sense(life, build, rng, 0.0)


def test_a_healthy_day_reads_like_one(roads: routes.Roads) -> None:
    life, _, columns = _day(roads)
    warm = life.since(~life.engine, 0.0) > 1_500
    assert 84 <= np.median(columns["coolant_c"][warm]) <= 97
    assert columns["coolant_c"].max() < 100
    resting = ~life.ignition & (life.since(life.ignition, 1e9) > HOUR_S)
    assert columns["external_v"][resting].min() > 12.2
    assert columns["external_v"][resting].max() < 13.1
    assert 13.6 < np.median(columns["external_v"][life.engine]) < 14.6
    assert columns["external_v"][life.cranking].max() < 12.0
    assert columns["odometer_km"][-1] - columns["odometer_km"][0] == pytest.approx(life.rolled_m.sum() / 1000, abs=0.01)
    cold, hot = columns["tyre_fl_kpa"][10], np.median(columns["tyre_fl_kpa"][warm])
    assert 1.04 < hot / cold < 1.2
    assert columns["fuel_pct"][-1] < columns["fuel_pct"][0]
    assert (np.abs(columns["obd_speed_kmh"] - life.wheel_mps * 3.6) <= 0.03 * life.wheel_mps * 3.6 + 0.51).all()
    assert (columns["rpm"][~life.ignition] == 0).all()


def test_a_sleeping_network_says_nothing(roads: routes.Roads) -> None:
    life, build, _ = _day(roads)
    columns = sense(life, replace(build, network_parked=False), np.random.default_rng(1), 0.0)
    asleep = life.since(life.ignition, 1e9) > 121
    for name in ("rpm", "coolant_c", "fuel_pct", "tyre_fl_kpa", "obd_speed_kmh"):
        assert np.isnan(columns[name][asleep]).all()
        assert not np.isnan(columns[name][~asleep]).any()
    assert not np.isnan(columns["external_v"]).any()


@given(st.lists(st.tuples(st.floats(0, 1), st.floats(-5, 5)), min_size=1, max_size=50), st.floats(-9, 9))
def test_linear_is_the_recurrence(steps: list[tuple[float, float]], start: float) -> None:
    keep, gain = (np.array(values) for values in zip(*steps, strict=True))
    expected = []
    for one, more in steps:
        start_or_last = expected[-1] if expected else start
        expected.append(one * start_or_last + more)
    assert linear(keep, gain, start) == pytest.approx(expected)


def test_fixes_err_as_receivers_do(roads: routes.Roads) -> None:
    rng = np.random.default_rng(6)
    errands = Errands(roads, rng)
    drive = errands.drive(3_000)
    errands.park(3_000)
    life = errands.life(0.0)
    hole = Span(drive.inner(0.5), drive.inner(0.5) + 60.0)
    columns = receive(life, roads.plane, rng, [Shade(hole, fade_s=10.0)])
    x_m, y_m = roads.plane.to_xy(columns["lat_deg"], columns["lon_deg"])
    error = np.hypot(x_m - life.x_m, y_m - life.y_m)
    clear = (life.t_s < hole.from_s - 15) | (life.t_s > hole.until_s + 200)
    assert 1.0 < np.sqrt(np.mean(error[clear] ** 2)) < 8.0
    # Neighbouring errors belong together: a receiver does not tremble.
    steps = np.abs(np.diff(x_m - life.x_m))[clear[1:] & clear[:-1]]
    assert np.median(steps) < 0.8
    inside = life.within(hole)
    assert np.isnan(columns["lat_deg"][inside]).all()
    assert (columns["fix_valid"][inside] == 0).all()
    assert columns["satellites"][inside].max() <= 3
    fading = (life.t_s > hole.from_s - 3) & (life.t_s < hole.from_s)
    assert columns["satellites"][fading].mean() < columns["satellites"][clear].mean() - 3
    still = life.since(life.speed_mps > 0.3, 1e9) > 5
    assert np.nanmax(columns["speed_kmh"][still]) == 0


def _sent(roads: routes.Roads, fate: Fate, events: list[Event] | None = None, seed: int = 4) -> list[Message]:
    life, _, columns = _day(roads, seed)
    rng = np.random.default_rng(seed)
    columns |= receive(life, roads.plane, rng)
    columns.pop("fix_valid")
    true = np.ones(len(life), dtype=bool)
    log = Log(life, columns, {"ignition": life.ignition, "fix_valid": true, "brake": ~true, "door_open": ~true}, {})
    unit = Unit(
        "v", start_ms=START_MS, ahead_ms=0, boot=7, partitions=16, encode=publications.encoder("json"), fate=fate
    )
    return list(unit.messages(log, events or [], rng, 12 * HOUR_S))


def _numbers(sent: list[Message]) -> list[tuple[int, int]]:
    return [(one.boot, one.seq + n) for one in sent for n in range(one.count)]


def test_every_sample_is_sent_once_in_order(roads: routes.Roads) -> None:
    life, _, _ = _day(roads)
    sent = _sent(roads, Fate())
    assert _numbers(sent) == [(7, n) for n in range(len(life))]
    assert all(one.count <= 10 for one in sent)
    assert all(one.due_ms - one.t_last_ms in range(401) for one in sent if one.count)


def test_silence_stores_and_forwards(roads: routes.Roads) -> None:
    gone = Span(2 * HOUR_S, 2.5 * HOUR_S)
    plain, sent = _sent(roads, Fate()), _sent(roads, Fate(silences=[gone]))
    assert _numbers(sent) == _numbers(plain)
    inside = [one for one in sent if gone.from_s < (one.due_ms - START_MS) / 1000 < gone.until_s]
    assert inside == []
    buffered = [one for one in sent if b'"buffered":true' in one.payload]
    assert len(buffered) > 20
    assert len(decoded(sent).readings) == len(decoded(plain).readings)


def test_a_shuffled_backfill_is_the_same_samples(roads: routes.Roads) -> None:
    gone = Span(2 * HOUR_S, 2.5 * HOUR_S)
    sent = _sent(roads, Fate(silences=[gone], shuffled=True, doubled=0.5))
    numbers = _numbers(sent)
    assert numbers != sorted(numbers)
    assert len(numbers) > len(set(numbers))
    assert sorted(set(numbers)) == _numbers(_sent(roads, Fate()))


def test_a_reboot_begins_counting_anew(roads: routes.Roads) -> None:
    sent = _sent(roads, Fate(reboots=[2.2 * HOUR_S]))
    first = [n for boot, n in _numbers(sent) if boot == 7]
    second = [n for boot, n in _numbers(sent) if boot == 8]
    assert first == list(range(len(first)))
    assert second == list(range(len(second)))
    assert [one.boot for one in sent if one.retain] == [7, 8, 8]


def test_a_clock_can_be_ahead_and_in_1970(roads: routes.Roads) -> None:
    wrong = Fate(clocks=[Clock(2.1 * HOUR_S, 150.0), Clock(2.2 * HOUR_S, None), Clock(2.3 * HOUR_S, 0.0)])
    plain, sent = _sent(roads, Fate()), _sent(roads, wrong)
    assert _numbers(sent) == _numbers(plain)
    assert max(one.t_last_ms - one.due_ms for one in sent) == pytest.approx(150_000, abs=500)
    old = [one for one in sent if one.t_first_ms < 10**9]
    assert old[0].t_first_ms < 6_000
    assert 300_000 < old[-1].t_last_ms < 361_000
    assert len(decoded(sent).refused) == len(old)


def test_events_take_a_number_between_samples(roads: routes.Roads) -> None:
    sent = _sent(roads, Fate(), [Event(2.1 * HOUR_S, topics.ALARM, {"kind": "tow"})])
    numbers = [(one.seq, max(one.count, 1)) for one in sent if not one.retain]
    assert all(after[0] == before[0] + before[1] for before, after in pairwise(numbers))
    events = decoded(sent).events
    assert [(event.kind, event.device_time_us) for event in events] == [("tow", (START_MS + 7_560_000) * 1000)]


def test_dead_units_say_nothing_more(roads: routes.Roads) -> None:
    sent = _sent(roads, Fate(dead_from_s=3 * HOUR_S))
    assert max(one.due_ms for one in sent) < START_MS + 3 * HOUR_S * 1000
    assert all(b'"online":true' in one.payload for one in sent if one.retain)
