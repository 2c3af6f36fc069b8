"""Motion of a struck vehicle for tests of the impact detectors: pulses, what a device makes of them, and its readings.

Written from the published shapes of crash pulses (haversine and half-sine, Varat and Husher, 18th ESV; ripple as measured
in three crash tests), not from the product's simulator.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fleet_core import topics
from fleet_core.readings import Readings
from incidents.window import Event
from ingest.telemetry import Item, assemble

Floats = NDArray[np.float64]
G = 9.80665
START_MS = 1_764_000_000_000
VEHICLE = "v1"
_FINE_HZ = 10_000


@dataclass(frozen=True)
class Pulse:
    """A change of velocity `delta_v_kmh` along the vector `along` (vehicle axes), from `at_s` for `lasts_s`."""

    delta_v_kmh: float
    lasts_s: float
    along: tuple[float, float, float] = (-1.0, 0.0, 0.0)
    at_s: float = 0.0
    shape: str = "haversine"
    ripple: float = 0.3
    ripple_hz: float = 45.0

    def acceleration(self, t_s: Floats) -> Floats:
        """m/s2 along the pulse's direction."""
        x = (t_s - self.at_s) / self.lasts_s
        inside = (x >= 0) & (x <= 1)
        mean = self.delta_v_kmh / 3.6 / self.lasts_s
        if self.shape == "haversine":
            value = mean * (1 - np.cos(2 * np.pi * x))
        else:
            value = mean * np.pi / 2 * np.sin(np.pi * np.clip(x, 0, 1))
        # Ripple that leaves the change of velocity as it is: it is weighted by the pulse and has no mean over it.
        wave = np.sin(2 * np.pi * self.ripple_hz * (t_s - self.at_s))
        weight = np.where(inside, value, 0.0)
        if weight.any():
            wave = wave - (weight * wave).sum() / weight.sum()
        return np.where(inside, value * (1 + self.ripple * wave), 0.0)


def rotation(rng: np.random.Generator) -> Floats:
    """A rotation drawn evenly from all there are."""
    q = rng.normal(size=4)
    w, x, y, z = q / np.linalg.norm(q)
    return np.array([
        [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
        [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
        [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
    ])  # fmt: skip


def yaw(degrees: float) -> Floats:
    """A rotation about the upward axis."""
    c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    return np.array([[c, -s, 0.0], [s, c, 0.0], [0.0, 0.0, 1.0]])


@dataclass(frozen=True)
class Device:
    """A motion sensor. `rotation` @ vehicle axes = device axes; `averages`: each sample is the mean of its interval."""

    rate_hz: float = 100.0
    range_g: float = 16.0
    rotation: Floats = field(default_factory=lambda: np.eye(3))
    gravity: bool = False
    bias_mps2: tuple[float, float, float] = (0.0, 0.0, 0.0)
    noise_mps2: float = 0.15
    phase: float = 0.0
    averages: bool = False
    nulls: float = 0.0
    with_gyro: bool = True

    def burst(
        self,
        rng: np.random.Generator,
        accel: Callable[[Floats], Floats],
        *,
        from_s: float = -1.0,
        until_s: float = 2.0,
        gyro_dps: Callable[[Floats], Floats] | None = None,
        t0_ms: int = START_MS,
        seq: int = 1,
    ) -> Event:
        """A burst message from `from_s` to `until_s` around `t0_ms`; `accel` gives (n, 3) m/s2 without gravity, and
        the up vector is z throughout. Samples lie at whole intervals plus `phase` of one.
        """
        count = max(1, int((until_s - from_s) * self.rate_hz))
        step_s = 1 / self.rate_hz
        t_s = from_s + (np.arange(count) + self.phase) * step_s
        if self.averages:
            inner = max(1, round(_FINE_HZ / self.rate_hz))
            fine = t_s[:, None] + (np.arange(inner) + 0.5) / inner * step_s
            true = accel(fine.ravel()).reshape(count, inner, 3).mean(axis=1)
        else:
            true = accel(t_s)
        sensed = (
            (true + np.array([0.0, 0.0, G])) @ self.rotation.T
            + self.bias_mps2
            + rng.normal(0, self.noise_mps2, true.shape)
        )
        limit = self.range_g * G
        sensed = np.clip(sensed, -limit, limit)
        if not self.gravity:
            sensed = sensed - self.rotation @ np.array([0.0, 0.0, G])
        body: dict[str, Any] = {
            "boot": 1,
            "seq": seq,
            "t0_ms": t0_ms + round((from_s + self.phase * step_s) * 1000),
            "rate_hz": self.rate_hz,
            "range_mps2": limit,
        }
        if self.gravity:
            body["accel_gravity"] = True
        lost = rng.random(count) < self.nulls
        for axis, values in zip("xyz", sensed.T, strict=True):
            body[f"accel_{axis}_mps2"] = [None if gone else float(v) for v, gone in zip(values, lost, strict=True)]
        if self.with_gyro:
            turning = np.zeros((count, 3)) if gyro_dps is None else gyro_dps(t_s)
            turned = turning @ self.rotation.T + rng.normal(0, 0.5, (count, 3))
            for axis, values in zip("xyz", turned.T, strict=True):
                body[f"gyro_{axis}_dps"] = [None if gone else float(v) for v, gone in zip(values, lost, strict=True)]
        occurred_us = body["t0_ms"] * 1000
        return Event(topics.BURST, occurred_us, occurred_us + 2_000_000, (1 << 32) | seq, None, body)


def motion(*pulses: Pulse, braking_g: float = 0.0, shaking_g: float = 0.0, seed: int = 0) -> Callable[[Floats], Floats]:
    """Acceleration in vehicle axes (n, 3): braking until the first pulse, pulses, then motion that dies away."""
    rng = np.random.default_rng(seed)
    first = min((pulse.at_s for pulse in pulses), default=np.inf)
    last = max((pulse.at_s + pulse.lasts_s for pulse in pulses), default=np.inf)
    phases, rates = rng.uniform(0, 2 * np.pi, (3, 4)), rng.uniform(3.0, 12.0, (3, 4))

    def accel(t_s: Floats) -> Floats:
        found = np.zeros((len(t_s), 3))
        for pulse in pulses:
            direction = np.array(pulse.along) / np.linalg.norm(pulse.along)
            found += pulse.acceleration(t_s)[:, None] * direction
        found[t_s < first, 0] -= braking_g * G
        after = np.clip(t_s - last, 0, None)
        decays = np.where(t_s > last, np.exp(-after / 0.8), 0.0) * shaking_g * G
        for axis in range(3):
            waves = np.sin(2 * np.pi * rates[axis][:, None] * after + phases[axis][:, None]).mean(axis=0)
            found[:, axis] += decays * waves
        return found

    return accel


def readings(
    columns: dict[str, Sequence[Any]],
    *,
    start_ms: int = START_MS,
    every_ms: int = 1000,
    first_s: float = 0.0,
    vehicle: str = VEHICLE,
    t_ms: Sequence[int] | None = None,
) -> Readings:
    """Readings as ingest makes them of a telemetry message: one at every `every_ms` from `first_s` after the start."""
    count = len(next(iter(columns.values())))
    times = [start_ms + round(first_s * 1000) + at * every_ms for at in range(count)] if t_ms is None else list(t_ms)
    body = {"boot": 1, "seq": 1000, "t_ms": times} | {name: list(values) for name, values in columns.items()}
    made, refused = assemble([Item(0, vehicle, max(times) * 1000 + 2_000_000, b"", body)])
    assert not refused
    return made
