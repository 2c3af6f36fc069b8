"""`fleet up` and `fleet status`."""

import json
import logging
import os
import signal
import sys
import threading
import time
import urllib.error
import urllib.request
from dataclasses import dataclass, replace
from pathlib import Path
from types import FrameType
from typing import Final

import click

from fleet_core import cli, db, logs, migrate, processes, settings, storage_layout
from fleet_core.embedded import service, state
from fleet_core.embedded.device_accounts import DeviceAccounts
from fleet_core.embedded.nats import EmbeddedNats
from fleet_core.embedded.output import Terminal
from fleet_core.embedded.postgres import EmbeddedPostgres
from fleet_core.embedded.service import EmbeddedServiceError
from fleet_core.embedded.state import ProcessState, State
from fleet_core.embedded.supervisor import Command, Supervisor
from fleet_core.settings import PREFIX, Settings

_log = logging.getLogger("fleet.up")

_READY_WITHIN_S: Final = 90.0
# By name, because nothing here may import what stands above the kernel.
_DEMO_PACK: Final = "simulators.town:write_demo_pack"
_FIRST_ADMIN: Final = "fleet_api.access.commands:make_first_admin"


@dataclass(frozen=True, slots=True)
class _Plan:
    """What one `fleet up` was asked to do."""

    configured: Settings
    data_dir: Path
    http_port: int
    mqtt_port: int
    vehicles: int
    demo: bool


_PORT = click.IntRange(0, 65_535)


@click.command("up")
@click.option("--data", type=click.Path(path_type=Path), help="Folder of broker store, database and logs.")
@click.option("--http-port", type=_PORT, help="Port of the pages and the API; 0 chooses a free one.")
@click.option("--mqtt-port", type=_PORT, default=1883, show_default=True, help="Port of the broker; 0 chooses.")
@click.option(
    "--vehicles", type=click.IntRange(1, 100_000), default=50, show_default=True, help="Vehicles of the demo traffic."
)
@click.option("--no-demo", is_flag=True, help="Start no demo traffic.")
def up(data: Path | None, http_port: int | None, mqtt_port: int, vehicles: int, no_demo: bool) -> None:
    """Run everything on this machine: broker, database and every process, until Ctrl-C."""
    configured = settings.from_process()
    logs.configure(configured.log_level)
    data_dir = (data.expanduser().absolute() if data else configured.data_path).resolve()
    wanted_http = configured.http_port if http_port is None else http_port
    try:
        lock = state.take(data_dir)
        running = state.read(data_dir) if lock is None else None
    except OSError as error:
        raise cli.Refusal(f"{data_dir} cannot be used as data directory: {error.strerror}") from None
    if lock is None:
        whose = f"process {running.pid}, {running.http_url}" if running else "it is starting or stopping"
        raise cli.Refusal(f"Fleetward already runs on {data_dir} ({whose})")
    with lock:
        plan = _Plan(
            configured=configured,
            data_dir=data_dir,
            http_port=_port(wanted_http, configured.http_host, "--http-port"),
            # The port of a broker elsewhere is none of ours.
            mqtt_port=0 if configured.mqtt_url else _port(mqtt_port, service.LOOPBACK, "--mqtt-port"),
            vehicles=vehicles,
            demo=not no_demo,
        )
        try:
            _run(plan, Terminal())
        except EmbeddedServiceError as error:
            raise cli.Refusal(str(error)) from None
        finally:
            state.forget(data_dir)


@click.command("status")
@click.option("--data", type=click.Path(path_type=Path), help="Folder given to `fleet up`.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object, with the credentials of a local administrator.")
def status(data: Path | None, as_json: bool) -> None:
    """What `fleet up` runs on a data directory."""
    data_dir = (data.expanduser().absolute() if data else settings.from_process().data_path).resolve()
    try:
        running = state.read(data_dir)
    except OSError as error:
        raise cli.Refusal(f"{data_dir} cannot be read: {error.strerror}") from None
    if running is None:
        raise cli.Refusal(f"nothing runs on {data_dir}: start it with `fleet up` or name the folder with --data")
    if as_json:
        click.echo(json.dumps(running.public()))
        return
    click.echo(f"{running.http_url}  (data in {data_dir}, supervisor {running.pid})")
    for name, process in running.processes.items():
        click.echo(f"{name:<12} {process.state:<11} {process.pid or '-'}")


def _port(wanted: int, host: str, option: str) -> int:
    if wanted == 0:
        return service.free_port()
    if not service.is_port_free(wanted, host):
        raise cli.Refusal(f"port {wanted} is taken: choose another with {option} (0 takes any free one)")
    return wanted


def _reachable(host: str) -> str:
    """The host part of a URL for a server that listens on `host`."""
    if host in ("0.0.0.0", "::", ""):
        return service.LOOPBACK
    return f"[{host}]" if ":" in host else host


def _run(plan: _Plan, terminal: Terminal) -> None:
    stop, hurry = _on_signals(terminal)
    known: dict[str, str] = {"database_dsn": "", "mqtt_url": "", "http_url": ""}

    def publish(running: dict[str, ProcessState]) -> None:
        state.write(plan.data_dir, State(pid=os.getpid(), processes=running, **known))

    supervisor = Supervisor(plan.data_dir / "logs", terminal, publish)
    configured = plan.configured
    accounts: DeviceAccounts | None = None
    try:
        # Stopped in the reverse order: our processes, the broker, the database.
        known["database_dsn"] = configured.database_url or _start_database(plan, supervisor, stop)
        broker = None if configured.mqtt_url else _start_broker(plan, supervisor, stop)
        known["mqtt_url"] = broker.url if broker else configured.mqtt_url
        known["http_url"] = f"http://{_reachable(configured.http_host)}:{plan.http_port}"
        _migrate(known["database_dsn"], configured, terminal)
        first: tuple[str, str] | None = cli.load(_FIRST_ADMIN)(known["database_dsn"])
        if broker and configured.mqtt_device_auth == "on":
            accounts = DeviceAccounts(
                known["database_dsn"], broker, configured.partitions, lambda text: terminal.line("broker", text)
            )
            accounts.start()
        environ = _environment(plan, known, terminal)
        for process in processes.PROCESSES:
            if not stop.is_set():
                supervisor.add(process.name, Command(["run", process.name], environ))
        if plan.demo and not stop.is_set():
            arguments = ["simulate", "drive", "--vehicles", str(plan.vehicles), "--seed", "1", "--realtime"]
            if configured.city_pack:
                arguments += ["--city", configured.city_pack]
            supervisor.add("demo", Command(arguments, environ), may_finish=True)
        supervisor.publish()
        if _wait_for_page(known["http_url"], supervisor, stop):
            terminal.say(_first_steps(plan, known["http_url"], first))
        elif not stop.is_set():
            terminal.say(f"The API does not answer yet; its log is {plan.data_dir / 'logs' / 'api.log'}")
            terminal.say(_first_sign_in(first))
        supervisor.run(stop)
    except EmbeddedServiceError:
        # Asked to stop while a service was starting: that is no failure.
        if not stop.is_set():
            raise
    finally:
        terminal.say("stopping")
        if accounts:
            accounts.stop()
        supervisor.stop(hurry)
    terminal.say("stopped")


def _on_signals(terminal: Terminal) -> tuple[threading.Event, threading.Event]:
    """Events for the first and the second SIGINT or SIGTERM: stop, and stop without waiting."""
    stop, hurry = threading.Event(), threading.Event()

    def handle(number: int, _frame: FrameType | None) -> None:
        if stop.is_set() and number == signal.SIGINT:
            hurry.set()
        stop.set()

    signal.signal(signal.SIGTERM, handle)
    signal.signal(signal.SIGINT, handle)
    # Closing the terminal window stops all as Ctrl-C does.
    signal.signal(signal.SIGHUP, handle)
    return stop, hurry


def _start_broker(plan: _Plan, supervisor: Supervisor, stop: threading.Event) -> EmbeddedNats:
    with_accounts = plan.configured.mqtt_device_auth == "on"
    broker = EmbeddedNats(plan.data_dir / "broker", plan.mqtt_port, device_accounts=with_accounts, cancel=stop)
    # A broker that has sessions already goes on with their names: under others they would wait for ever.
    if with_accounts and not (broker.data_dir / "store").exists():
        broker.data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        service.secret(_session_secret(plan))
    supervisor.add("broker", broker)
    return broker


def _session_secret(plan: _Plan) -> Path:
    return plan.data_dir / "broker" / "session-secret"


def _start_database(plan: _Plan, supervisor: Supervisor, stop: threading.Event) -> str:
    # The port stays the same over restarts, so that a tool that read it once goes on working.
    database = EmbeddedPostgres(plan.data_dir / "database", service.free_port(), cancel=stop)
    supervisor.add("database", database)
    return database.url


def _migrate(url: str, configured: Settings, terminal: Terminal) -> None:
    with db.connect(url, "migrate") as connection:
        for name in migrate.migrate(connection):
            terminal.line("migrate", f"applied {name}")
        terminal.line("migrate", f"storage: {storage_layout.arrange(connection, configured)}")


def _environment(plan: _Plan, known: dict[str, str], terminal: Terminal) -> dict[str, str]:
    """Environment of the children: ours, with what was decided here."""
    health_port = plan.configured.ingest_health_port
    if health_port and not service.is_port_free(health_port, plan.configured.http_host):
        taken, health_port = health_port, service.free_port()
        terminal.say(f"port {taken} is taken: ingest answers /health and /metrics on {health_port}")
    decided = replace(
        plan.configured,
        database_url=known["database_dsn"],
        mqtt_url=known["mqtt_url"],
        http_port=plan.http_port,
        ingest_health_port=health_port,
        data_dir=str(plan.data_dir),
        city_pack=plan.configured.city_pack or _demo_pack(plan),
        mqtt_session_secret=_known_session_secret(plan),
    )
    names = (
        "database_url",
        "mqtt_url",
        "mqtt_session_secret",
        "http_port",
        "ingest_health_port",
        "data_dir",
        "city_pack",
    )
    environ = dict(os.environ)
    environ.update({f"{PREFIX}{name.upper()}": str(getattr(decided, name)) for name in names})
    environ["PYTHONUNBUFFERED"] = "1"
    return environ


def _known_session_secret(plan: _Plan) -> str:
    """What is configured, or what the embedded broker's sessions were named with at its first start."""
    path = _session_secret(plan)
    if plan.configured.mqtt_session_secret or plan.configured.mqtt_url or not path.exists():
        return plan.configured.mqtt_session_secret
    return service.secret(path)


def _demo_pack(plan: _Plan) -> str:
    """Folder with the roads the demo traffic drives on, made once; empty without demo traffic."""
    folder = plan.data_dir / "city"
    if not plan.demo:
        return ""
    if not (folder / "meta.json").exists():
        try:
            write = cli.load(_DEMO_PACK)
        except (ImportError, AttributeError):
            return ""  # an installation without the simulators: the map has no roads
        fresh = plan.data_dir / f"city.{os.getpid()}"
        fresh.mkdir()
        write(fresh)
        fresh.rename(folder)
    return str(folder)


def _wait_for_page(http_url: str, supervisor: Supervisor, stop: threading.Event) -> bool:
    deadline = time.monotonic() + _READY_WITHIN_S
    while not stop.is_set() and time.monotonic() < deadline:
        supervisor.look(time.monotonic())
        try:
            with urllib.request.urlopen(f"{http_url}/api/health", timeout=2):
                return True
        except urllib.error.HTTPError:
            pass  # it answers, but is not well yet
        except OSError:
            pass
        stop.wait(0.2)
    return False


def _first_sign_in(first: tuple[str, str] | None) -> str:
    """Said once: the password is kept nowhere."""
    if first is None:
        return "Sign in as before; another user:  fleet user add NAME --role ROLE"
    return f"First sign-in:  {first[0]}  password  {first[1]}  (shown this once; you choose another when you sign in)"


def _first_steps(plan: _Plan, http_url: str, first: tuple[str, str] | None) -> str:
    program = Path(sys.argv[0])
    fleet = str(program) if program.name == "fleet" else "fleet"
    shown = f" --data {plan.data_dir}" if plan.data_dir != plan.configured.data_path else ""
    traffic = f"{plan.vehicles} simulated vehicles are driving." if plan.demo else "No demo traffic: send your own."
    return f"""
  Fleetward is ready:  {http_url}
  {_first_sign_in(first)}
  {traffic}
  What runs, and the addresses for tools:  {fleet} status{shown}
  Logs:  {plan.data_dir / "logs"}
  Stop all:  Ctrl-C
"""
