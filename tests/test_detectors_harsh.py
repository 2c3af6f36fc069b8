"""Harsh driving: limits by class, at one reading a second and faster, with and without acceleration; faults and impacts
are none of it.
"""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fleet_core.readings import Readings, concatenate
from incidents.detector import Finding
from incidents.detectors import harsh_acceleration, harsh_braking, harsh_cornering
from incidents.rows import Rows
from incidents.source import Span
from incidents.window import Event, Mounting, S, Vehicle
from tests.impact_pulses import (
    START_MS,
    VEHICLE,
    Device,
    Floats,
    G,
    Pulse,
    alarm,
    assert_same_in_any_order,
    judged,
    motion,
    readings,
    rotation,
)

DETECTORS = {module.DETECTOR.name: module.DETECTOR for module in (harsh_braking, harsh_acceleration, harsh_cornering)}
KINDS = sorted(DETECTORS)
LIMITS_G = {
    "harsh_braking": (0.35, 0.45, 0.60),
    "harsh_acceleration": (0.28, 0.35, 0.45),
    "harsh_cornering": (0.35, 0.45, 0.60),
}
FACTOR = {"car": 1.0, "van": 0.85, "heavy": 0.7}
STEP_S = 0.05


@dataclass(frozen=True)
class Ride:
    """A ride in which one manoeuvre of `peak_g` lasts `lasts_s` from second `at_s` on; its ramps are 0.25 s long."""

    kind: str
    peak_g: float
    lasts_s: float = 2.2
    speed_kmh: float = 70.0
    at_s: float = 30.0
    seconds: float = 60.0
    ordinary_g: float = 0.0

    def truth(self, rng: np.random.Generator) -> tuple[Floats, Floats, Floats, Floats]:
        """Times, speed in m/s, acceleration along and across in m/s2, every 50 ms."""
        t_s = np.arange(0, self.seconds, STEP_S)
        shape = np.clip((t_s - self.at_s) / 0.25, 0, 1) * np.clip((self.at_s + self.lasts_s - t_s) / 0.25, 0, 1)
        along, across = np.zeros_like(t_s), np.zeros_like(t_s)
        if self.ordinary_g:
            slow = [rng.uniform(0.02, 0.08), rng.uniform(0.05, 0.15)]
            along, across = (
                self.ordinary_g * np.mean([np.sin(2 * np.pi * hz * t_s + rng.uniform(0, 6)) for hz in slow], 0)
                for _ in range(2)
            )
            calm = np.clip(np.abs(t_s - self.at_s - self.lasts_s / 2) - 3, 0, 1)
            along, across = along * calm, across * calm
        if self.kind == "harsh_cornering":
            across = across + rng.choice([-1, 1]) * self.peak_g * shape
        else:
            along = along + (1 if self.kind == "harsh_acceleration" else -1) * self.peak_g * shape
        speed = np.maximum(self.speed_kmh / 3.6 + np.cumsum(along * G) * STEP_S, 0.0)
        return t_s, speed, np.gradient(speed, STEP_S), across * G

    def readings(
        self,
        rng: np.random.Generator,
        *,
        rate_hz: float = 1.0,
        device: Device | None = None,
        gyro: bool = False,
        course: bool = True,
        phase: float | None = None,
    ) -> Readings:
        """What a device sends of it; accelerations and turning rates are means since the reading before."""
        t_s, speed, along, across = self.truth(rng)
        turning = np.where(speed > 3, across / np.maximum(speed, 3), 0.0)
        at_s = np.arange(1, self.seconds - 2, 1 / rate_hz) + (rng.random() if phase is None else phase) / rate_hz
        rows = np.searchsorted(t_s, at_s)
        count = max(1, round(1 / rate_hz / STEP_S))

        def means(values: Floats) -> Floats:
            return np.array([values[row - count + 1 : row + 1].mean() for row in rows.tolist()])

        told = np.round(np.abs(speed[rows] * 3.6 + rng.normal(0, 0.3, len(rows))), 1).tolist()
        columns: dict[str, list[Any]] = {"speed_kmh": told}
        if rate_hz > 1:
            columns["speed_kmh"] = [value if row % round(rate_hz) == 0 else None for row, value in enumerate(told)]
        if course:
            heading = (90 - np.degrees(np.cumsum(turning) * STEP_S))[rows] + rng.normal(0, 0.4, len(rows))
            columns["heading_deg"] = np.round(heading % 360, 1).tolist()
        if device is not None:
            felt = np.stack((means(along), means(across), np.zeros(len(rows))), axis=1)
            sensed = (felt + rng.normal(0, 0.2, felt.shape) + [0.0, 0.0, G]) @ device.rotation.T
            if device.gravity:
                columns["accel_gravity"] = [True] * len(rows)
            else:
                sensed = sensed - device.rotation @ np.array([0.0, 0.0, G])
            columns |= {f"accel_{axis}_mps2": sensed[:, at].round(3).tolist() for at, axis in enumerate("xyz")}
        if gyro:
            rates = np.stack((np.zeros(len(rows)), np.zeros(len(rows)), np.degrees(means(turning))), axis=1)
            turned = rates if device is None else rates @ device.rotation.T
            columns |= {f"gyro_{axis}_dps": turned[:, at].round(2).tolist() for at, axis in enumerate("xyz")}
        return readings(columns, t_ms=[START_MS + round(second * 1000) for second in at_s.tolist()])


def found(some: Readings, events: list[Event] | None = None, vehicle: Vehicle | None = None) -> list[Finding]:
    memory = judged(DETECTORS, [(some, events or [])], vehicle=vehicle)
    return [detection.finding for detection in memory.standing]


def rng_of(seed: int) -> np.random.Generator:
    return np.random.default_rng(seed)


WITNESSES: dict[str, dict[str, Any]] = {
    "speed and course alone": {},
    "acceleration in vehicle axes": {"device": Device(), "gyro": True},
    "device askew, gravity in it": {"device": Device(rotation=rotation(rng_of(5)), gravity=True)},
    "turning rate, no course": {"device": Device(), "gyro": True, "course": False},
    "ten readings a second": {"device": Device(), "gyro": True, "rate_hz": 10.0},
}


@pytest.mark.parametrize("vehicle_class", FACTOR)
@pytest.mark.parametrize("witness", WITNESSES)
@pytest.mark.parametrize("kind", KINDS)
def test_a_manoeuvre_beyond_the_limit_is_found_and_one_below_it_is_not(
    kind: str, witness: str, vehicle_class: str
) -> None:
    rng = rng_of(len(kind) + len(witness) + len(vehicle_class))
    vehicle, factor = Vehicle(VEHICLE, vehicle_class), FACTOR[vehicle_class]
    for severity, low, high in zip(("low", "medium", "high"), LIMITS_G[kind], (*LIMITS_G[kind][1:], 0.8), strict=True):
        ride = Ride(kind, (low + high) / 2 * factor, lasts_s=3.2)
        told = found(ride.readings(rng, **WITNESSES[witness]), vehicle=vehicle)
        assert [(one.kind, one.level) for one in told] == [(kind, 1)]
        assert told[0].values["severity"] == severity
        assert told[0].values["peak_g"] == pytest.approx(ride.peak_g, abs=0.06)
        assert abs(told[0].at_us / S - START_MS / 1000 - ride.at_s) <= 5
    calm = Ride(kind, LIMITS_G[kind][0] * factor * 0.8, lasts_s=3.2)
    assert found(calm.readings(rng, **WITNESSES[witness]), vehicle=vehicle) == []


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10_000), kind=st.sampled_from(KINDS), witness=st.sampled_from(sorted(WITNESSES)))
def test_ordinary_driving_is_not_harsh(seed: int, kind: str, witness: str) -> None:
    rng = rng_of(seed)
    ride = Ride(kind, 0.0, ordinary_g=0.22, speed_kmh=rng.uniform(30, 100), seconds=120)
    assert found(ride.readings(rng, **WITNESSES[witness])) == []


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10_000), kind=st.sampled_from(KINDS), phase=st.floats(0, 1))
def test_any_phase_finds_a_manoeuvre_of_two_seconds(seed: int, kind: str, phase: float) -> None:
    rng = rng_of(seed)
    ride = Ride(kind, 1.25 * LIMITS_G[kind][0], lasts_s=2.5, speed_kmh=60)
    for witness in ("speed and course alone", "acceleration in vehicle axes"):
        told = found(ride.readings(rng, phase=phase, **WITNESSES[witness]))
        assert [one.kind for one in told] == [kind]


def test_a_mounting_that_is_kept_lets_fast_readings_speak() -> None:
    rng = rng_of(4)
    device = Device(rotation=rotation(rng), gravity=True)
    ride = Ride("harsh_braking", 0.5, lasts_s=0.9)
    some = ride.readings(rng, device=device, rate_hz=10.0)
    kept = Vehicle(VEHICLE, mounting=Mounting(device.rotation.T, 0.9, 0, 0))
    told = found(some, vehicle=kept)
    assert [(one.kind, one.values["source"]) for one in told] == [("harsh_braking", "accel")]


def test_manoeuvres_within_three_seconds_are_one() -> None:
    speeds = [80.0] * 20 + [65.0, 50.0, 50.0, 36.0, 36.0] + [36.0] * 20
    told = found(readings({"speed_kmh": speeds}))
    assert [one.kind for one in told] == ["harsh_braking"]
    assert told[0].end_us - told[0].start_us == 4 * S and told[0].values["duration_s"] == 4.0
    apart = [80.0] * 20 + [65.0, *[65.0] * 6, 50.0] + [50.0] * 20
    assert len(found(readings({"speed_kmh": apart}))) == 2


def test_a_burst_alone_shows_what_lasts() -> None:
    rng = rng_of(2)

    def brakes(t_s: Floats) -> Floats:
        return (-0.7 * G * np.clip((t_s + 0.5) / 0.2, 0, 1) * np.clip((0.8 - t_s) / 0.2, 0, 1))[:, None] * [1.0, 0, 0]

    told = found(Readings.empty(), [Device().burst(rng, brakes)])
    assert [(one.kind, one.values["severity"], one.values["source"]) for one in told] == [
        ("harsh_braking", "high", "burst")
    ]
    assert {reason.code for reason in told[0].reasons} == {"harsh_limit", "harsh_by_burst"}
    standing = readings({"speed_kmh": [0.0] * 40}, first_s=-20)
    assert found(standing, [Device().burst(rng, brakes)]) == [], "somebody shakes the device of a parked vehicle"
    askew = Device(rotation=rotation(rng), gravity=True).burst(rng, brakes)
    assert found(Readings.empty(), [askew]) == [], "nobody knows which way it points"


# -- what is not driving -----------------------------------------------------------------------------------------------


def test_faults_of_the_receiver_are_not_harsh() -> None:
    cruise = [70.0] * 20
    assert found(readings({"speed_kmh": [*cruise, 55.0, *cruise]})) == [], "taken back at once"
    assert found(readings({"speed_kmh": [*cruise, 20.0, *[20.0] * 20]})) == [], "beyond 1.2 g"
    speeds = [*cruise, 55.0, *[55.0] * 20]
    assert [one.kind for one in found(readings({"speed_kmh": speeds}))] == ["harsh_braking"]
    felt = {f"accel_{axis}_mps2": [0.0] * len(speeds) for axis in "xyz"}
    assert found(readings({"speed_kmh": speeds, **felt})) == [], "the accelerometer felt nothing"
    assert found(readings({"speed_kmh": speeds, "obd_speed_kmh": [70.0] * len(speeds)})) == [], "nor did the wheels"
    turning = [90.0] * 20 + [120.0] * 20
    course = {"speed_kmh": [70.0] * 40, "heading_deg": turning}
    assert found(readings(course)) == [], "a course that jumps once"
    crawl = {"speed_kmh": [9.0] * 20 + [0.0] * 20}
    assert found(readings(crawl)) == [], "below walking pace nothing is harsh"
    shaken = {"speed_kmh": [70.0] * 40, "accel_x_mps2": [0.0] * 20 + [-5.0] + [0.0] * 19}
    shaken |= {"accel_y_mps2": [0.0] * 40, "accel_z_mps2": [0.0] * 40}
    assert found(readings(shaken)) == [], "one shake without a change of speed"


def test_what_an_impact_did_is_not_a_manoeuvre() -> None:
    rng = rng_of(2)
    speeds = [60.0] * 20 + [44.0, 20.0, 0.0] + [0.0] * 20
    some = readings({"speed_kmh": speeds}, first_s=-20.0)
    assert [one.kind for one in found(some)] == ["harsh_braking"]
    assert found(some, [Device().burst(rng, motion(Pulse(25, 0.1)))]) == []
    assert found(some, [alarm("crash")]) == []
    late = judged(DETECTORS, [(some, []), (Readings.empty(), [alarm("crash")])])
    assert late.standing == []


# -- order, windows, gates ---------------------------------------------------------------------------------------------


def story(rng: np.random.Generator) -> tuple[Readings, list[Event]]:
    """Two rides after each other, and sometimes a burst or an alarm."""
    parts, events = [], []
    for number in range(2):
        kind = KINDS[int(rng.integers(3))]
        witness = sorted(WITNESSES)[int(rng.integers(len(WITNESSES)))]
        ride = Ride(kind, rng.uniform(0.2, 0.8), rng.uniform(0.8, 4), rng.uniform(20, 90), ordinary_g=0.2)
        some = ride.readings(rng, **WITNESSES[witness])
        some = replace(some, device_time_us=some.device_time_us + number * 60 * S, seq=some.seq + number * 10_000)
        parts.append(some)
    if rng.random() < 0.3:
        events.append(Device().burst(rng, motion(Pulse(12, 0.1)), t0_ms=START_MS + int(rng.integers(20_000, 100_000))))
    if rng.random() < 0.2:
        events.append(alarm("crash", rng.uniform(20, 100)))
    return concatenate(parts), events


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 100_000))
def test_order_batches_and_duplicates_make_no_difference(seed: int) -> None:
    rng = rng_of(seed)
    assert_same_in_any_order(DETECTORS, rng, *story(rng))


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 100_000))
def test_a_wider_window_shows_the_same_and_the_gate_opened_for_it(seed: int) -> None:
    rng = rng_of(seed)
    some, events = story(rng)
    memory = judged({}, [(some, events)])
    for detector in DETECTORS.values():
        whole = Span(VEHICLE, int(some.device_time_us[0]) - S, int(some.device_time_us[-1]) + S)
        everything = detector.examine(memory.windows([whole], detector.columns, detector.streams)[0])
        wanted = some.device_time_us[detector.wants(Rows(some, {}))]
        for one in everything:
            if one.values["source"] != "burst":
                gap_us = round(detector.episode_gap_s * S)
                assert ((wanted >= one.start_us - gap_us) & (wanted <= one.end_us + gap_us)).any()
            near = Span(
                VEHICLE,
                one.start_us - round(detector.before_s * S),
                one.end_us + round(detector.after_s * S),
            )
            assert one in detector.examine(memory.windows([near], detector.columns, detector.streams)[0])


def test_the_gate_is_shut_where_there_is_nothing() -> None:
    bare = readings({"satellites": [9.0] * 5})
    calm = Ride("harsh_braking", 0.0, ordinary_g=0.1).readings(rng_of(1), device=Device(), gyro=True)
    for detector in DETECTORS.values():
        assert not detector.wants(Rows(bare, {})).any()
        assert not detector.wants(Rows(calm, {})).any()
