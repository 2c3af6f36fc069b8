"""The strongest blow in a burst: how much it changed the velocity, how long it took, and what clipping hides of it."""

from dataclasses import dataclass
from typing import Final

import numpy as np

from incidents.detectors._burst import G_MPS2, Burst
from incidents.detectors._tilt import falling
from incidents.window import Bools, Floats

KMH_PER_MPS: Final = 3.6
_UPWARD: Final = np.array([0.0, 0.0, 1.0])

# Delta-V is taken over at most this span: 49 CFR 563.7 reports the maximum within 300 ms.
_LONGEST_S: Final = 0.3
# The span of a pulse is the shortest that holds this share of its delta-V: what lies outside is the car's rocking.
_CORE_SHARE: Final = 0.93
# Tyres hold about 1 g: what is beyond is not driving. A difference of this size between the two sides of a pulse is
# braking on one of them, and so long a side is looked at. Judgement.
_BEYOND_TYRES_MPS2: Final = 1.0 * G_MPS2
_SIDES_DIFFER_MPS2: Final = 0.2 * G_MPS2
_BESIDE_S: Final = 0.3
# The foot of a haversine lies this share of its core beyond it.
_FOOT_SHARE: Final = 0.25
# Pulses of crash tests last 60 to 200 ms (reference A3); completion considers a little more on either side.
_PULSE_S: Final = (0.05, 0.25)
# One case in so many goes further than what is called plausible. Judgement.
_PLAUSIBLE_QUANTILE: Final = 0.7
# Widths: a structure that takes a car's speed cannot do so in less. A dropped device is stopped within 5 to 20 ms.
_NEVER_A_VEHICLE_S: Final = 0.014
_HARDLY_A_VEHICLE_S: Final = 0.026
_HARDLY_KMH: Final = 10.0
_SHORT_S: Final = 0.03
_ABOUT_PEAK: Final = 0.2
# Below this rate one sample says nothing of a width; between, a pulse of 60 ms still shows in two or three samples.
_WIDTH_KNOWN_HZ: Final = 80.0
_TWO_SAMPLES_HZ: Final = 40.0
_ONE_SAMPLE_SHARE: Final = 0.8
_ONE_SAMPLE_KMH: Final = 14.0


@dataclass(frozen=True, slots=True)
class Pulse:
    """One blow. Vectors are in device axes; horizontal ones where "up" is known, the whole vector where it is not.

    t0_us, until_us   from its onset to its end
    peak_us, peak_g   its strongest sample at the device's own rate, and how strong that was
    delta_v_mps       (3,) change of velocity
    delta_v_kmh       its size; a lower bound when `clipped`
    likely_kmh        the same with what clipping hides, as pulses usually go on
    plausible_kmh     and as far as all but three in ten go on
    width_s           delta-V over the peak: how wide a rectangle of the same area and height is
    peak_width_s      the same of what lies about the peak without a break
    largest_share     share of the delta-V in its largest sample
    vertical_share    share of the shaking that was up and down; None where "up" is not known
    contrast          how far it stands out from both of its sides, the lesser, as a share of its mean; 0 where the
                      burst does not show both
    rate_hz           of the samples that were looked at
    """

    t0_us: int
    until_us: int
    peak_us: int
    peak_g: float
    delta_v_mps: Floats
    delta_v_kmh: float
    likely_kmh: float
    plausible_kmh: float
    width_s: float
    peak_width_s: float
    largest_share: float
    vertical_share: float | None
    clipped: bool
    contrast: float
    rate_hz: float

    @property
    def is_spike(self) -> bool:
        """Too short for a vehicle: something struck the device, or the device struck something."""
        if self.rate_hz >= _WIDTH_KNOWN_HZ:
            return self.width_s < _NEVER_A_VEHICLE_S or (
                self.width_s < _HARDLY_A_VEHICLE_S and self.likely_kmh < _HARDLY_KMH
            )
        return (
            self.rate_hz >= _TWO_SAMPLES_HZ
            and self.largest_share > _ONE_SAMPLE_SHARE
            and self.likely_kmh < _ONE_SAMPLE_KMH
        )

    @property
    def is_short(self) -> bool:
        """Whether it was over within 30 ms, seen well enough to tell."""
        return self.peak_width_s < _SHORT_S and self.rate_hz >= _WIDTH_KNOWN_HZ

    @property
    def may_be_short(self) -> bool:
        """Whether it was over within 30 ms, or nobody can tell."""
        return self.is_short or self.rate_hz < _WIDTH_KNOWN_HZ

    @property
    def is_one_sample(self) -> bool:
        """All of it lies in one sample: what it was cannot be told from the burst."""
        return self.largest_share > _ONE_SAMPLE_SHARE


def strongest(burst: Burst, up: Floats | None) -> Pulse | None:
    """The blow with the greatest delta-V. `up` (3,) is the unit vector upward in device axes.

    None for a burst of fewer than three samples.
    """
    work = burst.thinned()
    if len(work) < 3:
        return None
    slow = work.slow_mps2()
    # Falling is not a blow: where gravity was taken off it looks like a steady push of 1 g.
    falls = falling(work, _UPWARD if up is None else up, in_any_direction=up is None)
    quick = np.where(falls[:, None], 0.0, work.accel_mps2 - slow)
    across = _level(quick, up)
    begin, end, change = _greatest(across, work.step_s)
    if not change.any():
        return None
    size_mps = float(np.linalg.norm(change))
    core = _core(across @ change / size_mps, begin, end, size_mps / work.step_s)
    if np.linalg.norm(across[core[0] : core[1]], axis=1).max() >= _BEYOND_TYRES_MPS2:
        slow = _without_braking(work, slow, core)
        across = _level(np.where(falls[:, None], 0.0, work.accel_mps2 - slow), up)
        wide = _widened(core, len(work))
        change = across[wide[0] : wide[1]].sum(axis=0) * work.step_s
        size_mps = float(np.linalg.norm(change))
    direction = change / size_mps
    along = across[core[0] : core[1]] @ direction
    highest = max(float(np.linalg.norm(across[core[0] : core[1]], axis=1).max()), 1e-9)
    peak_us, peak_mps2 = _peak(burst, work, slow, up, core)
    clipped = bool(work.clipped[core[0] : core[1]].any())
    likely, plausible = size_mps, size_mps
    if clipped:
        likely, plausible = _completed_mps(across @ direction, work.clipped, core, work.step_s, size_mps)
    vertical_share = None
    if up is not None:
        around = slice(max(0, core[0] - 2), core[1] + 2)
        vertical, level = np.abs(quick[around] @ up).sum(), np.linalg.norm(across[around], axis=1).sum()
        vertical_share = float(vertical / max(vertical + level, 1e-9))
    return Pulse(
        work.time_us(core[0] - 0.5),
        work.time_us(core[1] - 0.5),
        peak_us,
        peak_mps2 / G_MPS2,
        change,
        size_mps * KMH_PER_MPS,
        likely * KMH_PER_MPS,
        plausible * KMH_PER_MPS,
        size_mps / highest,
        _peak_width_s(across[core[0] : core[1]], work.step_s),
        float(along.max() * work.step_s / size_mps),
        vertical_share,
        clipped,
        _contrast(work.accel_mps2 @ direction, core, float(along.mean()), work.step_s),
        work.rate_hz,
    )


def _level(motion: Floats, up: Floats | None) -> Floats:
    """(n, 3) the horizontal part, or all of it where "up" is not known."""
    return motion if up is None else motion - np.outer(motion @ up, up)


def _greatest(across: Floats, step_s: float) -> tuple[int, int, Floats]:
    """First sample, end and change of velocity (3,) of the span of up to 300 ms with the greatest change."""
    velocity = np.concatenate((np.zeros((1, 3)), np.cumsum(across, axis=0))) * step_s
    found, greatest = (0, 1), -1.0
    for length in range(1, min(len(across), max(1, round(_LONGEST_S / step_s))) + 1):
        sizes = np.linalg.norm(velocity[length:] - velocity[:-length], axis=1)
        at = int(np.argmax(sizes))
        if sizes[at] > greatest:
            greatest, found = float(sizes[at]), (at, at + length)
    return found[0], found[1], velocity[found[1]] - velocity[found[0]]


def _core(along: Floats, begin: int, end: int, total: float) -> tuple[int, int]:
    """The shortest part of a span that holds nearly all of its area `total`."""
    area = np.concatenate(([0.0], np.cumsum(along[begin:end])))
    best = (begin, end)
    for first in range(end - begin):
        enough = np.flatnonzero(area[first + 1 :] - area[first] >= _CORE_SHARE * total)
        if len(enough) and int(enough[0]) + 1 < best[1] - best[0]:
            best = (begin + first, begin + first + int(enough[0]) + 1)
    return best


def _widened(core: tuple[int, int], count: int) -> tuple[int, int]:
    """A core with the foot of the pulse on either side."""
    foot = max(1, round((core[1] - core[0]) * _FOOT_SHARE))
    return max(0, core[0] - foot), min(count, core[1] + foot)


def _without_braking(work: Burst, slow: Floats, core: tuple[int, int]) -> Floats:
    """(n, 3) `slow` with the pulse set against the calmer of its two sides.

    Whoever brakes until the impact and is stopped by it would have his braking taken off the impact.
    """
    first, last = _widened(core, len(work))
    beside = max(2, round(_BESIDE_S / work.step_s))
    before, after = work.accel_mps2[max(0, first - beside) : first], work.accel_mps2[last : last + beside]
    if len(before) < 2 or len(after) < 2:
        return slow
    rest = work.rest_mps2()
    sides = [np.median(before, axis=0), np.median(after, axis=0)]
    calmer = min(sides, key=lambda side: float(np.linalg.norm(side - rest)))
    if np.linalg.norm(sides[0] - sides[1]) < _SIDES_DIFFER_MPS2:
        return slow
    settled = slow.copy()
    settled[first:last] = calmer
    return settled


def _peak_width_s(across: Floats, step_s: float) -> float:
    """Width of what lies about the strongest sample, as far as it stays above a fifth of it."""
    sizes = np.linalg.norm(across, axis=1)
    at = int(np.argmax(sizes))
    low = np.flatnonzero(sizes < _ABOUT_PEAK * sizes[at])
    first, end = low[low < at].max(initial=-1) + 1, low[low > at].min(initial=len(sizes))
    return float(sizes[first:end].sum() / max(sizes[at], 1e-9) * step_s)


def _contrast(felt: Floats, core: tuple[int, int], mean: float, step_s: float) -> float:
    """How far the core's mean lies beyond the medians of both sides, as a share of what it is taken for."""
    first, last = _widened(core, len(felt))
    beside = max(2, round(_BESIDE_S / step_s))
    sides = (felt[max(0, first - beside) : first], felt[last : last + beside])
    if min(len(side) for side in sides) < 2:
        return 0.0
    level = felt[core[0] : core[1]].mean()
    return min(float((level - np.median(side)) / max(mean, 1e-9)) for side in sides)


def _peak(burst: Burst, work: Burst, slow: Floats, up: Floats | None, core: tuple[int, int]) -> tuple[int, float]:
    """Time and size of the strongest sample at the burst's own rate."""
    low = max(0, int((work.time_us(core[0] - 0.5) - burst.t0_us) / 1e6 * burst.rate_hz))
    high = min(len(burst), int((work.time_us(core[1] - 0.5) - burst.t0_us) / 1e6 * burst.rate_hz) + 1)
    part = burst.accel_mps2[low : max(high, low + 1)] - slow[core[0] : core[1]].mean(axis=0)
    sizes = np.linalg.norm(_level(part, up), axis=1)
    at = int(np.argmax(sizes))
    return burst.time_us(low + at), float(sizes[at])


def _completed_mps(
    along: Floats, clipped: Bools, core: tuple[int, int], step_s: float, bound_mps: float
) -> tuple[float, float]:
    """The likely and the plausible area of a pulse of which saturation shows only the flanks.

    Every haversine and half-sine on a grid of onset, length and area is held against the samples: it must run through
    those that are whole, and stay above those that are not. An area weighs as much as the best pulse that has it. (Were
    all pulses summed, steep ones would lose for there being fewer of them.) The answers are the median of the weights
    and the quantile that is called plausible.
    """
    margin = 3
    low, high = max(0, core[0] - margin), min(len(along), core[1] + margin)
    seen, hidden = along[low:high], clipped[low:high]
    at_s = np.arange(high - low) * step_s
    flat = np.flatnonzero(hidden)
    first_s, last_s = float(at_s[flat[0]]), float(at_s[flat[-1]])
    onset = first_s - np.linspace(0.0, 0.10, 21)
    length = np.linspace(_PULSE_S[0], _PULSE_S[1], 21)
    area = bound_mps * np.geomspace(1.0, 12.0, 40)
    start, lasts = (grid.ravel() for grid in np.meshgrid(onset, length, indexing="ij"))
    reaches = start + lasts >= last_s
    start, lasts = start[reaches], lasts[reaches]
    if not len(start):
        return bound_mps, bound_mps
    x = (at_s[None, :] - start[:, None]) / lasts[:, None]
    inside = (x > 0) & (x < 1)
    shapes = (
        np.where(inside, (1 - np.cos(2 * np.pi * x)) / lasts[:, None], 0.0),
        np.where(inside, np.pi / 2 * np.sin(np.pi * np.clip(x, 0, 1)) / lasts[:, None], 0.0),
    )
    weights = np.zeros(len(area))
    for shape in shapes:
        model = shape[:, None, :] * area[None, :, None]
        # Real pulses ripple by a third about these shapes; away from them the car rocks by some tenths of g.
        spread = 0.3 * model + 0.3 * G_MPS2
        off = (model - seen) / spread
        off = np.where(hidden, np.minimum(off, 0.0) * 2.0, off)
        weights += np.exp(
            -0.5 * np.minimum((off**2 + 2 * np.where(hidden, 0.0, np.log(spread))).sum(axis=-1), 1400)
        ).max(axis=0)
    total = weights.sum()
    if not total > 0:
        return bound_mps, bound_mps
    likely, plausible = np.interp([0.5, _PLAUSIBLE_QUANTILE], np.cumsum(weights) / total, area)
    return float(likely), float(plausible)
