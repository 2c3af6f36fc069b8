"""Where windows come from: the store (incidents/stored.py) or memory. Both give a detector the very same arrays."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple, Protocol

from fleet_core.readings import Readings
from incidents.detector import Finding
from incidents.fences import FenceSet
from incidents.window import Vehicle, Window


class Span(NamedTuple):
    """A vehicle and a span of device time, microseconds since the epoch, both ends included."""

    vehicle_id: str
    from_us: int
    until_us: int


@dataclass(frozen=True, slots=True)
class Detection:
    """A finding that was kept: what a detector of a version said of a vehicle. `detection_id` None: not kept yet."""

    detection_id: int | None
    vehicle_id: str
    detector: str
    version: int
    finding: Finding

    def with_finding(self, finding: Finding, version: int) -> "Detection":
        """The same detection, judged anew."""
        return replace(self, finding=finding, version=version)


class Source(Protocol):
    """What a judge asks. Calls are few a batch and each for many vehicles."""

    @property
    def fences(self) -> FenceSet:
        """All fences in service."""
        ...

    def known(self, vehicle_ids: Collection[str]) -> Mapping[str, Vehicle]:
        """What the operator keeps of each vehicle."""
        ...

    def around(self, spans: Sequence[Span], columns: Collection[str], back: int) -> Readings:
        """Stored readings of each span, up to `back` before it and one after it, in key order, each once."""
        ...

    def windows(self, spans: Sequence[Span], columns: Collection[str], streams: Collection[str]) -> list[Window]:
        """One window for each span, in order. `known_until_us` is the newest reading's time of the vehicle.

        Without columns no readings: who looks at events or hours alone may look over weeks.
        """
        ...

    def detections(self, spans: Sequence[Span]) -> list[Detection]:
        """Standing detections of the vehicles that touch one of the spans."""
        ...
