"""The outbox: notices as rows, written by whoever decides and sent by the worker. Connection first, never a commit.

    queued ──claim──> sending ──> sent
      ▲                 │ └─────> failed     the time is up, or it can never work
      └──── not sent ───┘
    queued, sending ──no longer wanted──> withdrawn

A notice is claimed for a while. When the worker dies in that while, another takes it afterwards and sends it under the
same idempotency key, so the receiver can tell that it is the same.
"""

import hashlib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

import msgspec

from fleet_core import sql
from fleet_core.db import Connection
from incidents import timeline
from incidents.response import standing
from incidents.response.escalation import CALL

_SQL: Final = sql.load("incidents.response", "outbox.sql")
_encode: Final = msgspec.json.Encoder(order="deterministic").encode

NAME: Final = "outbox"
VERSION: Final = 1
ACTOR: Final = f"machine:{NAME} v{VERSION}"

# How long a claim holds: several times what sending may take (notify.SEND_WITHIN_S).
LEASE: Final = timedelta(seconds=120)
# Wait after the first failed attempt; doubled with each, up to the longest. Judgement: a receiver that restarts is back
# within seconds, one that is down is not helped by being asked more often than every five minutes.
FIRST_WAIT_S: Final = 2.0
LONGEST_WAIT_S: Final = 300.0
# A notice that could not be sent for a day is given up. Judgement: the repeats of the plan, other people and the
# timeline have said it by then.
GIVE_UP_AFTER: Final = timedelta(hours=24)
# From this attempt on the person counts as not reached, and the next step of the plan does not wait.
TROUBLED_AFTER: Final = 3


@dataclass(frozen=True, slots=True)
class Notice:
    """Something to be told to one person by one channel. `round`, `step`, `repeat`: the step it carries out, if any."""

    incident_id: int | None
    round: int | None
    purpose: str
    step: int | None
    repeat: int | None
    level: int
    person_id: str
    channel_kind: str
    target: str
    language: str
    subject: str
    body: str
    facts: Mapping[str, Any]
    idempotency_key: str
    drill: bool = False


def key_of(*parts: object) -> str:
    """The idempotency key of a notice, made from what it is about: the same parts give the same key."""
    return hashlib.sha256("\x1f".join(map(str, parts)).encode()).hexdigest()[:32]


@dataclass(frozen=True, slots=True)
class Claimed:
    """A notice that this worker may send until `lease_until`. `secret` None: the person has that channel no more."""

    outbox_id: int
    notice: Notice
    attempts: int
    created_at: datetime
    lease_until: datetime
    secret: str | None


@dataclass(frozen=True, slots=True)
class Attempt:
    """How sending went. `error` None: sent. `hopeless`: no later attempt can go better."""

    error: str | None = None
    hopeless: bool = False


def queue(connection: Connection, notices: Sequence[Notice], now: datetime) -> None:
    """Put notices into the outbox, each once by its key."""
    if not notices:
        return
    connection.execute(
        _SQL["queue_notices"],
        {
            "now": now,
            "incident_id": [item.incident_id for item in notices],
            "round": [item.round for item in notices],
            "purpose": [item.purpose for item in notices],
            "step": [item.step for item in notices],
            "repeat": [item.repeat for item in notices],
            "level": [item.level for item in notices],
            "person_id": [item.person_id for item in notices],
            "channel_kind": [item.channel_kind for item in notices],
            "target": [item.target for item in notices],
            "language": [item.language for item in notices],
            "subject": [item.subject for item in notices],
            "body": [item.body for item in notices],
            "facts": [_encode(item.facts).decode() for item in notices],
            "idempotency_key": [item.idempotency_key for item in notices],
            "drill": [item.drill for item in notices],
        },
    )


def withdraw(connection: Connection, incident_id: int, purposes: Collection[str], because: str) -> int:
    """Take back what is not sent yet, with the reason. Returns how many."""
    return connection.execute(
        _SQL["withdraw_queued"], {"incident_id": incident_id, "purposes": list(purposes), "because": because}
    ).rowcount


def claim(connection: Connection, now: datetime, at_most: int) -> list[Claimed]:
    """Take notices to send. To be committed before the first is sent."""
    connection.execute(_SQL["withdraw_left_behind"], {"now": now})
    rows = connection.execute(
        _SQL["claim_notices"], {"now": now, "lease_until": now + LEASE, "max_rows": at_most}
    ).fetchall()
    claimed = []
    for outbox_id, *values, attempts, created_at, lease_until, channels in rows:
        notice = Notice(*values)
        secrets = [
            item.get("secret", "")
            for item in channels
            if (item["kind"], item["url"]) == (notice.channel_kind, notice.target)
        ]
        claimed.append(Claimed(outbox_id, notice, attempts, created_at, lease_until, secrets[0] if secrets else None))
    return claimed


def wait_s(attempts: int, jitter: float) -> float:
    """Seconds to wait after so many failed attempts. `jitter` 0 to 1 spreads those that failed together."""
    longest = min(LONGEST_WAIT_S, FIRST_WAIT_S * 2.0 ** min(attempts - 1, 16))
    return longest * (0.5 + 0.5 * jitter)


def settle(connection: Connection, claimed: Claimed, attempt: Attempt, now: datetime, jitter: float) -> None:
    """Write down how sending went. Whoever lost the lease meanwhile changes nothing."""
    held = {"outbox_id": claimed.outbox_id, "attempts": claimed.attempts, "now": now}
    if attempt.error is None:
        connection.execute(_SQL["settle_sent"], held)
        return
    incident_id = claimed.notice.incident_id
    given_up = attempt.hopeless or now - claimed.created_at >= GIVE_UP_AFTER
    troubled = given_up or claimed.attempts == TROUBLED_AFTER
    if troubled and incident_id is not None:
        # Before anything of it, as everybody does: so that nobody waits in a circle.
        standing.lock(connection, incident_id)
    gone = claimed.secret is None
    row = connection.execute(
        _SQL["settle_failed"],
        {
            **held,
            "state": "withdrawn" if gone else "failed" if given_up else "queued",
            "next_try_at": now + timedelta(seconds=wait_s(claimed.attempts, jitter)),
            "error": attempt.error[:500],
            "because": attempt.error if gone else None,
        },
    ).fetchone()
    if row is None or incident_id is None or not troubled or (row[0] == "withdrawn" and not gone):
        return
    _note_trouble(connection, claimed, attempt.error, now, given_up=given_up)


def _note_trouble(connection: Connection, claimed: Claimed, error: str, now: datetime, *, given_up: bool) -> None:
    notice = claimed.notice
    assert notice.incident_id is not None
    timeline.note(
        connection,
        notice.incident_id,
        now,
        ACTOR,
        "notice_failed" if given_up else "notice_troubled",
        reason=f"{notice.person_id} could not be told by {notice.channel_kind}: {error}",
        outbox=claimed.outbox_id,
        person=notice.person_id,
        attempts=claimed.attempts,
    )
    if notice.purpose != CALL:
        return
    step = {"incident_id": notice.incident_id, "round": notice.round, "purpose": CALL, "step": notice.step}
    (hopeful,) = connection.execute(
        _SQL["still_hopeful"], {**step, "outbox_id": claimed.outbox_id, "troubled_after": TROUBLED_AFTER}
    ).fetchone() or (False,)
    if hopeful:
        return
    brought = connection.execute(_SQL["bring_forward"], {**step, "now": now}).fetchone()
    if brought is not None:
        timeline.note(
            connection,
            notice.incident_id,
            now,
            ACTOR,
            "step_brought_forward",
            reason=f"nobody of step {(notice.step or 0) + 1} could be told: step {brought[0] + 1} does not wait",
            step=brought[0],
            role=brought[1],
        )


def called_people(connection: Connection, incident_id: int) -> list[str]:
    """Ids of those whom notices of an incident have reached."""
    return sorted(row[0] for row in connection.execute(_SQL["called_people"], {"incident_id": incident_id}))


@dataclass(frozen=True, slots=True)
class Sent:
    """A notice as the timeline shows it. The target is not shown: it holds credentials."""

    outbox_id: int
    purpose: str
    step: int | None
    repeat: int | None
    level: int
    person_id: str
    channel_kind: str
    subject: str
    state: str
    attempts: int
    created_at: datetime
    next_try_at: datetime
    sent_at: datetime | None
    last_error: str | None
    withdrawn_because: str | None
    drill: bool


def notices_of(connection: Connection, incident_id: int) -> list[Sent]:
    """The notices of an incident, in order."""
    return [Sent(*row) for row in connection.execute(_SQL["notices_of"], {"incident_id": incident_id})]
