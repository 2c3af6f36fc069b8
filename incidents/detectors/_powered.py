"""Whether a vehicle moves by its own engine, and what else shows that it moves. Pure maths."""

from typing import Final

import numpy as np

from incidents.window import Bools, Floats, Ints, Window

# The slowest idle is about 550 /min, a starter turns an engine at 150 to 250 /min.
RUNNING_RPM: Final = 400.0
# Wheels that turn by the vehicle's own sensors: above what rounding and a rolling hub show. Judgement.
WHEELS_KMH: Final = 5.0
# A generator charges a 12 V system above this, a 24 V one above twice that (section B9: 13.4 to 14.2 V when running,
# up to 13.07 V at rest).
CHARGING_V: Final = 13.2
_TWO_BATTERIES_V: Final = 17.0

# Spread of horizontal acceleration and of turning, over some seconds, that an idling engine does not make. Judgement;
# recorded drives show 0.5 m/s2 and more.
_DRIVE_MPS2: Final = 0.35
_DRIVE_DPS: Final = 2.5
_LEAST_SAMPLES: Final = 5

# Columns that these functions look at.
ENGINE_COLUMNS: Final = frozenset({"ignition", "rpm", "obd_speed_kmh", "external_v"})
MOTION_COLUMNS: Final = frozenset({"accel_x_mps2", "accel_y_mps2", "gyro_z_dps"})


def engine_on(window: Window) -> Bools:
    """Readings with the engine or the drive on: by the ignition where it is told, else by its turning."""
    ignition = window.flag("ignition")
    turns = np.nan_to_num(window.number("rpm")) >= RUNNING_RPM
    wheels = np.nan_to_num(window.number("obd_speed_kmh")) >= WHEELS_KMH
    on: Bools = np.where(ignition >= 0, ignition == 1, turns | wheels)
    return on


def engine_shows(window: Window) -> Bools:
    """Readings in which something else than the ignition shows that the engine runs or drives the wheels."""
    with np.errstate(invalid="ignore"):
        turns = window.number("rpm") >= RUNNING_RPM
        wheels = window.number("obd_speed_kmh") >= WHEELS_KMH
        volts = window.number("external_v")
        charges = np.where(volts > _TWO_BATTERIES_V, volts / 2.0, volts) >= CHARGING_V
    shows: Bools = turns | wheels | charges
    return shows


def shakes(window: Window, rows: Ints) -> bool:
    """Whether accelerations or turning during some readings are those of a drive.

    Against their middle, so that a device that sits askew or reports gravity shows no drive while it stands.
    """
    moved = [_spread(window.number(name)[rows]) for name in ("accel_x_mps2", "accel_y_mps2")]
    return bool(np.hypot(moved[0], moved[1]) >= _DRIVE_MPS2 or _spread(window.number("gyro_z_dps")[rows]) >= _DRIVE_DPS)


def _spread(values: Floats) -> float:
    values = values[np.isfinite(values)]
    return float(values.std()) if len(values) >= _LEAST_SAMPLES else 0.0
