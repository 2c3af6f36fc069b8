"""What a device said that is not a reading, as it travels from the codec to the store and the detectors."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class DeviceEvent:
    """One alarm, burst, diagnostics message or command result. Times in microseconds since the epoch, UTC.

    An event is never quarantined for its clock: a crash from a device whose clock was not set is still a crash. It is
    marked (`clock_valid`) and takes place at its arrival.
    """

    message_index: int
    vehicle_id: str
    stream: str
    device_time_us: int
    seq: int
    occurred_us: int
    clock_valid: bool
    received_us: int
    kind: str | None
    body_json: bytes


@dataclass(frozen=True, slots=True)
class DeviceStatus:
    """What a device said of itself: online or not (last will), firmware, boot count."""

    message_index: int
    vehicle_id: str
    online: bool | None
    firmware: str | None
    boot: int | None
    reported_us: int | None
    received_us: int
    body_json: bytes
