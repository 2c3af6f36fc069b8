"""Signed web hooks: one POST, one answer, within a time limit, to hosts that the operator allows.

    Fleetward-Signature: t=<unix seconds>,v1=<hex HMAC-SHA256 of "<t>.<body>" under the receiver's secret>
    Idempotency-Key: the same in every attempt of one notice

Only https, except to the loopback address and to hosts named in FLEET_WEBHOOK_HOSTS; and except to those hosts never to
an address inside a private network, so that a person's channel cannot be turned on what only this machine can reach.
The address that was checked is the one that is connected to. No redirects are followed.
"""

import contextlib
import hashlib
import hmac
import http.client
import ipaddress
import socket
import ssl
import threading
from collections.abc import Collection
from dataclasses import dataclass
from typing import Final
from urllib.parse import SplitResult, urlsplit

USER_AGENT: Final = "Fleetward"
# What is read of an answer: enough for its reason.
_ANSWER_BYTES: Final = 300


class RefusedHostError(ValueError):
    """A target that is not sent to; the text says why."""


@dataclass(frozen=True, slots=True)
class Target:
    """Where a web hook goes: the URL's parts and the address that was checked."""

    url: SplitResult
    host: str
    port: int
    address: str

    @property
    def path(self) -> str:
        """Path and query."""
        return (self.url.path or "/") + (f"?{self.url.query}" if self.url.query else "")


def signature(secret: str, timestamp_s: int, body: bytes) -> str:
    """The value of Fleetward-Signature."""
    signed = hmac.new(secret.encode(), f"{timestamp_s}.".encode() + body, hashlib.sha256).hexdigest()
    return f"t={timestamp_s},v1={signed}"


def target(url: str, allowed_hosts: Collection[str]) -> Target:
    """Check a URL and look its host up. Raises RefusedHostError, OSError when the host is not found."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError as error:
        raise RefusedHostError(f"not a URL: {error}") from None
    if parts.scheme not in ("http", "https") or not host:
        raise RefusedHostError("a web hook's URL begins with https:// and names a host")
    if parts.username or parts.password:
        raise RefusedHostError("a web hook's URL holds no user or password: the signature says who sends")
    named = host in allowed_hosts
    port = port or (443 if parts.scheme == "https" else 80)
    # Checked before it is looked up where that is possible: the name of a refused host is nobody's business.
    if parts.scheme == "http" and not (named or host == "localhost" or _is_loopback(host)):
        raise RefusedHostError(f"http is for the loopback address and hosts in FLEET_WEBHOOK_HOSTS, not for {host}")
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    addresses = [str(sockaddr[0]) for *_, sockaddr in found]
    for address in addresses:
        if not (named or ipaddress.ip_address(address).is_global or _is_loopback(address)):
            raise RefusedHostError(f"{host} is {address}, inside a private network: name it in FLEET_WEBHOOK_HOSTS")
    return Target(parts, host, port, addresses[0])


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


class _Connection(http.client.HTTPConnection):
    """Connects to the address that was checked, whatever the name would give now, and speaks TLS to the name."""

    def __init__(self, target: Target, timeout_s: float) -> None:
        super().__init__(target.host, target.port, timeout=timeout_s)
        self._target = target

    def connect(self) -> None:
        self.sock = socket.create_connection((self._target.address, self._target.port), self.timeout)
        if self._target.url.scheme == "https":
            context = ssl.create_default_context()
            # Held before the handshake, so that a receiver that drags it out is cut off as well.
            self.sock = context.wrap_socket(self.sock, server_hostname=self._target.host, do_handshake_on_connect=False)
            self.sock.do_handshake()


def post(to: Target, body: bytes, headers: dict[str, str], within_s: float) -> str | None:
    """Send. Returns None when the receiver took it (2xx), otherwise why not. Raises nothing that a receiver can cause.

    `within_s` is for all of it: a receiver that answers a byte at a time is cut off.
    """
    connection = _Connection(to, within_s)
    cut = threading.Event()

    def hang_up() -> None:
        cut.set()
        held = connection.sock
        if held is not None:
            with contextlib.suppress(OSError):  # it is gone already
                held.shutdown(socket.SHUT_RDWR)

    timer = threading.Timer(within_s, hang_up)
    timer.daemon = True
    timer.start()
    try:
        connection.request("POST", to.path, body, {"User-Agent": USER_AGENT, **headers})
        answer = connection.getresponse()
        if cut.is_set():
            # A truncated answer reads as a short one.
            return f"no answer within {within_s:g} s"
        if 200 <= answer.status < 300:
            return None
        said = answer.read(_ANSWER_BYTES).decode("utf-8", "replace").strip()
        shown = "".join(letter if letter.isprintable() else " " for letter in said)
        return f"answered {answer.status}{f': {shown}' if shown else ''}"
    except (OSError, http.client.HTTPException, ValueError) as error:
        if cut.is_set() or isinstance(error, TimeoutError):
            return f"no answer within {within_s:g} s"
        return f"{type(error).__name__}: {error}"
    finally:
        timer.cancel()
        connection.close()
