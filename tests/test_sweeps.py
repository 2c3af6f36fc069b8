"""What is looked at by the clock, on a real database: silence, hours, late spans, revisits."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import psycopg
import pytest

from fleet_core.db import Connection
from incidents.detector import Candidates, Finding, Lane, Sweeps
from incidents.detectors._mounting import KNOWN_QUALITY
from incidents.hours import HOUR_US
from incidents.mountings import FRESH_US, worth_keeping
from incidents.source import Span
from incidents.stages import Detect, TakeIn
from incidents.stored import Stored
from incidents.surroundings import Surroundings
from incidents.sweeps import Sweeper
from incidents.window import Mounting, S, Window
from ingest.pipeline import Pipeline
from ingest.store import Store
from tests.test_detection_store import SETTINGS, Chain, Heard, now_s, telemetry
from tests.toy_detectors import Knock


@dataclass(frozen=True)
class Silent(Sweeps):
    """A vehicle that fell silent while it moved; the episode ends when it speaks again."""

    name: str = "silent"
    version: int = 1
    purpose: str = "test"
    kinds: tuple[str, ...] = ("offline_while_moving",)
    lane: Lane = Lane.SWEEP
    before_s: float = 600.0
    after_s: float = 600.0
    episode_gap_s: float = 60.0
    stale_after_s: float = 86_400.0
    columns: frozenset[str] = frozenset({"speed_kmh"})
    streams: frozenset[str] = frozenset()
    every_s: float = 30.0
    candidates: Candidates | None = Candidates.SILENT

    def examine(self, window: Window) -> list[Finding]:
        if not len(window):
            return []
        last = int(window.device_time_us[-1])
        if window.known_until_us - last < 120 * S or window.speed_kmh()[-1] < 5.0:
            return []
        return [Finding("offline_while_moving", 2, 0.9, last, last, last)]


@dataclass(frozen=True)
class Hourly(Silent):
    """Says how many seconds a vehicle moved in an hour."""

    name: str = "hourly"
    kinds: tuple[str, ...] = ("low_battery",)
    before_s: float = 86_400.0
    every_s: float = 60.0
    candidates: Candidates | None = Candidates.HOURLY

    def examine(self, window: Window) -> list[Finding]:
        return [
            Finding("low_battery", 1, 0.5, hour, hour, hour, {"moving_s": float(moving)})
            for hour, moving in zip(window.hours.hour_us.tolist(), window.hours.number("moving_s"), strict=True)
            if moving > 0
        ]


@dataclass(frozen=True)
class Waits(Knock):
    """Graver when nothing comes for a minute after the knock."""

    name: str = "waits"
    after_s: float = 70.0

    def examine(self, window: Window) -> list[Finding]:
        found = []
        for one in super().examine(window):
            heard = (window.device_time_us > one.at_us + 5 * S).any()
            silent = not heard and window.known_until_us >= one.at_us + 60 * S
            waits = not heard and not silent
            found.append(replace(one, level=3 if silent else 1, revisit_us=one.at_us + 60 * S if waits else None))
        return found


class Swept(Chain):
    """A chain with a sweeper beside it."""

    def __init__(self, url: str, *detectors: Any) -> None:
        self.detectors = {one.name: one for one in detectors}
        super().__init__(url)
        self.sweeper = Sweeper(self.detectors, self.heard)

    def restart(self) -> None:
        detect = Detect(self.detectors)
        self.pipeline = Pipeline(SETTINGS, [Store(SETTINGS), detect, TakeIn(detect, self.heard)])

    def detections(self) -> list[tuple[Any, ...]]:
        return self.rows("SELECT kind, level, standing FROM detections ORDER BY detection_id")


@pytest.fixture
def url(database_url: str) -> Iterator[str]:
    yield database_url


def soon(seconds: float) -> datetime:
    return datetime.now(UTC) + timedelta(seconds=seconds)


def test_silence_is_found_by_the_clock_and_only_when_due(url: str) -> None:
    swept = Swept(url, Silent())
    start = now_s() - 20
    swept.commit(telemetry(start, [50.0] * 10), telemetry(start, [0.0] * 10, "v2"))
    swept.sweeper.look(swept.connection, Silent(), soon(0))
    assert swept.detections() == []
    # Too early to look again, whatever has happened.
    swept.sweeper.look(swept.connection, Silent(), soon(20))
    assert swept.rows("SELECT count(*) FROM sweeps_done") == [(1,)]
    swept.sweeper.look(swept.connection, Silent(), soon(200))
    assert swept.detections() == [("offline_while_moving", 2, True)]
    assert swept.rows("SELECT vehicle_id, kind, level FROM incidents") == [("v1", "offline_while_moving", 2)]
    swept.sweeper.look(swept.connection, Silent(), soon(260))
    assert len(swept.detections()) == 1
    swept.connection.close()


def test_late_readings_make_the_sweep_look_again(url: str) -> None:
    swept = Swept(url, Silent())
    start = now_s() - 1200
    swept.commit(telemetry(start, [50.0] * 10))
    swept.sweeper.look(swept.connection, Silent(), soon(100))
    assert swept.detections() == [("offline_while_moving", 2, True)]
    # The backfill shows that it went on and parked: the silence is withdrawn.
    swept.commit(telemetry(start + 10, [50.0] * 20 + [0.0] * 10))
    assert swept.rows("SELECT count(*) FROM sweeps_due") == [(2,)]
    assert swept.sweeper.look_at_late(swept.connection, soon(0)) is False
    assert swept.detections() == [("offline_while_moving", 2, False)]
    assert swept.rows("SELECT count(*) FROM sweeps_due") == [(0,)]
    swept.connection.close()


def test_hours_are_computed_once_over_and_again_when_late_readings_touch_them(url: str) -> None:
    swept = Swept(url, Hourly())
    hour = now_s() // 3600 * 3600 - 2 * 3600
    swept.commit(telemetry(hour + 100, [30.0] * 61))
    swept.sweeper.compute_hours(swept.connection, datetime.fromtimestamp(hour + 3600 + 60, UTC))
    assert swept.rows("SELECT count(*) FROM vehicle_hours") == [(0,)], "its readings may still be on their way"
    swept.sweeper.compute_hours(swept.connection, soon(0))
    [(vehicle_id, facts)] = swept.rows("SELECT vehicle_id, facts FROM vehicle_hours")
    assert (vehicle_id, facts["readings"], facts["moving_s"]) == ("v1", 61, 60)
    assert swept.rows("SELECT count(*) FROM vehicle_hours_due") == [(0,)]
    swept.sweeper.look(swept.connection, Hourly(), soon(1))
    assert swept.rows("SELECT (measured->>'moving_s')::float FROM detections") == [(60.0,)]

    swept.commit(telemetry(hour + 161, [30.0] * 40))
    swept.sweeper.compute_hours(swept.connection, soon(2))
    swept.sweeper.look(swept.connection, Hourly(), soon(90))
    assert swept.rows("SELECT (measured->>'moving_s')::float FROM detections WHERE standing") == [(100.0,)]
    swept.connection.close()


def test_a_detection_that_waits_for_silence_is_judged_when_its_time_has_come(url: str) -> None:
    swept = Swept(url, Waits())
    start = now_s() - 20
    swept.commit(telemetry(start, [60.0] * 5 + [0.0] * 3))
    assert swept.detections() == [("crash", 1, True)]
    swept.sweeper.revisit(swept.connection, soon(20))
    assert swept.detections() == [("crash", 1, True)]
    swept.sweeper.revisit(swept.connection, soon(80))
    assert swept.detections() == [("crash", 3, True)]
    assert swept.heard.told[-1][0] == "level_changed"
    assert swept.rows("SELECT revisit_at FROM detections") == [(None,)]
    swept.connection.close()


def test_hours_of_the_store_are_those_of_memory(url: str) -> None:
    swept = Swept(url, Hourly())
    hour = now_s() // 3600 * 3600 - 3 * 3600
    swept.commit(telemetry(hour + 3550, [30.0] * 100))
    swept.sweeper.compute_hours(swept.connection, soon(0))
    span = Span("v1", hour * S, hour * S + 3 * HOUR_US)
    stored = Stored(swept.connection, Surroundings(), with_hours=True)
    [window] = stored.windows([span], {"speed_kmh"}, ())
    assert window.hours.hour_us.tolist() == [hour * S, hour * S + HOUR_US]
    # A step belongs to the hour in which it ends: 49 s and 50 s, and the one across the border to neither.
    assert window.hours.number("moving_s").tolist() == [49.0, 49.0]
    swept.connection.close()


def test_how_a_device_sits_is_learned_from_hours_and_forgotten_when_it_comes_loose(url: str) -> None:
    swept = Swept(url, Hourly())
    hour = now_s() // 3600 * 3600 - 3 * 3600
    # Ten seconds faster, ten slower, ten at a bend; the device looks to the left, so its x is the vehicle's y.
    change = np.tile(np.repeat([1.0, -1.0, 0.0], 10), 20)
    course = np.tile(np.repeat([0.0, 0.0, 6.0], 10), 20)
    speed = 40.0 + np.cumsum(change) * 3.6
    sideways = -np.radians(course) * speed / 3.6
    felt = {
        "heading_deg": np.round(np.cumsum(course) % 360.0, 2).tolist(),
        "accel_x_mps2": np.round(sideways, 3).tolist(),
        "accel_y_mps2": np.round(-change, 3).tolist(),
        "accel_z_mps2": [9.81] * len(change),
        "accel_gravity": True,
    }
    swept.commit(telemetry(hour + 100, np.round(speed, 2).tolist(), **felt))
    swept.sweeper.compute_hours(swept.connection, soon(0))
    to_the_left = np.array([[0.0, -1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 1.0]])

    def kept() -> Mounting | None:
        surroundings = Surroundings()
        surroundings.meet(swept.connection, {"v1"})
        return surroundings.vehicle("v1").mounting

    learned = kept()
    assert learned is not None and learned.quality >= KNOWN_QUALITY
    np.testing.assert_allclose(learned.rotation, to_the_left, atol=0.1)

    swept.connection.execute(
        "INSERT INTO detections (vehicle_id, kind, detector, version, level, score, started_at, occurred_at, ended_at,"
        " measured, reasons, first_judged_at, delay_s, judged_at, stale) VALUES ('v1', 'loose_mounting',"
        " 'loose_mounting', 1, 1, 0.9, %(at)s, %(at)s, %(at)s, '{}', '[]', %(at)s, 0, %(at)s, false)",
        {"at": datetime.fromtimestamp(hour + 1000, UTC)},
    )
    assert kept() is None
    swept.connection.close()


def test_what_was_learned_is_believed_for_a_week() -> None:
    def learned(until_us: int, quality: float) -> Mounting:
        return Mounting(np.eye(3), quality, until_us - S, until_us)

    assert worth_keeping(None, learned(10 * S, 0.9))
    assert not worth_keeping(None, learned(10 * S, KNOWN_QUALITY - 0.01)) and not worth_keeping(None, None)
    assert not worth_keeping(learned(10 * S, 0.6), learned(20 * S, 0.9))
    assert worth_keeping(learned(10 * S, 0.9), learned(10 * S + FRESH_US + 1, 0.6))


def test_nobody_is_a_candidate_in_an_empty_fleet(url: str) -> None:
    heard = Heard()
    sweeper = Sweeper({"silent": Silent()}, heard)
    with psycopg.connect(url) as connection:
        made: Connection = connection
        for candidates in Candidates:
            sweeper.look(made, replace(Silent(), name=candidates.value, candidates=candidates), soon(0))
        assert sweeper.look_at_late(made, soon(0)) is sweeper.revisit(made, soon(0)) is False
        assert sweeper.compute_hours(made, soon(0)) is False
    assert heard.told == []
