"""Motion of a struck vehicle for tests of the impact detectors: pulses, what a device makes of them, and its readings.

Written from the published shapes of crash pulses (haversine and half-sine, Varat and Husher, 18th ESV; ripple as
measured in three crash tests), not from the product's simulator.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fleet_core import topics
from fleet_core.readings import Readings
from incidents.detector import Detector
from incidents.judge import Judge
from incidents.remembered import Memory
from incidents.window import Event, Vehicle
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
        noise = rng.normal(0, self.noise_mps2, true.shape)
        sensed = (true + np.array([0.0, 0.0, G])) @ self.rotation.T + self.bias_mps2 + noise
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
    seq: int = 1000,
) -> Readings:
    """Readings as ingest makes them of a telemetry message: one at every `every_ms` from `first_s` after the start."""
    count = len(next(iter(columns.values())))
    times = [start_ms + round(first_s * 1000) + at * every_ms for at in range(count)] if t_ms is None else list(t_ms)
    body = {"boot": 1, "seq": seq, "t_ms": times} | {name: list(values) for name, values in columns.items()}
    made, refused = assemble([Item(0, vehicle, max(times) * 1000 + 2_000_000, b"", body)])
    assert not refused
    return made


@dataclass(frozen=True)
class Drive:
    """A vehicle that drives, and at second 0 changes its velocity by `change_kmh` (forward, left); readings at 1 Hz.

    stands_after_s  how long it takes to come to rest after that; None: it goes on as before
    braking_g       braking in the second and a half before
    parked          it stands all the time
    """

    speed_kmh: float = 50.0
    change_kmh: tuple[float, float] = (0.0, 0.0)
    stands_after_s: float | None = 3.0
    braking_g: float = 0.0
    parked: bool = False
    before_s: int = 110
    after_s: int = 80

    def columns(
        self,
        rng: np.random.Generator,
        *,
        ignition: bool | None = True,
        device: Device | None = None,
        phase: float = 0.4,
    ) -> tuple[dict[str, list[Any]], float]:
        """Columns of the readings and the second of the first. `device`: accelerations as it would feel them."""
        fine = np.arange(-self.before_s - 2, self.after_s + 2, 0.02)
        speed, turning = self._motion(rng, fine)
        at_s = np.arange(-self.before_s, self.after_s) + phase
        rows = np.searchsorted(fine, at_s)
        heading = (40.0 - np.degrees(np.cumsum(turning) * 0.02)) % 360
        noise = rng.normal(0, 0.3, len(rows)) * (speed[rows] > 0.3)
        columns: dict[str, list[Any]] = {
            "speed_kmh": np.round(np.abs(speed[rows] * 3.6 + noise), 1).tolist(),
            "heading_deg": np.round(heading[rows], 1).tolist(),
        }
        if ignition is not None:
            columns["ignition"] = [ignition] * len(rows)
        if device is not None:
            felt = np.stack((np.gradient(speed, 0.02), speed * turning, np.zeros_like(speed)), axis=1)
            means = np.stack([felt[max(0, row - 49) : row + 1].mean(axis=0) for row in rows.tolist()])
            sensed = (means + rng.normal(0, 0.2, means.shape) + [0.0, 0.0, G]) @ device.rotation.T
            if device.gravity:
                columns["accel_gravity"] = [True] * len(rows)
            else:
                sensed = sensed - device.rotation @ np.array([0.0, 0.0, G])
            for axis, values in zip("xyz", sensed.T, strict=True):
                columns[f"accel_{axis}_mps2"] = np.round(values, 3).tolist()
        return columns, float(at_s[0])

    def _motion(self, rng: np.random.Generator, t_s: Floats) -> tuple[Floats, Floats]:
        """Speed, m/s, and turning rate to the left, radians a second."""
        if self.parked:
            return np.zeros_like(t_s), np.zeros_like(t_s)
        before, turning = self.speed_kmh / 3.6, np.zeros_like(t_s)
        waves = sum(
            rng.uniform(0.3, 1.0) * np.sin(2 * np.pi * hz * t_s + rng.uniform(0, 6)) for hz in (0.013, 0.03, 0.07)
        )
        speed = before + waves * np.clip((-6 - t_s) / 8, 0, 1) * min(2.0, self.speed_kmh / 30)
        for at_s in rng.uniform(-self.before_s, -10, 4):
            turning += rng.choice([-1, 1]) * np.radians(rng.uniform(5, 10)) * np.exp(-(((t_s - at_s) / 2.5) ** 2))
        braked = np.clip(t_s + 1.5, 0, 1.5) * self.braking_g * G
        speed = np.maximum(speed - braked, 0.0)
        forward, left = (part / 3.6 for part in self.change_kmh)
        struck = float(np.hypot(max(0.0, before - 1.5 * self.braking_g * G + forward), left))
        if self.stands_after_s is None:
            after = struck + (before - struck) * np.clip(t_s / 10, 0, 1)
        else:
            after = struck * np.clip(1 - t_s / self.stands_after_s, 0, None)
        return np.where(t_s >= 0, after, speed), turning

    def readings(self, rng: np.random.Generator, **more: Any) -> Readings:
        """The readings."""
        columns, first_s = self.columns(rng, **more)
        return readings(columns, first_s=first_s)


def alarm(kind: str, after_s: float = 0.2, seq: int = 50, **columns: Any) -> Event:
    """An alarm message some seconds after START_MS."""
    t_ms = START_MS + round(after_s * 1000)
    body = {"boot": 1, "seq": seq, "t_ms": t_ms, "kind": kind, **columns}
    return Event(topics.ALARM, t_ms * 1000, t_ms * 1000 + 500_000, (1 << 32) | seq, kind, body)


def judged(
    detectors: Mapping[str, Detector],
    batches: Sequence[tuple[Readings, Sequence[Event]]],
    *,
    vehicle: Vehicle | None = None,
    known_until_us: int | None = None,
) -> Memory:
    """What stands after these batches, judged one after the other."""
    memory = Memory(vehicles={} if vehicle is None else {VEHICLE: vehicle}, known_until_us=known_until_us)
    judge = Judge(detectors)
    for some, events in batches:
        of_vehicle = [(VEHICLE, event) for event in events]
        verdict = judge.judge(memory, memory.add(some, of_vehicle), of_vehicle)
        assert not verdict.faults, verdict.faults
        memory.keep(verdict.changes)
    return memory


def findings_of(memory: Memory) -> list[tuple[Any, ...]]:
    """What stands, without the ids that depend on the order of finding."""
    return [
        (one.detector, one.finding.kind, one.finding.level, one.finding.score, one.finding.at_us, one.finding.start_us,
         one.finding.end_us, sorted((name, str(value)) for name, value in one.finding.values.items()),
         [reason.code for reason in one.finding.reasons])
        for one in memory.standing
    ]  # fmt: skip


def shuffled(
    rng: np.random.Generator, some: Readings, events: Sequence[Event]
) -> list[tuple[Readings, Sequence[Event]]]:
    """The same readings, ten a message, and events, in any order and in batches of any size, some messages twice."""
    messages: list[tuple[Any, list[Event]]] = [
        (rows, []) for rows in np.array_split(np.arange(len(some)), max(1, len(some) // 10))
    ]
    messages += [(np.empty(0, dtype=np.intp), [event]) for event in events]
    order = np.concatenate((rng.permutation(len(messages)), rng.integers(0, max(1, len(some) // 10), 3)))
    batches = []
    for part in np.split(order, np.sort(rng.integers(0, len(order), int(rng.integers(1, 12))))):
        rows = np.concatenate([messages[at][0] for at in part]) if len(part) else np.empty(0, dtype=np.intp)
        batches.append((some.take(rows), [event for at in part for event in messages[at][1]]))
    return batches


def assert_same_in_any_order(
    detectors: Mapping[str, Detector], rng: np.random.Generator, some: Readings, events: Sequence[Event]
) -> None:
    """Order, batches and duplicates make no difference to what stands."""
    whole = findings_of(judged(detectors, [(some, events)]))
    assert findings_of(judged(detectors, shuffled(rng, some, events))) == whole


def half_sine(t_s: Floats, at_s: float, lasts_s: float, peak_g: float, along: tuple[float, float, float]) -> Floats:
    x = np.clip((t_s - at_s) / lasts_s, 0, 1)
    return (peak_g * G * np.sin(np.pi * x))[:, None] * np.array(along)


def dropping(
    fall_s: float, peak_g: float, lasts_s: float, along: tuple[float, float, float] = (0.6, 0.6, 0.5)
) -> Callable[[Floats], Floats]:
    def accel(t_s: Floats) -> Floats:
        felt = half_sine(t_s, 0, lasts_s, peak_g, along)
        felt[(t_s < 0) & (t_s >= -fall_s), 2] = -G
        return felt

    return accel
