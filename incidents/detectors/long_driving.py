"""Driving too long: hours at the wheel without a rest of 20 minutes. Warns before the time is over.

For everyone four hours; for heavy vehicles by night two, as coach operators have to keep. Motion cannot show that
somebody is drowsy: this is about hours, not about sleep. One vehicle is taken for one driver; a change of drivers that
takes less than a rest does not show.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np

from incidents.detector import Candidates, Finding, Lane, Reason, Sweeps
from incidents.detectors import _spells
from incidents.detectors._spells import Spell
from incidents.window import Bools, Floats, S, Window

_HOUR_S: Final = 3_600.0
# docs/detection-science.md, B6: over 4 h without a rest of 20 min is forbidden to everyone (Implementing
# Regulations of the Road Traffic Safety Law, Art. 62(7)); 2 h by night to coach operators (Safety management norms for
# road passenger enterprises, Art. 38); night is 22:00 to 06:00; warn at 3 h 30 and 3 h 50.
_LIMIT_S: Final = 4 * _HOUR_S
_NIGHT_LIMIT_S: Final = 2 * _HOUR_S
_WARN_S: Final = (3.5 * _HOUR_S, 4 * _HOUR_S - 600.0)
_NIGHT_WARN_S: Final = 2 * _HOUR_S - 600.0
_NIGHT_H: Final = (22.0, 6.0)
# So much more than is allowed: urgent. Judgement.
_URGENT_S: Final = _HOUR_S
_NIGHT_CLASS: Final = "heavy"


@dataclass(frozen=True)
class LongDriving(Sweeps):
    """See the module."""

    name: str = "long_driving"
    version: int = 1
    purpose: str = "hours at the wheel without a rest of 20 minutes"
    kinds: tuple[str, ...] = ("long_driving",)
    lane: Lane = Lane.SWEEP
    before_s: float = 6 * _HOUR_S
    after_s: float = _spells.REST_S
    # Less than a rest: two spells are two episodes.
    episode_gap_s: float = _spells.REST_S / 2
    stale_after_s: float = _HOUR_S
    columns: frozenset[str] = _spells.COLUMNS
    streams: frozenset[str] = frozenset()
    every_s: float = 300.0
    candidates: Candidates | None = Candidates.LONG_MOVING

    def examine(self, window: Window) -> list[Finding]:
        """A finding for each spell that is too long, or about to be."""
        found = []
        for spell in _spells.spells(window):
            finding = _judged(window, spell)
            found += [finding] if finding is not None else []
        return found


def _judged(window: Window, spell: Spell) -> Finding | None:
    driven_s = spell.driven_s(window)
    by_night_s = _by_night_s(window, spell)
    bound = window.vehicle.vehicle_class == _NIGHT_CLASS
    over = driven_s >= _LIMIT_S
    soon = driven_s >= _WARN_S[0]
    if bound:
        over |= by_night_s >= _NIGHT_LIMIT_S
        soon |= by_night_s >= _NIGHT_WARN_S
    if not soon.any():
        return None
    times = window.device_time_us[spell.rows]
    passed = {f"passed_{round(warn_s / 60.0)}_min_us": _when(driven_s >= warn_s, spell, window) for warn_s in _WARN_S}
    values = {
        "max_driven_min": round(float(driven_s[-1]) / 60.0),
        "max_by_night_min": round(float(by_night_s[-1]) / 60.0),
        **passed,
    }
    if not over.any():
        at = int(np.argmax(soon))
        limit_s = _LIMIT_S if driven_s[at] >= _WARN_S[0] else _NIGHT_LIMIT_S
        left_s = limit_s - (driven_s[at] if limit_s == _LIMIT_S else by_night_s[at])
        told = {"limit_min": round(limit_s / 60.0), "left_min": round(float(left_s) / 60.0)}
        reason = Reason("long_driving_soon", told)
        return Finding("long_driving", 1, 0.6, int(times[at]), int(times[0]), int(times[-1]), values, (reason,))
    at = int(np.argmax(over))
    by_day = driven_s[at] >= _LIMIT_S
    excess_s = float(driven_s[-1] - _LIMIT_S) if by_day else float(by_night_s[-1] - _NIGHT_LIMIT_S)
    limit_min = round((_LIMIT_S if by_day else _NIGHT_LIMIT_S) / 60.0)
    rest_min = round(_spells.REST_S / 60.0)
    reasons = [
        Reason("long_driving" if by_day else "long_driving_by_night", {"limit_min": limit_min, "rest_min": rest_min})
    ]
    urgent = excess_s >= _URGENT_S
    if urgent:
        reasons.append(Reason("long_driving_far_over", {"over_min": round(_URGENT_S / 60.0)}))
    return Finding(
        "long_driving", 2 if urgent else 1, 0.9, int(times[at]), int(times[0]), int(times[-1]), values, tuple(reasons)
    )


def _by_night_s(window: Window, spell: Spell) -> Floats:
    """Time at the wheel by night until each reading of a spell; nought where nobody knows where it is night."""
    lon_deg = _spells.longitude_deg(window, spell.rows)
    if lon_deg is None:
        return np.zeros(len(spell.rows))
    times = window.device_time_us[spell.rows]
    hour = _spells.local_hour(times, lon_deg)
    night = (hour >= _NIGHT_H[0]) | (hour < _NIGHT_H[1])
    by_night: Floats = np.cumsum(np.append(0.0, np.diff(times) / S) * night)
    return by_night


def _when(passed: Bools, spell: Spell, window: Window) -> int | None:
    return int(window.device_time_us[spell.rows[int(np.argmax(passed))]]) if passed.any() else None


DETECTOR = LongDriving()
