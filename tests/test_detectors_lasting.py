"""A fault that lasts is one episode, over the rests in between and in whatever order its readings come."""

from typing import Any, Final

import numpy as np
import pytest

from incidents.detector import of
from incidents.detectors import battery_trend, supply
from incidents.detectors.feed_late import DETECTOR as FEED_LATE
from tests import made_drives
from tests.health_traces import DAY_S, Floats, Trace, judged, judged_in_parts

STREAM: Final = of([supply])
BOTH: Final = of([battery_trend, supply])
HOUR_S: Final = 3_600.0
DRIVE_S: Final = 1_500.0


def commuted(days: int, fails_on: int, volts: float) -> Trace:
    """To work and home, 14 hours of rest in every night; from a day on the generator holds only some volts."""
    starts = [day * DAY_S + hour * HOUR_S for day in range(days) for hour in (8.0, 18.0)]
    parts: list[tuple[Floats, float]] = []
    for start in starts:
        parts.append((np.arange(start, start + DRIVE_S, 10.0), 1.0))
        parts.append((np.arange(start + DRIVE_S + 600.0, start + 9 * HOUR_S, 1_800.0), 0.0))
    t_s = np.concatenate([times for times, _ in parts])
    on = np.concatenate([np.full(len(times), state) for times, state in parts])
    charged = np.where(t_s < fails_on * DAY_S, 14.0, volts)
    columns = {
        "external_v": np.where(on > 0, charged, 12.4),
        "ignition": on,
        "speed_kmh": 50.0 * on,
        "rpm": 1_800.0 * on,
    }
    return Trace(t_s, columns)


def spans(found: Any) -> list[tuple[str, int, int]]:
    return [(one.finding.kind, one.finding.start_us, one.finding.end_us) for one in found]


def test_a_generator_that_does_not_charge_is_one_fault_over_the_nights() -> None:
    found = judged(commuted(4, 2, 12.1), STREAM)
    assert [one.finding.kind for one in found] == ["charging_fault"]
    assert found[0].finding.end_us - found[0].finding.start_us > 30 * HOUR_S * 1e6


@pytest.mark.parametrize("seed", range(4))
def test_order_duplicates_and_restarts_make_no_difference_over_days(seed: int) -> None:
    trace, rng = commuted(4, 2, 12.1), np.random.default_rng(seed)
    rows = np.arange(len(trace.t_s))
    whole = spans(judged_in_parts(trace, STREAM, [rows]))
    messages = np.array_split(rows, len(rows) // 10)
    order = rng.permutation(np.concatenate((np.arange(len(messages)), rng.integers(0, len(messages), 5))))
    batches = [np.concatenate([messages[at] for at in part]) for part in np.array_split(order, 8)]
    assert spans(judged_in_parts(trace, STREAM, batches, (rng.random(8) < 0.4).tolist())) == whole


@pytest.mark.parametrize(("volts", "detector"), [(12.2, "supply"), (12.8, "battery_trend")])
def test_charging_less_and_not_at_all_are_told_by_one_detector_each(volts: float, detector: str) -> None:
    found = judged(commuted(45, 40, volts), BOTH)
    assert [(one.detector, one.finding.kind) for one in found if one.finding.kind == "charging_fault"] == [
        (detector, "charging_fault")
    ]


def test_a_feed_that_is_late_before_and_after_a_stop_is_one_trouble() -> None:
    t_s = np.arange(4_000.0)
    ignition = (t_s < 1_500) | (t_s >= 2_500)
    late = made_drives.readings(t_s, delay_s=900.0, ignition=ignition.astype(np.float64))
    assert made_drives.kinds(made_drives.judged([FEED_LATE], late)) == ["feed_late"]
    for seed in range(3):
        made_drives.assert_same_in_any_order([FEED_LATE], seed, late)
    t_s = np.concatenate((t_s, t_s + 4 * HOUR_S))
    again = made_drives.readings(t_s, delay_s=900.0, ignition=np.concatenate((ignition, ignition)).astype(np.float64))
    assert made_drives.kinds(made_drives.judged([FEED_LATE], again)) == ["feed_late", "feed_late"]
