"""A private broker and database for one measurement, at their default durability, on this machine's loopback."""

import contextlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from benchmarks.mosquitto import BenchMosquitto
from fleet_core import db, migrate, storage_layout
from fleet_core.embedded.nats import EmbeddedNats
from fleet_core.embedded.postgres import EmbeddedPostgres
from fleet_core.settings import Settings


@dataclass(frozen=True, slots=True)
class Services:
    """URLs of a running broker and a migrated database."""

    database_url: str
    mqtt_url: str

    def environment(self, **settings: str) -> dict[str, str]:
        """Environment of a child process that uses them; `settings` are FLEET_ names in lower case without prefix."""
        own = {"database_url": self.database_url, "mqtt_url": self.mqtt_url, "log_level": "warning", **settings}
        kept = {name: value for name, value in os.environ.items() if not name.startswith("FLEET_")}
        return kept | {f"FLEET_{name.upper()}": value for name, value in own.items()}


@contextlib.contextmanager
def running(broker_name: str = "nats") -> Iterator[Services]:
    """Start both, migrate, and remove everything afterwards. `broker_name`: `nats` or `mosquitto`."""
    # Not /tmp: it may be memory, and the cost of real commits is part of what is measured.
    folder = Path(tempfile.mkdtemp(prefix="fleet-bench-", dir="/var/tmp" if Path("/var/tmp").is_dir() else None))
    folder.chmod(0o755)
    database = EmbeddedPostgres(folder / "postgres")
    broker = EmbeddedNats(folder / "nats") if broker_name == "nats" else BenchMosquitto(folder / "mosquitto")
    try:
        database.start()
        broker.start()
        with db.connect(database.url, "bench") as connection:
            migrate.migrate(connection)
            storage_layout.arrange(connection, Settings())
        yield Services(database.url, broker.url)
    finally:
        broker.stop()
        database.stop()
        shutil.rmtree(folder, ignore_errors=True)
