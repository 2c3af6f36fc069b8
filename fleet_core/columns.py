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
    """One column. `low` and `high` are the values outside which a message is refused, not merely implausible.

    `measurable`: the span beyond which no sensor of this sort measures, such as the -1 or 65535 of devices that have no
    value. What lies outside counts as absent, and is kept as sent beside unknown columns.
    """

    name: str
    kind: Kind = Kind.NUMBER
    low: float | None = None
    high: float | None = None
    measurable: tuple[float, float] | None = None


CRS_NAMES: Final = ("wgs84", "gcj02", "bd09")

COLUMNS: Final[tuple[Column, ...]] = (
    Column("lat_deg", low=-90.0, high=90.0),
    Column("lon_deg", low=-180.0, high=180.0),
    Column("altitude_m", measurable=(-1_000.0, 100_000.0)),
    Column("accuracy_m", measurable=(0.0, 1_000_000.0)),
    Column("hdop", measurable=(0.0, 1_000.0)),
    Column("satellites", measurable=(0.0, 255.0)),
    Column("speed_kmh", measurable=(0.0, 1_000.0)),
    Column("obd_speed_kmh", measurable=(0.0, 1_000.0)),
    Column("heading_deg", measurable=(-360.0, 720.0)),
    Column("accel_x_mps2", measurable=(-10_000.0, 10_000.0)),
    Column("accel_y_mps2", measurable=(-10_000.0, 10_000.0)),
    Column("accel_z_mps2", measurable=(-10_000.0, 10_000.0)),
    Column("gyro_x_dps", measurable=(-10_000.0, 10_000.0)),
    Column("gyro_y_dps", measurable=(-10_000.0, 10_000.0)),
    Column("gyro_z_dps", measurable=(-10_000.0, 10_000.0)),
    Column("odometer_km", measurable=(0.0, 10_000_000.0)),
    Column("fuel_pct", measurable=(0.0, 200.0)),
    Column("soc_pct", measurable=(0.0, 200.0)),
    Column("rpm", measurable=(0.0, 30_000.0)),
    Column("engine_hours", measurable=(0.0, 1_000_000.0)),
    Column("coolant_c", measurable=(-60.0, 400.0)),
    Column("battery_v", measurable=(0.0, 100.0)),
    Column("external_v", measurable=(0.0, 1_500.0)),
    Column("ignition", Kind.FLAG),
    Column("brake", Kind.FLAG),
    Column("brake_pct", measurable=(0.0, 200.0)),
    Column("throttle_pct", measurable=(0.0, 200.0)),
    Column("steering_deg", measurable=(-3_000.0, 3_000.0)),
    Column("gear", measurable=(-100.0, 100.0)),
    Column("seatbelt_driver", Kind.FLAG),
    Column("door_open", Kind.FLAG),
    Column("tyre_fl_kpa", measurable=(0.0, 3_000.0)),
    Column("tyre_fr_kpa", measurable=(0.0, 3_000.0)),
    Column("tyre_rl_kpa", measurable=(0.0, 3_000.0)),
    Column("tyre_rr_kpa", measurable=(0.0, 3_000.0)),
    Column("ambient_c", measurable=(-100.0, 150.0)),
    Column("speed_limit_kmh", measurable=(0.0, 1_000.0)),
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
