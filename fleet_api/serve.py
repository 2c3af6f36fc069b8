"""The API process: uvicorn inside this process, stopped by the event that every process has."""

import ipaddress
import logging
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import uvicorn

from fleet_api import live_wire
from fleet_api.app import create_app
from fleet_core.cli import Refusal
from fleet_core.settings import Settings

log = logging.getLogger("fleet.api")

BACKLOG: Final = 512
# A client sends a viewport: a hundred bytes.
MAX_CLIENT_MESSAGE_BYTES: Final = 4096
PING_SECONDS: Final = 20.0
GRACE_SECONDS: Final = 3


class _Server(uvicorn.Server):
    """uvicorn that stops on our event instead of on signals of its own."""

    def __init__(self, config: uvicorn.Config, stop: threading.Event) -> None:
        super().__init__(config)
        self._stop = stop

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave the signals to fleet_core.lifetime."""
        yield

    async def on_tick(self, counter: int) -> bool:
        """Called ten times a second; true ends the server."""
        return self._stop.is_set() or await super().on_tick(counter)


def run(settings: Settings, stop: threading.Event) -> None:
    """Serve until `stop` is set. Raises Refusal for an address that others can reach, and for a port that is taken."""
    listener = bind(settings)
    host, port = listener.getsockname()[:2]
    log.info("listening on http://%s:%d", f"[{host}]" if ":" in host else host, port)
    with listener:
        serve(settings, stop, listener)


def serve(settings: Settings, stop: threading.Event, listener: socket.socket) -> None:
    """Serve on a bound socket until `stop` is set."""
    # One line a client and request is too much; what matters is logged by ourselves.
    logging.getLogger("uvicorn").setLevel(logging.WARNING)
    config = uvicorn.Config(
        create_app(settings),
        log_config=None,
        access_log=False,
        ws=live_wire.LiveWire,
        ws_max_size=MAX_CLIENT_MESSAGE_BYTES,
        ws_ping_interval=PING_SECONDS,
        ws_ping_timeout=PING_SECONDS,
        # Frames are small, dense and frequent: compressing them costs more than it saves.
        ws_per_message_deflate=False,
        server_header=False,
        proxy_headers=False,
        timeout_graceful_shutdown=GRACE_SECONDS,
        backlog=BACKLOG,
    )
    _Server(config, stop).run(sockets=[listener])


def bind(settings: Settings) -> socket.socket:
    """Bind the configured address. Raises Refusal in one sentence."""
    host, port = settings.http_host, settings.http_port
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    except OSError as error:
        raise Refusal(f"FLEET_HTTP_HOST={host!r} is not an address of this machine: {error.strerror}") from None
    if settings.http_allow_remote == "no" and not ipaddress.ip_address(address[0]).is_loopback:
        raise Refusal(
            f"FLEET_HTTP_HOST={host} can be reached from other machines, over plain http: use 127.0.0.1, or set "
            "FLEET_HTTP_ALLOW_REMOTE=yes where something in front ends TLS"
        )
    listener = socket.socket(family, kind, protocol)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        # Listen now: two processes may bind the same port with SO_REUSEADDR, only one may listen.
        listener.listen(BACKLOG)
    except OSError as error:
        listener.close()
        raise Refusal(f"port {port} on {host} cannot be used: {(error.strerror or str(error)).lower()}") from None
    return listener
