"""Changes of speed that no driver makes: what readings once a second show of a crash, where there is no burst.

One reading a second cannot tell 0.9 g of braking from a crash of 30 km/h. What is beyond braking is believed if
nothing speaks against it; what a good brake could do needs something beside it that brakes do not do. Faults of the
receiver look alike, so every witness is heard: the vehicle's own speed, positions, accelerations, what comes next.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np

from incidents.detectors._around import STANDS_KMH, believed_speed_kmh, seconds_near
from incidents.detectors._burst import G_MPS2
from incidents.detectors._clock import strands
from incidents.detectors._track import apart_m
from incidents.rows import Rows
from incidents.window import Bools, Floats, Ints, S, Window

COLUMNS: Final = frozenset(
    {
        "speed_kmh", "obd_speed_kmh", "fix_valid", "lat_deg", "lon_deg", "ignition", "accel_gravity",
        "accel_x_mps2", "accel_y_mps2", "accel_z_mps2", "gyro_x_dps", "gyro_y_dps", "gyro_z_dps",
    }
)  # fmt: skip

_KMH_S_PER_G: Final = G_MPS2 * 3.6
# docs/detection-science.md, B2: a loss of 25 km/h or more in a second, beyond braking physics.
LEAST_KMH: Final = 25.0
# The hardest stops on dry asphalt reach 0.95 g (reference A3) to 1.0 g; the receiver's noise of 1 to 2 km/h beside it.
BEYOND_BRAKES_G: Final = 1.1
# The same where a second source shows the change too, for the noise of one receiver does not count then.
_BEYOND_BRAKES_SEEN_G: Final = 1.05
_BRAKES_G: Final = 0.95
# A loss of 25 km/h in a second.
_SUSPECT_G: Final = LEAST_KMH / _KMH_S_PER_G
# Changes are taken over a second; a pause longer than the other says nothing. At higher rates steps of half a second
# and less are looked at when they are steep.
_OVER_S: Final = (0.8, 2.5)
_STEEP_G: Final = 1.5
# A crash changes the speed within one or two seconds, a second one within as many: what does so for longer, within a
# minute either way, is no vehicle. Judgement.
_BROKEN_S: Final = 8.0
_BROKEN_WITHIN_S: Final = 60.0
_STEEP_KMH: Final = 6.0
# What brakes do not do (judgement): spin the vehicle, shake it beyond 1.5 g, stop the engine within seconds.
_SPINS_DPS: Final = 60.0
_SHAKEN_MPS2: Final = 1.5 * G_MPS2
_ENGINE_DIES_S: Final = 5.0
# The way between fixes shrinks with the mean speed. No brakes do that (BEYOND_BRAKES_G); a fifth of a g more for fixes
# that scatter by half a metre, and a fix that strays forward shows by a way no vehicle of that speed makes. Judgement.
_STOPS_SHORT_G: Final = 1.3
_STRAYS_KMH: Final = 5.0
_FIXES_APART_S: Final = (0.8, 1.25)
# A witness agrees when it shows this share of the change, and denies it when it shows less than the other.
_AGREES: Final = 0.6
_DENIES: Final = 0.3
# Speed that is back within so long was never gone, if it came back faster than engines do it.
_BACK_WITHIN_S: Final = 12.0
_ENGINES_G: Final = 0.6


@dataclass(frozen=True, slots=True)
class Jump:
    """A change of speed between two readings, `lost_kmh` negative where speed was gained.

    confirmed  a second source of speed or an accelerometer saw it too, or the readings after it go on from there
    """

    from_us: int
    at_us: int
    from_kmh: float
    to_kmh: float
    confirmed: bool
    spins: bool
    engine_died: bool

    @property
    def lost_kmh(self) -> float:
        """Speed that was lost."""
        return self.from_kmh - self.to_kmh

    @property
    def step_s(self) -> float:
        """Time between the two readings."""
        return (self.at_us - self.from_us) / S

    @property
    def beyond_kmh(self) -> float:
        """What is left of the change when the hardest braking of the whole time is taken off."""
        return max(0.0, abs(self.lost_kmh) - _BRAKES_G * _KMH_S_PER_G * self.step_s)


def wanted(rows: Rows) -> Bools:
    """Readings at which speed jumped, or the engine was stopped (which may bear out a jump before it)."""
    mask = rows.none
    for name in ("speed_kmh", "obd_speed_kmh"):
        if rows.has(name):
            _mark_steep(rows, name, mask)
    if rows.has("ignition"):
        ignition = rows.flag("ignition")
        off = ignition == 0
        if off.any():
            mask |= off & (rows.shifted(ignition) == 1)
    return mask


def _mark_steep(rows: Rows, name: str, mask: Bools) -> None:
    """Mark in `mask` where a speed changed by more than brakes are likely to change it."""
    speed, readings = rows.number(name), rows.readings
    # Where readings without a speed lie between, the newest that has one counts.
    missing = np.isnan(speed)
    known = np.flatnonzero(~missing) if missing.any() else None
    change = np.diff(speed if known is None else speed[known])
    np.abs(change, out=change)
    steep = np.flatnonzero(change >= _STEEP_KMH)
    if not len(steep):
        return
    last, this = (steep, steep + 1) if known is None else (known[steep], known[steep + 1])
    step_s = (readings.device_time_us[this] - readings.device_time_us[last]) / S
    with np.errstate(divide="ignore"):
        per_s = change[steep] / np.minimum(step_s, _OVER_S[1])
    within = (change[steep] >= LEAST_KMH) & (per_s >= _SUSPECT_G * _KMH_S_PER_G)
    at_once = (step_s < _OVER_S[0]) & (per_s >= _STEEP_G * _KMH_S_PER_G)
    same = readings.vehicle_index[this] == readings.vehicle_index[last]
    mask[this[same & (within | at_once)]] = True


def jumps(window: Window) -> list[Jump]:
    """The window's jumps of speed that are not refuted, in order of time."""
    return sorted((jump for part in strands(window) for jump in _of_strand(part)), key=lambda jump: jump.at_us)


def _of_strand(window: Window) -> list[Jump]:
    sources = (believed_speed_kmh(window), window.number("obd_speed_kmh"))
    found: dict[int, Jump] = {}
    for speed, other in (sources, sources[::-1]):
        known = np.flatnonzero(np.isfinite(speed))
        times, values = window.device_time_us[known], speed[known]
        if len(known) < 2:
            continue
        earlier = np.searchsorted(times, times - round(_OVER_S[0] * S), side="right") - 1
        within_s = (times - times[earlier]) / S
        change = np.where(earlier >= 0, values[earlier] - values, 0.0)
        with np.errstate(divide="ignore", invalid="ignore"):
            steep = np.abs(change) >= np.maximum(LEAST_KMH, _SUSPECT_G * _KMH_S_PER_G * within_s)
        steep &= (earlier >= 0) & (within_s <= _OVER_S[1])
        # A source that jumps again and again is broken.
        steep &= seconds_near(times, steep, _BROKEN_WITHIN_S, _OVER_S[1]) <= _BROKEN_S
        for row in np.flatnonzero(steep).tolist():
            pair = (int(known[earlier[row]]), int(known[row]))
            jump = _judged(window, speed, other, pair)
            if jump is not None and jump.at_us not in found:
                found[jump.at_us] = jump
    return [found[at_us] for at_us in sorted(found)]


def _judged(window: Window, speed: Floats, other: Floats, pair: tuple[int, int]) -> Jump | None:
    """The jump between two readings, or None where something speaks against it or too little for it."""
    first, last = pair
    from_us, at_us = int(window.device_time_us[first]), int(window.device_time_us[last])
    lost = float(speed[first] - speed[last])
    step_s = (at_us - from_us) / S
    seen = _share_seen(window.device_time_us, other, (from_us, at_us), lost)
    felt = _felt_mps2(window, first, last)
    if (seen is not None and seen < _DENIES) or _comes_back(window, speed, last, lost) or _moves_on(window, last, lost):
        return None
    if _was_odd(window, speed, first, lost):
        return None
    by_witness = (seen is not None and seen >= _AGREES) or (
        felt is not None and felt >= _AGREES * abs(lost) / 3.6 / step_s
    )
    if lost < 0 and not by_witness:
        return None
    spins, died = _spins(window, first, last), lost > 0 and _engine_died(window, last)
    shaken = felt is not None and felt >= _SHAKEN_MPS2
    beyond_g = _BEYOND_BRAKES_SEEN_G if by_witness else BEYOND_BRAKES_G
    beyond = abs(lost) >= beyond_g * _KMH_S_PER_G * step_s
    if not (beyond or spins or shaken or died or (lost > 0 and _stops_short(window, speed, first, last))):
        return None
    goes_on = last + 1 < len(window) and bool(np.isfinite(speed[last + 1 :]).any())
    return Jump(from_us, at_us, float(speed[first]), float(speed[last]), by_witness or goes_on, spins, died)


def _share_seen(times: Ints, other: Floats, span_us: tuple[int, int], lost: float) -> float | None:
    """Share of the change that another source of speed shows at about that time, None where there is none."""
    known = np.isfinite(other)
    before = np.flatnonzero(known & (times <= span_us[0]) & (times >= span_us[0] - 2 * S))
    after = np.flatnonzero(known & (times >= span_us[1]) & (times <= span_us[1] + 2 * S))
    if not len(before) or not len(after):
        return None
    return float((other[before[-1]] - other[after[-1]]) / lost)


def _comes_back(window: Window, speed: Floats, last: int, lost: float) -> bool:
    """Whether the speed of before is back within seconds, faster than a vehicle gains it: the receiver was at fault."""
    times = window.device_time_us
    rows = np.flatnonzero(
        (times >= times[last]) & (times <= times[last] + round(_BACK_WITHIN_S * S)) & np.isfinite(speed)
    )
    back = (speed[rows] - speed[last]) / lost >= _AGREES
    if not back.any():
        return False
    until = int(np.argmax(back))
    step_s = np.diff(times[rows[: until + 1]]) / S
    gained_g = np.diff(speed[rows[: until + 1]]) / _KMH_S_PER_G / step_s * np.sign(lost)
    return bool((gained_g >= _ENGINES_G).any() or (step_s > _OVER_S[1]).any())


def _was_odd(window: Window, speed: Floats, first: int, lost: float) -> bool:
    """Whether the speed had just risen to where it was lost from, faster than engines do it: one odd value."""
    if lost < 0:
        return False
    times = window.device_time_us
    rows = np.flatnonzero(
        (times <= times[first]) & (times >= times[first] - round(_OVER_S[1] * S)) & np.isfinite(speed)
    )
    low = np.flatnonzero((speed[first] - speed[rows]) / lost >= _AGREES)
    if not len(low):
        return False
    gained_kmh, step_s = speed[first] - speed[rows[low[-1]]], (times[first] - times[rows[low[-1]]]) / S
    return bool(gained_kmh >= _ENGINES_G * _KMH_S_PER_G * step_s)


def _moves_on(window: Window, last: int, lost: float) -> bool:
    """Whether positions run on as if no speed had been lost."""
    if lost < 0:
        return False
    usable = np.flatnonzero(window.fix_mask())
    usable = usable[(usable >= last) & (window.device_time_us[usable] <= window.device_time_us[last] + 5 * S)]
    if len(usable) < 3:
        return False
    lat, lon = window.number("lat_deg")[usable], window.number("lon_deg")[usable]
    seconds = float(window.device_time_us[usable[-1]] - window.device_time_us[usable[0]]) / S
    moved_kmh = float(apart_m(lat[0], lon[0], lat[-1], lon[-1])) / max(seconds, 1.0) * 3.6
    then_kmh = float(np.nanmax(window.speed_kmh()[usable[0] : usable[-1] + 1], initial=0.0))
    return moved_kmh > then_kmh + max(LEAST_KMH, _AGREES * lost)


def _stops_short(window: Window, speed: Floats, first: int, last: int) -> bool:
    """Whether positions show that the vehicle was stopped in less way than brakes need."""
    times = window.device_time_us
    usable = np.flatnonzero(window.fix_mask())
    usable = usable[(times[usable] >= times[first] - 2 * S) & (times[usable] <= times[last] + 2 * S)]
    if len(usable) < 3:
        return False
    lat, lon = window.number("lat_deg")[usable], window.number("lon_deg")[usable]
    step_s = np.diff(times[usable]) / S
    mean_kmh = np.asarray(apart_m(lat[:-1], lon[:-1], lat[1:], lon[1:])) / step_s * 3.6
    even = (step_s >= _FIXES_APART_S[0]) & (step_s <= _FIXES_APART_S[1])
    honest = even & (mean_kmh <= float(speed[first]) + _STRAYS_KMH)
    lost_g = (mean_kmh[:-1] - mean_kmh[1:]) / ((step_s[:-1] + step_s[1:]) / 2) / _KMH_S_PER_G
    return bool((honest[:-1] & even[1:] & (lost_g >= _STOPS_SHORT_G)).any())


def _felt_mps2(window: Window, first: int, last: int) -> float | None:
    """Strongest acceleration from after the first reading to the last; gravity taken off as the median around."""
    accel = np.column_stack([window.number(f"accel_{axis}_mps2") for axis in "xyz"])
    part = accel[first + 1 : last + 1]
    part = part[np.isfinite(part).all(axis=1)]
    if not len(part):
        return None
    if (window.flag("accel_gravity")[first + 1 : last + 1] == 1).any():
        times = window.device_time_us
        near = (times >= times[first] - 20 * S) & (times <= times[first]) & np.isfinite(accel).all(axis=1)
        if not near.any():
            return None
        part = part - np.median(accel[near], axis=0)
    return float(np.linalg.norm(part, axis=1).max())


def _spins(window: Window, first: int, last: int) -> bool:
    gyro = np.column_stack([window.number(f"gyro_{axis}_dps") for axis in "xyz"])[first + 1 : last + 1]
    rates = np.linalg.norm(gyro, axis=1)
    return bool((rates >= _SPINS_DPS).any())


def _engine_died(window: Window, last: int) -> bool:
    """Whether the ignition went off within seconds, before anybody could have driven off again."""
    times, ignition = window.device_time_us, window.flag("ignition")
    before = ignition[: last + 1][ignition[: last + 1] >= 0]
    off = np.flatnonzero((ignition == 0) & (times >= times[last]) & (times <= times[last] + round(_ENGINE_DIES_S * S)))
    if not len(before) or before[0] == 0 or not len(off):
        return False
    return not believed_speed_kmh(window)[off[0]] >= STANDS_KMH
