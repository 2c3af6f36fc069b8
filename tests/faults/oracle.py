"""The oracle of every fault test: ledger against store, and the proof that the message log is whole.

It reads payloads with the standard library alone, so that a fault of the decoder cannot hide itself.
"""

import hashlib
import json
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import psycopg

from fleet_core import message_log
from fleet_core.publications import Message

Connection = psycopg.Connection[Any]
Key = tuple[str, int, int]


@dataclass(frozen=True)
class Verdict:
    """The numbers. All but `kept` must be 0."""

    kept: int
    lost: int
    doubled: int
    damaged: int
    invented: int
    missing_from_log: int
    broken_links: int

    @property
    def clean(self) -> bool:
        return not any((self.lost, self.doubled, self.damaged, self.invented, self.missing_from_log, self.broken_links))


def expected_rows(messages: Sequence[Message]) -> dict[tuple[str, Key], tuple[Any, ...]]:
    """What the tables must hold: (table, key) to values. Key: vehicle, device time in ms, boot << 32 | seq."""
    rows: dict[tuple[str, Key], tuple[Any, ...]] = {}
    for message in messages:
        body = json.loads(message.payload)
        identity = body["boot"] << 32 | body["seq"]
        if message.topic.endswith("/alarm"):
            rows["device_events", (message.vehicle_id, body["t_ms"], identity)] = (body["kind"], body)
            continue
        for sample, t_ms in enumerate(body["t_ms"]):
            rows["readings", (message.vehicle_id, t_ms, identity + sample)] = (
                body["lat_deg"][sample],
                body["lon_deg"][sample],
                body["speed_kmh"][sample],
                body["ignition"],
            )
    return rows


_MS = "(extract(epoch FROM device_time) * 1000)::bigint"
_STORED = (
    ("readings", f"SELECT vehicle_id, {_MS}, seq, lat_deg, lon_deg, speed_kmh, ignition FROM readings"),
    ("device_events", f"SELECT vehicle_id, {_MS}, seq, kind, body FROM device_events"),
)


def count(connection: Connection) -> int:
    """Rows stored so far."""
    row = connection.execute("SELECT (SELECT count(*) FROM readings) + (SELECT count(*) FROM device_events)").fetchone()
    assert row is not None
    return int(row[0])


def judge(
    url: str,
    ledger: Sequence[Message],
    published: Sequence[Message] | None = None,
    *,
    unstored: Sequence[Message] = (),
) -> Verdict:
    """Compare. `published` may hold messages that were never answered: they may be stored, and need not.

    `unstored` were published too and must be in the message log alone: messages that became dead letters.
    """
    refused = {id(message) for message in unstored}
    may = expected_rows([message for message in published or ledger if id(message) not in refused])
    must = expected_rows(ledger)
    seen: Counter[tuple[str, Key]] = Counter()
    damaged = 0
    with psycopg.connect(url) as connection:
        # One snapshot: a worker may still be writing what the broker sends it again.
        connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        for table, statement in _STORED:
            for vehicle_id, t_ms, seq, *values in connection.execute(statement):
                key = (table, (vehicle_id, t_ms, seq))
                seen[key] += 1
                damaged += key in may and may[key] != tuple(values)
        missing, broken = _judge_log(connection, [*ledger, *unstored], published or ledger)
        assert _live_state_is_newest(connection), "a latest position is not its vehicle's newest reading"
    verdict = Verdict(
        kept=len(seen),
        lost=len(must.keys() - seen.keys()),
        doubled=sum(times - 1 for times in seen.values()),
        damaged=damaged,
        invented=len(seen.keys() - may.keys()),
        missing_from_log=missing,
        broken_links=broken,
    )
    print(verdict)
    return verdict


def _judge_log(connection: Connection, ledger: Sequence[Message], published: Sequence[Message]) -> tuple[int, int]:
    """(ledger messages that the log does not hold byte for byte, faults of its chains)."""
    logged: set[bytes] = set()
    heads: dict[str, bytes] = {}
    broken = 0
    rows = connection.execute(
        "SELECT lanes, previous_hashes, message_count, raw_bytes, merkle_root, row_hash, messages"
        " FROM message_log ORDER BY id"
    )
    for lanes, previous, messages, raw_bytes, root, row_hash, blob in rows:
        unpacked = message_log.unpack(blob)
        broken += len(unpacked) != messages
        broken += sum(len(message.payload) for message in unpacked) != raw_bytes
        broken += message_log.merkle_root(unpacked) != root
        broken += message_log.row_hash(root, messages, lanes, previous) != row_hash
        broken += {_lane(message.topic) for message in unpacked} != set(lanes)
        for lane, before in zip(lanes, previous, strict=True):
            broken += heads.get(lane, message_log.EMPTY_HASH) != before
            heads[lane] = row_hash
        logged.update(_digest(message.topic, message.payload) for message in unpacked)
    stored_heads = dict(connection.execute("SELECT lane, row_hash FROM message_log_heads"))
    broken += stored_heads != heads
    sent = {_digest(message.topic, message.payload) for message in published}
    # A logged message that nobody sent is one that was changed on its way.
    broken += len(logged - sent)
    return len({_digest(message.topic, message.payload) for message in ledger} - logged), broken


def _lane(topic: str) -> str:
    levels = topic.split("/")
    return ("a" if levels[4] in ("alarm", "burst") else "p") + levels[2]


def _digest(topic: str, payload: bytes) -> bytes:
    return hashlib.sha256(topic.encode() + b"\x00" + payload).digest()


def _live_state_is_newest(connection: Connection) -> bool:
    row = connection.execute(
        "SELECT count(*) FROM (SELECT vehicle_id, max(device_time) AS newest FROM readings GROUP BY vehicle_id) AS r"
        " FULL JOIN latest_positions AS l USING (vehicle_id) WHERE l.device_time IS DISTINCT FROM r.newest"
    ).fetchone()
    return row is not None and row[0] == 0


def wait_for(url: str, rows: int, *, still_s: float = 60.0, describe: Callable[[], str] = str) -> None:
    """Wait until so many rows are stored. Fails when nothing more comes for `still_s`."""
    with psycopg.connect(url, autocommit=True) as connection:
        before, since = -1, time.monotonic()
        while (now := count(connection)) < rows:
            if now != before:
                before, since = now, time.monotonic()
            assert time.monotonic() - since < still_s, f"{now} of {rows} rows stored, no more come. {describe()}"
            time.sleep(0.1)
