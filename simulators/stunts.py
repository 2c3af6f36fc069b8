"""A stunt: one scripted vehicle of a play with a motion sensor, from its script to its messages and its truth."""

import math
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from fleet_core import topics
from simulators import sensor as sensors
from simulators.collisions import Impact
from simulators.condition import Build, sense
from simulators.errands import Life
from simulators.manoeuvres import GENTLE_LATERAL_MPS2, STEP_S, STEPS_A_SECOND, Motion, Script
from simulators.play import Part
from simulators.reception import receive
from simulators.recorder import Burst, Recorder
from simulators.scenario import HARSH
from simulators.sensor import Sensor
from simulators.severity import acceptable_levels
from simulators.unit import Event, Log

F64 = NDArray[np.float64]
I64 = NDArray[np.int64]

CLASSES: Final = ("car", "van", "heavy")
CLASS_SHARES: Final = (0.60, 0.25, 0.15)
# A unit stays awake for so long after the key or a blow, then it sleeps and reports now and then.
AWAKE_S: Final = 60.0
HEARTBEAT_S: Final = 60.0
CAN_SHARE: Final = 0.5  # of units read the vehicle's own speed
FLAGS_SHARE: Final = 0.25  # of units raise an alarm of their own
LOSSY_SHARE: Final = 0.1  # of units lose samples of a burst
SENT: Final = ("rpm", "fuel_pct", "coolant_c", "odometer_km", "external_v", "battery_v")
# What people do just before and after a crash is none of its matter.
HARSH_BEFORE_S: Final = 30.0
HARSH_AFTER_S: Final = 60.0


class Stunt:
    """Write `script`, tell what is true of it, then `perform`. Everything is drawn from the part's generator.

    bursts          the unit records impacts
    motion_columns  telemetry carries accelerations and rates
    saturated       a recording reached the sensor's range; known after the performance
    """

    def __init__(
        self,
        part: Part,
        *,
        classes: tuple[str, ...] = CLASSES,
        bursts: bool = True,
        motion_columns: bool = True,
        sensor: Sensor | None = None,
    ) -> None:
        self.part, self.rng = part, part.rng
        shares = np.array([CLASS_SHARES[CLASSES.index(name)] for name in classes])
        part.vehicle_class = str(self.rng.choice(classes, p=shares / shares.sum()))
        part.rented()
        # Whether it is night follows from the hour at which the play is given, not from the play.
        part.allowed("night_driving", 0.0, part.lasts_s)
        x_m, y_m, heading_deg = part.roads.position(part.roads.anywhere(self.rng, greater=True))
        self.script = Script(x_m, y_m, math.radians(90.0 - heading_deg))
        self.recorder = Recorder(
            sensors.draw(self.rng) if sensor is None else sensor,
            bursts=bursts,
            flags_crash=bool(self.rng.random() < FLAGS_SHARE),
            lost_share=0.005 if self.rng.random() < LOSSY_SHARE else 0.0,
        )
        self.saturated = False
        self._motion_columns = motion_columns

    @property
    def sensor(self) -> Sensor:
        """The sensor that was fitted."""
        return self.recorder.sensor

    # -- the script ----------------------------------------------------------------------------------------------------

    def set_out(self, kmh: float = 40.0) -> None:
        """From parked to driving: two or three minutes in a town, gently, ending at `kmh`."""
        script, rng = self.script, self.rng
        script.park(float(rng.uniform(5, 40)))
        script.start_engine(float(rng.uniform(3, 10)))
        for _ in range(int(rng.integers(3, 6))):
            script.accelerate(float(rng.uniform(25, 50)), float(rng.uniform(0.7, 1.1)))
            script.cruise(float(rng.uniform(6, 14)))
            side = float(rng.choice((-1.0, 1.0)))
            script.turn(side * float(rng.uniform(0.6, 1.0)) * GENTLE_LATERAL_MPS2, float(rng.uniform(3, 6)))
            if rng.random() < 0.6:
                script.brake(0.0, float(rng.uniform(0.9, 1.4)))
                script.stand(float(rng.uniform(3, 12)))
            else:
                script.brake(float(rng.uniform(12, 22)), float(rng.uniform(0.9, 1.4)))
        self.go_to(kmh)

    def go_to(self, kmh: float) -> None:
        """Change to a speed gently and keep it for some seconds."""
        self.script.accelerate(kmh, float(self.rng.uniform(0.7, 1.1)))
        self.script.brake(kmh, float(self.rng.uniform(0.9, 1.4)))
        self.script.cruise(float(self.rng.uniform(5, 12)))

    def park_for_long(self) -> None:
        """The vehicle has been standing for hours and the unit sleeps."""
        self.script.park(float(self.rng.uniform(70, 200)))

    def wind_up(self) -> None:
        """Whatever it is doing, it comes to an end: stopped gently, parked, and so on to the end of the play."""
        script = self.script
        script.brake(0.0)
        if script.running:
            script.stand(float(self.rng.uniform(5, 20)))
        script.park(max(STEP_S, self.part.lasts_s - script.time_s + 1.0))

    # -- the truth -----------------------------------------------------------------------------------------------------

    def tell_impact(self, kind: str, impact: Impact, **facts: Any) -> None:
        """What an impact was, and what may be found beside it. To be told after the performance."""
        levels = acceptable_levels(
            impact.delta_v_kmh,
            impact.lateral_kmh,
            # A parked car stands before and after: that it does says nothing of the blow. A bump after which the
            # driver stops to look is urgent by the letter and a matter of attention by sense.
            stops=None if impact.stops and kind != "parked_impact" else False,
            sides_known=self.sensor.aligned,
            saturated=self.saturated,
        )
        self.part.incident(
            kind,
            impact.at_s,
            impact.rest_s,
            level=levels[0] if len(levels) == 1 else levels,
            delta_v_kmh=round(impact.delta_v_kmh, 1),
            lateral_kmh=round(impact.lateral_kmh, 1),
            lateral_share=round(impact.lateral_kmh / impact.delta_v_kmh, 2),
            toward_deg=round(impact.toward_deg, 1),
            peak_g=round(impact.peak_g, 1),
            pulse_ms=round(impact.pulse_s * 1000),
            speed_before_kmh=round(impact.speed_before_kmh, 1),
            stops=impact.stops,
            saturated=self.saturated,
            **self.fitted(),
            **facts,
        )
        self.allow_around(impact.at_s, impact.rest_s)

    def fitted(self) -> dict[str, Any]:
        """Facts of the sensor, for the truth."""
        if not self.recorder.bursts:
            return {"aligned": self.sensor.aligned, "bursts": False}
        return {
            "aligned": self.sensor.aligned, "bursts": True, "rate_hz": self.sensor.rate_hz,
            "range_g": self.sensor.range_g, "accel_gravity": self.sensor.keeps_gravity,
        }  # fmt: skip

    def allow_around(self, from_s: float, until_s: float, kinds: frozenset[str] = HARSH) -> None:
        """Kinds that may be found around something, from shortly before to shortly after."""
        for kind in sorted(kinds):
            self.part.allowed(kind, max(0.0, from_s - HARSH_BEFORE_S), until_s + HARSH_AFTER_S)

    # -- the performance -----------------------------------------------------------------------------------------------

    def perform(self) -> list[Burst]:
        """Let the script happen, with sensors and unit. Returns the recordings."""
        part, rng = self.part, self.rng
        motion = self.script.motion()
        bursts = [burst for burst in self.recorder.recorded(motion, rng) if burst.closed_s < part.lasts_s]
        self.saturated = any(burst.saturated for burst in bursts)
        life = _life(motion, self._sampled_at(motion, bursts))
        columns = receive(life, part.plane, rng)
        valid = columns.pop("fix_valid") > 0.5
        at = _steps_at(motion, life.t_s)
        own = sense(life, Build.drawn(rng, part.vehicle_class), rng, part.midnight_s)
        names = (*SENT, "obd_speed_kmh") if rng.random() < CAN_SHARE else SENT
        columns |= {name: own[name] for name in names}
        if "obd_speed_kmh" in columns:
            columns["throttle_pct"] = np.where(life.engine, motion.throttle_pct[at], np.nan)
        if self._motion_columns:
            columns |= self.recorder.seconds(motion, life.t_s, rng)
        flags = {"ignition": life.ignition, "fix_valid": valid, "brake": motion.brake[at], "door_open": life.door_open}
        always = {"accel_gravity": True} if self._motion_columns and self.sensor.keeps_gravity else {}
        part.log = Log(life, columns, flags, always)
        for at_s, kind in motion.alarms:
            part.alarm(kind, at_s, **_place(life, columns, at_s))
        for burst in bursts:
            if burst.flagged_s is not None:
                part.alarm("crash", burst.flagged_s, **_place(life, columns, burst.flagged_s))
            part.events.append(Event(burst.closed_s, topics.BURST, burst.body, burst.first_s))
        return bursts

    def _sampled_at(self, motion: Motion, bursts: list[Burst]) -> F64:
        """Once a second while the unit is awake, on a beat of its own; now and then while it sleeps."""
        beat_s = int(self.rng.integers(1, STEPS_A_SECOND)) * STEP_S
        times = np.arange(beat_s, min(self.part.lasts_s, len(motion) * STEP_S), 1.0)
        on = motion.ignition[_steps_at(motion, times)]
        newest = np.maximum.accumulate(np.where(on, times, -math.inf))
        awake = times - newest <= AWAKE_S
        for burst in bursts:
            awake |= (times >= burst.trigger_s) & (times <= burst.trigger_s + AWAKE_S)
        return np.asarray(times[awake | (np.arange(len(times)) % round(HEARTBEAT_S) == 0)])


def _steps_at(motion: Motion, times_s: F64) -> I64:
    """The step that ends at each time."""
    return np.clip(np.round(times_s / STEP_S).astype(np.int64) - 1, 0, len(motion) - 1)


def _life(motion: Motion, times_s: F64) -> Life:
    """True motion at the times of samples."""
    at = _steps_at(motion, times_s)
    rolled = np.concatenate(([0.0], np.cumsum(motion.forward_mps) * STEP_S))
    mean = (np.arange(STEPS_A_SECOND)[:, None] + at[None, :] - STEPS_A_SECOND + 1).clip(0)
    accel, lateral, yaw = (motion.felt[mean, axis].mean(axis=0) for axis in (0, 1, 5))
    east, north, speed = motion.east_m[at], motion.north_m[at], motion.speed_mps[at]
    heading = (90.0 - np.degrees(motion.course_rad[at])) % 360.0
    nothing = np.zeros(len(at))
    return Life(
        t_s=times_s,
        x_m=east,
        y_m=north,
        speed_mps=speed,
        heading_deg=heading,
        wheel_mps=motion.forward_mps[at],
        rolled_m=np.diff(rolled[at + 1], prepend=0.0),
        accel_mps2=accel,
        lateral_mps2=lateral,
        yaw_dps=yaw,
        limit_kmh=nothing,
        pitch_deg=nothing,
        roll_deg=nothing,
        ignition=motion.ignition[at],
        engine=motion.running[at],
        cranking=nothing > 0,
        door_open=nothing > 0,
        seen_x_m=east.copy(),
        seen_y_m=north.copy(),
        seen_speed_mps=speed.copy(),
        seen_heading_deg=heading.copy(),
    )


def _place(life: Life, columns: dict[str, F64], at_s: float) -> dict[str, float]:
    """The newest fix before an instant, as an alarm carries it."""
    row = max(0, int(np.searchsorted(life.t_s, at_s)) - 1)
    return {
        "lat_deg": round(float(columns["lat_deg"][row]), 7),
        "lon_deg": round(float(columns["lon_deg"][row]), 7),
        "speed_kmh": round(float(columns["speed_kmh"][row]), 2),
    }
