"""Impacts in the simulators: pulses, sensors, collisions, recordings, and the scenarios made of them, with truth."""

import math
from collections import defaultdict
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from fleet_core import publications
from fleet_core.publications import Message
from fleet_core.settings import Settings
from ingest import batch
from ingest.message import Message as Received
from simulators import commands, pulses, scenario, sensor, severity, town
from simulators.citypack import CityPack
from simulators.collisions import QUARTER_TURNS, After, collide, roll_over
from simulators.harshness import threshold_g
from simulators.manoeuvres import STEP_S, Script
from simulators.pulses import FINE_HZ, GRAVITY_MPS2
from simulators.recorder import MOTION_COLUMNS, Burst, Recorder
from simulators.scenario import CRASH_LIKE, EVERY_KIND, Request
from simulators.sensor import Sensor

F64 = NDArray[np.float64]

START_MS = 1_764_000_000_000
SEEDS = st.integers(0, 2**32 - 1)
CRASHES = ("frontal_crash", "rear_end_crash", "side_crash", "parked_struck", "minor_bump", "crash_1hz_only")
HARMLESS = ("pothole_kerb", "door_slam", "device_dropped", "near_miss", "hard_stop", "ordinary_day")
STAGED = (*CRASHES, *HARMLESS, "rollover_crash", "harsh_driving", "mass_event")


def an_ideal_sensor(rate_hz: int = 100, range_g: int = 100, rotation: F64 | None = None, **kept: bool) -> Sensor:
    """Without error of its own, so that what is left is physics."""
    return Sensor(
        rotation=np.eye(3) if rotation is None else rotation,
        aligned=rotation is None,
        keeps_gravity=kept.get("gravity", True),
        rate_hz=rate_hz,
        range_g=range_g,
        gyro_range_dps=2000,
        bits=24,
        bias=np.zeros(6),
        noise=np.zeros(6),
    )


def a_drive(kmh: float) -> Script:
    script = Script(0.0, 0.0, 0.3)
    script.ignition = script.running = True
    script.stand(3.0)
    script.accelerate(kmh)
    script.cruise(5.0)
    return script


def arrays_of(burst: Burst) -> F64:
    return np.array([burst.body[name] for name in MOTION_COLUMNS], dtype=np.float64).T


# -- pulses ------------------------------------------------------------------------------------------------------------


@given(st.sampled_from(sorted(pulses.CASES)), SEEDS)
def test_a_pulse_changes_the_velocity_by_what_was_drawn(name: str, seed: int) -> None:
    case, pulse = pulses.CASES[name], pulses.draw(name, np.random.default_rng(seed))
    assert case.delta_v_kmh[0] <= pulse.delta_v_kmh <= case.delta_v_kmh[1]
    accel = pulse.sampled()
    gained = accel.sum(axis=0) / FINE_HZ
    assert math.hypot(gained[0], gained[1]) == pytest.approx(pulse.delta_v_mps)
    assert math.atan2(gained[1], gained[0]) % (2 * np.pi) == pytest.approx(pulse.toward_rad % (2 * np.pi))
    assert abs(gained[2]) < 1e-9
    assert abs(len(accel) / FINE_HZ - pulse.duration_s) <= 1 / FINE_HZ
    # Between the flat mean and a haversine with all of its ripple on top of its peak.
    mean = pulse.delta_v_mps / pulse.duration_s
    assert 1.3 * mean < pulse.along().max() < 2 * 1.45 * mean


@pytest.mark.parametrize(("toward_deg", "axis"), [(180.0, 0), (0.0, 0), (90.0, 1), (-90.0, 1)])
def test_the_energy_goes_where_the_direction_says(toward_deg: float, axis: int) -> None:
    rng = np.random.default_rng(3)
    pulse = pulses.draw("full_frontal", rng)
    turned = pulses.Pulse(*(getattr(pulse, name) for name in pulse.__slots__[:2]), math.radians(toward_deg),
                          *(getattr(pulse, name) for name in pulse.__slots__[3:]))  # fmt: skip
    energy = (turned.sampled()[:, :2] ** 2).sum(axis=0)
    assert energy[axis] > 1e6 * energy[1 - axis]
    assert turned.lateral_kmh == pytest.approx(turned.delta_v_kmh * axis, abs=1e-6)


@pytest.mark.parametrize(
    "draw",
    [pulses.kerb_strike, pulses.pothole, pulses.door_slam, pulses.boot_slam, pulses.hailstone, pulses.trailer_hitch,
     lambda rng: pulses.speed_bump(rng, 8.0)],
)  # fmt: skip
def test_a_knock_leaves_the_velocity_as_it_was(draw: Any) -> None:
    for seed in range(20):
        knock = draw(np.random.default_rng(seed))
        gained_kmh = knock.accel_mps2.sum(axis=0) / FINE_HZ * 3.6
        assert np.abs(gained_kmh).max() < 0.05
        assert 0.15 * GRAVITY_MPS2 < np.abs(knock.accel_mps2).max() < 3.5 * GRAVITY_MPS2


def test_a_hitch_stays_below_a_bump() -> None:
    for seed in range(50):
        along = pulses.trailer_hitch(np.random.default_rng(seed)).accel_mps2[:, 0]
        assert np.abs(np.cumsum(along)).max() / FINE_HZ * 3.6 < 2.1 < pulses.CASES["bump"].delta_v_kmh[0]


# -- the sensor --------------------------------------------------------------------------------------------------------


@given(st.sampled_from(sensor.RATES_HZ), st.floats(0.0, 1.0), SEEDS)
@settings(max_examples=60)
def test_any_rate_and_phase_keeps_the_delta_v(rate_hz: int, phase: float, seed: int) -> None:
    pulse = pulses.draw("moderate_frontal", np.random.default_rng(seed))
    quiet = np.zeros((2 * FINE_HZ, 6))
    course = np.concatenate((quiet, np.pad(pulse.sampled(), ((0, 0), (0, 3))), quiet))
    smooth = sensor.low_pass(course, sensor.FILTER_SHARE * rate_hz)
    samples = sensor.sampled(smooth, phase / rate_hz, int(3.9 * rate_hz), rate_hz)
    assert np.hypot(*(samples[:, :2].sum(axis=0) / rate_hz)) == pytest.approx(pulse.delta_v_mps, rel=0.03)


@given(SEEDS)
@settings(max_examples=30)
def test_a_mounting_turns_and_nothing_else(seed: int) -> None:
    rng = np.random.default_rng(seed)
    rotation = sensor.any_rotation(rng)
    assert np.allclose(rotation @ rotation.T, np.eye(3))
    assert np.linalg.det(rotation) == pytest.approx(1.0)
    felt = rng.normal(0.0, 5.0, (50, 6))
    device = an_ideal_sensor(rotation=rotation).mounted(felt)
    assert np.allclose(device[:, :3] @ rotation, felt[:, :3])
    assert np.allclose(np.linalg.norm(device[:, 3:], axis=1), np.linalg.norm(felt[:, 3:], axis=1))


def test_a_saturated_value_stays_at_the_range_when_gravity_is_taken_off() -> None:
    rng = np.random.default_rng(1)
    felt = np.tile([[0.0, 0.0, GRAVITY_MPS2, 0.0, 0.0, 0.0]], (3, 1))
    felt[1, :3] = [-100.0, 5.0, 60.0]
    read = an_ideal_sensor(range_g=4, gravity=False).read(felt, rng)
    range_mps2 = 4 * GRAVITY_MPS2
    assert np.allclose(read[0], 0.0, atol=1e-4)
    assert read[1, :3] == pytest.approx([-range_mps2, 5.0, range_mps2], abs=1e-4)
    kept = an_ideal_sensor(range_g=4).read(felt, rng)
    assert kept[0, 2] == pytest.approx(GRAVITY_MPS2, abs=1e-4)


def test_a_filter_passes_what_is_slow_and_stops_what_is_fast() -> None:
    t = np.arange(4 * FINE_HZ) / FINE_HZ
    slow, fast = (np.sin(2 * np.pi * hz * t)[:, None] for hz in (2.0, 80.0))
    inner = slice(FINE_HZ, 3 * FINE_HZ)
    assert np.allclose(sensor.low_pass(slow, 20.0)[inner], slow[inner], atol=0.01)
    assert np.abs(sensor.low_pass(fast, 20.0)[inner]).max() < 0.01
    # Ends at different heights do not leak into each other.
    step = np.concatenate((np.zeros((1000, 1)), np.ones((1000, 1))))
    assert np.abs(sensor.low_pass(step, 40.0)[[0, -1], 0] - [0.0, 1.0]).max() < 0.01


# -- collisions --------------------------------------------------------------------------------------------------------


@given(st.sampled_from(["moderate_frontal", "oblique", "rear_end", "side", "pole"]), SEEDS)
@settings(max_examples=40, deadline=None)
def test_what_is_felt_explains_how_it_moved(name: str, seed: int) -> None:
    rng = np.random.default_rng(seed)
    script = a_drive(60.0)
    impact = collide(script, pulses.draw(name, rng), rng, After.STOPS)
    assert script.speed_mps == 0.0
    motion = script.motion()
    yaw = 0.3 + np.cumsum(np.radians(motion.felt[:, 5])) * STEP_S
    middle = yaw - np.radians(motion.felt[:, 5]) * STEP_S / 2
    forward, left = motion.felt[:, 0], motion.felt[:, 1]
    velocity = np.cumsum(
        np.column_stack((forward * np.cos(middle) - left * np.sin(middle), forward * np.sin(middle)
                         + left * np.cos(middle))), axis=0
    ) * STEP_S  # fmt: skip
    # A rattling wreck feels a little more than it moves; the shape inside a step is lost to the means.
    assert np.abs(np.hypot(*velocity.T) - motion.speed_mps).max() < 0.8
    travelled = np.column_stack((np.diff(motion.east_m), np.diff(motion.north_m))) / STEP_S
    assert np.abs(np.hypot(*travelled.T) - motion.speed_mps[1:]).max() < 1.2 + impact.peak_g * GRAVITY_MPS2 * STEP_S
    assert impact.speed_before_kmh == pytest.approx(60.0, abs=0.5)
    assert impact.rest_s - impact.at_s < 6.0


def test_who_drives_on_has_lost_the_delta_v_and_nothing_else() -> None:
    rng = np.random.default_rng(5)
    script = a_drive(40.0)
    before_mps = script.speed_mps
    pulse = pulses.draw("bump", rng)
    collide(script, pulse, rng, After.DRIVES_ON)
    assert script.speed_mps == pytest.approx(before_mps + pulse.delta_v_mps * math.cos(pulse.toward_rad), abs=1e-6)


@pytest.mark.parametrize("seed", range(12))
def test_a_rollover_turns_by_whole_quarters_and_lies_as_it_fell(seed: int) -> None:
    rng = np.random.default_rng(seed)
    script = a_drive(80.0)
    trips_s, rest_s, quarters = roll_over(script, rng)
    script.stand(3.0)
    motion = script.motion()
    rolled_deg = float(motion.felt[:, 3].sum() * STEP_S)
    assert abs(rolled_deg) == pytest.approx(90.0 * quarters, abs=1.0)
    assert quarters in QUARTER_TURNS
    assert np.abs(motion.felt[:, 3]).max() < 460.0
    lies = motion.felt[-1, :3] / GRAVITY_MPS2
    angle = math.radians(rolled_deg)
    assert lies == pytest.approx([0.0, math.sin(angle), math.cos(angle)], abs=0.02)
    assert trips_s < rest_s <= script.time_s - 3.0


# -- recordings --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("rate_hz", [50, 100, 200, 400])
@pytest.mark.parametrize("seed", range(4))
def test_a_burst_holds_the_delta_v_within_the_error_of_sampling(rate_hz: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    rotation = sensor.any_rotation(rng)
    script = a_drive(50.0)
    pulse = pulses.draw("moderate_frontal", rng)
    impact = collide(script, pulse, rng, After.DRIVES_ON)
    script.cruise(6.0)
    recorder = Recorder(an_ideal_sensor(rate_hz=rate_hz, rotation=rotation))
    (burst, *_) = recorder.recorded(script.motion(), rng)
    assert burst.first_s <= impact.at_s - 0.9 < impact.at_s <= burst.trigger_s
    values = arrays_of(burst)[:, :3] @ rotation - [0.0, 0.0, GRAVITY_MPS2]
    at_s = burst.first_s + np.arange(len(values)) / rate_hz
    during = (at_s > impact.at_s - 0.06) & (at_s < impact.at_s + pulse.duration_s + 0.06)
    gained = values[during].sum(axis=0) / rate_hz
    # Engine, road and what follows the pulse within the margin make up the rest.
    expected = pulse.delta_v_mps * np.array([math.cos(pulse.toward_rad), math.sin(pulse.toward_rad)])
    assert np.hypot(*(gained[:2] - expected)) < 0.05 * pulse.delta_v_mps + 0.25
    assert not burst.saturated


def test_a_small_range_is_reached_and_said_so() -> None:
    rng = np.random.default_rng(8)
    script = a_drive(60.0)
    collide(script, pulses.draw("full_frontal", rng), rng, After.STOPS)
    motion = script.motion()
    for range_g in sensor.RANGES_G:
        (burst, *_) = Recorder(an_ideal_sensor(rate_hz=200, range_g=range_g)).recorded(motion, rng)
        assert burst.saturated
        assert burst.body["range_mps2"] == pytest.approx(range_g * GRAVITY_MPS2, abs=1e-3)
        assert np.abs(arrays_of(burst)[:, :3]).max() == pytest.approx(range_g * GRAVITY_MPS2, rel=0.001)


def test_ordinary_driving_triggers_nothing_and_a_fall_shows_as_one() -> None:
    rng = np.random.default_rng(4)
    script = a_drive(50.0)
    script.brake(0.0)
    script.park(20.0)
    recorder = Recorder(an_ideal_sensor())
    assert list(recorder.recorded(script.motion(), rng)) == []
    turned = sensor.any_rotation(rng)
    script.drop_device(pulses.device_drop(rng, turned @ [0.0, 0.0, GRAVITY_MPS2]), turned)
    script.park(20.0)
    (burst,) = recorder.recorded(script.motion(), rng)
    strength = np.linalg.norm(arrays_of(burst)[:, :3], axis=1)
    assert strength.min() < 0.1 * GRAVITY_MPS2
    assert strength.max() > 2.0 * GRAVITY_MPS2
    assert strength[-1] == pytest.approx(GRAVITY_MPS2, rel=0.02)


# -- severity ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("delta_v_kmh", "lateral_kmh", "stops", "level"),
    [(25.0, 0.0, False, 3), (24.9, 0.0, True, 2), (15.0, 15.0, False, 3), (8.0, 1.0, False, 2), (7.9, 1.0, False, 1),
     (5.0, 0.0, True, 2)],
)  # fmt: skip
def test_levels_follow_the_rules(delta_v_kmh: float, lateral_kmh: float, stops: bool, level: int) -> None:
    assert severity.level_of(delta_v_kmh, lateral_kmh, stops=stops) == level


def test_levels_are_open_near_a_line_and_where_nobody_can_know() -> None:
    def levels(delta_v_kmh: float, lateral_kmh: float, **changes: Any) -> list[int]:
        asked: dict[str, Any] = {"stops": False, "sides_known": True, "saturated": False} | changes
        return severity.acceptable_levels(delta_v_kmh, lateral_kmh, **asked)

    assert levels(12.0, 2.0) == [2]
    assert levels(23.0, 2.0) == [2, 3]
    assert levels(20.0, 18.0) == [3]
    assert levels(20.0, 18.0, sides_known=False) == [2, 3]
    assert levels(12.0, 2.0, saturated=True) == [2, 3]
    assert levels(40.0, 2.0, saturated=True) == [3]
    assert levels(5.0, 1.0, stops=None) == [1, 2]


# -- scenarios ---------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def demo_town(tmp_path_factory: pytest.TempPathFactory) -> CityPack:
    return town.write_demo_pack(tmp_path_factory.mktemp("town"))


Told = tuple[list[Message], list[dict[str, Any]]]


@pytest.fixture(scope="module")
def run(demo_town: CityPack) -> Any:
    """Messages and truth of a scenario; each run once."""
    kept: dict[Any, Told] = {}

    def run_once(name: str, vehicles: int = 6, seed: int = 1, format_name: str = "json") -> Told:
        key = (name, vehicles, seed, format_name)
        if key not in kept:
            item = scenario.scenarios()[name]
            truth: list[dict[str, Any]] = []
            request = Request(
                vehicles=vehicles, seed=seed, city=demo_town, start_ms=START_MS,
                duration_s=600 if name == "ordinary_day" else None, encode=publications.encoder(format_name),
                partitions=16, id_prefix=item.id_prefix, clock_offset_ms=np.zeros(vehicles, dtype=np.int64),
            )  # fmt: skip
            messages = list(item.messages(request, truth.append))
            kept[key] = messages, truth
        return kept[key]

    return run_once


def incidents_of(truth: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [record for record in truth if record["kind"] == "incident"]


def bodies(sent: list[Message], stream: str) -> dict[str, list[dict[str, Any]]]:
    """Decoded messages of a stream by vehicle."""
    found: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for message in sent:
        if message.topic.endswith(f"/{stream}"):
            found[message.vehicle_id].append(msgspec.json.decode(message.payload))
    return found


def column(messages: list[dict[str, Any]], name: str) -> F64:
    """All samples of a column, NaN where absent."""
    values: list[Any] = []
    for body in messages:
        held = body.get(name)
        values += held if isinstance(held, list) else [held] * len(body["t_ms"])
    return np.array([np.nan if value is None else value for value in values], dtype=np.float64)


@pytest.mark.parametrize("name", STAGED)
@pytest.mark.parametrize("format_name", publications.FORMATS)
def test_ingest_reads_every_message(run: Any, name: str, format_name: str) -> None:
    sent, _ = run(name, format_name=format_name)
    received = [Received("s", 1, n, item.topic, item.payload, item.due_ms * 1000) for n, item in enumerate(sent)]
    decoded = batch.decode(received, Settings(partitions=16))
    assert decoded.refused == {}
    assert len(decoded.readings) == sum(message.count for message in sent) > 0
    assert [message.due_ms for message in sent] == sorted(message.due_ms for message in sent)
    assert all(event.clock_valid for event in decoded.events)


@pytest.mark.parametrize("name", STAGED)
def test_truth_is_complete_and_keeps_its_word(run: Any, name: str) -> None:
    item = scenario.scenarios()[name]
    sent, truth = run(name)
    assert item.expects <= EVERY_KIND
    assert item.must_not <= EVERY_KIND
    assert not item.expects & item.must_not
    assert item.duration_s > 0
    told = [record for record in truth if record["kind"] == "vehicle"]
    vehicles = {record["vehicle_id"] for record in told}
    assert vehicles == {message.vehicle_id for message in sent}
    assert all(record["vehicle_class"] in ("car", "van", "heavy") for record in told)
    assert all(tenure["from_ms"] < START_MS for record in told for tenure in record["tenures"])
    for record in incidents_of(truth):
        assert record["incident"] in item.expects
        assert record["vehicle_id"] in vehicles
        assert START_MS < record["t_ms"] < record["until_ms"] < START_MS + item.duration_s * 1000
    for record in truth:
        if record["kind"] == "allowed":
            assert record["incident"] not in item.must_not
            assert record["from_ms"] < record["until_ms"]
    if item.expects:
        assert {record["incident"] for record in incidents_of(truth)} <= item.expects
        assert {record["vehicle_id"] for record in incidents_of(truth)} == vehicles
    else:
        assert incidents_of(truth) == []


@pytest.mark.parametrize("name", CRASHES)
def test_a_crash_says_what_it_was_and_what_level_it_deserves(run: Any, name: str) -> None:
    for record in incidents_of(run(name)[1]):
        levels = record["level"] if isinstance(record["level"], list) else [record["level"]]
        clearly_grave = record["delta_v_kmh"] > 27.8 or (record["lateral_kmh"] > 16.7 and record["aligned"])
        if clearly_grave:
            assert levels == [3]
        if record["delta_v_kmh"] < 7.2 and not record["stops"]:
            assert levels[0] == 1
        assert set(levels) <= {1, 2, 3}
        assert 0.0 <= record["lateral_share"] <= 1.0
        assert record["peak_g"] > 0.5
        # Peak and delta-V belong to the same pulse.
        mean_g = record["delta_v_kmh"] / 3.6 / (record["pulse_ms"] / 1000) / GRAVITY_MPS2
        assert 1.25 * mean_g < record["peak_g"] < 3.0 * mean_g


@pytest.mark.parametrize("name", [*(name for name in CRASHES if name != "crash_1hz_only"), "rollover_crash"])
def test_units_record_what_strikes_them(run: Any, name: str) -> None:
    sent, truth = run(name)
    recorded = bodies(sent, "burst")
    for record in incidents_of(truth):
        spans = [
            (body["t0_ms"], body["t0_ms"] + 1000 * len(body["accel_x_mps2"]) / body["rate_hz"])
            for body in recorded[record["vehicle_id"]]
        ]
        assert any(begin <= record["t_ms"] - 300 and end >= record["t_ms"] + 1000 for begin, end in spans)
    assert all("t_ms" not in body for messages in recorded.values() for body in messages)


def test_harmless_blows_are_recorded_too(run: Any) -> None:
    for name in ("pothole_kerb", "door_slam", "device_dropped", "mass_event"):
        assert len(bodies(run(name)[0], "burst")) >= 2, name
        assert not incidents_of(run(name)[1])


def test_without_bursts_the_speed_alone_tells(run: Any) -> None:
    sent, truth = run("crash_1hz_only")
    assert not bodies(sent, "burst") and not bodies(sent, "alarm")
    telemetry = bodies(sent, "telemetry")
    with_motion = {"accel_x_mps2" in messages[0] for messages in telemetry.values()}
    assert with_motion == {True, False}
    for record in incidents_of(truth):
        messages = telemetry[record["vehicle_id"]]
        t_ms, speed = column(messages, "t_ms"), column(messages, "speed_kmh")
        before = int(np.flatnonzero(t_ms <= record["t_ms"])[-1])
        # One interval of a second holds it all, or nearly: the pulse may lie across a sample.
        assert speed[before] - speed[before + 2] > 42.0
        assert speed[t_ms > record["until_ms"] + 2000].max() < 1.0


def test_harsh_manoeuvres_show_at_1_hz_and_calm_ones_stay_below(run: Any) -> None:
    sent, truth = run("harsh_driving", vehicles=8)
    telemetry = bodies(sent, "telemetry")
    classes = {record["vehicle_id"]: record["vehicle_class"] for record in truth if record["kind"] == "vehicle"}
    harsh = incidents_of(truth)
    assert {record["incident"] for record in harsh} == scenario.HARSH
    for record in harsh:
        assert record["peak_g"] >= 1.149 * threshold_g(record["incident"], classes[record["vehicle_id"]])
    spans = defaultdict(list)
    for record in harsh:
        spans[record["vehicle_id"], record["incident"]].append((record["t_ms"], record["until_ms"], record["peak_g"]))
    for vehicle_id, messages in telemetry.items():
        if not next((record["aligned"] for record in harsh if record["vehicle_id"] == vehicle_id), False):
            continue
        t_ms = column(messages, "t_ms")
        forward, left = column(messages, "accel_x_mps2"), column(messages, "accel_y_mps2")
        seen_g = {"harsh_acceleration": forward / GRAVITY_MPS2, "harsh_braking": -forward / GRAVITY_MPS2,
                  "harsh_cornering": np.abs(left) / GRAVITY_MPS2}  # fmt: skip
        for kind, values in seen_g.items():
            quiet = np.ones(len(t_ms), dtype=bool)
            for begin, end, peak_g in spans[vehicle_id, kind]:
                within = (t_ms >= begin) & (t_ms <= end + 1000)
                assert values[within].max() == pytest.approx(peak_g, abs=0.11)
                quiet &= ~within
            # Offset, tilt of three degrees and road noise come on top of what the vehicle did.
            assert values[quiet].max() < threshold_g(kind, classes[vehicle_id]) * 0.85 + 0.11


@pytest.mark.parametrize("name", ["side_crash", "door_slam", "ordinary_day"])
def test_the_same_seed_gives_the_same_bytes(demo_town: CityPack, run: Any, name: str) -> None:
    item = scenario.scenarios()[name]
    again: list[dict[str, Any]] = []
    request = Request(
        vehicles=6, seed=1, city=demo_town, start_ms=START_MS, duration_s=600 if name == "ordinary_day" else None,
        encode=publications.encoder("json"), partitions=16, id_prefix=item.id_prefix,
        clock_offset_ms=np.zeros(6, dtype=np.int64),
    )  # fmt: skip
    assert (list(item.messages(request, again.append)), again) == run(name)
    assert run(name)[0] != run(name, seed=2)[0]


def test_draws_differ_between_vehicles(run: Any) -> None:
    records = incidents_of(run("frontal_crash", vehicles=24, seed=7)[1])
    for fact in ("rate_hz", "range_g", "aligned", "accel_gravity", "delta_v_kmh"):
        assert len({record[fact] for record in records}) > 1, fact


def test_the_list_names_every_scenario_and_what_it_expects() -> None:
    told = CliRunner().invoke(commands.simulate, ["--list"])
    assert told.exit_code == 0
    for name, item in scenario.scenarios().items():
        assert f"{name}: {item.purpose}" in told.output
        assert all(kind in told.output for kind in item.expects)


def test_the_guide_tells_of_every_scenario() -> None:
    guide = (Path(__file__).parents[1] / "docs" / "guide" / "simulation.md").read_text(encoding="utf-8")
    for name in STAGED:
        assert f"`{name}`" in guide, name
    assert CRASH_LIKE <= EVERY_KIND
