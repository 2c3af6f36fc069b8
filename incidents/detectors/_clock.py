"""A device's clock against its own count of readings: where it was set back, one time is told twice.

Readings are in order of device time. Their numbers (boot, seq) tell the order in which they were taken, whatever the
clock said; where the two orders disagree, the clock was set back. A device without a counter has a hash for a number,
which tells nothing. Pure maths.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np

from incidents.window import Bools, Ints, S, Window

# A counter of boots stays below 2^24; a hash does once in 256. Judgement.
_COUNTER_BELOW: Final = 1 << 56
_COUNTERS_SHARE: Final = 0.98
# What was taken later also arrived later, by no less than networks shuffle messages (docs/guide/simulation.md: 15 s).
_SHUFFLED_US: Final = 30 * S


@dataclass(frozen=True, slots=True)
class SetBack:
    """The clock went back: from `until_us` to `from_us` or further.

    behind_s   how far it is behind afterwards, at least; a clock that was ahead and is right again is not
    rebooted   the device had started anew
    """

    from_us: int
    until_us: int
    by_s: float
    behind_s: float
    rebooted: bool


def counted(seq: Ints) -> Bools:
    """Which numbers come from a counter, and not from a hash."""
    mask: Bools = (seq >= 0) & (seq < _COUNTER_BELOW)
    return mask


def counts(seq: Ints) -> bool:
    """Whether the numbers of readings come from a counter."""
    return bool(len(seq) and counted(seq).mean() >= _COUNTERS_SHARE)


def set_back(window: Window) -> SetBack | None:
    """Where the clock was set back, as far as the window shows it; several times count as one."""
    seq = window.seq
    if len(seq) < 2 or bool((seq[1:] >= seq[:-1]).all()) or not counts(seq):
        return None
    # Taken late but told early, and taken early but told late.
    later, earlier = _out_of_order(seq)
    if not len(later):
        return None
    received = window.received_us
    if int(np.median(received[later])) < int(np.median(received[earlier])) - _SHUFFLED_US:
        return None  # the counter began anew without a boot; the clock went on
    from_us, until_us = int(window.device_time_us[later[0]]), int(window.device_time_us[earlier[-1]])
    delay_us = received - window.device_time_us
    # Readings that wait for a network are late too, but the promptest ones tell how far a clock is off.
    behind_s = int(delay_us[later].min()) / S
    off_s = behind_s - int(delay_us[earlier].min()) / S
    shown_s = (until_us - from_us) / S
    boots = seq >> 32
    rebooted = bool(boots[later].min() > boots[earlier].max())
    return SetBack(from_us, until_us, round(max(off_s, shown_s), 1), behind_s, rebooted)


def told_once(window: Window) -> Bools:
    """Readings outside the span that a clock told twice: there, places of two times are mixed."""
    twice = set_back(window)
    if twice is None:
        return np.ones(len(window), dtype=np.bool_)
    mask: Bools = (window.device_time_us < twice.from_us) | (window.device_time_us > twice.until_us)
    return mask


def strands(window: Window) -> list[Window]:
    """The window in parts, in each of which time and the device's count run together. One where no clock was set back.

    Between neighbours of two parts nothing changed: they are of two times and two places.
    """
    if set_back(window) is None:
        return [window]
    taken = np.argsort(window.seq, kind="stable")
    cuts = np.flatnonzero(np.diff(window.device_time_us[taken]) < 0) + 1
    return [window.take(np.sort(rows)) for rows in np.split(taken, cuts)]


def _out_of_order(seq: Ints) -> tuple[Ints, Ints]:
    """Rows with a greater number than some row after them, and rows with a smaller one than some row before them."""
    least_after = np.minimum.accumulate(seq[::-1])[::-1]
    most_before = np.maximum.accumulate(seq)
    return np.flatnonzero(seq[:-1] > least_after[1:]), np.flatnonzero(seq[1:] < most_before[:-1]) + 1
