"""What a scenario is: one module in `simulators/scenarios/` with an object named SCENARIO, found by scan.

A scenario is told how many vehicles, which seed, which city, when it starts and how long it lasts (`Request`), yields
the messages of its vehicles in order of their `due_ms`, and writes to the truth what its vehicles really did and which
incidents must be found. It touches no clock and no network: who runs it paces, spoils and publishes.

Truth is written independently of whoever looks for it: a scenario states what happened to the vehicle (kind, instant on
the true clock, level by the rules of the design), never what some rule is thought to answer.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Final, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from fleet_core import plugins
from fleet_core.publications import Encode, Message
from simulators.citypack import CityPack

Tell = Callable[[dict[str, Any]], None]


def untold(_: dict[str, Any]) -> None:
    """A `Tell` for when nobody wants the truth; traffic then spares itself the trouble of writing it down."""


_PACKAGE: Final = "simulators.scenarios"

# Kinds of incident by name, as truth states them and `must_not` forbids them.
CRASH_LIKE: Final = frozenset({"crash", "rollover", "parked_impact", "airbag", "sos"})
HARSH: Final = frozenset({"harsh_braking", "harsh_acceleration", "harsh_cornering"})
EVERY_KIND: Final = (
    CRASH_LIKE
    | HARSH
    | {
        "speeding", "long_driving", "night_driving", "tow", "theft", "unplug", "tamper", "jamming", "spoofing",
        "implausible_position", "offline_while_moving", "geofence_entry", "geofence_exit", "geofence_dwell",
        "low_battery", "charging_fault", "overheating", "tyre_leak", "tyre_blowout", "fuel_theft", "trouble_code",
        "odometer_rollback", "feed_late", "feed_frozen", "feed_jumping", "loose_mounting",
    }
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Request:
    """What is asked of a scenario.

    `duration_s` None means until stopped. `id_prefix` begins every vehicle id. `clock_offset_ms` is how far each
    vehicle's clock is ahead. `messages`, `samples_a_message` and `rate` (messages a second) bind scenarios that count
    messages (load). `stopped` turns true when the user wants an end: finish as a duration that has passed would.
    """

    vehicles: int
    seed: int
    city: CityPack
    start_ms: int
    duration_s: int | None
    encode: Encode
    partitions: int
    id_prefix: str
    clock_offset_ms: NDArray[np.int64]
    messages: int | None = None
    samples_a_message: int = 1
    rate: float | None = None
    stopped: Callable[[], bool] = lambda: False

    def vehicle_ids(self) -> list[str]:
        """Ids of the vehicles, the same for the same prefix and number."""
        return [f"{self.id_prefix}-{number:05d}" for number in range(1, self.vehicles + 1)]


@runtime_checkable
class Scenario(Protocol):
    """`id_prefix` keeps the vehicles of scenarios apart when several run together.

    expects     kinds of incident that its truth may hold
    must_not    kinds that must never be found in it, on any vehicle at any time
    duration_s  its natural length, simulated seconds: what is needed to see all of its story
    """

    name: str
    purpose: str
    id_prefix: str
    expects: frozenset[str]
    must_not: frozenset[str]
    duration_s: int

    def messages(self, request: Request, tell: Tell) -> Iterator[Message]:
        """Messages by `due_ms`. `tell` takes truth records: see docs/guide/simulation.md for their kinds."""
        ...


def scenarios() -> dict[str, Scenario]:
    """All scenarios by name. Raises TypeError for a module without a SCENARIO."""
    found: dict[str, Scenario] = {}
    for module in plugins.modules_in(_PACKAGE):
        scenario = getattr(module, "SCENARIO", None)
        if not isinstance(scenario, Scenario):
            raise TypeError(f"{module.__name__} has no SCENARIO with the attributes of {__name__}.Scenario")
        found[scenario.name] = scenario
    return found
