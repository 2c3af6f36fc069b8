"""Load: plain numbered telemetry of synthetic vehicles, as many messages as asked for, cheap to make."""

import itertools
from collections.abc import Iterator
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from fleet_core import topics
from fleet_core.publications import Message
from simulators.scenario import Request, Tell

_BLOCK: Final = 2000
_LONGEST_SPAN_MS: Final = 300 * 86_400_000  # device times further back would be quarantined


class Load:
    """Vehicles circle round the city's middle and report in turn. Device times end at the start of the run."""

    name: Final = "load"
    purpose: Final = "plain telemetry in bulk, for speed and loss tests"
    id_prefix: Final = "load"
    expects: Final = frozenset[str]()  # positions on a circle without motion: there is no truth in it to judge by
    must_not: Final = frozenset[str]()
    duration_s: Final = 60

    def messages(self, request: Request, tell: Tell) -> Iterator[Message]:
        """See Scenario. Nothing is told: there is no truth beyond the ledger."""
        ids = request.vehicle_ids()
        names = [topics.topic_of(vehicle_id, topics.TELEMETRY, request.partitions) for vehicle_id in ids]
        samples = request.samples_a_message
        total = request.messages
        if total is None and request.duration_s is not None and request.rate:
            total = int(request.duration_s * request.rate)
        rounds = 1 if total is None else -(-total // len(ids))
        step_ms = max(1, min(1000, _LONGEST_SPAN_MS // (rounds * samples)))
        first_ms = request.start_ms - (rounds * samples * step_ms if total is not None else 0)
        boot = max(1, request.start_ms // 1000 % 2**32)
        rng = np.random.default_rng([request.seed, 21])
        plane = request.city.graph.plane
        # A rate of 0 is as fast as possible: all are due at once, 0.1 ms apart only to keep their order.
        gap_ms = 1000.0 / request.rate if request.rate else 0.1
        for block in itertools.count(0, _BLOCK):
            size = _BLOCK if total is None else min(_BLOCK, total - block)
            if size <= 0 or request.stopped():
                return
            columns = _columns(rng, plane.lat_deg, plane.lon_deg, size, samples)
            for row in range(size):
                number = block + row
                turn, vehicle = divmod(number, len(ids))
                due_ms = request.start_ms + int(number * gap_ms)
                seq = turn * samples
                # Without a known end the device's clock goes with the true one.
                begin_ms = first_ms + seq * step_ms if total is not None else due_ms - (samples - 1) * step_ms
                begin_ms += int(request.clock_offset_ms[vehicle])
                times = [begin_ms + index * step_ms for index in range(samples)]
                body: dict[str, Any] = {"boot": boot, "seq": seq, "t_ms": times}
                body.update((name, values[row]) for name, values in columns)
                body["ignition"] = True
                yield Message(
                    topic=names[vehicle],
                    payload=request.encode(body),
                    vehicle_id=ids[vehicle],
                    due_ms=due_ms,
                    boot=boot,
                    seq=seq,
                    count=samples,
                    t_first_ms=times[0],
                    t_last_ms=times[-1],
                )


def _columns(
    rng: np.random.Generator, lat_deg: float, lon_deg: float, size: int, samples: int
) -> list[tuple[str, list[list[float]]]]:
    angle = rng.uniform(0, 2 * np.pi, (size, 1)) + np.arange(samples) * 0.01
    columns: dict[str, NDArray[np.float64]] = {
        "lat_deg": np.round(lat_deg + 0.009 * np.sin(angle), 6),
        "lon_deg": np.round(lon_deg + 0.009 * np.cos(angle), 6),
        "speed_kmh": np.round(36.0 + rng.normal(0, 2, (size, samples)), 1),
        "heading_deg": np.round(np.degrees(-angle) % 360.0, 1),
        "accuracy_m": np.round(rng.uniform(1.5, 6.0, (size, samples)), 1),
        "odometer_km": np.round(rng.uniform(1e3, 1e5, (size, 1)) + 0.01 * np.arange(samples, dtype=np.float64), 2),
    }
    return [(name, values.tolist()) for name, values in columns.items()]


SCENARIO: Final = Load()
