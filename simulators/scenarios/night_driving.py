"""Night driving: under way between two and five in the morning, when people fall asleep at the wheel."""

from typing import Final

from simulators.errands import Errands
from simulators.play import NIGHT_H, ZONE, Part, Play
from simulators.scenario import CRASH_LIKE

# A whole day and a night, so that the hours are in it whenever it begins.
_LASTS_S: Final = 31 * 3600


def _until(part: Part, hour: float) -> Errands:
    """A script that is parked until the hour (in ZONE) of the first night that lies wholly ahead."""
    part.rented()
    errands = part.errands(every_s=float(part.rng.choice([1.0, 5.0])), heartbeat_s=300.0)
    night_s = part.next_clock_s(NIGHT_H[0] - 1.5, after_s=600.0)
    errands.park(night_s + (hour - NIGHT_H[0] + 1.5) * 3600 - errands.now_s)
    return errands


def _in_the_small_hours(part: Part) -> None:
    errands = _until(part, float(part.rng.uniform(2.3, 3.3)))
    span = errands.drive(float(part.rng.uniform(25, 80)) * 60)
    part.record(part.live(errands))
    part.incident("night_driving", span.from_s, span.until_s, zone=ZONE)


def _home_before(part: Part) -> None:
    """Late, but parked well before two."""
    errands = _until(part, float(part.rng.uniform(0.7, 0.9)))
    errands.drive(float(part.rng.uniform(20, 42)) * 60)
    part.record(part.live(errands))


def _right_through(part: Part) -> None:
    """Sets out before two and drives on."""
    errands = _until(part, float(part.rng.uniform(1.0, 1.4)))
    span = errands.drive(float(part.rng.uniform(100, 150)) * 60)
    part.record(part.live(errands))
    two_s = part.next_clock_s(NIGHT_H[0], after_s=span.from_s)
    part.allowed("night_driving", two_s - 1_200, two_s)
    part.incident("night_driving", two_s, span.until_s, zone=ZONE)


def _early_start(part: Part) -> None:
    """Sets out after five."""
    errands = _until(part, float(part.rng.uniform(5.4, 5.8)))
    errands.drive(float(part.rng.uniform(20, 40)) * 60)
    part.record(part.live(errands))


def _standing(part: Part) -> None:
    """The engine runs at three, for warmth; nobody drives."""
    errands = _until(part, float(part.rng.uniform(2.6, 3.4)))
    errands.stand(float(part.rng.uniform(20, 60)) * 60)
    part.record(part.live(errands))


def _parked_elsewhere(part: Part) -> None:
    """Moved to another parking place at three: a drive, but hardly one to warn of. Either answer is right."""
    errands = _until(part, float(part.rng.uniform(2.6, 3.4)))
    span = errands.drive(float(part.rng.uniform(60, 150)))
    part.record(part.live(errands))
    part.allowed("night_driving", span.from_s - 60, span.until_s + 60)


SCENARIO: Final = Play(
    name="night_driving",
    purpose="under way between 02:00 and 05:00 local time; late evenings, early mornings and idling are not",
    id_prefix="night",
    expects=frozenset({"night_driving"}),
    must_not=CRASH_LIKE | {"long_driving", "theft", "tow"},
    duration_s=_LASTS_S,
    roles=(_in_the_small_hours, _home_before, _right_through, _early_start, _standing, _parked_elsewhere),
)
