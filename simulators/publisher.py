"""QoS 1 publishing of many vehicles over a few connections: bounded window, back-pressure, re-sending, ledger.

All connections run on one selector loop through paho's public calls (`loop_read`, `loop_write`, `loop_misc`). That is
faster than a thread a connection, and the caller's `publish` is the only place that waits.
"""

import selectors
import socket
import ssl
import time
import uuid
import zlib
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, cast
from urllib.parse import unquote, urlsplit

from paho.mqtt.client import Client, MQTTMessageInfo, MQTTv311
from paho.mqtt.enums import CallbackAPIVersion

from fleet_core.publications import Message

DEFAULT_WINDOW: Final = 1000
KEEPALIVE_S: Final = 30
CONNECT_S: Final = 5.0
BACK_OFF_S: Final = (0.2, 5.0)
GIVE_UP_S: Final = 120.0  # without any connection for this long, publishing fails


class PublisherError(Exception):
    """The broker cannot be reached, refused us, or stayed away too long; the text says which broker."""


@dataclass(frozen=True, slots=True)
class Tls:
    """PEM files of an `mqtts` broker; empty means the system's authorities and no client certificate."""

    ca_file: str = ""
    cert_file: str = ""
    key_file: str = ""


@dataclass(slots=True)
class Sent:
    """What happened so far. `resent` counts messages that were in flight when a connection broke."""

    published: int = 0
    acknowledged: int = 0
    reconnects: int = 0
    resent: int = 0


class _Connection:
    def __init__(self, url: str, tls: Tls, acknowledged: Callable[[Message], None] | None, sent: Sent) -> None:
        parts = urlsplit(url)
        self.secure = parts.scheme == "mqtts"
        self.host, self.port = parts.hostname or "localhost", parts.port or (8883 if self.secure else 1883)
        self.pending: deque[tuple[MQTTMessageInfo, Message]] = deque()
        self.watched: tuple[socket.socket, int] | None = None
        self.wants_write = False
        self.up = False
        self.refused = ""
        self._acknowledged, self._sent = acknowledged, sent
        self._retry_at = 0.0
        self._back_off_s = BACK_OFF_S[0]
        self.down_since = time.monotonic()
        self.client = client = Client(
            CallbackAPIVersion.VERSION2, client_id=f"fleet-sim-{uuid.uuid4().hex[:12]}", protocol=MQTTv311
        )
        client.connect_timeout = CONNECT_S
        # The window is ours (see publish). paho's own would walk over all of it at every PUBACK.
        client.max_inflight_messages_set(0)
        if parts.username:
            client.username_pw_set(unquote(parts.username), unquote(parts.password or ""))
        if self.secure:
            context = ssl.create_default_context(cafile=tls.ca_file or None)
            if tls.cert_file:
                context.load_cert_chain(tls.cert_file, tls.key_file)
            client.tls_set_context(context)
        client.on_connect = self._on_connect
        client.on_disconnect = self._on_disconnect
        # With this callback set paho only queues in publish() and leaves the writing to our loop.
        client.on_socket_register_write = self._on_register_write

    def _on_register_write(self, *_: Any) -> None:
        self.wants_write = True

    def _on_connect(self, client: Client, userdata: Any, flags: Any, reason: Any, properties: Any) -> None:
        if reason.is_failure:
            self.refused = str(reason)
            return
        self.up, self._back_off_s = True, BACK_OFF_S[0]
        self._sent.resent += len(self.pending)

    def _on_disconnect(self, client: Client, userdata: Any, flags: Any, reason: Any, properties: Any) -> None:
        if self.up:
            self.up, self.down_since = False, time.monotonic()
        self._retry_at = time.monotonic() + self._back_off_s

    def settle(self) -> None:
        """Note what was acknowledged. Acknowledgements come in the order of publishing (MQTT 3.1.1, 4.6)."""
        pending = self.pending
        while pending and pending[0][0].is_published():
            _, message = pending.popleft()
            self._sent.acknowledged += 1
            if self._acknowledged is not None:
                self._acknowledged(message)

    def open(self) -> None:
        """First connection. Raises OSError."""
        self.client.connect(self.host, self.port, KEEPALIVE_S)

    def revive(self) -> None:
        """Connect again when the back-off has passed. paho itself sends again what has no PUBACK yet."""
        now = time.monotonic()
        if self.client.socket() is not None or now < self._retry_at:
            return
        self._back_off_s = min(self._back_off_s * 2, BACK_OFF_S[1])
        self._retry_at = now + self._back_off_s
        self._sent.reconnects += 1
        try:
            self.client.reconnect()
        except OSError:
            return


class Publisher:
    """Publishes messages; the order of one vehicle is kept, because a vehicle always uses the same connection.

    Raises PublisherError when the broker refuses, cannot be reached at the start, or stays away for two minutes.
    """

    def __init__(
        self,
        url: str,
        acknowledged: Callable[[Message], None] | None = None,
        *,
        connections: int = 1,
        window: int = DEFAULT_WINDOW,
        tls: Tls | None = None,
        stopped: Callable[[], bool] = lambda: False,
    ) -> None:
        self._stopped = stopped
        self.sent = Sent()
        self._window = window
        self._place = _without_credentials(url)
        self._selector = selectors.DefaultSelector()
        self._connections = [
            _Connection(url, tls or Tls(), acknowledged, self.sent) for _ in range(max(1, connections))
        ]
        self._misc_at = 0.0
        for connection in self._connections:
            try:
                connection.open()
            except OSError as error:
                raise PublisherError(f"the broker at {self._place} cannot be reached: {error}") from None
        deadline = time.monotonic() + 2 * CONNECT_S
        while not all(connection.up for connection in self._connections):
            self.pump(0.1)
            if time.monotonic() > deadline:
                raise PublisherError(f"the broker at {self._place} does not answer as an MQTT broker")

    @property
    def outstanding(self) -> int:
        """Messages without a PUBACK yet."""
        return sum(len(connection.pending) for connection in self._connections)

    def publish(self, message: Message) -> bool:
        """Hand a message over; waits while its connection's window is full or the broker is away.

        False when it was stopped while waiting: the message was not sent.
        """
        slot = zlib.crc32(message.vehicle_id.encode()) % len(self._connections)
        connection = self._connections[slot]
        # While the connection is away nothing is handed to paho: it would take it, but forget to wait for it.
        while len(connection.pending) >= self._window or not connection.up:
            if self._stopped():
                return False
            self.pump(0.5)
        info = connection.client.publish(message.topic, message.payload, qos=1, retain=message.retain)
        connection.pending.append((info, message))
        self.sent.published += 1
        # Let replies in now and then even when the window never fills, so that the broker's buffer does not.
        if self.sent.published % 64 == 0:
            self.pump(0.0)
        return True

    def pump(self, timeout_s: float) -> None:
        """Move bytes both ways, waiting at most `timeout_s` for some."""
        for connection in self._connections:
            self._watch(connection)
        if not self._selector.get_map():
            time.sleep(min(timeout_s, 0.05))
        for key, events in self._selector.select(timeout_s) if self._selector.get_map() else []:
            connection = key.data
            if events & selectors.EVENT_READ:
                connection.client.loop_read()
                connection.settle()
            if events & selectors.EVENT_WRITE and connection.client.socket() is not None:
                connection.client.loop_write()
        now = time.monotonic()
        if now >= self._misc_at:
            self._misc_at = now + 0.2
            self._look_after(now)

    def drain(self, timeout_s: float) -> bool:
        """Wait until every message has its PUBACK; False when `timeout_s` passed first."""
        deadline = time.monotonic() + timeout_s
        while self.outstanding:
            if time.monotonic() > deadline:
                return False
            self.pump(0.1)
        return True

    def close(self) -> None:
        """Say goodbye to the broker. Messages without a PUBACK stay out of the ledger."""
        for connection in self._connections:
            connection.client.disconnect()
            if connection.client.socket() is not None:
                connection.client.loop_write()
        self._selector.close()

    def _watch(self, connection: _Connection) -> None:
        sock = cast(socket.socket | None, connection.client.socket())
        if sock is None:
            if connection.watched is not None:
                self._selector.unregister(connection.watched[0])
                connection.watched = None
            return
        wanted = selectors.EVENT_READ | (selectors.EVENT_WRITE if connection.client.want_write() else 0)
        if connection.watched is None or connection.watched[0] is not sock:
            if connection.watched is not None:
                self._selector.unregister(connection.watched[0])
            self._selector.register(sock, wanted, connection)
        elif connection.watched[1] != wanted:
            self._selector.modify(sock, wanted, connection)
        connection.watched = (sock, wanted)

    def _look_after(self, now: float) -> None:
        for connection in self._connections:
            connection.client.loop_misc()
            if connection.refused:
                raise PublisherError(f"the broker at {self._place} refused the connection: {connection.refused}")
            if not connection.up:
                if now - connection.down_since > GIVE_UP_S:
                    raise PublisherError(f"the broker at {self._place} has been away for {GIVE_UP_S:.0f} s")
                connection.revive()


def _without_credentials(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.hostname}:{parts.port or (8883 if parts.scheme == 'mqtts' else 1883)}"
