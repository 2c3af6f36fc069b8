"""Impacts: candidates from bursts, alarms and readings, what speaks for and against each, and how grave it is.

A candidate is sensitive; what comes to be known later may lower it, raise it or refute it, but nothing that is missing
ever suppresses it. So it makes no difference whether the burst or the readings around it came first.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np

from fleet_core import topics
from incidents.detectors import _around, _jumps
from incidents.detectors._around import STANDS_KMH, Around
from incidents.detectors._burst import G_MPS2, Burst, bursts_of
from incidents.detectors._jumps import Jump
from incidents.detectors._mounting import Frame
from incidents.detectors._overturn import fell_before, frame_for, is_drop, overturns
from incidents.detectors._pulse import Pulse, strongest
from incidents.detectors._tilt import falling
from incidents.window import Event, S, Window

COLUMNS: Final = _around.COLUMNS | _jumps.COLUMNS | {"heading_deg"}
ALARM_KINDS: Final = frozenset({"crash", "airbag"})

# Least change of velocity that is looked upon as an impact: car-park bumps begin at 3 km/h (reference A3), doors and
# boots stay at 1 km/h.
LEAST_KMH: Final = 2.5
LEAST_HEAVY_KMH: Final = 3.0
# The trigger of an event data recorder (GB 39732-2020, 49 CFR 563): nothing on the road's surface does that.
TRIGGER_KMH: Final = 8.0
# Tyres reach about 1 g (hard stops 0.95, reference A3), and the body rocks on top of that: so weak a push is a blow
# only if it is over at once and stands out from what was before and after. Pulses of 150 ms are 75 to 95 ms wide.
_DRIVING_G: Final = 1.5
_AT_ONCE_S: Final = 0.1
_STANDS_OUT: Final = 0.5
# A road's bumps shake upward: potholes and kerbs 1 to 3 g, 30 to 60 ms. Judgement.
_ROAD_SHARE: Final = 0.6
_ROAD_SURE_SHARE: Final = 0.75
_ROAD_KMH: Final = 5.0
# One sample of a slow sensor, no stronger than a door.
_DOOR_G: Final = 1.3
# What a slow sensor's filter leaves of the hardest door (1 g, 50 ms, reference A3) is half of this: where a vehicle
# stood and the device lies as before, more is a bump. Judgement.
_SHUT_G: Final = 0.7
_LIES_SO_G: Final = 0.08
# Turned by 20 degrees: the device came off, and a weak blow was its own.
_MOVED_G: Final = 0.35
_REST_S: Final = 0.5
# Fast enough a burst shows a pulse of 60 ms in three samples: below, what it did not show may still have been.
_FULLY_SEEN_HZ: Final = 45.0
# From here on a bump of 80 to 150 ms (reference A3) shows in two samples at least, and moves a standing vehicle.
_HARDLY_MISSED_HZ: Final = 20.0
# Trucks are struck by their trailers when they couple, at walking pace (docs/detection-science.md, A3, heavy vehicles).
_COUPLING_KMH: Final = 5.0
# A change of velocity this small is not seen in the speed; a greater one is, unless it is sideways.
_UNSEEN_KMH: Final = 5.0
# Turning beyond any corner.
_SPINS_DPS: Final = 60.0
# Candidates this close are of one blow.
SAME_BLOW_S: Final = 10.0
# What an alarm may be about, before and after the burst that goes with it.
_ALARM_BESIDE_S: Final = (1.5, 3.0)
_HARMLESS_KMH: Final = 1.5
_HARMLESS_G: Final = 2.0


@dataclass(frozen=True, slots=True)
class Hit:
    """A blow that a burst shows, with the axes it is told in."""

    burst: Burst
    pulse: Pulse
    frame: Frame


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
    hits = [hit for burst in bursts if (hit := _hit(window, burst)) is not None]
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
        if not (alone and hit and (_fell_at_rest(hit, around) or (not near and _harmless(window, hit, around)))):
            found.append(one)

    for hit in hits:
        add("burst", hit.pulse.t0_us, hit.pulse.t0_us, hit.pulse.until_us, hit)
    told_us = [one.at_us for one in found]
    for alarm in alarms:
        at_us = alarm.occurred_us
        refuted = alarm.kind == "crash" and _refuted(window, bursts, hits, at_us)
        if not refuted and not any(_same_blow(at_us, one_us) for one_us in told_us):
            add("alarm", at_us, at_us, at_us, None)
    told_us = [one.at_us for one in found]
    for leap in leaps:
        if not any(_same_blow(leap.at_us, one_us) for one_us in told_us):
            add("1hz", leap.at_us, leap.from_us, leap.at_us, None)
    return sorted(found, key=lambda one: one.at_us)


def _hit(window: Window, burst: Burst) -> Hit | None:
    """The blow that a burst shows, None where it shows none or one that no vehicle can suffer."""
    frame = frame_for(window, burst)
    pulse = strongest(burst, frame.up)
    if not frame.up_known:
        # Which way is up is only believed. A great change of velocity counts in any direction.
        whole = strongest(burst, None)
        if pulse is None or (whole is not None and whole.delta_v_kmh >= TRIGGER_KMH):
            pulse = whole
    least_kmh = LEAST_HEAVY_KMH if window.vehicle.vehicle_class == "heavy" else LEAST_KMH
    if pulse is None or pulse.delta_v_kmh < least_kmh or pulse.is_spike or is_drop(burst, pulse, frame):
        return None
    # Who stood did not brake, and no engine gains that much in so little; and a device that fell lies otherwise.
    stood = _stood(window, pulse) and _lies_otherwise_g(burst) <= _LIES_SO_G
    lasts = pulse.width_s > _AT_ONCE_S + 0.5 / pulse.rate_hz
    if pulse.peak_g < _DRIVING_G and (pulse.contrast < _STANDS_OUT or (lasts and not stood)):
        return None
    if pulse.is_one_sample and pulse.peak_g < (_SHUT_G if stood else _DOOR_G):
        return None
    share = pulse.vertical_share
    if share is not None and (
        (share >= _ROAD_SURE_SHARE and pulse.likely_kmh < TRIGGER_KMH)
        or (share >= _ROAD_SHARE and pulse.likely_kmh < _ROAD_KMH)
    ):
        return None
    return Hit(burst, pulse, frame)


def _lies_otherwise_g(burst: Burst) -> float:
    """By how much the device feels another gravity at the end of a burst than at its begin."""
    rest = max(2, round(_REST_S * burst.rate_hz))
    first, last = (np.median(part, axis=0) for part in (burst.accel_mps2[:rest], burst.accel_mps2[-rest:]))
    return float(np.linalg.norm(last - first) / G_MPS2)


def _stood(window: Window, pulse: Pulse) -> bool:
    """Whether the vehicle stood before a blow."""
    before = _around.around(window, pulse.t0_us)
    return bool(before.parked) or (before.speed_before_kmh is not None and before.speed_before_kmh < STANDS_KMH)


def _harmless(window: Window, hit: Hit, around: Around) -> bool:
    """Whether what is around a small blow says that the vehicle was not struck.

    Only by readings without a hole: what more readings could change must not suppress, for nobody would look again.
    """
    pulse = hit.pulse
    spins = around.rotation_dps is not None and around.rotation_dps >= _SPINS_DPS
    if hit.burst.gyro_dps is not None:
        spins = spins or bool((np.linalg.norm(hit.burst.gyro_dps, axis=1) >= _SPINS_DPS).any())
    if pulse.is_one_sample and (around.unchanged or (around.stands and not around.parked)) and not spins:
        return True
    if hit.frame.source == "doubted" and around.unchanged and pulse.likely_kmh < _UNSEEN_KMH:
        return True
    return window.vehicle.vehicle_class == "heavy" and around.crept and pulse.likely_kmh < _COUPLING_KMH


def _fell_at_rest(hit: Hit, around: Around) -> bool:
    """Whether the device fell, or lies otherwise, while the vehicle stood or went on as before.

    A weak sensor draws the blow of a fall out until a vehicle might suffer it; but vehicles that stand do not fly.
    """
    moved = hit.pulse.likely_kmh < TRIGGER_KMH and _lies_otherwise_g(hit.burst) >= _MOVED_G
    return _is_calm(around) and (moved or fell_before(hit.burst, hit.pulse, hit.frame))


def _is_calm(around: Around) -> bool:
    return bool(around.parked) or around.stands or around.unchanged


def _refuted(window: Window, bursts: list[Burst], hits: list[Hit], at_us: int) -> bool:
    """Whether a burst at the time of a crash alarm shows what it was instead."""
    for burst in bursts:
        covers = burst.t0_us - _ALARM_BESIDE_S[0] * S <= at_us <= burst.until_us + _ALARM_BESIDE_S[1] * S
        if not covers:
            continue
        around = _around.around(window, burst.t0_us)
        shown = [hit for hit in hits if hit.burst is burst]
        if shown:
            if all(_fell_at_rest(hit, around) for hit in shown):
                return True
            continue
        frame = frame_for(window, burst)
        pulse = strongest(burst, frame.up)
        if pulse is None:
            continue
        road = pulse.vertical_share is not None and pulse.vertical_share >= _ROAD_SHARE
        if is_drop(burst, pulse, frame) or (around.unchanged and (road or not pulse.clipped)):
            return True
        if _is_calm(around) and falling(burst.thinned(), frame.up).any():
            return True
        if around.stands and not pulse.clipped and burst.rate_hz >= _HARDLY_MISSED_HZ:
            return True
        if pulse.clipped:
            continue
        fully_seen = burst.rate_hz >= _FULLY_SEEN_HZ
        weak = pulse.delta_v_kmh < _HARMLESS_KMH and pulse.peak_g < _HARMLESS_G
        if fully_seen and (pulse.is_spike or road or weak):
            return True
    return False


def _same_blow(one_us: int, other_us: int) -> bool:
    return abs(one_us - other_us) <= SAME_BLOW_S * S
