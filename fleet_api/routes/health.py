"""/api/health: whether the API can do its work, and how far behind the newest data is."""

from typing import Literal

import psycopg
from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, Field

from fleet_api import queries
from fleet_api.access.admission import PUBLIC
from fleet_api.live import LiveHub
from fleet_api.pool import BusyError, Pool
from fleet_api.times import Utc
from fleet_core import clock, migrate
from fleet_core.db import DatabaseUnusableError

router = APIRouter(prefix="/api/health", tags=["health"])


class DatabaseHealth(BaseModel):
    """The store."""

    reachable: bool
    server_version: str | None = None
    migration: int | None = Field(default=None, description="Newest migration applied.")
    migration_expected: int = Field(description="Newest migration this release knows.")


class IngestHealth(BaseModel):
    """What came in last. A quiet fleet is not a fault, so the lag alone never makes the API unhealthy."""

    newest_received_at: Utc | None = None
    lag_s: float | None = Field(default=None, description="Seconds since then.")


class LiveHealth(BaseModel):
    """The live feed."""

    state: Literal["starting", "live", "lost"]
    vehicles: int = Field(description="Vehicles with a position.")
    clients: int
    revision: int
    slow_clients_cut: int = Field(description="Connections ended because the client did not read.")


class HealthOut(BaseModel):
    """Health of this process and what it depends on."""

    status: Literal["ok", "unavailable"]
    reasons: list[str] = Field(description="Why it is not ok, one sentence each.")
    time: Utc
    database: DatabaseHealth
    ingest: IngestHealth
    live: LiveHealth


@router.get(
    "",
    summary="Health",
    dependencies=[PUBLIC],
    responses={503: {"model": HealthOut, "description": "Not able to work; see reasons"}},
)
def health(request: Request, response: Response) -> HealthOut:
    """200 when all is well, 503 with the reasons when not."""
    pool: Pool = request.app.state.pool
    hub: LiveHub = request.app.state.live
    now = clock.now()
    reasons: list[str] = []
    database = DatabaseHealth(reachable=False, migration_expected=len(migrate.available()))
    ingest = IngestHealth()
    try:
        with pool.transaction() as connection:
            store = queries.store_health(connection)
        database.reachable = True
        database.server_version = store.server_version
        database.migration = store.migration
        ingest.newest_received_at = store.newest_received_at
        if store.newest_received_at is not None:
            ingest.lag_s = max(0.0, (now - store.newest_received_at).total_seconds())
        if store.migration != database.migration_expected:
            reasons.append(
                f"The database is at migration {store.migration}, this release needs {database.migration_expected}: "
                "run fleet migrate."
            )
    except psycopg.errors.UndefinedTable:
        database.reachable = True
        reasons.append("The database has no schema yet: run fleet migrate.")
    except psycopg.OperationalError:
        reasons.append("The database cannot be reached.")
    except (BusyError, DatabaseUnusableError) as error:
        reasons.append(f"The database cannot be used: {error}.")
    if hub.state != "live":
        reasons.append(
            "The live feed is still starting." if hub.state == "starting" else "The live feed lost the database."
        )
    if reasons:
        response.status_code = 503
    return HealthOut(
        status="unavailable" if reasons else "ok",
        reasons=reasons,
        time=now,
        database=database,
        ingest=ingest,
        live=LiveHealth(
            state=hub.state,
            vehicles=hub.vehicle_count,
            clients=hub.client_count,
            revision=hub.revision,
            slow_clients_cut=hub.slow_clients_cut,
        ),
    )
