"""Fixtures every test may ask for. What they start is real; what cannot be started here is skipped with its reason."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from fleet_core.embedded.nats import EmbeddedNats
from fleet_core.embedded.postgres import EmbeddedPostgres
from tests.services import databases, mosquitto, timescale
from tests.services.mosquitto import Mosquitto
from tests.services.pglite import PGlite
from tests.services.timescale import Timescale

REPOSITORY = Path(__file__).resolve().parents[1]
Broker = EmbeddedNats | Mosquitto
# How long an example takes says nothing here: the machine is shared with brokers and databases.
settings.register_profile("fleetward", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("fleetward")

_OWN_FOLDER = pytest.StashKey[Path]()


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    """Give each run a temporary folder of its own.

    PostgreSQL runs as another user when we are root, so it must be able to pass through the folders above its own; the
    folder that pytest shares between runs is closed again by whichever run starts next.
    """
    if config.option.basetemp is None:
        config.option.basetemp = tempfile.mkdtemp(prefix="fleetward-tests-")
        config.stash[_OWN_FOLDER] = Path(config.option.basetemp)


def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    """Remove that folder after a run without failures; otherwise its logs are wanted."""
    folder = session.config.stash.get(_OWN_FOLDER, None)
    if folder is not None and exitstatus in (pytest.ExitCode.OK, pytest.ExitCode.NO_TESTS_COLLECTED):
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session", autouse=True)
def _no_settings_from_outside() -> None:
    """Settings of the person who runs the tests must not decide them. FLEETWARD_ variables are not settings."""
    for name in [name for name in os.environ if name.startswith("FLEET_")]:
        del os.environ[name]


@pytest.fixture(scope="session")
def postgres_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedPostgres]:
    """One embedded PostgreSQL for the whole run. A test that stops a server starts one of its own."""
    server = EmbeddedPostgres(tmp_path_factory.mktemp("postgres"))
    server.start()
    yield server
    server.stop("immediate")


@pytest.fixture(scope="session")
def migrated_server(postgres_server: EmbeddedPostgres) -> EmbeddedPostgres:
    """The same with the migrated template in it."""
    databases.make_template(postgres_server)
    return postgres_server


@pytest.fixture
def database_url(migrated_server: EmbeddedPostgres) -> Iterator[str]:
    """A migrated database of this test's own."""
    with databases.fresh_database(migrated_server) as url:
        yield url


@pytest.fixture(scope="session")
def timescale_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Timescale]:
    """A real TimescaleDB with the Apache licence, and the migrated template in it."""
    reason = timescale.why_not()
    if reason:
        pytest.skip(reason)
    server = Timescale(tmp_path_factory.mktemp("timescale") / "server.log")
    try:
        server.start()
        databases.make_template(server)
        yield server
    finally:
        server.remove()


@pytest.fixture
def timescale_database_url(timescale_server: Timescale) -> Iterator[str]:
    """A migrated database of this test's own on TimescaleDB."""
    with databases.fresh_database(timescale_server) as url:
        yield url


@pytest.fixture
def community_database_url(tmp_path: Path) -> Iterator[str]:
    """An empty database with TimescaleDB's community licence: SQL alone, no COPY, one connection at a time."""
    server = PGlite(tmp_path / "pglite.log")
    server.start()
    yield server.url
    server.kill()


@pytest.fixture
def nats(tmp_path: Path) -> Iterator[EmbeddedNats]:
    """A broker of this test's own, as `fleet up` starts it."""
    server = EmbeddedNats(tmp_path / "nats")
    server.start()
    yield server
    server.kill()


@pytest.fixture
def mosquitto_broker(tmp_path: Path) -> Iterator[Mosquitto]:
    """Mosquitto with the shipped configuration."""
    if mosquitto.program() is None:
        pytest.skip("mosquitto is not installed (make test installs it when run as root)")
    server = Mosquitto(tmp_path / "mosquitto")
    server.start()
    yield server
    server.kill()


@pytest.fixture(params=["nats", "mosquitto"])
def broker(request: pytest.FixtureRequest) -> Broker:
    """Each broker in turn: the test runs once on either."""
    name = "nats" if request.param == "nats" else "mosquitto_broker"
    server: Broker = request.getfixturevalue(name)
    return server


@pytest.fixture(scope="session")
def development_recordings() -> Path:
    """Folder of recorded drives and messages for development; FLEETWARD_DEV_DATA or ../shared/data."""
    folder = Path(os.environ.get("FLEETWARD_DEV_DATA", REPOSITORY.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"no development recordings at {folder}")
    return folder
