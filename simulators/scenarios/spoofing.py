"""Spoofing: the antenna is made to see another place, while wheels and motion sensors tell the truth."""

import math
from typing import Any, Final

import numpy as np

from simulators.condition import Build
from simulators.errands import Errands, Life, Span
from simulators.play import Part, Play
from simulators.reception import Shade
from simulators.scenario import CRASH_LIKE

_LASTS_S: Final = 2 * 3600
# Recipe for spoofed traces: jump by more than 1 km, ramp of 1 to 5 m/s, freeze, replay of another drive.
JUMP_M: Final = (1_200.0, 6_000.0)
RAMP_MPS: Final = (1.0, 5.0)
# A receiver that lets go of the false signal is itself again within this.
_SETTLED_S: Final = 90.0


def _afternoon(part: Part) -> tuple[Life, Span]:
    part.rented()
    errands = part.errands(vehicle_class=str(part.rng.choice(["car", "van"])))
    errands.park(float(part.rng.uniform(300, 900)))
    drive = errands.drive(float(part.rng.uniform(3_000, 4_000)))
    return part.live(errands), drive


def _begins(life: Life, near_s: float) -> float:
    """The instant within four minutes of `near_s` at which the vehicle is fastest."""
    rows = np.flatnonzero(life.within(Span(near_s, near_s + 240.0)))
    return float(life.t_s[rows[int(np.argmax(life.speed_mps[rows]))]])


def _spell(part: Part, life: Life, drive: Span, lasts_s: tuple[float, float]) -> Span:
    begin_s = _begins(life, drive.inner(float(part.rng.uniform(0.1, 0.45))))
    return Span(begin_s, begin_s + float(part.rng.uniform(*lasts_s)))


def _tell(part: Part, span: Span, how: str, **facts: Any) -> None:
    part.incident("spoofing", span.from_s, span.until_s, how=how, **facts)
    # An impossible place is part of what is found, under whatever name.
    for kind in ("implausible_position", "feed_jumping"):
        part.allowed(kind, span.from_s - 30.0, span.until_s + _SETTLED_S)


def _jump(part: Part) -> None:
    """Away by kilometres at once; the false track runs parallel to the true one, until it is let go."""
    life, drive = _afternoon(part)
    span = _spell(part, life, drive, (240.0, 1_000.0))
    away_m, course = float(part.rng.uniform(*JUMP_M)), float(part.rng.uniform(0.0, 2 * math.pi))
    rows = life.within(span)
    life.seen_x_m[rows] += away_m * math.sin(course)
    life.seen_y_m[rows] += away_m * math.cos(course)
    part.record(life)
    _tell(part, span, "jump", away_m=round(away_m))


def _lagging_receiver(part: Part) -> None:
    """A cheap receiver whose speed comes two seconds late, in a vehicle whose wheels count five percent too many."""
    life, _ = _afternoon(part)
    log = part.record(life, build=Build.drawn(part.rng, part.vehicle_class, obd_scale=1.05))
    for name in ("speed_kmh", "heading_deg"):
        log.columns[name][2:] = log.columns[name][:-2].copy()


def _ramp(part: Part) -> None:
    """Drawn aside slowly, so that no single step is impossible; held there for a while, then let go."""
    life, drive = _afternoon(part)
    span = _spell(part, life, drive, (300.0, 700.0))
    speed = float(part.rng.uniform(*RAMP_MPS))
    # Across the way and along it in any mixture, but never merely forward: that would be a faster car.
    course = math.radians(float(life.heading_deg[life.within(span)][0])) + float(part.rng.uniform(0.8, 2.3))
    rows = life.within(span)
    drawn_s = np.minimum(life.t_s[rows] - span.from_s, 0.75 * span.lasts_s)
    life.seen_x_m[rows] += speed * drawn_s * math.sin(course)
    life.seen_y_m[rows] += speed * drawn_s * math.cos(course)
    _seen_motion(life, rows)
    part.record(life)
    away_m = 0.75 * span.lasts_s * speed
    _tell(part, span, "ramp", ramp_mps=round(speed, 2), away_m=round(away_m))


def _seen_motion(life: Life, rows: np.ndarray[Any, np.dtype[np.bool_]]) -> None:
    """Speed and heading that a receiver derives from the way it is made to see."""
    inner = rows.copy()
    inner[np.flatnonzero(rows)[0]] = False  # at the edge itself it still has the true ones
    step_s = np.diff(life.t_s, prepend=life.t_s[0] - 1.0)
    east, north = (np.diff(way, prepend=way[0]) / step_s for way in (life.seen_x_m, life.seen_y_m))
    life.seen_speed_mps[inner] = np.hypot(east, north)[inner]
    life.seen_heading_deg[inner] = (np.degrees(np.arctan2(east, north)) % 360.0)[inner]


def _garage(part: Part) -> None:
    """Out of a garage: the first fixes are tens of metres off and draw near within half a minute."""
    part.rented()
    errands = part.errands()
    errands.park(600)
    errands.drive(900)
    errands.park(1_200)
    out = errands.drive(1_500)
    life = part.live(errands)
    off = Span(out.from_s - 1_150.0, out.from_s + 25.0)
    log = part.record(life, shades=[Shade(off, fade_s=4.0)])
    since_s = life.t_s - off.until_s
    early = (since_s > 0.0) & (since_s < 60.0)
    pull = float(part.rng.uniform(20.0, 60.0)) * np.exp(-since_s[early] / 12.0)
    log.columns["lat_deg"][early] += pull / 111_000.0
    log.columns["accuracy_m"][early] += pull


def _freeze(part: Part) -> None:
    """A transmitter says that it stands: fresh fixes with good figures, speed 0, while the wheels turn."""
    life, drive = _afternoon(part)
    span = _spell(part, life, drive, (180.0, 700.0))
    rows = life.within(span)
    first = int(np.flatnonzero(rows)[0])
    life.seen_x_m[rows], life.seen_y_m[rows] = life.x_m[first], life.y_m[first]
    life.seen_speed_mps[rows] = 0.0
    part.record(life)
    _tell(part, span, "freeze")
    part.allowed("feed_frozen", span.from_s - 30.0, span.until_s + _SETTLED_S)


def _towers(part: Part) -> None:
    """Reflections between towers pull the fix aside by tens of metres for a minute or two."""
    life, drive = _afternoon(part)
    shades = []
    for share in (0.2, 0.5, 0.8):
        begin_s = drive.inner(share)
        span = Span(begin_s, begin_s + float(part.rng.uniform(60.0, 150.0)))
        shades.append(Shade(span, fade_s=8.0, lost=False, error_m=float(part.rng.uniform(12.0, 25.0))))
    part.record(life, shades=shades)


def _replay(part: Part) -> None:
    """The signals of another drive, recorded elsewhere: a way that is sound in itself, and not this vehicle's."""
    life, drive = _afternoon(part)
    span = _spell(part, life, drive, (300.0, 1_200.0))
    rows = life.within(span)
    errands = Errands(part.roads, part.rng, start=part.roads.anywhere(part.rng))
    errands.drive(span.lasts_s + 600.0)
    other = errands.life(0.0)
    at_s = other.t_s[0] + 120.0 + life.t_s[rows] - span.from_s
    life.seen_x_m[rows] = np.interp(at_s, other.t_s, other.x_m)
    life.seen_y_m[rows] = np.interp(at_s, other.t_s, other.y_m)
    life.seen_speed_mps[rows] = np.interp(at_s, other.t_s, other.speed_mps)
    heading = np.unwrap(other.heading_deg, period=360.0)
    life.seen_heading_deg[rows] = np.interp(at_s, other.t_s, heading) % 360.0
    part.record(life)
    _tell(part, span, "replay")


SCENARIO: Final = Play(
    name="spoofing",
    purpose="the antenna sees a jump, a ramp, a standstill or another drive; slow receivers and reflections are not",
    id_prefix="spoof",
    expects=frozenset({"spoofing"}),
    must_not=CRASH_LIKE | {"jamming", "tow", "theft", "offline_while_moving"},
    duration_s=_LASTS_S,
    roles=(_jump, _lagging_receiver, _ramp, _garage, _freeze, _towers, _replay),
)
