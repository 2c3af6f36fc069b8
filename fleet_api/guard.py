"""Keeps other web sites out of a server that a browser can reach, sets security headers, and gives requests their ids.

A browser can be made to talk to us in its user's name: by a foreign page that opens a WebSocket or posts a form (so the
Origin must be ours), and by DNS rebinding, where a foreign name is pointed at 127.0.0.1 (so on loopback the Host must
be a loopback name). This stands before sign-in and beside the cookie's own rules.
"""

from collections.abc import Collection, Iterable
from typing import Final
from urllib.parse import urlsplit

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from fleet_api import problems
from fleet_api.access.origin import chosen_request_id

_SAFE_METHODS: Final = frozenset({"GET", "HEAD", "OPTIONS"})
_LOOPBACK_NAMES: Final = frozenset({"127.0.0.1", "localhost", "::1"})

SECURITY_HEADERS: Final = (
    (
        b"content-security-policy",
        b"default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
        b"font-src 'self'; worker-src 'self'; "
        b"base-uri 'none'; form-action 'self'; frame-ancestors 'none'",
    ),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
)


def security_headers(picture_origins: Collection[str]) -> tuple[tuple[bytes, bytes], ...]:
    """The headers for pages whose map may also show pictures from these origins."""
    (name, policy), *others = SECURITY_HEADERS
    more = "".join(f" {origin}" for origin in sorted(picture_origins)).encode()
    for directive in (b"img-src 'self'", b"connect-src 'self'"):
        policy = policy.replace(directive, directive + more)
    return ((name, policy), *others)


def refusal(headers: Iterable[tuple[bytes, bytes]], *, must_match_origin: bool, loopback_only: bool) -> str | None:
    """Why a request with these headers is refused, in one sentence, or None when it is not."""
    found = {name.lower(): value.decode("latin-1") for name, value in headers}
    host = found.get(b"host", "")
    if loopback_only and _hostname(f"http://{host}") not in _LOOPBACK_NAMES:
        return f"Host {host!r} is not a name of this machine's loopback address."
    origin = found.get(b"origin")
    if must_match_origin and origin is not None and urlsplit(origin).netloc.lower() != host.lower():
        return f"Origin {origin!r} is another site."
    return None


def _hostname(url: str) -> str | None:
    try:
        return urlsplit(url).hostname
    except ValueError:
        return None


class Guard:
    """ASGI middleware. `loopback_only`: refuse names that are not loopback. `picture_origins`: of base maps."""

    def __init__(self, app: ASGIApp, loopback_only: bool, picture_origins: Collection[str] = ()) -> None:
        self._app = app
        self._headers = security_headers(picture_origins)
        self._loopback_only = loopback_only

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, or refuse it with 403."""
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        must_match = scope["type"] == "websocket" or scope["method"] not in _SAFE_METHODS
        reason = refusal(scope["headers"], must_match_origin=must_match, loopback_only=self._loopback_only)
        if scope["type"] == "websocket":
            if reason is None:
                await self._app(scope, receive, send)
            else:
                await receive()
                await send({"type": "websocket.close", "code": 1008, "reason": reason})
            return

        sent = next((value for name, value in scope["headers"] if name == b"x-request-id"), None)
        request_id = chosen_request_id(None if sent is None else sent.decode("latin-1"))
        scope.setdefault("state", {})["request_id"] = request_id
        more = [*self._headers, (b"x-request-id", request_id.encode())]

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = [*message["headers"], *more]
                # What is answered is for one person: no cache on the way, or of a shared computer, keeps it.
                if scope["path"].startswith("/api/") and all(name.lower() != b"cache-control" for name, _ in headers):
                    headers.append((b"cache-control", b"no-store"))
                message = {**message, "headers": headers}
            await send(message)

        if reason is None:
            await self._app(scope, receive, send_with_headers)
        else:
            await problems.response(403, reason)(scope, receive, send_with_headers)
