"""Falls of the fuel level while a vehicle stands: where fuel leaves the tank without being burnt.

Used for whole hours (incidents/hours.py) and in the stream (incidents/detectors/fuel_theft.py), so that both mean the
same by a fall.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

# A level outside this range, percent, is a sender without contact or an error code: a tank never reads exactly empty.
LOWEST_PCT: Final = 0.5
HIGHEST_PCT: Final = 100.5
# Fuel that leaves faster than this was neither poured nor pumped (1 %/s is 30 l/min from a 50 l tank; hand pumps make
# 10 to 40 l/min): the sender lost its supply or was replaced. Judgement.
FASTEST_PCT_S: Final = 1.0
STEP_PCT: Final = 2.0
# Burnt by an engine that idles: 0.8 to 3 l/h of a 50 l tank; taken high so that what remains was not burnt. Judgement.
IDLING_PCT_H: Final = 6.0
# Falls smaller than this many standard deviations of the sender's noise are noise. Judgement.
_NOISE_SIGMAS: Final = 6.0
# Fuel that sloshes after a stop is at rest by then: it dies away with a constant of some 10 s. Judgement.
_SLOSHES_S: Final = 30.0
# A fall begins and ends where no more than noise is missing, at most this share of it: so it is not dated to the last
# time that the level reached as high before it, or as low after it. A sender's step is up to 0.5 %. Judgement.
_ENDS_SHARE: Final = 0.1
_ENDS_SIGMAS: Final = 3.0
_ENDS_PCT: Final = 0.5
_SMOOTHED: Final = 5  # samples whose median is the level before a fall
# Two samples this close together, seconds, must both be low: one alone may be a glitch.
_TOGETHER_S: Final = 30.0


@dataclass(frozen=True, slots=True)
class Fall:
    """The greatest fall in one stay. Times are those of the samples given, seconds; levels in percent."""

    fall_pct: float
    from_pct: float
    to_pct: float
    begin_s: float
    end_s: float
    noise_pct: float


def usable(fuel_pct: Floats) -> Bools:
    """Samples that tell a level."""
    with np.errstate(invalid="ignore"):
        mask: Bools = (fuel_pct > LOWEST_PCT) & (fuel_pct <= HIGHEST_PCT)
    return mask


def falls(time_s: Floats, fuel_pct: Floats, stands: Bools, engine_on: Bools, since_s: float = -np.inf) -> list[Fall]:
    """Greatest fall of each stay (n,) samples in order of time: a run of usable samples during which `stands` holds.

    `since_s`: only of stays that last until then or longer.
    What idling may have burnt is taken off. A fall that is mostly an impossible step, or a step as the engine is
    switched on or off (the sender's supply may be switched with it), or no more than noise, is none.
    """
    moved_s = np.maximum.accumulate(np.where(stands, -np.inf, time_s))
    known = np.flatnonzero(usable(fuel_pct) & ~(stands & (time_s - moved_s < _SLOSHES_S)))
    if len(known) < 2:
        return []
    # Movement between two samples parts stays, even where the samples themselves were taken standing.
    moves = np.concatenate(([0], np.cumsum(~stands)))
    parted = (moves[known[1:] + 1] - moves[known[:-1]]) > 0
    bounds = np.concatenate(([0], np.flatnonzero(parted) + 1, [len(known)]))
    asked = (np.diff(bounds) >= 2) & (time_s[known[bounds[1:] - 1]] >= since_s)
    found = []
    for number in np.flatnonzero(asked).tolist():
        stay = known[bounds[number] : bounds[number + 1]]
        fall = _greatest(time_s[stay], fuel_pct[stay], engine_on[stay])
        if fall is not None:
            found.append(fall)
    return found


def _greatest(time_s: Floats, level: Floats, engine_on: Bools) -> Fall | None:
    count = len(level)
    if count > 2:
        # A single sample below both its neighbours is a glitch.
        level = np.maximum(level, np.append(-np.inf, np.append(np.minimum(level[:-2], level[2:]), -np.inf)))
    steps, apart = np.diff(level), np.diff(time_s)
    noise, before = 0.0, level
    if count >= _SMOOTHED:
        noise = float(1.4826 * np.median(np.abs(steps - np.median(steps))) / np.sqrt(2.0))
        padded = np.concatenate((np.repeat(level[0], _SMOOTHED - 1), level))
        before = np.median(np.lib.stride_tricks.sliding_window_view(padded, _SMOOTHED), axis=1)
    low = level.copy()
    low[1:] = np.where(apart <= _TOGETHER_S, np.maximum(level[1:], level[:-1]), level[1:])
    # Against the highest level before each sample.
    reached = np.maximum.accumulate(before)
    high = np.append(before[0], reached[:-1])
    top = np.append(0, np.maximum.accumulate(np.where(before >= reached, np.arange(count), 0))[:-1])
    burnt = np.concatenate(([0.0], np.cumsum(np.where(engine_on[:-1], apart, 0.0)))) * IDLING_PCT_H / 3600.0
    gone = (high - low) - (burnt - burnt[top])
    end = 1 + int(np.argmax(gone[1:]))
    if gone[end] <= _NOISE_SIGMAS * noise or gone[end] <= 0.0:
        return None
    ends_pct = min(_ENDS_SHARE * gone[end], max(_ENDS_SIGMAS * noise, _ENDS_PCT))
    full = np.flatnonzero(level[:end] >= high[end] - ends_pct)
    begin = int(full[-1]) if len(full) else int(top[end])
    down, switched = -steps[begin:end], engine_on[begin:end] != engine_on[begin + 1 : end + 1]
    doubtful = down > np.where(switched, 0.0, FASTEST_PCT_S * apart[begin:end]) + STEP_PCT + 4.0 * noise
    if down[doubtful].sum() > gone[end] / 2:
        return None
    over = begin + 1 + int(np.argmax(gone[begin + 1 : end + 1] >= gone[end] - ends_pct))
    return Fall(float(gone[end]), float(high[end]), float(low[end]), float(time_s[begin]), float(time_s[over]), noise)
