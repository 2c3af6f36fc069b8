"""Windows and batches of anything a device may send: plausible stretches, nonsense, nothing at all."""

from typing import Any, Final

import numpy as np
import shapely
from numpy.typing import NDArray

from fleet_core import topics
from fleet_core.columns import COLUMNS, Kind
from fleet_core.readings import Readings
from incidents.fences import Fence, FenceSet
from incidents.hours import FACTS, HOUR_US
from incidents.window import Event, Hours, Mounting, S, Tenure, Vehicle, Window

START_US: Final = 1_764_000_000 * S
NUMBERS: Final = [column.name for column in COLUMNS if column.kind is Kind.NUMBER]
FLAGS: Final = [column.name for column in COLUMNS if column.kind is Kind.FLAG]
STREAMS: Final = (topics.ALARM, topics.BURST, topics.DIAGNOSTICS)

# Where a column usually lies: half of all values come from here, so that detectors get past their first question.
_USUAL: Final = {
    "lat_deg": (31.19, 31.21), "lon_deg": (121.39, 121.41), "speed_kmh": (0, 130), "obd_speed_kmh": (0, 130),
    "heading_deg": (0, 360), "accuracy_m": (1, 30), "hdop": (0.5, 5), "satellites": (0, 20), "odometer_km": (1, 1e5),
    "fuel_pct": (0, 100), "soc_pct": (0, 100), "rpm": (0, 4_000), "coolant_c": (70, 130), "battery_v": (3, 4.2),
    "external_v": (9, 29), "ambient_c": (-20, 40), "speed_limit_kmh": (30, 120), "tyre_fl_kpa": (50, 260),
    "tyre_fr_kpa": (200, 260), "tyre_rl_kpa": (50, 260), "tyre_rr_kpa": (200, 260),
}  # fmt: skip
_NONSENSE: Final = np.array([np.nan, np.nan, 0.0, -1.0, 1e-9, 1e9, -1e9])


def numbers(rng: np.random.Generator, name: str, count: int) -> NDArray[np.float64]:
    """A numeric column: mostly what is usual, held for a while or noisy, with nonsense and gaps."""
    low, high = _USUAL.get(name, (-20.0, 20.0))
    if name in ("lat_deg", "lon_deg") and rng.random() < 0.2:
        low, high = (-90.0, 90.0)
    values = rng.uniform(low, high, count)
    style = rng.integers(0, 4)
    if style == 0:
        values[:] = values[:1] if count else values
    elif style == 1:
        values = np.repeat(values, 20)[:count]
    elif style == 2:
        values = np.sort(values)[:: int(rng.choice([1, -1]))].copy()
    odd = rng.random(count) < rng.choice([0.0, 0.05, 0.5])
    nonsense = _NONSENSE if name not in ("lat_deg", "lon_deg") else _NONSENSE[:5]
    values[odd] = rng.choice(nonsense, int(odd.sum()))
    return values


def columns(rng: np.random.Generator, count: int) -> dict[str, NDArray[Any]]:
    """Some of the columns."""
    held: dict[str, NDArray[Any]] = {}
    share = rng.choice([0.2, 0.6, 1.0])
    for name in NUMBERS:
        if rng.random() < share:
            held[name] = numbers(rng, name, count)
    for name in FLAGS:
        if rng.random() < share:
            flags = rng.integers(-1, 2, count)
            held[name] = (np.repeat(flags, 30)[:count] if rng.random() < 0.7 else flags).astype(np.int8)
    return held


def times(rng: np.random.Generator, count: int) -> NDArray[np.int64]:
    """Instants in order: beats of a second, of minutes, holes, and two at once."""
    steps = rng.choice([0, 100_000, S, S, S, 10 * S, 60 * S], count, p=[0.05, 0.05, 0.3, 0.3, 0.1, 0.1, 0.1])
    steps = np.full(count, S) if rng.random() < 0.5 else steps
    if count and rng.random() < 0.3:
        steps[rng.integers(0, count)] = 7_200 * S
    return (START_US + np.cumsum(steps)).astype(np.int64)


def _motion(rng: np.random.Generator, count: int) -> list[float | None]:
    values = rng.normal(0, rng.choice([0.1, 3.0, 80.0]), count)
    return [None if rng.random() < 0.02 else round(float(value), 2) for value in values]


def body(rng: np.random.Generator, stream: str) -> dict[str, Any]:
    """The body of an event, as ingest lets it through."""
    if stream == topics.BURST:
        count = int(rng.integers(1, 120))
        names = [f"accel_{axis}_mps2" for axis in "xyz"] + [f"gyro_{axis}_dps" for axis in "xyz"]
        told = {name: _motion(rng, count) for name in names if rng.random() < 0.8} or {"accel_x_mps2": [None] * count}
        more = {"range_mps2": float(rng.choice([20.0, 78.5, 157.0]))} if rng.random() < 0.8 else {}
        gravity = {"accel_gravity": True} if rng.random() < 0.5 else {}
        return {
            "t0_ms": START_US // 1000,
            "rate_hz": float(rng.choice([1.0, 25.0, 100.0, 1e4])),
            **told,
            **more,
            **gravity,
        }
    junk: list[Any] = [None, 7, "P0300", [], {}, [1, None], {"code": "P0301", "lamp": "flashing"}, True, -1.5]
    told = {name: junk[int(rng.integers(0, len(junk)))] for name in ("speed_kmh", "x", "codes", "dtcs", "lamp")}
    if stream == topics.DIAGNOSTICS and rng.random() < 0.6:
        told["codes"] = [{"code": "C0035", "status": "confirmed", "lamp": "on"}, junk[int(rng.integers(0, len(junk)))]]
    return {"t_ms": START_US // 1000, **told}


def event(rng: np.random.Generator, at_us: int) -> Event:
    """Any event of a device."""
    stream = str(rng.choice(STREAMS))
    kinds = ["crash", "tow", "unplug", "jamming", "airbag", "door", "anything"]
    kind = str(rng.choice(kinds)) if stream == topics.ALARM else None
    told = body(rng, stream)
    return Event(stream, at_us, at_us + S, int(rng.integers(0, 2**40)), kind, {**told, "kind": kind} if kind else told)


def hours(rng: np.random.Generator, until_us: int) -> Hours:
    """Facts of hours before `until_us`, many unknown."""
    count = int(rng.choice([0, 1, 30, 400]))
    at = np.sort(rng.choice(np.arange(1, 900), count, replace=False))[::-1]
    hour_us = (until_us // HOUR_US - at).astype(np.int64) * HOUR_US
    facts = {}
    for name in FACTS:
        low, high = (0.0, 3_599.0) if name.endswith("_s") else (9.0, 15.0) if name.endswith("_v") else (0.0, 300.0)
        values = rng.uniform(low, high, count)
        values[rng.random(count) < rng.choice([0.0, 0.3, 1.0])] = np.nan
        facts[name] = values
    for earlier, later in (
        ("first_s", "last_s"),
        ("fuel_first_s", "fuel_last_s"),
        ("fuel_fall_begin_s", "fuel_fall_s"),
    ):
        facts[earlier] = np.minimum(facts[earlier], facts[later])
    return Hours(hour_us, facts)


def window(seed: int, count: int | None = None) -> Window:
    """A window of one vehicle, everything about it drawn; its arrays cannot be written to."""
    rng = np.random.default_rng(seed)
    count = int(rng.choice([0, 1, 2, 50, 400])) if count is None else count
    at_us = times(rng, count)
    first, last = (int(at_us[0]), int(at_us[-1])) if count else (START_US, START_US)
    margin_us = int(rng.choice([0, 60, 3_600, 45 * 86_400])) * S
    events = sorted(
        (event(rng, int(rng.integers(first, last + 1))) for _ in range(int(rng.integers(0, 4)))),
        key=lambda one: (one.occurred_us, one.seq),
    )
    whole = Window(
        vehicle=vehicle(rng),
        from_us=first - margin_us,
        until_us=last + margin_us,
        known_until_us=last + int(rng.choice([0, 10, 600, 90_000])) * S,
        device_time_us=at_us,
        seq=np.arange(count, dtype=np.int64) + (5 << 32),
        received_us=at_us + int(rng.choice([0, 1, 4_000])) * S,
        columns=columns(rng, count),
        events=tuple(events),
        hours=hours(rng, last + margin_us),
        fences=fences(rng),
    )
    return read_only(whole)


def read_only(whole: Window) -> Window:
    """The same window; writing to any of its arrays raises."""
    hour_arrays = [whole.hours.hour_us, *whole.hours.columns.values()]
    for array in (whole.device_time_us, whole.seq, whole.received_us, *whole.columns.values(), *hour_arrays):
        array.setflags(write=False)
    return whole


def vehicle(rng: np.random.Generator) -> Vehicle:
    """A vehicle of any class, with or without contracts and a known mounting."""
    tenures = (
        Tenure("rental", START_US - 3_600 * S, START_US + 30 * S, ("yard",)),
        Tenure("tow", START_US + 60 * S, None),
    )[: int(rng.integers(0, 3))]
    mounting = Mounting(np.eye(3), float(rng.random()), START_US - S, START_US) if rng.random() < 0.5 else None
    name = str(rng.choice(["car", "van", "heavy"]))
    return Vehicle("v1", name, bool(rng.random() < 0.5), tenures, mounting)


def fences(rng: np.random.Generator) -> FenceSet:
    """No fence, or one in the middle of the usual places."""
    if rng.random() < 0.5:
        return FenceSet()
    area = shapely.box(121.395, 31.195, 121.405, 31.205)
    return FenceSet([Fence("yard", "Yard", area, frozenset({"entry", "exit", "dwell"}), 2, 60.0, 30.0)])


def batch(seed: int, vehicles: int) -> Readings:
    """A batch of some vehicles in key order."""
    rng = np.random.default_rng(seed)
    counts = rng.integers(0, 40, vehicles)
    total = int(counts.sum())
    at_us = np.concatenate([times(rng, int(count)) for count in counts]) if vehicles else np.empty(0, dtype=np.int64)
    index = np.repeat(np.arange(vehicles), counts).astype(np.int64)
    readings = Readings(
        [f"v{number}" for number in range(vehicles)],
        index,
        np.arange(total, dtype=np.int64),
        at_us,
        np.arange(total, dtype=np.int64),
        at_us + int(rng.choice([0, 1, 4_000])) * S,
        columns(rng, total),
    )
    for array in (readings.vehicle_index, readings.device_time_us, readings.seq, *readings.columns.values()):
        array.setflags(write=False)
    return readings
