"""An MQTT client that notes what it was told, moved by the test itself: no threads."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import paho.mqtt.client as paho

BOUND_S = 20.0
# Within this a broker has delivered what it delivers at all: it did so for a neighbour in the same test.
SILENCE_S = 0.5


@dataclass(frozen=True)
class Certificate:
    """What a TLS client shows, and whom it believes."""

    authority: Path
    certificate: Path | None = None
    key: Path | None = None


class Client:
    """One connection. `refused` says that the broker did not let it in."""

    def __init__(
        self,
        port: int,
        user: str | None,
        password: str | None,
        *,
        client_id: str = "",
        clean: bool = True,
        tls: Certificate | None = None,
    ) -> None:
        self.heard: list[tuple[str, bytes]] = []
        self.granted: list[bool] = []
        self.ended = False
        self.refused = False
        self._paho = paho.Client(
            paho.CallbackAPIVersion.VERSION2, client_id=client_id, clean_session=clean, reconnect_on_failure=False
        )
        if user is not None:
            self._paho.username_pw_set(user, password)
        if tls is not None:
            self._paho.tls_set(
                str(tls.authority), *(str(path) if path else None for path in (tls.certificate, tls.key))
            )
        self._paho.on_connect = self._on_connect
        self._paho.on_disconnect = self._on_disconnect
        self._paho.on_subscribe = self._on_subscribe
        self._paho.on_message = lambda _client, _data, message: self.heard.append((message.topic, message.payload))
        try:
            self._paho.connect("127.0.0.1", port)
        except OSError:
            self.refused = True
            return
        pump(lambda: self._paho.is_connected() or self.ended, self)
        self.refused = not self._paho.is_connected()

    def publish(self, topic: str, payload: bytes) -> None:
        """Publish at QoS 1 and wait until it was answered."""
        sent = self._paho.publish(topic, payload, 1)
        pump(lambda: sent.is_published() or self.ended, self)

    def subscribe(self, topic: str) -> bool:
        """Whether the broker grants it."""
        before = len(self.granted)
        self._paho.subscribe(topic, 1)
        pump(lambda: len(self.granted) > before or self.ended, self)
        return not self.ended and self.granted[-1]

    def step(self) -> None:
        """Read and write what there is."""
        if self._paho.loop(0.01) != paho.MQTT_ERR_SUCCESS:
            self.ended = True

    def close(self) -> None:
        """Leave."""
        self._paho.disconnect()

    def _on_connect(self, _client: Any, _data: Any, _flags: Any, reason: Any, _properties: Any) -> None:
        self.ended = self.ended or bool(reason.is_failure)

    def _on_disconnect(self, *_: Any) -> None:
        self.ended = True

    def _on_subscribe(self, _client: Any, _data: Any, _mid: Any, reasons: Any, _properties: Any) -> None:
        self.granted += [not reason.is_failure for reason in reasons]


def pump(done: Callable[[], object], *clients: Client, within_s: float = BOUND_S) -> None:
    """Move `clients` until `done`."""
    deadline = time.monotonic() + within_s
    while not done():
        assert time.monotonic() < deadline, "the broker did not do it in time"
        for client in clients:
            client.step()


def listen(*clients: Client, for_s: float = SILENCE_S) -> None:
    """Move `clients` for a while."""
    until = time.monotonic() + for_s
    while time.monotonic() < until:
        for client in clients:
            client.step()
