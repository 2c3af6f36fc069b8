"""The worker's health and metrics over HTTP: `/health` for supervisors, `/metrics` for Prometheus."""

import json
import logging
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from fleet_core.settings import Settings, SettingsError

log = logging.getLogger("fleet.ingest")


class Endpoint:
    """A small HTTP server in a thread of its own."""

    def __init__(self, server: ThreadingHTTPServer | None) -> None:
        self._server = server
        if server is not None:
            threading.Thread(target=server.serve_forever, name="health", daemon=True).start()

    def close(self) -> None:
        """Stop answering."""
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()


def serve(settings: Settings, health: Callable[[], dict[str, object]]) -> Endpoint:
    """Answer on FLEET_INGEST_HEALTH_PORT. Raises SettingsError when the port is taken."""
    if settings.ingest_health_port == 0:
        return Endpoint(None)

    class Handler(BaseHTTPRequestHandler):
        timeout = 10  # a client that sends nothing does not hold a thread for ever

        def do_GET(self) -> None:
            if self.path == "/metrics":
                self._answer(200, CONTENT_TYPE_LATEST, generate_latest())
            elif self.path == "/health":
                state = health()
                self._answer(200 if state["healthy"] else 503, "application/json", json.dumps(state).encode())
            else:
                self._answer(404, "text/plain", b"there are /health and /metrics\n")

        def _answer(self, status: int, content_type: str, body: bytes) -> None:
            self.send_response(status)
            self.send_header("Content-Type", content_type)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002  the base class names it so
            log.debug("health: " + format, *args)

    try:
        server = ThreadingHTTPServer((settings.http_host, settings.ingest_health_port), Handler)
    except OSError as error:
        raise SettingsError(
            f"FLEET_INGEST_HEALTH_PORT={settings.ingest_health_port} on {settings.http_host} cannot be used: "
            f"{error.strerror}"
        ) from None
    server.daemon_threads = True
    return Endpoint(server)
