"""What the readings around an instant tell of the vehicle: how fast it was, whether it stood, stopped, drove on, spoke.

Nothing here looks further than FROM_S before and UNTIL_S after the instant, whatever the window shows, so the answers
depend on the instant alone.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from fleet_core import topics
from incidents.window import Bools, Event, Floats, Ints, S, Window

FROM_S: Final = 110.0
UNTIL_S: Final = 65.0

# Columns that these questions read.
COLUMNS: Final = frozenset(
    {"speed_kmh", "obd_speed_kmh", "fix_valid", "ignition", "gyro_x_dps", "gyro_y_dps", "gyro_z_dps"}
)

# Speeds of receivers at rest scatter up to here. Judgement, as everything below.
STANDS_KMH: Final = 3.0
_MOVES_KMH: Final = 5.0
# The greatest speed of the last seconds, not the newest fix, is the speed before an impact (Tracelet #312).
_BEFORE_S: Final = 5.0
# Speed after it: one to three seconds later, past the receiver's lag (Tracelet #181).
_AFTER_S: Final = (1.0, 3.5)
# Who stands this long has stopped.
_STOPPED_FOR_S: Final = 10.0
# Who is faster than this again after so long has driven on.
_DRIVES_ON_KMH: Final = 15.0
_DRIVES_ON_AFTER_S: Final = 10.0
# Parked: ignition off, and nothing moved in the last seconds; or, where nobody tells of the ignition, it stood all of
# the last minute. With the ignition on somebody is in it, however long it stands: that is traffic.
_OFF_AND_STILL_S: Final = 10.0
_PARKED_AFTER_S: Final = 60.0
# Silence: a device that spoke every few seconds says nothing for a minute.
SILENT_S: Final = 60.0
_SPOKE_EVERY_S: Final = 5.0
_LAST_WORDS_S: Final = 5.0
# Readings once a second leave no greater gaps.
HOLE_S: Final = 1.6
# Walking pace, at which trailers are coupled.
_WALK_KMH: Final = 8.0
# A speed that an impact did not change.
_UNCHANGED_KMH: Final = 3.0


@dataclass(frozen=True, slots=True)
class Around:
    """See the module. None is what cannot be told.

    parked          it stood, and nobody was driving
    stopped_after_s seconds until it stood for good (10 s at least)
    drives_on       it drove on within the minute
    ignition_off_s  seconds until the ignition went off, where it was on
    changed_kmh     greatest change of speed between neighbouring readings around the instant; None: none are known
    rotation_dps    fastest turning in the readings
    unchanged       it went on at the very same speed, and readings without a hole show it
    stands          it stood before, after and in between, and readings without a hole show it
    crept           it was no faster than at a walk before, and readings without a hole show it
    silent          it used to speak every few seconds and said nothing for a minute
    """

    speed_before_kmh: float | None
    speed_after_kmh: float | None
    parked: bool | None
    stopped_after_s: float | None
    drives_on: bool
    ignition_off_s: float | None
    changed_kmh: float | None
    rotation_dps: float | None
    unchanged: bool
    stands: bool
    crept: bool
    silent: bool


def around(window: Window, at_us: int) -> Around:
    """What the readings around `at_us` tell."""
    near = window.between(at_us - round(FROM_S * S), at_us + round(UNTIL_S * S))
    after_s = (near.device_time_us - at_us) / S
    speed = believed_speed_kmh(near)
    before, after = _speed_before(after_s, speed), _speed_after(after_s, speed)
    seen = without_hole(after_s[np.isfinite(speed)], -_BEFORE_S, _AFTER_S[1])
    return Around(
        before,
        after,
        _parked(near, at_us, after_s, speed),
        _stopped_after(after_s, speed),
        bool((speed[after_s >= _DRIVES_ON_AFTER_S] >= _DRIVES_ON_KMH).sum() >= 2),
        _ignition_off(near, after_s),
        _changed(after_s, speed),
        _rotation(near, after_s),
        seen and _unchanged(after_s, speed),
        seen and not bool((speed[(after_s >= -_BEFORE_S) & (after_s <= _AFTER_S[1])] >= STANDS_KMH).any()),
        seen and before is not None and before < _WALK_KMH,
        _silent(window, at_us, after_s),
    )


def believed_speed_kmh(window: Window) -> Floats:
    """Speed over ground where the fix is valid, else by the vehicle's own sensors."""
    ground = np.where(window.flag("fix_valid") == 0, np.nan, window.number("speed_kmh"))
    return np.where(np.isnan(ground), window.number("obd_speed_kmh"), ground)


def without_hole(at_s: Floats, from_s: float, until_s: float) -> bool:
    """Whether samples at these times, ascending, cover a span so well that more of them would tell nothing else."""
    inside = at_s[(at_s > from_s) & (at_s < until_s)]
    return bool(np.diff(np.concatenate(([from_s], inside, [until_s]))).max() <= HOLE_S)


def seconds_near(times_us: Ints, what: Bools, within_s: float, longest_step_s: float) -> Floats:
    """(n,) for how many of the seconds around each reading `what` holds; a step to a reading counts up to a length."""
    steps_us = np.minimum(np.diff(times_us, prepend=times_us[:1]), round(longest_step_s * S))
    total_us = np.append(0, np.cumsum(np.where(what, steps_us, 0)))
    first = np.searchsorted(times_us, times_us - round(within_s * S))
    last = np.searchsorted(times_us, times_us + round(within_s * S), side="right")
    seconds: Floats = (total_us[last] - total_us[first]) / float(S)
    return seconds


def _speed_before(after_s: Floats, speed: Floats) -> float | None:
    known = np.isfinite(speed) & (after_s <= 0)
    for seconds in (_BEFORE_S, 3 * _BEFORE_S):
        recent = speed[known & (after_s >= -seconds)]
        if len(recent):
            return float(recent.max())
    return None


def _speed_after(after_s: Floats, speed: Floats) -> float | None:
    known = np.isfinite(speed)
    soon = speed[known & (after_s >= _AFTER_S[0]) & (after_s <= _AFTER_S[1])]
    if len(soon):
        return float(np.median(soon))
    later = speed[known & (after_s > _AFTER_S[1]) & (after_s <= _STOPPED_FOR_S)]
    return float(later[0]) if len(later) else None


def _stopped_after(after_s: Floats, speed: Floats) -> float | None:
    known = np.isfinite(speed) & (after_s >= 0)
    at_s, fast = after_s[known], speed[known] >= STANDS_KMH
    for row in np.flatnonzero(~fast).tolist():
        then = (at_s >= at_s[row]) & (at_s <= at_s[row] + _STOPPED_FOR_S)
        if not fast[then].any() and at_s[then][-1] >= at_s[row] + _STOPPED_FOR_S / 2:
            return float(at_s[row])
    return None


def _parked(near: Window, at_us: int, after_s: Floats, speed: Floats) -> bool | None:
    ignition = near.flag("ignition")
    told = [(after_s[row], ignition[row] == 1) for row in np.flatnonzero((ignition >= 0) & (after_s <= 0)).tolist()]
    told += [
        ((alarm.occurred_us - at_us) / S, bool(alarm.body["ignition"]))
        for alarm in alarms(near)
        if isinstance(alarm.body.get("ignition"), bool | int) and abs(alarm.occurred_us - at_us) <= 2 * S
    ]
    moved = speed[(after_s <= 0) & (after_s >= -_OFF_AND_STILL_S)] >= _MOVES_KMH
    if told:
        return not max(told)[1] and not moved.any()
    known = np.isfinite(speed)
    earlier = known & (after_s <= 0) & (after_s >= -1.25 * _PARKED_AFTER_S)
    if earlier.any():
        stood = not (speed[earlier] >= STANDS_KMH).any()
        return stood and bool((after_s[earlier] <= -0.9 * _PARKED_AFTER_S).any())
    # Nothing before it: a device that sleeps with the vehicle is woken by the blow.
    later = (after_s > 0) & (after_s <= _PARKED_AFTER_S / 2)
    first = np.flatnonzero((ignition >= 0) & later)
    if not len(first):
        return None
    return bool(ignition[first[0]] == 0) and not (speed[later] >= _MOVES_KMH).any()


def _ignition_off(near: Window, after_s: Floats) -> float | None:
    ignition = near.flag("ignition")
    before = ignition[(ignition >= 0) & (after_s <= 0)]
    if not len(before) or before[-1] == 0:
        return None
    off = after_s[(ignition == 0) & (after_s > 0)]
    return float(off[0]) if len(off) else None


def _changed(after_s: Floats, speed: Floats) -> float | None:
    known = np.isfinite(speed)
    at_s, v = after_s[known], speed[known]
    close = (at_s[1:] >= 0) & (at_s[:-1] <= 1.5) & (np.diff(at_s) <= 2.5)
    return float(np.abs(np.diff(v))[close].max()) if close.any() else None


def _unchanged(after_s: Floats, speed: Floats) -> bool:
    known = np.isfinite(speed)
    last = speed[known & (after_s <= 0) & (after_s >= -_BEFORE_S)]
    then = speed[known & (after_s > 0) & (after_s <= _AFTER_S[1])]
    if not len(last) or len(then) < 2 or last[-1] < 2 * STANDS_KMH:
        return False
    return bool((np.abs(then - last[-1]) <= _UNCHANGED_KMH).all())


def _rotation(near: Window, after_s: Floats) -> float | None:
    gyro = np.column_stack([near.number(f"gyro_{axis}_dps") for axis in "xyz"])
    rates = np.linalg.norm(gyro, axis=1)[(after_s >= -0.5) & (after_s <= 4.0)]
    rates = rates[np.isfinite(rates)]
    return float(rates.max()) if len(rates) else None


def _silent(window: Window, at_us: int, after_s: Floats) -> bool:
    if window.known_until_us < at_us + round(SILENT_S * S):
        return False
    spoke = ((after_s <= 0) & (after_s >= -6 * _SPOKE_EVERY_S)).sum() >= 6
    speaks = (after_s > _LAST_WORDS_S).any() or any(
        at_us + round(2 * _LAST_WORDS_S * S) < event.occurred_us <= at_us + round(UNTIL_S * S)
        for event in window.events
    )
    return bool(spoke) and not speaks


def alarms(window: Window) -> Sequence[Event]:
    """The window's alarms."""
    return window.of(topics.ALARM)
