"""What a scenario is: one module in `simulators/scenarios/` with an object named SCENARIO, found by scan.

A scenario is told how many vehicles, which seed, which city, when it starts and how long it lasts (`Request`), yields
the messages of its vehicles in order of their `due_ms`, and writes to the truth what its vehicles really did and which
incidents must be found. It touches no clock and no network: who runs it paces, spoils and publishes.
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
    """`id_prefix` keeps the vehicles of scenarios apart when several run together."""

    name: str
    purpose: str
    id_prefix: str

    def messages(self, request: Request, tell: Tell) -> Iterator[Message]:
        """Messages by `due_ms`. `tell` takes truth records: see docs/guide/simulation.md for their kinds."""
        ...


def scenarios() -> dict[str, Scenario]:
    """All scenarios by name. Raises TypeError for a module without a SCENARIO."""
    found: dict[str, Scenario] = {}
    for module in plugins.modules_in(_PACKAGE):
        scenario = getattr(module, "SCENARIO", None)
        if not isinstance(scenario, Scenario):
            raise TypeError(f"{module.__name__} has no SCENARIO with name, purpose, id_prefix and messages")
        found[scenario.name] = scenario
    return found
