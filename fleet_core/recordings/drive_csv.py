"""CSV of drives: one row a sample, columns recognised by name, the unit being part of the name."""

import csv
import io
import math
import re
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from fleet_core import columns, topics
from fleet_core.recordings.drive_recording import Drive, RecordingError

G_MPS2: Final = 9.80665
ABSENT: Final = frozenset({"", "na", "nan", "null", "none"})
TIME_NAMES: Final = ("t_ms", "time_ms", "timestamp_ms", "ts_utc", "time_utc", "time", "timestamp", "datetime")
DRIVE_NAMES: Final = ("vehicle_id", "drive", "drive_id", "trip", "trip_id")
_EPOCH_MS_FROM: Final = 1e11  # a bare number above this counts milliseconds, below it seconds

# Header -> (column, factor, offset). Names of the contract need no entry. A black box's `accel_*_g` has x forward,
# y to the right and z up with 1 g in it at rest; the contract is ISO 8855 (y to the left) without gravity.
_ALIASES: Final[dict[str, tuple[str, float, float]]] = {
    "lat": ("lat_deg", 1, 0),
    "latitude": ("lat_deg", 1, 0),
    "lon": ("lon_deg", 1, 0),
    "lng": ("lon_deg", 1, 0),
    "longitude": ("lon_deg", 1, 0),
    "alt_m": ("altitude_m", 1, 0),
    "altitude": ("altitude_m", 1, 0),
    "ele": ("altitude_m", 1, 0),
    "heading": ("heading_deg", 1, 0),
    "course": ("heading_deg", 1, 0),
    "bearing": ("heading_deg", 1, 0),
    "sats": ("satellites", 1, 0),
    "speed_mps": ("speed_kmh", 3.6, 0),
    "speed_mph": ("speed_kmh", 1.609344, 0),
    "speed_kn": ("speed_kmh", 1.852, 0),
    "accel_x_g": ("accel_x_mps2", G_MPS2, 0),
    "accel_y_g": ("accel_y_mps2", -G_MPS2, 0),
    "accel_z_g": ("accel_z_mps2", G_MPS2, -G_MPS2),
}
_WITHOUT_UNIT: Final = frozenset({"speed", "velocity", "accel_x", "accel_y", "accel_z"})
_NUMBERS: Final = {
    column.name
    for column in columns.COLUMNS
    if column.kind is columns.Kind.NUMBER and column.name not in columns.DERIVED
}
_FLAGS: Final = {column.name for column in columns.COLUMNS if column.kind is columns.Kind.FLAG}
# Understood in some other way than as a column of their own.
_SPECIAL: Final = frozenset({"gps_fix", "speed_source"})

_Put = Callable[[dict[str, Any], str], None]


def read(path: Path, text: io.TextIOBase, vehicle: str | None) -> list[Drive]:
    """Drives of a CSV file, in order of first appearance, each in order of time; rows without a time are left out.

    Raises RecordingError with the line of a value that cannot be read.
    """
    reader = csv.reader(text, strict=True)
    drives: dict[str, Drive] = {}
    try:
        header = [name.strip().lower() for name in next(reader, [])]
        time_at, drive_at, put = _understand(path, header)
        for row in reader:
            if not row:
                continue
            if len(row) != len(header):
                raise ValueError(f"{len(row)} fields, but the header names {len(header)}")
            if (t_ms := parse_time_ms(row[time_at])) is None:
                continue
            values: dict[str, Any] = {}
            for index, one in put:
                one(values, row[index].strip())
            key = row[drive_at].strip() if drive_at is not None else ""
            if key not in drives:
                drives[key] = Drive(_vehicle_id(header[drive_at] if drive_at is not None else "", key, vehicle, path))
            drives[key].add(t_ms, _settled(values))
    except (ValueError, csv.Error) as error:
        if isinstance(error, RecordingError):
            raise
        raise RecordingError(f"{path}, line {reader.line_num}: {error}") from None
    if not drives:
        raise RecordingError(f"{path} holds no row with a time")
    if vehicle is not None and len(drives) > 1:
        drives = {key: Drive(f"{vehicle}-{n}", d.t_ms, d.columns) for n, (key, d) in enumerate(drives.items(), 1)}
    return [_sorted(drive) for drive in drives.values()]


def parse_time_ms(text: str) -> int | None:
    """Epoch milliseconds of an ISO 8601 time (UTC where it has no zone) or of epoch seconds or milliseconds."""
    text = text.strip()
    if text.lower() in ABSENT:
        return None
    if re.fullmatch(r"\d+(\.\d+)?", text):
        number = float(text)
        return round(number if number > _EPOCH_MS_FROM else number * 1000)
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise ValueError(f"{text!r} is not a time") from None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return round(moment.timestamp() * 1000)


def drive_name(path: Path) -> str:
    """A vehicle id made of a file's name."""
    stem = path.name.split(".", 1)[0]
    return re.sub(r"[^A-Za-z0-9_-]+", "-", stem).strip("-")[:56] or "drive"


def _understand(path: Path, header: list[str]) -> tuple[int, int | None, list[tuple[int, _Put]]]:
    time_at = next((header.index(name) for name in TIME_NAMES if name in header), None)
    if time_at is None:
        raise RecordingError(f"{path}, line 1: no column holds the time (one of {', '.join(TIME_NAMES)})")
    for name in header:
        if name in _WITHOUT_UNIT:
            raise RecordingError(
                f"{path}, line 1: column {name!r} names no unit; write speed_kmh, accel_x_g or the like"
            )
    drive_at = next((header.index(name) for name in DRIVE_NAMES if name in header), None)
    put = [(index, one) for index, name in enumerate(header) if (one := _reader_of(name)) is not None]
    return time_at, drive_at, put


def _reader_of(name: str) -> _Put | None:
    if name in _SPECIAL:
        return lambda values, text: values.__setitem__(name, text)
    if name in _FLAGS:
        return lambda values, text: values.__setitem__(name, _flag(name, text))
    column, factor, offset = _ALIASES.get(name, (name, 1.0, 0.0))
    if column not in _NUMBERS:
        return None
    # A product is no more exact than the reading was: keep six decimals of it.
    convert = (lambda number: number) if name == column else (lambda number: round(number * factor + offset, 6))
    return lambda values, text: values.__setitem__(column, _number(name, text, convert))


def _number(name: str, text: str, convert: Callable[[float], float]) -> float | None:
    if text.lower() in ABSENT:
        return None
    try:
        number = float(text)
    except ValueError:
        number = math.inf
    if not math.isfinite(number):
        raise ValueError(f"{name} is {text!r}, not a number")
    return convert(number)


def _flag(name: str, text: str) -> bool | None:
    word = text.lower()
    if word in ABSENT:
        return None
    if word in ("1", "true", "yes", "on"):
        return True
    if word in ("0", "false", "no", "off"):
        return False
    raise ValueError(f"{name} is {text!r}, not true or false")


def _settled(values: dict[str, Any]) -> dict[str, Any]:
    source = values.pop("speed_source", "")
    if source.lower() == "obd":
        values["obd_speed_kmh"] = values.pop("speed_kmh", None)
    fix = values.pop("gps_fix", "")
    # NMEA GSA counts 1 no fix, 2 two-dimensional, 3 three-dimensional.
    if fix.lower() not in ABSENT and _number("gps_fix", fix, float) == 1:
        values["fix_valid"] = False
    return values


def _vehicle_id(kind: str, key: str, vehicle: str | None, path: Path) -> str:
    if vehicle is not None:
        return vehicle
    if kind == "vehicle_id":
        return topics.check_vehicle_id(key)
    if not key:
        return drive_name(path)
    number = re.sub(r"[^A-Za-z0-9_-]+", "-", key.removesuffix(".0"))
    return topics.check_vehicle_id(f"drive-{number}")


def _sorted(drive: Drive) -> Drive:
    order = sorted(range(len(drive.t_ms)), key=drive.t_ms.__getitem__)
    return Drive(
        drive.vehicle_id,
        [drive.t_ms[index] for index in order],
        {name: [column[index] for index in order] for name, column in drive.columns.items()},
    )
