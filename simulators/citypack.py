"""City packs: a folder with `meta.json`, `roads.geojson.gz` and `graph.npz`, or only a `*.roads.geojson.gz`."""

import gzip
import json
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Final

import numpy as np

from simulators import roads
from simulators.roads import Plane, RoadGraph, Way

META: Final = "meta.json"
ROADS: Final = "roads.geojson.gz"
GRAPH: Final = "graph.npz"

_LIST_FIELDS = tuple(item.name for item in fields(RoadGraph) if item.name != "plane")


class CityPackError(ValueError):
    """A city pack that cannot be read; the text names the file and what is wrong with it."""


@dataclass(frozen=True, slots=True)
class CityPack:
    """A city: its description, its ways as on the map and the graph that is driven on; `folder` it was read from."""

    meta: dict[str, Any]
    ways: tuple[Way, ...]
    graph: RoadGraph
    folder: Path | None = None


def load(folder: Path) -> CityPack:
    """Read the pack in `folder`. The graph is built from the ways when `graph.npz` is absent or of other ways.

    Raises CityPackError.
    """
    if not folder.is_dir():
        raise CityPackError(f"there is no city pack folder {folder}")
    source = _roads_file(folder)
    ways = read_ways(source)
    try:
        graph = _read_graph(folder / GRAPH, len(ways)) or roads.build(ways)
    except ValueError as error:
        raise CityPackError(f"{source}: {error}") from None
    return CityPack(_read_meta(folder, source, ways), ways, graph, folder)


def write(folder: Path, meta: dict[str, Any], ways: Sequence[Way]) -> CityPack:
    """Write a pack into `folder` (created; files of the same names are replaced) and return it."""
    folder.mkdir(parents=True, exist_ok=True)
    graph = roads.build(ways)
    described = {"name": meta["name"], "bounds": _bounds(ways), **meta}
    (folder / META).write_text(json.dumps(described, ensure_ascii=False, indent=2) + "\n", encoding="utf-8")
    collection = {"type": "FeatureCollection", "features": [_feature(number, way) for number, way in enumerate(ways)]}
    body = json.dumps(collection, ensure_ascii=False, separators=(",", ":")).encode()
    # mtime 0: the same town gives the same bytes.
    (folder / ROADS).write_bytes(gzip.compress(body, compresslevel=9, mtime=0))
    arrays = {name: getattr(graph, name) for name in _LIST_FIELDS}
    np.savez_compressed(
        folder / GRAPH,
        origin_deg=np.array([graph.plane.lat_deg, graph.plane.lon_deg]),
        ways=np.array(len(ways)),
        **arrays,
    )
    return CityPack(described, tuple(ways), graph)


def read_ways(source: Path) -> tuple[Way, ...]:
    """Ways of a GeoJSON file of LineStrings, gzip or plain. Ways of a class that is not driven on are left out."""
    try:
        raw = source.read_bytes()
        body = json.loads(gzip.decompress(raw) if raw[:2] == b"\x1f\x8b" else raw)
        features = body["features"]
    except (OSError, EOFError, ValueError, KeyError, TypeError) as error:
        raise CityPackError(f"{source} cannot be read as a GeoJSON of roads: {error}") from None
    ways: list[Way] = []
    for number, feature in enumerate(features):
        try:
            way = _way(feature)
        except (KeyError, TypeError, ValueError) as error:
            raise CityPackError(f"{source}: feature {number} is not a road: {error!r}") from None
        if way is not None:
            ways.append(way)
    return tuple(ways)


def _roads_file(folder: Path) -> Path:
    if (folder / ROADS).is_file():
        return folder / ROADS
    found = sorted(folder.glob("*.roads.geojson.gz"))
    if len(found) != 1:
        raise CityPackError(f"{folder} holds {len(found)} files *.roads.geojson.gz; a city pack has one")
    return found[0]


def _read_meta(folder: Path, source: Path, ways: Sequence[Way]) -> dict[str, Any]:
    path = folder / META
    if not path.is_file():
        title = source.name.removesuffix(".roads.geojson.gz")
        return {"name": {"zh": title, "en": title}, "bounds": _bounds(ways), "licence": "unknown", "attribution": ""}
    try:
        meta = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise CityPackError(f"{path} cannot be read: {error}") from None
    if not isinstance(meta, dict):
        raise CityPackError(f"{path} is not a JSON object")
    return meta


def _read_graph(path: Path, ways: int) -> RoadGraph | None:
    if not path.is_file():
        return None
    try:
        with np.load(path, allow_pickle=False) as stored:
            if int(stored["ways"]) != ways:
                return None
            origin = stored["origin_deg"]
            return RoadGraph(
                plane=Plane(float(origin[0]), float(origin[1])), **{name: stored[name] for name in _LIST_FIELDS}
            )
    except (OSError, KeyError, ValueError, zipfile.BadZipFile) as error:
        raise CityPackError(f"{path} cannot be read: {error}") from None


def _way(feature: dict[str, Any]) -> Way | None:
    if feature["geometry"]["type"] != "LineString":
        return None
    properties = feature["properties"]
    points = tuple((float(point[0]), float(point[1])) for point in feature["geometry"]["coordinates"])
    if properties["class"] not in roads.CLASSES or len(set(points)) < 2:
        return None
    oneway = properties.get("oneway")
    if oneway in (-1, "-1"):
        points = points[::-1]
    return Way(
        points=points,
        road_class=properties["class"],
        name=properties.get("name") or "",
        name_en=properties.get("name_en") or "",
        maxspeed_kmh=_maxspeed(properties.get("maxspeed")),
        oneway=oneway in (1, True, "yes", "1", "true", -1, "-1"),
        tags={key: properties[key] for key in ("bridge", "tunnel") if properties.get(key)},
    )


def _maxspeed(value: object) -> float | None:
    # OpenStreetMap writes plain numbers in km/h, "30 mph", or words such as "none": a word is no limit we know.
    words = str(value or "").split()
    try:
        speed = float(words[0])
    except (IndexError, ValueError):
        return None
    return speed * 1.609344 if words[1:] == ["mph"] else speed


def _feature(number: int, way: Way) -> dict[str, Any]:
    properties: dict[str, object] = {"class": way.road_class, "rank": roads.rank_of(way.road_class), **way.tags}
    if way.name:
        properties |= {"name": way.name, "name_en": way.name_en}
    if way.maxspeed_kmh:
        properties["maxspeed"] = way.maxspeed_kmh
    if way.oneway:
        properties["oneway"] = 1
    return {
        "type": "Feature",
        "id": number,
        "properties": properties,
        "geometry": {"type": "LineString", "coordinates": [list(point) for point in way.points]},
    }


def _bounds(ways: Sequence[Way]) -> list[float]:
    """West, south, east, north in degrees, as in GeoJSON's bbox."""
    points = np.array([point for way in ways for point in way.points])
    (west, south), (east, north) = points.min(axis=0), points.max(axis=0)
    return [round(float(value), 6) for value in (west, south, east, north)]
