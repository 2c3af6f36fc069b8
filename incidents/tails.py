"""The newest reading of each vehicle that this process has judged, so that the next batch knows what came before it.

Only a cache of the store: it may be dropped at any time, and a vehicle without a tail is read from the store.
"""

from collections.abc import Collection, Sequence

import numpy as np
from numpy.typing import NDArray

from fleet_core.columns import BY_NAME, Kind
from fleet_core.readings import FLAG_ABSENT, Readings, absent


class Tails:
    """One row a vehicle: the newest reading's time, number and arrival, and the newest known value of each column."""

    def __init__(self, columns: Collection[str]) -> None:
        self._columns = [name for name in columns if BY_NAME[name].kind is not Kind.TEXT]
        self._slot: dict[str, int] = {}
        self._time_us = np.empty(0, dtype=np.int64)
        self._seq = np.empty(0, dtype=np.int64)
        self._received_us = np.empty(0, dtype=np.int64)
        self._values = {name: absent(name, 0) for name in self._columns}

    def clear(self) -> None:
        """Forget everything."""
        self.__init__(self._columns)  # type: ignore[misc]

    def slots(self, vehicles: Sequence[str]) -> NDArray[np.int64]:
        """Slot of each vehicle, -1 where there is none."""
        get = self._slot.get
        return np.fromiter((get(vehicle, -1) for vehicle in vehicles), dtype=np.int64, count=len(vehicles))

    def time_us(self, slots: NDArray[np.int64]) -> NDArray[np.int64]:
        """Newest time in each slot."""
        return self._time_us[slots]

    def seq(self, slots: NDArray[np.int64]) -> NDArray[np.int64]:
        """Number of the newest reading in each slot."""
        return self._seq[slots]

    def received_us(self, slots: NDArray[np.int64]) -> NDArray[np.int64]:
        """Arrival of the newest reading in each slot."""
        return self._received_us[slots]

    def column(self, name: str, slots: NDArray[np.int64]) -> NDArray[np.float64] | NDArray[np.int8]:
        """Newest known value of a column in each slot."""
        return self._values[name][slots] if name in self._values else absent(name, len(slots))

    def note(self, readings: Readings) -> None:
        """Remember the newest of each vehicle. `readings` are in key order."""
        if not len(readings):
            return
        index = readings.vehicle_index
        last = np.flatnonzero(np.append(index[1:] != index[:-1], True))
        first = np.append(0, last[:-1] + 1)
        vehicles = [readings.vehicles[at] for at in index[last].tolist()]
        slots = self._slots_for(vehicles)
        # A straggler does not make a vehicle's newest reading older.
        newer = readings.device_time_us[last] >= self._time_us[slots]
        slots, last, first = slots[newer], last[newer], first[newer]
        self._time_us[slots] = readings.device_time_us[last]
        self._seq[slots] = readings.seq[last]
        self._received_us[slots] = readings.received_us[last]
        for name, kept in self._values.items():
            values = readings.columns.get(name)
            if values is None:
                continue
            missing = np.isnan(values) if values.dtype.kind == "f" else values == FLAG_ABSENT
            at = np.where(missing, -1, np.arange(len(values)))
            newest = np.maximum.accumulate(at)[last]
            known = newest >= first
            kept[slots[known]] = values[newest[known]]

    def _slots_for(self, vehicles: Sequence[str]) -> NDArray[np.int64]:
        unknown = [vehicle for vehicle in vehicles if vehicle not in self._slot]
        for vehicle in unknown:
            self._slot[vehicle] = len(self._slot)
        room = len(self._slot) - len(self._time_us)
        if room > 0:
            grow = max(room, 256, len(self._time_us) // 2)
            self._time_us = np.append(self._time_us, np.full(grow, np.iinfo(np.int64).min))
            self._seq = np.append(self._seq, np.zeros(grow, dtype=np.int64))
            self._received_us = np.append(self._received_us, np.zeros(grow, dtype=np.int64))
            self._values = {
                name: np.append(values, absent(name, grow)).astype(values.dtype)
                for name, values in self._values.items()
            }
        return self.slots(vehicles)
