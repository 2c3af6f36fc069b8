"""A burst message as arrays: nulls bridged, saturation marked, what is slow (gravity, bias, braking) taken off.

Everything here is said of the device's own axes; how the device sits in the vehicle is `_mounting`'s business.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from fleet_core import topics
from incidents.window import Bools, Event, Floats, S, Window

G_MPS2: Final = 9.80665

# A sample this near its sensor's range is saturated: the brief of the message contract (0.98 of `range_mps2`).
_CLIPPED_SHARE: Final = 0.98
# Beyond this no part measures, m/s2 or degrees/s (fleet_core/columns.py): the marks of devices that have no value.
_MEASURABLE: Final = 10_000.0
# Gravity taken off after saturation moves a plateau by up to 1 g: a run of equal samples there is saturation as well.
_PLATEAU_SAMPLES: Final = 3
_PLATEAU_SHARE: Final = 0.002
# Means over whole numbers of samples bring fast bursts to 100 Hz or a little more: enough for a pulse of 60 ms (SAE
# J211 asks 100 Hz of delta-V, 49 CFR 563 records it at 100/s), and a fifth of the work of 1,000 Hz.
_WORKING_HZ: Final = 100.0
# What does not change within this span is not an impact: longer than any pulse (0.2 s, trip of a rollover 0.4 s), and
# a median passes the edges of a braking unharmed, which last longer than half of it. Judgement.
SLOW_S: Final = 0.8
# A burst shorter than this is mostly pulse; its median says nothing of what is slow. Judgement.
_SHORT_S: Final = 0.45
# Pieces of one burst follow each other within this many steps. Times are whole milliseconds.
_PIECE_STEPS: Final = 1.6
# |a| within this of 1 g: nothing but gravity. Judgement.
_QUIET_MPS2: Final = 0.12 * G_MPS2
# So much of a span must be quiet to show gravity: a few samples of braking may pass for it.
_QUIET_SHARE: Final = 0.15


@dataclass(frozen=True, slots=True)
class Burst:
    """Motion of `n` samples, device axes, as measured.

    t0_us        time of the first sample
    rate_hz      samples a second
    accel_mps2   (n, 3), nulls bridged
    gyro_dps     (n, 3), or None where the device has no gyroscope
    gravity      the accelerations hold gravity
    range_mps2   the sensor's range, None where the device does not say
    clipped      (n,) some axis is saturated
    missing      (n,) some axis was null
    """

    t0_us: int
    rate_hz: float
    accel_mps2: Floats
    gyro_dps: Floats | None
    gravity: bool
    range_mps2: float | None
    clipped: Bools
    missing: Bools

    def __len__(self) -> int:
        return len(self.accel_mps2)

    @property
    def step_s(self) -> float:
        """Seconds between samples."""
        return 1.0 / self.rate_hz

    @property
    def until_us(self) -> int:
        """Time of the last sample."""
        return self.time_us(len(self) - 1)

    def time_us(self, sample: float) -> int:
        """Time of a sample, or of a place between samples."""
        return self.t0_us + round(sample * self.step_s * S)

    def thinned(self) -> "Burst":
        """The same motion at 100 Hz or a little more, each sample the mean of whole samples: areas stay as they are."""
        factor = int(self.rate_hz // _WORKING_HZ)
        count = len(self) // factor if factor else 0
        if factor < 2 or count < 1:
            return self

        def means(values: Floats) -> Floats:
            return np.asarray(values[: count * factor].reshape(count, factor, -1).mean(axis=1))

        def any_of(mask: Bools) -> Bools:
            return np.asarray(mask[: count * factor].reshape(count, factor).any(axis=1))

        return Burst(
            self.time_us((factor - 1) / 2),
            self.rate_hz / factor,
            means(self.accel_mps2),
            None if self.gyro_dps is None else means(self.gyro_dps),
            self.gravity,
            self.range_mps2,
            any_of(self.clipped),
            any_of(self.missing),
        )

    def slow_mps2(self) -> Floats:
        """(n, 3) gravity, bias and the driver's own braking: the running median, which pulses do not reach."""
        count = len(self)
        if count * self.step_s < _SHORT_S:
            return np.broadcast_to(self.rest_mps2(), (count, 3))
        width = min(count, round(SLOW_S * self.rate_hz)) | 1
        width = width if width <= count else count - 1 + count % 2
        middle = np.median(np.lib.stride_tricks.sliding_window_view(self.accel_mps2, width, axis=0), axis=-1)
        before = width // 2
        return np.concatenate(
            (
                np.repeat(middle[:1], before, axis=0),
                middle,
                np.repeat(middle[-1:], count - before - len(middle), axis=0),
            )
        )

    def rest_mps2(self) -> Floats:
        """(3,) what the sensor shows when nothing moves it: gravity where it is held, nothing where it was removed."""
        if not self.gravity:
            return np.zeros(3)
        off = np.abs(np.linalg.norm(self.accel_mps2, axis=1) - G_MPS2)
        loudest = int(np.argmax(off))
        # Before the blow if there is something to see: after it the vehicle may lie on its side.
        for part in (slice(0, loudest), slice(0, len(self))):
            quiet = self.accel_mps2[part][off[part] <= _QUIET_MPS2]
            if len(quiet) >= max(3, _QUIET_SHARE * len(off[part])):
                return np.asarray(np.median(quiet, axis=0))
        return np.asarray(np.median(self.accel_mps2, axis=0))


def bursts_of(window: Window) -> list[Burst]:
    """The window's bursts in order of time; pieces that follow each other without a gap are one.

    A piece that a device sent twice under two numbers counts once.
    """
    whole: list[Burst] = []
    last: Burst | None = None
    for event in window.of(topics.BURST):
        piece = decode(event)
        if piece is None or (last is not None and _same(last, piece)):
            continue
        last = piece
        if whole and _follows(whole[-1], piece):
            whole[-1] = _joined(whole[-1], piece)
        else:
            whole.append(piece)
    return whole


def decode(event: Event) -> Burst | None:
    """A burst message's motion, or None where it has no acceleration on two axes at least."""
    body = event.body
    rate_hz = float(body["rate_hz"])
    axes = [_values(body, f"accel_{axis}_mps2") for axis in "xyz"]
    present = [values for values in axes if values is not None]
    if len(present) < 2:
        return None
    count = len(present[0])
    accel = np.column_stack([np.zeros(count) if values is None else values for values in axes])
    missing: Bools = np.asarray(np.isnan(accel).any(axis=1))
    turning = [_values(body, f"gyro_{axis}_dps") for axis in "xyz"]
    gyro = None
    if all(values is not None and np.isfinite(values).any() for values in turning):
        gyro = _bridged(np.column_stack([values for values in turning if values is not None]))
    limit = body.get("range_mps2")
    range_mps2 = float(limit) if isinstance(limit, int | float) and limit > 0 else None
    return Burst(
        event.occurred_us,
        rate_hz,
        _bridged(accel),
        gyro,
        bool(body.get("accel_gravity")),
        range_mps2,
        _clipped(accel, range_mps2),
        missing,
    )


def _values(body: Mapping[str, Any], name: str) -> Floats | None:
    values = body.get(name)
    if not isinstance(values, Sequence) or isinstance(values, str) or not len(values):
        return None
    told = np.array([np.nan if value is None else value for value in values], dtype=np.float64)
    return np.where(np.abs(told) <= _MEASURABLE, told, np.nan)


def _bridged(values: Floats) -> Floats:
    """Nulls replaced by the line between their neighbours, axis by axis; 0 where an axis has nothing."""
    bridged = values.copy()
    places = np.arange(len(values))
    for axis in range(values.shape[1]):
        known = np.isfinite(values[:, axis])
        if not known.all():
            bridged[:, axis] = np.interp(places, places[known], values[known, axis]) if known.any() else 0.0
    return bridged


def _clipped(accel: Floats, range_mps2: float | None) -> Bools:
    """(n,) samples that show the end of the sensor's range instead of what happened."""
    size = np.abs(accel)
    if range_mps2 is None:
        # A device that does not state its range gives it away by a plateau at its greatest value.
        greatest = np.nanmax(size, initial=0.0)
        return _plateaus(accel, greatest * (1 - _PLATEAU_SHARE), 2 * G_MPS2 * _PLATEAU_SHARE)
    with np.errstate(invalid="ignore"):
        at_end: Bools = np.asarray((size >= _CLIPPED_SHARE * range_mps2).any(axis=1))
    return at_end | _plateaus(accel, range_mps2 - 1.1 * G_MPS2, range_mps2 * _PLATEAU_SHARE)


def _plateaus(accel: Floats, from_mps2: float, equal_mps2: float) -> Bools:
    """(n,) samples in runs of equal values of an axis at `from_mps2` or more, but not at less than 1 g."""
    found = np.zeros(len(accel), dtype=np.bool_)
    if len(accel) < _PLATEAU_SAMPLES:
        return found
    runs = np.lib.stride_tricks.sliding_window_view(accel, _PLATEAU_SAMPLES, axis=0)
    with np.errstate(invalid="ignore"):
        flat = (np.ptp(runs, axis=-1) <= equal_mps2) & (np.abs(runs).min(axis=-1) >= max(from_mps2, G_MPS2))
    starts: NDArray[np.intp] = np.flatnonzero(flat.any(axis=1))
    for after in range(_PLATEAU_SAMPLES):
        found[starts + after] = True
    return found


def _same(one: Burst, other: Burst) -> bool:
    return one.t0_us == other.t0_us and np.array_equal(one.accel_mps2, other.accel_mps2)


def _follows(one: Burst, other: Burst) -> bool:
    gap_us = abs(other.t0_us - one.until_us - one.step_s * S)
    return (
        gap_us <= max((_PIECE_STEPS - 1) * one.step_s * S, 2_000)
        and abs(one.rate_hz - other.rate_hz) <= 0.01 * one.rate_hz
        and one.gravity == other.gravity
        and (one.gyro_dps is None) == (other.gyro_dps is None)
    )


def _joined(one: Burst, other: Burst) -> Burst:
    gyro = None
    if one.gyro_dps is not None and other.gyro_dps is not None:
        gyro = np.concatenate((one.gyro_dps, other.gyro_dps))
    return Burst(
        one.t0_us,
        one.rate_hz,
        np.concatenate((one.accel_mps2, other.accel_mps2)),
        gyro,
        one.gravity,
        one.range_mps2,
        np.concatenate((one.clipped, other.clipped)),
        np.concatenate((one.missing, other.missing)),
    )
