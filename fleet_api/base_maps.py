"""Further base maps that the operator may choose on the map, from a file. None is on by default: they come from others,
under their terms, and the pages then ask those others for pictures.
"""

import json
from pathlib import Path
from typing import Any, Final, Literal
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError, field_validator

from fleet_core.settings import SettingsError

MAX_BYTES: Final = 100_000


class Texts(BaseModel):
    """A text in both languages."""

    model_config = ConfigDict(extra="forbid")

    zh: str = Field(min_length=1)
    en: str = Field(min_length=1)


class BaseMap(BaseModel):
    """A base map of pictures in Web Mercator."""

    model_config = ConfigDict(extra="forbid")

    id: str = Field(pattern=r"^[a-z0-9-]{1,40}$")
    name: Texts
    url: str = Field(description="Address of a picture, with {z}, {x} and {y}.")
    attribution: Texts = Field(description="To be shown with the map, as its owner asks.")
    crs: Literal["wgs84", "gcj02", "bd09"] = Field(
        default="wgs84", description="Datum of the pictures. Everything else is moved to it on display alone."
    )
    min_zoom: int = Field(default=0, ge=0, le=22)
    max_zoom: int = Field(default=18, ge=0, le=22)

    @field_validator("url")
    @classmethod
    def _complete(cls, url: str) -> str:
        parts = urlsplit(url)
        # A host is written into the Content-Security-Policy: nothing but a plain one may be there.
        host_is_plain = parts.hostname is not None and all(sign.isalnum() or sign in ".-" for sign in parts.hostname)
        if parts.scheme not in ("http", "https") or not host_is_plain or parts.username is not None:
            raise ValueError("expected http:// or https:// and a host")
        if not all(part in url for part in ("{z}", "{x}", "{y}")):
            raise ValueError("expected {z}, {x} and {y} in it")
        return url

    @property
    def origin(self) -> str:
        """Scheme, host and port of the pictures."""
        parts = urlsplit(self.url)
        return f"{parts.scheme}://{parts.hostname}" + (f":{parts.port}" if parts.port else "")


_LIST: Final[TypeAdapter[list[BaseMap]]] = TypeAdapter(list[BaseMap])


def load(path: str) -> list[BaseMap]:
    """The maps of a JSON file; none for an empty path. Raises SettingsError that says what is wrong."""
    if not path:
        return []
    try:
        with Path(path).expanduser().open("rb") as file:
            found: Any = json.loads(file.read(MAX_BYTES))
        maps = _LIST.validate_python(found)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise SettingsError(f"FLEET_BASE_MAPS={path}: {where}: {first['msg']}") from None
    except (OSError, ValueError) as error:
        raise SettingsError(f"FLEET_BASE_MAPS={path}: {error}") from None
    if len({one.id for one in maps}) != len(maps):
        raise SettingsError(f"FLEET_BASE_MAPS={path}: two maps have one id")
    return maps
