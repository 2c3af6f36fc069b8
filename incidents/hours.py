"""Facts of whole hours: what remains of a vehicle's readings for detectors whose window is days or weeks.

Computed from the stored readings of the hour, so an hour that late readings touch is computed anew and comes out the
same whatever the order of arrival. Nothing is scaled or corrected here: a 24 V system has facts of 24 V.
"""

from typing import Any, Final

import numpy as np

from incidents import fuel_levels
from incidents.window import NO_HOURS, Bools, Floats, Hours, Ints, Window

HOUR_US: Final = 3_600 * 1_000_000
WHEELS: Final = ("fl", "fr", "rl", "rr")

# Name and meaning, in order. `_s` without more are seconds into the hour.
FACTS: Final[dict[str, str]] = {
    "readings": "number of readings",
    "first_s": "when the first reading was taken",
    "last_s": "when the last reading was taken",
    "moving_s": "seconds at 5 km/h or more, as far as readings at most 60 s apart show",
    "engine_s": "seconds with the engine or the drive on, as far as readings at most 60 s apart show",
    "engine_hours": "greatest running time of the engine, hours",
    "odometer_km": "greatest odometer",
    "odometer_first_km": "odometer at the beginning: median of the first three readings of it",
    "odometer_last_km": "odometer at the end: median of the last three readings of it",
    "odometer_fall_km": "how far the odometer fell below what it had shown, and stayed there; 0 when it did not",
    "odometer_fall_s": "when it fell",
    "boot_first": "boot counter of the device at the beginning, where the device counts its readings",
    "boot_last": "boot counter of the device at the end",
    "fuel_first_pct": "fuel level at the beginning: median of the first minute in which it was told",
    "fuel_last_pct": "fuel level at the end: median of the last minute in which it was told",
    "fuel_first_s": "when the fuel level was first told",
    "fuel_last_s": "when it was last told",
    "fuel_on": "1 when those levels were told with the ignition on or unknown, 0 when only with it off",
    "fuel_stood_first_pct": "first fuel level of all, if the vehicle stood until then",
    "fuel_stood_first_s": "when that was",
    "fuel_stood_first_on": "1 when the engine was on then",
    "fuel_stood_last_pct": "last fuel level of all, if the vehicle stood from then on",
    "fuel_stood_last_s": "when that was",
    "fuel_stood_last_on": "1 when the engine was on then",
    "fuel_unseen_before_s": "seconds of movement before it was first told",
    "fuel_unseen_after_s": "seconds of movement after it was last told",
    "fuel_fall_pct": "greatest fall of the fuel level while standing, percent of the tank; 0 when it did not fall",
    "fuel_fall_begin_s": "when that fall began",
    "fuel_fall_s": "when that fall ended",
    "rest_v": "median supply voltage after 30 minutes or more with the ignition off, as seen within the hour",
    "off_v": "median supply voltage of an hour without ignition",
    "starts": "engine starts during which the voltage was seen at least every two seconds",
    "crank_v": "lowest voltage seen in those starts",
    "crank_s": "longest time that one of those starts kept the voltage 1.5 V (of 12 V) below rest",
    "charge_v": "median supply voltage while the engine runs, a minute or more after its start",
    "coolant_c": "greatest coolant temperature that more than one reading shows",
    "ambient_c": "median outside temperature",
    **{f"tyre_{wheel}_kpa": f"median tyre pressure {wheel}" for wheel in WHEELS},
    **{f"tyre_{wheel}_first_kpa": f"tyre pressure {wheel} at the beginning: median of a minute" for wheel in WHEELS},
    **{f"tyre_{wheel}_last_kpa": f"tyre pressure {wheel} at the end: median of a minute" for wheel in WHEELS},
    **{f"tyre_{wheel}_fall_kpa_min": f"steepest fall of tyre pressure {wheel}, kPa a minute" for wheel in WHEELS},
}  # fmt: skip

# Columns of readings that the facts come from. Where a source holds only some, the others' facts are unknown.
COLUMNS: Final = frozenset(
    {"speed_kmh", "obd_speed_kmh", "rpm", "ignition", "odometer_km", "engine_hours", "fuel_pct", "external_v",
     "coolant_c", "ambient_c", *(f"tyre_{wheel}_kpa" for wheel in WHEELS)}
)  # fmt: skip

MOVING_KMH: Final = 5.0
STANDING_KMH: Final = 3.0
# Readings further apart than this show nothing of the time between them. Judgement.
_SEEN_S: Final = 60.0
_END_S: Final = 60.0
# An engine below this speed does not run: the slowest idle is about 550 /min, a starter turns it at 150 to 250 /min.
RUNNING_RPM: Final = 400.0
_REST_S: Final = 1_800.0  # surface charge has gone after half an hour or more (workshop practice)
# The voltage around a start: a starter turns for 0.5 to 4 s, up to some seconds after the ignition is switched on.
_BEFORE_START_S: Final = 2.0
_AFTER_START_S: Final = 10.0
_CHARGING_AFTER_S: Final = 60.0
_DIP_V: Final = 1.5
# Below this the device was cut off from the supply, or was told nonsense; above 36 V no 24 V system ends.
SUPPLY_V: Final = (7.0, 36.0)
TWO_BATTERIES_V: Final = 17.0  # between a 12 V system being overcharged and a 24 V system being flat
# SAE J1979 PID 05 and J1939 SPN 110 tell -40 for a broken wire; engines boil long before 140.
COOLANT_C: Final = (-39.0, 140.0)
AMBIENT_C: Final = (-50.0, 70.0)
# Gauge pressure: 0 or nearly is a sensor without a signal. Tyres of heavy vehicles go up to 900.
TYRE_KPA: Final = (20.0, 1_100.0)
_TYRE_BIN_S: Final = 30.0
_TYRE_APART_BINS: Final = 2


def facts_of(hour: Window) -> dict[str, float]:
    """Facts of one hour's readings; NaN = nothing known. Pure."""
    facts = dict.fromkeys(FACTS, np.nan)
    facts["readings"] = float(len(hour))
    if not len(hour):
        return facts
    begin_us = int(hour.device_time_us[0]) // HOUR_US * HOUR_US
    time_s = (hour.device_time_us - begin_us) / 1e6
    speed = hour.speed_kmh()
    runs = running(hour.flag("ignition"), hour.number("rpm"), speed)
    facts |= {"first_s": float(time_s[0]), "last_s": float(time_s[-1])}
    if np.isfinite(speed).any():
        facts["moving_s"] = _seconds(time_s, speed >= MOVING_KMH)
    if (hour.flag("ignition") >= 0).any() or hour.has("rpm") or np.isfinite(speed).any():
        facts["engine_s"] = _seconds(time_s, runs)
    facts |= _odometer(hour, time_s)
    facts |= _boots(hour.seq)
    facts |= _fuel(hour, time_s, speed, runs)
    facts |= _supply(hour, time_s, runs)
    facts |= _temperatures(hour)
    for wheel in WHEELS:
        facts |= _tyre(wheel, time_s, hour.number(f"tyre_{wheel}_kpa"))
    # Instants stay exact: a rounded one may lie after the reading that it is of.
    return {name: round(value, 6 if name.endswith("_s") else 3) for name, value in facts.items()}


def hours_of(window: Window) -> Hours:
    """Hours of all readings in a window, computed in memory."""
    if not len(window):
        return NO_HOURS
    hour = window.device_time_us // HOUR_US
    starts = np.append(0, np.flatnonzero(hour[1:] != hour[:-1]) + 1)
    ends = np.append(starts[1:], len(hour))
    rows = [facts_of(window.take(np.arange(start, end))) for start, end in zip(starts, ends, strict=True)]
    return Hours(hour[starts] * HOUR_US, {name: np.array([row[name] for row in rows]) for name in FACTS})


def running(ignition: Any, rpm: Floats, speed_kmh: Floats) -> Bools:
    """Whether the engine (or the drive) is on: by the ignition where it is told, else by its turning or movement."""
    turns = np.nan_to_num(rpm) >= RUNNING_RPM
    mask: Bools = np.where(ignition >= 0, ignition == 1, turns | (np.nan_to_num(speed_kmh) >= MOVING_KMH))
    return mask


def within(values: Floats, bounds: tuple[float, float]) -> Floats:
    """Values outside of bounds made NaN."""
    low, high = bounds
    with np.errstate(invalid="ignore"):
        return np.where((values >= low) & (values <= high), values, np.nan)


def _seconds(time_s: Floats, mask: Bools) -> float:
    """Time during which a mask holds: from each reading to the next, where that is near."""
    apart = np.diff(time_s)
    return float(apart[mask[:-1] & (apart <= _SEEN_S)].sum())


def _ends(time_s: Floats, values: Floats) -> tuple[float, float]:
    """Medians of the first and of the last minute."""
    first, last = time_s <= time_s[0] + _END_S, time_s >= time_s[-1] - _END_S
    return float(np.median(values[first])), float(np.median(values[last]))


def _odometer(hour: Window, time_s: Floats) -> dict[str, float]:
    facts = {}
    hours = hour.number("engine_hours")
    if np.isfinite(hours).any():
        facts["engine_hours"] = float(np.nanmax(hours))
    odometer = hour.number("odometer_km")
    told = np.flatnonzero(odometer > 0.0)  # 0 stands for "not available" on many buses
    if not len(told):
        return facts
    km = odometer[told]
    facts |= {
        "odometer_km": float(km.max()),
        "odometer_first_km": float(np.median(km[:3])),
        "odometer_last_km": float(np.median(km[-3:])),
        "odometer_fall_km": 0.0,
    }
    if len(km) > 4:
        # A single wrong value is no fall: medians of three.
        steady = np.median(np.lib.stride_tricks.sliding_window_view(km, 3), axis=1)
        shown = np.maximum.accumulate(steady)[:-1]
        later = np.maximum.accumulate(steady[::-1])[::-1][1:]
        at = int(np.argmax(shown - later))
        facts["odometer_fall_km"] = max(0.0, float(shown[at] - later[at]))
        if facts["odometer_fall_km"] > 0.0:
            facts["odometer_fall_s"] = float(time_s[told[at + 2]])
    return facts


def _boots(seq: Ints) -> dict[str, float]:
    # Devices without a counter have a hash for it, which does not count on.
    if len(seq) < 2 or np.mean(np.diff(seq) == 1) < 0.5 or (seq < 0).any():
        return {}
    return {"boot_first": float(seq[0] >> 32), "boot_last": float(seq[-1] >> 32)}


def _fuel(hour: Window, time_s: Floats, speed: Floats, runs: Bools) -> dict[str, float]:
    fuel = hour.number("fuel_pct")
    off = hour.flag("ignition") == 0
    usable = fuel_levels.usable(fuel)
    # Many senders tell nothing sound without their supply: where one was told with the ignition on, only those count.
    told = np.flatnonzero(usable & ~off)
    powered = len(told) > 0
    if not powered:
        told = np.flatnonzero(usable)
    if not len(told):
        return {}
    first_pct, last_pct = _ends(time_s[told], fuel[told])
    moves, stands = speed >= MOVING_KMH, standing(speed, off)
    levels = np.flatnonzero(usable)
    before, after = time_s <= time_s[told[0]], time_s >= time_s[told[-1]]
    facts = {
        "fuel_first_pct": first_pct,
        "fuel_last_pct": last_pct,
        "fuel_first_s": float(time_s[told[0]]),
        "fuel_last_s": float(time_s[told[-1]]),
        "fuel_on": float(powered),
        "fuel_unseen_before_s": _seconds(time_s[before], moves[before]),
        "fuel_unseen_after_s": _seconds(time_s[after], moves[after]),
        "fuel_fall_pct": 0.0,
    }
    first, last = int(levels[0]), int(levels[-1])
    for name, row, stood in (("first", first, stands[: first + 1]), ("last", last, stands[last:])):
        if stood.all():
            held = {"pct": float(fuel[row]), "s": float(time_s[row]), "on": float(runs[row])}
            facts |= {f"fuel_stood_{name}_{what}": value for what, value in held.items()}
    found = fuel_levels.falls(time_s, fuel, stands, runs)
    if found:
        greatest = max(found, key=lambda fall: fall.fall_pct)
        facts |= {
            "fuel_fall_pct": greatest.fall_pct,
            "fuel_fall_begin_s": greatest.begin_s,
            "fuel_fall_s": greatest.end_s,
        }
    return facts


def standing(speed_kmh: Floats, off: Bools) -> Bools:
    """Whether the vehicle is known to stand: it says so, or says nothing with its ignition off."""
    mask: Bools = np.where(np.isnan(speed_kmh), off, speed_kmh <= STANDING_KMH)
    return mask


def _supply(hour: Window, time_s: Floats, runs: Bools) -> dict[str, float]:
    volts = within(hour.number("external_v"), SUPPLY_V)
    told = np.isfinite(volts)
    if not told.any():
        return {}
    facts: dict[str, float] = {}
    off = hour.flag("ignition") == 0
    # Since when the ignition has been off without a break, as far as this hour shows.
    begins = np.where(off & ~np.append(False, off[:-1]), time_s, np.nan)
    since = _carried(np.where(off, begins, np.inf))
    rests = off & (time_s - since >= _REST_S)
    if (rests & told).any():
        facts["rest_v"] = float(np.median(volts[rests & told]))
    if off.all():
        facts["off_v"] = float(np.median(volts[told]))
    switched_on = np.flatnonzero(runs[1:] & off[:-1]) + 1
    facts |= _starts(time_s, volts, off, switched_on)
    late = runs.copy()
    for at in time_s[switched_on].tolist():
        late &= (time_s < at) | (time_s >= at + _CHARGING_AFTER_S)
    turns = hour.number("rpm")
    charges = late & told & ~(turns < RUNNING_RPM)
    if charges.any():
        facts["charge_v"] = float(np.median(volts[charges]))
    return facts


def _starts(time_s: Floats, volts: Floats, off: Bools, switched_on: Any) -> dict[str, float]:
    lowest, longest, count = np.inf, 0.0, 0
    for row in switched_on.tolist():
        at = time_s[row]
        near = np.flatnonzero((time_s >= at - _BEFORE_START_S) & (time_s <= at + _AFTER_START_S) & np.isfinite(volts))
        if len(near) < 3 or np.diff(time_s[near]).max() > 2.0:
            continue
        rest = volts[(time_s >= at - 60.0) & (time_s < at) & off & np.isfinite(volts)]
        count += 1
        lowest = min(lowest, float(volts[near].min()))
        if len(rest):
            level = float(np.median(rest))
            dip = _DIP_V * (2.0 if level > TWO_BATTERIES_V else 1.0)
            longest = max(longest, _seconds(time_s[near], volts[near] < level - dip))
    return {"starts": float(count), "crank_v": lowest, "crank_s": longest} if count else {"starts": 0.0}


def _carried(values: Floats) -> Floats:
    """The newest value that is not NaN, at or before each place."""
    at = np.maximum.accumulate(np.where(np.isnan(values), 0, np.arange(len(values))))
    return values[at]


def _temperatures(hour: Window) -> dict[str, float]:
    facts = {}
    coolant = within(hour.number("coolant_c"), COOLANT_C)
    coolant = np.sort(coolant[np.isfinite(coolant)])
    if len(coolant) >= 2:
        facts["coolant_c"] = float(coolant[-2])
    ambient = within(hour.number("ambient_c"), AMBIENT_C)
    if np.isfinite(ambient).any():
        facts["ambient_c"] = float(np.nanmedian(ambient))
    return facts


def _tyre(wheel: str, time_s: Floats, kpa: Floats) -> dict[str, float]:
    kpa = within(kpa, TYRE_KPA)
    told = np.flatnonzero(np.isfinite(kpa))
    if not len(told):
        return {}
    first_kpa, last_kpa = _ends(time_s[told], kpa[told])
    facts = {
        f"tyre_{wheel}_kpa": float(np.median(kpa[told])),
        f"tyre_{wheel}_first_kpa": first_kpa,
        f"tyre_{wheel}_last_kpa": last_kpa,
        f"tyre_{wheel}_fall_kpa_min": 0.0,
    }
    # Medians of half minutes, each against the next that is a minute or more away.
    bins = (time_s[told] // _TYRE_BIN_S).astype(np.int64)
    starts = np.flatnonzero(np.append(True, bins[1:] != bins[:-1]))
    middle = np.array([float(np.median(part)) for part in np.split(kpa[told], starts[1:])])
    number = bins[starts]
    later = np.searchsorted(number, number + _TYRE_APART_BINS)
    pairs = np.flatnonzero(later < len(number))
    if len(pairs):
        minutes = (number[later[pairs]] - number[pairs]) * _TYRE_BIN_S / 60.0
        steepest = float(((middle[pairs] - middle[later[pairs]]) / minutes).max())
        facts[f"tyre_{wheel}_fall_kpa_min"] = max(0.0, steepest)
    return facts
