"""/api/basemap: what is drawn under the vehicles, from the city pack."""

import gzip
import hashlib
import json
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any, Final

from fastapi import APIRouter, Header, Request, Response
from pydantic import BaseModel, Field

from fleet_api.access.admission import allowed
from fleet_api.access.roles import EVERYONE, Scope
from fleet_api.base_maps import BaseMap
from fleet_api.problems import Problem, documented
from fleet_core.settings import Settings

router = APIRouter(prefix="/api/basemap", tags=["basemap"])

_READERS: Final = allowed(*EVERYONE, scope=Scope.READ)

MAX_META_BYTES: Final = 100_000
# Shown when a pack says nothing of its source, so that a map is never drawn without saying that.
UNSTATED: Final = {"zh": "道路数据来源未注明", "en": "source of the roads not stated"}


class Names(BaseModel):
    """A name in both languages."""

    zh: str
    en: str


class BasemapOut(BaseModel):
    """The city pack in use."""

    name: Names
    bounds: tuple[float, float, float, float] | None = Field(description="west, south, east, north in degrees, WGS-84.")
    attribution: Names = Field(description="To be shown on every map drawn from these roads.")


@router.get("", summary="The city pack in use", dependencies=[_READERS], responses=documented(404))
def basemap(request: Request) -> BasemapOut:
    """Name, bounds and attribution of the roads under `/api/basemap/roads`."""
    folder = _folder(request)
    roads = _roads_file(folder)
    meta = _meta(folder)
    return BasemapOut(
        name=_names(meta.get("name"), roads.name.split(".")[0]),
        bounds=_bounds(meta.get("bounds")),
        attribution=_names(meta.get("attribution") or UNSTATED, ""),
    )


class BaseMaps(BaseModel):
    """In the order of the file."""

    maps: list[BaseMap]


@router.get("/maps", summary="Further base maps", dependencies=[_READERS])
def base_maps(request: Request) -> BaseMaps:
    """Base maps of others that the operator configured."""
    return BaseMaps(maps=request.app.state.base_maps)


@router.get(
    "/roads", summary="Roads as GeoJSON", dependencies=[_READERS], response_class=Response, responses=documented(404)
)
def roads(
    request: Request,
    accept_encoding: Annotated[str, Header()] = "",
    if_none_match: Annotated[str, Header()] = "",
) -> Response:
    """LineStrings in WGS-84 with `class`, `rank` (1 motorway to 6 service), `name` and `name_en`."""
    path = _roads_file(_folder(request))
    stat = path.stat()
    etag, body = _read_gzip(path, stat.st_mtime_ns, stat.st_size)
    headers = {"ETag": etag, "Cache-Control": "no-cache", "Vary": "Accept-Encoding"}
    if etag in if_none_match:
        return Response(status_code=304, headers=headers)
    if "gzip" in accept_encoding:
        return Response(body, media_type="application/geo+json", headers=headers | {"Content-Encoding": "gzip"})
    return Response(gzip.decompress(body), media_type="application/geo+json", headers=headers)


@lru_cache(maxsize=1)
def _read_gzip(path: Path, _changed_ns: int, _size: int) -> tuple[str, bytes]:
    raw = path.read_bytes()
    body = raw if raw[:2] == b"\x1f\x8b" else gzip.compress(raw, mtime=0)
    return f'"{hashlib.sha256(body).hexdigest()[:32]}"', body


def _folder(request: Request) -> Path:
    settings: Settings = request.app.state.settings
    if not settings.city_pack:
        raise Problem(404, "No city pack is configured (FLEET_CITY_PACK): the map has no roads.")
    folder = Path(settings.city_pack).expanduser()
    if not folder.is_dir():
        raise Problem(404, "The configured city pack (FLEET_CITY_PACK) is not a folder.")
    return folder


def _roads_file(folder: Path) -> Path:
    named = folder / "roads.geojson.gz"
    found = [named] if named.is_file() else sorted(folder.glob("*.roads.geojson.gz"))
    if not found:
        raise Problem(404, "The city pack has no roads.geojson.gz.")
    return found[0]


def _meta(folder: Path) -> dict[str, Any]:
    try:
        with (folder / "meta.json").open("rb") as file:
            meta = json.loads(file.read(MAX_META_BYTES))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise Problem(404, f"The city pack's meta.json cannot be read: {type(error).__name__}.") from None
    return meta if isinstance(meta, dict) else {}


def _names(value: object, otherwise: str) -> Names:
    if isinstance(value, dict):
        texts = {key: text for key, text in value.items() if isinstance(text, str)}
        en = texts.get("en") or texts.get("zh") or otherwise
        return Names(zh=texts.get("zh") or en, en=en)
    text = value if isinstance(value, str) and value else otherwise
    return Names(zh=text, en=text)


def _bounds(value: object) -> tuple[float, float, float, float] | None:
    try:
        west, south, east, north = (float(part) for part in value)  # type: ignore[attr-defined]
    except (TypeError, ValueError):
        return None
    return west, south, east, north
