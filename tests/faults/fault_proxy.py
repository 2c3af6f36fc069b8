"""A TCP proxy between worker and database that cuts the connection at the COMMIT of a batch."""

import socket
import threading
from urllib.parse import urlsplit, urlunsplit

# psycopg sends COMMIT as a simple query: 'Q', length, text, NUL (PostgreSQL manual, Message Formats).
_COMMIT = b"Q\x00\x00\x00\x0bCOMMIT\x00"
# A transaction that sent less than this was a lease's, not a batch's.
_BATCH_BYTES = 20_000


class FaultProxy:
    """Listens on a port of its own. `cut_next` arms one cut; `cuts` counts those done."""

    def __init__(self, database_url: str) -> None:
        parts = urlsplit(database_url)
        assert parts.hostname and parts.port
        self._target = (parts.hostname, parts.port)
        self._listener = socket.create_server(("127.0.0.1", 0))
        port = self._listener.getsockname()[1]
        netloc = f"{parts.username}:{parts.password}@127.0.0.1:{port}"
        self.url = urlunsplit(parts._replace(netloc=netloc))
        self._armed = ""
        self.cuts: list[str] = []
        threading.Thread(target=self._accept, name="fault-proxy", daemon=True).start()

    def cut_next(self, when: str) -> None:
        """Cut at the next COMMIT of a batch: `before` the server has it, or `after` it has answered."""
        assert when in ("before", "after")
        self._armed = when

    def close(self) -> None:
        """Take no more connections."""
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
                server = socket.create_connection(self._target)
            except OSError:
                return
            threading.Thread(target=self._to_client, args=(server, client), daemon=True).start()
            threading.Thread(target=self._to_server, args=(client, server), daemon=True).start()

    def _to_server(self, client: socket.socket, server: socket.socket) -> None:
        since_commit, tail = 0, b""
        with client, server:
            while data := _received(client):
                since_commit += len(data)
                seen, tail = tail + data, data[-len(_COMMIT) :]
                if _COMMIT in seen:
                    when = self._armed if since_commit > _BATCH_BYTES else ""
                    since_commit, tail = 0, b""
                    if when:
                        self._armed = ""
                        if when == "after":
                            # The other direction must not pass the answer on: the client is cut off first.
                            _shut(client)
                            _sent(server, data)
                            self._wait_for_commit(server)
                        self.cuts.append(when)
                        break
                if not _sent(server, data):
                    break
            _shut(client)
            _shut(server)

    @staticmethod
    def _wait_for_commit(server: socket.socket) -> None:
        # A client that hangs up does not take its COMMIT back: the server reads it before it sees the end.
        server.shutdown(socket.SHUT_WR)

    def _to_client(self, server: socket.socket, client: socket.socket) -> None:
        while data := _received(server):
            if not _sent(client, data):
                break
        _shut(client)


def _received(sock: socket.socket) -> bytes:
    try:
        return sock.recv(65_536)
    except OSError:
        return b""


def _sent(sock: socket.socket, data: bytes) -> bool:
    try:
        sock.sendall(data)
    except OSError:
        return False
    return True


def _shut(sock: socket.socket) -> None:
    try:
        sock.shutdown(socket.SHUT_RDWR)
    except OSError:
        return
