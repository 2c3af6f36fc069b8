"""People who can be called and their duty, as rows. Connection first, never a commit."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

import msgspec

from fleet_core import sql
from fleet_core.db import Connection
from incidents.response import rota
from incidents.response.policy import CHANNELS, Policy
from incidents.response.rota import Channel, Hole, Person, Rota, Shift

_SQL: Final = sql.load("incidents.response", "people.sql")
_encode: Final = msgspec.json.Encoder().encode

MAX_CHANNELS: Final = 10
_MAX_URL: Final = 1000


class ChannelError(ValueError):
    """A channel that cannot be kept; the text is one sentence that names it."""


@dataclass(frozen=True, slots=True)
class Kept:
    """A person as kept, with the revision that guards edits."""

    person: Person
    revision: int


def channels_of(held: Sequence[Any]) -> tuple[Channel, ...]:
    """Channels from `[{"kind", "url", "secret"?}, ..]`. Raises ChannelError."""
    if len(held) > MAX_CHANNELS:
        raise ChannelError(f"a person has at most {MAX_CHANNELS} channels, not {len(held)}")
    found = []
    for number, item in enumerate(held, start=1):
        if not isinstance(item, dict) or set(item) - {"kind", "url", "secret"}:
            raise ChannelError(f"channel {number} must have kind, url and, for a web hook, secret")
        kind, url, secret = item.get("kind"), item.get("url"), item.get("secret", "")
        if kind not in CHANNELS:
            raise ChannelError(f"channel {number} is of kind {kind!r}, expected {' or '.join(CHANNELS)}")
        if not isinstance(url, str) or "://" not in url or not url.isprintable() or len(url) > _MAX_URL:
            raise ChannelError(f"channel {number} has no usable url")
        if kind == "webhook" and (not isinstance(secret, str) or len(secret) < 16):
            raise ChannelError(f"channel {number} is a web hook and needs a secret of at least 16 characters")
        found.append(Channel(kind, url, secret if kind == "webhook" else ""))
    return tuple(found)


def _row(person: Person) -> dict[str, Any]:
    channels = [
        {"kind": item.kind, "url": item.url, **({"secret": item.secret} if item.secret else {})}
        for item in person.channels
    ]
    return {
        "person_id": person.person_id,
        "name": person.name,
        "roles": list(person.roles),
        "depot": person.depot,
        "language": person.language,
        "channels": _encode(channels).decode(),
        "active": person.active,
    }


def insert_person(connection: Connection, person: Person) -> int | None:
    """Enter a person. Returns the revision, None when there is one of this id already."""
    row = connection.execute(_SQL["insert_person"], _row(person)).fetchone()
    return None if row is None else int(row[0])


def update_person(connection: Connection, person: Person, revision: int) -> int | None:
    """Change a person. Returns the new revision, None when it is not there or not at `revision` any more."""
    row = connection.execute(_SQL["update_person"], {**_row(person), "revision": revision}).fetchone()
    return None if row is None else int(row[0])


def people(connection: Connection) -> list[Kept]:
    """Everybody, by id."""
    return [
        Kept(
            Person(
                person_id,
                name,
                tuple(roles),
                tuple(Channel(item["kind"], item["url"], item.get("secret", "")) for item in channels),
                depot,
                language,
                active,
            ),
            revision,
        )
        for person_id, name, roles, depot, language, channels, active, revision in connection.execute(_SQL["people"])
    ]


def insert_shift(connection: Connection, shift: Shift, entered_by: str, now: datetime) -> int:
    """Put a person on duty; the shift's own id is ignored. Returns its id.

    Raises psycopg.errors.ForeignKeyViolation for an unknown person, CheckViolation for an end before its begin.
    """
    row = connection.execute(
        _SQL["insert_shift"],
        {
            "role": shift.role,
            "depot": shift.depot,
            "person_id": shift.person_id,
            "starts_at": shift.starts_at,
            "ends_at": shift.ends_at,
            "override": shift.override,
            "entered_by": entered_by,
            "entered_at": now,
        },
    ).fetchone()
    assert row is not None
    return int(row[0])


def delete_shift(connection: Connection, shift_id: int) -> bool:
    """Take a shift back. False when there is none."""
    return connection.execute(_SQL["delete_shift"], {"shift_id": shift_id}).rowcount == 1


def shifts(connection: Connection, starts_at: datetime, ends_at: datetime) -> list[Shift]:
    """Shifts that touch a span, by begin."""
    return [Shift(*row) for row in connection.execute(_SQL["shifts"], {"from": starts_at, "until": ends_at})]


def rota_between(connection: Connection, starts_at: datetime, ends_at: datetime) -> Rota:
    """People and shifts as they stand, as far as a span needs them."""
    everybody = tuple(kept.person for kept in people(connection))
    return Rota(everybody, tuple(shifts(connection, starts_at, ends_at)))


def rota_at(connection: Connection, now: datetime) -> Rota:
    """People and shifts as they stand, for calls at an instant."""
    return rota_between(connection, now, now + timedelta(seconds=1))


def holes(connection: Connection, policy: Policy, now: datetime, days: float) -> list[Hole]:
    """Where in the coming days a role of the policy is not covered: see rota.holes."""
    until = now + timedelta(days=days)
    depots = {row[0] for row in connection.execute(_SQL["depots"])} | {None}
    return rota.holes(rota_between(connection, now, until), policy.wanted(), depots, now, until)
