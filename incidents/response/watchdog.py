"""Does the response run? Each job leaves a heartbeat; this compares them, and the work left undone, with the time.

Whoever asks is another process than the worker: one that stands still cannot say so. Connection first, no commit.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

import msgspec

from fleet_core import sql
from fleet_core.db import Connection

_SQL: Final = sql.load("incidents.response", "watchdog.sql")
_encode: Final = msgspec.json.Encoder().encode

# A job is late when it has not run for three of its periods and this long besides. Judgement: a start, a checkpoint of
# the database or a busy machine take seconds, not half a minute.
_GRACE: Final = timedelta(seconds=30)


@dataclass(frozen=True, slots=True)
class Beat:
    """When a job last ran, and how often it means to, seconds."""

    name: str
    ticked_at: datetime
    every_s: float
    detail: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Undone:
    """What should have been done by now. Times None: nothing is."""

    oldest_step_due_at: datetime | None
    oldest_notice_due_at: datetime | None
    unfollowed: int
    notices_given_up: int
    nobody_reachable: int


@dataclass(frozen=True, slots=True)
class Trouble:
    """Something is wrong with the response. `code` for machines, `sentence` for people."""

    code: str
    sentence: str


def beat(connection: Connection, name: str, every_s: float, now: datetime, detail: Mapping[str, Any]) -> None:
    """Note that a job ran."""
    connection.execute(_SQL["beat"], {"name": name, "now": now, "every_s": every_s, "detail": _encode(detail).decode()})


def beats(connection: Connection) -> list[Beat]:
    """When each job last ran."""
    return [Beat(*row) for row in connection.execute(_SQL["beats"])]


def check(connection: Connection, now: datetime) -> list[Trouble]:
    """What is wrong with the response, nothing when all is well."""
    row = connection.execute(_SQL["left_undone"], {"now": now}).fetchone()
    assert row is not None
    return judge(beats(connection), Undone(*row), now)


def judge(found: Sequence[Beat], undone: Undone, now: datetime) -> list[Trouble]:
    """The same, pure."""
    troubles = []
    if not found:
        troubles.append(Trouble("never_ran", "The incidents worker has never run: nobody is called."))
    for item in found:
        silent = now - item.ticked_at
        if silent > 3 * timedelta(seconds=item.every_s) + _GRACE:
            sentence = (
                f"The job {item.name} of the incidents worker last ran {_span(silent)} ago; "
                f"it should every {_span(timedelta(seconds=item.every_s))}."
            )
            troubles.append(Trouble("job_late", sentence))
    if undone.oldest_step_due_at is not None and now - undone.oldest_step_due_at > _GRACE:
        late = _span(now - undone.oldest_step_due_at)
        troubles.append(Trouble("step_late", f"A step of escalation has been due for {late} and is not done."))
    if undone.oldest_notice_due_at is not None and now - undone.oldest_notice_due_at > _GRACE:
        late = _span(now - undone.oldest_notice_due_at)
        troubles.append(Trouble("notice_late", f"A notice has waited for {late} without being tried."))
    if undone.unfollowed:
        troubles.append(Trouble("no_plan", f"{undone.unfollowed} open incidents have no plan running."))
    if undone.notices_given_up:
        sentence = f"{undone.notices_given_up} notices of the last two days could not be sent and were given up."
        troubles.append(Trouble("notices_given_up", sentence))
    if undone.nobody_reachable:
        sentence = f"{undone.nobody_reachable} calls of the last day found nobody who could be reached."
        troubles.append(Trouble("nobody_reachable", sentence))
    return troubles


def _span(span: timedelta) -> str:
    seconds = span.total_seconds()
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"
