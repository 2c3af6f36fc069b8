"""Blow-outs: a tyre loses much of its pressure within minutes while the other tyre of its axle keeps it.

A sensor that tells 0 or nothing has no signal; that is no loss of pressure.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np

from incidents.detector import Candidates, Finding, Lane, ReadsNoEvents, Reason
from incidents.detectors._surely import shown_whole
from incidents.hours import TYRE_KPA, WHEELS
from incidents.rows import Rows
from incidents.window import Bools, Floats, Ints, S, Window

# Each wheel and the other one of its axle: they carry the same pressure, front and rear need not.
_MATES: Final = {"fl": "fr", "fr": "fl", "rl": "rr", "rr": "rl"}
_NO_SIGNAL_KPA: Final = 2.0
# FMVSS 138: 25 % below is too low to drive. Against the other tyre of the axle and its own pressure before; the
# sample before this one must be on the way there.
_LOW_SHARE: Final = 0.75
_LOW_BEFORE_SHARE: Final = 0.85
_MATE_KEEPS_SHARE: Final = 0.85
_STILL_WELL_SHARE: Final = 0.95
# A fast loss is -50 kPa/min (docs/detection-science.md, A4), a slow one -1. Between them, lower than half way
# because noise of a few kPa is in it.
_FAST_KPA_MIN: Final = 35.0
_RATE_OVER_S: Final = 30.0
_FELL_WITHIN_S: Final = 300.0
_RATE_WITHIN_S: Final = 180.0
_SPARSE_S: Final = 300.0  # neighbouring samples further apart tell no rate
# Back at the pressure of the other one within this time: the sensor was wrong. Nobody fills a tyre so fast.
_REFUTED_S: Final = 120.0
_REFUTED_SHARE: Final = 0.9

_BEFORE_S: Final = 600.0


@dataclass(frozen=True)
class TyreBlowout(ReadsNoEvents):
    """See the module."""

    name: str = "tyre_blowout"
    version: int = 1
    purpose: str = "a tyre loses its pressure within minutes"
    kinds: tuple[str, ...] = ("tyre_blowout",)
    lane: Lane = Lane.STREAM
    before_s: float = _BEFORE_S
    after_s: float = _REFUTED_S
    episode_gap_s: float = 600.0
    stale_after_s: float = 3_600.0
    columns: frozenset[str] = frozenset({"speed_kmh", "obd_speed_kmh", *(f"tyre_{wheel}_kpa" for wheel in WHEELS)})
    streams: frozenset[str] = frozenset()
    every_s: float = 0.0
    candidates: Candidates | None = None

    def wants(self, rows: Rows) -> Bools:
        """Every reading with a tyre far below the others."""
        mask = rows.none
        if not rows.has(*(f"tyre_{wheel}_kpa" for wheel in WHEELS)):
            return mask
        for wheel in WHEELS:
            kpa = rows.number(f"tyre_{wheel}_kpa")
            told: Bools = (kpa > _NO_SIGNAL_KPA) & (kpa <= TYRE_KPA[1])
            mate = rows.number(f"tyre_{_MATES[wheel]}_kpa")
            unsure: Bools = told & ~(kpa >= _LOW_SHARE * mate)
            if unsure.any():
                newest = np.where(mate > _NO_SIGNAL_KPA, mate, rows.carried(f"tyre_{_MATES[wheel]}_kpa"))
                mask |= unsure & (kpa < _LOW_SHARE * newest)
        return mask

    def examine(self, window: Window) -> list[Finding]:
        """A finding for every reading at which a tyre is low and has just lost its pressure."""
        found = []
        for wheel in WHEELS:
            kpa = window.number(f"tyre_{wheel}_kpa")
            known = np.flatnonzero((kpa > _NO_SIGNAL_KPA) & (kpa <= TYRE_KPA[1]))
            if len(known) >= 3:
                mate = _as_of(window, f"tyre_{_MATES[wheel]}_kpa")[known]
                speed_kmh = window.speed_kmh()[known]
                time_us = window.device_time_us[known]
                judged = shown_whole(window, time_us, _BEFORE_S, _REFUTED_S)
                found += _of_wheel(wheel, time_us, kpa[known], np.where(judged, mate, np.nan), speed_kmh)
        return sorted(found, key=lambda finding: (finding.at_us, finding.subject))


def _as_of(window: Window, name: str) -> Floats:
    """The newest value at or before each reading, while it is not too old; NaN otherwise."""
    values, time_us = window.number(name), window.device_time_us
    told = (values > _NO_SIGNAL_KPA) & (values <= TYRE_KPA[1])
    newest = np.maximum.accumulate(np.where(told, np.arange(len(values)), -1))
    fresh = (newest >= 0) & (time_us - time_us[newest] <= _SPARSE_S * S)
    return np.where(fresh, values[newest], np.nan)


def _of_wheel(wheel: str, time_us: Ints, kpa: Floats, mate: Floats, speed_kmh: Floats) -> list[Finding]:
    row = np.arange(len(kpa))
    # Rate over 30 s or, where samples are further apart, from the sample before.
    before = np.maximum(np.searchsorted(time_us, time_us - round(_RATE_OVER_S * S), side="right") - 1, 0)
    apart_s = (time_us - time_us[before]) / S
    tells = (before < row) & (apart_s <= _SPARSE_S)
    fall_kpa_min = np.where(tells, (kpa[before] - kpa) / np.maximum(apart_s, _RATE_OVER_S / 2) * 60.0, 0.0)
    found = []
    for at in np.flatnonzero(kpa < _LOW_SHARE * mate).tolist():
        now_us = int(time_us[at])
        begin = int(np.searchsorted(time_us, now_us - round(_FELL_WITHIN_S * S)))
        if at - begin < 2:
            continue
        recent = slice(begin, at + 1)
        top = begin + int(np.argmax(kpa[recent]))
        fast = fall_kpa_min[recent][time_us[recent] >= now_us - _RATE_WITHIN_S * S].max()
        if kpa[at] > _LOW_SHARE * kpa[top] or kpa[at - 1] > _LOW_BEFORE_SHARE * kpa[top] or fast < _FAST_KPA_MIN:
            continue
        if mate[at] < _MATE_KEEPS_SHARE * np.nanmax(mate[recent]):
            continue
        after = (time_us > now_us) & (time_us <= now_us + _REFUTED_S * S)
        if (kpa[after] >= _REFUTED_SHARE * kpa[top]).sum() >= 2:
            continue
        values = {
            "wheel": wheel,
            "min_pressure_kpa": round(float(kpa[at])),
            "max_fall_kpa_min": round(float(fast)),
            "max_speed_kmh": None if np.isnan(speed_kmh[at]) else round(float(speed_kmh[at])),
        }
        told = {"wheel": wheel, "pressure_kpa": values["min_pressure_kpa"], "fall_kpa_min": values["max_fall_kpa_min"]}
        start_us = int(time_us[recent][kpa[recent] >= _STILL_WELL_SHARE * kpa[top]][-1])
        found.append(
            Finding(
                "tyre_blowout", 2, 0.9, now_us, start_us, now_us, values,
                (Reason("tyre_lost_pressure", told),), subject=wheel,
            )
        )  # fmt: skip
    return found


DETECTOR: Final = TyreBlowout()
