"""The invented town, city packs and the road graph."""

import gzip
import json
from pathlib import Path

import numpy as np
import pytest

from simulators import citypack, lanes, roads, town
from simulators.citypack import CityPackError
from simulators.roads import Plane, Way


def _reachable(graph: roads.RoadGraph, start: int) -> set[int]:
    out: dict[int, list[int]] = {}
    for origin, target in zip(graph.edge_from.tolist(), graph.edge_to.tolist(), strict=True):
        out.setdefault(origin, []).append(target)
    seen, todo = {start}, [start]
    while todo:
        for target in out.get(todo.pop(), []):
            if target not in seen:
                seen.add(target)
                todo.append(target)
    return seen


def test_the_same_seed_gives_the_same_files_and_another_seed_another_town(tmp_path: Path) -> None:
    town.write_demo_pack(tmp_path / "a")
    town.write_demo_pack(tmp_path / "b")
    for name in (citypack.META, citypack.ROADS):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()
    assert town.make(seed=7)[1] != town.make(seed=8)[1]


@pytest.mark.parametrize("seed", range(1, 9))
def test_every_town_is_one_piece_a_few_kilometres_across_with_bridges_and_two_languages(seed: int) -> None:
    meta, ways = town.make(seed)
    graph = roads.build(ways)
    assert len(_reachable(graph, 0)) == graph.nodes
    assert set(graph.edge_way.tolist()) == set(range(len(ways)))  # nothing on the map that cannot be driven
    xs, ys = graph.plane.to_xy(graph.node_lat_deg, graph.node_lon_deg)
    assert 3_000 < np.ptp(xs) < 7_000
    assert 3_000 < np.ptp(ys) < 7_000
    assert graph.length_km > 100
    assert sum(1 for way in ways if way.tags.get("bridge")) >= 3
    assert {"primary", "secondary", "tertiary", "residential"} == {way.road_class for way in ways}
    assert all(way.name and way.name_en and way.maxspeed_kmh for way in ways)
    assert meta["name"].keys() == {"zh", "en"}


def test_a_pack_reads_back_as_written(tmp_path: Path) -> None:
    written = town.write_demo_pack(tmp_path)
    loaded = citypack.load(tmp_path)
    assert loaded.meta == written.meta
    assert loaded.ways == written.ways
    for name in ("edge_from", "edge_to", "edge_length_m", "edge_limit_kmh", "shape_x_m", "edge_reverse"):
        np.testing.assert_array_equal(getattr(loaded.graph, name), getattr(written.graph, name))
    west, south, east, north = loaded.meta["bounds"]
    for way in loaded.ways:
        for lon, lat in way.points:
            assert west - 1e-5 <= lon <= east + 1e-5
            assert south - 1e-5 <= lat <= north + 1e-5


def test_a_graph_of_other_roads_is_not_believed(tmp_path: Path) -> None:
    town.write_demo_pack(tmp_path)
    body = json.loads(gzip.decompress((tmp_path / citypack.ROADS).read_bytes()))
    del body["features"][3]
    (tmp_path / citypack.ROADS).write_bytes(gzip.compress(json.dumps(body).encode()))
    pack = citypack.load(tmp_path)
    assert int(pack.graph.edge_way.max()) < len(pack.ways)


def test_ways_join_only_where_they_share_a_point_and_oneway_is_kept() -> None:
    cross = [
        Way(((0.0, 0.0), (0.001, 0.0), (0.002, 0.0)), "residential"),
        Way(((0.001, -0.001), (0.001, 0.0), (0.001, 0.001)), "tertiary", maxspeed_kmh=35),
        Way(((0.002, 0.0), (0.001, 0.001)), "tertiary", oneway=True),
    ]
    graph = roads.build(cross)
    assert graph.nodes == 5
    assert graph.edges == 9  # four two-way pieces and one one-way piece
    assert (graph.edge_reverse >= 0).sum() == 8
    mapped = graph.edge_limit_kmh[graph.edge_limit_mapped]
    assert set(mapped.tolist()) == {35.0}
    assumed = graph.edge_limit_kmh[~graph.edge_limit_mapped]
    assert set(assumed.tolist()) == {roads.ASSUMED_LIMIT_KMH["residential"], roads.ASSUMED_LIMIT_KMH["tertiary"]}


def test_lengths_on_the_plane_agree_with_the_ellipsoid() -> None:
    # One minute of latitude at 31 degrees north is 1,847.75 m, of longitude 1,591.6 m (WGS-84).
    plane = Plane(31.0, 121.0)
    x_m, y_m = plane.to_xy(np.array([31.0 + 1 / 60]), np.array([121.0 + 1 / 60]))
    assert y_m[0] == pytest.approx(1847.75, abs=0.6)
    assert x_m[0] == pytest.approx(1591.6, abs=0.6)
    lat, lon = plane.to_latlon(x_m, y_m)
    assert (lat[0], lon[0]) == pytest.approx((31.0 + 1 / 60, 121.0 + 1 / 60), abs=1e-12)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (None, "holds 0 files"),
        (b"not json", "cannot be read as a GeoJSON"),
        (b'{"features": [{"geometry": {"type": "LineString"}}]}', "feature 0 is not a road"),
        (b'{"features": []}', "no drivable way"),
    ],
)
def test_a_bad_pack_is_refused_by_name(tmp_path: Path, content: bytes | None, reason: str) -> None:
    if content is not None:
        (tmp_path / "x.roads.geojson.gz").write_bytes(gzip.compress(content))
    with pytest.raises(CityPackError, match=reason) as refused:
        citypack.load(tmp_path)
    assert str(tmp_path) in str(refused.value)


def test_a_real_extract_of_roads_alone_can_be_driven(development_recordings: Path) -> None:
    folder = development_recordings / "shanghai"
    if not folder.is_dir():
        pytest.skip(f"no road extract at {folder}")
    pack = citypack.load(folder)
    assert len(pack.ways) == 4701
    # The extract holds 975 km of ways; 2,885 of 4,701 ways are one-way, the others count twice.
    assert 1_100 < pack.graph.length_km < 1_500
    assert len(_reachable(pack.graph, 0)) == pack.graph.nodes
    assert 0 < pack.graph.edge_limit_mapped.mean() < 0.1
    laid = lanes.lay(pack.graph)
    assert len(laid.length_m) > laid.edges == pack.graph.edges
    assert (laid.length_m > 0).all()
