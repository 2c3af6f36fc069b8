"""Units that start anew and clocks that go wrong: counters from zero, minutes ahead or behind, 1970 for a while."""

from typing import Final

from simulators.errands import Life, Span
from simulators.play import Part, Play
from simulators.scenario import CRASH_LIKE
from simulators.unit import Clock

_LASTS_S: Final = 2 * 3600
# Within the five minutes ahead that ingest takes; beyond them samples are set aside.
JUMP_S: Final = (120.0, 200.0)


def _drives(part: Part) -> tuple[Life, list[Span]]:
    part.rented()
    errands = part.errands()
    drives = []
    for _ in range(2):
        errands.park(float(part.rng.uniform(300, 700)))
        drives.append(errands.drive(float(part.rng.uniform(1_500, 2_200))))
    life = part.live(errands)
    part.record(life)
    return life, drives


def _reboots(part: Part) -> None:
    """Once at a start, when the supply dips, and twice on the road: counters begin anew."""
    _, (first, second) = _drives(part)
    part.fate.reboots = [first.from_s + 3.0, second.inner(0.3), second.inner(0.6)]


def _two_passes(part: Part, device: Span) -> None:
    """Device times that were passed twice: readings of two places lie among each other."""
    for kind in ("implausible_position", "feed_jumping", "feed_late"):
        part.allowed(kind, device.from_s - 60.0, device.until_s + 60.0)


def _jumps_ahead_and_back(part: Part) -> None:
    """Three minutes ahead after a reboot, and right again a few minutes later: three minutes are told twice."""
    _, (first, _) = _drives(part)
    ahead_s = float(part.rng.uniform(*JUMP_S))
    wrong = Span(first.inner(0.3), first.inner(0.5))
    part.fate.reboots = [wrong.from_s, wrong.until_s]
    part.fate.clocks = [Clock(wrong.from_s, ahead_s), Clock(wrong.until_s, 0.0)]
    _two_passes(part, Span(wrong.until_s, wrong.until_s + ahead_s))


def _falls_behind(part: Part) -> None:
    """Back by three minutes after a reboot, and right again with the first fix: three minutes are told twice."""
    _, (_, second) = _drives(part)
    behind_s = float(part.rng.uniform(*JUMP_S))
    wrong = Span(second.inner(0.3), second.inner(0.3) + float(part.rng.uniform(60.0, 170.0)))
    part.fate.reboots = [wrong.from_s]
    part.fate.clocks = [Clock(wrong.from_s, -behind_s), Clock(wrong.until_s, 0.0)]
    _two_passes(part, Span(wrong.from_s - behind_s, wrong.until_s - behind_s))


def _starts_in_1970(part: Part) -> None:
    """After a reboot the clock counts from 1970 until the first fix sets it, a minute later."""
    _, (first, second) = _drives(part)
    part.fate.reboots = [second.inner(0.4)]
    begin_s = second.inner(0.4)
    part.fate.clocks = [Clock(begin_s, None), Clock(begin_s + float(part.rng.uniform(40.0, 70.0)), 0.0)]
    assert first.until_s < begin_s


SCENARIO: Final = Play(
    name="reboot_clock",
    purpose="reboots, a clock three minutes ahead or behind, 1970 for a minute: no incident",
    id_prefix="reboot",
    expects=frozenset(),
    must_not=CRASH_LIKE | {"tamper", "spoofing", "jamming", "offline_while_moving", "theft", "tow"},
    duration_s=_LASTS_S,
    roles=(_reboots, _jumps_ahead_and_back, _falls_behind, _starts_in_1970),
)
