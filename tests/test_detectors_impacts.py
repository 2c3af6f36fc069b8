"""Impacts: every sort is found with the right name and level, at any rate, mounting and order, and nothing else is."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fleet_core import topics
from fleet_core.readings import Readings, concatenate
from incidents.detector import Finding
from incidents.detectors import crash, loose_mounting, rollover
from incidents.detectors._burst import bursts_of, decode
from incidents.detectors._pulse import strongest
from incidents.rows import Rows
from incidents.source import Span
from incidents.window import Event, Mounting, S, Vehicle
from tests.impact_pulses import (
    START_MS,
    VEHICLE,
    Device,
    Drive,
    Floats,
    G,
    Pulse,
    alarm,
    assert_same_in_any_order,
    dropping,
    findings_of,
    half_sine,
    judged,
    motion,
    readings,
    rotation,
    yaw,
)

DETECTORS = {"crash": crash.DETECTOR, "rollover": rollover.DETECTOR}
UP = np.array([0.0, 0.0, 1.0])
AHEAD, FROM_RIGHT, FROM_BEHIND = (-1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (1.0, 0.0, 0.0)


def found(events: list[Event], some: Readings | None = None, vehicle: Vehicle | None = None) -> list[Finding]:
    memory = judged(DETECTORS, [(Readings.empty() if some is None else some, events)], vehicle=vehicle)
    return [detection.finding for detection in memory.standing]


def only(findings: list[Finding]) -> Finding:
    assert len(findings) == 1, findings
    return findings[0]


def codes(finding: Finding) -> set[str]:
    return {reason.code for reason in finding.reasons}


def rng_of(seed: int) -> np.random.Generator:
    return np.random.default_rng(seed)


# -- the measurement ---------------------------------------------------------------------------------------------------


@settings(max_examples=50, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    rate_hz=st.sampled_from([50.0, 100.0, 250.0, 1000.0]),
    delta_v_kmh=st.floats(8, 60),
    lasts_s=st.floats(0.08, 0.14),
    shape=st.sampled_from(["haversine", "half-sine"]),
    gravity=st.booleans(),
    averages=st.booleans(),
    braking_g=st.sampled_from([0.0, 0.7]),
)
def test_delta_v_is_measured_whatever_the_rate_the_phase_the_mounting_and_the_bias(
    seed: int, rate_hz: float, delta_v_kmh: float, lasts_s: float, shape: str, gravity: bool, averages: bool,
    braking_g: float,
) -> None:  # fmt: skip
    rng = rng_of(seed)
    device = Device(
        rate_hz, 200.0, rotation(rng) if gravity else yaw(rng.uniform(0, 360)), gravity,
        tuple(rng.normal(0, 0.3, 3)), phase=rng.random(), averages=averages, nulls=0.01 if rate_hz > 200 else 0.0,
    )  # fmt: skip
    direction = rng.uniform(0, 2 * np.pi)
    pulse = Pulse(delta_v_kmh, lasts_s, (np.cos(direction), np.sin(direction), 0.0), shape=shape)
    burst = decode(device.burst(rng, motion(pulse, braking_g=braking_g, shaking_g=0.3, seed=seed)))
    assert burst is not None
    measured = strongest(burst, device.rotation @ UP)
    assert measured is not None
    assert measured.delta_v_kmh == pytest.approx(delta_v_kmh, rel=0.12, abs=1.5)
    assert abs(measured.t0_us / S - START_MS / 1000) < 0.06
    assert not measured.clipped


def test_the_direction_of_the_blow_is_told_clockwise_from_the_front() -> None:
    for along, expected in ((AHEAD, 0), (FROM_RIGHT, 90), (FROM_BEHIND, 180), ((0.0, -1.0, 0.0), -90)):
        event = Device().burst(rng_of(1), motion(Pulse(20, 0.1, along)))
        told = only(found([event])).values
        assert (told["principal_direction_deg"] - expected + 180) % 360 - 180 == pytest.approx(0, abs=5)
        assert told["lateral_delta_v_kmh"] == pytest.approx(20 * along[1], abs=1)


def test_nulls_are_bridged_and_a_burst_without_two_axes_says_nothing() -> None:
    body = Device(noise_mps2=0).burst(rng_of(1), motion(Pulse(20, 0.1))).body
    axis = list(body["accel_x_mps2"])
    axis[100:102] = [None, None]
    holed = decode(Event(topics.BURST, 0, 0, 1, None, {**body, "accel_x_mps2": axis}))
    assert holed is not None and holed.missing.sum() == 2
    assert np.isfinite(holed.accel_mps2).all()
    single = {name: body[name] for name in ("t0_ms", "rate_hz", "accel_x_mps2")}
    assert decode(Event(topics.BURST, 0, 0, 1, None, single)) is None
    assert found([Event(topics.BURST, START_MS * 1000, 0, 1, None, single)]) == []


# -- names and levels --------------------------------------------------------------------------------------------------

CASES = {
    "full frontal": (Pulse(63, 0.105), Drive(64, (-63, 0)), 3),
    "oblique": (Pulse(47, 0.18, (-1.0, 0.4, 0.0)), Drive(60, (-43, 18)), 3),
    "moderate frontal": (Pulse(18, 0.11), Drive(40, (-18, 0)), 2),
    "rear-end": (Pulse(16, 0.12, FROM_BEHIND), Drive(20, (16, 0)), 2),
    "rear-end, hard": (Pulse(29, 0.1, FROM_BEHIND), Drive(10, (29, 0)), 3),
    "side": (Pulse(18, 0.08, FROM_RIGHT), Drive(40, (0, 18)), 3),
    "side, light": (Pulse(12, 0.08, FROM_RIGHT), Drive(40, (0, 12)), 2),
    "pole": (Pulse(33, 0.1), Drive(40, (-33, 0)), 3),
    "bump": (Pulse(5, 0.12), Drive(8, (-5, 0)), 1),
    "bump backwards": (Pulse(4, 0.1, FROM_BEHIND), Drive(6, (-5, 0)), 1),
}
DEVICES = {
    "25 Hz": Device(25.0, 200.0),
    "50 Hz": Device(50.0, 200.0),
    "100 Hz": Device(100.0, 200.0),
    "1000 Hz": Device(1000.0, 200.0),
    "means at 10 Hz": Device(10.0, averages=True, range_g=200.0),
}


# A bump of 100 ms is one sample of the slowest sensor.
@pytest.mark.parametrize(
    ("case", "device"),
    [(case, device) for case in CASES for device in DEVICES if CASES[case][2] > 1 or device != "means at 10 Hz"],
)
def test_each_sort_has_its_name_and_its_level(case: str, device: str) -> None:
    pulse, drive, level = CASES[case]
    rng = rng_of(len(case) + len(device))
    event = replace(DEVICES[device], phase=float(rng.random())).burst(rng, motion(pulse, shaking_g=0.2))
    finding = only(found([event], drive.readings(rng)))
    assert (finding.kind, finding.level) == ("crash", level)
    assert finding.values["source"] == "burst"
    assert finding.values["rate_hz"] == DEVICES[device].rate_hz
    assert not finding.values["clipped"]


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10_000), case=st.sampled_from(sorted(CASES)))
def test_a_device_mounted_askew_with_gravity_in_it_tells_the_same_where_the_mounting_is_kept(
    seed: int, case: str
) -> None:
    rng = rng_of(seed)
    pulse, drive, level = CASES[case]
    device = Device(100.0, 200.0, rotation(rng), gravity=True, phase=rng.random(), bias_mps2=(0.2, -0.3, 0.1))
    kept = Vehicle(VEHICLE, mounting=Mounting(device.rotation.T, 0.9, 0, 0))
    finding = only(found([device.burst(rng, motion(pulse))], drive.readings(rng, device=device), kept))
    assert (finding.kind, finding.level) == ("crash", level)
    assert finding.values["mounting"] == "mounting"
    assert finding.values["lateral_delta_v_kmh"] == pytest.approx(
        pulse.delta_v_kmh * pulse.along[1] / np.linalg.norm(pulse.along), abs=1.5
    )


def test_where_the_heading_is_unknown_the_size_alone_counts_and_it_says_so() -> None:
    rng = rng_of(3)
    device = Device(100.0, rotation=rotation(rng), gravity=True)
    told = only(found([device.burst(rng, motion(Pulse(18, 0.08, FROM_RIGHT)))]))
    assert (told.kind, told.level) == ("crash", 2)
    assert told.values["lateral_delta_v_kmh"] is None and told.values["principal_direction_deg"] is None
    assert "heading_unknown" in codes(told)
    assert told.values["delta_v_kmh"] == pytest.approx(18, abs=1)


def test_a_blow_that_hardly_shows_in_the_speed_must_have_been_sideways() -> None:
    rng = rng_of(3)
    device = Device(100.0, rotation=rotation(rng), gravity=True)
    event = device.burst(rng, motion(Pulse(24, 0.08, FROM_RIGHT)))
    some = Drive(60, (0, 24), stands_after_s=None).readings(rng)
    told = only(found([event], some))
    assert told.level == 3 and {"heading_unknown", "impact_sideways"} <= codes(told)


@pytest.mark.parametrize(
    ("speed_kmh", "ignition", "parked", "kind"),
    [
        (0, False, True, "parked_impact"),
        (0, None, True, "parked_impact"),  # nobody tells of the ignition, and it stood for more than a minute
        (0, True, True, "crash"),  # somebody is in it: it waits in traffic
        (30, True, False, "crash"),
        (30, None, False, "crash"),
    ],
)
def test_one_blow_has_one_name(speed_kmh: float, ignition: bool | None, parked: bool, kind: str) -> None:
    rng = rng_of(7)
    event = Device().burst(rng, motion(Pulse(14, 0.1, FROM_RIGHT)))
    some = Drive(speed_kmh, parked=parked).readings(rng, ignition=ignition)
    finding = only(found([event], some))
    assert (finding.kind, finding.level) == (kind, 2)
    assert ("was_parked" in codes(finding)) == (kind == "parked_impact")


def test_a_sleeping_device_that_a_blow_wakes_is_parked() -> None:
    rng = rng_of(7)
    event = Device().burst(rng, motion(Pulse(14, 0.1, FROM_RIGHT)))
    after = readings({"speed_kmh": [0.0] * 20, "ignition": [False] * 20}, first_s=1.0)
    assert only(found([event], after)).kind == "parked_impact"


def test_the_same_holds_whether_the_burst_or_the_readings_come_first() -> None:
    rng = rng_of(7)
    event = Device().burst(rng, motion(Pulse(14, 0.1, FROM_RIGHT)))
    some = Drive(0, parked=True).readings(rng, ignition=False)
    late = judged(DETECTORS, [(Readings.empty(), [event]), (some, [])])
    assert findings_of(late) == findings_of(judged(DETECTORS, [(some, [event])]))
    assert next(change.detection.finding.kind for change in late.changes) == "crash", (
        "what is not known does not suppress"
    )


def test_a_late_reading_that_outweighs_what_spoke_against_a_blow_finds_it() -> None:
    # Lorries are struck when they couple a trailer at walking pace; the late reading shows that this one drove.
    rng = rng_of(8)
    event = Device().burst(rng, motion(Pulse(4, 0.1, FROM_BEHIND)))
    some = Drive(3, stands_after_s=1).readings(rng)
    late = readings({"speed_kmh": [11.0], "ignition": [True]}, first_s=-2.5)
    lorry = Vehicle(VEHICLE, "heavy")
    assert not judged(DETECTORS, [(some, [event])], vehicle=lorry).standing
    for batches in ([(some, [event]), (late, [])], [(Readings.empty(), [event]), (some, []), (late, [])]):
        assert [one.finding.kind for one in judged(DETECTORS, batches, vehicle=lorry).standing] == ["crash"]


def test_one_crash_is_one_episode() -> None:
    rng = rng_of(11)
    first = motion(Pulse(28, 0.1), Pulse(9, 0.1, FROM_BEHIND, at_s=0.8))
    events = [
        Device(range_g=100.0).burst(rng, first),
        Device().burst(rng, motion(Pulse(12, 0.1, FROM_RIGHT)), t0_ms=START_MS + 6_000, seq=2),
        alarm("crash", 0.3, 51),
        alarm("airbag", 0.9, 52),
    ]
    finding = only(found(events, Drive(60, (-45, 0)).readings(rng)))
    assert (finding.kind, finding.level) == ("crash", 3)
    assert finding.start_us < START_MS * 1000 + 50_000 and finding.end_us > START_MS * 1000 + 6_000_000
    assert {"airbag_deployed", "device_alarm", "impact_delta_v"} <= codes(finding)
    assert finding.values["delta_v_kmh"] == pytest.approx(28, abs=2)


def test_pieces_of_one_burst_are_one_burst() -> None:
    event = Device().burst(rng_of(5), motion(Pulse(30, 0.12)))
    for cut in (40, 104, 107, 112, 200):
        parts = []
        for number, part in enumerate((slice(0, cut), slice(cut, None))):
            body = {name: value[part] if isinstance(value, list) else value for name, value in event.body.items()}
            body |= {"t0_ms": event.body["t0_ms"] + number * cut * 10, "seq": number}
            parts.append(Event(topics.BURST, body["t0_ms"] * 1000, event.received_us, number, None, body))
        twice = [parts[0], parts[0], parts[1]]
        for order in (parts, parts[::-1], twice):
            memory = judged(DETECTORS, [(Readings.empty(), [part]) for part in order])
            finding = only([one.finding for one in memory.standing])
            assert finding.level == 3 and finding.values["delta_v_kmh"] == pytest.approx(30, abs=1)


def test_a_small_blow_at_speed_before_a_stop_is_urgent() -> None:
    rng = rng_of(2)
    event = Device().burst(rng, motion(Pulse(4, 0.12)))
    assert only(found([event], Drive(50, (-4, 0), stands_after_s=3).readings(rng))).level == 2
    assert only(found([event], Drive(50, (-4, 0), stands_after_s=None).readings(rng))).level == 1


# -- clipping ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("range_g", [2.0, 4.0, 8.0, 16.0])
@pytest.mark.parametrize("gravity", [False, True])
def test_a_clipped_pulse_is_a_lower_bound_and_says_so(range_g: float, gravity: bool) -> None:
    rng = rng_of(int(range_g))
    device = Device(100.0, range_g, rotation(rng) if gravity else np.eye(3), gravity)
    told = only(found([device.burst(rng, motion(Pulse(62, 0.1)))], Drive(64, (-62, 0)).readings(rng)))
    values = told.values
    assert values["clipped"] and values["delta_v_lower_bound"] and "impact_clipped" in codes(told)
    assert values["range_g"] == range_g
    assert values["delta_v_kmh"] < 60 and values["plausible_delta_v_kmh"] > values["delta_v_kmh"]
    assert told.level == 3


@pytest.mark.parametrize("range_g", [2.0, 4.0, 8.0])
@pytest.mark.parametrize("rate_hz", [50.0, 100.0, 400.0])
def test_clipping_does_not_understate_a_level_in_silence(range_g: float, rate_hz: float) -> None:
    rng, understated = rng_of(int(range_g * rate_hz)), 0
    for _ in range(5):
        pulse = Pulse(rng.uniform(28, 40), rng.uniform(0.08, 0.13), ripple=rng.uniform(0.2, 0.4))
        finding = only(found([Device(rate_hz, range_g, phase=rng.random()).burst(rng, motion(pulse))]))
        if finding.level < 3:
            understated += 1
            assert finding.values["delta_v_lower_bound"]
    assert understated <= 3


def test_saturation_shows_where_gravity_was_taken_off_and_where_no_range_is_told() -> None:
    rng = rng_of(1)
    askew = Device(100.0, 4.0, rotation(rng), gravity=False)
    event = askew.burst(rng, motion(Pulse(40, 0.1)))
    burst = decode(event)
    assert burst is not None and burst.clipped.sum() >= 3
    body = dict(Device(100.0, 4.0).burst(rng, motion(Pulse(40, 0.1))).body)
    del body["range_mps2"]
    untold = decode(Event(topics.BURST, 0, 0, 1, None, body))
    assert untold is not None and untold.range_mps2 is None and untold.clipped.sum() >= 3
    calm = decode(Device(100.0, 4.0, noise_mps2=0.0).burst(rng, motion()))
    assert calm is not None and not calm.clipped.any()


# -- without a burst ---------------------------------------------------------------------------------------------------


def test_readings_once_a_second_alone() -> None:
    rng = rng_of(4)
    told = only(found([], Drive(64, (-58, 0), stands_after_s=2).readings(rng)))
    assert (told.kind, told.level, told.values["source"]) == ("crash", 3, "1hz")
    assert told.values["delta_v_kmh"] == pytest.approx(60, abs=8)
    assert told.values["clipped"] is False and told.values["peak_g"] is None
    assert "speed_jumped" in codes(told)


def drop_readings(speeds: list[float], **more: list[Any]) -> Readings:
    return readings({"speed_kmh": speeds, **more}, first_s=-20.0)


def test_what_is_no_crash_in_the_speed() -> None:
    cruise = [80.0] * 20
    stop = [80.0, 46.5, 13.0, 0.0, *[0.0] * 30]
    assert found([], drop_readings([*cruise, *stop])) == [], "a hard stop at 0.95 g"
    glitch = [*cruise, 0.0, 0.0, 79.0, *[80.0] * 30]
    assert found([], drop_readings(glitch)) == [], "a receiver that tells 0 for two seconds"
    count = len(cruise) + 32
    frozen = [*cruise, *[0.0] * 32]
    places: dict[str, list[Any]] = {
        "lat_deg": [31.0 + at * 80 / 3.6 / 111_200 for at in range(count)],
        "lon_deg": [121.0] * count,
    }
    assert found([], drop_readings(frozen, **places)) == [], "positions run on"
    assert found([], drop_readings(frozen, obd_speed_kmh=[80.0] * count)) == [], "the wheels turn on"
    assert only(found([], drop_readings(frozen))).level == 3


def test_a_clock_set_back_makes_no_crash_of_two_times_and_hides_none() -> None:
    first = readings({"speed_kmh": [60.0] * 40, "ignition": [True] * 40}, first_s=0.0, seq=1000)
    again = readings({"speed_kmh": [0.0] * 40, "ignition": [True] * 40}, first_s=0.14, seq=1040)
    assert judged(DETECTORS, [(first, []), (again, [])]).standing == []
    struck = readings({"speed_kmh": [45.0] * 20 + [0.0] * 20, "ignition": [True] * 40}, first_s=0.14, seq=1040)
    told = only([one.finding for one in judged(DETECTORS, [(first, []), (struck, [])]).standing])
    assert told.values["delta_v_kmh"] == pytest.approx(45.0, abs=1.0)


def test_a_speed_that_jumps_again_and_again_is_no_crash() -> None:
    rng = rng_of(4)
    assert found([], drop_readings(rng.uniform(0, 130, 120).round(1).tolist())) == []
    # Two crashes in one go still are: into the one in front, and pushed by the one behind.
    twice = [60.0] * 20 + [25.0] + [24.0] * 3 + [60.0] * 2 + [20.0] + [0.0] * 20
    assert found([], drop_readings(twice, obd_speed_kmh=twice)) != []


def test_an_odd_speed_is_no_crash() -> None:
    assert (
        found([], drop_readings([62.0] * 10 + [103.0] + [62.0, 56.0, 51.0, 45.0, 40.0, 35.0, 29.0] + [24.0] * 10)) == []
    )


def test_a_loss_that_brakes_could_do_needs_something_that_brakes_do_not_do() -> None:
    speeds = [*[45.0] * 20, 15.0, *[0.0] * 40]
    rest = len(speeds) - 21
    assert found([], drop_readings(speeds)) == []
    died = only(found([], drop_readings(speeds, ignition=[*[True] * 22, *[False] * (rest - 1)])))
    assert (died.kind, died.level) == ("crash", 3) and "engine_died" in codes(died)
    gyro: dict[str, list[Any]] = {f"gyro_{axis}_dps": [0.0] * len(speeds) for axis in "xyz"}
    gyro["gyro_z_dps"][20] = 130.0
    spun = only(found([], drop_readings(speeds, **gyro)))
    assert spun.kind == "crash" and "spun" in codes(spun)


def test_less_way_than_brakes_need_is_a_crash() -> None:
    # The second in which it happened is cut in two: 37 and 30 km/h are lost, as good brakes might. The way tells.
    speed = [68.0] * 12 + [31.0, 1.0] + [0.0] * 12
    metres_a_second = {"struck": [68 / 3.6] * 12 + [68 / 3.6, 1.0], "braked": [68 / 3.6] * 12 + [13.5, 4.5]}
    for case, steps in metres_a_second.items():
        way_m = np.concatenate((np.cumsum(steps), [sum(steps)] * 12))
        some = drop_readings(speed, lat_deg=(31.2 + way_m / 111_195).tolist(), lon_deg=[121.5] * len(speed))
        assert bool(found([], some)) is (case == "struck"), case


def test_one_reading_is_not_enough_for_an_emergency() -> None:
    some = drop_readings([*[90.0] * 20, 20.0])
    first = only(found([], some))
    assert first.level == 1 and "speed_unconfirmed" in codes(first)
    more = readings({"speed_kmh": [5.0, 0.0]}, first_s=1.0)
    more.seq += 100
    both = judged(DETECTORS, [(some, []), (more, [])])
    assert only([one.finding for one in both.standing]).level == 3


@pytest.mark.parametrize(("kind", "level"), [("crash", 2), ("airbag", 3)])
def test_an_alarm_alone(kind: str, level: int) -> None:
    told = only(found([alarm(kind)]))
    assert (told.kind, told.level, told.values["source"]) == ("crash", level, "alarm")
    assert told.values["delta_v_kmh"] is None
    assert only(found([alarm(kind)], Drive(0, parked=True).readings(rng_of(1), ignition=False))).kind == "parked_impact"
    assert found([alarm("tow"), alarm("sos")]) == []


def test_an_alarm_is_weighed_against_what_the_vehicle_did() -> None:
    rng = rng_of(1)
    assert only(found([alarm("crash")], Drive(50, stands_after_s=3).readings(rng))).level == 2
    assert only(found([alarm("crash")], Drive(50, stands_after_s=None).readings(rng))).level == 1
    dropped = Device().burst(rng, dropping(0.3, 10, 0.012))
    assert found([alarm("crash", 0.0), dropped]) == [], "the burst shows what it was"
    assert only(found([alarm("airbag", 0.0), dropped])).level == 3, "an airbag is never argued away"


# -- what is no impact -------------------------------------------------------------------------------------------------


def test_a_device_that_fell_is_not_believed_that_it_was_a_crash() -> None:
    # A sensor of 2 g draws the blow out and the strongest change is where it comes to lie: the fall is what counts.
    rng = rng_of(3)
    for rate_hz, range_g in ((50.0, 4.0), (200.0, 2.0), (100.0, 16.0)):
        fall = Device(rate_hz=rate_hz, range_g=range_g).burst(rng, dropping(0.3, 6, 0.012))
        for drive in (Drive(0, parked=True), Drive(50, stands_after_s=None)):
            some = drive.readings(rng, ignition=not drive.parked)
            assert found([fall, alarm("crash")], some) == []
    assert only(found([alarm("crash")], Drive(0, parked=True).readings(rng, ignition=False))).kind == "parked_impact"


def test_a_slow_sensor_sees_bumps_of_parked_cars_and_no_doors() -> None:
    # Ten samples a second, as such parts filter them: one sample of a bump of 4 km/h, and no more of a door.
    rng = rng_of(6)
    slow = Device(rate_hz=10.0, averages=True)
    bump, door = Pulse(4.0, 0.12, FROM_RIGHT), Pulse(1.6, 0.12, FROM_RIGHT)
    parked = PARKED.readings(rng, ignition=False)
    assert only(found([slow.burst(rng, motion(bump))], parked)).kind == "parked_impact"
    assert found([slow.burst(rng, motion(door))], parked) == []


def plateau(t_s: Floats, from_s: float, until_s: float, rise_s: float) -> Floats:
    return np.clip((t_s - from_s) / rise_s, 0, 1) * np.clip((until_s - t_s) / rise_s, 0, 1)


def braking(peak_g: float, lasts_s: float, rise_s: float) -> Callable[[Floats], Floats]:
    def accel(t_s: Floats) -> Floats:
        end_s = lasts_s - 0.5
        rock = np.where(t_s > end_s, 0.25 * np.exp(-(t_s - end_s) / 0.4) * np.sin(10 * (t_s - end_s)), 0.0)
        along = G * (rock - peak_g * plateau(t_s, -0.5, end_s, rise_s))
        return np.stack((along, np.zeros_like(along), np.zeros_like(along)), axis=1)

    return accel


def hail(seed: int) -> Callable[[Floats], Floats]:
    rng = rng_of(seed)
    hits = [
        (rng.uniform(-1, 2), rng.uniform(0.003, 0.008), rng.uniform(0.2, 1.0), (*(0.2 * rng.normal(size=2)), -1.0))
        for _ in range(60)
    ]
    return lambda t_s: np.sum([half_sine(t_s, *hit) for hit in hits], axis=0)


PARKED, DRIVING = Drive(0, parked=True), Drive(50, stands_after_s=None)
HARMLESS: dict[str, tuple[Callable[[Floats], Floats], Drive]] = {
    "hard stop": (braking(0.95, 1.6, 0.15), Drive(55, stands_after_s=1.6)),
    "short hard stop": (braking(0.8, 1.0, 0.05), Drive(30, stands_after_s=1.0)),
    "harsh driving": (lambda t: 0.6 * G * plateau(t, -0.5, 1.5, 0.3)[:, None] * [-0.5, 0.8, 0.0], DRIVING),
    "pothole": (lambda t: half_sine(t, 0, 0.05, 3, (-0.15, 0.1, 1.0)), DRIVING),
    "kerb": (lambda t: half_sine(t, 0, 0.03, 2.5, (0.1, 0.25, 1.0)), Drive(15, stands_after_s=5)),
    "speed bump": (
        lambda t: (G * np.sin(2 * np.pi * t / 0.45) * ((t > 0) & (t < 1.2)))[:, None] * [-0.1, 0.0, 0.9], DRIVING,
    ),
    "door slam": (lambda t: half_sine(t, 0, 0.04, 1.0, (0.2, 1.0, 0.1)), PARKED),
    "boot slam": (lambda t: half_sine(t, 0, 0.05, 0.9, (1.0, 0.0, 0.4)), PARKED),
    "dropped": (dropping(0.35, 16, 0.02), PARKED),
    "dropped, and bounces": (
        lambda t: dropping(0.45, 9, 0.02)(t) + half_sine(t, 0.12, 0.02, 3, (0.7, 0.6, 0.6)), PARKED,
    ),
    "dropped while driving": (dropping(0.25, 9, 0.015, (-0.9, 0.1, 0.4)), DRIVING),
    "near miss": (
        lambda t: np.stack(
            (-0.85 * G * plateau(t, -0.5, 1.0, 0.2), 0.6 * G * np.sin(4 * t) * plateau(t, 0.3, 1.9, 0.1), 0 * t), 1
        ),
        Drive(70, stands_after_s=None),
    ),
    "hail": (hail(3), PARKED),
    "car wash": (lambda t: 0.2 * G * np.sin(np.outer(t, [19.0, 31.0, 57.0])), PARKED),
}  # fmt: skip


@pytest.mark.parametrize("rate_hz", [25.0, 100.0, 1000.0])
@pytest.mark.parametrize("name", HARMLESS)
def test_what_is_no_impact_raises_none(name: str, rate_hz: float) -> None:
    rng = rng_of(len(name))
    accel, drive = HARMLESS[name]
    for gravity in (False, True):
        device = Device(rate_hz, rotation=rotation(rng) if gravity else np.eye(3), gravity=gravity, phase=rng.random())
        event = device.burst(rng, accel, from_s=-1.5)
        for ignition in (True, False):
            assert found([event], drive.readings(rng, ignition=ignition)) == []


def test_a_truck_that_couples_its_trailer_is_not_struck() -> None:
    rng = rng_of(8)
    event = Device().burst(rng, motion(Pulse(4, 0.1, FROM_BEHIND)))
    some = Drive(3, stands_after_s=1).readings(rng)
    assert found([event], some, Vehicle(VEHICLE, "heavy")) == []
    assert only(found([event], some)).level == 1
    assert only(found([event], Drive(50, (-4, 0)).readings(rng), Vehicle(VEHICLE, "heavy"))).level == 2


# -- what comes after --------------------------------------------------------------------------------------------------


def test_silence_after_a_confirmed_crash_is_an_emergency_and_asks_for_another_look() -> None:
    rng = rng_of(6)
    event = Device().burst(rng, motion(Pulse(14, 0.1)))
    before = Drive(40, (-14, 0), after_s=3).readings(rng)
    minute_later_us = (START_MS + 62_000) * 1000
    waiting = only([one.finding for one in judged(DETECTORS, [(before, [event])]).standing])
    assert waiting.level == 2 and waiting.revisit_us is not None and waiting.revisit_us <= minute_later_us
    memory = judged(DETECTORS, [(before, [event])], known_until_us=minute_later_us)
    told = only([one.finding for one in memory.standing])
    assert told.level == 3 and told.revisit_us is None and "silent_after" in codes(told)
    spoke = readings({"speed_kmh": [0.0] * 3}, first_s=40.0)
    spoke.seq += 500
    heard = judged(DETECTORS, [(before, [event]), (spoke, [])], known_until_us=minute_later_us)
    assert only([one.finding for one in heard.standing]).level == 2, "late readings take it back"


def test_silence_alone_makes_no_emergency_of_a_bump() -> None:
    rng = rng_of(6)
    event = Device().burst(rng, motion(Pulse(5, 0.1)))
    memory = judged(
        DETECTORS, [(Drive(10, (-5, 0), after_s=3).readings(rng), [event])], known_until_us=(START_MS + 62_000) * 1000
    )
    assert only([one.finding for one in memory.standing]).level == 1


# -- order, batches, gates ---------------------------------------------------------------------------------------------


def story(rng: np.random.Generator) -> tuple[Readings, list[Event]]:
    """A drive in which some of all this happens."""
    case = sorted(CASES)[int(rng.integers(len(CASES)))]
    pulse, drive, _ = CASES[case]
    gravity = bool(rng.random() < 0.5)
    device = Device(
        float(rng.choice([25, 50, 100, 200])), float(rng.choice([4, 16])), rotation(rng) if gravity else np.eye(3),
        gravity, phase=rng.random(),
    )  # fmt: skip
    events = []
    if rng.random() < 0.85:
        events.append(device.burst(rng, motion(pulse, shaking_g=0.3)))
    if rng.random() < 0.4:
        events.append(alarm("crash", rng.uniform(0, 3), 51))
    if rng.random() < 0.2:
        events.append(alarm("airbag", rng.uniform(0, 3), 52))
    if rng.random() < 0.5:
        accel, _ = HARMLESS[sorted(HARMLESS)[int(rng.integers(len(HARMLESS)))]]
        events.append(device.burst(rng, accel, t0_ms=START_MS + int(rng.integers(-60_000, 60_000)), seq=3))
    if rng.random() < 0.2:
        drive = PARKED
    drive = replace(drive, braking_g=float(rng.choice([0.0, 0.7])))
    ignition = [True, False, None][int(rng.integers(3))]
    return drive.readings(rng, ignition=ignition, device=device if rng.random() < 0.6 else None), events


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 100_000))
def test_order_batches_and_duplicates_make_no_difference(seed: int) -> None:
    rng = rng_of(seed)
    assert_same_in_any_order(DETECTORS, rng, *story(rng))


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 100_000))
def test_a_wider_window_shows_the_same(seed: int) -> None:
    rng = rng_of(seed)
    some, events = story(rng)
    memory = judged({}, [(some, events)])
    detector = crash.DETECTOR
    at_us = START_MS * 1000
    spans = [
        Span(VEHICLE, at_us - round((detector.before_s + more) * S), at_us + round((detector.after_s + more) * S))
        for more in (0, 20, 200)
    ]
    windows = memory.windows(spans, detector.columns, detector.streams)
    near = [[one for one in detector.examine(window) if abs(one.at_us - at_us) <= 4 * S] for window in windows]
    # What is known of the device's silence is the store's business; it is the same here.
    assert near[0] == near[1] == near[2]


def test_the_gate_opens_at_what_it_must_see_and_at_little_else() -> None:
    rng = rng_of(1)
    some = concatenate([Drive(64, (-58, 0)).readings(rng), DRIVING.readings(rng)]).in_key_order()[0]
    mask = crash.DETECTOR.wants(Rows(some, {}))
    assert mask.sum() == 1
    assert abs(int(some.device_time_us[np.flatnonzero(mask)[0]]) - START_MS * 1000) <= S
    calm = DRIVING.readings(rng, device=Device(gravity=True, rotation=rotation(rng)))
    assert not crash.DETECTOR.wants(Rows(calm, {})).any() and not rollover.DETECTOR.wants(Rows(calm, {})).any()
    bare = readings({"satellites": [9.0, 9.0]})
    assert not crash.DETECTOR.wants(Rows(bare, {})).any() and not rollover.DETECTOR.wants(Rows(bare, {})).any()


def test_bursts_of_rubbish_do_no_harm() -> None:
    for values in ([0.0], [None, None], [1e9, -1e9, 0.0], [None] * 500, [0.0] * 3):
        body = {"t0_ms": START_MS, "rate_hz": 0.5, "range_mps2": 0} | {f"accel_{axis}_mps2": values for axis in "xyz"}
        body |= {f"gyro_{axis}_dps": values for axis in "xyz"}
        for detector in (*DETECTORS.values(), loose_mounting.DETECTOR):
            memory = judged({}, [(Readings.empty(), [Event(topics.BURST, START_MS * 1000, 0, 1, None, body)])])
            span = Span(VEHICLE, START_MS * 1000 - S, START_MS * 1000 + S)
            window = memory.windows([span], detector.columns, detector.streams)[0]
            assert len(bursts_of(window)) == 1
            detector.examine(window)
