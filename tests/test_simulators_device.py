"""Devices and the drive and load scenarios: counters, batches, topics, store and forward, what ingest makes of them."""

from collections import defaultdict
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from fleet_core import publications, topics
from fleet_core.publications import Message
from fleet_core.settings import Settings
from ingest import batch
from ingest.message import Message as Received
from simulators import scenario, town
from simulators.citypack import CityPack
from simulators.device import SAMPLES_A_MESSAGE, STORED_MESSAGES, Devices
from simulators.scenario import Request
from simulators.traffic import Traffic

START_MS = 1_764_000_000_000
PARTITIONS = 16


@pytest.fixture(scope="module")
def demo_town(tmp_path_factory: pytest.TempPathFactory) -> CityPack:
    return town.write_demo_pack(tmp_path_factory.mktemp("town"))


def _request(city: CityPack, **changes: Any) -> Request:
    asked: dict[str, Any] = {
        "vehicles": 20, "seed": 4, "city": city, "start_ms": START_MS, "duration_s": 300,
        "encode": publications.encoder("json"), "partitions": PARTITIONS, "id_prefix": "sim",
    } | changes  # fmt: skip
    asked.setdefault("clock_offset_ms", np.zeros(asked["vehicles"], dtype=np.int64))
    return Request(**asked)


def _run(name: str, request: Request) -> tuple[list[Message], list[dict[str, Any]]]:
    truth: list[dict[str, Any]] = []
    return list(scenario.scenarios()[name].messages(request, truth.append)), truth


def _decoded(sent: list[Message]) -> batch.Batch:
    received = [Received("s", 1, n, item.topic, item.payload, item.due_ms * 1000) for n, item in enumerate(sent)]
    return batch.decode(received, Settings(partitions=PARTITIONS))


@pytest.mark.parametrize("name", ["drive", "load"])
@pytest.mark.parametrize("format_name", publications.FORMATS)
def test_every_scenario_speaks_the_contract(demo_town: CityPack, name: str, format_name: str) -> None:
    total = 500 if name == "load" else None
    sent, _ = _run(
        name, _request(demo_town, encode=publications.encoder(format_name), messages=total, samples_a_message=7)
    )
    decoded = _decoded(sent)
    assert decoded.refused == {}
    assert len(decoded.readings.vehicle_index) == sum(message.count for message in sent) > 0
    assert [message.due_ms for message in sent] == sorted(message.due_ms for message in sent)
    for message in sent:
        parsed = topics.parse(message.topic)
        assert parsed.vehicle_id == message.vehicle_id
        assert parsed.partition == topics.partition_of(message.vehicle_id, PARTITIONS)
        assert message.retain == (parsed.stream == topics.STATUS)


def test_the_same_request_gives_the_same_bytes(demo_town: CityPack) -> None:
    assert _run("drive", _request(demo_town)) == _run("drive", _request(demo_town))
    assert _run("drive", _request(demo_town))[0] != _run("drive", _request(demo_town, seed=5))[0]


def test_counters_are_continuous_and_messages_carry_ten_samples(demo_town: CityPack) -> None:
    sent, _ = _run("drive", _request(demo_town, vehicles=60, duration_s=1500))
    by_boot: dict[tuple[str, int], list[Message]] = defaultdict(list)
    for message in sent:
        if message.count:
            by_boot[message.vehicle_id, message.boot].append(message)
    boots = {key[0]: max(boot for vehicle, boot in by_boot if vehicle == key[0]) for key in by_boot}
    assert len(by_boot) > len(boots)  # some unit rebooted, or this test shows less than it says
    for (vehicle_id, _), run in by_boot.items():
        # Message numbers leave no hole and no overlap, and time goes by one second a sample.
        assert [message.seq for message in run] == list(np.cumsum([0, *(message.count for message in run)])[:-1])
        times = [time for message in run for time in msgspec.json.decode(message.payload)["t_ms"]]
        assert set(np.diff(times).tolist()) <= {1000}
        # Only what a boot or the run ends with is shorter.
        assert {message.count for message in run[:-1]} <= {SAMPLES_A_MESSAGE}
        assert vehicle_id in boots


def test_vehicles_send_at_different_seconds(demo_town: CityPack) -> None:
    sent, _ = _run("drive", _request(demo_town, vehicles=100, duration_s=60))
    seconds = [(message.due_ms - START_MS) // 1000 for message in sent if message.count == SAMPLES_A_MESSAGE]
    busiest = np.bincount(seconds).max()
    assert busiest <= 100 / SAMPLES_A_MESSAGE + 10


def test_status_says_online_at_the_start_and_offline_at_the_end(demo_town: CityPack) -> None:
    sent, _ = _run("drive", _request(demo_town, duration_s=30))
    status = [msgspec.json.decode(message.payload)["online"] for message in sent if message.retain]
    assert status == [True] * 20 + [False] * 20
    assert all(message.retain for message in sent[:20] + sent[-20:])


def test_truth_tells_tracks_and_trips_and_receivers_stay_near_it(demo_town: CityPack) -> None:
    sent, truth = _run("drive", _request(demo_town, duration_s=600))
    tracks = [record for record in truth if record["kind"] == "track"]
    assert sum(len(record["t_ms"]) for record in tracks) == 600 * 20
    assert {record["kind"] for record in truth} == {"track", "trip"}  # and no incident
    assert all(record["end_ms"] >= record["start_ms"] for record in truth if record["kind"] == "trip")
    true_lat = {(r["vehicle_id"], t): lat for r in tracks for t, lat in zip(r["t_ms"], r["lat_deg"], strict=True)}
    errors_m = []
    for message in sent:
        body = msgspec.json.decode(message.payload)
        for t_ms, lat in zip(body["t_ms"], body["lat_deg"], strict=True) if message.count else []:
            if lat is not None:
                second = START_MS + (t_ms - START_MS) // 1000 * 1000
                errors_m.append((lat - true_lat[message.vehicle_id, second]) * 111_000)
    assert 0.5 < np.std(errors_m) < 6.0


def test_clocks_are_off_by_what_was_asked(demo_town: CityPack) -> None:
    ahead = np.arange(20, dtype=np.int64) * 1000
    plain, _ = _run("drive", _request(demo_town, duration_s=40))
    skewed, _ = _run("drive", _request(demo_town, duration_s=40, clock_offset_ms=ahead))
    for one, other in zip(plain, skewed, strict=True):
        assert other.t_first_ms - one.t_first_ms == ahead[int(one.vehicle_id[-5:]) - 1]
        assert other.due_ms == one.due_ms


def _feed(devices: Devices, second: int, size: int) -> list[Message]:
    names = ("lat_deg", "lon_deg", "speed_kmh", "heading_deg", "altitude_m", "accuracy_m", "hdop", "satellites",
             "accel_x_mps2", "accel_y_mps2", "gyro_z_dps")  # fmt: skip
    on = np.ones(size, dtype=bool)
    return devices.tick(second, dict.fromkeys(names, np.full(size, 5.0)), on, on, np.full(size, 10.0))


def _devices(size: int, *, gaps: bool) -> Devices:
    return Devices(
        [f"v-{n}" for n in range(size)],
        start_ms=START_MS,
        seed=1,
        encode=publications.encoder("json"),
        partitions=PARTITIONS,
        coverage_gaps=gaps,
    )


def test_what_could_not_be_sent_is_stored_and_forwarded_in_order() -> None:
    devices = _devices(60, gaps=True)
    sent = [message for second in range(3000) for message in _feed(devices, second, 60)] + devices.flush(3000)
    late = [message for message in sent if msgspec.json.decode(message.payload).get("buffered")]
    assert late
    assert all(message.due_ms >= message.t_last_ms for message in sent)
    for vehicle in range(60):
        run = [message for message in sent if message.vehicle_id == f"v-{vehicle}"]
        assert sum(message.count for message in run) == 3000 - vehicle % 10
        assert [message.seq for message in run] == sorted(message.seq for message in run)
    assert devices.lost_samples == 0


def test_the_ring_is_bounded_and_says_what_it_lost() -> None:
    devices = _devices(1, gaps=False)
    devices._gap_s[:] = 1e9
    seconds = (STORED_MESSAGES + 5) * SAMPLES_A_MESSAGE
    assert [message for second in range(seconds) for message in _feed(devices, second, 1)] == []
    assert devices.lost_samples == 5 * SAMPLES_A_MESSAGE
    sent = devices.flush(seconds)
    assert len(sent) == STORED_MESSAGES
    assert sent[0].seq == 5 * SAMPLES_A_MESSAGE


def test_load_counts_out_what_was_asked_and_ends_now(demo_town: CityPack) -> None:
    sent, _ = _run("load", _request(demo_town, vehicles=7, messages=1000, samples_a_message=3, duration_s=None))
    assert len(sent) == 1000
    assert sum(message.count for message in sent) == 3000
    assert max(message.t_last_ms for message in sent) < START_MS
    keys = {
        (message.vehicle_id, message.boot, message.seq + offset) for message in sent for offset in range(message.count)
    }
    assert len(keys) == 3000
    assert _decoded(sent).refused == {}


def test_every_scenario_is_one_file_with_its_name() -> None:
    found = scenario.scenarios()
    folder = Path(scenario.__file__).parent / "scenarios"
    assert set(found) == {path.stem for path in folder.glob("[!_]*.py")}
    assert len({item.id_prefix for item in found.values()}) == len(found)


def test_the_scenario_of_the_guide_runs_as_printed(demo_town: CityPack) -> None:
    guide = (Path(__file__).parents[1] / "docs" / "guide" / "simulation.md").read_text()
    names: dict[str, Any] = {"Traffic": Traffic}
    exec(guide.partition("```python\n")[2].partition("```")[0], names)
    truth: list[dict[str, Any]] = []
    printed = names["HardStop"]()
    assert isinstance(printed, scenario.Scenario)
    sent = list(printed.messages(_request(demo_town, duration_s=60), truth.append))
    assert _decoded(sent).refused == {}
    (incident,) = [record for record in truth if record["kind"] == "incident"]
    hardest = {
        record["vehicle_id"]: min(record["accel_x_mps2"]) for record in truth if record["kind"] == "track"
        and record["t_ms"][0] <= incident["t_ms"] <= record["t_ms"][-1]
    }  # fmt: skip
    assert min(hardest, key=hardest.__getitem__) == incident["vehicle_id"]
