"""GPX 1.0 and 1.1 tracks, read as a stream; documents with a DTD are refused, because they can expand without bound."""

import math
from pathlib import Path
from typing import Any, BinaryIO, Final
from xml.parsers import expat

from fleet_core.recordings.drive_csv import drive_name, parse_time_ms
from fleet_core.recordings.drive_recording import Drive, RecordingError

EARTH_M: Final = 6_371_008.8  # mean radius, IUGG

# Element of a track point, or of its extensions in whatever namespace, -> column and factor.
_VALUES: Final[dict[str, tuple[str, float]]] = {
    "ele": ("altitude_m", 1),
    "speed": ("speed_kmh", 3.6),
    "course": ("heading_deg", 1),
    "hdop": ("hdop", 1),
    "sat": ("satellites", 1),
}
_DEEPEST: Final = 64


def read(path: Path, file: BinaryIO, vehicle: str | None) -> list[Drive]:
    """A drive for each track; its segments are one drive with holes. Points without a time are left out.

    Speed (m/s in the file) and course come from the point or its extensions, else from the positions.
    Raises RecordingError with the line.
    """
    handler = _Handler(path, vehicle)
    parser = expat.ParserCreate(namespace_separator=" ")
    parser.StartDoctypeDeclHandler = handler.refuse_doctype
    parser.StartElementHandler = handler.start
    parser.EndElementHandler = handler.end
    parser.CharacterDataHandler = handler.text
    parser.buffer_text = True
    try:
        parser.ParseFile(file)
    except expat.ExpatError as error:
        reason = expat.ErrorString(error.code)
        raise RecordingError(f"{path}, line {error.lineno}: not well-formed XML ({reason})") from None
    except ValueError as error:
        raise RecordingError(f"{path}, line {parser.CurrentLineNumber}: {error}") from None
    drives = [drive for drive in handler.drives if drive.t_ms]
    if not drives:
        raise RecordingError(f"{path} holds no track point with a time")
    if len(drives) == 1:
        drives = [Drive(vehicle or drive_name(path), drives[0].t_ms, drives[0].columns)]
    for drive in drives:
        _fill_motion(drive)
    return drives


class _Handler:
    def __init__(self, path: Path, vehicle: str | None) -> None:
        self.drives: list[Drive] = []
        self._base = vehicle or drive_name(path)
        self._stack: list[str] = []
        self._point: dict[str, Any] | None = None
        self._time = ""
        self._text: list[str] = []

    def refuse_doctype(self, *_: object) -> None:
        raise ValueError("a document type declaration is not accepted")

    def start(self, name: str, attributes: dict[str, str]) -> None:
        local = name.rpartition(" ")[2]
        if not self._stack and local != "gpx":
            raise ValueError(f"the document is <{local}>, not <gpx>")
        if len(self._stack) >= _DEEPEST:
            raise ValueError(f"elements are nested more than {_DEEPEST} deep")
        self._stack.append(local)
        self._text = []
        if local == "trk":
            self.drives.append(Drive(f"{self._base}-{len(self.drives) + 1}"))
        elif local == "trkpt":
            if not self.drives:
                raise ValueError("a track point stands outside a track")
            self._time = ""
            self._point = {
                "lat_deg": _degrees("lat", attributes.get("lat"), 90),
                "lon_deg": _degrees("lon", attributes.get("lon"), 180),
            }

    def text(self, part: str) -> None:
        if self._point is not None:
            self._text.append(part)

    def end(self, name: str) -> None:
        local = self._stack.pop()
        if self._point is None:
            return
        if local == "trkpt":
            t_ms = parse_time_ms(self._time)
            if t_ms is not None:
                self.drives[-1].add(t_ms, self._point)
            self._point = None
        elif local == "time" and self._stack[-1] == "trkpt":
            self._time = "".join(self._text)
        elif local in _VALUES:
            column, factor = _VALUES[local]
            self._point[column] = round(_number(local, "".join(self._text)) * factor, 6)


def _number(name: str, text: str | None) -> float:
    try:
        number = float(text or "")
    except ValueError:
        number = math.inf
    if not math.isfinite(number):
        raise ValueError(f"{name} is {text!r}, not a number")
    return number


def _degrees(name: str, text: str | None, bound: float) -> float:
    number = _number(name, text)
    if abs(number) > bound:
        raise ValueError(f"{name} {number} is beyond {bound} degrees")
    return number


def _fill_motion(drive: Drive) -> None:
    """Speed and heading from the neighbours where the file says nothing about them."""
    speed = drive.columns.setdefault("speed_kmh", [None] * len(drive.t_ms))
    heading = drive.columns.setdefault("heading_deg", [None] * len(drive.t_ms))
    for index in range(len(drive.t_ms)):
        before, after = max(index - 1, 0), min(index + 1, len(drive.t_ms) - 1)
        seconds = (drive.t_ms[after] - drive.t_ms[before]) / 1000
        if seconds <= 0:
            continue
        north, east = _metres(drive, before, after)
        if speed[index] is None:
            speed[index] = round(math.hypot(north, east) / seconds * 3.6, 2)
        # Below half a metre a second the direction of two fixes is that of their error.
        if heading[index] is None and math.hypot(north, east) > 0.5 * seconds:
            heading[index] = round(math.degrees(math.atan2(east, north)) % 360, 1)


def _metres(drive: Drive, start: int, stop: int) -> tuple[float, float]:
    lat, lon = drive.columns["lat_deg"], drive.columns["lon_deg"]
    middle = math.radians((lat[start] + lat[stop]) / 2)
    turn = (lon[stop] - lon[start] + 180) % 360 - 180
    return math.radians(lat[stop] - lat[start]) * EARTH_M, math.radians(turn) * EARTH_M * math.cos(middle)
