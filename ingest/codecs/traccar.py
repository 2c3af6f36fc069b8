"""Traccar's forwarded positions: `forward.type` mqtt, one JSON object `{"position": {...}, "device": {...}}` a message.

The vehicle is the device's `uniqueId`, whatever topic Traccar was told to use. Speeds are knots, distances metres,
times ISO 8601 with an offset. A forwarded event is passed over: what a device raised is in the position's `alarm`.

For devices set up as Teltonika FMB models Traccar calls every trace of a crash `accident`, so a crash cannot be told
from its recording here: `source_kind` of the alarm says what Traccar said.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

from fleet_core import topics
from ingest.codec import NativeBody
from ingest.codecs._foreign import add_extras, between, canonical, json_of, number, reduced_id, required, truth
from ingest.form import MAX_T_MS
from ingest.message import RefusedError

NAME: Final = "traccar"
FILTERS: Final = ("traccar/positions", "traccar/positions/+")

KMH_PER_KNOT: Final = 1.852

# A position that reached Traccar this much after its own time waited on the device.
BUFFERED_AFTER_S: Final = 60.0

# Fields of a position: column, factor, lowest and highest value that makes sense, in the column's unit.
_COLUMNS: Final[dict[str, tuple[str, float, float, float]]] = {
    "altitude": ("altitude_m", 1.0, -12_000.0, 100_000.0),
    "speed": ("speed_kmh", KMH_PER_KNOT, 0.0, 2_000.0),
    "course": ("heading_deg", 1.0, 0.0, 360.0),
    # 0 is Traccar's way to say that the device did not tell.
    "accuracy": ("accuracy_m", 1.0, 1e-6, 1e9),
}
# Attributes whose unit is the same in every version that can forward over MQTT (5.6 and later). `obdSpeed` is not here,
# because it was knots once and is km/h now; nor is `fuel`, which is litres; nor `totalDistance`, which Traccar adds up
# from positions and is no odometer. They are kept under their own names.
_ATTRIBUTES: Final[dict[str, tuple[str, float, float, float]]] = {
    "odometer": ("odometer_km", 0.001, 0.0, 1e8),
    "sat": ("satellites", 1.0, 0.0, 200.0),
    "hdop": ("hdop", 1.0, 0.0, 1_000.0),
    "power": ("external_v", 1.0, 0.0, 1_000.0),
    "battery": ("battery_v", 1.0, 0.0, 1_000.0),
    "fuelLevel": ("fuel_pct", 1.0, 0.0, 100.0),
    "rpm": ("rpm", 1.0, 0.0, 50_000.0),
    "throttle": ("throttle_pct", 1.0, 0.0, 100.0),
    "coolantTemp": ("coolant_c", 1.0, -100.0, 300.0),
    "hours": ("engine_hours", 1 / 3_600_000, 0.0, 1e6),
    "speedLimit": ("speed_limit_kmh", KMH_PER_KNOT, 0.0, 500.0),
}
_FLAGS: Final = {"ignition": "ignition", "door": "door_open"}
# The original frame in hexadecimal: long, and nothing that can be asked for.
_LEFT_OUT: Final = frozenset({"raw"})

# Traccar's alarms that the contract names differently; others keep their name.
_ALARMS: Final = {
    "accident": "crash",
    "powerCut": "unplug",
    "hardBraking": "harsh_braking",
    "hardAcceleration": "harsh_acceleration",
    "hardCornering": "harsh_cornering",
    "lowBattery": "low_battery",
    "lowPower": "low_power",
}
_MAX_ALARMS: Final = 16
_ALARM_LENGTH: Final = 64

# What Traccar adds on its way and what differs when a device, or Traccar, sends the same position again.
_NOT_IDENTITY: Final = frozenset({"id", "serverTime", "outdated", "address", "network", "geofenceIds", "attributes"})
_NOT_IDENTITY_ATTRIBUTES: Final = frozenset({"distance", "totalDistance", "hours", "motion"})


def claims(topic: str) -> bool:
    """Whether `topic` is below `traccar/`; FLEET_RELAY_TOPICS can add others there than `traccar/positions`."""
    return topic.startswith("traccar/")


def vehicle_id(_topic: str, payload: bytes) -> str:
    """The device's `uniqueId`, reduced to the contract's alphabet."""
    message = _message_of(payload)
    device = message.get("device") if message is not None else None
    unique_id = device.get("uniqueId") if type(device) is dict else None
    if type(unique_id) is not str or not unique_id.strip():
        raise RefusedError("missing_field", "device.uniqueId is missing, so the message names no vehicle")
    return reduced_id(unique_id.strip())


def decode(topic: str, payload: bytes) -> list[NativeBody]:
    """A telemetry body, and an alarm body for each alarm that the position names."""
    # Some versions announce whether Traccar itself is connected on `{topic}/state`.
    if not payload or topic.endswith("/state"):
        return []
    message = _message_of(payload)
    if message is None or "event" in message:
        return []
    position = message.get("position")
    if type(position) is not dict:
        raise RefusedError("missing_field", "position is missing")
    vehicle_id(topic, payload)
    attributes = position.get("attributes")
    if type(attributes) is not dict:
        attributes = {}
    body = _telemetry(position, attributes)
    identity = canonical(
        [
            {name: value for name, value in position.items() if name not in _NOT_IDENTITY},
            {name: value for name, value in attributes.items() if name not in _NOT_IDENTITY_ATTRIBUTES},
        ]
    )
    return [NativeBody(topics.TELEMETRY, body, identity), *_alarms(body, attributes, identity)]


def _message_of(payload: bytes) -> dict[str, Any] | None:
    if not payload:
        return None
    message = json_of(payload)
    if type(message) is not dict:
        raise RefusedError("wrong_type", f"expected Traccar's JSON object, got {type(message).__name__}")
    return message


def _telemetry(position: Mapping[str, Any], attributes: Mapping[str, Any]) -> dict[str, Any]:
    lat, lon = required(position, "latitude", -90.0, 90.0), required(position, "longitude", -180.0, 180.0)
    outdated = position.get("outdated") is True
    t_ms = _time_ms(position, outdated)
    body: dict[str, Any] = {"t_ms": t_ms, "lat_deg": lat, "lon_deg": lon}
    _add(body, position, _COLUMNS)
    valid = truth(position.get("valid"))
    if outdated or valid is False or (lat == 0 and lon == 0):
        body["fix_valid"] = False
    elif valid:
        body["fix_valid"] = True
    received_ms = _iso_ms(position.get("serverTime"))
    waited_s = 0.0 if received_ms is None else (received_ms - t_ms) / 1000
    if waited_s > BUFFERED_AFTER_S or truth(attributes.get("archive")):
        body["buffered"] = True
    _add(body, attributes, _ATTRIBUTES)
    for name, column in _FLAGS.items():
        flag = truth(attributes.get(name))
        if flag is not None:
            body[column] = flag
    # What has no column, and what has one but did not fit it.
    taken = {name for name, (column, *_) in _ATTRIBUTES.items() if column in body}
    taken |= {name for name, column in _FLAGS.items() if column in body}
    rest = {name: value for name, value in attributes.items() if name not in taken and name not in _LEFT_OUT}
    add_extras(body, {"protocol": position.get("protocol"), **rest}, NAME)
    return body


def _add(body: dict[str, Any], fields: Mapping[str, Any], columns: dict[str, tuple[str, float, float, float]]) -> None:
    for name, (column, factor, low, high) in columns.items():
        value = number(fields.get(name))
        # Rounded far below what any of them measures, so that 25 knots are 46.3 km/h and not 46.300000000000004.
        converted = value if value is None or factor == 1.0 else round(value * factor, 6)
        scaled = between(converted, low, high)
        if scaled is not None:
            body[column] = scaled


def _alarms(body: Mapping[str, Any], attributes: Mapping[str, Any], identity: bytes) -> list[NativeBody]:
    text = attributes.get("alarm")
    if type(text) is not str:
        return []
    names = [name.strip()[:_ALARM_LENGTH].replace("\x00", "") for name in text.split(",")]
    found = []
    for name in list(dict.fromkeys(filter(None, names)))[:_MAX_ALARMS]:
        alarm = {**body, "kind": _ALARMS.get(name, name), "source_kind": name}
        found.append(NativeBody(topics.ALARM, alarm, identity + name.encode()))
    return found


def _time_ms(position: Mapping[str, Any], outdated: bool) -> int:
    """Time of the fix; of the report when the fix is an old one that was only repeated."""
    for name in ("deviceTime", "fixTime") if outdated else ("fixTime", "deviceTime"):
        t_ms = _iso_ms(position.get(name))
        if t_ms is not None:
            return t_ms
    raise RefusedError("missing_time", "neither fixTime nor deviceTime is a time in ISO 8601 with an offset")


def _iso_ms(value: Any) -> int | None:
    """Milliseconds since the epoch of an ISO 8601 text with an offset, or of such a number; None when it is neither."""
    if type(value) is int:
        return value if 0 <= value <= MAX_T_MS else None
    if type(value) is not str:
        return None
    try:
        moment = datetime.fromisoformat(value)
    except ValueError:
        return None
    if moment.tzinfo is None:
        return None
    t_ms = round(moment.timestamp() * 1000)
    return t_ms if 0 <= t_ms <= MAX_T_MS else None
