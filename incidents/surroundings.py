"""What detectors are told beside the readings, read from the store: vehicles and their mountings, fences.

It changes seldom and is asked for often, so it is kept for a while; `forget` drops it.
"""

from collections.abc import Collection
from typing import Any, Final

import numpy as np
import shapely

from fleet_core import sql
from fleet_core.db import Connection
from incidents.fences import NO_FENCES, Fence, FenceSet
from incidents.window import Mounting, Vehicle

_SQL: Final = sql.load("incidents", "stored.sql")


class Surroundings:
    """A cache of the store for one worker."""

    def __init__(self) -> None:
        self._vehicles: dict[str, Vehicle] = {}
        self._fences: FenceSet = NO_FENCES
        self._fences_seen: tuple[Any, ...] | None = None

    @property
    def fences(self) -> FenceSet:
        """Fences as `look` last found them."""
        return self._fences

    def forget(self) -> None:
        """Read everything anew when it is next asked for."""
        self._vehicles.clear()
        self._fences_seen = None

    def look(self, connection: Connection) -> None:
        """See whether fences were changed and what people edited of vehicles: call about once a second."""
        seen = connection.execute(_SQL["fences_changed"]).fetchone()
        if seen != self._fences_seen:
            self._fences = read_fences(connection)
            self._fences_seen = seen
        self._vehicles.clear()

    def vehicle(self, vehicle_id: str) -> Vehicle:
        """A vehicle that was met before."""
        return self._vehicles.get(vehicle_id) or Vehicle(vehicle_id)

    def meet(self, connection: Connection, vehicle_ids: Collection[str]) -> None:
        """Read vehicles that are not known yet."""
        unmet = [vehicle_id for vehicle_id in vehicle_ids if vehicle_id not in self._vehicles]
        if not unmet:
            return
        rows = connection.execute(_SQL["vehicles_of"], {"vehicle_ids": unmet})
        for vehicle_id, vehicle_class, rotation, quality, learned_from_us, learned_until_us in rows:
            mounting = None
            if rotation is not None:
                mounting = Mounting(np.array(rotation).reshape(3, 3), quality, learned_from_us, learned_until_us)
            self._vehicles[vehicle_id] = Vehicle(vehicle_id, vehicle_class, mounting=mounting)


def read_fences(connection: Connection) -> FenceSet:
    """All fences in service."""
    return FenceSet(
        [
            Fence(
                fence_id, name, shapely.from_geojson(area), frozenset(rules), level, dwell_s, speed_limit_kmh,
                None if vehicle_ids is None else frozenset(vehicle_ids),
            )
            for fence_id, name, area, rules, level, dwell_s, speed_limit_kmh, vehicle_ids in connection.execute(
                _SQL["fences"]
            )
        ]
    )  # fmt: skip
