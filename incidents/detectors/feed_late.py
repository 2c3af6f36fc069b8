"""A feed that comes late: readings of a vehicle in use arrive minutes after their time, for a while.

A network that was away, or a clock that is behind; which, a person can tell from how the delay goes. What a parked
device saves up and sends once an hour is not late, and neither is what a device says it stored until it could send:
that is what it is for. What comes all at once was held up somewhere, by a device that does not say so or by a broker
whose reader was away; that is over, and a whole fleet at a time.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np

from incidents.detector import Candidates, Finding, Lane, ReadsNoEvents, Reason
from incidents.detectors import _track
from incidents.rows import Rows
from incidents.window import Bools, S, Window

# Later than any ordinary gap of coverage (15 to 120 s about every 90 minutes: docs/guide/simulation.md). Judgement.
_LATE_US: Final = 300 * S
# A reading or two may have been sent again. Judgement.
_LASTS_US: Final = 60 * S
# It is looked at when a minute begins: what lasts a minute holds such an instant, and a backlog opens few gates.
_LOOK_US: Final = 60 * S
# Arrival goes on with the readings; in a backlog it stands still beside them. Two messages of ten samples give a half.
_GOES_ON: Final = 0.4
_LEAST_READINGS: Final = 3
# A network or a clock that is out of order stays so over a stop at a customer's or for lunch: late again after it is
# the same trouble. Judgement.
_SAME_TROUBLE_S: Final = 7_200.0
# Late readings no further apart belong together, if they are not few among prompt ones. Judgement.
_APART_US: Final = 120 * S
_LATE_SHARE: Final = 0.5


@dataclass(frozen=True)
class FeedLate(ReadsNoEvents):
    """See the module."""

    name: str = "feed_late"
    version: int = 4
    purpose: str = "readings of a vehicle in use arrive minutes late"
    kinds: tuple[str, ...] = ("feed_late",)
    lane: Lane = Lane.STREAM
    before_s: float = 150.0
    after_s: float = 150.0
    episode_gap_s: float = _SAME_TROUBLE_S
    stale_after_s: float = 24 * 3_600.0
    columns: frozenset[str] = frozenset({"ignition", "buffered"})
    streams: frozenset[str] = frozenset()
    every_s: float = 0.0
    candidates: Candidates | None = None

    def wants(self, rows: Rows) -> Bools:
        """The first late reading of a minute of a vehicle that may be in use."""
        times = rows.readings.device_time_us
        late = rows.readings.received_us - times > _LATE_US
        if not late.any():
            return rows.none
        minute = times // _LOOK_US
        begins = ~rows.first & (minute != rows.shifted(minute))
        mask: Bools = late & begins & (rows.flag("ignition") != 0) & (rows.flag("buffered") != 1)
        return mask

    def examine(self, window: Window) -> list[Finding]:
        """One finding for each run of late readings."""
        delay_us = window.received_us - window.device_time_us
        found = []
        in_use = (window.flag("ignition") != 0) & (window.flag("buffered") != 1)
        for rows in _track.groups((delay_us > _LATE_US) & in_use, window.device_time_us, _APART_US):
            start_us, end_us = int(window.device_time_us[rows[0]]), int(window.device_time_us[rows[-1]])
            share = len(rows) / (rows[-1] - rows[0] + 1)
            if len(rows) < _LEAST_READINGS or end_us - start_us < _LASTS_US or share < _LATE_SHARE:
                continue
            if np.ptp(window.received_us[rows]) < _GOES_ON * (end_us - start_us):
                continue
            first_s = round(float(delay_us[rows[0]]) / S, 1)
            values = {
                "max_delay_s": round(float(delay_us[rows].max()) / S, 1),
                "min_delay_s": round(float(delay_us[rows].min()) / S, 1),
                "duration_s": round((end_us - start_us) / S, 1),
            }
            found.append(
                Finding(
                    "feed_late",
                    1,
                    0.9,
                    start_us,
                    start_us,
                    end_us,
                    values,
                    (Reason("feed_late", {"delay_s": first_s}),),
                )
            )
        return found


DETECTOR = FeedLate()
