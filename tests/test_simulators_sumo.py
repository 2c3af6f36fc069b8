"""Traffic of SUMO: calm on a small network of its own, the same for the same seed, and one sentence without it."""

import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fleet_core import publications
from fleet_core.cli import Refusal
from fleet_core.publications import Message
from fleet_core.settings import Settings
from ingest import batch
from ingest.message import Message as Received
from simulators import scenario, sumo, town
from simulators.citypack import CityPack
from simulators.scenario import Request

START_MS = 1_764_036_000_000
SIDE_M, PIECES = 600.0, 4


@pytest.fixture(scope="module")
def city(tmp_path_factory: pytest.TempPathFactory) -> CityPack:
    folder = tmp_path_factory.mktemp("town")
    pack = town.write_demo_pack(folder)
    (folder / "ring.sumo.net.xml").write_text(ring(), encoding="utf-8")
    return replace(pack, folder=folder)


def ring() -> str:
    """A one-way ring: a square of straight edges with a sharp corner after every fourth."""
    corners = [(0.0, 0.0), (SIDE_M, 0.0), (SIDE_M, SIDE_M), (0.0, SIDE_M)]
    points = []
    for here, there in zip(corners, corners[1:] + corners[:1], strict=True):
        points += [
            (here[0] + (there[0] - here[0]) * n / PIECES, here[1] + (there[1] - here[1]) * n / PIECES)
            for n in range(PIECES)
        ]
    count, length = len(points), SIDE_M / PIECES
    edges, junctions, connections = [], [], []
    for n, (x, y) in enumerate(points):
        after = points[(n + 1) % count]
        edges.append(
            f'<edge id="e{n}" from="j{n}" to="j{(n + 1) % count}" priority="1">'
            f'<lane id="e{n}_0" index="0" speed="13.89" length="{length}" shape="{x},{y} {after[0]},{after[1]}"/>'
            "</edge>"
        )
        junctions.append(
            f'<junction id="j{n}" type="priority" x="{x}" y="{y}" '
            f'incLanes="e{(n - 1) % count}_0" intLanes="" shape="{x},{y}">'
            '<request index="0" response="0" foes="0" cont="0"/></junction>'
        )
        connections.append(
            f'<connection from="e{n}" to="e{(n + 1) % count}" fromLane="0" toLane="0" dir="s" state="M"/>'
        )
    where = (
        f'<location netOffset="-368000,-3436000" convBoundary="0,0,{SIDE_M},{SIDE_M}" origBoundary="0,0,1,1" '
        'projParameter="+proj=utm +zone=51 +ellps=WGS84 +datum=WGS84 +units=m +no_defs"/>'
    )
    return f'<net version="1.20">{where}{"".join([*edges, *junctions, *connections])}</net>'


def _request(city: CityPack, **changes: Any) -> Request:
    asked: dict[str, Any] = {
        "vehicles": 8, "seed": 4, "city": city, "start_ms": START_MS, "duration_s": 500,
        "encode": publications.encoder("json"), "partitions": 16, "id_prefix": "sumo",
        "clock_offset_ms": np.zeros(8, dtype=np.int64),
    } | changes  # fmt: skip
    return Request(**asked)


def _run(request: Request) -> tuple[list[Message], list[dict[str, Any]]]:
    truth: list[dict[str, Any]] = []
    return list(scenario.scenarios()["sumo_traffic"].messages(request, truth.append)), truth


def test_without_libsumo_one_sentence_says_so(city: CityPack, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "libsumo", None)
    with pytest.raises(Refusal, match=r"needs libsumo: .*fleetward\[sumo\]"):
        _run(_request(city))


def test_without_a_network_one_sentence_says_so(city: CityPack, tmp_path: Path) -> None:
    for folder, why in ((None, "the demo town has none"), (tmp_path, "has 0")):
        with pytest.raises(Refusal, match=why):
            _run(_request(replace(city, folder=folder)))


def test_a_bend_is_taken_at_walking_pace_and_a_straight_at_any() -> None:
    turn = np.radians(np.linspace(0, 90, 10))
    assert sumo.calm_mps(20.0 * np.column_stack((np.sin(turn), 1 - np.cos(turn)))) == pytest.approx(
        np.sqrt(1.7 * 20.0), rel=0.1
    )
    assert sumo.calm_mps(np.array([[0.0, 0.0], [100.0, 0.0]])) == np.inf


def test_nobody_brakes_or_turns_harshly(city: CityPack) -> None:
    pytest.importorskip("libsumo")
    sent, truth = _run(_request(city))
    received = [Received("s", 1, n, item.topic, item.payload, item.due_ms * 1000) for n, item in enumerate(sent)]
    decoded = batch.decode(received, Settings(partitions=16))
    assert decoded.refused == {}
    assert len(decoded.readings) == sum(message.count for message in sent)
    tracks = [one for one in truth if one["kind"] == "track"]
    accel = np.concatenate([one["accel_x_mps2"] for one in tracks])
    lateral = np.concatenate([one["accel_y_mps2"] for one in tracks])
    speed = np.concatenate([one["speed_kmh"] for one in tracks])
    assert accel.min() >= -sumo.HARDEST_MPS2 - 0.01
    assert accel.max() <= sumo.ACCELERATE_MPS2 + 0.01
    assert np.abs(lateral).max() <= 1.71
    assert speed.max() > 35
    trips = [one for one in truth if one["kind"] == "trip"]
    assert len({one["vehicle_id"] for one in trips}) == 8
    assert max(one["distance_m"] for one in trips) > 1_000
    for one in tracks:
        moved = np.hypot(np.diff(one["lat_deg"]) * 111e3, np.diff(one["lon_deg"]) * 95e3)
        assert moved.max() < 20  # corners of the drawn ring and places at the roadside, but no leap


def test_the_seed_decides(city: CityPack) -> None:
    pytest.importorskip("libsumo")
    short = _request(city, duration_s=150)
    assert _run(short) == _run(short)
    assert _run(short)[0] != _run(_request(city, duration_s=150, seed=5))[0]
