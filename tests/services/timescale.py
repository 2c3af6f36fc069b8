"""A real TimescaleDB (Apache licence) as Debian trixie ships it, in a folder of its own, started by root in a chroot.

Nothing is installed on the machine: `debootstrap` unpacks the packages into the cache once.
"""

import os
import shutil
import signal
import subprocess
import tempfile
from pathlib import Path

import psycopg

from fleet_core.embedded import service, tether
from tests.services import folders

PACKAGES = "postgresql-17,postgresql-17-timescaledb"
PROGRAMS = "/usr/lib/postgresql/17/bin"
ROLE = "fleet"
_PATH = os.environ.get("PATH", "") + ":/usr/sbin:/sbin"

SETTINGS = {
    "listen_addresses": service.LOOPBACK,
    "unix_socket_directories": "",
    "shared_preload_libraries": "timescaledb",
    # Its workers hold connections to every database, and a database somebody is connected to cannot be cloned.
    "timescaledb.max_background_workers": "0",
    "timescaledb.telemetry_level": "off",
    # There is no /dev/shm in the folder.
    "dynamic_shared_memory_type": "mmap",
    "max_wal_size": "2GB",
    "jit": "off",
}


def why_not() -> str | None:
    """Why it cannot run here, or None."""
    if os.geteuid() != 0:
        return "TimescaleDB from Debian packages needs root for debootstrap and chroot"
    if shutil.which("debootstrap", path=_PATH) is None:
        return "debootstrap is not installed (make test installs it when run as root)"
    return None


class Timescale:
    """One server; its data is in the folder's /tmp and goes away with `remove`."""

    def __init__(self, log: Path) -> None:
        self._log = log
        self._root = folders.kept("debian-trixie-timescale", _unpack)
        self._data = Path(tempfile.mkdtemp(prefix="cluster-", dir=self._root / "tmp"))
        self.port = service.free_port()
        self._process: tether.Process | None = None

    def url_of(self, database: str) -> str:
        return f"postgresql://{ROLE}:{ROLE}@{service.LOOPBACK}:{self.port}/{database}"

    def start(self) -> None:
        inside = "/tmp/" + self._data.name
        if not (self._data / "PG_VERSION").exists():
            (self._data.with_suffix(".pw")).write_text(ROLE, encoding="ascii")
            self._in_chroot("chown", "postgres", inside, inside + ".pw")
            arguments = [f"--username={ROLE}", f"--pwfile={inside}.pw", "--auth=scram-sha-256", "--encoding=UTF8"]
            self._in_chroot(*_as_postgres(f"{PROGRAMS}/initdb", "-D", inside, "--locale=C", *arguments))
        options = [f"-c{name}={value}" for name, value in SETTINGS.items()]
        command = _as_postgres(f"{PROGRAMS}/postgres", "-D", inside, "-p", str(self.port), *options)
        with service.open_log(self._log) as log:
            self._process = tether.spawn(["chroot", str(self._root), *command], environ={"PATH": _PATH}, output=log)
        service.wait_until(self._answers, self._process, 60.0, "TimescaleDB")

    def remove(self) -> None:
        if self._process is not None:
            self._process.send_signal(signal.SIGQUIT)
            self._process.wait(30)
        shutil.rmtree(self._data, ignore_errors=True)
        self._data.with_suffix(".pw").unlink(missing_ok=True)

    def _in_chroot(self, *arguments: str) -> None:
        done = subprocess.run(
            ["chroot", str(self._root), *arguments], capture_output=True, text=True, check=False, env={"PATH": _PATH}
        )
        assert done.returncode == 0, done.stderr

    def _answers(self) -> bool:
        try:
            psycopg.connect(self.url_of("postgres"), connect_timeout=5).close()
        except psycopg.OperationalError:
            return False
        return True


def _as_postgres(*arguments: str) -> list[str]:
    # setpriv sets the death signal after the change of user, which would make the kernel forget ours.
    drop = ["--reuid=postgres", "--regid=postgres", "--clear-groups", "--pdeathsig=SIGQUIT"]
    return ["/usr/bin/setpriv", *drop, "--", *arguments]


def _unpack(folder: Path) -> None:
    done = subprocess.run(
        ["debootstrap", "--variant=minbase", f"--include={PACKAGES}", "trixie", str(folder)],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PATH": _PATH, "DEBIAN_FRONTEND": "noninteractive"},
    )
    assert done.returncode == 0, f"debootstrap failed: {done.stdout[-2000:]} {done.stderr[-500:]}"
