"""MQTT connections of the ingest worker: durable sessions, acknowledged by hand. The one place that knows paho.

paho connects, subscribes, keeps alive, publishes; the messages that come by the thousand are taken from the socket
below it (packet_socket.py). Nothing here is thread-safe: one thread owns all sessions (sessions.py).
"""

import itertools
import logging
import random
import socket
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, Final, cast
from urllib.parse import unquote, urlsplit

from paho.mqtt.client import Client, ConnectFlags, DisconnectFlags
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

from fleet_core import clock
from fleet_core.settings import Settings
from ingest.message import Message
from ingest.metrics import Metrics
from ingest.owed import Owed
from ingest.packet_socket import PacketSocket

log = logging.getLogger("fleet.ingest")

KEEPALIVE_SECONDS: Final = 30
# Reads of one connection before the others have their turn.
_BURST_READS: Final = 4
_BACK_OFF_FIRST_SECONDS: Final = 0.5
_BACK_OFF_MOST_SECONDS: Final = 15.0
_CONNECT_TIMEOUT_SECONDS: Final = 10.0
# What Python keeps beside the payload of a waiting message (tuple, topic, bookkeeping), measured: small messages would
# otherwise take several times the memory that the bound on held bytes promises.
_MESSAGE_OVERHEAD_BYTES: Final = 600
# Numbers of connections, never used twice in a process: a session that was closed and opened again must not take the
# acknowledgements that its predecessor owed.
_GENERATIONS: Final = itertools.count(1)


class _Client(Client):
    """paho over a PacketSocket, which handles PUBLISH and PUBACK itself."""

    def _create_socket(self) -> Any:
        return PacketSocket(cast(socket.socket, super()._create_socket()))


def _new_client(settings: Settings, client_id: str, durable: bool) -> Client:
    """A client for the configured broker: MQTT 3.1.1, manual acknowledgement, not connected yet.

    3.1.1 because every broker speaks it, NATS only it.
    """
    client = _Client(
        CallbackAPIVersion.VERSION2,
        client_id=client_id,
        clean_session=not durable,
        protocol=MQTTProtocolVersion.MQTTv311,
        manual_ack=True,
        reconnect_on_failure=False,
    )
    client.connect_timeout = _CONNECT_TIMEOUT_SECONDS
    # Our own publishing (relay, probe) is bounded by whoever calls `publish`.
    client.max_inflight_messages_set(65_535)
    url = urlsplit(settings.mqtt_url)
    if url.username is not None:
        client.username_pw_set(unquote(url.username), unquote(url.password or ""))
    if url.scheme == "mqtts":
        client.tls_set(
            ca_certs=settings.mqtt_ca_file or None,
            certfile=settings.mqtt_cert_file or None,
            keyfile=settings.mqtt_key_file or None,
        )
    # With this callback set paho only queues what it wants to send; we write it once a round instead of once a packet.
    client.on_socket_register_write = lambda *_: None
    return client


def client_id_of(name: str, settings: Settings) -> str:
    """Client id of a session. The secret keeps it from devices: whoever comes with it is given the session."""
    return f"ingest-{name}" + (f"-{settings.mqtt_session_secret}" if settings.mqtt_session_secret else "")


def address_of(settings: Settings) -> tuple[str, int]:
    """Host and port of the broker."""
    url = urlsplit(settings.mqtt_url)
    return url.hostname or "", url.port or (8883 if url.scheme == "mqtts" else 1883)


class Session:
    """One durable session: a lane of messages that the broker keeps for us while nobody is connected."""

    def __init__(
        self,
        name: str,
        filters: Sequence[str],
        settings: Settings,
        metrics: Metrics,
        *,
        on_socket_close: Callable[[str], None],
        durable: bool = True,
        passed_over: frozenset[str] = frozenset(),
    ) -> None:
        self.name = name
        self.filters = list(filters)
        self.generation = next(_GENERATIONS)
        self.connected = False
        self.subscribed = False
        self._closing = False
        self.queue: deque[Message] = deque()
        self.known_to_broker: bool | None = None
        self._owed = Owed()
        self._passed_over = passed_over
        self._metrics = metrics
        self._host, self._port = address_of(settings)
        self._sock: PacketSocket | None = None
        self._back_off = 0.0
        self._next_try = 0.0
        self.received = 0
        self.queued_bytes = 0
        self._on_published: Callable[[int], None] = lambda _packet_id: None
        self._settings, self._durable, self._on_socket_close = settings, durable, on_socket_close
        self._client = self._new_client()

    def _new_client(self) -> Client:
        """A client for one connection: paho would carry unconfirmed messages of its own from one to the next."""
        client = _new_client(self._settings, client_id_of(self.name, self._settings), self._durable)
        client.on_publish = lambda _client, _userdata, packet_id, *_: self._on_published(packet_id)
        client.on_subscribe = self._on_subscribe
        client.on_connect = self._on_connect
        client.on_disconnect = self._on_disconnect
        # Only what PacketSocket leaves to paho: QoS 2, which is not subscribed to.
        client.on_message = lambda _client, _userdata, message: self._on_publish(
            message.mid if message.qos else 0, message.topic.encode(), bytes(message.payload)
        )
        # Called before the socket is closed: its number may be another session's a moment later.
        client.on_socket_close = lambda *_: self._on_socket_close(self.name)
        return client

    @property
    def socket(self) -> PacketSocket | None:
        """The connection's socket while there is one."""
        return self._sock

    @property
    def wants_write(self) -> bool:
        """Whether something waits to be sent."""
        return self._sock is not None and (self._client.want_write() or self._sock.unsent > 0)

    @property
    def has_more(self) -> bool:
        """Whether bytes wait where `select` cannot see them."""
        return self._sock is not None and self._sock.undecrypted

    def connect_if_due(self, now_s: float) -> bool:
        """Open a connection when there is none and the back-off has passed. Returns whether the broker answered."""
        if self._sock is not None or now_s < self._next_try:
            return True
        self._client = self._new_client()
        try:
            self._client.connect(self._host, self._port, keepalive=KEEPALIVE_SECONDS)
        except (OSError, ValueError) as error:
            self._put_off(now_s)
            log.warning("broker %s:%d, session %s: %s", self._host, self._port, self.name, error)
            return False
        self._sock = cast(PacketSocket, self._client.socket())
        return True

    def read_burst(self) -> None:
        """Take in what the connection has, up to a bound that gives the others their turn."""
        for _ in range(_BURST_READS):
            sock = self._sock
            if sock is None:
                return
            if not sock.fill():
                if sock.ended:
                    self._client.loop_read()  # finds it, and tells us
                return
            while True:
                for packet_id, topic, payload in sock.take_publishes():
                    self._on_publish(packet_id, topic, payload)
                if self._sock is not sock or not sock.offer_packet():
                    break
                self._client.loop_read()

    def write(self) -> None:
        """Send what waits."""
        self._client.loop_write()
        if self._sock is not None:
            self._sock.flush()

    def look_after(self) -> None:
        """Keep-alive; call about once a second."""
        if self._sock is not None:
            self._client.loop_misc()

    def take(self, most: int, most_bytes: int) -> list[Message]:
        """Oldest messages of the queue: at least one, at most `most`, about `most_bytes` of payload."""
        taken: list[Message] = []
        while self.queue and len(taken) < most and most_bytes > 0:
            message = self.queue.popleft()
            most_bytes -= len(message.payload)
            self.queued_bytes -= len(message.payload) + _MESSAGE_OVERHEAD_BYTES
            taken.append(message)
        return taken

    def acknowledge(self, message: Message) -> None:
        """Owe the broker an acknowledgement no longer. Dropped when the connection it came on is gone."""
        if message.generation != self.generation:
            self._metrics.stale_acks.inc()
            return
        self._send_acknowledgements(self._owed.settle(message))

    def _send_acknowledgements(self, packet_ids: list[int]) -> None:
        if packet_ids:
            assert self._sock is not None, "a generation ends with its connection"
            for packet_id in packet_ids:
                self._sock.acknowledge(packet_id)

    def publish(self, topic: str, payload: bytes) -> int:
        """Send at QoS 1; `on_published` hears the packet id when the broker has it. The caller bounds how many."""
        return int(self._client.publish(topic, payload, qos=1).mid)

    def on_published(self, listener: Callable[[int], None]) -> None:
        """Whom to tell of each PUBACK."""
        self._on_published = listener

    def close(self) -> None:
        """Leave without acknowledging what is held: the broker keeps it for the next owner."""
        self._closing = True
        if self._sock is not None:
            self._client.disconnect()
            self._client.loop_write()
        self._forget_connection()
        self._next_try = float("inf")

    def _on_connect(
        self, client: Client, _userdata: Any, flags: ConnectFlags, reason: ReasonCode, _properties: Properties | None
    ) -> None:
        if reason.is_failure:
            log.error("broker refused session %s: %s", self.name, reason)
            return
        self.connected = True
        self._back_off = 0.0
        self.known_to_broker = flags.session_present
        # Subscribing again to what the session already has is harmless and mends a session somebody tampered with.
        if self.filters:
            client.subscribe([(topic_filter, 1) for topic_filter in self.filters])
        else:
            self.subscribed = True

    def _on_subscribe(
        self, _client: Client, _userdata: Any, _packet_id: int, reasons: list[ReasonCode], _properties: Any
    ) -> None:
        refused = [name for name, reason in zip(self.filters, reasons, strict=False) if reason.is_failure]
        if refused:
            log.error("broker refused session %s the topics %s", self.name, ", ".join(refused))
        else:
            self.subscribed = True

    def _on_disconnect(
        self, _client: Client, _userdata: Any, _flags: DisconnectFlags, reason: ReasonCode, _properties: Any
    ) -> None:
        if not self._closing:
            log.warning("session %s: connection ended: %s", self.name, reason)
        self._forget_connection()
        self._put_off(time.monotonic())

    def _on_publish(self, packet_id: int, topic_bytes: bytes, payload: bytes) -> None:
        """Queue a message. `packet_id` 0: QoS 0, nothing is owed."""
        self.received += 1
        try:
            topic = topic_bytes.decode()
        except UnicodeDecodeError:
            topic = f"<not UTF-8: {topic_bytes.hex()}>"
        if self._passed_over and topic.rpartition("/")[2] in self._passed_over:
            self._send_acknowledgements(self._owed.pass_over(packet_id))
            return
        before = self._owed.held(packet_id)
        if before is not None:
            if before.payload == payload and before.topic == topic:
                # NATS sends again on a timer, to a living connection too, what we hold while a commit takes long.
                self._metrics.redelivered_held.inc()
                return
            # Another message under an id that is still owed: one acknowledgement would confirm both. Begin again.
            log.error("session %s: packet id %d was used twice, reconnecting", self.name, packet_id)
            self._client.disconnect()
            return
        received = Message(self.name, self.generation, packet_id, topic, payload, clock.now_us())
        self._owed.hold(received)
        self.queued_bytes += len(payload) + _MESSAGE_OVERHEAD_BYTES
        self.queue.append(received)

    def _forget_connection(self) -> None:
        # A new generation: acknowledgements owed to the old connection are void, what was queued will be sent again.
        self.generation = next(_GENERATIONS)
        self.connected = False
        self.subscribed = False
        self._sock = None
        self._owed.forget()
        self.queue.clear()
        self.queued_bytes = 0

    def _put_off(self, now_s: float) -> None:
        self._back_off = min(max(self._back_off * 2, _BACK_OFF_FIRST_SECONDS), _BACK_OFF_MOST_SECONDS)
        # Jitter, so that sixteen sessions do not knock at once.
        self._next_try = now_s + self._back_off * random.uniform(0.5, 1.0)
