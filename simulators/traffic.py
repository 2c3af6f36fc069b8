"""Ordinary traffic of a request: fleet, receivers and devices stepped together, with the truth written beside."""

from collections.abc import Iterator
from typing import Any, Final, Protocol

import numpy as np
from numpy.typing import NDArray

from fleet_core.publications import Message
from simulators import lanes
from simulators.device import Devices
from simulators.fleet import Fleet
from simulators.gnss import Receivers
from simulators.scenario import Request, Tell, untold

F64 = NDArray[np.float64]

_TRACK_S: Final = 10


class InMotion(Protocol):
    """Vehicles that are moved second by second: places on the city's plane, one entry of each array a vehicle."""

    time_s: int
    size: int
    x_m: F64
    y_m: F64
    speed_mps: F64
    heading_deg: F64
    accel_mps2: F64
    lateral_mps2: F64
    yaw_dps: F64
    odometer_m: F64

    @property
    def ignition(self) -> NDArray[np.bool_]:
        """Whether the engine is on."""
        ...

    @property
    def limit_kmh(self) -> F64:
        """Speed limit where each vehicle is."""
        ...

    def step(self) -> None:
        """Advance by one second."""
        ...


class Observed:
    """Vehicles in motion as their receivers and devices report them, whoever moves them."""

    def __init__(self, request: Request, tell: Tell, fleet: InMotion) -> None:
        self.request = request
        self.ids = request.vehicle_ids()
        self.fleet = fleet
        self.receivers = Receivers(request.vehicles, request.seed)
        self.devices = Devices(
            self.ids,
            start_ms=request.start_ms,
            seed=request.seed,
            encode=request.encode,
            partitions=request.partitions,
            clock_offset_ms=request.clock_offset_ms,
        )
        self._rng = np.random.default_rng([request.seed, 4])
        self._truth = _Truth(self, tell)

    def start(self) -> list[Message]:
        """Retained status of every vehicle: online."""
        return self.devices.online(True, self.request.start_ms)

    def second(self) -> list[Message]:
        """Advance by one second; the messages that leave in it."""
        fleet, second = self.fleet, self.fleet.time_s
        before_m = fleet.odometer_m.copy()
        fleet.step()
        fix = self.receivers.observe(fleet.x_m, fleet.y_m, fleet.speed_mps, fleet.heading_deg)
        lat, lon = self.request.city.graph.plane.to_latlon(fix.east_m, fix.north_m)
        moving = fleet.speed_mps > 0.3
        # Road and engine shake an accelerometer; at 1 Hz a unit reports the mean over the second.
        shake = self._rng.normal(0.0, 1.0, (3, fleet.size)) * np.where(moving, 0.12, 0.02)
        columns = {
            "lat_deg": lat,
            "lon_deg": lon,
            "speed_kmh": fix.speed_kmh,
            "heading_deg": fix.heading_deg,
            "altitude_m": fix.altitude_m,
            "accuracy_m": fix.accuracy_m,
            "hdop": fix.hdop,
            "satellites": fix.satellites,
            "accel_x_mps2": fleet.accel_mps2 + shake[0],
            "accel_y_mps2": fleet.lateral_mps2 + shake[1],
            "gyro_z_dps": fleet.yaw_dps + 2 * shake[2],
        }
        self._truth.note(second)
        return self.devices.tick(second, columns, fleet.ignition, fix.valid, fleet.odometer_m - before_m)

    def stop(self) -> list[Message]:
        """What is still held, and the retained status of every vehicle: offline."""
        second = self.fleet.time_s
        self._truth.close(second)
        return self.devices.flush(second) + self.devices.online(False, self.request.start_ms + second * 1000)

    def run(self) -> Iterator[Message]:
        """Everything from start to stop."""
        yield from self.start()
        duration_s = self.request.duration_s
        while (duration_s is None or self.fleet.time_s < duration_s) and not self.request.stopped():
            yield from self.second()
        yield from self.stop()


class Traffic(Observed):
    """All vehicles of a request. A scenario may set `fleet.force_mps2` before each `second()`."""

    fleet: Fleet

    def __init__(self, request: Request, tell: Tell) -> None:
        self.lanes = lanes.lay(request.city.graph)
        super().__init__(request, tell, Fleet(self.lanes, request.vehicles, request.seed))


class _Truth:
    """Collects what vehicles really did: `track` records of ten seconds, `trip` records when the engine goes off."""

    def __init__(self, traffic: Observed, tell: Tell) -> None:
        self._traffic, self._tell = traffic, tell
        self._rows: list[tuple[F64, ...]] = []
        self._first_s = 0
        size = traffic.fleet.size
        self._on = np.zeros(size, dtype=bool)
        self._trip: list[dict[str, Any] | None] = [None] * size

    def note(self, second: int) -> None:
        if self._tell is untold:
            return
        fleet = self._traffic.fleet
        lat, lon = self._traffic.request.city.graph.plane.to_latlon(fleet.x_m, fleet.y_m)
        if not self._rows:
            self._first_s = second
        self._rows.append(
            (lat, lon, fleet.speed_mps * 3.6, fleet.heading_deg, fleet.limit_kmh, fleet.accel_mps2, fleet.lateral_mps2)
        )
        self._trips(second, fleet.ignition, lat, lon)
        if len(self._rows) == _TRACK_S:
            self._write_tracks()

    def close(self, second: int) -> None:
        if self._tell is untold:
            return
        fleet = self._traffic.fleet
        lat, lon = self._traffic.request.city.graph.plane.to_latlon(fleet.x_m, fleet.y_m)
        self._write_tracks()
        self._trips(second, np.zeros(fleet.size, dtype=bool), lat, lon)

    def _ms(self, second: int) -> int:
        return self._traffic.request.start_ms + second * 1000

    def _trips(self, second: int, on: NDArray[np.bool_], lat: F64, lon: F64) -> None:
        fleet = self._traffic.fleet
        for vehicle in np.flatnonzero(on != self._on).tolist():
            place = {"lat_deg": round(float(lat[vehicle]), 7), "lon_deg": round(float(lon[vehicle]), 7)}
            if on[vehicle]:
                self._trip[vehicle] = {
                    "start_ms": self._ms(second), "start": place, "from_m": float(fleet.odometer_m[vehicle])
                }  # fmt: skip
                continue
            trip = self._trip[vehicle]
            assert trip is not None
            driven_m = float(fleet.odometer_m[vehicle]) - trip.pop("from_m")
            self._tell(
                {"kind": "trip", "vehicle_id": self._traffic.ids[vehicle], **trip, "end_ms": self._ms(second),
                 "end": place, "distance_m": round(driven_m, 1)}
            )  # fmt: skip
        self._on = on.copy()

    def _write_tracks(self) -> None:
        if not self._rows:
            return
        times = [self._ms(self._first_s + offset) for offset in range(len(self._rows))]
        names = ("lat_deg", "lon_deg", "speed_kmh", "heading_deg", "limit_kmh", "accel_x_mps2", "accel_y_mps2")
        decimals = (7, 7, 2, 1, 0, 3, 3)
        stacked = [
            np.round(np.array([row[i] for row in self._rows]), digits).T.tolist() for i, digits in enumerate(decimals)
        ]
        for vehicle, vehicle_id in enumerate(self._traffic.ids):
            record: dict[str, Any] = {"kind": "track", "vehicle_id": vehicle_id, "t_ms": times}
            record.update({name: column[vehicle] for name, column in zip(names, stacked, strict=True)})
            self._tell(record)
        self._rows = []
