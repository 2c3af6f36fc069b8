"""Detections and incidents on a real database: the store shows detectors what memory would, and keeps what they say."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pytest

from fleet_core import clock, db, topics
from fleet_core.db import Connection
from fleet_core.readings import Readings
from fleet_core.settings import Settings
from incidents import intake
from incidents.fusion import Evidence
from incidents.intake import Intake, Piece
from incidents.remembered import Memory
from incidents.source import Span
from incidents.stages import Detect, TakeIn
from incidents.stored import Stored, instant
from incidents.surroundings import Surroundings
from incidents.window import S, Window
from ingest.batch import decode
from ingest.message import Message
from ingest.pipeline import Pipeline
from ingest.queries import prepare_session
from ingest.store import Store
from tests.ingest_bodies import PARTITIONS
from tests.toy_detectors import Knock, TooFast

DETECTORS = {"too_fast": TooFast(), "knock": Knock()}
SETTINGS = Settings()


class Heard:
    """A response that notes what it is told."""

    def __init__(self) -> None:
        self.told: list[tuple[Any, ...]] = []

    def opened(self, connection: Connection, incident_id: int, now: datetime) -> None:
        self.told.append(("opened", incident_id))

    def level_changed(self, connection: Connection, incident_id: int, before: int, now: datetime) -> None:
        self.told.append(("level_changed", incident_id, before))

    def reopened(self, connection: Connection, incident_id: int, now: datetime) -> None:
        self.told.append(("reopened", incident_id))


class Chain:
    """Store, detect and intake on a connection of their own."""

    def __init__(self, url: str) -> None:
        self.connection = db.connect(url, "test")
        prepare_session(self.connection)
        self.connection.commit()
        self.heard = Heard()
        self.restart()

    def restart(self) -> None:
        detect = Detect(DETECTORS)
        self.pipeline = Pipeline(SETTINGS, [Store(SETTINGS), detect, TakeIn(detect, self.heard)])

    def commit(self, *messages: Message) -> None:
        from ingest.batch import prepare

        self.pipeline.commit(self.connection, prepare(messages, SETTINGS))

    def rows(self, statement: str, *parameters: Any) -> list[tuple[Any, ...]]:
        found = self.connection.execute(statement, parameters).fetchall()  # type: ignore[call-overload]
        self.connection.commit()
        return list(found)


@pytest.fixture
def chain(database_url: str) -> Iterator[Chain]:
    made = Chain(database_url)
    yield made
    made.connection.close()


def now_s() -> int:
    return clock.now_ms() // 1000


def telemetry(t_s: int, speeds: list[float], vehicle_id: str = "v1", seq: int | None = None, **columns: Any) -> Message:
    body = {
        "boot": 1,
        "seq": t_s % 1_000_000 if seq is None else seq,
        "t_ms": [(t_s + at) * 1000 for at in range(len(speeds))],
        "speed_kmh": speeds,
        "lat_deg": [31.2 + at * 1e-5 for at in range(len(speeds))],
        "lon_deg": 121.4,
        **columns,
    }
    topic = topics.topic_of(vehicle_id, topics.TELEMETRY, PARTITIONS)
    return Message("p00", 1, 1, topic, json.dumps(body).encode(), clock.now_us())


def alarm(t_s: int, kind: str, vehicle_id: str = "v1") -> Message:
    body = {"boot": 1, "seq": t_s % 1_000_000, "t_ms": t_s * 1000, "kind": kind}
    topic = topics.topic_of(vehicle_id, topics.ALARM, PARTITIONS)
    return Message("a00", 1, 1, topic, json.dumps(body).encode(), clock.now_us())


def same_window(one: Window, other: Window) -> None:
    assert (one.vehicle.vehicle_id, one.from_us, one.until_us) == (
        other.vehicle.vehicle_id,
        other.from_us,
        other.until_us,
    )
    for name in ("device_time_us", "seq", "received_us"):
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name))
    names = {name for name in one.columns if one.has(name)} | {name for name in other.columns if other.has(name)}
    for name in names:
        mine = one.columns.get(name)
        assert mine is not None and name in other.columns, name
        np.testing.assert_array_equal(mine, other.columns[name])
    assert one.events == other.events


def test_the_store_shows_what_memory_shows(chain: Chain) -> None:
    start = now_s() - 300
    sent = [
        telemetry(start, [50.0, 51.0, 52.0], ignition=True, fuel_pct=[40.0, None, 39.5], satellites=9),
        telemetry(start + 3, [53.0], fix_valid=False, gear=-1),
        telemetry(start + 60, [10.0, 0.0], "v2", door_open=[None, True]),
        alarm(start + 2, "crash"),
    ]
    chain.commit(*sent)
    batch = decode(sent, SETTINGS)
    memory = Memory()
    from incidents.stages import events_of

    memory.add(batch.readings, events_of(batch.events))
    columns = frozenset(batch.readings.columns) - {"crs"}
    spans = [
        Span("v1", (start - 10) * S, (start + 10) * S),
        Span("v1", (start + 1) * S, (start + 2) * S),
        Span("v2", start * S, (start + 100) * S),
        Span("nobody", start * S, (start + 100) * S),
    ]
    stored = Stored(chain.connection, Surroundings())
    streams = {topics.ALARM}
    for mine, other in zip(
        stored.windows(spans, columns, streams), memory.windows(spans, columns, streams), strict=True
    ):
        same_window(mine, other)
    back = [Span("v1", (start + 2) * S, (start + 2) * S)]
    mine_around, other_around = stored.around(back, columns, 1), memory.around(back, columns, 1)
    assert mine_around.device_time_us.tolist() == other_around.device_time_us.tolist()
    assert len(mine_around) == 3


def test_a_detection_opens_an_incident_with_its_place_and_its_history(chain: Chain) -> None:
    start = now_s() - 40
    chain.commit(telemetry(start, [60.0] * 10 + [0.0] * 3))
    [(incident_id, kind, level, status, occurred_at, lat_deg, lon_deg)] = chain.rows(
        "SELECT incident_id, kind, level, status, occurred_at, lat_deg, lon_deg FROM incidents"
    )
    assert (kind, level, status) == ("crash", 1, "open")
    assert occurred_at == instant((start + 10) * S)
    assert (round(lat_deg, 4), lon_deg) == (31.2001, 121.4)
    assert chain.heard.told == [("opened", incident_id)]
    # It stands: the same episode is graver now, and the case goes up.
    chain.commit(telemetry(start + 13, [0.0] * 12))
    assert chain.rows("SELECT level, standing FROM detections") == [(2, True)]
    assert chain.rows("SELECT level FROM incidents") == [(2,)]
    assert chain.heard.told[1:] == [("level_changed", incident_id, 1)]
    assert chain.rows("SELECT change, level, version FROM detection_judgements ORDER BY judgement_id") == [
        ("found", 1, 3),
        ("revised", 2, 3),
    ]
    kinds = [kind for (kind,) in chain.rows("SELECT kind FROM incident_events ORDER BY event_id")]
    assert kinds == ["opened", "evidence_added", "level_raised"]
    assert chain.rows("SELECT DISTINCT actor FROM incident_events") == [(intake.ACTOR,)]


@pytest.mark.parametrize("restart", [False, True], ids=["same worker", "restarted"])
def test_late_data_is_judged_at_its_own_time_and_marked(chain: Chain, restart: bool) -> None:
    start = now_s() - 1000
    chain.commit(telemetry(start + 900, [50.0] * 10))
    if restart:
        chain.restart()
    chain.commit(telemetry(start, [60.0] * 5 + [0.0] * 15))
    [(occurred_at, delay_s, level)] = chain.rows("SELECT occurred_at, delay_s, level FROM incidents")
    assert occurred_at == instant((start + 5) * S)
    assert 950 < delay_s < 1100
    assert level == 2
    assert chain.rows("SELECT count(*) FROM sweeps_due") == [(1,)]
    assert chain.rows("SELECT count(*) FROM vehicle_hours_due WHERE vehicle_id = 'v1'")[0][0] >= 1


def test_what_is_too_old_is_recorded_and_opens_nothing(chain: Chain) -> None:
    start = now_s() - 3 * 86_400
    chain.commit(telemetry(start, [60.0] * 5 + [0.0] * 15))
    assert chain.rows("SELECT kind, stale, incident_id FROM detections") == [("crash", True, None)]
    assert chain.rows("SELECT count(*) FROM incidents") == [(0,)]
    assert chain.heard.told == []


def test_the_same_data_again_changes_nothing(chain: Chain) -> None:
    message = telemetry(now_s() - 60, [60.0] * 5 + [0.0] * 15)
    chain.commit(message)
    before = chain.rows("SELECT * FROM incident_events ORDER BY 1")
    for _ in range(2):
        chain.commit(message)
        chain.restart()
    assert chain.rows("SELECT * FROM incident_events ORDER BY 1") == before
    assert chain.rows("SELECT count(*) FROM detections") == [(1,)]


def test_an_alarm_of_no_detector_opens_an_incident_and_a_held_one_no_other(chain: Chain) -> None:
    start = now_s() - 100
    chain.commit(alarm(start, "sos"))
    chain.commit(alarm(start + 30, "sos"), alarm(start + 60, "sos"))
    assert chain.rows("SELECT kind, family, level FROM incidents") == [("sos", "collision", 2)]
    assert chain.rows("SELECT count(*) FROM incident_evidence") == [(3,)]
    assert len(chain.heard.told) == 1


def test_help_called_after_an_impact_is_an_emergency(chain: Chain) -> None:
    start = now_s() - 100
    chain.commit(telemetry(start, [60.0] * 5 + [0.0] * 15))
    chain.commit(alarm(start + 40, "sos"))
    assert chain.rows("SELECT kind, level FROM incidents") == [("crash", 3)]
    [(data,)] = chain.rows(
        "SELECT data FROM incident_events WHERE kind = 'level_raised' ORDER BY event_id DESC LIMIT 1"
    )
    assert {"code": "sos_after_impact"} in data["reasons"]


def test_refuted_evidence_lowers_the_case_only_when_that_lasts(chain: Chain) -> None:
    start = now_s() - 100
    chain.commit(telemetry(start, [60.0] * 5 + [0.0] * 15))
    [(incident_id,)] = chain.rows("SELECT incident_id FROM incidents")
    # Readings in between show that it braked: no knock.
    body = {"boot": 2, "seq": 1, "t_ms": [(start + 4) * 1000 + 500], "speed_kmh": [30.0]}
    topic = topics.topic_of("v1", topics.TELEMETRY, PARTITIONS)
    chain.commit(Message("p00", 1, 1, topic, json.dumps(body).encode(), clock.now_us()))
    assert chain.rows("SELECT standing FROM detections") == [(False,)]
    assert chain.rows("SELECT level, lower_level FROM incidents") == [(2, 1)]
    quiet, now = Intake(chain.heard), datetime.now(UTC)
    assert quiet.lower(chain.connection, now + timedelta(seconds=299)) == []
    assert quiet.lower(chain.connection, now + timedelta(seconds=301)) == [incident_id]
    assert chain.rows("SELECT level FROM incidents") == [(1,)]
    assert chain.heard.told[-1] == ("level_changed", incident_id, 2)


def test_a_person_keeps_the_level_up(chain: Chain) -> None:
    start = now_s() - 100
    chain.commit(telemetry(start, [60.0] * 5 + [0.0] * 15))
    chain.rows("UPDATE incidents SET level_set_by = 'wang' RETURNING 1")
    body = {"boot": 2, "seq": 1, "t_ms": [(start + 4) * 1000 + 500], "speed_kmh": [30.0]}
    topic = topics.topic_of("v1", topics.TELEMETRY, PARTITIONS)
    chain.commit(Message("p00", 1, 1, topic, json.dumps(body).encode(), clock.now_us()))
    assert chain.rows("SELECT level, lower_level FROM incidents") == [(2, None)]


def test_graver_evidence_reopens_a_closed_case(chain: Chain) -> None:
    start = now_s() - 100
    chain.commit(telemetry(start, [60.0] * 5 + [0.0] * 15))
    chain.rows(
        "UPDATE incidents SET status = 'resolved', closed_at = now(), closed_by = 'wang', close_reason = 'done'"
        " RETURNING 1"
    )
    chain.commit(alarm(start + 30, "sos"))
    assert chain.rows("SELECT status, level FROM incidents") == [("open", 3)]
    assert chain.heard.told[-1][0] == "reopened"


def test_a_drill_is_one_everywhere(chain: Chain) -> None:
    chain.commit(telemetry(now_s() - 60, [60.0] * 5 + [0.0] * 15, "drill-1"))
    assert chain.rows("SELECT drill FROM detections") == chain.rows("SELECT drill FROM incidents") == [(True,)]


def test_a_failed_transaction_leaves_no_memory(chain: Chain) -> None:
    """A rolled-back batch comes again and is judged as if it had never been seen."""

    class FailsOnce:
        name = "fails"

        def __init__(self) -> None:
            self.left = 1

        def apply(self, connection: Connection, batch: Any) -> None:
            if self.left:
                self.left -= 1
                raise RuntimeError("the network went away")

        def forget(self) -> None:
            pass

    detect = Detect(DETECTORS)
    chain.pipeline = Pipeline(SETTINGS, [Store(SETTINGS), detect, TakeIn(detect, chain.heard), FailsOnce()])
    message = telemetry(now_s() - 60, [60.0] * 5 + [0.0] * 15)
    with pytest.raises(RuntimeError):
        chain.commit(message)
    assert chain.rows("SELECT count(*) FROM detections") == [(0,)]
    chain.commit(message)
    assert chain.rows("SELECT count(*) FROM detections") == chain.rows("SELECT count(*) FROM incidents") == [(1,)]


def test_weather_at_the_place_is_told_in_the_case(chain: Chain) -> None:
    start = now_s() - 100
    square = {"type": "Polygon", "coordinates": [[[121, 31], [122, 31], [122, 32], [121, 32], [121, 31]]]}
    chain.rows(
        "INSERT INTO weather_warnings (source, source_key, kind, level, area, valid_from, valid_until, received_at)"
        " VALUES ('met', '1', 'hail', 2, %s, now() - interval '1 hour', now() + interval '1 hour', now()) RETURNING 1",
        json.dumps(square),
    )
    chain.commit(telemetry(start, [60.0] * 5 + [0.0] * 15))
    assert chain.rows("SELECT source, kind FROM incident_evidence") == [("weather", "hail")]


def test_a_report_and_a_crash_are_one_case(chain: Chain) -> None:
    start = now_s() - 100
    chain.commit(telemetry(start, [60.0] * 5 + [0.0] * 3))
    at_us = (start + 60) * S
    told = Evidence("report", "1", "accident", 2, 0.6, at_us, at_us, {"injured": True})
    outcome = Intake(chain.heard).pieces(chain.connection, [Piece("v1", told)], datetime.now(UTC))
    assert len(outcome.touched) == 1 and not outcome.opened
    assert chain.rows("SELECT kind, level FROM incidents") == [("accident", 3)]


def test_one_incident_stands_for_many_vehicles_at_one_place(chain: Chain) -> None:
    start = now_s() - 100
    for number in range(2):
        chain.commit(telemetry(start, [60.0] * 5 + [0.0] * 3, f"v{number}"))
    assert chain.rows("SELECT count(*) FROM incidents WHERE mass_incident_id IS NOT NULL") == [(0,)]
    chain.commit(telemetry(start + 60, [60.0] * 5 + [0.0] * 3, "v2"))
    [(first, *_), second, third] = chain.rows("SELECT incident_id, mass_incident_id, level FROM incidents ORDER BY 1")
    assert (second[1], third[1]) == (first, first)
    assert chain.rows("SELECT level, mass_incident_id FROM incidents ORDER BY incident_id LIMIT 1") == [(2, None)]
    assert ("level_changed", first, 1) in chain.heard.told
    # Far away it is another matter.
    chain.commit(telemetry(start + 60, [60.0] * 5 + [0.0] * 3, "v3", lat_deg=32.0))
    assert chain.rows("SELECT mass_incident_id FROM incidents ORDER BY incident_id DESC LIMIT 1") == [(None,)]


def test_columns_of_the_packed_read_are_those_of_the_contract() -> None:
    """`readings_in` lists columns by hand, because a statement in a file is one that can be read and explained."""
    import re

    from fleet_core import sql
    from fleet_core.columns import COLUMNS, Kind

    statement = sql.load("incidents", "stored.sql")["readings_in"]
    listed = re.findall(r"coalesce\(r\.(\w+)", statement[statement.index("ARRAY[") :])
    assert listed == [column.name for column in COLUMNS if column.kind is not Kind.TEXT]


def test_empty_batches_are_nothing(chain: Chain) -> None:
    detect = Detect(DETECTORS)

    class Empty:
        readings = Readings.empty()
        events: tuple[Any, ...] = ()

    detect.apply(chain.connection, Empty())  # type: ignore[arg-type]
    assert detect.kept == []
