"""The readings of a batch as detectors' gates see them: sorted by vehicle and time, each with the one before it."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fleet_core.readings import Readings
from incidents.fences import NO_FENCES, FenceSet
from incidents.window import Vehicle

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]


class Rows:
    """Readings in key order (vehicle, device time, seq), some of which are only there for their neighbours' sake.

    vehicle_class  class (car, van, heavy) by vehicle id; car where nothing is said
    vehicles       what the operator keeps of vehicles, by id, as far as it is known
    fences         the fences in service
    """

    CLASSES = ("car", "van", "heavy")

    def __init__(
        self,
        readings: Readings,
        vehicle_class: Mapping[str, str],
        vehicles: Mapping[str, Vehicle] = MappingProxyType({}),
        fences: FenceSet = NO_FENCES,
    ) -> None:
        self.readings = readings
        self.vehicles = vehicles
        self.fences = fences
        self._first = np.ones(len(readings), dtype=np.bool_)
        self._first[1:] = readings.vehicle_index[1:] != readings.vehicle_index[:-1]
        codes = [self.CLASSES.index(vehicle_class.get(vehicle, "car")) for vehicle in readings.vehicles]
        self._class = np.array(codes, dtype=np.int8)
        self._memory: dict[str, NDArray[Any]] = {}

    def __len__(self) -> int:
        return len(self.readings)

    def has(self, *names: str) -> bool:
        """Whether any reading of the batch carries one of the columns: the cheapest gate of all."""
        return any(name in self.readings.columns for name in names)

    @property
    def first(self) -> Bools:
        """Rows without a known reading before them."""
        return self._first

    @property
    def vehicle_class(self) -> NDArray[np.int8]:
        """Code of each row's vehicle class, an index into CLASSES."""
        return self._class[self.readings.vehicle_index]

    @property
    def none(self) -> Bools:
        """A mask without any row."""
        return np.zeros(len(self), dtype=np.bool_)

    def number(self, name: str) -> Floats:
        """A numeric column, all NaN when absent."""
        return self.readings.number(name)

    def flag(self, name: str) -> NDArray[np.int8]:
        """A truth column as -1 (absent), 0, 1."""
        return self.readings.flag(name)

    def speed_kmh(self) -> Floats:
        """Speed over ground, else by the vehicle's own sensors."""
        if "speed" not in self._memory:
            ground = self.number("speed_kmh")
            own = self.readings.columns.get("obd_speed_kmh")
            self._memory["speed"] = ground if own is None else np.where(np.isnan(ground), own, ground)
        return self._memory["speed"]

    def shifted(self, values: NDArray[Any]) -> NDArray[Any]:
        """`values` of the reading before; NaN, False or -1 where there is none."""
        absent: Any = np.nan if values.dtype.kind == "f" else False if values.dtype.kind == "b" else -1
        before = np.empty_like(values)
        before[1:] = values[:-1]
        before[self._first] = absent
        return before

    def before(self, name: str) -> Floats:
        """A numeric column in the reading before; NaN where unknown."""
        key = f"before {name}"
        if key not in self._memory:
            self._memory[key] = self.shifted(self.number(name))
        return self._memory[key]

    def carried(self, name: str) -> Floats:
        """The newest known value before each row, however many readings back; NaN where there is none."""
        key = f"carried {name}"
        if key not in self._memory:
            values = self.number(name)
            at = np.where(np.isnan(values), -1, np.arange(len(values)))
            start = np.maximum.accumulate(np.where(self._first, np.arange(len(values)), 0))
            newest = np.maximum.accumulate(at)
            filled = np.where(newest >= start, values[np.maximum(newest, 0)], np.nan)
            self._memory[key] = self.shifted(filled)
        return self._memory[key]

    def step_s(self) -> Floats:
        """Seconds since the reading before; NaN where unknown."""
        if "step" not in self._memory:
            step = np.full(len(self), np.nan)
            times = self.readings.device_time_us
            step[1:] = (times[1:] - times[:-1]) / 1e6
            step[self._first] = np.nan
            self._memory["step"] = step
        return self._memory["step"]
