"""What the live feed asks of the database and how it reads the answers. Pure; live.py does the waiting."""

from collections.abc import Sequence
from typing import Any, Final

import numpy as np

from fleet_api import queries
from fleet_api.live_state import PositionColumns
from fleet_api.times import rfc3339
from fleet_core import sql

SQL: Final = sql.load("fleet_api", "live_reads.sql")

# Alarms of one read that are pushed; of more, the newest are, and clients are told how many were not.
MAX_ALARMS: Final = 200
# Incidents likewise; the gravest come first.
MAX_INCIDENTS: Final = 200


def position_columns(row: Sequence[Any]) -> PositionColumns:
    """Columns from the one row of the block `positions`. Raises ValueError when they differ in length."""
    count, ids, lat, lon, time_ms, speed, heading, ignition = row
    vehicle_ids = ids.split(",") if ids else []
    columns = PositionColumns(
        vehicle_ids,
        np.frombuffer(lat, dtype=">f8").astype(np.float64),
        np.frombuffer(lon, dtype=">f8").astype(np.float64),
        np.frombuffer(time_ms, dtype=">i8").astype(np.int64),
        np.frombuffer(speed, dtype=">f8").astype(np.float64),
        np.frombuffer(heading, dtype=">f8").astype(np.float64),
        np.frombuffer(ignition, dtype=">i2").astype(np.int8),
    )
    if not len(vehicle_ids) == len(columns.ignition) == count:
        raise ValueError(f"latest_positions holds an id that the contract does not allow ({count} rows)")
    return columns


def in_service(columns: PositionColumns, retired: frozenset[str]) -> PositionColumns:
    """Without the retired vehicles."""
    if not retired:
        return columns
    return columns.take(np.array([vehicle_id not in retired for vehicle_id in columns.vehicle_ids], dtype=np.bool_))


def alarm_messages(rows: Sequence[Sequence[Any]]) -> list[dict[str, object]]:
    """What clients are sent for the rows of the block `alarms`: oldest first, a note in front of more."""
    if not rows:
        return []
    messages: list[dict[str, object]] = []
    for row in reversed(rows):
        alarm = queries.alarm_of(*row[1:])
        messages.append(
            {
                "type": "alarm",
                "vehicle_id": alarm.vehicle_id,
                "kind": alarm.kind,
                "occurred_at": rfc3339(alarm.occurred_at),
                "device_time": rfc3339(alarm.device_time),
                "received_at": rfc3339(alarm.received_at),
                "clock_valid": alarm.clock_valid,
                "lat_deg": alarm.lat_deg,
                "lon_deg": alarm.lon_deg,
            }
        )
    left_out = rows[0][0] - len(rows)
    return [{"type": "alarms_left_out", "count": left_out}, *messages] if left_out else messages


def incident_messages(rows: Sequence[Sequence[Any]]) -> list[dict[str, object]]:
    """What clients are sent for changed incidents: the gravest first, a note in front of more."""
    names = ("incident_id", "vehicle_id", "family", "kind", "level", "status", "drill", "occurred_at", "detected_at",
             "delay_s", "lat_deg", "lon_deg", "acknowledged_by", "assigned_to", "revision")  # fmt: skip
    messages: list[dict[str, object]] = []
    for row in rows:
        told = dict(zip(names, row[1:], strict=True))
        told["occurred_at"], told["detected_at"] = rfc3339(told["occurred_at"]), rfc3339(told["detected_at"])
        messages.append({"type": "incident", **told})
    left_out = rows[0][0] - len(rows) if rows else 0
    return [{"type": "incidents_left_out", "count": left_out}, *messages] if left_out else messages


def went_back(seen: str, current: str) -> bool:
    """Whether a snapshot is older than one seen before: the database was replaced or restored.

    Snapshots are the text of pg_current_snapshot(), `xmin:xmax:xip,...`.
    """
    return int(current.split(":")[1]) < int(seen.split(":")[1])
