"""Doubts: what speaks against a blow, and against an alarm, so that it is no impact.

Only readings without a hole speak: what is missing never suppresses, and what comes later is asked again.
"""

from typing import Final

import numpy as np

from incidents.detectors import _around
from incidents.detectors._around import Around
from incidents.detectors._burst import Burst
from incidents.detectors._hit import ROAD_SHARE, TRIGGER_KMH, Hit, lies_otherwise_g
from incidents.detectors._overturn import fell_before, frame_for, is_drop
from incidents.detectors._pulse import strongest
from incidents.detectors._tilt import falling
from incidents.window import S, Window

# Turned by 20 degrees: the device came off, and a weak blow was its own.
_MOVED_G: Final = 0.35
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
# What an alarm may be about, before and after the burst that goes with it.
_ALARM_BESIDE_S: Final = (1.5, 3.0)
_HARMLESS_KMH: Final = 1.5
_HARMLESS_G: Final = 2.0


def fell_at_rest(hit: Hit, around: Around) -> bool:
    """Whether the device fell, or lies otherwise, while the vehicle stood or went on as before.

    A weak sensor draws the blow of a fall out until a vehicle might suffer it; but vehicles that stand do not fly.
    """
    moved = hit.pulse.likely_kmh < TRIGGER_KMH and lies_otherwise_g(hit.burst) >= _MOVED_G
    return _is_calm(around) and (moved or fell_before(hit.burst, hit.pulse, hit.frame))


def harmless(window: Window, hit: Hit, around: Around) -> bool:
    """Whether what is around a small blow says that the vehicle was not struck."""
    pulse = hit.pulse
    spins = around.rotation_dps is not None and around.rotation_dps >= _SPINS_DPS
    if hit.burst.gyro_dps is not None:
        spins = spins or bool((np.linalg.norm(hit.burst.gyro_dps, axis=1) >= _SPINS_DPS).any())
    if pulse.is_one_sample and (around.unchanged or (around.stands and not around.parked)) and not spins:
        return True
    if hit.frame.source == "doubted" and around.unchanged and pulse.likely_kmh < _UNSEEN_KMH:
        return True
    return window.vehicle.vehicle_class == "heavy" and around.crept and pulse.likely_kmh < _COUPLING_KMH


def alarm_refuted(window: Window, bursts: list[Burst], hits: list[Hit], at_us: int) -> bool:
    """Whether a burst at the time of a crash alarm shows what it was instead."""
    for burst in bursts:
        covers = burst.t0_us - _ALARM_BESIDE_S[0] * S <= at_us <= burst.until_us + _ALARM_BESIDE_S[1] * S
        if not covers:
            continue
        around = _around.around(window, burst.t0_us)
        shown = [hit for hit in hits if hit.burst is burst]
        if shown:
            if all(fell_at_rest(hit, around) for hit in shown):
                return True
            continue
        frame = frame_for(window, burst)
        pulse = strongest(burst, frame.up)
        if pulse is None:
            continue
        road = pulse.vertical_share is not None and pulse.vertical_share >= ROAD_SHARE
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


def _is_calm(around: Around) -> bool:
    return bool(around.parked) or around.stands or around.unchanged
