"""Unplugged and tampered with: supply cut, antenna off, clock turned back; and the volts of healthy vehicles."""

from typing import Final

import numpy as np

from simulators.condition import Build
from simulators.errands import HOUR_S, Life, Span
from simulators.play import Part, Play
from simulators.reception import Shade
from simulators.scenario import CRASH_LIKE
from simulators.unit import Clock

_LASTS_S: Final = 6 * 3600
# A unit's lithium cell: full at about 4.1 V, empty at 3.5 V, which lasts a few hours to a day.
CELL_V_A_H: Final = (0.03, 0.12)
ALARM_SHARE: Final = 0.3


def _half_day(part: Part) -> Life:
    """Parked, driven, parked for hours, driven, parked."""
    part.rented()
    errands = part.errands(heartbeat_s=60.0)
    errands.park(float(part.rng.uniform(600, 1_200)))
    errands.drive(float(part.rng.uniform(900, 1_500)))
    errands.park(float(part.rng.uniform(1.6, 2.2)) * HOUR_S)
    errands.drive(float(part.rng.uniform(900, 1_500)))
    return part.live(errands)


def _long_stop(life: Life) -> Span:
    """The stop between the two drives."""
    first, second = life.trips()[:2]
    return Span(first.until_s, second.from_s)


def _unplugged(part: Part) -> None:
    """Somebody pulls the unit's plug at a stop; it lives on its own cell. Sometimes it is put back."""
    life = _half_day(part)
    log = part.record(life)
    stop = _long_stop(life)
    pulled_s = stop.inner(float(part.rng.uniform(0.2, 0.4)))
    back_s = stop.inner(float(part.rng.uniform(0.6, 0.9)))
    gone = Span(pulled_s, back_s)
    rows = life.within(gone)
    log.columns["external_v"][rows] = np.abs(part.rng.normal(0.0, 0.04, int(rows.sum())))
    log.columns["battery_v"][rows] -= float(part.rng.uniform(*CELL_V_A_H)) * (life.t_s[rows] - pulled_s) / HOUR_S + 0.06
    part.incident("unplug", gone.from_s, gone.until_s)
    if part.rng.random() < ALARM_SHARE:
        part.alarm("unplug", pulled_s + 2.0, external_v=0.0)


def _hard_starts(part: Part) -> None:
    """Short hops on a cold day: every start pulls the supply down for a second, some of them deeply."""
    part.rented()
    errands = part.errands(heartbeat_s=60.0)
    for _ in range(7):
        errands.park(float(part.rng.uniform(600, 1_200)))
        errands.drive(float(part.rng.uniform(240, 500)), crank_s=int(part.rng.integers(1, 3)))
    life = part.live(errands)
    log = part.record(life, build=Build.drawn(part.rng, ambient_c=-4.0))
    log.columns["external_v"][life.cranking] = part.rng.uniform(7.4, 9.4, int(life.cranking.sum()))


def _antenna_off(part: Part) -> None:
    """The antenna's plug is pulled on the road: all satellites gone at once, under open sky, and they stay away."""
    part.rented()
    errands = part.errands(heartbeat_s=60.0)
    errands.park(float(part.rng.uniform(600, 1_200)))
    first = errands.drive(float(part.rng.uniform(1_200, 2_000)))
    errands.park(float(part.rng.uniform(600, 1_200)))
    errands.drive(float(part.rng.uniform(1_500, 2_400)))
    errands.park(float(part.rng.uniform(600, 1_200)))
    errands.drive(float(part.rng.uniform(1_500, 2_400)))
    life = part.live(errands)
    off = Span(first.inner(float(part.rng.uniform(0.3, 0.7))), part.lasts_s + HOUR_S)
    log = part.record(life, shades=[Shade(off, fade_s=0.6)])
    log.columns["satellites"][life.within(off)] = 0.0
    part.alarm("gnss_antenna_open", off.from_s + 3.0)
    part.incident("tamper", off.from_s, part.lasts_s)
    # From the stream alone it could as well be a jammer that goes along.
    part.allowed("jamming", off.from_s - 30.0, part.lasts_s)


def _smart_alternator(part: Part) -> None:
    """Charges when the vehicle brakes, lets go when it cruises: 12.3 to 15 V within minutes, all as designed."""
    life = _half_day(part)
    log = part.record(life)
    volts = log.columns["external_v"]
    knots = np.arange(0.0, part.lasts_s + 90.0, 90.0)
    phase = np.interp(life.t_s, knots, part.rng.random(len(knots)))
    running = np.where(phase > 0.55, 14.6, np.where(phase > 0.3, 13.2, 12.5))
    running = np.where(life.accel_mps2 < -0.6, 15.0, running)
    volts[life.engine] = running[life.engine] + part.rng.normal(0.0, 0.06, int(life.engine.sum()))


def _clock_turned_back(part: Part) -> None:
    """The clock is set back by hours before a drive, as one does to hide it. No reboot: the counter goes on."""
    life = _half_day(part)
    part.record(life)
    back_s = -float(part.rng.uniform(1.1, 1.5)) * HOUR_S
    turned_s = _long_stop(life).until_s - float(part.rng.uniform(200, 500))
    part.fate.clocks = [Clock(turned_s, back_s)]
    # In the unit's own time, because nothing but the unit dates what is found.
    part.incident(
        "tamper", turned_s + back_s, part.lasts_s, turned_ms=part.at_ms(turned_s), clock_ahead_s=round(back_s)
    )
    # By the unit's times the drive lies among readings of the stop before it: whatever that looks like is right.
    for kind in (
        "implausible_position", "feed_jumping", "feed_late", "feed_frozen", "spoofing", "tow", "theft",
        "odometer_rollback", "fuel_theft", "harsh_braking", "harsh_acceleration", "harsh_cornering", "jamming",
        "offline_while_moving", "low_battery", "charging_fault",
    ):  # fmt: skip
        part.allowed(kind, turned_s + back_s - 600.0, part.lasts_s)


def _clock_corrected(part: Part) -> None:
    """The unit's clock had drifted by seconds, and the first fix of a drive sets it right."""
    life = _half_day(part)
    part.record(life)
    drift_s = float(part.rng.uniform(2.0, 40.0)) * float(part.rng.choice([-1.0, 1.0]))
    part.fate.clocks = [Clock(0.0, drift_s), Clock(_long_stop(life).until_s - 20.0, 0.0)]


def _battery_changed(part: Part) -> None:
    """The workshop changes the vehicle's battery. The unit rightly says that its supply was off for minutes."""
    part.tenure("workshop", -HOUR_S, None)
    errands = part.errands(heartbeat_s=60.0)
    errands.drive(600)
    begin_s = errands.now_s
    errands.park(3 * HOUR_S)
    errands.drive(900)
    life = part.live(errands)
    log = part.record(life)
    off = Span(begin_s + float(part.rng.uniform(2_000, 4_000)), begin_s + float(part.rng.uniform(4_400, 5_000)))
    log.columns["external_v"][life.within(off)] = 0.0
    part.allowed("unplug", off.from_s, off.until_s + 60.0)


def _tired_cell(part: Part) -> None:
    """The unit's own cell is old and low; the supply is there all the time."""
    life = _half_day(part)
    log = part.record(life)
    log.columns["battery_v"] -= float(part.rng.uniform(0.5, 0.7))


SCENARIO: Final = Play(
    name="unplug_tamper",
    purpose="plug pulled, antenna off, clock turned back; cranking dips, smart alternators and drift are not",
    id_prefix="tamper",
    expects=frozenset({"unplug", "tamper"}),
    must_not=CRASH_LIKE,
    duration_s=_LASTS_S,
    roles=(
        _unplugged,
        _hard_starts,
        _antenna_off,
        _smart_alternator,
        _clock_turned_back,
        _clock_corrected,
        _battery_changed,
        _tired_cell,
    ),
)
