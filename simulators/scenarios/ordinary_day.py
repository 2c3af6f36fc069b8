"""An ordinary day: town traffic whose units also record bad roads and slammed doors. Nothing in it is an incident.

This is what false alarms are counted in: three hours a vehicle, so that even those who hardly rest stay below the four
hours of the driving-time rule.
"""

import heapq
from collections.abc import Iterator
from typing import Any, Final

import numpy as np

from fleet_core import topics
from fleet_core.publications import Message
from simulators import pulses, sensor
from simulators.manoeuvres import Script
from simulators.pulses import Knock
from simulators.recorder import Recorder
from simulators.scenario import EVERY_KIND, Request, Tell
from simulators.traffic import Traffic

# Of 500 measured bumps 8 were over 1 g (docs/detection-science.md, A3): two an hour of driving that shake a unit awake.
ROUGH_PER_S: Final = 2 / 3600.0
SLAM_SHARE: Final = 0.6  # of arrivals and departures at which a door is shut hard enough
MOVING_MPS: Final = 4.0
_LEAD_S: Final = 3.0
_DAY_MS: Final = 86_400_000


class OrdinaryDay:
    """Traffic with recordings of what shakes an ordinary vehicle."""

    name: Final = "ordinary_day"
    purpose: Final = "three hours of ordinary driving, bad roads and slammed doors included; no incident"
    id_prefix: Final = "day"
    expects: Final = frozenset[str]()
    # Whether it is night follows from the hour at which it is run.
    must_not: Final = EVERY_KIND - {"night_driving"}
    duration_s: Final = 10_800

    def messages(self, request: Request, tell: Tell) -> Iterator[Message]:
        """See Scenario."""
        lasts_s = self.duration_s if request.duration_s is None else request.duration_s
        _tell_known(request, tell, lasts_s)
        traffic = Traffic(request, tell)
        shaken = _Shaken(request, traffic)
        yield from traffic.start()
        waiting: list[tuple[int, int, Message]] = []
        number = 0
        while traffic.fleet.time_s < lasts_s and not request.stopped():
            for message in [*traffic.second(), *shaken.second()]:
                heapq.heappush(waiting, (message.due_ms, number, message))
                number += 1
            now_ms = request.start_ms + traffic.fleet.time_s * 1000
            while waiting and waiting[0][0] < now_ms:
                yield heapq.heappop(waiting)[2]
        # What is still being recorded when the day ends never leaves.
        yield from traffic.stop()


def _tell_known(request: Request, tell: Tell, lasts_s: int) -> None:
    for vehicle_id in request.vehicle_ids():
        tenure = {"kind": "rental", "from_ms": request.start_ms - _DAY_MS, "until_ms": None, "fence_ids": []}
        tell({"kind": "vehicle", "vehicle_id": vehicle_id, "vehicle_class": "car", "tenures": [tenure]})
        tell(
            {
                "kind": "allowed", "incident": "night_driving", "vehicle_id": vehicle_id,
                "from_ms": request.start_ms, "until_ms": request.start_ms + lasts_s * 1000,
            }
        )  # fmt: skip


class _Shaken:
    """What shakes the vehicles of a traffic, and what their units record of it."""

    def __init__(self, request: Request, traffic: Traffic) -> None:
        self._request, self._traffic = request, traffic
        self._rng = np.random.default_rng([request.seed, 5])
        self._recorders = [Recorder(sensor.draw(self._rng)) for _ in traffic.ids]
        self._was_on = traffic.fleet.ignition.copy()

    def second(self) -> Iterator[Message]:
        """Bursts of what happened in the second that traffic has just passed."""
        fleet, rng = self._traffic.fleet, self._rng
        rough = (fleet.speed_mps > MOVING_MPS) & (rng.random(fleet.size) < ROUGH_PER_S)
        turned = (fleet.ignition != self._was_on) & (rng.random(fleet.size) < SLAM_SHARE)
        self._was_on = fleet.ignition.copy()
        for vehicle in np.flatnonzero(rough).tolist():
            speed_mps = float(fleet.speed_mps[vehicle])
            knock = pulses.speed_bump(rng, speed_mps) if speed_mps < 10.0 else pulses.pothole(rng)
            yield from self._recorded(vehicle, knock, speed_mps)
        for vehicle in np.flatnonzero(turned).tolist():
            yield from self._recorded(vehicle, pulses.door_slam(rng), 0.0)

    def _recorded(self, vehicle: int, knock: Knock, speed_mps: float) -> Iterator[Message]:
        script = Script(0.0, 0.0, 0.0)
        script.ignition = script.running = bool(self._traffic.fleet.ignition[vehicle])
        script.speed_mps = speed_mps
        script.knock(knock, _LEAD_S)
        script.cruise(_LEAD_S + knock.duration_s + 4.0)
        second_ms = self._request.start_ms + (self._traffic.fleet.time_s - 1) * 1000
        happens_ms = second_ms + int(self._rng.integers(0, 1000)) - round(_LEAD_S * 1000)
        for burst in self._recorders[vehicle].recorded(script.motion(), self._rng):
            first_ms = happens_ms + round(burst.first_s * 1000) + int(self._request.clock_offset_ms[vehicle])
            yield self._message(vehicle, {"t0_ms": first_ms, **burst.body}, happens_ms + round(burst.closed_s * 1000))

    def _message(self, vehicle: int, body: dict[str, Any], due_ms: int) -> Message:
        vehicle_id = self._traffic.ids[vehicle]
        return Message(
            topic=topics.topic_of(vehicle_id, topics.BURST, self._request.partitions),
            payload=self._request.encode(body),
            vehicle_id=vehicle_id,
            due_ms=due_ms,
            t_first_ms=body["t0_ms"],
            t_last_ms=body["t0_ms"],
        )


SCENARIO: Final = OrdinaryDay()
