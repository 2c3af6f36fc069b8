"""Ordinary traffic moved by SUMO: queues, signals and lanes that are negotiated, and no incident."""

from collections.abc import Iterator
from typing import Final

from fleet_core.publications import Message
from simulators import sumo
from simulators.scenario import CRASH_LIKE, HARSH, Request, Tell
from simulators.traffic import Observed


class SumoTraffic:
    """Vehicles of SUMO on the network of the city pack (`--city`), reported by the same units as everywhere."""

    name: Final = "sumo_traffic"
    purpose: Final = "ordinary traffic of SUMO on a city's own network (extra [sumo]), no incident"
    id_prefix: Final = "sumo"
    expects: Final = frozenset[str]()
    must_not: Final = CRASH_LIKE | HARSH
    duration_s: Final = 1800

    def messages(self, request: Request, tell: Tell) -> Iterator[Message]:
        """See Scenario. Raises Refusal without libsumo or without a network."""
        with sumo.running(request.city, request.seed) as libsumo:
            fleet = sumo.SumoFleet(libsumo, request.city, request.vehicles, request.seed)
            yield from Observed(request, tell, fleet).run()


SCENARIO: Final = SumoTraffic()
