"""Kinds of evidence: to which family of incidents each belongs, and what it takes to open one.

A family is what one person would work on as one case. `fuse_s` is how long after the newest evidence more of it still
joins the case; later it is another case.
"""

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Family:
    """See the module."""

    name: str
    fuse_s: float


@dataclass(frozen=True, slots=True)
class Kind:
    """`opens_from_level` None: it is recorded and joins a case that is there, but opens none by itself."""

    name: str
    family: str
    opens_from_level: int | None = 1


# Judgement, all of these: a collision's aftermath is over in half an hour; a theft may take a night; a fault of the
# vehicle stays one case for a day.
FAMILIES: Final[dict[str, Family]] = {
    family.name: family
    for family in (
        Family("collision", 1800.0),
        Family("security", 6 * 3600.0),
        Family("health", 24 * 3600.0),
        Family("driving", 12 * 3600.0),
        Family("place", 12 * 3600.0),
        Family("device", 24 * 3600.0),
        Family("assistance", 3600.0),
    )
}

KINDS: Final[dict[str, Kind]] = {
    kind.name: kind
    for kind in (
        Kind("crash", "collision"),
        Kind("rollover", "collision"),
        Kind("parked_impact", "collision"),
        Kind("airbag", "collision"),
        Kind("accident", "collision"),  # reported by people
        Kind("sos", "collision"),
        # A manner of driving is counted and shown; it becomes a case only when it is grave.
        Kind("harsh_braking", "driving", None),
        Kind("harsh_acceleration", "driving", None),
        Kind("harsh_cornering", "driving", None),
        Kind("speeding", "driving", 2),
        Kind("long_driving", "driving"),
        Kind("night_driving", "driving"),
        Kind("tow", "security"),
        Kind("theft", "security"),
        Kind("unplug", "security"),
        Kind("tamper", "security"),
        Kind("jamming", "security"),
        Kind("spoofing", "security"),
        Kind("offline_while_moving", "security"),
        Kind("fuel_theft", "security"),
        Kind("odometer_rollback", "security"),
        Kind("geofence_entry", "place"),
        Kind("geofence_exit", "place"),
        Kind("geofence_dwell", "place"),
        Kind("low_battery", "health"),
        Kind("charging_fault", "health"),
        Kind("overheating", "health"),
        Kind("tyre_leak", "health"),
        Kind("tyre_blowout", "health"),
        Kind("trouble_code", "health"),
        Kind("breakdown", "health"),  # reported by people
        Kind("implausible_position", "device", None),
        Kind("feed_late", "device"),
        Kind("feed_frozen", "device"),
        Kind("feed_jumping", "device"),
        Kind("loose_mounting", "device"),
        Kind("assistance", "assistance"),  # reported by people: anything else a customer asks for
    )
}

# Evidence must support only a lower level for this long before the level goes down: hysteresis, so that a case does not
# jump between levels while readings still come in. Judgement.
LOWER_AFTER_S: Final = 300.0

# What people report, as the kinds above.
REPORT_KINDS: Final = ("accident", "breakdown", "theft", "assistance")

# Alarms that devices raise and that no detector turns into a detection: level and score of each as evidence. A press on
# the SOS button is a person asking for help, so it is urgent until somebody has spoken to them.
ALARMS: Final[dict[str, tuple[str, int, float]]] = {
    "sos": ("sos", 2, 0.7),
    "airbag": ("airbag", 3, 0.9),
}

# An alarm that happened longer ago than this when it arrived joins a case that is there and opens none. A day, because
# a person may be waiting: it is shown with its delay.
STALE_ALARM_S: Final = 24 * 3600.0


def of(name: str) -> Kind:
    """The kind, for an unknown name one of the device family that opens at level 1."""
    return KINDS.get(name) or Kind(name, "device")
