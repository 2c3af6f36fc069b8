"""What a detector looks at: one vehicle's readings and events in a span, and what is known around them.

Pure values. Where they come from, the store or memory, is somebody else's business (incidents/source.py).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from fleet_core.columns import BY_NAME, Kind
from incidents.fences import NO_FENCES, FenceSet

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
Flags = NDArray[np.int8]
Bools = NDArray[np.bool_]

S: Final = 1_000_000  # microseconds in a second: times here are integers, microseconds since the epoch, UTC

FLAG_ABSENT: Final = -1


@dataclass(frozen=True, slots=True)
class Event:
    """An alarm, burst or diagnostics message of the vehicle, its body as stored.

    `occurred_us` is the device's time, or that of arrival when the device's clock was not set (`clock_valid` false).
    """

    stream: str
    occurred_us: int
    received_us: int
    seq: int
    kind: str | None
    body: Mapping[str, Any]
    clock_valid: bool = True


@dataclass(frozen=True, slots=True)
class Tenure:
    """Who holds the vehicle from when to when. `kind`: rental, lease, staff, workshop, tow. `until_us` None: open."""

    kind: str
    from_us: int
    until_us: int | None
    fence_ids: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Mounting:
    """How the device sits in the vehicle: `rotation` @ device axes = vehicle axes (ISO 8855: x forward, y left, z up).

    `quality` 0 to 1 says how well the heading of the device is known; below 0.5 only "up" can be relied upon.
    """

    rotation: Floats
    quality: float
    learned_from_us: int
    learned_until_us: int


@dataclass(frozen=True, slots=True)
class Vehicle:
    """What the operator keeps of the vehicle, as far as detectors ask.

    `keeps_contracts`: whether the operator records contracts for it at all. Without them "no contract" says nothing.
    `baseline`: what is usual for this very vehicle, by name with unit, such as `rest_voltage_v`.
    """

    vehicle_id: str
    vehicle_class: str = "car"
    keeps_contracts: bool = False
    tenures: tuple[Tenure, ...] = ()
    mounting: Mounting | None = None
    baseline: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Hours:
    """Facts of whole hours, for detectors whose window is days or weeks: see incidents/hours.py.

    `hour_us` (n,) begin of each hour, ascending; each column is as long, NaN = nothing known.
    """

    hour_us: Ints
    columns: Mapping[str, Floats]

    def number(self, name: str) -> Floats:
        """A column, all NaN when it is absent."""
        values = self.columns.get(name)
        return np.full(len(self.hour_us), np.nan) if values is None else values


NO_HOURS: Final = Hours(np.empty(0, dtype=np.int64), {})


@dataclass(frozen=True, slots=True)
class Window:
    """Readings (n,) in order of device time (then seq) and events of one vehicle from `from_us` to `until_us`.

    columns         by name as in fleet_core.columns: float64 (NaN = absent) or int8 (-1 = absent)
    known_until_us  silence up to here is silence: nothing older is still expected in order. Later than the last
                    reading when a sweep looks by the clock.
    """

    vehicle: Vehicle
    from_us: int
    until_us: int
    known_until_us: int
    device_time_us: Ints
    seq: Ints
    received_us: Ints
    columns: Mapping[str, NDArray[Any]]
    events: tuple[Event, ...] = ()
    hours: Hours = NO_HOURS
    fences: FenceSet = NO_FENCES

    def __len__(self) -> int:
        return len(self.device_time_us)

    def has(self, name: str) -> bool:
        """Whether any reading carries the column."""
        values = self.columns.get(name)
        if values is None:
            return False
        if BY_NAME[name].kind is Kind.NUMBER:
            return bool(np.isfinite(values).any())
        return bool((values != FLAG_ABSENT).any())

    def number(self, name: str) -> Floats:
        """A numeric column, all NaN when no reading carries it."""
        values = self.columns.get(name)
        return np.full(len(self), np.nan) if values is None else values

    def flag(self, name: str) -> Flags:
        """A truth column as -1 (absent), 0, 1."""
        values = self.columns.get(name)
        return np.full(len(self), FLAG_ABSENT, dtype=np.int8) if values is None else values

    def seconds(self, origin_us: int | None = None) -> Floats:
        """Device times in seconds from `origin_us` (the first reading when None)."""
        if not len(self):
            return np.empty(0)
        origin = int(self.device_time_us[0]) if origin_us is None else origin_us
        return (self.device_time_us - origin) / float(S)

    def speed_kmh(self) -> Floats:
        """Speed over ground where there is one, else by the vehicle's own sensors."""
        ground = self.number("speed_kmh")
        return np.where(np.isnan(ground), self.number("obd_speed_kmh"), ground)

    def fix_mask(self) -> Bools:
        """Readings with a usable position: coordinates present, not 0,0, not marked invalid."""
        lat, lon = self.number("lat_deg"), self.number("lon_deg")
        mask: Bools = ~np.isnan(lat) & ~np.isnan(lon) & ((lat != 0.0) | (lon != 0.0)) & (self.flag("fix_valid") != 0)
        return mask

    def take(self, rows: NDArray[Any]) -> "Window":
        """The same window with some of its readings: a mask or ascending indices."""
        return replace(
            self,
            device_time_us=self.device_time_us[rows],
            seq=self.seq[rows],
            received_us=self.received_us[rows],
            columns={name: values[rows] for name, values in self.columns.items()},
        )

    def between(self, from_us: int, until_us: int) -> "Window":
        """The part of the window from `from_us` to `until_us`, both included."""
        low, high = np.searchsorted(self.device_time_us, [from_us, until_us + 1])
        part = self.take(np.arange(low, high))
        return replace(
            part,
            from_us=max(from_us, self.from_us),
            until_us=min(until_us, self.until_us),
            events=tuple(event for event in self.events if from_us <= event.occurred_us <= until_us),
        )

    def of(self, *streams: str) -> Sequence[Event]:
        """The events of some streams."""
        return [event for event in self.events if event.stream in streams]
