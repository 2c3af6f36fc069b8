"""Motion: deterministic, on the roads, comfortable, within the limits; receivers with correlated error."""

from pathlib import Path

import numpy as np
import pytest
import shapely
from numpy.typing import NDArray

from simulators import citypack, lanes, roads, town
from simulators.citypack import CityPack
from simulators.fleet import FASTEST_OF_LIMIT, HARDEST_BRAKE_MPS2, Fleet, Mode
from simulators.gnss import Receivers

F64 = NDArray[np.float64]


@pytest.fixture(scope="module")
def demo_town(tmp_path_factory: pytest.TempPathFactory) -> CityPack:
    return town.write_demo_pack(tmp_path_factory.mktemp("town"))


@pytest.fixture(scope="module")
def demo_lanes(demo_town: CityPack) -> lanes.Lanes:
    return lanes.lay(demo_town.graph)


@pytest.fixture(scope="module")
def ten_minutes(demo_lanes: lanes.Lanes) -> dict[str, F64]:
    """600 seconds of 200 vehicles; arrays of shape (600, 200)."""
    fleet = Fleet(demo_lanes, 200, seed=3)
    rows: dict[str, list[F64]] = {}
    for _ in range(600):
        fleet.step()
        now = {
            "accel": fleet.accel_mps2, "lateral": fleet.lateral_mps2, "speed": fleet.speed_mps, "x": fleet.x_m,
            "y": fleet.y_m, "limit": fleet.limit_kmh / 3.6, "mode": fleet.mode, "odometer": fleet.odometer_m,
            "ignition": fleet.ignition,
        }  # fmt: skip
        for name, values in now.items():
            rows.setdefault(name, []).append(np.array(values))
    return {name: np.array(values) for name, values in rows.items()}


def test_nobody_accelerates_beyond_comfort(ten_minutes: dict[str, F64]) -> None:
    assert np.abs(ten_minutes["accel"]).max() < 2.5
    assert np.abs(ten_minutes["lateral"]).max() < 2.5
    assert ten_minutes["accel"].min() >= -HARDEST_BRAKE_MPS2 - 1e-9


def test_speeds_are_the_slope_of_positions(ten_minutes: dict[str, F64]) -> None:
    moved = np.hypot(np.diff(ten_minutes["x"], axis=0), np.diff(ten_minutes["y"], axis=0))
    mean_speed = (ten_minutes["speed"][1:] + ten_minutes["speed"][:-1]) / 2
    # A chord is shorter than the arc that was driven, never longer.
    assert (moved <= mean_speed + 0.05).all()
    assert np.abs(moved - mean_speed).mean() < 0.1


def test_traffic_is_alive(ten_minutes: dict[str, F64]) -> None:
    speed, mode = ten_minutes["speed"], ten_minutes["mode"]
    assert 20 < speed[speed > 0.5].mean() * 3.6 < 55
    driving_but_standing = (mode == Mode.DRIVING) & (speed < 0.1)
    assert 0.01 < driving_but_standing.mean() < 0.25  # signals stop them, nothing locks up
    assert (np.diff(ten_minutes["ignition"].astype(int), axis=0) == -1).sum() > 20  # some park
    assert (np.diff(ten_minutes["ignition"].astype(int), axis=0) == 1).sum() > 20  # some leave
    assert np.median(ten_minutes["odometer"][-1]) > 1_000


def test_nobody_speeds(ten_minutes: dict[str, F64]) -> None:
    # Drivers brake before a lower limit, so the excess is theirs alone.
    assert (ten_minutes["speed"] <= ten_minutes["limit"] * FASTEST_OF_LIMIT + 0.3).all()


def test_vehicles_are_on_the_roads(demo_town: CityPack, ten_minutes: dict[str, F64]) -> None:
    plane = demo_town.graph.plane
    lines = []
    for way in demo_town.ways:
        points = np.array(way.points)
        lines.append(shapely.LineString(np.column_stack(plane.to_xy(points[:, 1], points[:, 0]))))
    tree = shapely.STRtree(lines)
    places = shapely.points(ten_minutes["x"][::20].ravel(), ten_minutes["y"][::20].ravel())
    nearest = tree.query_nearest(places, return_distance=True, all_matches=False)[1]
    # A lane lies up to 3.2 m beside the centre line, and a turn cuts its corner.
    assert nearest.max() < 12.0
    assert np.percentile(nearest, 90) < 4.0


def test_the_same_seed_drives_the_same(demo_lanes: lanes.Lanes) -> None:
    def run(seed: int) -> F64:
        fleet = Fleet(demo_lanes, 30, seed)
        for _ in range(60):
            fleet.step()
        return np.array([fleet.x_m, fleet.y_m, fleet.speed_mps])

    np.testing.assert_array_equal(run(5), run(5))
    assert (run(5) != run(6)).any()


def test_followers_keep_off_their_leaders(demo_lanes: lanes.Lanes) -> None:
    fleet = Fleet(demo_lanes, 600, seed=2)
    touching = pairs = 0
    for _ in range(120):
        fleet.step()
        in_lane = np.flatnonzero(fleet.mode == Mode.DRIVING)
        order = in_lane[np.lexsort((fleet.along_m[in_lane], fleet.lane[in_lane]))]
        same = fleet.lane[order[1:]] == fleet.lane[order[:-1]]
        gap = (fleet.along_m[order[1:]] - fleet.along_m[order[:-1]])[same]
        pairs += len(gap)
        touching += int((gap < 4.0).sum())
    assert pairs > 1_000
    # Lanes that merge are not negotiated (docs/guide/simulation.md), so a few overlap.
    assert touching / pairs < 0.05


def test_a_scenario_can_force_a_stop(demo_lanes: lanes.Lanes) -> None:
    fleet = Fleet(demo_lanes, 50, seed=1)
    victim = int(np.argmax(fleet.speed_mps))
    before = fleet.speed_mps[victim]
    fleet.force_mps2[victim] = -7.0
    fleet.step()
    assert fleet.accel_mps2[victim] == pytest.approx(max(-7.0, -before))
    fleet.step()
    assert fleet.accel_mps2[victim] > -HARDEST_BRAKE_MPS2 - 1e-9


def test_a_dead_end_turns_round() -> None:
    # A cross of four dead ends: the only way on at each end is back.
    arms = [(0.004, 0.0), (-0.004, 0.0), (0.0, 0.004), (0.0, -0.004)]
    graph = roads.build([roads.Way(((0.0, 0.0), arm), "residential") for arm in arms])
    fleet = Fleet(lanes.lay(graph), 20, seed=1)
    seen: set[int] = set()
    for _ in range(600):
        fleet.step()
        seen |= set(fleet.lane.tolist())
    assert set(range(graph.edges)) <= seen


def test_receivers_err_slowly_and_hold_still_when_standing() -> None:
    size, seconds = 400, 300
    receivers = Receivers(size, seed=1)
    zero, speed = np.zeros(size), np.full(size, 10.0)
    driving = [receivers.observe(zero, zero, speed, np.full(size, 90.0)) for _ in range(seconds)]
    east = np.array([fix.east_m for fix in driving])
    valid = ~np.isnan(east)
    assert 0.95 < valid.mean() < 1.0  # outages happen, and are short
    spread = np.nanstd(east)
    assert 1.5 < spread < 4.0
    step = np.nanstd(np.diff(east, axis=0))
    assert step < spread / 2  # correlated: white noise would step by 1.4 times its spread
    standing = [receivers.observe(zero, zero, zero, np.full(size, 10.0)) for _ in range(5)]
    assert all(np.nanmax(fix.speed_kmh) == 0.0 for fix in standing)
    np.testing.assert_array_equal(
        standing[0].heading_deg[standing[4].valid], standing[4].heading_deg[standing[4].valid]
    )
    assert {fix.satellites[~fix.valid].sum() for fix in driving} == {0.0}


def test_ten_thousand_vehicles_step_on_a_real_network(development_recordings: Path) -> None:
    folder = development_recordings / "shanghai"
    if not folder.is_dir():
        pytest.skip(f"no road extract at {folder}")
    fleet = Fleet(lanes.lay(citypack.load(folder).graph), 10_000, seed=1)
    for _ in range(30):
        fleet.step()
    assert (fleet.speed_mps > 5).mean() > 0.3
    assert np.abs(fleet.accel_mps2).max() < 2.5
