"""The ordered list of stages a batch goes through, in one transaction, and what is done when the database refuses."""

import logging
from collections.abc import Mapping, Sequence
from typing import Final, Protocol

import psycopg

from fleet_core.db import Connection
from fleet_core.settings import Settings
from incidents.response import policy_file
from incidents.response.rounds import Responder
from incidents.stages import Detect, TakeIn
from ingest.batch import Batch, decode, without
from ingest.message import Message, Refusal
from ingest.store import POISON, RefusedVehiclesError, Store, vehicle_of

log = logging.getLogger("fleet.ingest")


class Stage(Protocol):
    """One step. Sees only what earlier steps left in the batch: after `store`, that is fresh readings and events.

    A stage may raise anything; the transaction is rolled back, `forget` is called and the batch comes again.
    """

    name: str

    def apply(self, connection: Connection, batch: Batch) -> None:
        """Do the step within the caller's transaction."""
        ...

    def forget(self) -> None:
        """Throw away what was remembered in memory: the transaction did not commit, or the lease changed."""
        ...


def stages(settings: Settings) -> list[Stage]:
    """The pipeline: store > usage > detect > intake. Order is the meaning, so it is a list, not a scan.

    Raises PolicyError when the response policy cannot be used.
    """
    detect = Detect()
    return [
        Store(settings),
        # usage takes its place here.
        detect,
        TakeIn(detect, Responder(policy_file.load(settings.response_policy))),
    ]


class Pipeline:
    """Runs a batch through the stages and commits it. The one place of ingest that commits."""

    def __init__(self, settings: Settings, steps: Sequence[Stage] | None = None) -> None:
        self._settings = settings
        self._stages = stages(settings) if steps is None else list(steps)
        store = self._stages[0]
        assert isinstance(store, Store), "the first stage stores: later ones see only what is fresh"
        self._store = store

    def forget(self) -> None:
        """Drop every stage's memory."""
        for stage in self._stages:
            stage.forget()

    def commit(self, connection: Connection, batch: Batch) -> Batch:
        """Store the batch and commit. Returns the batch as it was stored.

        Duplicates, refused vehicles and refused rows are dealt with here, each by a fresh attempt in a new transaction.
        Raises psycopg.OperationalError and the like when the database is in trouble: nothing was acknowledged then.
        """
        for _ in range(_MAX_ATTEMPTS):
            messages, refused = batch.messages, dict(batch.refused)
            try:
                self._run(connection, batch)
            except psycopg.errors.UniqueViolation as error:
                self._roll_back(connection)
                if error.diag.table_name is not None and not _is_readings(error.diag.table_name):
                    refused |= self._find_refused(connection, messages, refused)
                self._store.expect_duplicates()
            except RefusedVehiclesError as error:
                self._roll_back(connection)
                refused |= _of_vehicles(messages, error.refusals)
            except POISON:
                self._roll_back(connection)
                refused |= self._find_refused(connection, messages, refused)
            except BaseException:
                self._roll_back(connection)
                raise
            else:
                return batch
            batch = without(batch, self._settings, refused)
        raise RuntimeError(f"a batch of {len(batch.messages)} messages was refused {_MAX_ATTEMPTS} times")

    def _run(self, connection: Connection, batch: Batch) -> None:
        for stage in self._stages:
            stage.apply(connection, batch)
        connection.commit()

    def _roll_back(self, connection: Connection) -> None:
        self.forget()
        if not connection.closed:
            connection.rollback()

    def _find_refused(
        self, connection: Connection, messages: Sequence[Message], refused: dict[int, Refusal]
    ) -> dict[int, Refusal]:
        """Halve the batch until each message whose row the database refuses stands alone. Writes nothing."""
        found: dict[int, Refusal] = {}
        self._store.expect_duplicates()
        pending = [[index for index in range(len(messages)) if index not in refused]]
        while pending:
            indexes = pending.pop()
            error = self._why_refused(connection, [messages[index] for index in indexes])
            if error is None:
                continue
            if len(indexes) == 1:
                reason = " ".join(str(error).split())
                found[indexes[0]] = Refusal("database_refused", f"the database refused it: {reason}")
                continue
            half = len(indexes) // 2
            pending += [indexes[:half], indexes[half:]]
        log.warning("the database refused the rows of %d of %d messages", len(found), len(messages))
        return found

    def _why_refused(self, connection: Connection, messages: Sequence[Message]) -> Exception | None:
        try:
            batch = decode(messages, self._settings)
            self._store.write_rows(connection, batch)
            for stage in self._stages[1:]:
                stage.apply(connection, batch)
        except POISON as error:
            return error
        except RefusedVehiclesError:
            return None  # refused for that on the next attempt
        else:
            return None
        finally:
            self._roll_back(connection)
            self._store.expect_duplicates()


# Duplicates, revoked vehicles, unknown ones, refused rows, then duplicates again: no batch needs more than a few.
_MAX_ATTEMPTS: Final = 6


def _is_readings(table: str) -> bool:
    # On a hypertable the violation names the chunk.
    return table == "readings" or table.startswith("_hyper_")


def _of_vehicles(messages: Sequence[Message], refusals: Mapping[str, Refusal]) -> dict[int, Refusal]:
    vehicles = ((index, vehicle_of(message.topic)) for index, message in enumerate(messages))
    return {index: refusals[vehicle_id] for index, vehicle_id in vehicles if vehicle_id and vehicle_id in refusals}
