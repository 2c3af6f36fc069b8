"""All sessions of a worker on one selector: one thread waits for them, reads them in turns and writes what they owe."""

import contextlib
import selectors
import socket
import time
from collections.abc import Callable, Sequence

from fleet_core.settings import Settings
from ingest.metrics import Metrics
from ingest.packet_socket import PacketSocket
from ingest.source import Session


class Sessions:
    """All sessions of a worker on one selector. `on_lost` hears of sessions the broker had forgotten."""

    def __init__(self, settings: Settings, metrics: Metrics, on_lost: Callable[[str], None]) -> None:
        self._settings = settings
        self._metrics = metrics
        self._on_lost = on_lost
        self._selector = selectors.DefaultSelector()
        self._sessions: dict[str, Session] = {}
        self._registered: dict[str, PacketSocket] = {}
        self._next_care = 0.0
        self._wake_reader, self._wake_writer = socket.socketpair()
        self._wake_reader.setblocking(False)
        self._wake_writer.setblocking(False)
        self._selector.register(self._wake_reader, selectors.EVENT_READ, None)

    @property
    def sessions(self) -> dict[str, Session]:
        """Open sessions by name."""
        return self._sessions

    def wake(self) -> None:
        """End a wait from another thread."""
        with contextlib.suppress(BlockingIOError):  # full: it is awake already
            self._wake_writer.send(b"\x00")

    def open(
        self,
        name: str,
        filters: Sequence[str],
        durable: bool = True,
        passed_over: frozenset[str] = frozenset(),
    ) -> Session:
        """Begin to keep a session connected. It leaves messages with a last level in `passed_over` to others."""
        if name not in self._sessions:
            self._sessions[name] = Session(
                name,
                filters,
                self._settings,
                self._metrics,
                on_socket_close=self._unregister,
                durable=durable,
                passed_over=passed_over,
            )
        return self._sessions[name]

    def close(self, name: str) -> None:
        """Leave a session; what it holds goes back to the broker."""
        session = self._sessions.pop(name, None)
        if session is not None:
            self._unregister(name)
            session.close()

    def close_all(self) -> None:
        """Leave all sessions."""
        for name in list(self._sessions):
            self.close(name)

    def wait(self, timeout_s: float, reading: bool) -> None:
        """Wait for traffic or a wake-up, at most `timeout_s`, and take in what came.

        `reading` False leaves the connections unread: the brake when too much is held.
        """
        now_s = time.monotonic()
        if now_s >= self._next_care:
            self._next_care = now_s + 1.0
            for session in self._sessions.values():
                session.look_after()
        reachable = True
        for name, session in self._sessions.items():
            # A broker that did not answer one session is not asked by the others in the same round: each try may block.
            reachable = reachable and session.connect_if_due(now_s)
            self._register(name, session, reading)
        ready = [session for session in self._sessions.values() if session.has_more] if reading else []
        for key, events in self._selector.select(0.0 if ready else timeout_s):
            if key.data is None:
                self._drain_wake_ups()
            elif events & selectors.EVENT_READ and key.data not in ready:
                ready.append(key.data)
        for session in ready:
            before = session.known_to_broker
            session.read_burst()
            if session.known_to_broker is False and before is not False:
                self._on_lost(session.name)
        self.flush()

    def flush(self) -> None:
        """Send what waits, now."""
        for session in self._sessions.values():
            if session.wants_write:
                session.write()

    def _register(self, name: str, session: Session, reading: bool) -> None:
        sock = session.socket
        held = self._registered.get(name)
        if held is not None and held is not sock:
            self._unregister(name)
            held = None
        if sock is None:
            return
        events = (selectors.EVENT_READ if reading else 0) | (selectors.EVENT_WRITE if session.wants_write else 0)
        if not events:
            self._unregister(name)
        elif held is None:
            self._selector.register(sock, events, session)
            self._registered[name] = sock
        elif self._selector.get_key(sock).events != events:
            self._selector.modify(sock, events, session)

    def _unregister(self, name: str) -> None:
        sock = self._registered.pop(name, None)
        if sock is not None:
            with contextlib.suppress(KeyError, ValueError):  # closed already, which takes it out of the kernel's set
                self._selector.unregister(sock)

    def _drain_wake_ups(self) -> None:
        with contextlib.suppress(BlockingIOError):
            while self._wake_reader.recv(4096):
                pass
