"""Fixtures every test may ask for. What they start is real; what cannot be started here is skipped with its reason."""

import itertools
import os
import random
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from fleet_core.embedded import service
from fleet_core.embedded.nats import EmbeddedNats
from fleet_core.embedded.postgres import EmbeddedPostgres
from tests.services import api, databases, mosquitto, timescale
from tests.services.console import browser, open_page  # noqa: F401  fixtures
from tests.services.mosquitto import Mosquitto
from tests.services.pglite import PGlite
from tests.services.timescale import Timescale

REPOSITORY = Path(__file__).resolve().parents[1]
Broker = EmbeddedNats | Mosquitto
# How long an example takes says nothing here: the machine is shared with brokers and databases.
settings.register_profile("fleetward", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("fleetward")

_OWN_FOLDER = pytest.StashKey[Path]()
# Below the ports that the kernel gives to whoever asks for any.
_PORTS = range(10_000, 32_000)
_MEMORY = Path("/dev/shm")
_MEMORY_BYTES_MIN = 8 << 30


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    """Give each run a temporary folder of its own, in memory where there is much: killed processes are what is tested,
    not the loss of power, so that waiting for a disk proves nothing.

    PostgreSQL runs as another user when we are root, so it must be able to pass through the folders above its own; the
    folder that pytest shares between runs is closed again by whichever run starts next.
    """
    if config.option.basetemp is None:
        config.option.basetemp = tempfile.mkdtemp(prefix="fleetward-tests-", dir=_memory())
        config.stash[_OWN_FOLDER] = Path(config.option.basetemp)


def _memory() -> Path | None:
    """A folder that is in memory, or None: none, not enough, or somebody chose another."""
    if "TMPDIR" in os.environ or not os.access(_MEMORY, os.W_OK) or not _MEMORY.is_mount():
        return None
    return _MEMORY if shutil.disk_usage(_MEMORY).free >= _MEMORY_BYTES_MIN else None


def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    """Remove that folder after a run without failures; otherwise its logs are wanted, but not in memory."""
    folder = session.config.stash.get(_OWN_FOLDER, None)
    if folder is None:
        return
    if exitstatus in (pytest.ExitCode.OK, pytest.ExitCode.NO_TESTS_COLLECTED):
        shutil.rmtree(folder, ignore_errors=True)
    elif folder.parent == _MEMORY:
        kept = tempfile.mkdtemp(prefix="fleetward-tests-kept-")
        folder.symlink_to(shutil.move(folder, kept))


@pytest.fixture(scope="session", autouse=True)
def _no_settings_from_outside() -> None:
    """Settings of the person who runs the tests must not decide them. FLEETWARD_ variables are not settings."""
    for name in [name for name in os.environ if name.startswith("FLEET_")]:
        del os.environ[name]


@pytest.fixture(scope="session", autouse=True)
def _ports_of_our_own() -> Iterator[None]:
    """Ports that no other process of this run is given while a service that has one is stopped for a moment."""
    processes = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
    number = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
    own = _PORTS[number::processes]
    first = random.SystemRandom().randrange(len(own))
    numbers = itertools.cycle([*own[first:], *own[:first]])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(service, "free_port", lambda: next(filter(service.is_port_free, numbers)))
        yield


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


@pytest.fixture
def server(database_url: str) -> Iterator[api.Server]:
    """The API on a database of the test's own."""
    with api.running(api.settings_for(database_url)) as running:
        yield running


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
