"""The WebSocket transport of live clients, which ends a client that does not read.

An ASGI application cannot see whether its bytes leave: it may only send, and a send to a stuck client waits for ever
while closing waits behind it. So the transport itself watches, below the application. Built on uvicorn's WebSocket
class, whose asyncio callbacks (pause_writing, resume_writing) are those of every asyncio protocol.
"""

import asyncio
import logging
import socket
from asyncio.transports import BaseTransport
from typing import Any, Final, cast

from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

log = logging.getLogger("fleet.api.live")

EXTENSION: Final = "fleetward.wire"
TOO_SLOW: Final = 4008
# A client whose buffers stayed full for this long is told so and cut off.
PATIENCE_SECONDS: Final = 5.0
# Time for a client that wakes up to read the reason.
LAST_WORD_SECONDS: Final = 2.0
# Left alone the kernel takes up to 4 MB a socket: twenty old frames that a slow client would have to see first.
SEND_BUFFER_BYTES: Final = 256 * 1024


class LiveWire(WebSocketsSansIOProtocol):
    """One client's connection. The application finds it in scope["extensions"][EXTENSION]."""

    patience_s: float = PATIENCE_SECONDS
    last_word_s: float = LAST_WORD_SECONDS

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.cut = False
        self._patience: asyncio.TimerHandle | None = None

    def connection_made(self, transport: BaseTransport) -> None:
        """Bound the kernel's share of the buffer."""
        super().connection_made(transport)
        raw = transport.get_extra_info("socket")
        if raw is not None:
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER_BYTES)

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the timer."""
        self._forgive()
        super().connection_lost(exc)

    def pause_writing(self) -> None:
        """The buffers are full: begin to lose patience."""
        super().pause_writing()
        if self._patience is None:
            self._patience = self.loop.call_later(self.patience_s, self.cut_off, "too slow: frames were not read")

    def resume_writing(self) -> None:
        """The client read on."""
        super().resume_writing()
        if not self.cut:
            self._forgive()

    async def run_asgi(self) -> None:
        """Hand ourselves to the application."""
        cast(dict[str, Any], self.scope)["extensions"][EXTENSION] = self
        await super().run_asgi()

    def cut_off(self, reason: str) -> None:
        """End the connection: close code 4008 behind what is still buffered, then, read or not, the end."""
        if self.cut or self.disconnected:
            return
        self.cut = True
        self._forgive()
        log.warning("live client %s cut off, %s", self.client, reason)
        if not self.close_sent:
            self.conn.send_close(TOO_SLOW, reason)
            self.transport.write(b"".join(self.conn.data_to_send()))
            self.close_sent = True
        # The application's pending send must not wait for a buffer that may never drain.
        self.disconnected = True
        self.writable.set()
        self.queue.put_nowait({"type": "websocket.disconnect", "code": TOO_SLOW, "reason": reason})
        # Set before the application returns, or uvicorn would close, and lose the last word, at once.
        self.close_timer = self.loop.call_later(self.last_word_s, self.transport.abort)

    def _forgive(self) -> None:
        if self._patience is not None:
            self._patience.cancel()
            self._patience = None
