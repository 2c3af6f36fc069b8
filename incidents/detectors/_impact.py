"""Impacts: candidates from bursts, alarms and readings, and everything around each.

A candidate is sensitive; what comes to be known later may lower it, raise it or refute it, but nothing that is missing
ever suppresses it. So it makes no difference whether the burst or the readings around it came first.
"""

from dataclasses import dataclass
from typing import Final

from fleet_core import topics
from incidents.detectors import _around, _jumps
from incidents.detectors._around import Around
from incidents.detectors._burst import bursts_of
from incidents.detectors._doubts import alarm_refuted, fell_at_rest, harmless
from incidents.detectors._hit import ALARM_KINDS, Hit, hit_of
from incidents.detectors._jumps import Jump
from incidents.detectors._overturn import overturns
from incidents.window import Event, S, Window

COLUMNS: Final = _around.COLUMNS | _jumps.COLUMNS | {"heading_deg"}
# Candidates this close are of one blow.
SAME_BLOW_S: Final = 10.0


@dataclass(frozen=True, slots=True)
class Candidate:
    """What may have been an impact, and everything around it.

    source   "burst", "alarm" or "1hz": what found it
    at_us    its instant; from_us and until_us what it spans
    """

    source: str
    at_us: int
    from_us: int
    until_us: int
    hit: Hit | None
    jump: Jump | None
    alarms: tuple[Event, ...]
    overturned: bool
    around: Around

    @property
    def airbag(self) -> bool:
        """Whether an airbag was told of."""
        return any(alarm.kind == "airbag" for alarm in self.alarms)


def candidates(window: Window) -> list[Candidate]:
    """Everything in the window that is not refuted. One blow shows in its bursts, or else in its alarms, or else in its
    readings; each of its bursts is a candidate.
    """
    bursts = bursts_of(window)
    hits = [hit for burst in bursts if (hit := hit_of(window, burst)) is not None]
    alarms = [event for event in window.of(topics.ALARM) if event.kind in ALARM_KINDS]
    leaps = _jumps.jumps(window)
    turns = overturns(window, bursts)
    found: list[Candidate] = []

    def add(source: str, at_us: int, from_us: int, until_us: int, hit: Hit | None) -> None:
        near = tuple(alarm for alarm in alarms if _same_blow(alarm.occurred_us, at_us))
        jump = max(
            (one for one in leaps if _same_blow(one.at_us, at_us)),
            key=lambda one: (one.beyond_kmh, -one.at_us),
            default=None,
        )
        over = any(_same_blow(one.at_us, at_us) for one in turns)
        around = _around.around(window, from_us)
        one = Candidate(source, at_us, from_us, until_us, hit, jump, near, over, around)
        alone = jump is None and not over and not one.airbag
        # That the device calls it a crash is the same blow told twice: it does not outweigh that it fell.
        if not (alone and hit and (fell_at_rest(hit, around) or (not near and harmless(window, hit, around)))):
            found.append(one)

    for hit in hits:
        add("burst", hit.pulse.t0_us, hit.pulse.t0_us, hit.pulse.until_us, hit)
    told_us = [one.at_us for one in found]
    for alarm in alarms:
        at_us = alarm.occurred_us
        refuted = alarm.kind == "crash" and alarm_refuted(window, bursts, hits, at_us)
        if not refuted and not any(_same_blow(at_us, one_us) for one_us in told_us):
            add("alarm", at_us, at_us, at_us, None)
    told_us = [one.at_us for one in found]
    for leap in leaps:
        if not any(_same_blow(leap.at_us, one_us) for one_us in told_us):
            add("1hz", leap.at_us, leap.from_us, leap.at_us, None)
    return sorted(found, key=lambda one: one.at_us)


def _same_blow(one_us: int, other_us: int) -> bool:
    return abs(one_us - other_us) <= SAME_BLOW_S * S
