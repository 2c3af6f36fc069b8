"""A socket that knows where MQTT packets end: it reads ahead, hands out PUBLISH packets whole, and gathers writes.

paho 2 reads every packet in at least three `recv` calls, takes some thirty microseconds to hand a message over and
sends each acknowledgement in a `send` of its own; at thousands of small packets a second that is most of the cost of
ingest. So the packets that come by the thousand (PUBLISH at QoS 0 and 1, and our PUBACKs) are handled here, and every
other packet, and everything odd, is left for paho to read through `recv`. Layout: MQTT 3.1.1, sections 2.2, 3.3, 3.4.
"""

import contextlib
import socket
import ssl
from typing import Any, Final

_READ_BYTES: Final = 262_144
# What may wait to be sent; beyond it paho is told to try again later.
_WRITE_LIMIT_BYTES: Final = 1_048_576

_PUBLISH: Final = 0x30
_PUBACK_HEADER: Final = b"\x40\x02"
_MORE: Final = 0x80
_MAX_LENGTH_BYTES: Final = 4

Publish = tuple[int, bytes, bytes]


class PacketSocket:
    """Wraps a connected socket. Non-blocking once paho has made it so."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._buffer = b""
        self._at = 0
        # End of the packet that paho may read now.
        self._offered_to = 0
        self._out = bytearray()
        # Whether the stream has ended or broken: paho has to find it by reading.
        self.ended = False

    def fill(self) -> bool:
        """Read once from the kernel. False when there was nothing, or nothing more: see `ended`."""
        try:
            more = self._sock.recv(_READ_BYTES)
        except (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
            return False
        except OSError:
            self.ended = True
            return False
        if not more:
            self.ended = True
            return False
        self._buffer = self._buffer[self._at :] + more
        self._at = self._offered_to = 0
        return True

    def take_publishes(self) -> list[Publish]:
        """Complete PUBLISH packets of QoS 0 and 1 from here on: (packet id or 0, topic, payload).

        Stops at the first packet that is incomplete, of another kind, or malformed.
        """
        buffer, at, end_of_buffer = self._buffer, self._at, len(self._buffer)
        taken: list[Publish] = []
        while True:
            body, end = _bounds(buffer, at, end_of_buffer)
            if end == 0 or end > end_of_buffer or buffer[at] & 0xF0 != _PUBLISH:
                break
            qos = buffer[at] >> 1 & 3
            topic_end = body + 2 + (buffer[body] << 8 | buffer[body + 1]) if body + 2 <= end else end + 1
            start = topic_end + (2 if qos else 0)
            if qos > 1 or start > end:
                break
            packet_id = buffer[topic_end] << 8 | buffer[topic_end + 1] if qos else 0
            taken.append((packet_id, buffer[body + 2 : topic_end], buffer[start:end]))
            at = end
        self._at = at
        return taken

    def offer_packet(self) -> bool:
        """Let paho read the next packet when all of it is here, or when it is so malformed that paho must judge it.

        paho must never see the first part of a packet whose rest is still to come: it would keep that part, and we
        would take the rest for packets of its own, with whatever a device wrote into it.
        """
        end_of_buffer = len(self._buffer)
        _, end = _bounds(self._buffer, self._at, end_of_buffer)
        if end == 0 and end_of_buffer - self._at > _MAX_LENGTH_BYTES:
            end = end_of_buffer
        if not 0 < end <= end_of_buffer:
            return False
        self._offered_to = end
        return True

    def acknowledge(self, packet_id: int) -> None:
        """Queue the PUBACK of a QoS 1 message."""
        self._out += _PUBACK_HEADER + packet_id.to_bytes(2, "big")

    def recv(self, size: int) -> bytes:
        """Up to `size` bytes of the packet offered; when the stream has ended what is left of it, then nothing.

        Raises BlockingIOError beyond the packet: paho reads several in one call when it has messages of its own on
        their way.
        """
        limit = len(self._buffer) if self.ended else self._offered_to
        if self._at >= limit and not self.ended:
            raise BlockingIOError
        end = min(self._at + size, limit)
        data = self._buffer[self._at : end]
        self._at = end
        return data

    @property
    def undecrypted(self) -> bool:
        """Whether TLS holds bytes that `select` does not know of."""
        return isinstance(self._sock, ssl.SSLSocket) and self._sock.pending() > 0

    def send(self, data: bytes) -> int:
        """Take `data` to be sent with the next `flush`. Raises BlockingIOError when too much waits already."""
        if len(self._out) > _WRITE_LIMIT_BYTES:
            self.flush()
            if len(self._out) > _WRITE_LIMIT_BYTES:
                raise BlockingIOError
        self._out += data
        return len(data)

    def flush(self) -> None:
        """Send what waits, as far as the kernel takes it. A broken connection shows itself on the next read."""
        while self._out:
            try:
                sent = self._sock.send(self._out)
            except (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
                return
            except OSError:
                self._out.clear()
                return
            del self._out[:sent]

    @property
    def unsent(self) -> int:
        """Bytes that wait to be sent."""
        return len(self._out)

    def close(self) -> None:
        """Flush and close."""
        with contextlib.suppress(OSError, ValueError):
            self.flush()
        self._sock.close()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._sock, name)


def _bounds(buffer: bytes, at: int, end_of_buffer: int) -> tuple[int, int]:
    """Where the body of the packet at `at` begins and ends; (0, 0) when its length is not there yet or malformed."""
    length = shift = 0
    for position in range(at + 1, min(at + 1 + _MAX_LENGTH_BYTES, end_of_buffer)):
        value = buffer[position]
        length |= (value & 0x7F) << shift
        if not value & _MORE:
            return position + 1, position + 1 + length
        shift += 7
    return 0, 0
