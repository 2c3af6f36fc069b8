"""An hour without network, then all of it late, shuffled and doubled: what happened in it is found at its own time."""

from typing import Final

import numpy as np

from simulators.errands import Life, Span
from simulators.play import Part, Play
from simulators.routes import Wish
from simulators.scenario import CRASH_LIKE
from simulators.scenarios._stretches import faster, tell_speeding

_LASTS_S: Final = 2 * 3600
OUTAGE_S: Final = (2_400.0, 3_300.0)
# Braking in an emergency on dry asphalt, as a car's tyres give it: 0.65 to 0.8 g.
EMERGENCY_MPS2: Final = (6.4, 7.8)


def _outage(part: Part, *, wish: Wish | None = None, emergency_mps2: float | None = None) -> Life:
    """Parked, driven for an hour and more, parked; the network is gone for most of the drive."""
    part.rented()
    errands = part.errands(greater=True)
    errands.park(float(part.rng.uniform(120, 400)))
    drive = errands.drive(3_900, bold=True, wish=wish, emergency_mps2=emergency_mps2)
    life = part.live(errands)
    part.record(life, limits=True)
    begin_s = drive.from_s + float(part.rng.uniform(60, 240))
    gone = Span(begin_s, begin_s + float(part.rng.uniform(*OUTAGE_S)))
    part.fate.silences = [gone]
    part.fate.shuffled, part.fate.doubled = True, 0.25
    # Until the backfill is there, silence on the road is silence on the road; and it is late when it comes.
    for kind in ("offline_while_moving", "feed_late"):
        part.allowed(kind, gone.from_s - 60.0, gone.until_s + 600.0)
    tell_speeding(part, life, life.limit_kmh)
    return life


def _speeds(part: Part) -> None:
    """Too fast on three stretches, in the outage or outside it."""
    while not part.eventful:
        part.anew()
        lengths: list[float] = (part.rng.uniform(20.0, 60.0, 3) * 18.0 + 160.0).tolist()
        _outage(part, wish=faster(float(part.rng.uniform(1.15, 1.4)), lengths))


def _nothing_happens(part: Part) -> None:
    """The same hour of ordinary driving."""
    _outage(part)


def _stops_hard(part: Part) -> None:
    """An emergency stop, seen once a second."""
    life = _outage(part, emergency_mps2=float(part.rng.uniform(*EMERGENCY_MPS2)))
    row = int(np.argmin(life.accel_mps2))
    hard = Span(float(life.t_s[row]) - 3.0, float(life.t_s[row]) + 3.0)
    rows = life.within(hard)
    part.incident(
        "harsh_braking", hard.from_s, hard.until_s, peak_g=round(-float(life.accel_mps2[row]) / 9.80665, 2),
        speed_kmh=round(float(life.speed_mps[rows].max()) * 3.6, 1),
    )  # fmt: skip


SCENARIO: Final = Play(
    name="outage_backfill",
    purpose="an hour of driving arrives late, shuffled and doubled, with speeding and a hard stop in it, or nothing",
    id_prefix="outage",
    expects=frozenset({"speeding", "harsh_braking"}),
    must_not=CRASH_LIKE
    | {"harsh_acceleration", "harsh_cornering", "spoofing", "implausible_position", "feed_jumping", "tamper", "theft"},
    duration_s=_LASTS_S,
    roles=(_speeds, _nothing_happens, _stops_hard),
)
