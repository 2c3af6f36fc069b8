"""Ordinary driving: nothing in it may raise an incident."""

from collections.abc import Iterator
from typing import Final

from fleet_core.publications import Message
from simulators.scenario import CRASH_LIKE, Request, Tell
from simulators.traffic import Traffic


class Drive:
    """Vehicles drive, stop at signals, park and start again."""

    name: Final = "drive"
    purpose: Final = "ordinary driving in a town, no incident"
    id_prefix: Final = "sim"
    expects: Final = frozenset[str]()
    must_not: Final = CRASH_LIKE
    duration_s: Final = 3600

    def messages(self, request: Request, tell: Tell) -> Iterator[Message]:
        """See Scenario."""
        return Traffic(request, tell).run()


SCENARIO: Final = Drive()
