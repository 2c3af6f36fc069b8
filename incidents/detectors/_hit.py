"""Hits: which blow of a burst a vehicle may have suffered, by the burst itself and whether the vehicle stood."""

from dataclasses import dataclass
from typing import Final

import numpy as np

from incidents.detectors import _around
from incidents.detectors._burst import G_MPS2, Burst
from incidents.detectors._mounting import Frame
from incidents.detectors._overturn import frame_for, is_drop
from incidents.detectors._pulse import Pulse, strongest
from incidents.window import Window

# What devices call a blow.
ALARM_KINDS: Final = frozenset({"crash", "airbag"})
# Least change of velocity that is looked upon as an impact: car-park bumps begin at 3 km/h (reference A3), doors and
# boots stay at 1 km/h.
LEAST_KMH: Final = 2.5
LEAST_HEAVY_KMH: Final = 3.0
# The trigger of an event data recorder (GB 39732-2020, 49 CFR 563): nothing on the road's surface does that.
TRIGGER_KMH: Final = 8.0
# Tyres reach about 1 g (hard stops 0.95, reference A3), and the body rocks on top of that: so weak a push is a blow
# only if it is over at once and stands out from what was before and after. Pulses of 150 ms are 75 to 95 ms wide.
DRIVING_G: Final = 1.5
_AT_ONCE_S: Final = 0.1
_STANDS_OUT: Final = 0.5
# A road's bumps shake upward: potholes and kerbs 1 to 3 g, 30 to 60 ms. Judgement.
ROAD_SHARE: Final = 0.6
_ROAD_SURE_SHARE: Final = 0.75
_ROAD_KMH: Final = 5.0
# One sample of a slow sensor, no stronger than a door.
_DOOR_G: Final = 1.3
# What a slow sensor's filter leaves of the hardest door (1 g, 50 ms, reference A3) is half of this: where a vehicle
# stood and the device lies as before, more is a bump. Judgement.
_SHUT_G: Final = 0.7
_LIES_SO_G: Final = 0.08
_REST_S: Final = 0.5


@dataclass(frozen=True, slots=True)
class Hit:
    """A blow that a burst shows, with the axes it is told in."""

    burst: Burst
    pulse: Pulse
    frame: Frame


def hit_of(window: Window, burst: Burst) -> Hit | None:
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
    # Only weak pushes are asked that.
    weak = pulse.peak_g < DRIVING_G
    stood = weak and _stood(window, pulse) and lies_otherwise_g(burst) <= _LIES_SO_G
    lasts = pulse.width_s > _AT_ONCE_S + 0.5 / pulse.rate_hz
    if weak and (pulse.contrast < _STANDS_OUT or (lasts and not stood)):
        return None
    if pulse.is_one_sample and pulse.peak_g < (_SHUT_G if stood else _DOOR_G):
        return None
    share = pulse.vertical_share
    if share is not None and (
        (share >= _ROAD_SURE_SHARE and pulse.likely_kmh < TRIGGER_KMH)
        or (share >= ROAD_SHARE and pulse.likely_kmh < _ROAD_KMH)
    ):
        return None
    return Hit(burst, pulse, frame)


def lies_otherwise_g(burst: Burst) -> float:
    """By how much the device feels another gravity at the end of a burst than at its begin."""
    rest = max(2, round(_REST_S * burst.rate_hz))
    first, last = (np.median(part, axis=0) for part in (burst.accel_mps2[:rest], burst.accel_mps2[-rest:]))
    return float(np.linalg.norm(last - first) / G_MPS2)


def _stood(window: Window, pulse: Pulse) -> bool:
    """Whether the vehicle stood before a blow."""
    before = _around.around(window, pulse.t0_us)
    return bool(before.parked) or (before.speed_before_kmh is not None and before.speed_before_kmh < _around.STANDS_KMH)
