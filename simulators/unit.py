"""The telematics unit of one vehicle: turns a log of samples into numbered messages, through whatever befalls it.

Ten samples a message under way, one heartbeat or a few while parked; counters that begin anew at a reboot; a clock that
may be wrong; store and forward without coverage. All of it is planned from the whole log at once.
"""

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fleet_core import topics
from fleet_core.publications import Encode, Message
from simulators.device import DRAIN_A_SECOND, FIRMWARE, SAMPLES_A_MESSAGE, STORED_MESSAGES
from simulators.errands import Life, Span

F64 = NDArray[np.float64]
Bools = NDArray[np.bool_]

# Decimals of each column; 0 is sent as a whole number.
DECIMALS: Final = {
    "lat_deg": 7, "lon_deg": 7, "speed_kmh": 2, "heading_deg": 1, "altitude_m": 1, "accuracy_m": 1, "hdop": 2,
    "satellites": 0, "obd_speed_kmh": 0, "accel_x_mps2": 2, "accel_y_mps2": 2, "accel_z_mps2": 2, "gyro_x_dps": 1,
    "gyro_y_dps": 1, "gyro_z_dps": 1, "odometer_km": 3, "fuel_pct": 1, "rpm": 0, "coolant_c": 0, "battery_v": 2,
    "external_v": 2, "tyre_fl_kpa": 1, "tyre_fr_kpa": 1, "tyre_rl_kpa": 1, "tyre_rr_kpa": 1, "ambient_c": 1,
    "speed_limit_kmh": 0, "throttle_pct": 0,
}  # fmt: skip
FLAGS: Final = ("ignition", "fix_valid", "brake", "door_open")
SENDING_MS: Final = (60, 400)  # from the newest sample to the message's departure
# A sample that comes later than this after the one before it does not wait for company.
_TOGETHER_S: Final = 30.0


class Clock(NamedTuple):
    """The unit's clock from one instant on: ahead of the truth by so much, or counting from 1970 (`ahead_s` None)."""

    from_s: float
    ahead_s: float | None


class Event(NamedTuple):
    """A message of another stream at an instant: `body` without counters and time.

    `begins_s`: a recording, ready at `at_s`, is stamped with its first sample instead (`t0_ms`).
    """

    at_s: float
    stream: str
    body: dict[str, Any]
    begins_s: float | None = None


@dataclass(slots=True)
class Log:
    """Everything one unit samples over a life, before it is sent. Scenarios put their faults into it.

    columns  numbers by name, NaN = absent; `flags` truths by name; `always` scalars of every message
    """

    life: Life
    columns: dict[str, F64]
    flags: dict[str, Bools]
    always: dict[str, Any]


@dataclass(slots=True)
class Fate:
    """What befalls a unit.

    silences         spans without coverage: messages are stored and leave afterwards, marked `buffered`
    dead_from_s      from here on nothing is ever sent
    reboots          instants at which it starts anew: boot grows, sequence begins at 0
    clocks           settings of its clock, in order of time
    batch            samples in one message while the ignition is on; `parked_batch` heartbeats in one while it is off
    shuffled         the stored messages leave in any order, `doubled` of them (a share) twice
    late_s           every message is late by something in this range
    drops            retained status messages: (instant, online)
    """

    silences: list[Span] = field(default_factory=list)
    dead_from_s: float = math.inf
    reboots: list[float] = field(default_factory=list)
    clocks: list[Clock] = field(default_factory=list)
    batch: int = SAMPLES_A_MESSAGE
    parked_batch: int = 1
    shuffled: bool = False
    doubled: float = 0.0
    late_s: tuple[float, float] = (0.0, 0.0)
    drops: list[tuple[float, bool]] = field(default_factory=list)


class _Piece(NamedTuple):
    """One message as planned: rows of the log, or an event."""

    due_ms: int
    boot: int
    seq: int
    begin: int
    end: int
    event: Event | None
    buffered: bool


class Unit:
    """The unit of one vehicle."""

    def __init__(
        self, vehicle_id: str, *, start_ms: int, ahead_ms: int, boot: int, partitions: int, encode: Encode, fate: Fate
    ) -> None:
        self._vehicle_id = vehicle_id
        self._start_ms, self._ahead_ms = start_ms, ahead_ms
        self._boot = boot
        self._partitions = partitions
        self._encode = encode
        self._fate = fate

    def device_ms(self, t_s: F64) -> NDArray[np.int64]:
        """What the unit's clock shows at instants of the life, UTC epoch milliseconds."""
        true_ms = self._start_ms + np.round(t_s * 1000.0).astype(np.int64)
        shown = true_ms + self._ahead_ms
        for clock in self._fate.clocks:
            later = t_s >= clock.from_s
            if clock.ahead_s is None:
                shown = np.where(later, np.round((t_s - clock.from_s) * 1000.0).astype(np.int64), shown)
            else:
                shown = np.where(later, true_ms + self._ahead_ms + round(clock.ahead_s * 1000), shown)
        return np.asarray(shown, dtype=np.int64)

    def messages(
        self, log: Log, events: Sequence[Event], rng: np.random.Generator, until_s: float
    ) -> Iterator[Message]:
        """Messages by `due_ms`, up to `until_s`."""
        pieces = self._plan(log.life.t_s, log.flags["ignition"], events, rng)
        lists = {"t_ms": self.device_ms(log.life.t_s).tolist()}
        lists |= {name: _listed(name, values) for name, values in log.columns.items()}
        truths = {name: values.tolist() for name, values in log.flags.items()}
        telemetry = (self._message(piece, lists, truths, log.always) for piece in pieces)
        return self._merged(telemetry, self._statuses(until_s))

    # -- planning ------------------------------------------------------------------------------------------------------

    def _plan(self, t_s: F64, ignition: Bools, events: Sequence[Event], rng: np.random.Generator) -> list[_Piece]:
        """Cut the samples into messages, number them, and say when each leaves."""
        cuts = self._cuts(t_s, ignition, events)
        planned: list[tuple[float, int, int, Event | None]] = []
        for begin, end in itertools.pairwise(cuts):
            most = self._fate.batch if ignition[begin] else self._fate.parked_batch
            for first in range(begin, end, most):
                last = min(first + most, end)
                planned.append((float(t_s[last - 1]), first, last, None))
        planned += [(event.at_s, 0, 0, event) for event in events]
        planned.sort(key=lambda item: (item[0], item[1]))
        reboots, boot, seq = sorted(self._fate.reboots), self._boot, 0
        sending = rng.uniform(*SENDING_MS, len(planned)).tolist()
        numbered = []
        for (ready_s, begin, end, event), spent_ms in zip(planned, sending, strict=True):
            while reboots and (event.at_s if event else t_s[begin]) >= reboots[0]:
                boot, seq = boot + 1, 0
                reboots.pop(0)
            due_ms = self._start_ms + round(ready_s * 1000 + spent_ms)
            numbered.append(_Piece(due_ms, boot, seq, begin, end, event, False))
            seq += max(end - begin, 1)
        return self._sent(numbered, rng)

    def _cuts(self, t_s: F64, ignition: Bools, events: Sequence[Event]) -> list[int]:
        """Rows at which a message must begin: the key, a pause, an event, a reboot, another clock."""
        n = len(t_s)
        breaks = np.zeros(n + 1, dtype=bool)
        breaks[[0, n]] = True
        breaks[1:n] = ignition[1:] != ignition[:-1]
        # Heartbeats that wait for each other are far apart by nature.
        breaks[1:n] |= (np.diff(t_s) > _TOGETHER_S) & (ignition[1:] | (self._fate.parked_batch == 1))
        instants = [event.at_s for event in events] + self._fate.reboots + [clock.from_s for clock in self._fate.clocks]
        breaks[np.searchsorted(t_s, np.array(instants, dtype=np.float64))] = True
        return np.flatnonzero(breaks).tolist()

    def _sent(self, pieces: list[_Piece], rng: np.random.Generator) -> list[_Piece]:
        """What is sent when: first in, first out through a ring that loses its oldest when it is full."""
        fate = self._fate
        out: list[_Piece] = []
        stored: list[_Piece] = []
        free_ms = 0
        gap_ms = 1000 // DRAIN_A_SECOND
        silences = [
            (self._start_ms + round(span.from_s * 1000), self._start_ms + round(span.until_s * 1000))
            for span in sorted(fate.silences)
        ]

        def drain(from_ms: int) -> None:
            nonlocal free_ms
            kept = stored[-STORED_MESSAGES:]
            stored.clear()
            order = rng.permutation(len(kept)).tolist() if fate.shuffled else range(len(kept))
            for number, index in enumerate(order):
                out.append(kept[index]._replace(due_ms=from_ms + number * gap_ms, buffered=True))
                if rng.random() < fate.doubled:
                    again_ms = from_ms + number * gap_ms + int(rng.integers(100, 60_000))
                    out.append(out[-1]._replace(due_ms=again_ms))
            free_ms = from_ms + len(kept) * gap_ms

        for piece in pieces:
            while silences and piece.due_ms >= silences[0][1]:
                drain(silences.pop(0)[1])
            if silences and silences[0][0] <= piece.due_ms:
                stored.append(piece)
                continue
            late_ms = round(rng.uniform(*fate.late_s) * 1000) if fate.late_s[1] else 0
            # What comes up while the ring empties waits behind it, and so was stored as well.
            waits = piece.due_ms < free_ms
            out.append(piece._replace(due_ms=max(piece.due_ms + late_ms, free_ms), buffered=waits))
        for _, until_ms in silences:
            drain(until_ms)
        dead_ms = math.inf if math.isinf(fate.dead_from_s) else self._start_ms + fate.dead_from_s * 1000
        return sorted((piece for piece in out if piece.due_ms < dead_ms), key=lambda piece: piece.due_ms)

    def _statuses(self, until_s: float) -> list[Message]:
        """Retained status: online at the start and after each reboot, and what `drops` say."""
        fate = self._fate
        instants = [(0.0, True), *((at_s + 1.0, True) for at_s in fate.reboots), *fate.drops]
        if math.isinf(fate.dead_from_s) and not fate.drops:
            instants.append((until_s, False))
        out = []
        for at_s, online in sorted(item for item in instants if item[0] < fate.dead_from_s):
            at_ms = self._start_ms + round(at_s * 1000)
            boot = self._boot + sum(reboot <= at_s for reboot in fate.reboots)
            t_ms = int(self.device_ms(np.array([at_s]))[0])
            body = {"boot": boot, "t_ms": t_ms, "online": online, "firmware": FIRMWARE}
            out.append(self._as_message(topics.STATUS, body, at_ms, [t_ms], count=0, retain=True))
        return out

    # -- encoding ------------------------------------------------------------------------------------------------------

    @staticmethod
    def _merged(telemetry: Iterator[Message], statuses: list[Message]) -> Iterator[Message]:
        waiting = iter(statuses)
        status = next(waiting, None)
        for message in telemetry:
            while status is not None and status.due_ms <= message.due_ms:
                yield status
                status = next(waiting, None)
            yield message
        if status is not None:
            yield status
        yield from waiting

    def _message(
        self,
        piece: _Piece,
        lists: Mapping[str, list[Any]],
        truths: Mapping[str, list[bool]],
        always: Mapping[str, Any],
    ) -> Message:
        if piece.event is not None:
            event = piece.event
            stamp, at_s = ("t_ms", event.at_s) if event.begins_s is None else ("t0_ms", event.begins_s)
            t_ms = int(self.device_ms(np.array([at_s]))[0])
            body = {"boot": piece.boot, "seq": piece.seq, stamp: t_ms, **event.body}
            return self._as_message(event.stream, body, piece.due_ms, [t_ms], count=0)
        part = slice(piece.begin, piece.end)
        body = {"boot": piece.boot, "seq": piece.seq}
        for name, values in lists.items():
            held = values[part]
            if held.count(None) < len(held):
                body[name] = held
        for name, told in truths.items():
            states = told[part]
            some, every = True in states, False not in states
            if name == "ignition" or (some if name != "fix_valid" else not every):
                body[name] = states[0] if some == every else states
        body |= always
        if piece.buffered:
            body["buffered"] = True
        times = lists["t_ms"][part]
        return self._as_message(topics.TELEMETRY, body, piece.due_ms, times, count=len(times))

    def _as_message(
        self, stream: str, body: dict[str, Any], due_ms: int, times: list[int], *, count: int, retain: bool = False
    ) -> Message:
        return Message(
            topic=topics.topic_of(self._vehicle_id, stream, self._partitions),
            payload=self._encode(body),
            vehicle_id=self._vehicle_id,
            due_ms=due_ms,
            boot=body["boot"],
            seq=body.get("seq", 0),
            count=count,
            t_first_ms=times[0],
            t_last_ms=times[-1],
            retain=retain,
        )


def _listed(name: str, values: F64) -> list[Any]:
    """Values as they are sent, None where there is none."""
    decimals = DECIMALS[name]
    absent = np.isnan(values)
    rounded = np.round(values, decimals) + 0.0
    plain: list[Any] = np.where(absent, 0.0, rounded).astype(np.int64 if decimals == 0 else np.float64).tolist()
    if absent.any():
        for row in np.flatnonzero(absent).tolist():
            plain[row] = None
    return plain
