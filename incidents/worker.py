"""The incidents worker owns time: deadlines, sweeps, retention. Deadlines and sweeps come with detection."""

import logging
import threading
from typing import Final

import psycopg

from fleet_core import clock, db, retention
from fleet_core.settings import Settings

log = logging.getLogger("fleet.incidents")

TICK_SECONDS: Final = 600.0


def run(settings: Settings, stop: threading.Event) -> None:
    """Remove what is older than the retention allows, every tick, until `stop` is set."""
    settings.require("database_url")
    while True:
        try:
            with db.connect(settings.database_url, "incidents") as connection:
                removed = retention.sweep(connection, settings.retention_days, clock.now())
                connection.commit()
            if removed.anything:
                log.info("retention removed %s", removed)
        except psycopg.OperationalError as error:
            log.warning("the database cannot be reached, next try in %.0f s: %s", TICK_SECONDS, error)
        if stop.wait(TICK_SECONDS):
            return
