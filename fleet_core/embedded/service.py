"""What the embedded broker and database share: secrets, ports, logs, waiting."""

import contextlib
import os
import secrets
import socket
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import IO, Final

from fleet_core.embedded.tether import Process

LOOPBACK: Final = "127.0.0.1"
_LOG_KEPT_BYTES: Final = 4 * 1024 * 1024


class EmbeddedServiceError(RuntimeError):
    """An embedded service cannot be started or stopped; the text says why in one sentence."""


def secret(path: Path) -> str:
    """The password kept in `path` (mode 0600), made on first use."""
    if path.exists():
        return path.read_text(encoding="ascii").strip()
    fresh = path.with_name(path.name + ".new")
    with contextlib.suppress(FileNotFoundError):
        fresh.unlink()
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="ascii") as file:
        # URL-safe characters only: the password goes into URLs and configuration files unquoted. The leading letter
        # keeps a broker's configuration parser from reading a number.
        file.write(f"p{secrets.token_hex(16)}")
        file.flush()
        os.fsync(file.fileno())
    fresh.rename(path)
    return path.read_text(encoding="ascii").strip()


def free_port() -> int:
    """A TCP port of the loopback address that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind((LOOPBACK, 0))
        port: int = probe.getsockname()[1]
        return port


def is_port_free(port: int, host: str = LOOPBACK) -> bool:
    """Whether a server could listen on `port` now."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind, protocol) as probe:
            # Without it a port is refused for a minute after a server on it stopped.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
    except OSError:
        return False
    return True


def open_log(path: Path) -> IO[bytes]:
    """Open a service's own log for appending; what is longer than a few megabytes starts anew, with one old copy."""
    if path.exists() and path.stat().st_size > _LOG_KEPT_BYTES:
        path.replace(path.with_name(path.name + ".1"))
    return path.open("ab")


def tail(path: Path, lines: int = 5) -> str:
    """Last lines of a log as one line, for an error message."""
    if not path.exists():
        return ""
    return " | ".join(path.read_text(encoding="utf-8", errors="replace").splitlines()[-lines:])


def wait_until(
    is_ready: Callable[[], bool],
    process: Process,
    within_s: float,
    what: str,
    cancel: threading.Event | None = None,
) -> None:
    """Poll until `is_ready`. Raises EmbeddedServiceError when the process ends, time runs out or `cancel` is set."""
    deadline = time.monotonic() + within_s
    while not is_ready():
        if cancel is not None and cancel.is_set():
            raise EmbeddedServiceError(f"{what} was stopped while starting")
        if process.poll() is not None:
            raise EmbeddedServiceError(f"{what} ended with code {process.returncode} while starting")
        if time.monotonic() > deadline:
            raise EmbeddedServiceError(f"{what} was not ready within {within_s:.0f} s")
        time.sleep(0.03)
