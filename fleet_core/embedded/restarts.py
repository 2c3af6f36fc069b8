"""When a process that died is started again: pure decision, the time comes in as an argument."""

from dataclasses import dataclass
from typing import Final

FIRST_DELAY_S: Final = 0.5
LONGEST_DELAY_S: Final = 30.0
# A process that ran this long was well: its next death counts as the first.
WELL_AFTER_S: Final = 60.0


@dataclass(slots=True)
class Restarts:
    """Exponential back-off between the deaths of one process."""

    deaths: int = 0
    started_at_s: float = 0.0

    def started(self, now_s: float) -> None:
        """Note that the process was started at `now_s` of a monotonic clock."""
        self.started_at_s = now_s

    def died(self, now_s: float) -> float:
        """Note a death. Returns the instant, on the same clock, to start again."""
        if now_s - self.started_at_s >= WELL_AFTER_S:
            self.deaths = 0
        delay_s = min(LONGEST_DELAY_S, FIRST_DELAY_S * 2.0 ** min(self.deaths, 16))
        self.deaths += 1
        return now_s + delay_s
