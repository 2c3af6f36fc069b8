"""Attitude: vehicles that turn over, how devices sit in them, and devices that sit loose."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fleet_core import topics
from fleet_core.readings import Readings, concatenate
from incidents.detector import Finding
from incidents.detectors import crash, loose_mounting, rollover
from incidents.detectors._mounting import KNOWN_QUALITY, learn
from incidents.examine import sweep
from incidents.source import Span
from incidents.window import Event, Window
from tests.impact_pulses import (
    VEHICLE,
    Device,
    Drive,
    Floats,
    G,
    Pulse,
    dropping,
    judged,
    motion,
    readings,
    rotation,
)

DETECTORS = {"crash": crash.DETECTOR, "rollover": rollover.DETECTOR}
UP = np.array([0.0, 0.0, 1.0])
FROM_RIGHT = (0.0, 1.0, 0.0)
PARKED, DRIVING = Drive(0, parked=True), Drive(50, stands_after_s=None)


def found(events: list[Event], some: Readings | None = None) -> list[Finding]:
    memory = judged(DETECTORS, [(Readings.empty() if some is None else some, events)])
    return [detection.finding for detection in memory.standing]


def only(findings: list[Finding]) -> Finding:
    assert len(findings) == 1, findings
    return findings[0]


def codes(finding: Finding) -> set[str]:
    return {reason.code for reason in finding.reasons}


def rng_of(seed: int) -> np.random.Generator:
    return np.random.default_rng(seed)


# -- rollover ----------------------------------------------------------------------------------------------------------


def rolling(t_s: Floats) -> Floats:
    return np.where((t_s > 0.3) & (t_s < 1.5), 250.0, 0.0)[:, None] * [1.0, 0.1, 0.2]


def test_a_rollover_by_its_gyroscope() -> None:
    rng = rng_of(1)
    for gravity in (False, True):
        device = Device(100.0, rotation=rotation(rng) if gravity else np.eye(3), gravity=gravity)
        event = device.burst(rng, motion(Pulse(16, 0.3, (0.0, 1.0, 0.0))), gyro_dps=rolling, until_s=3.0)
        told = {finding.kind: finding for finding in found([event], Drive(60, (0, 16)).readings(rng))}
        assert set(told) == {"crash", "rollover"}
        assert told["rollover"].level == 3 and told["rollover"].values["max_turned_deg"] >= 90
        assert told["crash"].level == 3 and "rolled_over" in codes(told["crash"])


def test_a_vehicle_on_its_side_by_gravity() -> None:
    rng = rng_of(1)
    lies = np.array([0.0, G, 0.0])

    def accel(t_s: Floats) -> Floats:
        # What the sensor feels beyond the gravity of an upright vehicle.
        turned = np.clip((t_s - 0.2) / 0.6, 0, 1)[:, None] * (lies - [0.0, 0.0, G])
        return motion(Pulse(16, 0.3, (0.0, 1.0, 0.0)))(t_s) + turned

    for gravity in (False, True):
        device = Device(100.0, rotation=rotation(rng) if gravity else np.eye(3), gravity=gravity, with_gyro=False)
        kinds = {one.kind for one in found([device.burst(rng, accel, until_s=3.0)], Drive(60, (0, 16)).readings(rng))}
        assert "rollover" in kinds


def test_spins_tosses_and_parked_vehicles_are_no_rollovers() -> None:
    rng = rng_of(1)

    def spinning(t_s: Floats) -> Floats:
        return np.where(t_s > 0, 200 * np.exp(-np.clip(t_s, 0, None)), 0.0)[:, None] * [0.1, 0.1, 1.0]

    spun = Device().burst(rng, motion(Pulse(20, 0.1, FROM_RIGHT)), gyro_dps=spinning)
    assert {one.kind for one in found([spun], Drive(40, (0, 20)).readings(rng))} == {"crash"}
    tossed = Device(gravity=True, rotation=rotation(rng)).burst(rng, dropping(0.4, 10, 0.01), gyro_dps=rolling)
    assert found([tossed]) == []
    refitted = Device().burst(rng, motion(), gyro_dps=rolling, until_s=3.0)
    assert found([refitted], PARKED.readings(rng, ignition=False)) == []


def test_a_hard_stop_that_outlasts_the_burst_is_no_rollover() -> None:
    rng = rng_of(1)

    def braking(t_s: Floats) -> Floats:
        return (-1.0 * G * np.clip(t_s / 0.2, 0, 1))[:, None] * [1.0, 0.0, 0.0]

    for device in (Device(bias_mps2=(-0.6, 0.3, 0.0)), Device(gravity=True, rotation=rotation(rng))):
        assert found([device.burst(rng, braking)], Drive(90, stands_after_s=2.6).readings(rng)) == []


def test_a_rollover_in_readings_once_a_second() -> None:
    rng = rng_of(1)
    columns, first_s = Drive(70, (0, 0), stands_after_s=4).columns(rng, device=Device(gravity=True))
    at = round(-first_s) + 1
    gyro: dict[str, list[Any]] = {f"gyro_{axis}_dps": [0.0] * len(columns["speed_kmh"]) for axis in "xyz"}
    gyro["gyro_x_dps"][at : at + 3] = [140.0, 220.0, 90.0]
    assert "rollover" in {one.kind for one in found([], readings({**columns, **gyro}, first_s=first_s))}
    for row in range(at, len(columns["speed_kmh"])):
        columns["accel_y_mps2"][row], columns["accel_z_mps2"][row] = -9.7, 0.4
    told = found([], readings(columns, first_s=first_s))
    assert [(one.kind, one.level) for one in told if one.kind == "rollover"] == [("rollover", 3)]
    columns["accel_y_mps2"][at + 1 :] = [0.1] * len(columns["accel_y_mps2"][at + 1 :])
    columns["accel_z_mps2"][at + 1 :] = [9.8] * len(columns["accel_z_mps2"][at + 1 :])
    assert found([], readings(columns, first_s=first_s)) == [], "one odd reading"


def test_a_device_that_lies_otherwise_while_the_vehicle_drives_on_is_no_rollover() -> None:
    # Gravity was taken off as it lay before: 1.4 g is left over for a device that lies on its side.
    lies = {
        "accel_x_mps2": [0.0] * 10 + [9.8] * 40,
        "accel_y_mps2": [0.0] * 50,
        "accel_z_mps2": [0.0] * 10 + [-9.8] * 40,
        "ignition": [True] * 50,
    }
    drives_on = {"speed_kmh": [50.0] * 25 + [45.0, 36.0, 27.0, 18.0, 9.0] + [0.0] * 20, **lies}
    assert found([], readings(drives_on)) == []
    stops = {"speed_kmh": [50.0] * 9 + [25.0] + [0.0] * 40, **lies}
    assert "rollover" in {finding.kind for finding in found([], readings(stops))}


def test_a_gyroscope_that_turns_for_a_minute_is_no_rollover() -> None:
    def turning(lasts_s: int) -> list[Finding]:
        speed = [60.0] * 40 + [30.0, 10.0] + [0.0] * 78
        rolls = [0.0] * 40 + [200.0] * lasts_s + [0.0] * (80 - lasts_s)
        still = [0.0] * 120
        return found(
            [],
            readings(
                {
                    "speed_kmh": speed,
                    "ignition": [True] * 120,
                    "gyro_x_dps": rolls,
                    "gyro_y_dps": still,
                    "gyro_z_dps": still,
                }
            ),
        )

    assert "rollover" in {finding.kind for finding in turning(5)}
    assert "rollover" not in {finding.kind for finding in turning(60)}


def test_a_device_that_fell_says_nothing_of_the_attitude_of_the_vehicle() -> None:
    rng = rng_of(5)
    fall = Device(gravity=True).burst(rng, dropping(0.3, 8, 0.012))
    # It has stood for five seconds: only the fall tells that from a vehicle that has turned over.
    columns = {
        "speed_kmh": [30.0] * 7 + [21.0, 11.0] + [0.0] * 51,
        "ignition": [True] * 60,
        "accel_x_mps2": [0.0] * 15 + [9.6] * 45,
        "accel_y_mps2": [0.0] * 60,
        "accel_z_mps2": [9.8] * 15 + [2.0] * 45,
        "accel_gravity": [True] * 60,
    }
    some = readings(columns, first_s=-14.5)
    assert "rollover" in {finding.kind for finding in found([], some)}
    assert found([fall], some) == []


# -- mounting ----------------------------------------------------------------------------------------------------------


def window_of(some: Readings) -> Window:
    memory = judged({}, [(some, [])])
    span = Span(VEHICLE, int(some.device_time_us[0]), int(some.device_time_us[-1]))
    return memory.windows([span], list(some.columns), (topics.BURST,))[0]


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10_000))
def test_the_mounting_is_learned_from_a_drive(seed: int) -> None:
    rng = rng_of(seed)
    device = Device(rotation=rotation(rng), gravity=True)
    learned = learn(window_of(Drive(50, before_s=300, after_s=1).readings(rng, device=device)))
    assert learned is not None
    up = learned.rotation[2]
    assert np.degrees(np.arccos(np.clip(up @ device.rotation @ UP, -1, 1))) < 4
    if learned.quality >= KNOWN_QUALITY:
        off = learned.rotation @ device.rotation
        assert np.degrees(np.arccos(np.clip((np.trace(off) - 1) / 2, -1, 1))) < 20


def test_standing_tells_which_way_is_up_and_no_more() -> None:
    rng = rng_of(2)
    device = Device(rotation=rotation(rng), gravity=True)
    learned = learn(window_of(Drive(0, parked=True).readings(rng, device=device)))
    assert learned is not None and learned.quality < KNOWN_QUALITY
    assert np.degrees(np.arccos(learned.rotation[2] @ device.rotation @ UP)) < 2
    assert learn(window_of(PARKED.readings(rng))) is None


def swept(some: Readings, events: list[Event] | None = None) -> list[Finding]:
    memory = judged({}, [(some, events or [])])
    span = Span(VEHICLE, int(some.device_time_us[0]), int(some.device_time_us[-1]))
    verdict = sweep(memory, loose_mounting.DETECTOR, [span])
    assert not verdict.faults
    return [change.detection.finding for change in verdict.changes]


def test_a_loose_device_lies_otherwise_at_the_next_standstill() -> None:
    rng = rng_of(3)
    for gravity in (True, False):
        tight, parts, moved = Device(gravity=gravity), [], Device(gravity=gravity)
        tilt = np.radians(25)
        turned = np.array([[1, 0, 0], [0, np.cos(tilt), -np.sin(tilt)], [0, np.sin(tilt), np.cos(tilt)]])
        for number, angle in enumerate((0, 0, 1)):
            stop = Drive(40, before_s=60, after_s=40)
            columns, first_s = stop.columns(rng, device=tight if not angle else moved)
            if angle:
                felt = np.column_stack([columns[f"accel_{axis}_mps2"] for axis in "xyz"])
                held = felt if gravity else felt + np.array([0, 0, G])
                felt = held @ turned.T - (0 if gravity else np.array([0, 0, G]))
                columns |= {f"accel_{axis}_mps2": felt[:, at].tolist() for at, axis in enumerate("xyz")}
            part = readings(columns, first_s=first_s + 120 * number)
            part.seq += 1000 * number
            parts.append(part)
        steady = concatenate(parts[:2])
        assert swept(steady) == []
        told = only(swept(concatenate(parts)))
        assert told.kind == "loose_mounting" and told.level == 1
        assert told.values["max_turned_deg"] == pytest.approx(25, abs=4)


def test_a_device_that_fell_sits_loose() -> None:
    rng = rng_of(3)
    told = only(swept(DRIVING.readings(rng), [Device().burst(rng, dropping(0.3, 10, 0.012))]))
    assert (told.kind, codes(told)) == ("loose_mounting", {"device_fell"})
    assert swept(DRIVING.readings(rng), [Device().burst(rng, motion(Pulse(20, 0.1)))]) == []
