"""Incidents, people and a clock for tests of the response on a real database."""

import threading
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from fleet_core import db
from fleet_core.db import Connection
from incidents.response import outbox, people, policy_file, rounds
from incidents.response.outbox import Attempt, Claimed
from incidents.response.policy import Policy
from incidents.response.rota import Channel, Person

OPENED = datetime(2026, 3, 1, 3, tzinfo=UTC)
SECOND = timedelta(seconds=1)
SENT = Attempt()


def push(person_id: str) -> Channel:
    """A channel that no test sends to."""
    return Channel("apprise", f"ntfy://push.example/{person_id}")


def everybody(policy: Policy) -> list[Person]:
    """One person a role, named after it."""
    return [Person(role.role, role.name["en"], (role.role,), (push(role.role),)) for role in policy.roles]


def open_case(connection: Connection, at: datetime = OPENED, **columns: Any) -> int:
    """An incident as intake opens it. Returns its id."""
    row: dict[str, Any] = {
        "vehicle_id": "v1",
        "family": "collision",
        "kind": "crash",
        "level": 2,
        "score": 0.9,
        "occurred_at": at - timedelta(seconds=5),
        "detected_at": at,
        "last_evidence_at": at,
        "delay_s": 5.0,
        "lat_deg": 31.23,
        "lon_deg": 121.47,
        **columns,
    }
    found = connection.execute(
        f"INSERT INTO incidents ({', '.join(row)}) VALUES ({', '.join(['%s'] * len(row))}) RETURNING incident_id",
        list(row.values()),
    ).fetchone()
    assert found is not None
    return int(found[0])


def regrade(connection: Connection, incident_id: int, level: int) -> None:
    """The machine gives another level."""
    connection.execute(
        "UPDATE incidents SET level = %s, revision = revision + 1 WHERE incident_id = %s", [level, incident_id]
    )


@dataclass
class Desk:
    """A worker's tick on one connection, by a clock of the test's own."""

    connection: Connection
    policy: Policy = field(default_factory=policy_file.load)

    def staffed(self, *persons: Person) -> "Desk":
        """Enter people; without any, one for each role."""
        for person in persons or everybody(self.policy):
            assert people.insert_person(self.connection, person) == 1
        self.connection.commit()
        return self

    def tick(self, after_s: float) -> int:
        """What the worker does at `after_s` after the opening. Returns how many incidents it worked on."""
        now = OPENED + after_s * SECOND
        waiting = rounds.waiting(self.connection, now, [], 1000)
        for incident_id in waiting:
            assert rounds.work_on(self.connection, incident_id, now, self.policy)
            self.connection.commit()
        self.connection.commit()
        return len(waiting)

    def send(self, after_s: float, attempt: Attempt = SENT, at_most: int = 100) -> list[Claimed]:
        """Claim and settle what waits, all with the same outcome."""
        now = OPENED + after_s * SECOND
        claimed = outbox.claim(self.connection, now, at_most)
        for item in claimed:
            outbox.settle(self.connection, item, attempt, now, 1.0)
        self.connection.commit()
        return claimed

    def rows(self, statement: str, *values: Any) -> list[Any]:
        """Rows of a query; of one column, its values."""
        found = self.connection.execute(statement, values or None).fetchall()
        self.connection.rollback()
        return [row[0] if len(row) == 1 else row for row in found]

    def timeline(self, incident_id: int) -> list[tuple[str, str, str | None]]:
        """(kind, actor, reason) of every line."""
        return self.rows(
            "SELECT kind, actor, reason FROM incident_events WHERE incident_id = %s ORDER BY event_id", incident_id
        )

    def kinds(self, incident_id: int) -> list[str]:
        """Kinds of its lines."""
        return [kind for kind, _, _ in self.timeline(incident_id)]


class Elsewhere:
    """Another worker: a connection of its own, and a thread to wait in."""

    def __init__(self, url: str) -> None:
        self.connection = db.connect(url, "test-elsewhere")

    def __enter__(self) -> "Elsewhere":
        return self

    def __exit__(self, *_: object) -> None:
        self.connection.close()

    def begin(self, act: Any) -> threading.Thread:
        """Start something that may have to wait for a lock."""
        thread = threading.Thread(target=act, daemon=True)
        thread.start()
        return thread
