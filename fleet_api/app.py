"""The application: routes, live feed, pages."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

from fastapi import FastAPI

from fleet_api import base_maps, guard, problems
from fleet_api.access import admission
from fleet_api.live import LiveHub, install_live
from fleet_api.pages import install_pages
from fleet_api.pool import Pool
from fleet_api.routes import (
    alarms,
    audit_log,
    basemap,
    detections,
    devices,
    geofences,
    health,
    incident_actions,
    incidents,
    reports,
    response,
    session,
    tokens,
    users,
    vehicles,
)
from fleet_core.settings import Settings
from incidents.response import policy_file
from incidents.response.rounds import Responder

_DESCRIPTION: Final = """
Vehicles, devices, tracks, live positions, detections, incidents and the response to them. Names carry units (`_kmh`,
`_deg`, `_m`); positions are WGS-84; times are RFC 3339 in UTC with Z. Errors are RFC 9457 problem documents with one
sentence and the field it is about. Live positions and incidents come through the WebSocket `/api/live`, which OpenAPI
cannot describe: see docs/live-protocol.md.
"""

_ROUTES: Final = (
    health,
    vehicles,
    devices,
    alarms,
    basemap,
    incidents,
    incident_actions,
    detections,
    reports,
    geofences,
    response,
    session,
    users,
    tokens,
    audit_log,
)


def create_app(settings: Settings) -> FastAPI:
    """The application on `settings.database_url`. Needs no database to be made, only to answer.

    Raises SettingsError when the database URL is missing, or the response policy or the file of base maps cannot be
    used; UndeclaredError when a route does not say who may use it.
    """
    settings.require("database_url")
    hub = LiveHub(settings.database_url)
    policy = policy_file.load(settings.response_policy)
    pool = Pool(settings.database_url)

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        async with hub.running():
            yield
        pool.close()

    app = FastAPI(
        title="Fleetward",
        version="1",
        description=_DESCRIPTION,
        lifespan=lifespan,
        # The built-in documentation pages load scripts from elsewhere.
        docs_url=None,
        redoc_url=None,
        openapi_url="/api/openapi.json",
        responses=problems.documented(422, 503),
    )
    app.state.settings = settings
    app.state.pool = pool
    app.state.live = hub
    app.state.base_maps = base_maps.load(settings.base_maps)
    app.state.policy = policy
    app.state.responder = Responder(policy)
    problems.install(app)
    admission.install(app)
    for module in _ROUTES:
        app.include_router(module.router)
    install_live(app)
    install_pages(app)
    undeclared = admission.undeclared([module.router for module in _ROUTES], app.routes)
    if undeclared:
        raise admission.UndeclaredError("; ".join(undeclared))
    origins = {one.origin for one in app.state.base_maps}
    loopback_only = settings.http_allow_remote == "no"
    app.add_middleware(guard.Guard, loopback_only=loopback_only, picture_origins=origins)
    return app
