"""The MQTT topic contract, version 1: `fleet/v1/{partition}/{vehicle_id}/{stream}`."""

import re
import zlib
from dataclasses import dataclass
from functools import lru_cache
from typing import Final
from urllib.parse import quote, unquote

ROOT: Final = "fleet/v1"

TELEMETRY: Final = "telemetry"
ALARM: Final = "alarm"
BURST: Final = "burst"
DIAGNOSTICS: Final = "diagnostics"
STATUS: Final = "status"
COMMAND: Final = "command"
COMMAND_RESULT: Final = "command/result"
# What a foreign device published, byte for byte, moved under its vehicle's partition by the relay. The stream level is
# `via:` and the original topic, percent-encoded, because codecs read it and evidence shows it.
VIA: Final = "via"

# Streams a vehicle sends and ingest reads, split by urgency: alarms and bursts travel in a session of their own, so
# that a backlog of telemetry never stands before a crash.
URGENT_STREAMS: Final = (ALARM, BURST)
ORDINARY_STREAMS: Final = (TELEMETRY, DIAGNOSTICS, STATUS, COMMAND_RESULT)
INBOUND_STREAMS: Final = (*ORDINARY_STREAMS, *URGENT_STREAMS)

# Vehicles whose id begins with this exist for drills: whatever concerns them is marked as one, everywhere.
DRILL_PREFIX: Final = "drill-"

_VEHICLE_ID = re.compile(r"[A-Za-z0-9_-]{1,64}\Z")
_PARTITION = re.compile(r"[0-9a-f]{2}\Z")


class TopicError(ValueError):
    """A topic or vehicle id outside the contract; the message says which part."""


@dataclass(frozen=True, slots=True)
class Topic:
    """A parsed inbound topic. `original` is set only for relayed messages (stream `via`)."""

    partition: int
    vehicle_id: str
    stream: str
    original: str | None = None


def check_vehicle_id(vehicle_id: str) -> str:
    """Return `vehicle_id` unchanged, or raise TopicError when it is not 1 to 64 of A-Z a-z 0-9 _ -."""
    if not _VEHICLE_ID.match(vehicle_id):
        raise TopicError(f"vehicle id {vehicle_id!r} is not 1 to 64 characters of A-Z, a-z, 0-9, _ and -")
    return vehicle_id


@lru_cache(maxsize=200_000)
def partition_of(vehicle_id: str, partitions: int) -> int:
    """Partition of a vehicle: CRC-32 (as in zlib) of its id, modulo the installation's partition count."""
    return zlib.crc32(vehicle_id.encode("ascii")) % partitions


def topic_of(vehicle_id: str, stream: str, partitions: int) -> str:
    """Topic that `vehicle_id` publishes `stream` on."""
    return f"{ROOT}/{partition_of(check_vehicle_id(vehicle_id), partitions):02x}/{vehicle_id}/{stream}"


def relayed_topic_of(vehicle_id: str, original: str, partitions: int) -> str:
    """Topic under which the relay republishes a message that came on `original`."""
    return f"{topic_of(vehicle_id, VIA, partitions)}:{quote(original, safe='')}"


def parse(topic: str) -> Topic:
    """Split an inbound topic. Raises TopicError naming the level that is wrong."""
    levels = topic.split("/", 4)
    if len(levels) < 5 or levels[0] != "fleet" or levels[1] != "v1":
        raise TopicError(f"topic {topic!r} is not {ROOT}/{{partition}}/{{vehicle_id}}/{{stream}}")
    _, _, partition, vehicle_id, stream = levels
    if not _PARTITION.match(partition):
        raise TopicError(f"topic {topic!r}: partition {partition!r} is not two lower-case hex digits")
    check_vehicle_id(vehicle_id)
    original = None
    if stream.startswith(VIA + ":"):
        stream, original = VIA, unquote(stream[len(VIA) + 1 :])
    elif stream not in INBOUND_STREAMS:
        raise TopicError(f"topic {topic!r}: {stream!r} is not a stream a vehicle sends")
    return Topic(int(partition, 16), vehicle_id, stream, original)


# Each vehicle repeats its few topics, so parsing is nearly always a look-up.
parse_cached = lru_cache(maxsize=200_000)(parse)


def parse_unpartitioned(topic: str) -> tuple[str, str] | None:
    """(vehicle_id, stream) of a native topic without a partition level, or None when it is something else."""
    prefix, _, rest = topic.partition(ROOT + "/")
    vehicle_id, _, stream = rest.partition("/")
    if prefix or stream not in INBOUND_STREAMS or not _VEHICLE_ID.match(vehicle_id):
        return None
    return vehicle_id, stream


def ordinary_filters(partition: int) -> list[str]:
    """Subscription of a partition's ordinary session.

    One filter for every stream of one level, because a broker works for each subscription at every message (NATS looks
    at all of them when it lets an acknowledged message go). It brings the urgent streams too: see PASSED_OVER.
    """
    return [f"{ROOT}/{partition:02x}/+/+"]


def urgent_filters(partition: int) -> list[str]:
    """Subscriptions of a partition's urgent session: alarms and bursts, and the one stream of two levels."""
    return [f"{ROOT}/{partition:02x}/+/{stream}" for stream in (*URGENT_STREAMS, COMMAND_RESULT)]


# Last levels that the ordinary session's filter brings and that are not its own: the urgent session has them, or, for
# commands, the vehicle.
PASSED_OVER: Final = frozenset({*URGENT_STREAMS, COMMAND})


def unpartitioned_filters() -> list[str]:
    """Native topics without a partition level, `fleet/v1/{vehicle_id}/{stream}`, which the relay moves."""
    return [f"{ROOT}/+/{stream}" for stream in INBOUND_STREAMS]
