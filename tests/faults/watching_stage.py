"""A stage at the end of the pipeline that writes down what it was shown, in the batch's own transaction.

What later stages are promised is judged from its table: each fresh reading once, in the broker's order.
"""

import os
from typing import Any

from fleet_core.db import Connection
from fleet_core.settings import Settings
from ingest import pipeline
from ingest.batch import Batch
from ingest.packet_socket import PacketSocket
from ingest.source import Session

CREATE = """
CREATE TABLE shown (
    shown_number bigint GENERATED ALWAYS AS IDENTITY,
    worker integer, session text, generation integer, vehicle_id text, seq bigint, redelivered boolean)
"""

_redelivered: set[tuple[str, int, int]] = set()


class Watch:
    """The stage."""

    name = "watch"

    def apply(self, connection: Connection, batch: Batch) -> None:
        """Write one row a fresh reading, in the order of the messages that brought them."""
        readings = batch.readings
        rows = []
        for row in sorted(range(len(readings)), key=lambda row: int(readings.message_index[row])):
            message = batch.messages[int(readings.message_index[row])]
            rows.append(
                (
                    os.getpid(),
                    message.session,
                    message.generation,
                    readings.vehicles[int(readings.vehicle_index[row])],
                    int(readings.seq[row]),
                    (message.session, message.generation, message.packet_id) in _redelivered,
                )
            )
        with connection.cursor() as cursor:
            cursor.executemany(
                "INSERT INTO shown (worker, session, generation, vehicle_id, seq, redelivered)"
                " VALUES (%s, %s, %s, %s, %s, %s)",
                rows,
            )

    def forget(self) -> None:
        """Nothing is remembered."""


def install() -> None:
    """Put the stage at the end of the list, and note which messages the broker marks as sent before."""
    real_stages, real_take = pipeline.stages, PacketSocket.take_publishes
    real_on_publish = Session._on_publish
    marked: dict[int, bool] = {}

    def stages(settings: Settings) -> list[Any]:
        return [*real_stages(settings), Watch()]

    def take_publishes(self: PacketSocket) -> list[Any]:
        # The mark is bit 3 of a packet's first byte; what is taken are its bytes in order, so it is found by walking.
        buffer, at = self._buffer, self._at
        taken = real_take(self)
        marked.clear()
        for packet_id, topic, payload in taken:
            marked[packet_id] = bool(buffer[at] & 0x08)
            body = 2 + len(topic) + (2 if packet_id else 0) + len(payload)
            at += 1 + (1 if body < 128 else 2 if body < 16_384 else 3) + body
        return taken

    def on_publish(self: Session, packet_id: int, topic_bytes: bytes, payload: bytes) -> None:
        key = (self.name, self.generation, packet_id)
        (_redelivered.add if marked.get(packet_id) else _redelivered.discard)(key)
        real_on_publish(self, packet_id, topic_bytes, payload)

    pipeline.stages = stages
    PacketSocket.take_publishes = take_publishes  # type: ignore[method-assign]
    Session._on_publish = on_publish  # type: ignore[method-assign]
