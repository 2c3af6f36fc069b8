"""Telematics units: boot and sequence counters, own clocks, batches of ten samples, store and forward."""

import math
from collections import deque
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from fleet_core import topics
from fleet_core.publications import Encode, Message

F64 = NDArray[np.float64]
I64 = NDArray[np.int64]
Bools = NDArray[np.bool_]

SAMPLES_A_MESSAGE: Final = 10
FIRMWARE: Final = "fleetward-sim 1"

# Column, decimals. The order is the order in the message.
NUMBERS: Final = (
    ("lat_deg", 7),
    ("lon_deg", 7),
    ("speed_kmh", 2),
    ("heading_deg", 1),
    ("altitude_m", 1),
    ("accuracy_m", 1),
    ("hdop", 2),
    ("accel_x_mps2", 2),
    ("accel_y_mps2", 2),
    ("gyro_z_dps", 1),
    ("odometer_km", 3),
    ("energy_pct", 2),  # sent as fuel_pct or soc_pct
    ("external_v", 2),
)
WHOLE: Final = ("satellites", "rpm")
FLAGS: Final = ("ignition", "fix_valid")

# A device keeps what it cannot send in a ring: an hour of driving, then the oldest is lost, as in real units.
STORED_MESSAGES: Final = 360
DRAIN_A_SECOND: Final = 4
COVERAGE_GAP_PER_S: Final = 1 / 5400.0
COVERAGE_GAP_S: Final = (15.0, 120.0)
REBOOT_AT_START: Final = 0.04  # share of engine starts at which the unit reboots (cranking dips its supply)

_BOOT_EPOCH_MS: Final = 1_704_067_200_000  # 2024-01-01 UTC


class Devices:
    """The units of `vehicle_ids`. Fed once a second with columns, gives the messages that leave in that second.

    `start_ms` is the true time of the first step, UTC epoch milliseconds. Boot counters count minutes since 2024 at
    start, so that a vehicle simulated again later goes on with a greater boot, as a real unit would.
    """

    def __init__(
        self,
        vehicle_ids: Sequence[str],
        *,
        start_ms: int,
        seed: int,
        encode: Encode,
        partitions: int,
        clock_offset_ms: I64 | None = None,
        coverage_gaps: bool = True,
    ) -> None:
        size = len(vehicle_ids)
        self._ids = list(vehicle_ids)
        self._topics = [topics.topic_of(vehicle_id, topics.TELEMETRY, partitions) for vehicle_id in vehicle_ids]
        self._status_topics = [topics.topic_of(vehicle_id, topics.STATUS, partitions) for vehicle_id in vehicle_ids]
        self._encode = encode
        self._rng = np.random.default_rng([seed, 3])
        self._start_ms = start_ms
        self._offset_ms: I64 = np.zeros(size, np.int64) if clock_offset_ms is None else clock_offset_ms
        self._boot = np.full(size, max(1, (start_ms - _BOOT_EPOCH_MS) // 60_000) % 2**32, dtype=np.int64)
        self._seq = np.zeros(size, dtype=np.int64)
        # Units sample on their own beat within the second and send on their own beat within ten.
        self._beat_ms = self._rng.integers(0, 1000, size)
        self._phase = np.arange(size) % SAMPLES_A_MESSAGE
        self._numbers = np.full((len(NUMBERS), SAMPLES_A_MESSAGE, size), np.nan)
        self._whole = np.zeros((len(WHOLE), SAMPLES_A_MESSAGE, size), dtype=np.int64)
        self._flags = np.zeros((len(FLAGS), SAMPLES_A_MESSAGE, size), dtype=bool)
        self._t_ms = np.zeros((SAMPLES_A_MESSAGE, size), dtype=np.int64)
        self._held = np.zeros(size, dtype=np.int64)
        self._energy = np.where(self._rng.random(size) < 0.3, "soc_pct", "fuel_pct").tolist()
        self._electric = np.array([name == "soc_pct" for name in self._energy])
        self._energy_pct = self._rng.uniform(35, 98, size)
        self._odometer_km = self._rng.uniform(2_000, 140_000, size).round(1)
        self._gap_s = np.zeros(size)
        self._gaps = coverage_gaps
        self._stored: dict[int, deque[dict[str, Any]]] = {}
        self._was_on = np.zeros(size, dtype=bool)
        self.lost_samples = 0  # overwritten in a full ring, so never sent

    def online(self, online: bool, at_ms: int) -> list[Message]:
        """The retained status of every vehicle."""
        return [self.status(vehicle, online, at_ms) for vehicle in range(len(self._ids))]

    def status(self, vehicle: int, online: bool, at_ms: int) -> Message:
        """The retained status of one vehicle."""
        t_ms = at_ms + int(self._offset_ms[vehicle])
        boot = int(self._boot[vehicle])
        body = {"boot": boot, "t_ms": t_ms, "online": online, "firmware": FIRMWARE}
        return Message(
            topic=self._status_topics[vehicle],
            payload=self._encode(body),
            vehicle_id=self._ids[vehicle],
            due_ms=at_ms,
            boot=boot,
            t_first_ms=t_ms,
            t_last_ms=t_ms,
            retain=True,
        )

    def tick(
        self, second: int, columns: dict[str, F64], ignition: Bools, fix_valid: Bools, moved_m: F64
    ) -> list[Message]:
        """Take this second's sample of every vehicle; return what is sent now, in order of sending."""
        self._use_energy(moved_m, ignition)
        messages = self._reboot(second, ignition)
        awake = np.flatnonzero(second >= self._phase)
        slot = self._held[awake]
        values = {**columns, "odometer_km": self._odometer_km, "energy_pct": self._energy_pct}
        values["external_v"] = np.where(ignition, 13.9, 12.6) + self._rng.normal(0, 0.03, len(ignition))
        values["rpm"] = self._rpm(columns["speed_kmh"], ignition)
        for index, (name, decimals) in enumerate(NUMBERS):
            self._numbers[index, slot, awake] = np.round(values[name][awake], decimals)
        for index, name in enumerate(WHOLE):
            self._whole[index, slot, awake] = values[name][awake].astype(np.int64)
        self._flags[0, slot, awake] = ignition[awake]
        self._flags[1, slot, awake] = fix_valid[awake]
        self._t_ms[slot, awake] = self._start_ms + second * 1000 + self._beat_ms[awake] + self._offset_ms[awake]
        self._held[awake] += 1
        self._cover(ignition)
        full = np.flatnonzero(self._held == SAMPLES_A_MESSAGE)
        messages += self._send(full, second) + self._drain(second)
        return sorted(messages, key=lambda message: message.due_ms)

    def flush(self, second: int) -> list[Message]:
        """Everything still held, sent at the beginning of `second`, as when a unit is switched off with coverage."""
        self._gap_s[:] = 0.0
        messages = self._send(np.flatnonzero(self._held > 0), second)
        while self._stored:
            messages += self._drain(second)
        return [replace(message, due_ms=self._start_ms + second * 1000) for message in messages]

    def _reboot(self, second: int, ignition: Bools) -> list[Message]:
        starts = np.flatnonzero(ignition & ~self._was_on)
        self._was_on = ignition.copy()
        if second == 0 or len(starts) == 0:
            return []
        booted = starts[self._rng.random(len(starts)) < REBOOT_AT_START]
        # What was held under the old counter leaves first: a message has one boot.
        messages = self._send(booted[self._held[booted] > 0], second)
        self._boot[booted] += 1
        self._seq[booted] = 0
        return messages + [self.status(v, True, self._true_ms(v, second)) for v in booted.tolist()]

    def _true_ms(self, vehicle: int, second: int) -> int:
        """When the vehicle takes its sample of this second, and sends right after it."""
        return self._start_ms + second * 1000 + int(self._beat_ms[vehicle])

    def _use_energy(self, moved_m: F64, ignition: Bools) -> None:
        self._odometer_km = self._odometer_km + moved_m / 1000.0
        # About 6.5 l in a 50 l tank and 16 kWh in a 60 kWh battery for 100 km, plus idling.
        per_km = np.where(self._electric, 0.27, 0.13)
        idle = np.where(self._electric, 0.0004, 0.0005) * ignition
        self._energy_pct = self._energy_pct - per_km * moved_m / 1000.0 - idle
        empty = self._energy_pct < 8.0
        self._energy_pct[empty] = 97.0

    def _rpm(self, speed_kmh: F64, ignition: Bools) -> F64:
        speed = np.nan_to_num(speed_kmh)
        gear = np.clip(np.ceil(speed / 19.0), 1, 6)
        turning = np.maximum(780.0, speed / gear * 95.0 + 250.0) + self._rng.normal(0, 12, len(speed))
        electric = speed * 95.0
        return np.where(ignition, np.where(self._electric, electric, turning), 0.0)

    def _cover(self, ignition: Bools) -> None:
        self._gap_s = np.maximum(self._gap_s - 1.0, 0.0)
        if self._gaps:
            starts = ignition & (self._rng.random(len(self._ids)) < COVERAGE_GAP_PER_S)
            self._gap_s[starts] = self._rng.uniform(*COVERAGE_GAP_S, int(starts.sum()))

    def _send(self, vehicles: NDArray[np.int64], second: int) -> list[Message]:
        """Messages of the held samples; those without coverage, or behind stored ones, go to the ring."""
        if len(vehicles) == 0:
            return []
        numbers = self._numbers[:, :, vehicles].transpose(2, 0, 1)
        absent = np.isnan(numbers).any(axis=(1, 2)).tolist()
        numbers_list = numbers.tolist()
        whole = self._whole[:, :, vehicles].transpose(2, 0, 1).tolist()
        flags = self._flags[:, :, vehicles].transpose(2, 0, 1).tolist()
        times = self._t_ms[:, vehicles].T.tolist()
        messages: list[Message] = []
        for row, vehicle in enumerate(vehicles.tolist()):
            count = int(self._held[vehicle])
            body: dict[str, Any] = {
                "boot": int(self._boot[vehicle]),
                "seq": int(self._seq[vehicle]),
                "t_ms": times[row][:count],
            }
            for (name, _), column in zip(NUMBERS, numbers_list[row], strict=True):
                held = column[:count]
                if absent[row]:
                    held = [None if math.isnan(value) else value for value in held]
                body[self._energy[vehicle] if name == "energy_pct" else name] = held
            for name, column in zip(WHOLE, whole[row], strict=True):
                body[name] = column[:count]
            for name, column in zip(FLAGS, flags[row], strict=True):
                held = column[:count]
                same = all(held) or not any(held)
                if name != "fix_valid" or not all(held):
                    body[name] = held[0] if same else held
            self._seq[vehicle] = (self._seq[vehicle] + count) % 2**32
            self._held[vehicle] = 0
            if self._gap_s[vehicle] > 0 or vehicle in self._stored:
                ring = self._stored.setdefault(vehicle, deque())
                ring.append(body)
                if len(ring) > STORED_MESSAGES:
                    self.lost_samples += len(ring.popleft()["t_ms"])
            else:
                messages.append(self._message(vehicle, body, second))
        self._numbers[:, :, vehicles] = np.nan
        return messages

    def _drain(self, second: int) -> list[Message]:
        messages: list[Message] = []
        for vehicle in [v for v in self._stored if self._gap_s[v] <= 0]:
            ring = self._stored[vehicle]
            for _ in range(min(DRAIN_A_SECOND, len(ring))):
                messages.append(self._message(vehicle, {**ring.popleft(), "buffered": True}, second))
            if not ring:
                del self._stored[vehicle]
        return messages

    def _message(self, vehicle: int, body: dict[str, Any], second: int) -> Message:
        return Message(
            topic=self._topics[vehicle],
            payload=self._encode(body),
            vehicle_id=self._ids[vehicle],
            due_ms=self._true_ms(vehicle, second),
            boot=body["boot"],
            seq=body["seq"],
            count=len(body["t_ms"]),
            t_first_ms=body["t_ms"][0],
            t_last_ms=body["t_ms"][-1],
        )
