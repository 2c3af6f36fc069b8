"""Harsh manoeuvres: what three detectors share. What an impact did is not a manoeuvre."""

from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from fleet_core import topics
from incidents.detector import Candidates, Finding, Lane, Reason
from incidents.detectors._around import COLUMNS as _SPEED_COLUMNS
from incidents.detectors._around import believed_speed_kmh
from incidents.detectors._burst import Burst, bursts_of
from incidents.detectors._clock import strands
from incidents.detectors._harsh_fast import burst_runs, fast_runs
from incidents.detectors._harsh_gate import wanted
from incidents.detectors._harsh_slow import slow_runs
from incidents.detectors._hit import ALARM_KINDS, DRIVING_G, LEAST_KMH
from incidents.detectors._manoeuvre import SEVERITIES, Manoeuvre, Run
from incidents.detectors._pulse import strongest
from incidents.rows import Rows
from incidents.window import Bools, Event, S, Window

# So far around a blow that cannot be driving nothing counts.
_BLOW_BESIDE_S: Final = (1.0, 3.0)
_ALARM_BESIDE_S: Final = 5.0
_UPWARD: Final = np.array([0.0, 0.0, 1.0])
# How far from a run its speeds are looked for.
_SPEED_WITHIN_S: Final = 2.5


@dataclass(frozen=True)
class Harsh:
    """One of the three detectors. A manner of driving is attention at most, however harsh: `severity` tells."""

    name: str
    purpose: str
    manoeuvre: Manoeuvre
    kinds: tuple[str, ...]
    version: int = 2
    lane: Lane = Lane.STREAM
    before_s: float = 16.0
    after_s: float = 10.0
    # What lies within 3 s is one manoeuvre (Damoov, docs/detection-science.md, B1).
    episode_gap_s: float = 3.0
    stale_after_s: float = 3_600.0
    columns: frozenset[str] = _SPEED_COLUMNS | {
        "heading_deg", "accel_gravity", "accel_x_mps2", "accel_y_mps2", "accel_z_mps2",
    }  # fmt: skip
    streams: frozenset[str] = frozenset({topics.BURST, topics.ALARM})
    every_s: float = 0.0
    candidates: Candidates | None = None

    def wants(self, rows: Rows) -> Bools:
        """Readings at which the lowest limit is reached."""
        return wanted(rows, self.manoeuvre)

    def wants_event(self, event: Event) -> bool:
        """Every burst."""
        return event.stream == topics.BURST

    def examine(self, window: Window) -> list[Finding]:
        """A finding for every run beyond the lowest limit."""
        return findings(window, self.manoeuvre.of(window.vehicle.vehicle_class))


def findings(window: Window, manoeuvre: Manoeuvre) -> list[Finding]:
    """All of one kind in the window, in order of time. Each depends on a few seconds around it only."""
    bursts = bursts_of(window)
    blows = _blows(window, bursts)
    runs = [run for part in strands(window) for run in slow_runs(part, manoeuvre) + fast_runs(part, manoeuvre)]
    for burst in bursts:
        runs += burst_runs(window, burst, manoeuvre)
    return [
        _finding(window, run, manoeuvre)
        for run in sorted(runs, key=lambda one: (one.from_us, one.at_us, one.source))
        if not any(low <= run.until_us and run.from_us <= high for low, high in blows)
    ]


def _blows(window: Window, bursts: list[Burst]) -> list[tuple[int, int]]:
    """Spans around impacts, as bursts show them without any knowledge of what is around, or as alarms claim."""
    spans = []
    for burst in bursts:
        rest = burst.rest_mps2()
        pulse = strongest(burst, rest / np.linalg.norm(rest) if burst.gravity and rest.any() else _UPWARD)
        if pulse is not None and pulse.delta_v_kmh >= LEAST_KMH and pulse.peak_g >= DRIVING_G and not pulse.is_spike:
            spans.append((pulse.t0_us - _BLOW_BESIDE_S[0] * S, pulse.until_us + _BLOW_BESIDE_S[1] * S))
    for alarm in window.of(topics.ALARM):
        if alarm.kind in ALARM_KINDS:
            spans.append((alarm.occurred_us - _ALARM_BESIDE_S * S, alarm.occurred_us + _ALARM_BESIDE_S * S))
    return [(round(low), round(high)) for low, high in spans]


def _finding(window: Window, run: Run, manoeuvre: Manoeuvre) -> Finding:
    low = manoeuvre.limits_g[0]
    severity = SEVERITIES[sum(run.peak_g >= limit for limit in manoeuvre.limits_g[1:])]
    before, after = _speeds_kmh(window, run)
    limit_g = manoeuvre.limits_g[SEVERITIES.index(severity)]
    told = [
        Reason(
            "harsh_limit",
            {"peak_g": round(run.peak_g, 2), "limit_g": round(limit_g, 2),
             "vehicle_class": window.vehicle.vehicle_class},
        )
    ]  # fmt: skip
    if run.source == "burst":
        told.append(Reason("harsh_by_burst", {"rate_hz": run.rate_hz}))
    elif run.felt is None:
        told.append(Reason("harsh_speed_only"))
    elif run.source == "speed":
        told.append(Reason("harsh_accel_seen"))
    values: dict[str, Any] = {
        "peak_g": round(run.peak_g, 3),
        "limit_g": round(limit_g, 3),
        "severity": severity,
        "duration_s": round((run.until_us - run.from_us) / S, 1),
        "speed_before_kmh": before,
        "speed_after_kmh": after,
        "source": run.source,
    }
    # The score grows with the peak, so that of several runs of one episode the strongest speaks.
    score = round(min(0.95, 0.6 + 0.25 * (run.peak_g / low - 1.0)), 3)
    return Finding(manoeuvre.kind, 1, score, run.at_us, run.from_us, run.until_us, values, tuple(told))


def _speeds_kmh(window: Window, run: Run) -> tuple[float | None, float | None]:
    """Speed at the begin and the end of a run."""
    near = window.between(run.from_us - round(_SPEED_WITHIN_S * S), run.until_us + round(_SPEED_WITHIN_S * S))
    speed = believed_speed_kmh(near)
    before = speed[(near.device_time_us <= run.from_us) & np.isfinite(speed)]
    after = speed[(near.device_time_us >= run.until_us) & np.isfinite(speed)]
    return (
        round(float(before[-1]), 1) if len(before) else None,
        round(float(after[0]), 1) if len(after) else None,
    )
