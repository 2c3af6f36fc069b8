"""Messages through decoding, detectors and grading without a broker or a database: `fleet detect` and what-if.

The same code decodes and judges as in the stream. Because the outcome does not depend on the order of arrival, all is
taken in first and judged once.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, Final, NamedTuple

import msgspec

from fleet_core import topics
from fleet_core.readings import Readings, concatenate
from fleet_core.settings import Settings
from incidents.detector import Detector, Lane
from incidents.examine import Fault, sweep
from incidents.judge import Judge
from incidents.remembered import Memory
from incidents.source import Detection, Span
from incidents.stages import events_of
from incidents.window import Event
from ingest.batch import decode
from ingest.message import Message, Refusal
from ingest.relay import target_of

_CHUNK: Final = 20_000

_decode_any: Final = msgspec.json.Decoder().decode
_decode_packed: Final = msgspec.msgpack.Decoder().decode


class Recorded(NamedTuple):
    """A message as it was recorded. `received_us` None: judged as if it arrived when it was sent."""

    topic: str
    payload: bytes
    received_us: int | None = None


@dataclass
class Judgement:
    """What a dry run gave. `memory` holds the readings, and the detections as they stand."""

    memory: Memory
    messages: int = 0
    refused: list[tuple[str, Refusal]] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)

    @property
    def detections(self) -> list[Detection]:
        """Detections by vehicle and time."""
        return self.memory.standing


def judge(
    messages: Iterable[Recorded], detectors: Mapping[str, Detector], settings: Settings, given: Memory | None = None
) -> Judgement:
    """Judge recorded messages. `given`: what is known beside them (fences, vehicles), without readings."""
    memory = given or Memory()
    result = Judgement(memory)
    parts: list[Readings] = []
    events: list[tuple[str, Event]] = []
    for chunk in _chunks(_native(messages, settings)):
        batch = decode(chunk, settings)
        result.messages += len(chunk)
        result.refused += [(chunk[index].topic, refusal) for index, refusal in sorted(batch.refused.items())]
        parts.append(batch.readings)
        events += events_of(batch.events)
    fresh = memory.add(concatenate(parts), _each_once(events))
    result.faults = judge_all(memory, fresh, _each_once(events), detectors)
    return result


def judge_all(
    memory: Memory, fresh: Readings, events: Sequence[tuple[str, Event]], detectors: Mapping[str, Detector]
) -> list[Fault]:
    """Judge everything in memory: the stream's detectors, then the sweeps, then what waits for silence."""
    verdict = Judge(detectors).judge(memory, fresh, events)
    memory.keep(verdict.changes)
    faults = list(verdict.faults)
    spans = memory.spans()
    if not spans:
        return faults
    # The recording's end is the present: a vehicle that stopped sending before it has been silent since.
    memory.known_until_us = max(span.until_us for span in spans)
    memory.with_hours = True
    for detector in detectors.values():
        if detector.lane is Lane.SWEEP:
            swept = sweep(memory, detector, spans)
            memory.keep(swept.changes)
            faults += swept.faults
    for detection in memory.standing:
        finding = detection.finding
        if finding.revisit_us is not None and finding.revisit_us <= memory.known_until_us:
            span = Span(detection.vehicle_id, finding.start_us, finding.end_us)
            again = sweep(memory, detectors[detection.detector], [span])
            memory.keep(again.changes)
            faults += again.faults
    return faults


def _native(messages: Iterable[Recorded], settings: Settings) -> Iterator[Message]:
    """Messages on the topics under which ingest would see them, whatever partitions they were recorded with."""
    for recorded in messages:
        try:
            parsed = topics.parse(recorded.topic)
        except topics.TopicError:
            topic = target_of(recorded.topic, recorded.payload, settings.partitions)
        else:
            topic = (
                topics.relayed_topic_of(parsed.vehicle_id, parsed.original, settings.partitions)
                if parsed.original is not None
                else topics.topic_of(parsed.vehicle_id, parsed.stream, settings.partitions)
            )
        received_us = recorded.received_us
        if received_us is None:
            received_us = _newest_ms(recorded.payload) * 1000
        yield Message("p00", 0, 0, topic, recorded.payload, received_us)


def _newest_ms(payload: bytes) -> int:
    """Newest time that a payload tells of itself, milliseconds; 0 when it tells none."""
    try:
        body: Any = _decode_any(payload) if payload[:1] == b"{" else _decode_packed(payload)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return 0
    if not isinstance(body, dict):
        return 0
    # OwnTracks counts seconds in `tst`; a Traccar position has its times in texts, which its codec reads.
    told = body.get("t_ms", body.get("t0_ms"))
    if told is None and isinstance(body.get("tst"), int):
        told = body["tst"] * 1000
    times = [time for time in (told if isinstance(told, list) else [told]) if isinstance(time, int)]
    return max(times, default=0)


def _chunks(messages: Iterator[Message]) -> Iterator[list[Message]]:
    while chunk := list(islice(messages, _CHUNK)):
        yield chunk


def _each_once(events: Sequence[tuple[str, Event]]) -> list[tuple[str, Event]]:
    """Events without those that were recorded twice."""
    found = {
        (vehicle_id, event.stream, event.occurred_us, event.seq): (vehicle_id, event) for vehicle_id, event in events
    }
    return list(found.values())
