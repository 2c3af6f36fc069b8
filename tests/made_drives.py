"""Readings made for tests of detectors: a vehicle, its columns second by second, and ways to have them judged."""

import tempfile
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from fleet_core import columns, publications
from fleet_core.readings import Readings, concatenate
from fleet_core.settings import Settings
from incidents.detector import Detector
from incidents.fences import METRES_A_DEGREE, FenceSet
from incidents.judge import Judge
from incidents.remembered import Memory
from incidents.source import Detection
from incidents.window import Event, S, Vehicle
from ingest.batch import decode
from ingest.dry_run import judge_all
from ingest.message import Message
from simulators import town
from simulators.scenario import Request, untold
from simulators.traffic import Traffic

START_S = 1_764_000_000  # 2025-11-24 16:00 UTC
LAT_DEG, LON_DEG = 31.2, 121.5
Events = Sequence[tuple[str, Event]]


def readings(
    t_s: Any, *, vehicle_id: str = "v1", boot: int = 1, seq: Any = None, delay_s: Any = 2.0, **values: Any
) -> Readings:
    """Readings at seconds after START_S. A column is a list or one value for all; None and NaN are absent."""
    seconds = np.asarray(t_s, dtype=np.float64)
    count = len(seconds)
    times = np.round((START_S + seconds) * S).astype(np.int64)
    number = np.arange(count) if seq is None else np.asarray(seq)
    held: dict[str, Any] = {}
    for name, value in values.items():
        if columns.BY_NAME[name].kind is columns.Kind.FLAG:
            held[name] = np.broadcast_to(np.asarray(value, dtype=np.int8), count).copy()
        else:
            held[name] = np.broadcast_to(np.asarray(value, dtype=np.float64), count).copy()
    return Readings(
        [vehicle_id],
        np.zeros(count, dtype=np.int64),
        np.arange(count) // 10,
        times,
        (np.int64(boot) << 32) + number.astype(np.int64),
        times + np.round(np.broadcast_to(delay_s, count) * S).astype(np.int64),
        held,
    )


def place(east_m: Any, north_m: Any) -> dict[str, Any]:
    """`lat_deg` and `lon_deg` of points, metres from the origin of these tests."""
    lat = LAT_DEG + np.asarray(north_m, dtype=np.float64) / METRES_A_DEGREE
    lon = LON_DEG + np.asarray(east_m, dtype=np.float64) / (METRES_A_DEGREE * np.cos(np.radians(LAT_DEG)))
    return {"lat_deg": np.round(lat, 7), "lon_deg": np.round(lon, 7)}


def alarm(kind: str, at_s: float, vehicle_id: str = "v1", **body: Any) -> tuple[str, Event]:
    """An alarm of a device."""
    at_us = round((START_S + at_s) * S)
    return vehicle_id, Event("alarm", at_us, at_us + S, 9_000_000 + int(at_s), kind, {"kind": kind, **body})


def judged(
    detectors: Sequence[Detector],
    parts: Sequence[Readings] | Readings,
    *,
    events: Events = (),
    vehicles: Sequence[Vehicle] = (),
    fences: FenceSet | None = None,
) -> list[Detection]:
    """What stands after everything was judged at once."""
    memory = _memory(vehicles, fences)
    whole = parts if isinstance(parts, Readings) else concatenate(list(parts))
    faults = judge_all(memory, memory.add(whole, events), events, {one.name: one for one in detectors})
    assert not faults, faults
    return memory.standing


def judged_piecemeal(
    rng: np.random.Generator,
    detectors: Sequence[Detector],
    whole: Readings,
    *,
    shuffled: bool,
    events: Events = (),
    vehicles: Sequence[Vehicle] = (),
    fences: FenceSet | None = None,
) -> list[Detection]:
    """The same, messages of ten readings coming in random batches, some twice, with restarts in between.

    `shuffled`: in any order, else in order of time.
    """
    memory = _memory(vehicles, fences)
    by_name = {one.name: one for one in detectors}
    rows = np.arange(len(whole))
    if shuffled:
        messages = np.array_split(rows, max(1, len(rows) // 10))
        order = rng.permutation(np.concatenate((np.arange(len(messages)), rng.integers(0, len(messages), 3))))
        parts = [np.concatenate([messages[at] for at in part]) for part in np.array_split(order, 12) if len(part)]
    else:
        edges = np.sort(rng.integers(0, len(rows), 12))
        parts = [part for part in np.split(rows, edges) if len(part)]
    judge = Judge(by_name)
    when = rng.integers(0, len(parts), len(events))
    for number, part in enumerate(parts):
        if rng.random() < 0.3:
            judge = Judge(by_name)
        now = [event for event, at in zip(events, when.tolist(), strict=True) if at == number]
        verdict = judge.judge(memory, memory.add(whole.take(part), now), now)
        assert not verdict.faults, verdict.faults
        memory.keep(verdict.changes)
    # Nothing is new; what sweeps and silence add comes now.
    faults = judge_all(memory, Readings.empty(), [], by_name)
    assert not faults, faults
    return memory.standing


def assert_same_in_any_order(detectors: Sequence[Detector], seed: int, whole: Readings, **more: Any) -> None:
    """Order, batches, duplicates and restarts make no difference to what stands."""
    once = told(judged(detectors, whole, **more))
    rng = np.random.default_rng(seed)
    assert told(judged_piecemeal(rng, detectors, whole, shuffled=bool(seed % 2), **more)) == once


def told(detections: Sequence[Detection]) -> list[tuple[Any, ...]]:
    """Detections without the numbers that depend on the order of finding."""
    return sorted((one.vehicle_id, one.detector, one.finding.start_us, repr(one.finding)) for one in detections)


def kinds(detections: Sequence[Detection]) -> list[str]:
    """Kinds in order of time."""
    return [one.finding.kind for one in detections]


def spans_s(detections: Sequence[Detection]) -> list[tuple[float, float]]:
    """Spans in seconds after START_S."""
    return [(one.finding.start_us / S - START_S, one.finding.end_us / S - START_S) for one in detections]


@cache
def ordinary_traffic(*, vehicles: int, seconds: int, seed: int) -> Readings:
    """Simulated ordinary traffic as ingest would store it, coverage gaps and lost fixes included."""
    with tempfile.TemporaryDirectory() as folder:
        request = Request(
            vehicles=vehicles,
            seed=seed,
            city=town.write_demo_pack(Path(folder)),
            start_ms=START_S * 1000 + 10 * 3_600_000,
            duration_s=seconds,
            encode=publications.encoder("msgpack"),
            partitions=16,
            id_prefix="ordinary",
            clock_offset_ms=np.zeros(vehicles, dtype=np.int64),
        )
        sent = list(Traffic(request, untold).run())
    received = [Message("p00", 0, 0, one.topic, one.payload, one.due_ms * 1000) for one in sent]
    batch = decode(received, Settings())
    assert not batch.refused
    return batch.readings


def _memory(vehicles: Sequence[Vehicle], fences: FenceSet | None) -> Memory:
    known: Mapping[str, Vehicle] = {one.vehicle_id: one for one in vehicles}
    return Memory(vehicles=dict(known)) if fences is None else Memory(fences, dict(known))
