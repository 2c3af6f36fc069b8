"""The incidents worker owns time: escalation, notices, reminders, holes in the rota, sweeps of detectors, retention.

Each job runs in a thread and on a connection of its own, so that a slow one holds up no other, and leaves a heartbeat.
Several workers may run beside each other: what one has locked, the others pass over.
"""

import contextlib
import logging
import os
import random
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

import psycopg

from fleet_core import clock, db, retention
from fleet_core.db import Connection
from fleet_core.settings import Settings
from incidents import detector
from incidents.response import notices, obligations, outbox, people, policy_file, rounds, watchdog
from incidents.response.notify import Sender
from incidents.response.outbox import Attempt, Claimed
from incidents.response.policy import Policy
from incidents.response.rounds import Responder
from incidents.sweeps import Sweeper

log = logging.getLogger("fleet.incidents")

# Most incidents or reminders of one run; what is left comes at once afterwards.
_AT_MOST: Final = 200
# An incident whose response cannot be worked on is left aside this long, so that the others are not held up by it.
_POSTPONE_S: Final = 60.0
# A heartbeat is written no more often than this.
_BEAT_EVERY_S: Final = 5.0
_RETRY_S: Final = 2.0
_FAILED_RETRY_S: Final = 10.0
_STOP_WITHIN_S: Final = 5.0


@dataclass
class Context:
    """What jobs share. Each field beyond the first three belongs to one job alone."""

    settings: Settings
    policy: Policy
    stop: threading.Event
    sender: Sender = field(default_factory=Sender)
    # How sending went, to be written down: kept while the database is away.
    unsettled: list[tuple[Claimed, Attempt]] = field(default_factory=list)
    # Incident to the monotonic time at which it is tried again.
    postponed: dict[int, float] = field(default_factory=dict)
    # One for each job that sweeps: they remember what they have read.
    sweepers: dict[str, Sweeper] = field(default_factory=dict)

    def sweeper(self, job: str) -> Sweeper:
        """The sweeper of a job."""
        if job not in self.sweepers:
            self.sweepers[job] = Sweeper(detector.detectors(), Responder(self.policy))
        return self.sweepers[job]


# Runs in one transaction that is committed afterwards, unless it commits by itself. True: there is more to do at once.
Run = Callable[[Connection, Context], bool]


@dataclass(frozen=True, slots=True)
class Job:
    """Something that is done again and again, every `every_s` seconds.

    frozen_after_s  the database undoes a transaction in which the job has said nothing for this long: ingest waits for
                    the incidents and vehicles it holds
    end             what is done when the worker is told to stop, within its few seconds
    """

    name: str
    every_s: float
    run: Run
    frozen_after_s: float = 60.0
    end: Run | None = None


def _escalate(connection: Connection, context: Context) -> bool:
    """Follow incidents and do what is due in them, each in a transaction of its own."""
    for incident_id in [key for key, until_s in context.postponed.items() if until_s <= time.monotonic()]:
        del context.postponed[incident_id]
    waiting = rounds.waiting(connection, clock.now(), list(context.postponed), _AT_MOST)
    connection.commit()
    for incident_id in waiting:
        if context.stop.is_set():
            return False
        try:
            rounds.work_on(connection, incident_id, clock.now(), context.policy)
            connection.commit()
        except psycopg.OperationalError:
            raise
        except Exception:
            connection.rollback()
            context.postponed[incident_id] = time.monotonic() + _POSTPONE_S
            log.exception("the response to incident %d is postponed for %.0f s", incident_id, _POSTPONE_S)
    return len(waiting) == _AT_MOST


def _send(connection: Connection, context: Context) -> bool:
    """Claim, commit, send, settle, commit."""
    sender = context.sender
    if sender.free and not context.stop.is_set():
        claimed = outbox.claim(connection, clock.now(), sender.free)
        connection.commit()
        for item in claimed:
            sender.start(item)
    return _settle(connection, context)


def _settle(connection: Connection, context: Context) -> bool:
    """Write down how sending went. True while something is still being sent."""
    context.unsettled += context.sender.finished(wait_s=0.5)
    while context.unsettled:
        item, attempt = context.unsettled[0]
        outbox.settle(connection, item, attempt, clock.now(), random.random())
        connection.commit()
        context.unsettled.pop(0)
        if attempt.error is not None:
            log.warning("notice %d to %s, attempt %d: %s", item.outbox_id, item.notice.person_id, item.attempts,
                        attempt.error)  # fmt: skip
    return context.sender.under_way > 0


def _settle_the_last(connection: Connection, context: Context) -> bool:
    """What is being sent when the worker stops would be sent again after its lease: wait for it, but not for ever."""
    until = time.monotonic() + _STOP_WITHIN_S - 1.0
    while _settle(connection, context) and time.monotonic() < until:
        pass
    return False


def _remind(connection: Connection, context: Context) -> bool:
    """Call obligations to mind, each in a transaction of its own."""
    due = obligations.reminders_due(connection, clock.now(), _AT_MOST)
    connection.commit()
    for obligation_id, incident_id in due:
        if context.stop.is_set():
            return False
        obligations.remind(connection, obligation_id, incident_id, clock.now())
        connection.commit()
    return False


def _look_for_holes(connection: Connection, context: Context) -> bool:
    """Tell of holes in the rota of the coming days, once a day to each person."""
    now, check = clock.now(), context.policy.rota_check
    holes = people.holes(connection, context.policy, now, check.days)
    if not holes:
        return False
    rota = people.rota_at(connection, now)
    reached = rota.reach(check.role, None, now)
    for role in context.policy.role(check.role).next:
        if reached.people:
            break
        reached = rota.reach(role, None, now)
    log.warning("the rota of the coming %d days has %d holes; %s told", check.days, len(holes),
                ", ".join(person.person_id for person in reached.people) or "nobody can be")  # fmt: skip
    found = notices.of_holes(holes, context.policy, check.days, reached.people, now.date().isoformat())
    outbox.queue(connection, found, now)
    return False


def _remove_old(connection: Connection, context: Context) -> bool:
    """Remove what is older than the retention allows."""
    removed = retention.sweep(connection, context.settings.retention_days, clock.now())
    if removed.anything:
        log.info("retention removed %s", removed)
    return False


def _compute_hours(connection: Connection, context: Context) -> bool:
    """Facts of hours that are over."""
    return context.sweeper("hours").compute_hours(connection, clock.now())


def _sweep(connection: Connection, context: Context) -> bool:
    """Detectors that look by the clock, each in a transaction of its own."""
    sweeper = context.sweeper("sweeps")
    for one in sweeper.sweeping():
        if context.stop.is_set():
            return False
        sweeper.look(connection, one, clock.now())
        connection.commit()
    return False


def _look_at_late(connection: Connection, context: Context) -> bool:
    """What late readings touched."""
    return context.sweeper("late").look_at_late(connection, clock.now())


def _revisit(connection: Connection, context: Context) -> bool:
    """Detections that wait for silence."""
    return context.sweeper("revisits").revisit(connection, clock.now())


def _lower(connection: Connection, context: Context) -> bool:
    """Incidents whose evidence has supported only less for a while."""
    return context.sweeper("lowering").lower(connection, clock.now())


JOBS: Final[tuple[Job, ...]] = (
    Job("escalation", 1.0, _escalate, frozen_after_s=10.0),
    Job("notices", 1.0, _send, frozen_after_s=10.0, end=_settle_the_last),
    Job("reminders", 30.0, _remind, frozen_after_s=10.0),
    Job("rota", 3600.0, _look_for_holes),
    Job("hours", 60.0, _compute_hours),
    Job("sweeps", 10.0, _sweep),
    Job("late", 10.0, _look_at_late),
    Job("revisits", 5.0, _revisit),
    Job("lowering", 10.0, _lower),
    Job("retention", 600.0, _remove_old),
)


def run(settings: Settings, stop: threading.Event) -> None:
    """Run every job until `stop` is set. Raises PolicyError when the policy cannot be used."""
    settings.require("database_url")
    policy = policy_file.load(settings.response_policy)
    log.info("response policy %s", policy.version)
    hosts = frozenset(host.strip() for host in settings.webhook_hosts.split(",") if host.strip())
    context = Context(settings, policy, stop, Sender(hosts))
    threads = [threading.Thread(target=_keep, args=(job, context), name=job.name, daemon=True) for job in JOBS]
    for thread in threads:
        thread.start()
    stop.wait()
    until = time.monotonic() + _STOP_WITHIN_S
    for thread in threads:
        # What does not end in time is given up: the database undoes its transaction when the process is gone.
        thread.join(max(0.0, until - time.monotonic()))


def _keep(job: Job, context: Context) -> None:
    """Run one job until told to stop, whatever happens to the database."""
    connection: Connection | None = None
    beaten_at_s = -_BEAT_EVERY_S
    away = False
    wait_s = 0.0
    while not context.stop.wait(wait_s):
        try:
            if connection is None:
                connection = _connect(job, context.settings)
                away = _say_if_back(job, away)
            more = job.run(connection, context)
            if time.monotonic() - beaten_at_s >= _BEAT_EVERY_S:
                watchdog.beat(connection, job.name, job.every_s, clock.now(), _myself())
                beaten_at_s = time.monotonic()
            connection.commit()
            wait_s = 0.0 if more else job.every_s
        except (psycopg.OperationalError, psycopg.InterfaceError) as error:
            if not away:
                log.warning("%s: the database cannot be used, trying again: %s", job.name, error)
            away = True
            _leave(connection)
            connection = None
            wait_s = min(_RETRY_S, job.every_s)
        except Exception:
            log.exception("%s failed and is tried again in %.0f s", job.name, _FAILED_RETRY_S)
            _leave(connection)
            connection = None
            wait_s = _FAILED_RETRY_S
    if connection is not None and job.end is not None:
        with contextlib.suppress(psycopg.Error):  # the lease says what becomes of it
            job.end(connection, context)
            connection.commit()
    _leave(connection)


def _connect(job: Job, settings: Settings) -> Connection:
    options = f"-c idle_in_transaction_session_timeout={round(job.frozen_after_s * 1000)}"
    return db.connect(settings.database_url, f"incidents-{job.name}", options=options)


def _say_if_back(job: Job, away: bool) -> bool:
    if away:
        log.info("%s: the database is back", job.name)
    return False


def _leave(connection: Connection | None) -> None:
    if connection is not None:
        connection.close()


def _myself() -> dict[str, object]:
    return {"host": socket.gethostname(), "pid": os.getpid()}
