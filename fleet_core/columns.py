"""The columns of a reading: name, kind and bounds.

Names carry their unit and follow the COVESA Vehicle Signal Specification (VSS). Axes are ISO 8855: x forward, y left,
z up, gravity removed. The order here is the order of the table, of COPY and of the API.
"""

from dataclasses import dataclass
from enum import Enum
from typing import Final


class Kind(Enum):
    """How a column is held: a 64-bit float (NaN = absent), a truth value, or a short text."""

    NUMBER = "double precision"
    FLAG = "boolean"
    TEXT = "text"


@dataclass(frozen=True, slots=True)
class Column:
    """One column. `low` and `high` are the values outside which a message is refused, not merely implausible."""

    name: str
    kind: Kind = Kind.NUMBER
    low: float | None = None
    high: float | None = None


CRS_NAMES: Final = ("wgs84", "gcj02", "bd09")

COLUMNS: Final[tuple[Column, ...]] = (
    Column("lat_deg", low=-90.0, high=90.0),
    Column("lon_deg", low=-180.0, high=180.0),
    Column("altitude_m"),
    Column("accuracy_m"),
    Column("hdop"),
    Column("satellites"),
    Column("speed_kmh"),
    Column("obd_speed_kmh"),
    Column("heading_deg"),
    Column("accel_x_mps2"),
    Column("accel_y_mps2"),
    Column("accel_z_mps2"),
    Column("gyro_x_dps"),
    Column("gyro_y_dps"),
    Column("gyro_z_dps"),
    Column("odometer_km"),
    Column("fuel_pct"),
    Column("soc_pct"),
    Column("rpm"),
    Column("engine_hours"),
    Column("coolant_c"),
    Column("battery_v"),
    Column("external_v"),
    Column("ignition", Kind.FLAG),
    Column("brake", Kind.FLAG),
    Column("brake_pct"),
    Column("throttle_pct"),
    Column("steering_deg"),
    Column("gear"),
    Column("seatbelt_driver", Kind.FLAG),
    Column("door_open", Kind.FLAG),
    Column("tyre_fl_kpa"),
    Column("tyre_fr_kpa"),
    Column("tyre_rl_kpa"),
    Column("tyre_rr_kpa"),
    Column("ambient_c"),
    Column("speed_limit_kmh"),
    Column("accel_gravity", Kind.FLAG),
    Column("fix_valid", Kind.FLAG),
    Column("buffered", Kind.FLAG),
    Column("crs", Kind.TEXT),
    # Coordinates as sent, kept beside the WGS-84 they were converted to, only when `crs` is not wgs84.
    Column("lat_sent_deg"),
    Column("lon_sent_deg"),
)

BY_NAME: Final[dict[str, Column]] = {column.name: column for column in COLUMNS}

# Keys of a telemetry message that are not columns.
ENVELOPE: Final = frozenset({"boot", "seq", "t_ms"})

# Columns that only we write; a device that sends them is refused rather than believed.
DERIVED: Final = frozenset({"lat_sent_deg", "lon_sent_deg"})
