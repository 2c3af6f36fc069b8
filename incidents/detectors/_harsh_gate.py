"""Which readings of a batch reach the lowest limit of a manoeuvre: cheap, and no narrower than what examines them.

Nearly all readings of a batch are calm. They are told by one comparison a column; only what passes is looked at with
its step, its speed and its vehicle's class.
"""

from typing import Final

import numpy as np

from incidents.detectors._burst import G_MPS2
from incidents.detectors._manoeuvre import CLASS_FACTOR, CONSENTS, FAST_STEP_S, KMH_S_PER_G, OVER_S, Manoeuvre
from incidents.detectors._manoeuvre import Rows as Places
from incidents.rows import Rows
from incidents.window import Bools, Floats, S

_FACTOR: Final = np.array([CLASS_FACTOR[name] for name in Rows.CLASSES])
_LEAST_FACTOR: Final = float(_FACTOR.min())
_LEAST_STEP_S: Final = 0.02
# Degrees a second at one km/h that make one g across: turning rate times speed is acceleration.
_DPS_KMH_PER_G: Final = G_MPS2 * 3.6 * 180.0 / np.pi


def wanted(rows: Rows, manoeuvre: Manoeuvre) -> Bools:
    """Readings at which the lowest limit is reached, by whatever shows it."""
    mask = rows.none
    for name in ("heading_deg",) if manoeuvre.by_course else ("speed_kmh", "obd_speed_kmh"):
        if rows.has(name):
            mask[_changing(rows, name, manoeuvre)] = True
    axis = f"accel_{'xyz'[manoeuvre.axis]}_mps2"
    if rows.has(axis):
        least_mps2 = manoeuvre.limits_g[0] * _LEAST_FACTOR * G_MPS2
        strong = _beyond(rows.number(axis), least_mps2, manoeuvre.sign)
        if len(strong):
            mask[strong[~(rows.step_s()[strong] > FAST_STEP_S)]] = True
    if manoeuvre.by_course and rows.has("gyro_z_dps"):
        mask[_turning(rows, manoeuvre)] = True
    return mask


def _changing(rows: Rows, name: str, manoeuvre: Manoeuvre) -> Places:
    """Rows at which speed or course changes enough, alone or together with the acceleration that is felt."""
    values, readings = rows.number(name), rows.readings
    half_g = CONSENTS * manoeuvre.limits_g[0] * _LEAST_FACTOR
    least = half_g * _shortest_s(rows)
    least *= _DPS_KMH_PER_G / _fastest_kmh(rows) if manoeuvre.by_course else KMH_S_PER_G
    missing = np.isnan(values)
    known = np.flatnonzero(~missing) if missing.any() else None
    change = np.diff(values if known is None else values[known])
    after = _beyond(change, least, manoeuvre.sign) + 1
    last, this = (after - 1, after) if known is None else (known[after - 1], known[after])
    step_s = (readings.device_time_us[this] - readings.device_time_us[last]) / S
    good = (readings.vehicle_index[this] == readings.vehicle_index[last]) & (step_s > 0) & (step_s <= OVER_S[1])
    last, this, step_s, change = last[good], this[good], step_s[good], change[after - 1][good]
    if manoeuvre.by_course:
        turned = np.minimum(np.abs(change), 360.0 - np.abs(change))
        speed = rows.speed_kmh()
        change_g = turned / step_s * np.fmax(speed[this], speed[last]) / _DPS_KMH_PER_G
    else:
        change_g = manoeuvre.sign * change / step_s / KMH_S_PER_G
    limit_g = manoeuvre.limits_g[0] * _FACTOR[rows.vehicle_class[this]]
    felt_g = _felt_then(rows, this, manoeuvre)
    reached: Places = this[(change_g >= limit_g) | ((felt_g >= limit_g) & (change_g >= CONSENTS * limit_g))]
    return reached


def _felt_then(rows: Rows, at: Places, manoeuvre: Manoeuvre) -> Floats:
    """Acceleration along the manoeuvre's axis at rows and the ones before them, the greater, in g; 0: unknown."""
    name = f"accel_{'xyz'[manoeuvre.axis]}_mps2"
    if not rows.has(name) or not len(at):
        return np.zeros(len(at))
    felt = rows.number(name)
    now, before = (manoeuvre.directed(felt[row]) / G_MPS2 for row in (at, np.maximum(at - 1, 0)))
    return np.nan_to_num(np.fmax(now, np.where(rows.first[at], np.nan, before)))


def _turning(rows: Rows, manoeuvre: Manoeuvre) -> Places:
    """Rows at which turning rate times speed reaches the limit."""
    least_g, rate = manoeuvre.limits_g[0], rows.number("gyro_z_dps")
    at = _beyond(rate, least_g * _LEAST_FACTOR * _DPS_KMH_PER_G / _fastest_kmh(rows), 0)
    turning_g = np.abs(rate[at]) * rows.speed_kmh()[at] / _DPS_KMH_PER_G
    turns: Places = at[turning_g >= least_g * _FACTOR[rows.vehicle_class[at]]]
    return turns


def _beyond(values: Floats, least: float, sign: int) -> Places:
    """Places of values beyond `least` upward (1), downward (-1) or either way (0)."""
    if sign > 0:
        return np.flatnonzero(values >= least)
    if sign < 0:
        return np.flatnonzero(values <= -least)
    return np.flatnonzero((values >= least) | (values <= -least))


def _shortest_s(rows: Rows) -> float:
    """The shortest step of the batch, no longer than a second's."""
    step_s = rows.step_s()
    return max(_LEAST_STEP_S, float(np.fmin.reduce(step_s, initial=OVER_S[0])))


def _fastest_kmh(rows: Rows) -> float:
    """The greatest speed of the batch."""
    return max(1.0, float(np.fmax.reduce(rows.speed_kmh(), initial=0.0)))
