"""A unit that is not well: late, frozen, jumping, loose in its mount; and feeds that are merely quiet or steep."""

import math
from typing import Final

import numpy as np
from numpy.typing import NDArray

from simulators.errands import HOUR_S, Life, Span
from simulators.play import GRAVITY_MPS2, Part, Play, spans_where
from simulators.scenario import CRASH_LIKE
from simulators.unit import Log

F64 = NDArray[np.float64]

_LASTS_S: Final = 3 * 3600
LATE_S: Final = (900.0, 2_700.0)
GNSS: Final = (
    "lat_deg", "lon_deg", "speed_kmh", "heading_deg", "altitude_m", "accuracy_m", "hdop", "satellites",
)  # fmt: skip
# A mount that has come loose lets the unit turn by tens of degrees within minutes; a road is rarely steeper than 6.
LOOSE_DEG: Final = (25.0, 70.0)


def _drives(part: Part, *, gravity: bool = False) -> tuple[Life, Log, list[Span]]:
    part.rented()
    errands = part.errands(vehicle_class=str(part.rng.choice(["car", "van"])))
    drives = []
    for _ in range(2):
        errands.park(float(part.rng.uniform(500, 1_000)))
        drives.append(errands.drive(float(part.rng.uniform(2_000, 2_800))))
    life = part.live(errands)
    return life, part.record(life, gravity=gravity), drives


def _always_late(part: Part) -> None:
    """Everything arrives a quarter of an hour to three quarters late, with good coverage and without a mark."""
    life, _, _ = _drives(part)
    late_s = float(part.rng.uniform(*LATE_S))
    part.fate.late_s = (late_s, late_s + 20.0)
    part.incident("feed_late", float(life.t_s[0]), part.lasts_s, late_s=round(late_s))


def _one_hole(part: Part) -> None:
    """Two minutes without coverage, and stored samples after them: a hole like every other."""
    _, _, drives = _drives(part)
    part.fate.silences = [
        Span(drive.inner(0.4), drive.inner(0.4) + float(part.rng.uniform(60, 120))) for drive in drives
    ]


def _frozen(part: Part) -> None:
    """The receiver hangs and its last fix is sent over and over, to the last digit, while the wheels turn."""
    life, log, drives = _drives(part)
    begin_s = drives[1].inner(float(part.rng.uniform(0.2, 0.4)))
    rows = np.flatnonzero((life.t_s >= begin_s) & (life.speed_mps > 8.0))
    hung = Span(float(life.t_s[rows[0]]), float(life.t_s[rows[0]]) + float(part.rng.uniform(300.0, 900.0)))
    inside = life.within(hung)
    for name in GNSS:
        log.columns[name][inside] = log.columns[name][rows[0]]
    part.incident("feed_frozen", hung.from_s, hung.until_s)
    # Where it lets go it is somewhere else at once.
    for kind in ("implausible_position", "feed_jumping"):
        part.allowed(kind, hung.from_s, hung.until_s + 90.0)


def _in_a_jam(part: Part) -> None:
    """Stands in a jam for half an hour with the engine on: the position does not change, and should not."""
    part.rented()
    errands = part.errands()
    errands.park(600)
    errands.drive(900)
    for _ in range(4):
        errands.stand(float(part.rng.uniform(300, 600)))
        errands.drive(60)
    part.record(part.live(errands))


def _jumping(part: Part) -> None:
    """A bad antenna: every few seconds a fix lies hundreds of metres off, and the next one is right again."""
    life, log, drives = _drives(part)
    drive = drives[int(part.rng.integers(0, 2))]
    bad = Span(drive.inner(0.2), drive.inner(float(part.rng.uniform(0.5, 0.9))))
    rows = np.flatnonzero(life.within(bad) & (part.rng.random(len(life)) < 0.2))
    away_m = part.rng.uniform(200.0, 900.0, len(rows))
    course = part.rng.uniform(0.0, 2 * math.pi, len(rows))
    log.columns["lat_deg"][rows] += away_m * np.cos(course) / 111_000.0
    log.columns["lon_deg"][rows] += away_m * np.sin(course) / (111_000.0 * math.cos(math.radians(part.plane.lat_deg)))
    part.incident("feed_jumping", bad.from_s, bad.until_s)
    part.allowed("implausible_position", bad.from_s - 30.0, bad.until_s + 30.0)


def _one_stray_fix(part: Part) -> None:
    """Two stray fixes in a day: that happens to every receiver."""
    life, log, drives = _drives(part)
    for drive in drives:
        row = int(np.flatnonzero(life.within(drive) & (life.speed_mps > 5.0))[600])
        log.columns["lat_deg"][row] += float(part.rng.uniform(150.0, 350.0)) / 111_000.0
        log.columns["accuracy_m"][row] = float(part.rng.uniform(80.0, 200.0))
        log.columns["hdop"][row] = float(part.rng.uniform(6.0, 12.0))


def _loose(part: Part) -> None:
    """The mount has let go: under way the unit rolls to and fro, and "down" is where it happens to be."""
    life, log, drives = _drives(part, gravity=True)
    begin_s = drives[0].inner(float(part.rng.uniform(0.1, 0.4)))
    _turn(log, *_rolling(part, life, begin_s))
    part.incident("loose_mounting", begin_s, part.lasts_s)


def _rolling(part: Part, life: Life, begin_s: float) -> tuple[F64, F64]:
    """Pitch and roll of a unit that lies loose from an instant on: it moves with the vehicle, and rests with it."""
    reach = math.radians(float(part.rng.uniform(*LOOSE_DEG)))
    way_s = np.cumsum(np.diff(life.t_s, prepend=life.t_s[0]) * ((life.speed_mps > 1.0) & (life.t_s >= begin_s)))
    knots = np.arange(0.0, float(way_s[-1]) + 240.0, 120.0)
    axes = [
        np.interp(way_s, knots, np.concatenate(([0.0], part.rng.uniform(-reach, reach, len(knots) - 1)))) for _ in "xy"
    ]
    return axes[0], axes[1]


def _turn(log: Log, pitch: F64, roll: F64) -> None:
    """What the unit's own axes see when it is turned in the vehicle by these angles (radians)."""
    x, y, z = (log.columns[f"accel_{axis}_mps2"] for axis in "xyz")
    forward, up = x * np.cos(pitch) - z * np.sin(pitch), x * np.sin(pitch) + z * np.cos(pitch)
    log.columns["accel_x_mps2"] = forward
    log.columns["accel_y_mps2"] = y * np.cos(roll) - up * np.sin(roll)
    log.columns["accel_z_mps2"] = y * np.sin(roll) + up * np.cos(roll)


def _askew_but_firm(part: Part) -> None:
    """Mounted thirty degrees askew and as firm as can be; hills of 6 % tilt it with the vehicle."""
    life, log, drives = _drives(part, gravity=True)
    hill = np.zeros(len(life))
    for drive in drives:
        rows = life.within(drive)
        hill[rows] = 0.06 * np.sin(2 * math.pi * (life.t_s[rows] - drive.from_s) / float(part.rng.uniform(150, 400)))
    log.columns["accel_x_mps2"] += GRAVITY_MPS2 * hill
    askew = np.full(len(life), math.radians(float(part.rng.uniform(20.0, 40.0))))
    _turn(log, askew, -0.5 * askew)


def _quiet_stop(part: Part) -> None:
    """Parked for two hours with a fix that hardly moves, because a standing receiver holds it."""
    part.rented()
    errands = part.errands(heartbeat_s=60.0)
    errands.drive(900)
    errands.park(2 * HOUR_S)
    life = part.live(errands)
    log = part.record(life)
    for stop in spans_where(life.t_s, ~life.ignition):
        rows = life.within(stop)
        first = int(np.flatnonzero(rows)[0])
        for name in ("lat_deg", "lon_deg", "altitude_m"):
            log.columns[name][rows] = log.columns[name][first]


SCENARIO: Final = Play(
    name="feed_trouble",
    purpose="late, frozen, jumping, loose; holes in coverage, jams, stray fixes, slopes and quiet stops are not",
    id_prefix="feed",
    expects=frozenset({"feed_late", "feed_frozen", "feed_jumping", "loose_mounting"}),
    must_not=CRASH_LIKE | {"spoofing", "jamming", "tow", "theft", "tamper"},
    duration_s=_LASTS_S,
    roles=(
        _always_late,
        _one_hole,
        _frozen,
        _in_a_jam,
        _jumping,
        _one_stray_fix,
        _loose,
        _askew_but_firm,
        _quiet_stop,
    ),
)
