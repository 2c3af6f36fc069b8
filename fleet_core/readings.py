"""Readings of a batch as columns: one NumPy array a column, one row a sample."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fleet_core import columns

Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]
Column = NDArray[Any]

# How an absent value is held: NaN in numbers, -1 in flags, None in texts.
FLAG_ABSENT = -1


@dataclass(slots=True)
class Readings:
    """`n` samples, sorted by nothing until `in_key_order`.

    vehicles          ids of the batch's vehicles, indexed by `vehicle_index`
    vehicle_index     (n,) index into `vehicles`
    message_index     (n,) index of the message that carried the sample, within the batch
    device_time_us    (n,) device's event time, microseconds since the epoch, UTC
    seq               (n,) boot << 32 | seq, or a hash, as signed 64 bits
    received_us       (n,) time of arrival, microseconds since the epoch, UTC
    columns           present columns by name: float64 (NaN = absent), int8 (-1 = absent) or object (None = absent)
    extra             JSON text of unknown columns by row, only where there are any
    """

    vehicles: list[str]
    vehicle_index: Ints
    message_index: Ints
    device_time_us: Ints
    seq: Ints
    received_us: Ints
    columns: dict[str, Column] = field(default_factory=dict)
    extra: dict[int, bytes] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.seq)

    @classmethod
    def empty(cls) -> "Readings":
        """No samples."""
        none = np.empty(0, dtype=np.int64)
        return cls([], none, none, none, none, none)

    def take(self, rows: NDArray[np.intp]) -> "Readings":
        """The given rows, in the given order."""
        extra = {}
        if self.extra:
            extra = {new: self.extra[old] for new, old in enumerate(rows.tolist()) if old in self.extra}
        return Readings(
            self.vehicles,
            self.vehicle_index[rows],
            self.message_index[rows],
            self.device_time_us[rows],
            self.seq[rows],
            self.received_us[rows],
            {name: values[rows] for name, values in self.columns.items()},
            extra,
        )

    def number(self, name: str) -> NDArray[np.float64]:
        """A numeric column, all NaN when no message carried it."""
        values = self.columns.get(name)
        return np.full(len(self), np.nan) if values is None else values

    def flag(self, name: str) -> NDArray[np.int8]:
        """A truth column as -1 (absent), 0, 1."""
        values = self.columns.get(name)
        return np.full(len(self), FLAG_ABSENT, dtype=np.int8) if values is None else values

    def fix_mask(self) -> Bools:
        """Rows with a usable position: coordinates present, not 0,0, not marked invalid."""
        lat, lon = self.number("lat_deg"), self.number("lon_deg")
        usable = ~np.isnan(lat) & ~np.isnan(lon) & ((lat != 0.0) | (lon != 0.0))
        mask: Bools = usable & (self.flag("fix_valid") != 0)
        return mask

    def in_key_order(self) -> tuple["Readings", int]:
        """Rows by (vehicle, device time, seq), each key once: its first arrival. Also returns how many were dropped.

        COPY cannot skip duplicates, and a sorted key keeps the index local.
        """
        # Stable: among equal keys the first to arrive stays first.
        order = np.lexsort((self.seq, self.device_time_us, self.vehicle_index))
        vehicle, time, seq = self.vehicle_index[order], self.device_time_us[order], self.seq[order]
        first = np.ones(len(order), dtype=np.bool_)
        first[1:] = (vehicle[1:] != vehicle[:-1]) | (time[1:] != time[:-1]) | (seq[1:] != seq[:-1])
        return self.take(order[first]), int(len(order) - first.sum())


def absent(name: str, rows: int) -> Column:
    """A column without a value in any of `rows` rows."""
    kind = columns.BY_NAME[name].kind
    if kind is columns.Kind.NUMBER:
        return np.full(rows, np.nan)
    if kind is columns.Kind.FLAG:
        return np.full(rows, FLAG_ABSENT, dtype=np.int8)
    return np.full(rows, None, dtype=object)


def concatenate(parts: Sequence[Readings]) -> Readings:
    """Join parts that share nothing; vehicles are numbered anew."""
    parts = [part for part in parts if len(part)]
    if not parts:
        return Readings.empty()
    if len(parts) == 1:
        return parts[0]
    number: dict[str, int] = {}
    vehicle_index = []
    for part in parts:
        renumbered = np.array([number.setdefault(vehicle, len(number)) for vehicle in part.vehicles], dtype=np.int64)
        vehicle_index.append(renumbered[part.vehicle_index])
    names = dict.fromkeys(name for part in parts for name in part.columns)
    extra: dict[int, bytes] = {}
    start = 0
    for part in parts:
        extra.update({start + row: text for row, text in part.extra.items()})
        start += len(part)
    return Readings(
        list(number),
        np.concatenate(vehicle_index),
        np.concatenate([part.message_index for part in parts]),
        np.concatenate([part.device_time_us for part in parts]),
        np.concatenate([part.seq for part in parts]),
        np.concatenate([part.received_us for part in parts]),
        {
            name: np.concatenate(
                [part.columns[name] if name in part.columns else absent(name, len(part)) for part in parts]
            )
            for name in names
        },
        extra,
    )
