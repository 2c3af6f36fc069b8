"""Where a request comes from: the client's address behind trusted proxies, the request's id, whether it is https."""

import ipaddress
import re
import secrets
from typing import Final

from starlette.requests import HTTPConnection

from fleet_api.access.audit import Origin
from fleet_core.settings import Settings

_REQUEST_ID: Final = re.compile(r"[A-Za-z0-9._-]{1,64}")


def client_address(peer: str | None, forwarded: str, trusted: str) -> str:
    """The first address, seen from us, that is no trusted proxy. `forwarded` is X-Forwarded-For, `trusted` is a comma
    separated list of addresses or networks. What a client itself wrote into the header is never believed."""
    networks = [ipaddress.ip_network(item.strip(), strict=False) for item in trusted.split(",") if item.strip()]
    hops = [*(hop.strip() for hop in forwarded.split(",") if hop.strip()), peer or "unknown"]
    for hop in reversed(hops):
        if not _within(hop, networks):
            return hop[:100]
    return hops[0][:100]


def _within(hop: str, networks: list[ipaddress.IPv4Network | ipaddress.IPv6Network]) -> bool:
    try:
        address = ipaddress.ip_address(hop)
    except ValueError:
        return False
    return any(address in network for network in networks)


def chosen_request_id(sent: str | None) -> str:
    """The id a caller gave its request, when it is a plain one, or one of ours."""
    return sent if sent is not None and _REQUEST_ID.fullmatch(sent) else secrets.token_hex(8)


def origin_of(asked: HTTPConnection) -> Origin:
    """Where a request comes from."""
    settings: Settings = asked.app.state.settings
    peer = None if asked.client is None else asked.client.host
    address = client_address(peer, asked.headers.get("x-forwarded-for", ""), settings.http_trusted_proxies)
    return Origin("".join(filter(str.isprintable, address)), asked.scope.get("state", {}).get("request_id"))


def is_https(asked: HTTPConnection) -> bool:
    """Whether the browser speaks https, by itself or because the settings say so of the proxy in front."""
    settings: Settings = asked.app.state.settings
    return asked.url.scheme in ("https", "wss") or settings.http_scheme == "https"
