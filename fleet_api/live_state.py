"""What the live channel knows of all vehicles, as NumPy arrays, and the frames that follow from it. Pure."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from fleet_api import live_frames
from fleet_api.live_frames import Box

Bools = NDArray[np.bool_]
# The depots whose vehicles a client is shown; None: every vehicle.
Depots = frozenset[str] | None

_FIRST_CAPACITY: Final = 1024
# Frames kept to be shared by clients with the same need at the same revision; more distinct needs are encoded anew.
_SHARED_FRAMES: Final = 64
# A frame states the server's time and the age of each fix, so in a quiet fleet it is not shared for long.
_SHARED_FOR_MS: Final = 1000


@dataclass(frozen=True, slots=True)
class PositionColumns:
    """Rows of latest_positions as columns of one length. Ignition is -1 (unknown), 0, 1."""

    vehicle_ids: list[str]
    lat_deg: NDArray[np.float64]
    lon_deg: NDArray[np.float64]
    device_time_ms: NDArray[np.int64]
    speed_kmh: NDArray[np.float64]
    heading_deg: NDArray[np.float64]
    ignition: NDArray[np.int8]

    def take(self, mask: Bools) -> "PositionColumns":
        """The rows where `mask` is true."""
        chosen = np.flatnonzero(mask).tolist()
        return PositionColumns(
            [self.vehicle_ids[row] for row in chosen],
            *(getattr(self, name)[mask] for name in self.__slots__[1:]),
        )


@dataclass(frozen=True, slots=True)
class Sent:
    """Where a client stands: what box it is served, at which revision, and which vehicles it holds in that box."""

    box: Box
    generation: int
    revision: int
    inside: Bools


@dataclass(frozen=True, slots=True)
class Update:
    """A frame for clients in one situation, the situation they are in after it, and the vehicles it speaks of."""

    frame: bytes
    rows: NDArray[np.intp]
    after: Sent
    made_at_ms: int


class FleetState:
    """Newest position of every vehicle.

    Every change gets the next revision. `generation` goes up when deltas can no longer be trusted: after that every
    client gets a snapshot. The source (the table) only moves forward and is read in order, so what comes later wins.
    """

    def __init__(self, revision: int = 1, generation: int = 1) -> None:
        self.revision = revision
        self.generation = generation
        self.count = 0
        self.names: list[bytes] = []
        self._index: dict[str, int] = {}
        self._lon_e7 = np.zeros(_FIRST_CAPACITY, dtype=np.int32)
        self._lat_e7 = np.zeros(_FIRST_CAPACITY, dtype=np.int32)
        self._time_ms = np.zeros(_FIRST_CAPACITY, dtype=np.int64)
        self._heading = np.zeros(_FIRST_CAPACITY, dtype=np.uint16)
        self._speed = np.zeros(_FIRST_CAPACITY, dtype=np.uint16)
        self._ignition = np.zeros(_FIRST_CAPACITY, dtype=np.int8)
        self._changed_at = np.zeros(_FIRST_CAPACITY, dtype=np.uint64)
        self._shared: dict[tuple[Box, int, Depots], Update] = {}
        # Depot of a row as a number; -1 is in none. Only of use to clients who are shown some depots.
        self._depot = np.full(_FIRST_CAPACITY, -1, dtype=np.int32)
        self._depot_of: Mapping[str, str] = {}
        self._depot_numbers: dict[str, int] = {}

    def set_depots(self, depot_of: Mapping[str, str]) -> None:
        """Take over in which depot each vehicle is. When that changed, every client starts again from a snapshot."""
        if depot_of == self._depot_of:
            return
        self._depot_of = depot_of
        for vehicle_id, row in self._index.items():
            self._depot[row] = self._depot_number(vehicle_id)
        self.distrust()

    def is_shown(self, vehicle_id: str, depots: Depots) -> bool:
        """Whether a client with these depots hears of a vehicle."""
        return depots is None or self._depot_of.get(vehicle_id) in depots

    def knows_only(self, vehicle_ids: Collection[str]) -> bool:
        """Whether every vehicle here is among `vehicle_ids`."""
        return self._index.keys() <= set(vehicle_ids)

    def apply(self, rows: PositionColumns) -> int:
        """Take in rows; returns how many vehicles changed. Rows without a place on Earth are left out."""
        with np.errstate(invalid="ignore"):
            placed = (np.abs(rows.lat_deg) <= 90.0) & (np.abs(rows.lon_deg) <= 180.0)
        if not placed.all():
            rows = rows.take(placed)
        if not rows.vehicle_ids:
            return 0
        at = self._register(rows.vehicle_ids)
        news: tuple[tuple[NDArray[Any], NDArray[Any]], ...] = (
            (self._lon_e7, np.rint(rows.lon_deg * 1e7).astype(np.int32)),
            (self._lat_e7, np.rint(rows.lat_deg * 1e7).astype(np.int32)),
            (self._time_ms, rows.device_time_ms),
            (self._heading, live_frames.heading_cdeg(rows.heading_deg)),
            (self._speed, live_frames.speed_ckmh(rows.speed_kmh)),
            (self._ignition, rows.ignition),
        )
        changed = self._changed_at[at] == 0
        for column, values in news:
            changed |= column[at] != values
        if not changed.any():
            return 0
        self.revision += 1
        for column, values in news:
            column[at] = values
        self._changed_at[at[changed]] = self.revision
        self._shared.clear()
        return int(changed.sum())

    def distrust(self) -> None:
        """Make every client start again from a snapshot."""
        self.generation += 1
        self.revision += 1
        self._shared.clear()

    def update_for(self, box: Box, sent: Sent | None, now_ms: int, depots: Depots = None) -> Update:
        """The next frame for a client: a delta to what it has, or a snapshot when there is any doubt.

        A delta holds the vehicles that changed and are in the box or were in it when the client last heard, so that one
        that leaves is seen to leave. Both hold only vehicles of `depots`.
        """
        delta = sent is not None and sent.box == box and sent.generation == self.generation
        base = sent.revision if delta and sent is not None else 0
        # What a client holds follows from these alone, so all clients at one base share one frame.
        need = (box, base, depots)
        shared = self._shared.get(need)
        if shared is not None and now_ms - shared.made_at_ms < _SHARED_FOR_MS:
            return shared
        every = slice(self.count)
        inside = box.holds(self._lon_e7[every], self._lat_e7[every])
        if depots is not None:
            numbers = [self._depot_numbers[depot] for depot in depots if depot in self._depot_numbers]
            inside &= np.isin(self._depot[every], numbers)
        if delta and sent is not None:
            before = np.zeros(self.count, dtype=np.bool_)
            before[: len(sent.inside)] = sent.inside
            chosen = (self._changed_at[every] > base) & (inside | before)
        else:
            chosen = inside
        rows = np.flatnonzero(chosen)
        frame = live_frames.encode_positions(
            live_frames.DELTA if delta else live_frames.SNAPSHOT,
            self.revision,
            base,
            now_ms,
            index=rows.astype(np.uint32),
            lon_e7=self._lon_e7[rows],
            lat_e7=self._lat_e7[rows],
            device_time_ms=self._time_ms[rows],
            heading_cdeg=self._heading[rows],
            speed_ckmh=self._speed[rows],
            ignition=self._ignition[rows],
        )
        update = Update(frame, rows, Sent(box, self.generation, self.revision, inside), now_ms)
        if len(self._shared) < _SHARED_FRAMES or need in self._shared:
            self._shared[need] = update
        return update

    def _register(self, vehicle_ids: list[str]) -> NDArray[np.intp]:
        index, first = self._index, self.count
        for vehicle_id in vehicle_ids:
            if vehicle_id not in index:
                index[vehicle_id] = len(self.names)
                self.names.append(vehicle_id.encode("ascii"))
        self.count = len(self.names)
        if self.count > len(self._lon_e7):
            self._grow(max(self.count, 2 * len(self._lon_e7)))
        for row in range(first, self.count):
            self._depot[row] = self._depot_number(self.names[row].decode())
        return np.fromiter((index[vehicle_id] for vehicle_id in vehicle_ids), dtype=np.intp, count=len(vehicle_ids))

    def _depot_number(self, vehicle_id: str) -> int:
        depot = self._depot_of.get(vehicle_id)
        return -1 if depot is None else self._depot_numbers.setdefault(depot, len(self._depot_numbers))

    def _grow(self, capacity: int) -> None:
        for name in ("_lon_e7", "_lat_e7", "_time_ms", "_heading", "_speed", "_ignition", "_changed_at", "_depot"):
            column = getattr(self, name)
            grown = np.zeros(capacity, dtype=column.dtype)
            grown[: len(column)] = column
            setattr(self, name, grown)
