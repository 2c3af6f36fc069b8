"""Sends what is in the outbox: to apprise's services and to signed web hooks. Outside of any transaction.

`deliver` sends one notice and says how it went; it never raises. `Sender` does so with several at a time, each in a
thread of its own, so that one slow receiver holds up nobody else.
"""

import contextlib
import logging
import queue
import threading
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Final

import msgspec

from fleet_core import clock
from incidents.response import webhooks
from incidents.response.outbox import Attempt, Claimed

log = logging.getLogger("fleet.incidents.notify")

# How long one attempt may take. Judgement: a service that has not answered in ten seconds is not well.
SEND_WITHIN_S: Final = 10.0
# Attempts at once. Threads that wait for an answer cost next to nothing.
AT_ONCE: Final = 8
# apprise's own generic web hooks: unsigned, without our key and without our look at the host.
_GENERIC: Final = frozenset({"json", "jsons", "xml", "xmls", "form", "forms", "apprise", "apprises"})
# Services that act on this very machine.
_LOCAL: Final = frozenset({"syslog", "dbus", "qt", "glib", "kde", "gnome", "macosx", "windows"})

_encode: Final = msgspec.json.Encoder(order="deterministic").encode


def webhook_body(claimed: Claimed) -> bytes:
    """What a web hook is sent: the same bytes in every attempt."""
    notice = claimed.notice
    return _encode(
        {
            **notice.facts,
            "id": notice.idempotency_key,
            "created_at": claimed.created_at.isoformat(),
            "person_id": notice.person_id,
            "level": notice.level,
            "drill": notice.drill,
            "language": notice.language,
            "subject": notice.subject,
            "body": notice.body,
        }
    )


def deliver(claimed: Claimed, allowed_hosts: Collection[str], now_s: int) -> Attempt:
    """Send one notice once. `now_s`: Unix seconds, for the signature."""
    if claimed.secret is None:
        return Attempt("the person has no such channel any more", hopeless=True)
    try:
        if claimed.notice.channel_kind == "webhook":
            return _post(claimed, claimed.secret, allowed_hosts, now_s)
        return _apprise(claimed)
    except Exception as error:
        # A service's plug-in is foreign code: whatever it does, the notice goes on being tried.
        log.exception("notice %d could not be sent", claimed.outbox_id)
        return Attempt(f"{type(error).__name__}: {error}")


def _post(claimed: Claimed, secret: str, allowed_hosts: Collection[str], now_s: int) -> Attempt:
    body = webhook_body(claimed)
    headers = {
        "Content-Type": "application/json; charset=utf-8",
        "Idempotency-Key": claimed.notice.idempotency_key,
        "Fleetward-Signature": webhooks.signature(secret, now_s, body),
    }
    try:
        to = webhooks.target(claimed.notice.target, allowed_hosts)
    except webhooks.RefusedHostError as error:
        return Attempt(str(error), hopeless=True)
    except OSError as error:
        return Attempt(f"the host is not found: {error}")
    return Attempt(webhooks.post(to, body, headers, SEND_WITHIN_S))


def _apprise(claimed: Claimed) -> Attempt:
    # Imported at the first use: it loads some two hundred modules that a process without such channels never needs.
    import apprise  # noqa: PLC0415

    scheme = claimed.notice.target.split("://", maxsplit=1)[0].lower()
    if scheme in _GENERIC or scheme in _LOCAL:
        return Attempt(f"{scheme}:// is not allowed: use a channel of kind webhook, which is signed", hopeless=True)
    service = apprise.Apprise.instantiate(claimed.notice.target)
    if not isinstance(service, apprise.NotifyBase):
        return Attempt("apprise knows no such service, or the URL lacks something", hopeless=True)
    with _said_by_apprise() as said:
        sent = service.notify(body=claimed.notice.body, title=claimed.notice.subject, body_format="text")
    return Attempt() if sent else Attempt("; ".join(said)[:300] or f"{service.service_name} did not take it")


@contextlib.contextmanager
def _said_by_apprise() -> Iterator[list[str]]:
    """What apprise logs in this thread meanwhile: it says why only there."""
    said: list[str] = []
    mine = threading.get_ident()

    class Listener(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if record.thread == mine:
                said.append(record.getMessage())

    listener = Listener(logging.WARNING)
    logger = logging.getLogger("apprise")
    logger.addHandler(listener)
    try:
        yield said
    finally:
        logger.removeHandler(listener)


@dataclass
class Sender:
    """Sends claimed notices, several at a time. `allowed_hosts`: FLEET_WEBHOOK_HOSTS."""

    allowed_hosts: Collection[str] = ()
    deliver: Callable[[Claimed, Collection[str], int], Attempt] = deliver
    _results: "queue.SimpleQueue[tuple[Claimed, Attempt]]" = field(default_factory=queue.SimpleQueue)
    _under_way: int = 0

    @property
    def free(self) -> int:
        """How many more may be started now."""
        return AT_ONCE - self._under_way

    @property
    def under_way(self) -> int:
        """How many are being sent."""
        return self._under_way

    def start(self, claimed: Claimed) -> None:
        """Begin to send one. Its thread does not keep the process from ending: an unsettled notice is sent again."""
        self._under_way += 1
        threading.Thread(target=self._send, args=(claimed,), name=f"notice-{claimed.outbox_id}", daemon=True).start()

    def _send(self, claimed: Claimed) -> None:
        now = clock.now()
        if now + timedelta(seconds=SEND_WITHIN_S) > claimed.lease_until:
            # This process stood still since it was claimed: another may be sending it.
            attempt = Attempt("the lease ran out before it was sent")
        else:
            attempt = self.deliver(claimed, self.allowed_hosts, int(now.timestamp()))
        self._results.put((claimed, attempt))

    def finished(self, wait_s: float) -> list[tuple[Claimed, Attempt]]:
        """Those that are through; waits at most `wait_s` for the first."""
        found: list[tuple[Claimed, Attempt]] = []
        while self._under_way:
            try:
                found.append(self._results.get(timeout=0 if found else wait_s))
            except queue.Empty:
                break
            self._under_way -= 1
        return found
