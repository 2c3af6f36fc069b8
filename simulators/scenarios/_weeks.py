"""A vehicle's working weeks: to work in the morning, home in the evening, for scenarios that take days or a month."""

from simulators.errands import Errands
from simulators.play import Part

MORNING_H = (6.8, 8.6)
EVENING_H = (16.8, 18.8)


def slow_script(part: Part, vehicle_class: str = "car") -> Errands:
    """A script for weeks: a sample every 10 s under way, one every 5 min parked, an hour of them in one message."""
    part.fate.parked_batch = 12
    return part.errands(vehicle_class=vehicle_class, every_s=10.0, heartbeat_s=300.0)


def commute(
    part: Part, errands: Errands, until_s: float, *, minutes: tuple[float, float] = (18.0, 32.0), crank_s: int = 1
) -> None:
    """Twice a day between home and work, until an instant."""
    while True:
        for hours in (MORNING_H, EVENING_H):
            leaves_s = part.next_clock_s(float(part.rng.uniform(*hours)), after_s=errands.now_s + 60.0)
            if leaves_s + 60.0 * minutes[1] > until_s:
                return
            errands.park(leaves_s - errands.now_s)
            errands.drive(60.0 * float(part.rng.uniform(*minutes)), crank_s=crank_s)
