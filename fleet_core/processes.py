"""The table of processes. `fleet up` starts each row as a child, docker-compose.yml has a service a row."""

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Process:
    """One long-running process. `entry` is `module:function`, called with the settings and a stop event."""

    name: str
    entry: str
    purpose: str


PROCESSES: Final[tuple[Process, ...]] = (
    Process("ingest", "ingest.worker:run", "MQTT in, one transaction, acknowledge"),
    Process("incidents", "incidents.worker:run", "deadlines, sweeps and notifications of incidents"),
    Process("maintenance", "maintenance.worker:run", "due work from usage"),
    Process("api", "fleet_api.serve:run", "HTTP interface, live positions and pages"),
)

BY_NAME: Final[dict[str, Process]] = {process.name: process for process in PROCESSES}
