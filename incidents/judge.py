"""The judge: which vehicles of a batch are worth a look, what detectors find in them, and what that changes.

The batch is gated with NumPy first; only where a gate opens is a window read and a detector called. A reading that
comes late or out of order is judged among its neighbours as they are stored, so the outcome does not depend on the
order of arrival. What is remembered between batches is only a cache of the store (`forget` drops it).
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from fleet_core.readings import Readings
from incidents.detector import Detector, Lane
from incidents.examine import Verdict, examine
from incidents.reconcile import Change, ChangeKind
from incidents.rows import Rows
from incidents.source import Detection, Source, Span
from incidents.tails import Tails
from incidents.window import Event, S

# Readings of a vehicle further apart than this are looked up as two places in the store, not as one long one.
_SEGMENT_GAP_US: Final = 60 * S
# Readings before a late one that are looked through for the newest known value of a rare column.
_BACK: Final = 20
# An episode that grows is looked at again over its newest part only: what lies further back was judged before.
_LONGEST_REVIEW_US: Final = 1800 * S
_LONGEST_LATE_REVIEW_US: Final = 6 * 3600 * S


@dataclass(frozen=True, slots=True)
class _Watch:
    """An episode whose judgement newer readings may still change; or an event's, and then `kind` is empty.

    An event may have given nothing because readings spoke against it, and what comes later may outweigh them.
    """

    detector: str
    kind: str
    subject: str
    from_us: int
    until_us: int


_Asked = dict[str, list[tuple[int, int]]]  # spans to answer for, by detector


class Judge:
    """Judges batches of one worker in the order in which they come."""

    def __init__(self, detectors: Mapping[str, Detector]) -> None:
        self._detectors = dict(detectors)
        self._stream = [detector for detector in detectors.values() if detector.lane is Lane.STREAM]
        looked_at: set[str] = set().union(*(detector.columns for detector in self._stream))
        self._columns = frozenset(looked_at)
        self._streams = frozenset[str]().union(*(detector.streams for detector in self._stream))
        self._tails = Tails(sorted(looked_at))
        self._watches: dict[str, list[_Watch]] = {}

    def forget(self) -> None:
        """Drop every cache: a transaction did not commit, or the lease changed."""
        self._tails.clear()
        self._watches.clear()

    # -- a batch of the stream -----------------------------------------------------------------------------------------

    def judge(self, source: Source, readings: Readings, events: Sequence[tuple[str, Event]]) -> Verdict:
        """Judge fresh readings (in key order, stored already) and events (vehicle id, event)."""
        asked: dict[str, _Asked] = defaultdict(lambda: defaultdict(list))
        ordered, strayed = self._told_apart(readings)
        if len(ordered):
            self._gate(_rows(source, self._with_tails(ordered)), asked)
            self._review(ordered, asked)
        if len(strayed):
            spans = _segments(strayed)
            # What comes late is part of the past of readings that were judged without it: those are judged again.
            ahead_us = max((round(detector.before_s * S) for detector in self._stream), default=0)
            wide = [span._replace(until_us=span.until_us + ahead_us) for span in spans]
            stored = source.around(wide, self._columns, _BACK)
            self._gate(_rows(source, stored), asked, spans)
            self._watch_stored(source, spans)
            self._review(strayed, asked, whole=True)
        if events:
            known = {vehicle_id for vehicle_id, _ in events} - self._watches.keys()
            spans = [
                Span(vehicle_id, event.occurred_us, event.occurred_us)
                for vehicle_id, event in events
                if vehicle_id in known
            ]
            self._watch_stored(source, spans)
            for vehicle_id, event in events:
                self._review_span(vehicle_id, event.occurred_us, event.occurred_us, asked, event.stream)
                for name in self._watch_event(vehicle_id, event):
                    asked[vehicle_id][name].append((event.occurred_us, event.occurred_us))
        self._tails.note(ordered)
        if len(strayed):
            self._tails.note(self._newest_of(strayed, stored))
        verdict = examine(source, self._detectors, asked)
        self._remember(verdict.changes)
        return verdict

    def _newest_of(self, strayed: Readings, stored: Readings) -> Readings:
        """Strayed readings of vehicles of which the store holds none that is later.

        A vehicle that is met in the middle of its past has no tail yet: what follows there was stored before, and does
        not simply go on from here.
        """
        latest, own = _last_times(stored), _last_times(strayed)
        behind = {vehicle_id for vehicle_id, time_us in own.items() if latest.get(vehicle_id, 0) > time_us}
        if not behind:
            return strayed
        numbers = [number for number, vehicle_id in enumerate(strayed.vehicles) if vehicle_id in behind]
        return strayed.take(np.flatnonzero(~np.isin(strayed.vehicle_index, numbers)))

    def _told_apart(self, readings: Readings) -> tuple[Readings, Readings]:
        """Readings of vehicles that go on from their tail, and the others."""
        if not len(readings):
            return readings, readings
        index = readings.vehicle_index
        first = np.append(0, np.flatnonzero(index[1:] != index[:-1]) + 1)
        slots = self._tails.slots([readings.vehicles[at] for at in index[first].tolist()])
        known = slots >= 0
        goes_on = known.copy()
        goes_on[known] = readings.device_time_us[first[known]] > self._tails.time_us(slots[known])
        if goes_on.all():
            return readings, Readings.empty()
        counts = np.diff(np.append(first, len(index)))
        mask = np.repeat(goes_on, counts)
        return readings.take(np.flatnonzero(mask)), readings.take(np.flatnonzero(~mask))

    def _with_tails(self, readings: Readings) -> Readings:
        """Each vehicle's newest judged reading put before its fresh ones. Only the columns that gates look at."""
        index = readings.vehicle_index
        first = np.append(0, np.flatnonzero(index[1:] != index[:-1]) + 1)
        slots = self._tails.slots([readings.vehicles[at] for at in index[first].tolist()])
        columns = {
            name: np.insert(readings.columns[name], first, self._tails.column(name, slots))
            for name in sorted(self._columns)
            if name in readings.columns and readings.columns[name].dtype.kind != "O"
        }
        return Readings(
            readings.vehicles,
            np.insert(index, first, index[first]),
            np.insert(readings.message_index, first, readings.message_index[first]),
            np.insert(readings.device_time_us, first, self._tails.time_us(slots)),
            np.insert(readings.seq, first, self._tails.seq(slots)),
            np.insert(readings.received_us, first, self._tails.received_us(slots)),
            columns,
        )

    def _gate(self, rows: Rows, asked: dict[str, _Asked], late: Sequence[Span] = ()) -> None:
        """Ask for what gates want. `late`: only for readings of these spans and those whose past they are part of."""
        index, times, vehicles = rows.readings.vehicle_index, rows.readings.device_time_us, rows.readings.vehicles
        touched: dict[int, NDArray[np.bool_]] = {}
        for detector in self._stream:
            mask = detector.wants(rows)
            if late and mask.any():
                ahead_us = round(detector.before_s * S)
                if ahead_us not in touched:
                    touched[ahead_us] = _touched(rows.readings, late, ahead_us)
                mask = mask & touched[ahead_us]
            wanted = np.flatnonzero(mask)
            if not len(wanted):
                continue
            join_us = round((detector.before_s + detector.after_s) * S)
            at, vehicle = times[wanted], index[wanted]
            starts = np.append(True, (vehicle[1:] != vehicle[:-1]) | (at[1:] - at[:-1] > join_us))
            begins = np.flatnonzero(starts)
            ends = np.append(begins[1:], len(at)) - 1
            for begin, end in zip(begins.tolist(), ends.tolist(), strict=True):
                asked[vehicles[int(vehicle[begin])]][detector.name].append((int(at[begin]), int(at[end])))

    # -- episodes that may still change --------------------------------------------------------------------------------

    def _reach_us(self, *, of_events: bool = False) -> int:
        """How far what detectors look at reaches from an instant; `of_events`: detectors that look at events."""
        return max(
            (
                round(max(detector.before_s, detector.after_s) * S) + _near_us(detector)
                for detector in self._stream
                if detector.streams or not of_events
            ),
            default=0,
        )

    def _watch_stored(self, source: Source, spans: Sequence[Span]) -> None:
        """Take up the episodes and events near spans that this process has not judged itself."""
        if not spans:
            return
        for detection in source.detections(_widened(spans, self._reach_us())):
            self._watch(detection)
        if self._streams:
            for window in source.windows(_widened(spans, self._reach_us(of_events=True)), (), self._streams):
                for event in window.events:
                    self._watch_event(window.vehicle.vehicle_id, event)

    def _watch(self, detection: Detection) -> None:
        detector = self._detectors.get(detection.detector)
        if detector is not None and detector.lane is Lane.STREAM:
            finding = detection.finding
            watch = _Watch(detection.detector, finding.kind, finding.subject, finding.start_us, finding.end_us)
            self._add(detection.vehicle_id, watch)

    def _watch_event(self, vehicle_id: str, event: Event) -> list[str]:
        """Take up an event; returns the detectors that want it."""
        wanting = [one.name for one in self._stream if event.stream in one.streams and one.wants_event(event)]
        for name in wanting:
            self._add(vehicle_id, _Watch(name, "", "", event.occurred_us, event.occurred_us))
        return wanting

    def _add(self, vehicle_id: str, watch: _Watch) -> None:
        others = [
            other
            for other in self._watches.get(vehicle_id, [])
            if (other.detector, other.kind, other.subject) != (watch.detector, watch.kind, watch.subject)
            or other.from_us > watch.until_us
            or watch.from_us > other.until_us
        ]
        # Few episodes of a vehicle can still change; the newest are enough, others come back from the store.
        self._watches[vehicle_id] = [*others, watch][-32:]

    def _review(self, readings: Readings, asked: dict[str, _Asked], *, whole: bool = False) -> None:
        """Look again at episodes that readings bear on; at the `whole` of each when these came late."""
        if not self._watches:
            return
        index, times = readings.vehicle_index, readings.device_time_us
        first = np.append(0, np.flatnonzero(index[1:] != index[:-1]) + 1)
        last = np.append(first[1:], len(index)) - 1
        for begin, end in zip(first.tolist(), last.tolist(), strict=True):
            vehicle_id = readings.vehicles[int(index[begin])]
            if vehicle_id in self._watches:
                self._review_span(vehicle_id, int(times[begin]), int(times[end]), asked, whole=whole)

    def _review_span(
        self,
        vehicle_id: str,
        from_us: int,
        until_us: int,
        asked: dict[str, _Asked],
        stream: str | None = None,
        *,
        whole: bool = False,
    ) -> None:
        """Look again at the episodes that readings (or an event of a stream) bear on."""
        for watch in self._watches.get(vehicle_id, ()):
            detector = self._detectors[watch.detector]
            if not (detector.columns if stream is None else stream in detector.streams):
                continue
            gap_us = _near_us(detector)
            ahead_us = round(detector.after_s * S) + gap_us
            back_us = round(detector.before_s * S) + gap_us
            if from_us <= watch.until_us + ahead_us and until_us >= watch.from_us - back_us:
                longest_us = _LONGEST_LATE_REVIEW_US if whole else _LONGEST_REVIEW_US
                begin = max(watch.from_us, watch.until_us - longest_us)
                end = max(watch.until_us, min(until_us, watch.until_us + _LONGEST_REVIEW_US))
                asked[vehicle_id][watch.detector].append((begin, end))

    def _remember(self, changes: Iterable[Change]) -> None:
        for change in changes:
            if change.kind is ChangeKind.WITHDRAWN:
                finding = change.detection.finding
                self._watches[change.detection.vehicle_id] = [
                    watch
                    for watch in self._watches.get(change.detection.vehicle_id, [])
                    if (watch.detector, watch.kind, watch.subject, watch.from_us)
                    != (change.detection.detector, finding.kind, finding.subject, finding.start_us)
                ]
            else:
                self._watch(change.detection)


def _near_us(detector: Detector) -> int:
    """How near an episode a reading must be to bear on it.

    What is found further away, but within the gap, joins it when it is found; no judgement of it depends on that.
    """
    return min(round(detector.episode_gap_s * S), _LONGEST_REVIEW_US)


def _rows(source: Source, readings: Readings) -> Rows:
    """Readings as gates see them."""
    vehicles = source.known(_present(readings))
    classes = {vehicle_id: vehicle.vehicle_class for vehicle_id, vehicle in vehicles.items()}
    return Rows(readings, classes, vehicles, source.fences)


def _widened(spans: Sequence[Span], by_us: int) -> list[Span]:
    return [Span(vehicle_id, from_us - by_us, until_us + by_us) for vehicle_id, from_us, until_us in spans]


def _present(readings: Readings) -> list[str]:
    return [readings.vehicles[at] for at in np.unique(readings.vehicle_index).tolist()]


def _last_times(readings: Readings) -> dict[str, int]:
    """Newest time of each vehicle's readings, which are in key order."""
    if not len(readings):
        return {}
    last = np.flatnonzero(np.append(readings.vehicle_index[1:] != readings.vehicle_index[:-1], True))
    return {
        readings.vehicles[vehicle]: time_us
        for vehicle, time_us in zip(
            readings.vehicle_index[last].tolist(), readings.device_time_us[last].tolist(), strict=True
        )
    }


def _touched(readings: Readings, spans: Sequence[Span], ahead_us: int) -> NDArray[np.bool_]:
    """Readings (in key order) of spans, those up to `ahead_us` after each, and the next one in any case."""
    index, times = readings.vehicle_index, readings.device_time_us
    number = {vehicle_id: at for at, vehicle_id in enumerate(readings.vehicles)}
    steps = np.zeros(len(readings) + 1, dtype=np.int64)
    by_vehicle: dict[str, list[Span]] = defaultdict(list)
    for span in spans:
        by_vehicle[span.vehicle_id].append(span)
    for vehicle_id, its in by_vehicle.items():
        first, last = np.searchsorted(index, [number[vehicle_id], number[vehicle_id] + 1])
        own = times[first:last]
        until = np.array([span.until_us for span in its])
        begin = np.searchsorted(own, [span.from_us for span in its])
        following = np.minimum(np.searchsorted(own, until + 1) + 1, len(own))
        end = np.maximum(np.searchsorted(own, until + ahead_us, side="right"), following)
        np.add.at(steps, first + begin, 1)
        np.add.at(steps, first + end, -1)
    touched: NDArray[np.bool_] = np.cumsum(steps)[:-1] > 0
    return touched


def _segments(readings: Readings) -> list[Span]:
    """Spans of device time of each vehicle's readings, cut where there is a long gap."""
    index, times = readings.vehicle_index, readings.device_time_us
    starts = np.append(True, (index[1:] != index[:-1]) | (times[1:] - times[:-1] > _SEGMENT_GAP_US))
    begins = np.flatnonzero(starts)
    ends = np.append(begins[1:], len(times)) - 1
    return [
        Span(readings.vehicles[int(index[begin])], int(times[begin]), int(times[end]))
        for begin, end in zip(begins.tolist(), ends.tolist(), strict=True)
    ]
