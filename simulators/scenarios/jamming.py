"""Jamming: satellites fall away one by one and no fix comes back for a while, though the vehicle drives on."""

from typing import Final

import numpy as np

from simulators.errands import Life, Span
from simulators.play import Part, Play
from simulators.reception import Shade
from simulators.scenario import CRASH_LIKE

_LASTS_S: Final = 2 * 3600
# Recipe for a jammed trace: no fix for 10 s to 20 min, after 5 to 30 s of falling satellites and rising dilution.
FADE_S: Final = (5.0, 30.0)
LOST_S: Final = (12.0, 1_200.0)
ALARM_SHARE: Final = 0.3


def _afternoon(part: Part) -> tuple[Life, Span]:
    """Parked, a long drive, parked; with the drive."""
    part.rented()
    errands = part.errands(vehicle_class=str(part.rng.choice(["car", "van", "heavy"])))
    errands.park(float(part.rng.uniform(300, 900)))
    drive = errands.drive(float(part.rng.uniform(3_000, 4_200)))
    return part.live(errands), drive


def _jam(part: Part, life: Life, lost: Span) -> Shade:
    fade_s = float(part.rng.uniform(*FADE_S))
    part.incident("jamming", lost.from_s - fade_s, lost.until_s, lost_s=round(lost.lasts_s), faded_s=round(fade_s))
    if part.rng.random() < ALARM_SHARE:
        part.alarm("jamming", lost.from_s + 2.0)
    return Shade(lost, fade_s=fade_s)


def _starting(life: Life, near_s: float) -> float:
    """The instant within three minutes of `near_s` at which the vehicle is fastest: nobody jams a red light."""
    rows = np.flatnonzero(life.within(Span(near_s, near_s + 180.0)))
    return float(life.t_s[rows[int(np.argmax(life.speed_mps[rows]))]])


def _jammed_long(part: Part) -> None:
    """For minutes, through turns and stops."""
    life, drive = _afternoon(part)
    begin_s = _starting(life, drive.inner(float(part.rng.uniform(0.1, 0.4))))
    lost = Span(begin_s, begin_s + float(np.exp(part.rng.uniform(np.log(150.0), np.log(LOST_S[1])))))
    part.record(life, shades=[_jam(part, life, lost)])


def _between_towers(part: Part) -> None:
    """A street like a canyon: few satellites and wide fixes for a while, but never none."""
    life, drive = _afternoon(part)
    shades = []
    for share in (0.15, 0.45, 0.75):
        begin_s = drive.inner(share)
        span = Span(begin_s, begin_s + float(part.rng.uniform(30.0, 150.0)))
        shades.append(Shade(span, fade_s=float(part.rng.uniform(5.0, 30.0)), lost=False, error_m=12.0))
    part.record(life, shades=shades)


def _jammed_short(part: Part) -> None:
    """Two short spells on one way: somebody with a jammer drives alongside."""
    life, drive = _afternoon(part)
    shades = []
    for share in (0.2, 0.6):
        begin_s = _starting(life, drive.inner(share + float(part.rng.uniform(0.0, 0.1))))
        lost = Span(begin_s, begin_s + float(np.exp(part.rng.uniform(np.log(LOST_S[0]), np.log(90.0)))))
        shades.append(_jam(part, life, lost))
    part.record(life, shades=shades)


def _under_bridges(part: Part) -> None:
    """Bridges and underpasses: the fix is gone at once and back in seconds."""
    life, drive = _afternoon(part)
    shades = []
    for share in part.rng.uniform(0.05, 0.95, 5).tolist():
        begin_s = _starting(life, drive.inner(share))
        shades.append(Shade(Span(begin_s, begin_s + float(part.rng.uniform(3.0, 20.0))), fade_s=1.0))
    part.record(life, shades=shades)


SCENARIO: Final = Play(
    name="jamming",
    purpose="satellites fall away and no fix comes back while it drives on; canyons and bridges are not",
    id_prefix="jam",
    expects=frozenset({"jamming"}),
    must_not=CRASH_LIKE | {"offline_while_moving", "tow", "theft", "feed_frozen"},
    duration_s=_LASTS_S,
    roles=(_jammed_long, _between_towers, _jammed_short, _under_bridges),
)
