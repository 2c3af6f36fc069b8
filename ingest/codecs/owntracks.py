"""OwnTracks: phones, and Queclink trackers behind its gateway. JSON by the OwnTracks booklet.

The vehicle is `{user}-{device}` of the topic `owntracks/{user}/{device}`; `tid`, which people choose freely, names
none. Stored are positions, transitions (a position and an event) and the last will (offline). What else OwnTracks sends
about the app, its user or its places carries nothing of a vehicle and is passed over, except what is encrypted: that
would be a position if we had the key, so it is refused with a reason.
"""

from collections.abc import Mapping
from typing import Any, Final

from fleet_core import topics
from ingest.codec import NativeBody
from ingest.codecs._foreign import add_extras, between, canonical, json_of, number, reduced_id, required, truth
from ingest.form import MAX_T_MS
from ingest.message import RefusedError

NAME: Final = "owntracks"
FILTERS: Final = ("owntracks/+/+", "owntracks/+/+/event")

# Levels behind the device that OwnTracks uses; the relay does not ask for those without `event`.
_SUBTOPICS: Final = frozenset(
    {"event", "waypoint", "waypoints", "info", "status", "dump", "step", "beacon", "cmd", "request"}
)
# Types that say nothing of where a vehicle is or how it is.
_PASSED_OVER: Final = frozenset(
    {"card", "cmd", "waypoint", "waypoints", "steps", "status", "request", "configuration", "beacon", "dump"}
)

# A position that was queued or sent this much after its fix waited on the device.
BUFFERED_AFTER_S: Final = 60.0

# Fields of a location that become columns of the contract: name there, lowest and highest value that makes sense.
_COLUMNS: Final[dict[str, tuple[str, float, float]]] = {
    "alt": ("altitude_m", -12_000.0, 100_000.0),
    "acc": ("accuracy_m", 0.0, 1e9),
    "vel": ("speed_kmh", 0.0, 2_000.0),
    "cog": ("heading_deg", 0.0, 360.0),
    "odometer": ("odometer_km", 0.0, 1e8),
    "uext": ("external_v", 0.0, 1_000.0),
    "ubatt": ("battery_v", 0.0, 1_000.0),
}
# Fields whose unit is known but that the contract has no column for.
_EXTRAS: Final[dict[str, tuple[str, float, float]]] = {
    "vac": ("vertical_accuracy_m", 0.0, 1e9),
    "batt": ("phone_battery_pct", 0.0, 100.0),
    "p": ("air_pressure_kpa", 0.0, 200.0),
}
_NAMES: Final = {"t": "trigger", "tid": "tracker_id", "bs": "phone_battery_state", "conn": "connectivity"}
_ENVELOPE: Final = frozenset({"_type", "_id", "_http", "topic", "lat", "lon", "tst", "ign"})

# Queclink's triggers that mean an alarm. The phone apps use other letters.
_ALARMS: Final = {"!": "tow", "e": "unplug", "h": "harsh_driving", "s": "overspeed", "9": "low_battery"}

_TRANSITIONS: Final = {"enter": "region_enter", "leave": "region_leave"}


def claims(topic: str) -> bool:
    """Whether `topic` is `owntracks/{user}/{device}` or one of the levels that OwnTracks puts behind it."""
    levels = topic.split("/")
    return levels[0] == "owntracks" and (len(levels) == 3 or (len(levels) == 4 and levels[3] in _SUBTOPICS))


def vehicle_id(topic: str, _payload: bytes) -> str:
    """`{user}-{device}`, reduced to the contract's alphabet."""
    levels = topic.split("/")
    if not claims(topic) or not levels[1] or not levels[2]:
        raise RefusedError("wrong_topic", f"topic {topic!r} is not owntracks/{{user}}/{{device}}")
    # With a dash in the user it cannot be seen where the user ends.
    return reduced_id(f"{levels[1]}-{levels[2]}", ambiguous="-" in levels[1])


def decode(topic: str, payload: bytes) -> list[NativeBody]:
    """Native bodies of one message, or of each message of an array."""
    vehicle_id(topic, payload)
    if not payload:
        return []  # only clears the broker's retained copy
    value = json_of(payload)
    bodies: list[NativeBody] = []
    for message in value if type(value) is list else [value]:
        if type(message) is not dict:
            raise RefusedError("wrong_type", f"expected an OwnTracks object, got {type(message).__name__}")
        bodies += _bodies(message)
    return bodies


def _bodies(message: dict[str, Any]) -> list[NativeBody]:
    kind = message.get("_type")
    if kind == "location":
        return _location(message)
    if kind == "transition":
        return _transition(message)
    if kind == "lwt":
        return [NativeBody(topics.STATUS, _last_will(message))]
    if kind == "encrypted":
        raise RefusedError("encrypted", "the message is encrypted on the device and cannot be read without its key")
    if type(kind) is str and kind in _PASSED_OVER:
        return []
    raise RefusedError("unknown_type", f"_type: {str(kind)[:40]!r} is not an OwnTracks type")


def _location(message: dict[str, Any]) -> list[NativeBody]:
    position = _position(message)
    identity = canonical(message)
    bodies = [NativeBody(topics.TELEMETRY, position, identity)]
    trigger = message.get("t")
    kind = _ALARMS.get(trigger) if type(trigger) is str else None
    if truth(message.get("tow")):
        kind = "tow"
    if kind is not None:
        bodies.append(NativeBody(topics.ALARM, {**position, "kind": kind}, identity))
    return bodies


def _position(message: Mapping[str, Any]) -> dict[str, Any]:
    lat, lon = required(message, "lat", -90.0, 90.0), required(message, "lon", -180.0, 180.0)
    tst = required(message, "tst", 0, MAX_T_MS / 1000)
    body: dict[str, Any] = {"t_ms": round(tst * 1000), "lat_deg": lat, "lon_deg": lon}
    for name, (column, low, high) in _COLUMNS.items():
        # The apps write -1 for what they do not know, so it falls out by the bounds.
        value = between(message.get(name), low, high)
        if value is not None:
            body[column] = value
    accuracy = number(message.get("acc"))
    if (lat == 0 and lon == 0) or (accuracy is not None and accuracy < 0):
        # Core Location marks a position that is not one by a negative accuracy.
        body["fix_valid"] = False
    ignition = truth(message.get("ign"))
    if ignition is not None:
        body["ignition"] = ignition
    if _waited_s(message, tst) > BUFFERED_AFTER_S:
        body["buffered"] = True
    _add_what_else(body, message)
    return body


def _waited_s(message: Mapping[str, Any], tst: float) -> float:
    """Seconds from the fix to the moment it was queued (phones) or sent (Queclink)."""
    later = [number(message.get(name)) for name in ("created_at", "sent")]
    return max((moment - tst for moment in later if moment is not None), default=0.0)


def _add_what_else(body: dict[str, Any], message: Mapping[str, Any]) -> None:
    rest: dict[str, Any] = {}
    for name, value in message.items():
        if name in _EXTRAS:
            column, low, high = _EXTRAS[name]
            rest[column] = between(value, low, high)
        elif name == "inregions" and type(value) is list:
            rest["regions"] = ", ".join(region for region in value if type(region) is str)
        elif name not in _COLUMNS and name not in _ENVELOPE:
            rest[_NAMES.get(name, name)] = value
    add_extras(body, rest, NAME)


def _transition(message: dict[str, Any]) -> list[NativeBody]:
    entered = message.get("event")
    kind = _TRANSITIONS.get(entered) if type(entered) is str else None
    if kind is None:
        raise RefusedError("wrong_type", f"event: expected enter or leave, got {str(entered)[:40]!r}")
    identity = canonical(message)
    body: dict[str, Any]
    bodies = []
    if "lat" in message or "lon" in message:
        body = _position({key: value for key, value in message.items() if key not in ("desc", "event", "wtst")})
        bodies.append(NativeBody(topics.TELEMETRY, body, identity))
    else:
        body = {"t_ms": round(required(message, "tst", 0, MAX_T_MS / 1000) * 1000)}
    event = {**body, "kind": kind}
    if type(message.get("desc")) is str:
        event["region"] = message["desc"][:256].replace("\x00", "")
    bodies.append(NativeBody(topics.ALARM, event, identity))
    return bodies


def _last_will(message: Mapping[str, Any]) -> dict[str, Any]:
    body: dict[str, Any] = {"online": False}
    # `tst` is when the connection that died was made, so it does not say when the device went away.
    connected = between(message.get("tst"), 0, MAX_T_MS / 1000)
    if connected is not None:
        body["connected_ms"] = round(connected * 1000)
    return body
