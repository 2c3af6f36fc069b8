"""How grave an impact is, how sure, and why: a candidate becomes a finding.

Levels follow the change of velocity, as emergency calls and data recorders do; where nobody measured it, what happened
next decides.
"""

from typing import Any, Final

import numpy as np

from incidents.detector import Finding, Reason
from incidents.detectors._around import SILENT_S, Around
from incidents.detectors._burst import G_MPS2
from incidents.detectors._hit import TRIGGER_KMH, Hit
from incidents.detectors._impact import Candidate
from incidents.window import S, Window

# Lines of level 2 and 3: trigger and lock of GB 39732-2020. Lateral: a judgement (docs/detection-science.md, B3):
# side impacts hurt at less (Bahouth et al. ask half the risk of a frontal impact).
URGENT_KMH: Final = TRIGGER_KMH
EMERGENCY_KMH: Final = 25.0
EMERGENCY_LATERAL_KMH: Final = 15.0
# A small blow at speed, and then the vehicle stands: a person or an animal weighs little. Judgement.
_AT_SPEED_KMH: Final = 30.0
_STOPS_WITHIN_S: Final = 20.0
# What speed readings are off by around an impact: noise, braking within the second, the receiver's lag. A blow from
# within so much of the front counts as frontal. One that must be sideways needs a vehicle that drove. Judgement.
_SPEED_ERROR_KMH: Final = 5.0
_FRONTAL_DEG: Final = 35.0
_SIDEWAYS_FROM_KMH: Final = 20.0
# Turning that is told of. Judgement.
_TOLD_ROTATION_DPS: Final = 60.0
# Sampling slower than this may miss part of a pulse. See _impact.
_COARSE_HZ: Final = 45.0

# Scores add up (judgement; the order of importance is that of the VZCrash study: size first, then rotation).
_BASE: Final = {"burst": 0.5, "alarm": 0.5, "1hz": 0.45}
_FOR_SIZE: Final = 0.3  # in full from 25 km/h
_FOR_WITNESS: Final = 0.15  # another of burst, alarm, readings
_FOR_AFTERMATH: Final = 0.1  # each of stopped, spun, engine off
_AGAINST_DRIVING_ON: Final = 0.15
_AGAINST_UNCHANGED: Final = 0.2
_AGAINST_COARSE: Final = 0.1


def graded(window: Window, candidate: Candidate) -> Finding:
    """The finding of a candidate."""
    around = candidate.around
    speed_kmh = _change_kmh(candidate)
    lateral = _lateral_kmh(candidate.hit)
    level, reasons = _level(candidate, speed_kmh, lateral)
    if candidate.hit is not None and lateral is None:
        reasons.append(Reason("heading_unknown"))
    score = _score(candidate, speed_kmh)
    if around.silent and level == 2:
        level, score = 3, min(0.99, score + 0.05)
        reasons.append(Reason("silent_after", {"silent_s": round(SILENT_S)}))
    kind = "parked_impact" if around.parked else "crash"
    known = window.known_until_us >= candidate.from_us + round(SILENT_S * S)
    return Finding(
        kind,
        level,
        score,
        candidate.at_us,
        candidate.from_us,
        candidate.until_us,
        _values(candidate, lateral),
        tuple(reasons),
        None if known else candidate.from_us + round((SILENT_S + 1) * S),
    )


def _change_kmh(candidate: Candidate) -> float | None:
    """The change of velocity that the level goes by; None where nobody saw one.

    Where the burst is clipped or coarse, the speed that was lost beyond braking counts as well.
    """
    seen = 0.0 if candidate.jump is None else candidate.jump.beyond_kmh
    if candidate.hit is None:
        # Who lost 40 km/h in a second may have braked by some of it; most of it was the blow.
        return None if candidate.jump is None else max(seen, abs(candidate.jump.lost_kmh))
    pulse = candidate.hit.pulse
    if pulse.clipped:
        return max(_plausible_kmh(candidate), seen)
    return max(pulse.delta_v_kmh, seen)


def _plausible_kmh(candidate: Candidate) -> float:
    """What a clipped pulse plausibly was; from the front no more than the loss of speed, which braking only adds to."""
    assert candidate.hit is not None
    pulse, around = candidate.hit.pulse, candidate.around
    along = _direction_deg(candidate.hit)
    changed = _changed_kmh(around)
    if changed is None or along is None or abs(along) > _FRONTAL_DEG or around.parked:
        return pulse.plausible_kmh
    return max(pulse.delta_v_kmh, min(pulse.plausible_kmh, changed + _SPEED_ERROR_KMH))


def _changed_kmh(around: Around) -> float | None:
    """How much the speed changed, at once or within seconds, as readings show it."""
    before, after = around.speed_before_kmh, around.speed_after_kmh
    if before is None or after is None or around.changed_kmh is None:
        return None
    return max(abs(before - after), around.changed_kmh)


def _is_sideways(candidate: Candidate, change_kmh: float) -> bool:
    """Whether a blow of unknown direction must have been across the way: the speed hardly shows it."""
    around, changed = candidate.around, _changed_kmh(candidate.around)
    if changed is None or (around.speed_before_kmh or 0.0) < _SIDEWAYS_FROM_KMH:
        return False
    along = min(change_kmh, changed + _SPEED_ERROR_KMH)
    return change_kmh**2 - along**2 >= EMERGENCY_LATERAL_KMH**2


def _level(candidate: Candidate, change_kmh: float | None, lateral_kmh: float | None) -> tuple[int, list[Reason]]:
    around, told = candidate.around, _observed(candidate)
    level = 1
    if change_kmh is not None:
        level = 3 if change_kmh >= EMERGENCY_KMH else 2 if change_kmh >= URGENT_KMH else 1
        if lateral_kmh is not None and abs(lateral_kmh) >= EMERGENCY_LATERAL_KMH:
            level = 3
            told.append(Reason("impact_lateral", {"lateral_delta_v_kmh": round(abs(lateral_kmh), 1)}))
        if candidate.hit is not None and lateral_kmh is None and _is_sideways(candidate, change_kmh):
            level = 3
            told.append(Reason("impact_sideways"))
        if candidate.hit is None and candidate.jump is not None and not candidate.jump.confirmed:
            level = 1
            told.append(Reason("speed_unconfirmed"))
        stops = around.stopped_after_s is not None and around.stopped_after_s <= _STOPS_WITHIN_S
        if level == 1 and stops and candidate.hit is not None and (around.speed_before_kmh or 0.0) >= _AT_SPEED_KMH:
            level = 2
            told.append(Reason("struck_and_stopped", {"speed_before_kmh": round(around.speed_before_kmh or 0.0)}))
    elif not around.drives_on:
        # An alarm, and nobody knows how hard: urgent, unless the vehicle went on as if nothing had been.
        level = 2
    if candidate.overturned:
        level = 3
        told.append(Reason("rolled_over"))
    if candidate.airbag:
        level = 3
    return level, told


def _observed(candidate: Candidate) -> list[Reason]:
    """What was seen, before it is weighed."""
    around, jump = candidate.around, candidate.jump
    told: list[Reason] = []
    if candidate.airbag:
        told.append(Reason("airbag_deployed"))
    if any(alarm.kind == "crash" for alarm in candidate.alarms):
        told.append(Reason("device_alarm"))
    if candidate.hit is not None:
        told += _of_burst(candidate.hit)
    if jump is not None:
        told.append(
            Reason(
                "speed_jumped",
                {"from_kmh": round(jump.from_kmh), "to_kmh": round(jump.to_kmh), "within_s": round(jump.step_s, 1)},
            )
        )
        if jump.engine_died:
            told.append(Reason("engine_died"))
    if around.parked:
        told.append(Reason("was_parked"))
    elif around.stopped_after_s is not None:
        told.append(Reason("stopped_after", {"stopped_after_s": round(around.stopped_after_s)}))
    if around.drives_on:
        told.append(Reason("drove_on"))
    rotation = _rotation_dps(candidate)
    if rotation is not None and rotation >= _TOLD_ROTATION_DPS:
        told.append(Reason("spun", {"rotation_dps": round(rotation)}))
    return told


def _of_burst(hit: Hit) -> list[Reason]:
    pulse = hit.pulse
    told = [Reason("impact_delta_v", {"delta_v_kmh": round(pulse.delta_v_kmh, 1), "peak_g": round(pulse.peak_g, 1)})]
    if pulse.clipped:
        values = {
            "delta_v_kmh": round(pulse.delta_v_kmh, 1),
            "plausible_kmh": round(pulse.plausible_kmh, 1),
            "range_g": _range_g(hit) or round(float(np.abs(hit.burst.accel_mps2).max()) / G_MPS2, 1),
        }
        told = [Reason("impact_clipped", values)]
    if hit.burst.rate_hz < _COARSE_HZ:
        told.append(Reason("impact_coarse", {"rate_hz": round(hit.burst.rate_hz, 1)}))
    return told


def _score(candidate: Candidate, change_kmh: float | None) -> float:
    around, hit = candidate.around, candidate.hit
    score = _BASE[candidate.source]
    if change_kmh is not None:
        score += _FOR_SIZE * min(1.0, change_kmh / EMERGENCY_KMH)
    witnesses = (hit is not None) + bool(candidate.alarms) + (candidate.jump is not None)
    score += _FOR_WITNESS * (witnesses - 1 + candidate.airbag + candidate.overturned)
    rotation = _rotation_dps(candidate)
    score += _FOR_AFTERMATH * (
        (around.stopped_after_s is not None and not around.parked)
        + (rotation is not None and rotation >= _TOLD_ROTATION_DPS)
        + (around.ignition_off_s is not None)
    )
    score -= _AGAINST_DRIVING_ON * around.drives_on + _AGAINST_UNCHANGED * around.unchanged
    if hit is not None and (hit.pulse.is_one_sample or not hit.frame.up_known):
        score -= _AGAINST_COARSE
    if hit is None and candidate.jump is not None and not candidate.jump.confirmed:
        score -= _AGAINST_UNCHANGED
    return round(float(np.clip(score, 0.05, 0.99)), 3)


def _values(candidate: Candidate, lateral_kmh: float | None) -> dict[str, Any]:
    hit, around, jump = candidate.hit, candidate.around, candidate.jump
    pulse = None if hit is None else hit.pulse
    delta_v = pulse.delta_v_kmh if pulse is not None else abs(jump.lost_kmh) if jump is not None else None
    direction = None if hit is None else _direction_deg(hit)
    return {
        "source": candidate.source,
        "delta_v_kmh": _rounded(delta_v, 1),
        "delta_v_lower_bound": pulse is not None and pulse.clipped,
        "plausible_delta_v_kmh": None if pulse is None else round(pulse.plausible_kmh, 1),
        "lateral_delta_v_kmh": _rounded(lateral_kmh, 1),
        "peak_g": None if pulse is None else round(pulse.peak_g, 2),
        "time_to_peak_ms": None if pulse is None else round((pulse.peak_us - pulse.t0_us) / 1000),
        "lasted_ms": None if pulse is None else round((pulse.until_us - pulse.t0_us) / 1000),
        "principal_direction_deg": _rounded(direction, 0),
        "speed_before_kmh": _rounded(around.speed_before_kmh, 1),
        "speed_after_kmh": _rounded(around.speed_after_kmh, 1),
        "stopped_after_s": _rounded(around.stopped_after_s, 1),
        "rotation_dps": _rounded(_rotation_dps(candidate), 0),
        "vertical_share": None if pulse is None else _rounded(pulse.vertical_share, 2),
        "clipped": pulse is not None and pulse.clipped,
        "range_g": None if hit is None else _range_g(hit),
        "rate_hz": None if hit is None else round(hit.burst.rate_hz, 1),
        "mounting": None if hit is None else hit.frame.source,
    }


def _lateral_kmh(hit: Hit | None) -> float | None:
    """Share of the change of velocity across the vehicle, left positive; None where the heading is not known."""
    if hit is None or not hit.frame.heading_known:
        return None
    share = float((hit.frame.rotation @ hit.pulse.delta_v_mps)[1] * 3.6)
    size = hit.pulse.delta_v_kmh
    return share if size <= 0 or not hit.pulse.clipped else share * hit.pulse.plausible_kmh / size


def _direction_deg(hit: Hit) -> float | None:
    """Where the blow came from, degrees clockwise from the front; None where the heading is not known."""
    if not hit.frame.heading_known:
        return None
    forward, left, _ = -(hit.frame.rotation @ hit.pulse.delta_v_mps)
    return float(np.degrees(np.arctan2(-left, forward)))


def _rotation_dps(candidate: Candidate) -> float | None:
    hit, seen = candidate.hit, candidate.around.rotation_dps
    if hit is None or hit.burst.gyro_dps is None:
        return seen
    fastest = float(np.linalg.norm(hit.burst.gyro_dps, axis=1).max())
    return fastest if seen is None else max(seen, fastest)


def _range_g(hit: Hit) -> float | None:
    return None if hit.burst.range_mps2 is None else round(hit.burst.range_mps2 / G_MPS2, 1)


def _rounded(value: float | None, digits: int) -> float | None:
    return None if value is None else round(value, digits)
