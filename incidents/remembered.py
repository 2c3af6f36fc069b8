"""A source in memory: recordings and simulated streams judged without a broker or a database."""

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from fleet_core.readings import Readings, concatenate
from incidents.fences import NO_FENCES, FenceSet
from incidents.hours import hours_of
from incidents.reconcile import Change, ChangeKind
from incidents.source import Detection, Span
from incidents.window import Event, Hours, Vehicle, Window


@dataclass
class Memory:
    """All readings and events of some vehicles, and what was found in them. See Source."""

    fences: FenceSet = NO_FENCES
    vehicles: dict[str, Vehicle] = field(default_factory=dict)
    with_hours: bool = False
    known_until_us: int | None = None
    changes: list[Change] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._readings: dict[str, Readings] = {}
        self._hours: dict[str, Hours] = {}
        self._events: dict[str, list[Event]] = defaultdict(list)
        self._kept: dict[int, Detection] = {}

    @property
    def standing(self) -> list[Detection]:
        """Detections as they stand, by vehicle and time."""
        return sorted(self._kept.values(), key=lambda item: (item.vehicle_id, item.finding.start_us, item.detector))

    @property
    def vehicle_ids(self) -> list[str]:
        """Vehicles with any reading or event."""
        return sorted(self._readings.keys() | self._events.keys())

    def spans(self) -> list[Span]:
        """Each vehicle with the span of its readings."""
        return [
            Span(vehicle_id, int(stored.device_time_us[0]), int(stored.device_time_us[-1]))
            for vehicle_id, stored in sorted(self._readings.items())
            if len(stored)
        ]

    def add(self, readings: Readings, events: Sequence[tuple[str, Event]]) -> Readings:
        """Store readings and events. Returns the readings that are new, in key order."""
        readings, _ = readings.in_key_order()
        fresh = []
        index = readings.vehicle_index
        for at in np.unique(index).tolist():
            vehicle_id = readings.vehicles[at]
            mine = readings.take(np.flatnonzero(index == at))
            before = self._readings.get(vehicle_id)
            if before is not None:
                known = set(zip(before.device_time_us.tolist(), before.seq.tolist(), strict=True))
                keys = zip(mine.device_time_us.tolist(), mine.seq.tolist(), strict=True)
                mine = mine.take(np.array([row for row, key in enumerate(keys) if key not in known], dtype=np.intp))
                self._readings[vehicle_id] = concatenate([before, mine]).in_key_order()[0]
            else:
                self._readings[vehicle_id] = mine
            self._hours.pop(vehicle_id, None)
            fresh.append(mine)
        for vehicle_id, event in events:
            self._events[vehicle_id].append(event)
            self._events[vehicle_id].sort(key=lambda item: (item.occurred_us, item.seq))
        return concatenate(fresh).in_key_order()[0] if fresh else Readings.empty()

    def keep(self, changes: Sequence[Change]) -> None:
        """Keep what a judgement changed."""
        for change in changes:
            detection = change.detection
            if change.kind is ChangeKind.FOUND:
                detection = replace(detection, detection_id=len(self.changes) + 1)
            assert detection.detection_id is not None
            if change.kind is ChangeKind.WITHDRAWN:
                self._kept.pop(detection.detection_id, None)
            else:
                self._kept[detection.detection_id] = detection
            self.changes.append(replace(change, detection=detection))

    # -- Source --------------------------------------------------------------------------------------------------------

    def known(self, vehicle_ids: Collection[str]) -> Mapping[str, Vehicle]:
        """See Source."""
        return {vehicle_id: self._vehicle(vehicle_id) for vehicle_id in vehicle_ids}

    def around(self, spans: Sequence[Span], columns: Collection[str], back: int) -> Readings:
        """See Source."""
        parts = []
        rows: dict[str, list[np.ndarray[tuple[int], np.dtype[np.int64]]]] = defaultdict(list)
        for vehicle_id, from_us, until_us in spans:
            if vehicle_id in self._readings:
                times = self._readings[vehicle_id].device_time_us
                low, high = np.searchsorted(times, [from_us, until_us + 1])
                rows[vehicle_id].append(np.arange(max(0, low - back), min(len(times), high + 1)))
        for vehicle_id, wanted in rows.items():
            part = self._readings[vehicle_id].take(np.unique(np.concatenate(wanted)))
            parts.append(replace(part, columns={name: part.columns[name] for name in columns if name in part.columns}))
        return concatenate(parts).in_key_order()[0] if parts else Readings.empty()

    def windows(self, spans: Sequence[Span], columns: Collection[str], streams: Collection[str]) -> list[Window]:
        """See Source."""
        return [self._window(span, columns, streams) for span in spans]

    def detections(self, spans: Sequence[Span]) -> list[Detection]:
        """See Source."""
        by_vehicle = defaultdict(list)
        for span in spans:
            by_vehicle[span.vehicle_id].append(span)
        return [
            detection
            for detection in self.standing
            if any(
                span.from_us <= detection.finding.end_us and detection.finding.start_us <= span.until_us
                for span in by_vehicle[detection.vehicle_id]
            )
        ]

    def _window(self, span: Span, columns: Collection[str], streams: Collection[str]) -> Window:
        stored = self._readings.get(span.vehicle_id)
        readings = Readings.empty() if stored is None else stored
        low, high = np.searchsorted(readings.device_time_us, [span.from_us, span.until_us + 1]) if columns else (0, 0)
        newest = int(readings.device_time_us[-1]) if len(readings) else span.until_us
        window = Window(
            vehicle=self._vehicle(span.vehicle_id),
            from_us=span.from_us,
            until_us=span.until_us,
            known_until_us=newest if self.known_until_us is None else self.known_until_us,
            device_time_us=readings.device_time_us[low:high],
            seq=readings.seq[low:high],
            received_us=readings.received_us[low:high],
            columns={name: readings.columns[name][low:high] for name in columns if name in readings.columns},
            events=tuple(
                event
                for event in self._events[span.vehicle_id]
                if event.stream in streams and span.from_us <= event.occurred_us <= span.until_us
            ),
            fences=self.fences,
        )
        return replace(window, hours=self._hours_in(window)) if self.with_hours else window

    def _hours_in(self, window: Window) -> Hours:
        """Facts of the hours that begin in a window: of all their readings and columns, as the store has them."""
        vehicle_id = window.vehicle.vehicle_id
        if vehicle_id not in self._hours:
            stored = self._readings.get(vehicle_id, Readings.empty())
            whole = replace(
                window,
                device_time_us=stored.device_time_us,
                seq=stored.seq,
                received_us=stored.received_us,
                columns=stored.columns,
            )
            self._hours[vehicle_id] = hours_of(whole)
        hours = self._hours[vehicle_id]
        first, last = np.searchsorted(hours.hour_us, [window.from_us, window.until_us + 1])
        return Hours(hours.hour_us[first:last], {name: facts[first:last] for name, facts in hours.columns.items()})

    def _vehicle(self, vehicle_id: str) -> Vehicle:
        return self.vehicles.get(vehicle_id) or Vehicle(vehicle_id)
