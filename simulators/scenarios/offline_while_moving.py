"""Silence on the road: a unit that is never heard again while its vehicle moves; and silences with good reasons."""

from typing import Final

import numpy as np

from simulators.errands import Life, Span
from simulators.play import Part, Play
from simulators.reception import Shade
from simulators.scenario import CRASH_LIKE

_LASTS_S: Final = 3 * 3600


def _way(part: Part) -> tuple[Life, Span]:
    part.rented()
    errands = part.errands(vehicle_class=str(part.rng.choice(["car", "van", "heavy"])), heartbeat_s=120.0)
    errands.park(float(part.rng.uniform(300, 900)))
    drive = errands.drive(float(part.rng.uniform(1_500, 3_000)))
    return part.live(errands), drive


def _fast_instant(life: Life, drive: Span, share: float) -> float:
    """The instant within four minutes of a share of the drive at which the vehicle is fastest."""
    rows = np.flatnonzero(life.within(Span(drive.inner(share), drive.inner(share) + 240.0)))
    return float(life.t_s[rows[int(np.argmax(life.speed_mps[rows]))]])


def _heard_no_more(part: Part) -> None:
    """From one second to the next, at speed, with full battery and good coverage. No last will, no word."""
    life, drive = _way(part)
    part.record(life)
    at_s = _fast_instant(life, drive, float(part.rng.uniform(0.2, 0.7)))
    # The message of this moment still leaves; the ten seconds after it never do.
    part.fate.dead_from_s = at_s + 0.5
    part.incident("offline_while_moving", at_s, part.lasts_s)


def _parked_and_asleep(part: Part) -> None:
    """Parked, and the unit goes to sleep: silence for hours, as agreed."""
    life, drive = _way(part)
    part.record(life)
    part.fate.dead_from_s = drive.until_s + float(part.rng.uniform(200, 900))


def _cut_by_a_thief(part: Part) -> None:
    """The same, after the satellites and the network faded for half a minute."""
    life, drive = _way(part)
    at_s = _fast_instant(life, drive, float(part.rng.uniform(0.2, 0.6)))
    part.record(life, shades=[Shade(Span(at_s - 10.0, part.lasts_s), fade_s=20.0)])
    part.fate.dead_from_s = at_s + 0.5
    part.incident("offline_while_moving", at_s, part.lasts_s)
    for kind in ("jamming", "tamper"):
        part.allowed(kind, at_s - 40.0, part.lasts_s)


def _through_a_tunnel(part: Part) -> None:
    """A minute or two without network and satellites, then everything that was stored."""
    life, drive = _way(part)
    silences = []
    for share in (0.15, 0.55):
        at_s = _fast_instant(life, drive, share)
        silences.append(Span(at_s, at_s + float(part.rng.uniform(60.0, 150.0))))
    part.record(life, shades=[Shade(span) for span in silences])
    part.fate.silences = silences


def _signs_off(part: Part) -> None:
    """Parked in the yard and switched off for the week: the unit says so before it goes."""
    life, drive = _way(part)
    part.record(life)
    off_s = drive.until_s + float(part.rng.uniform(130, 300))
    part.fate.drops = [(off_s, False)]
    part.fate.dead_from_s = off_s + 1.0


SCENARIO: Final = Play(
    name="offline_while_moving",
    purpose="a unit falls silent on the road for good; sleep, tunnels and signing off are not",
    id_prefix="silent",
    expects=frozenset({"offline_while_moving"}),
    must_not=CRASH_LIKE | {"unplug", "theft", "tow", "low_battery"},
    duration_s=_LASTS_S,
    roles=(_heard_no_more, _parked_and_asleep, _cut_by_a_thief, _through_a_tunnel, _signs_off),
)
