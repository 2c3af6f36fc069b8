"""A receiver of web hooks that can be maltreated: slow, answering 500, hanging up, dripping, away."""

import http.server
import socket
import threading
import time
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Received:
    """One request. `taken`: it was answered with 200."""

    key: str
    signature: str
    body: bytes
    taken: bool


@dataclass
class Sink:
    """`mood` decides the next answers: ok, error, hang_up, swallow (takes it, then hangs up), slow, late (takes
    it after `slow_s`), drip, redirect."""

    mood: str = "ok"
    slow_s: float = 30.0
    port: int = 0
    received: list[Received] = field(default_factory=list)
    at_once: int = 0
    most_at_once: int = 0

    def __post_init__(self) -> None:
        self._lock = threading.Lock()
        self._end = threading.Event()
        self._server: http.server.ThreadingHTTPServer | None = None

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self.port}/hook?team=night"

    @property
    def taken(self) -> list[Received]:
        """What it has confirmed."""
        return [item for item in self.received if item.taken]

    def start(self) -> "Sink":
        """Listen; the port stays the same after the first time."""
        sink = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                sink._answer(self)

            def log_message(self, *_: Any) -> None:
                pass

        class Server(http.server.ThreadingHTTPServer):
            allow_reuse_address = True

            def handle_error(self, *_: Any) -> None:
                pass  # a client that gave up

        self._end.clear()
        self._server = Server(("127.0.0.1", self.port), Handler)
        self.port = self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        return self

    def stop(self) -> None:
        """Be away."""
        self._end.set()
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._server = None

    def _answer(self, request: http.server.BaseHTTPRequestHandler) -> None:
        mood = self.mood
        with self._lock:
            self.at_once += 1
            self.most_at_once = max(self.most_at_once, self.at_once)
        try:
            body = request.rfile.read(int(request.headers["Content-Length"]))
            taken = mood in ("ok", "swallow", "late")
            with self._lock:
                self.received.append(
                    Received(
                        request.headers["Idempotency-Key"], request.headers["Fleetward-Signature"], body, taken=taken
                    )
                )
            self._respond(request, mood)
        finally:
            with self._lock:
                self.at_once -= 1

    def _respond(self, request: http.server.BaseHTTPRequestHandler, mood: str) -> None:
        if mood in ("hang_up", "swallow"):
            request.connection.shutdown(socket.SHUT_RDWR)
            request.close_connection = True
        elif mood == "slow":
            self._end.wait(self.slow_s)
        elif mood == "drip":
            begin = time.monotonic()
            for letter in b"HTTP/1.1 200 OK\r\n" + b"X-Drip: 1\r\n" * 1000:
                if self._end.wait(0.02) or time.monotonic() - begin > self.slow_s:
                    return
                request.wfile.write(bytes([letter]))
        elif mood == "redirect":
            request.send_response(302)
            request.send_header("Location", self.url)
            request.send_header("Content-Length", "0")
            request.end_headers()
        else:
            if mood == "late":
                self._end.wait(self.slow_s)
            said = b"try later\x07" if mood == "error" else b"ok"
            request.send_response(500 if mood == "error" else 200)
            request.send_header("Content-Length", str(len(said)))
            request.end_headers()
            request.wfile.write(said)
