"""Whether a vehicle turned over: by a burst's gyroscope or gravity, or by readings once a second."""

from dataclasses import dataclass
from typing import Final

import numpy as np

from fleet_core.readings import FLAG_ABSENT
from incidents.detectors import _around
from incidents.detectors._burst import G_MPS2, Burst
from incidents.detectors._clock import strands
from incidents.detectors._mounting import Frame, frame_of
from incidents.detectors._pulse import Pulse, strongest
from incidents.detectors._tilt import OVER_DEG, falling, turn_by_gravity, turn_by_gyroscope
from incidents.rows import Rows
from incidents.window import Bools, Floats, Ints, S, Window

COLUMNS: Final = _around.COLUMNS | {
    "heading_deg", "accel_gravity", "accel_x_mps2", "accel_y_mps2", "accel_z_mps2",
}  # fmt: skip

# Readings once a second: vehicles that roll turn at about 200 degrees/s after a quarter turn (reference A3); ordinary
# driving stays below 35 about horizontal axes in the recorded drives. Two readings in a row, one of them this fast.
_ROLLS_DPS: Final = 90.0
_STILL_ROLLS_DPS: Final = 45.0
# A vehicle that trips on soil is slowed sideways by 1 to 2 g for 0.2 to 0.4 s (reference A3): 7 km/h and more.
_THROWS_KMH: Final = 5.0
# Where nobody knows for sure which way is up a spin on the road may look like a roll: it does not go this far.
_IN_ANY_AXES_DEG: Final = 180.0
# Gravity between two readings in a row: further than any hill, and felt as gravity, not as a blow. Judgement.
_SWUNG_DEG: Final = 50.0
_GRAVITY_G: Final = (0.6, 1.4)
# With gravity taken off as it lay before, a vehicle at rest that lies at 60 degrees shows 1 g: 2 sin(30).
_LEANS_MPS2: Final = 1.0 * G_MPS2
_STEADY_MPS2: Final = 0.25 * G_MPS2
_WITHIN_S: Final = 2.5
_HELD_S: Final = 5.0
# How soon after falling a device strikes.
_STRIKES_WITHIN_S: Final = 0.15
# A vehicle that turns over was driven shortly before. Judgement.
_DRIVEN_WITHIN_S: Final = 10.0
# Rolls last 2 to 6 s (reference A3); turning for longer than this within a minute either way is no rollover. Judgement.
_ROLLS_FOR_S: Final = 20.0
_ROLLED_WITHIN_S: Final = 60.0
# A device that lies otherwise while the vehicle still drives has come loose: so many readings that show the same, at
# such a speed, slowed no harder than on wheels (sliding on its side it loses 0.4 g and more, reference A3). Judgement.
_STILL_DRIVES_KMH: Final = 10.0
_ON_WHEELS_MPS2: Final = 3.0
_LAY_SO_READINGS: Final = 3
_LAY_SO_MPS2: Final = 0.3 * G_MPS2
# A vehicle may fly before it lands on its side, and that looks like a device that falls; but it is slowed at once, and
# harder than calm drivers brake (reference A3: 0.53 g in the mean, falling to 0.2). Over two seconds: receivers lag.
_SLOWED_MPS2: Final = 3.5
_SLOWED_WITHIN_S: Final = 6.0
_SLOWED_OVER_S: Final = (1.5, 3.0)


@dataclass(frozen=True, slots=True)
class Overturn:
    """A vehicle that turned over between `from_us` and `until_us`; `at_us` is when it was beyond 60 degrees.

    source     "burst" or "1hz"
    turned_deg how far it is known to have turned
    rate_dps   fastest turning, None without a gyroscope
    confirmed  more than one reading says so, and nothing says that it was parked
    """

    at_us: int
    from_us: int
    until_us: int
    source: str
    turned_deg: float
    rate_dps: float | None
    confirmed: bool


def overturns(window: Window, bursts: list[Burst]) -> list[Overturn]:
    """All of them that are not refuted, in order of time."""
    found = [one for burst in bursts if (one := _in_burst(window, burst)) is not None]
    in_readings = [one for part in strands(window) for one in _in_readings(part)]
    if in_readings:
        falls_us = _falls_us(window, bursts)
        found += [one for one in in_readings if not _fell_before(falls_us, one.at_us)]
    return sorted(found, key=lambda one: one.at_us)


def _falls_us(window: Window, bursts: list[Burst]) -> list[int]:
    """When the device began to fall off its mount: from then on its axes are anybody's guess."""
    times = []
    for burst in bursts:
        frame = frame_for(window, burst)
        pulse = strongest(burst, frame.up)
        if pulse is not None and is_drop(burst, pulse, frame) and not _slowed(window, pulse.peak_us):
            times.append(burst.t0_us)
    return times


def frame_for(window: Window, burst: Burst) -> Frame:
    """Axes of the device at the time of a burst, from the readings before it."""
    before = window.between(burst.t0_us - round(_around.FROM_S * S), burst.t0_us - S)
    return frame_of(before, burst.gravity, burst.rest_mps2() if burst.gravity else None)


def is_drop(burst: Burst, pulse: Pulse, frame: Frame) -> bool:
    """Whether a device fell and struck something: weightless, then a blow too short for a vehicle.

    Where "up" is only believed, a fall may lie in any direction, if the blow is seen well enough to be called short.
    """
    return pulse.may_be_short and fell_before(burst, pulse, frame)


def fell_before(burst: Burst, pulse: Pulse, frame: Frame) -> bool:
    """Whether the device was weightless until the blow."""
    work = burst.thinned()
    fell = np.flatnonzero(falling(work, frame.up, pulse.is_short and not frame.up_known))
    if not len(fell):
        return False
    since_s = (pulse.peak_us - np.array([work.time_us(at + 0.5) for at in fell.tolist()])) / S
    return bool(((since_s >= -work.step_s) & (since_s <= _STRIKES_WITHIN_S + work.step_s)).any())


def wanted(rows: Rows) -> Bools:
    """Readings that turn, lean or swing further than vehicles on their wheels do."""
    mask = rows.none
    if rows.has("gyro_x_dps", "gyro_y_dps"):
        for name in ("gyro_x_dps", "gyro_y_dps", "gyro_z_dps"):
            fast = np.abs(rows.number(name)) >= _STILL_ROLLS_DPS / 2
            if fast.any():
                mask |= fast
        if mask.any():
            rate, last = (_size([get(f"gyro_{axis}_dps") for axis in "xyz"]) for get in (rows.number, rows.before))
            mask &= (np.minimum(rate, last) >= _STILL_ROLLS_DPS) & (np.maximum(rate, last) >= _ROLLS_DPS)
    if not rows.has("accel_x_mps2", "accel_y_mps2"):
        return mask
    now = [rows.number(f"accel_{axis}_mps2") for axis in "xyz"]
    holds = rows.flag("accel_gravity") == 1
    if holds.any():
        before = [rows.before(f"accel_{axis}_mps2") for axis in "xyz"]
        along = sum((one * other for one, other in zip(now, before, strict=True)), start=np.zeros(len(rows)))
        with np.errstate(invalid="ignore"):
            swings: Bools = along < np.cos(np.radians(_SWUNG_DEG)) * _size(now) * _size(before)
        # Without gravity in it the direction means nothing, whatever others in the batch send.
        mask |= swings & holds & rows.shifted(holds)
    with np.errstate(invalid="ignore"):
        leans: Bools = _size(now) >= _LEANS_MPS2
    leans &= ~holds
    if leans.any():
        mask |= leans & rows.shifted(leans)
    return mask


def _size(parts: list[Floats]) -> Floats:
    size: Floats = np.sqrt(sum((part * part for part in parts), start=np.zeros(len(parts[0]))))
    return size


def _in_burst(window: Window, burst: Burst) -> Overturn | None:
    frame = frame_for(window, burst)
    over = turn_by_gravity(burst, frame.up)
    if over is None or not over.is_over:
        over = turn_by_gyroscope(burst, frame.up)
        if over is None or not over.is_over or (not frame.up_known and over.turned_deg < _IN_ANY_AXES_DEG):
            return None
    if over.over_us is None:
        return None
    around = _around.around(window, burst.t0_us)
    pulse = strongest(burst, frame.up)
    fell = pulse is not None and (is_drop(burst, pulse, frame) or _was_tossed(burst, pulse, frame))
    thrown = pulse is not None and pulse.delta_v_kmh >= _THROWS_KMH
    if around.parked and not thrown:
        return None  # somebody holds the device, or it fell: nothing has thrown the vehicle
    if fell or around.stands or (around.unchanged and around.drives_on):
        return None
    rate = None if burst.gyro_dps is None else float(np.linalg.norm(burst.gyro_dps, axis=1).max())
    turned = max(over.greatest_deg, over.turned_deg)
    return Overturn(over.over_us, burst.t0_us, burst.until_us, "burst", turned, rate, not around.parked)


def _was_tossed(burst: Burst, pulse: Pulse, frame: Frame) -> bool:
    """Whether it fell without a blow that could have thrown a vehicle: somebody holds the device in his hand."""
    return pulse.delta_v_kmh < _THROWS_KMH and bool(falling(burst.thinned(), frame.up).any())


def _slowed(window: Window, at_us: int) -> bool:
    """Whether the vehicle lost speed around an instant as it does when it slides."""
    near = window.between(at_us - round(_SLOWED_WITHIN_S * S / 2), at_us + round(_SLOWED_WITHIN_S * S))
    speed = _around.believed_speed_kmh(near)
    known = np.isfinite(speed)
    at_s, v = near.device_time_us[known] / S, speed[known] / 3.6
    step_s = at_s[None, :] - at_s[:, None]
    over = (step_s >= _SLOWED_OVER_S[0]) & (step_s <= _SLOWED_OVER_S[1])
    return bool(((v[:, None] - v[None, :])[over] >= _SLOWED_MPS2 * step_s[over]).any())


def _in_readings(window: Window) -> list[Overturn]:
    accel = np.column_stack([window.number(f"accel_{axis}_mps2") for axis in "xyz"])
    gyro = np.column_stack([window.number(f"gyro_{axis}_dps") for axis in "xyz"])
    holds, speed = window.flag("accel_gravity") == 1, window.speed_kmh()
    times = window.device_time_us
    if len(window) < 2:
        return []
    near = np.append(False, np.diff(times) <= _WITHIN_S * S)
    found = []
    with np.errstate(invalid="ignore"):
        turning = np.linalg.norm(gyro, axis=1)
        rolls = near & (np.minimum(turning, np.roll(turning, 1)) >= _STILL_ROLLS_DPS)
        rolls &= np.maximum(turning, np.roll(turning, 1)) >= _ROLLS_DPS
        size = np.linalg.norm(accel, axis=1)
        along = (accel * np.roll(accel, 1, axis=0)).sum(axis=1)
        swings = near & holds & np.roll(holds, 1) & (along < np.cos(np.radians(_SWUNG_DEG)) * size * np.roll(size, 1))
        swings &= (size >= _GRAVITY_G[0] * G_MPS2) & (size <= _GRAVITY_G[1] * G_MPS2)
        steady = np.linalg.norm(accel - np.roll(accel, 1, axis=0), axis=1) <= _STEADY_MPS2
        leans = near & ~holds & ~np.roll(holds, 1) & (size >= _LEANS_MPS2) & (np.roll(size, 1) >= _LEANS_MPS2) & steady
        leans &= ~(speed >= _around.STANDS_KMH)
        upright = np.isfinite(size) & (holds | (size < _LEANS_MPS2 / 2))
    turns = rolls | swings
    # What turns for longer is a sensor that is broken, or a device that hangs by its wire.
    turns &= _around.seconds_near(times, turns, _ROLLED_WITHIN_S, _WITHIN_S) <= _ROLLS_FOR_S
    leans &= _within_s(times, upright, _around.FROM_S)
    for row in np.flatnonzero((turns | leans) & ~_stood(times, speed)).tolist():
        at_us, from_us = int(times[row]), int(times[row - 1])
        if leans[row] and _lay_so(times, speed, accel, holds, row):
            continue
        around = _around.around(window, from_us)
        if around.parked or (around.unchanged and not leans[row]):
            continue  # a device that turns where nobody drives is in somebody's hands, or has come loose
        if rolls[row]:
            up = _frame_before(window, from_us).up
            level = [rate - (rate @ up) * up for rate in gyro[row - 1 : row + 1]]
            rates = [float(np.linalg.norm(rate)) for rate in level]
            if min(rates) >= _STILL_ROLLS_DPS and max(rates) >= _ROLLS_DPS:
                turned = sum(rates) / 2 * (at_us - from_us) / S
                found.append(Overturn(at_us, from_us, at_us, "1hz", turned, max(rates), True))
        elif leans[row]:
            angle = float(np.degrees(2 * np.arcsin(min(1.0, size[row] / (2 * G_MPS2)))))
            found.append(Overturn(at_us, from_us, at_us, "1hz", angle, None, True))
        else:
            swing = _swung(window, accel, row)
            if swing is not None:
                found.append(swing)
    return found


def _fell_before(falls_us: list[int], at_us: int) -> bool:
    """Whether the device fell since the time over which readings are compared."""
    return any(fell_us <= at_us <= fell_us + round(_around.FROM_S * S) for fell_us in falls_us)


def _lay_so(times: Ints, speed: Floats, accel: Floats, holds: Bools, row: int) -> bool:
    """Whether the device lay the same way while the vehicle still drove on its wheels."""
    step_s = np.diff(times, prepend=times[0]) / S
    with np.errstate(invalid="ignore", divide="ignore"):
        slowed = -np.diff(speed, prepend=speed[0]) / 3.6 / step_s
        same = np.linalg.norm(accel - accel[row], axis=1) <= _LAY_SO_MPS2
        drives = (speed >= _STILL_DRIVES_KMH) & (slowed <= _ON_WHEELS_MPS2) & (holds == holds[row])
    earlier = (times < times[row]) & (times >= times[row] - round(_around.FROM_S * S))
    return int((earlier & same & drives).sum()) >= _LAY_SO_READINGS


def _within_s(times: Ints, what: Bools, seconds: float) -> Bools:
    """(n,) rows with one before them, at most so long ago, of which `what` holds."""
    newest = np.maximum.accumulate(np.where(what, times, np.iinfo(np.int64).min // 2))
    return np.append(False, times[1:] - newest[:-1] <= seconds * S)


def _stood(times: Ints, speed: Floats) -> Bools:
    """(n,) rows before which readings without a hole show that it stood for seconds."""
    known = np.flatnonzero(np.isfinite(speed))
    if not len(known):
        return np.zeros(len(times), dtype=np.bool_)
    at_us, earliest = times[known], np.iinfo(np.int64).min // 2
    # Since when it has stood without a hole, by each reading that tells a speed.
    breaks = np.append(True, np.diff(at_us) > round(_around.HOLE_S * S))
    moves = speed[known] >= _around.STANDS_KMH
    since_us = np.maximum.accumulate(np.where(moves, at_us + 1, np.where(breaks, at_us, earliest)))
    before = np.searchsorted(known, np.arange(len(times)) - 1, side="right") - 1
    newest = np.maximum(before, 0)
    until_us = np.append(times[:1], times[:-1])
    hole_us = round(_around.HOLE_S * S)
    stood: Bools = (
        (before >= 0)
        & (until_us - at_us[newest] <= hole_us)
        & ~moves[newest]
        & (until_us - since_us[newest] >= round(_DRIVEN_WITHIN_S * S) - hole_us)
    )
    return stood


def _swung(window: Window, accel: Floats, row: int) -> Overturn | None:
    """A swing of gravity that is held in the readings that follow, as far as there are any."""
    times = window.device_time_us
    earlier = (times < times[row]) & (times >= times[row] - round(_around.FROM_S * S))
    later = (times >= times[row]) & (times <= times[row] + round(_HELD_S * S))
    good = np.isfinite(accel).all(axis=1) & (window.flag("accel_gravity") != FLAG_ABSENT)
    before, after = accel[earlier & good], accel[later & good]
    rest = np.median(before, axis=0) if len(before) else np.zeros(3)
    if not rest.any():
        return None  # nothing tells how it stood: two readings of one instant, or a sensor that says 0
    sizes = np.linalg.norm(after, axis=1)
    angles = np.degrees(np.arccos(np.clip(after @ rest / (sizes * np.linalg.norm(rest)), -1.0, 1.0)))
    felt = angles[(sizes >= _GRAVITY_G[0] * G_MPS2) & (sizes <= _GRAVITY_G[1] * G_MPS2)]
    if not len(felt) or np.median(felt) <= OVER_DEG or felt[-1] <= OVER_DEG:
        return None
    at_us = int(times[row])
    return Overturn(at_us, int(times[row - 1]), at_us, "1hz", float(felt.max()), None, len(felt) >= 2)


def _frame_before(window: Window, until_us: int) -> Frame:
    before = window.between(until_us - round(_around.FROM_S * S), until_us - S)
    return frame_of(before, bool((window.flag("accel_gravity") == 1).any()))
