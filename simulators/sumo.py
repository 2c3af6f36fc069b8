"""A fleet moved by SUMO (Eclipse SUMO through libsumo, an optional extra) on the network of a city pack.

Who drives where, behind whom and at which signal is SUMO's; what a vehicle does when it is parked, and how its unit
reports, is ours. libsumo holds one simulation a process and stays imported only while one runs.
"""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from fleet_core.cli import Refusal
from simulators.citypack import CityPack
from simulators.lanes import LATERAL_MPS2

F64 = NDArray[np.float64]
Bools = NDArray[np.bool_]

# As shipped, SUMO's drivers brake harder than 3.5 m/s2 about 270 times in 100 km (Krauss, sigma 0.5, decel 4.5): every
# one of them would be a harsh manoeuvre. These values, none of it as shipped, gave none in 6,500 km on central Shanghai
# (three seeds, 400 vehicles, 900 s); the hardest was 3.0 m/s2, no vehicle overran another.
#   sigma 0           no dawdling: its random braking is SUMO's model of inattention, at full deceleration
#   decel 2.2         what a driver plans with; emergencyDecel 3.0 is a bound that nothing exceeds
#   tau 1.5           headway longer than a step of the simulation, without which the bound could not be kept
#   speedFactor       0.92 of the limit, 0.06 scatter: nobody speeds by much, and not all alike
ACCELERATE_MPS2: Final = 1.4
BRAKE_MPS2: Final = 2.2
HARDEST_MPS2: Final = 3.0
HEADWAY_S: Final = 1.5
OF_LIMIT: Final = (0.92, 0.06)
# netconvert lets vehicles take turns at up to 5.5 m/s2 sideways; lanes are slowed to what calm drivers like.
CURVE_M: Final = 6.0
SLOWEST_MPS: Final = 1.5
_TYPE: Final = "calm"
_OPTIONS: Final = (
    "--step-length", "1", "--no-step-log", "true", "--no-warnings", "true", "--duration-log.disable", "true",
    # Gaps below the standing distance are no collisions, and changing lanes takes the time it takes.
    "--collision.mingap-factor", "0", "--lanechange.duration", "3", "--time-to-teleport", "300",
)  # fmt: skip
SHORTEST_TRIP_M: Final = 1_200.0
SHORTEST_EDGE_M: Final = 25.0  # room to stop and to set out
PARKED_S: Final = (60.0, 600.0)
LEAVING_S: Final = 6.0  # from the key to the first metre, and from the last to the key


@contextmanager
def running(city: CityPack, seed: int) -> Iterator[Any]:
    """libsumo with the city's network loaded; ended whatever happens. Raises Refusal."""
    network = network_of(city)
    try:
        import libsumo  # noqa: PLC0415  # optional and 80 MB: only who asks for it needs it
    except ImportError:
        raise Refusal("sumo_traffic needs libsumo: install the extra, pip install 'fleetward[sumo]'") from None
    libsumo.start(["sumo", "--net-file", str(network), "--seed", str(seed % 2**31), *_OPTIONS])
    try:
        yield libsumo
    finally:
        libsumo.close()


def network_of(city: CityPack) -> Path:
    """The SUMO network of a city pack. Raises Refusal."""
    found = [] if city.folder is None else sorted(city.folder.glob("*.sumo.net.xml*"))
    if len(found) != 1:
        where = "the demo town has none" if city.folder is None else f"{city.folder} has {len(found)}"
        raise Refusal(f"sumo_traffic needs a city pack with one *.sumo.net.xml.gz, named by --city: {where}")
    return found[0]


class SumoFleet:
    """See simulators.traffic.InMotion. Each vehicle drives to a random edge, parks there, and drives on."""

    def __init__(self, sumo: Any, city: CityPack, size: int, seed: int) -> None:
        self._sumo, self._plane = sumo, city.graph.plane
        self._rng = np.random.default_rng([seed, 51])
        self.size, self.time_s = size, 0
        self.speed_mps: F64 = np.zeros(size)
        self.heading_deg: F64 = np.zeros(size)
        self.accel_mps2: F64 = np.zeros(size)
        self.lateral_mps2: F64 = np.zeros(size)
        self.yaw_dps: F64 = np.zeros(size)
        self.odometer_m: F64 = np.zeros(size)
        self._limit_mps: F64 = np.full(size, 30.0 / 3.6)
        # Seconds until a parked vehicle leaves; it counts on below 0 while SUMO has not let it in yet.
        self._rests_s: F64 = self._rng.uniform(-LEAVING_S, 0.3 * PARKED_S[1], size)
        self._stopped_s: F64 = np.full(size, math.inf)
        self._names = [f"v{number}" for number in range(size)]
        self._trips = 0
        self._signed_mps = {lane: float(sumo.lane.getMaxSpeed(lane)) for lane in sumo.lane.getIDList()}
        self._set_type()
        self._slow_curves()
        self._edges = _connected(sumo)
        self._at = [str(edge) for edge in self._rng.choice(self._edges, size)]
        self._way = [self._route(number) for number in range(size)]
        places = [self._standing(edge) for edge in self._at]
        self.x_m: F64 = np.array([x for x, _ in places])
        self.y_m: F64 = np.array([y for _, y in places])
        self._inside: Bools = np.zeros(size, dtype=bool)

    @property
    def ignition(self) -> Bools:
        """On while it drives, and some seconds before and after."""
        return np.asarray(self._inside | (self._rests_s <= LEAVING_S) | (self._stopped_s <= LEAVING_S))

    @property
    def limit_kmh(self) -> F64:
        """Limit of each vehicle's lane; where it drove last while parked."""
        return np.asarray(self._limit_mps * 3.6)

    def step(self) -> None:
        """Advance by one second."""
        self._rests_s = np.where(self._inside, math.inf, self._rests_s - 1.0)
        self._stopped_s = np.where(self._inside, math.inf, self._stopped_s + 1.0)
        for number in np.flatnonzero((self._rests_s <= 0.0) & (self._rests_s > -1.0)).tolist():
            self._depart(number)
        self._sumo.simulationStep()
        before_mps, before_deg = self.speed_mps, self.heading_deg
        driving = set(self._sumo.vehicle.getIDList())
        inside = np.array([name in driving for name in self._names])
        self._read(np.flatnonzero(inside))
        arrived = self._inside & ~inside
        self._inside = inside
        # SUMO lets go of a vehicle at walking pace in front of its place; it rolls the last metres by itself.
        rolling_mps = np.where(inside, 0.0, np.maximum(before_mps - BRAKE_MPS2, 0.0))
        self.speed_mps = np.where(inside, self.speed_mps, rolling_mps)
        ahead_m = np.where(inside, 0.0, (rolling_mps + before_mps) / 2)
        self.x_m = self.x_m + ahead_m * np.sin(np.radians(self.heading_deg))
        self.y_m = self.y_m + ahead_m * np.cos(np.radians(self.heading_deg))
        for number in np.flatnonzero(arrived).tolist():
            self._arrive(number)
        self.accel_mps2 = self.speed_mps - before_mps
        mean_mps = (self.speed_mps + before_mps) / 2
        self.odometer_m = self.odometer_m + mean_mps
        self._turn(before_deg, mean_mps)
        self.time_s += 1

    def _turn(self, before_deg: F64, mean_mps: F64) -> None:
        """A drawn way has corners, a driven one has none: what cannot be turned in one second is turned in the next."""
        most_deg = np.degrees(LATERAL_MPS2 / np.maximum(mean_mps, SLOWEST_MPS))
        change = (self.heading_deg - before_deg + 180.0) % 360.0 - 180.0
        change = np.clip(change, -most_deg, most_deg) * (mean_mps > 0.1)
        self.heading_deg = (before_deg + change) % 360.0
        self.yaw_dps = -change
        self.lateral_mps2 = np.radians(self.yaw_dps) * mean_mps

    def _read(self, rows: NDArray[np.int64]) -> None:
        vehicle = self._sumo.vehicle
        speed, heading, x_m, y_m = (values.copy() for values in (self.speed_mps, self.heading_deg, self.x_m, self.y_m))
        for number in rows.tolist():
            name = self._names[number]
            speed[number] = vehicle.getSpeed(name)
            heading[number] = vehicle.getAngle(name)
            x_m[number], y_m[number] = self._placed(*vehicle.getPosition(name))
            self._limit_mps[number] = self._signed_mps.get(vehicle.getLaneID(name), self._limit_mps[number])
        self.speed_mps, self.heading_deg, self.x_m, self.y_m = speed, heading, x_m, y_m

    def _placed(self, x: float, y: float) -> tuple[float, float]:
        """A place of SUMO's network on the city's plane."""
        lon, lat = self._sumo.simulation.convertGeo(x, y)
        east, north = self._plane.to_xy(np.array([lat]), np.array([lon]))
        return float(east[0]), float(north[0])

    def _stand_m(self, edge: str) -> float:
        """Where on an edge vehicles stop and set out from."""
        return 0.7 * float(self._sumo.lane.getLength(f"{edge}_0"))

    def _standing(self, edge: str) -> tuple[float, float]:
        return self._placed(*self._sumo.simulation.convert2D(edge, self._stand_m(edge), 0))

    def _depart(self, number: int) -> None:
        self._trips += 1
        route, name, way = f"r{self._trips}", self._names[number], self._way[number]
        self._sumo.route.add(route, way)
        self._sumo.vehicle.add(
            name, route, _TYPE, departPos=f"{self._stand_m(way[0]):.1f}", departSpeed="0",
            arrivalPos=f"{self._stand_m(way[-1]):.1f}", arrivalSpeed="0",
        )  # fmt: skip

    def _arrive(self, number: int) -> None:
        self._at[number] = self._way[number][-1]
        self._way[number] = self._route(number)
        self._rests_s[number] = float(self._rng.uniform(*PARKED_S))
        self._stopped_s[number] = 0.0

    def _route(self, number: int) -> list[str]:
        """Edges of a trip from where a vehicle is to anywhere."""
        for _ in range(1_000):
            target = str(self._rng.choice(self._edges))
            found = self._sumo.simulation.findRoute(self._at[number], target, _TYPE)
            if found.edges and found.length >= SHORTEST_TRIP_M:
                return list(found.edges)
        raise Refusal(f"no car can go on from edge {self._at[number]} of the SUMO network")

    def _set_type(self) -> None:
        kinds = self._sumo.vehicletype
        kinds.copy("DEFAULT_VEHTYPE", _TYPE)
        kinds.setImperfection(_TYPE, 0.0)
        kinds.setAccel(_TYPE, ACCELERATE_MPS2)
        kinds.setDecel(_TYPE, BRAKE_MPS2)
        kinds.setApparentDecel(_TYPE, BRAKE_MPS2)
        kinds.setEmergencyDecel(_TYPE, HARDEST_MPS2)
        kinds.setTau(_TYPE, HEADWAY_S)
        kinds.setSpeedFactor(_TYPE, OF_LIMIT[0])
        kinds.setSpeedDeviation(_TYPE, OF_LIMIT[1])

    def _slow_curves(self) -> None:
        lane = self._sumo.lane
        for name in lane.getIDList():
            slow_mps = max(SLOWEST_MPS, calm_mps(np.array(lane.getShape(name))))
            if slow_mps < lane.getMaxSpeed(name):
                lane.setMaxSpeed(name, slow_mps)


def _connected(sumo: Any) -> list[str]:
    """The most edges from which every other of them can be reached by car: forwards and backwards from a long one."""
    onward: dict[str, set[str]] = {}
    back: dict[str, set[str]] = {}
    lengths: dict[str, float] = {}
    for lane in sumo.lane.getIDList():
        edge = sumo.lane.getEdgeID(lane)
        if edge.startswith(":") or not _for_cars(sumo, lane):
            continue
        lengths[edge] = float(sumo.lane.getLength(lane))
        for link in sumo.lane.getLinks(lane):
            target = sumo.lane.getEdgeID(link[0])
            onward.setdefault(edge, set()).add(target)
            back.setdefault(target, set()).add(edge)
    # The longest of all may be a road out of the map, so some are tried.
    longest = sorted(lengths, key=lambda edge: (-lengths[edge], edge))[:20]
    most = max((_reached(edge, onward) & _reached(edge, back) for edge in longest), key=len)
    return sorted(edge for edge in most if lengths.get(edge, 0.0) >= SHORTEST_EDGE_M)


def _for_cars(sumo: Any, lane: str) -> bool:
    allowed = sumo.lane.getAllowed(lane)
    return (not allowed or "passenger" in allowed) and "passenger" not in sumo.lane.getDisallowed(lane)


def _reached(start: str, onward: dict[str, set[str]]) -> set[str]:
    reached, open_ends = {start}, [start]
    while open_ends:
        fresh = onward.get(open_ends.pop(), set()) - reached
        reached |= fresh
        open_ends += sorted(fresh)
    return reached


def calm_mps(line: F64) -> float:
    """Highest comfortable speed on a line (points, 2), by its tightest bend over the length of a vehicle."""
    span = np.diff(line, axis=0)
    length = np.hypot(span[:, 0], span[:, 1])
    span, length = span[length > 1e-6], length[length > 1e-6]
    if len(length) < 2:
        return math.inf
    heading = np.unwrap(np.arctan2(span[:, 0], span[:, 1]))
    ends = np.concatenate(([0.0], np.cumsum(length)))
    middle = (ends[1:] + ends[:-1]) / 2
    window = min(CURVE_M, float(ends[-1]))
    at = np.arange(0.0, max(float(ends[-1]) - window, 0.0) + 0.5)
    bend = np.abs(np.interp(at + window, middle, heading) - np.interp(at, middle, heading)).max() / window
    return math.sqrt(LATERAL_MPS2 / max(float(bend), 1e-4))
