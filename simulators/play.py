"""A scenario of scripted vehicles: each vehicle is given a role, a role is a function that writes one vehicle's part.

Roles take turns over the vehicles asked for, the one that must be noticed first; every positive role has companions
that look alike and must not be noticed. The first vehicle of any number is therefore a positive one.
"""

import heapq
import math
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from fleet_core.publications import Message
from simulators.condition import Build, sense
from simulators.errands import DAY_S, Errands, Life, Span
from simulators.reception import Shade, receive
from simulators.roads import Plane
from simulators.routes import Place, Roads, roads_of
from simulators.scenario import Request, Tell, untold
from simulators.unit import Event, Fate, Log, Unit

F64 = NDArray[np.float64]
Bools = NDArray[np.bool_]

GRAVITY_MPS2: Final = 9.80665
# Road and engine shake an accelerometer; at 1 Hz a unit reports the mean over the second.
SHAKE_MPS2: Final = 0.12
STANDING_SHAKE_MPS2: Final = 0.02
# Chinese law and the operator's clocks: one zone for the whole country, UTC+8 (Asia/Shanghai has no summer time).
ZONE: Final = "Asia/Shanghai"
ZONE_S: Final = 8 * 3600
# Hours in which coaches must not run (safety management norms for road passenger enterprises, article 38).
NIGHT_H: Final = (2.0, 5.0)
_BOOT_EPOCH_MS: Final = 1_704_067_200_000  # 2024-01-01 UTC: boot counters of simulated units count minutes since then


@dataclass
class Part:
    """One vehicle's part in a play: where its role writes what happens and what is true."""

    request: Request
    roads: Roads
    vehicle_id: str
    number: int
    ahead_ms: int
    lasts_s: float
    rng: np.random.Generator
    recorded: Log | None = None
    fate: Fate = field(default_factory=Fate)
    events: list[Event] = field(default_factory=list)
    vehicle_class: str = "car"
    tenures: list[dict[str, Any]] | None = None
    truth: list[tuple[float, dict[str, Any]]] = field(default_factory=list)
    fences: list[dict[str, Any]] = field(default_factory=list)

    @property
    def log(self) -> Log:
        """What the unit sampled."""
        if self.recorded is None:
            raise ValueError("the role has recorded nothing yet")
        return self.recorded

    @log.setter
    def log(self, log: Log) -> None:
        self.recorded = log

    # -- the script ----------------------------------------------------------------------------------------------------

    def errands(
        self, *, vehicle_class: str = "car", every_s: float = 1.0, heartbeat_s: float = 60.0, greater: bool = False
    ) -> Errands:
        """A script that begins parked somewhere; on one of the greater roads if wanted."""
        self.vehicle_class = vehicle_class
        start: Place = self.roads.anywhere(self.rng, greater=greater)
        return Errands(
            self.roads,
            self.rng,
            vehicle_class=vehicle_class,
            every_s=every_s,
            heartbeat_s=heartbeat_s,
            start=start,
        )

    def live(self, errands: Errands) -> Life:
        """Let the script happen, up to the end of the play. A role may then change what the antenna is made to see."""
        return errands.life(self.lasts_s)

    def record(
        self,
        life: Life,
        *,
        build: Build | None = None,
        shades: Sequence[Shade] = (),
        gravity: bool = False,
        limits: bool = False,
    ) -> Log:
        """Let the sensors look at it. `gravity`: the unit does not take it out. `limits`: it knows the speed limit."""
        built = Build.drawn(self.rng, self.vehicle_class) if build is None else build
        columns = receive(life, self.plane, self.rng, shades)
        valid = columns.pop("fix_valid") > 0.5
        columns |= self._motion(life, gravity)
        columns |= sense(life, built, self.rng, self.midnight_s)
        if limits:
            columns["speed_limit_kmh"] = np.where(life.ignition, life.limit_kmh, np.nan)
        brake = (life.accel_mps2 < -0.5) & (life.wheel_mps > 0.0)
        flags = {"ignition": life.ignition, "fix_valid": valid, "brake": brake, "door_open": life.door_open}
        self.recorded = Log(life, columns, flags, {"accel_gravity": True} if gravity else {})
        return self.log

    def _motion(self, life: Life, gravity: bool) -> dict[str, F64]:
        rng, n = self.rng, len(life)
        shake = rng.normal(0.0, 1.0, (4, n)) * np.where(life.speed_mps > 0.3, SHAKE_MPS2, STANDING_SHAKE_MPS2)
        accel = [life.accel_mps2 + shake[0], life.lateral_mps2 + shake[1], shake[2]]
        if gravity:
            pitch, roll = np.radians(life.pitch_deg), np.radians(life.roll_deg)
            up = (np.sin(pitch), np.sin(roll) * np.cos(pitch), np.cos(roll) * np.cos(pitch))
            accel = [axis + GRAVITY_MPS2 * share for axis, share in zip(accel, up, strict=True)]
        return {
            "accel_x_mps2": accel[0],
            "accel_y_mps2": accel[1],
            "accel_z_mps2": accel[2],
            "gyro_z_dps": life.yaw_dps + 2 * shake[3],
        }

    # -- the clock -----------------------------------------------------------------------------------------------------

    @property
    def plane(self) -> Plane:
        """The city's plane."""
        return self.roads.plane

    @property
    def midnight_s(self) -> float:
        """The last midnight in ZONE at or before the start, in seconds of the life."""
        return -((self.request.start_ms / 1000.0 + ZONE_S) % DAY_S)

    def next_clock_s(self, hour: float, after_s: float = 0.0) -> float:
        """When it is next this hour of the day in ZONE, in seconds of the life."""
        at_s = self.midnight_s + hour * 3600.0
        return at_s + math.ceil(max(0.0, after_s - at_s) / DAY_S) * DAY_S

    def at_ms(self, t_s: float) -> int:
        """An instant of the life on the true clock, UTC epoch milliseconds."""
        return self.request.start_ms + round(t_s * 1000)

    # -- the truth -----------------------------------------------------------------------------------------------------

    def incident(self, kind: str, at_s: float, until_s: float | None = None, **facts: Any) -> None:
        """Something that must be found: from its onset to its end, with what is true of it."""
        record = {"kind": "incident", "incident": kind, "vehicle_id": self.vehicle_id, "t_ms": self.at_ms(at_s)}
        if until_s is not None:
            record["until_ms"] = self.at_ms(min(until_s, self.lasts_s))
        self.truth.append((at_s, record | facts))

    def allowed(self, kind: str, from_s: float, until_s: float) -> None:
        """Something that may be found in a span and counts neither way."""
        record = {"kind": "allowed", "incident": kind, "vehicle_id": self.vehicle_id}
        self.truth.append((from_s, record | {"from_ms": self.at_ms(from_s), "until_ms": self.at_ms(until_s)}))

    @property
    def eventful(self) -> bool:
        """Whether anything must be found so far."""
        return any(record["kind"] == "incident" for _, record in self.truth)

    def anew(self) -> None:
        """Forget what was written: the role tries once more, because the city gave no occasion for its story."""
        self.truth, self.fences, self.tenures, self.events, self.fate = [], [], None, [], Fate()

    def tenure(self, kind: str, from_s: float, until_s: float | None, fence_ids: tuple[str, ...] = ()) -> None:
        """A contract of the vehicle. From the first on the operator is known to keep contracts for it."""
        until_ms = None if until_s is None else self.at_ms(until_s)
        self.tenures = self.tenures or []
        self.tenures.append(
            {"kind": kind, "from_ms": self.at_ms(from_s), "until_ms": until_ms, "fence_ids": list(fence_ids)}
        )

    def rented(self) -> None:
        """Let the vehicle be rented out the whole time."""
        self.tenure("rental", -DAY_S, None)

    def fence(self, name: str, area: dict[str, Any], rules: Sequence[str], *, level: int = 1, **more: Any) -> str:
        """A fence round a GeoJSON area, for this vehicle alone; its id."""
        fence_id = f"{self.vehicle_id}-{name}"
        record = {"kind": "fence", "fence_id": fence_id, "name": name, "geojson": area, "rules": list(rules)}
        self.fences.append(record | {"level": level, "vehicle_ids": [self.vehicle_id]} | more)
        return fence_id

    def alarm(self, kind: str, at_s: float, **columns: Any) -> None:
        """An alarm that the device raises itself."""
        self.events.append(Event(at_s, "alarm", {"kind": kind, **columns}))

    # -- the messages --------------------------------------------------------------------------------------------------

    def messages(self) -> Iterator[Message]:
        """Messages by `due_ms`."""
        unit = Unit(
            self.vehicle_id,
            start_ms=self.request.start_ms,
            ahead_ms=self.ahead_ms,
            boot=max(1, (self.request.start_ms - _BOOT_EPOCH_MS) // 60_000) % 2**32,
            partitions=self.request.partitions,
            encode=self.request.encode,
            fate=self.fate,
        )
        return unit.messages(self.log, self.events, self.rng, self.lasts_s)


Role = Callable[[Part], None]


@dataclass(frozen=True)
class Play:
    """A scenario (see simulators/scenario.py)."""

    name: str
    purpose: str
    id_prefix: str
    expects: frozenset[str]
    must_not: frozenset[str]
    duration_s: int
    roles: tuple[Role, ...]

    def messages(self, request: Request, tell: Tell) -> Iterator[Message]:
        """See Scenario. Truth is told when its time comes; what the operator knows is told first."""
        cast = self._cast(request)
        lasts_s = self.duration_s if request.duration_s is None else min(request.duration_s, self.duration_s)
        end_ms = request.start_ms + lasts_s * 1000
        for part in cast:
            _tell_known(part, tell)
        records = sorted(
            ((part.at_ms(at_s), number, record) for number, (part, at_s, record) in enumerate(_truth(cast, tell))),
            key=lambda item: item[:2],
        )
        told = 0
        merged = heapq.merge(*(part.messages() for part in cast), key=lambda message: message.due_ms)
        for message in merged:
            if message.due_ms > end_ms or request.stopped():
                break
            while told < len(records) and records[told][0] <= message.due_ms:
                tell(records[told][2])
                told += 1
            yield message
        for at_ms, _, record in records[told:]:
            if at_ms <= end_ms and not request.stopped():
                tell(record)

    def _cast(self, request: Request) -> list[Part]:
        roads = roads_of(request.city.graph)
        cast = []
        for number, vehicle_id in enumerate(request.vehicle_ids()):
            part = Part(
                request=request,
                roads=roads,
                vehicle_id=vehicle_id,
                number=number,
                ahead_ms=int(request.clock_offset_ms[number]),
                lasts_s=float(self.duration_s),
                rng=np.random.default_rng([request.seed, zlib.crc32(self.name.encode()), number]),
            )
            self.roles[number % len(self.roles)](part)
            cast.append(part)
        if "night_driving" not in self.expects:
            for part in cast:
                _allow_night(part)
        return cast


def _allow_night(part: Part) -> None:
    """A play begins at any hour; where it happens to be driven at night, saying so is right and is not its subject."""
    for trip in part.log.life.trips():
        hours = (np.array([trip.from_s, trip.until_s]) - part.midnight_s) / 3600.0
        # A quarter of an hour more on either side, because solar time and the zone's differ.
        for day in range(math.floor(hours[0] / 24.0), math.floor(hours[1] / 24.0) + 1):
            begin_h, end_h = max(hours[0], 24 * day + NIGHT_H[0] - 0.3), min(hours[1], 24 * day + NIGHT_H[1] + 0.3)
            if begin_h < end_h:
                part.allowed("night_driving", part.midnight_s + begin_h * 3600.0, part.midnight_s + end_h * 3600.0)


def _tell_known(part: Part, tell: Tell) -> None:
    record: dict[str, Any] = {
        "kind": "vehicle", "vehicle_id": part.vehicle_id, "vehicle_class": part.vehicle_class
    }  # fmt: skip
    if part.tenures is not None:
        record["tenures"] = part.tenures
    tell(record)
    for fence in part.fences:
        tell(fence)


def _truth(cast: list[Part], tell: Tell) -> Iterator[tuple[Part, float, dict[str, Any]]]:
    for part in cast:
        yield from ((part, at_s, record) for at_s, record in part.truth)
        if tell is not untold:
            yield from ((part, at_s, record) for at_s, record in _travelled(part))


def _travelled(part: Part) -> Iterator[tuple[float, dict[str, Any]]]:
    """`trip` and `track` records: where the vehicle really was while its ignition was on."""
    life = part.log.life
    lat, lon = part.plane.to_latlon(life.x_m, life.y_m)
    rolled = np.cumsum(life.rolled_m)
    for trip in life.trips():
        rows = np.flatnonzero(life.within(trip))
        first, last = int(rows[0]), int(rows[-1])
        ends = [{"lat_deg": round(float(lat[row]), 7), "lon_deg": round(float(lon[row]), 7)} for row in (first, last)]
        yield trip.until_s, {
            "kind": "trip", "vehicle_id": part.vehicle_id, "start_ms": part.at_ms(trip.from_s), "start": ends[0],
            "end_ms": part.at_ms(trip.until_s), "end": ends[1],
            "distance_m": round(float(rolled[last] - rolled[first]), 1),
        }  # fmt: skip
        yield from _tracks(part, rows, lat, lon)


_TRACK_ROWS: Final = 600


def _tracks(part: Part, rows: NDArray[np.int64], lat: F64, lon: F64) -> Iterator[tuple[float, dict[str, Any]]]:
    life = part.log.life
    columns = {
        "lat_deg": (lat, 7), "lon_deg": (lon, 7), "speed_kmh": (life.speed_mps * 3.6, 2),
        "heading_deg": (life.heading_deg, 1), "limit_kmh": (life.limit_kmh, 0), "accel_x_mps2": (life.accel_mps2, 3),
        "accel_y_mps2": (life.lateral_mps2, 3),
    }  # fmt: skip
    for begin in range(0, len(rows), _TRACK_ROWS):
        some = rows[begin : begin + _TRACK_ROWS]
        record: dict[str, Any] = {
            "kind": "track", "vehicle_id": part.vehicle_id,
            "t_ms": (part.request.start_ms + np.round(life.t_s[some] * 1000)).astype(np.int64).tolist(),
        }  # fmt: skip
        record.update({name: np.round(values[some], digits).tolist() for name, (values, digits) in columns.items()})
        yield float(life.t_s[some[-1]]), record


def circle(plane: Plane, x_m: float, y_m: float, radius_m: float) -> dict[str, Any]:
    """A GeoJSON polygon of 48 corners round a place; its sides run at most 0.2 % of the radius inside the circle."""
    turn = np.linspace(0.0, 2 * math.pi, 49)
    lat, lon = plane.to_latlon(x_m + radius_m * np.cos(turn), y_m + radius_m * np.sin(turn))
    ring = [[round(east, 7), round(north, 7)] for east, north in zip(lon.tolist(), lat.tolist(), strict=True)]
    ring[-1] = ring[0]
    return {"type": "Polygon", "coordinates": [ring]}


def spans_where(t_s: F64, mask: Bools) -> list[Span]:
    """Spans of consecutive samples at which `mask` holds."""
    edges = np.diff(np.concatenate(([False], mask, [False])).astype(np.int8))
    starts, ends = np.flatnonzero(edges == 1), np.flatnonzero(edges == -1) - 1
    return [Span(float(t_s[start]), float(t_s[end])) for start, end in zip(starts, ends, strict=True)]
