"""What a device may publish and hear: its vehicle's streams and its vehicle's commands, nothing else.

The topics are written out, one a stream, with the partition the vehicle hashes into: a pattern such as
`fleet/v1/+/{vehicle}/#` would let a device write commands to itself and into partitions that are not its own.
"""

from dataclasses import dataclass
from typing import Final

from fleet_core import topics

OWNTRACKS: Final = "owntracks"


@dataclass(frozen=True, slots=True)
class Rights:
    """Topic filters in MQTT form."""

    publish: tuple[str, ...]
    subscribe: tuple[str, ...]


def rights_of(vehicle_id: str, kind: str, partitions: int) -> Rights:
    """Rights of a device in `vehicle_id`. `kind` is the codec that reads it; OwnTracks has topics of its own."""
    publish = [topics.topic_of(vehicle_id, stream, partitions) for stream in topics.INBOUND_STREAMS]
    publish += [f"{topics.ROOT}/{vehicle_id}/{stream}" for stream in topics.INBOUND_STREAMS]
    subscribe = [topics.topic_of(vehicle_id, topics.COMMAND, partitions)]
    if kind == OWNTRACKS:
        # The vehicle of owntracks/{user}/{device} is {user}-{device}, and such a user holds no hyphen
        # (ingest/codecs/owntracks.py). Not owntracks/{user}/#, which is every vehicle whose id begins with the user.
        user, _, device = vehicle_id.partition("-")
        if user and device:
            base = f"owntracks/{user}/{device}"
            publish += [base, f"{base}/+"]
            subscribe += [f"{base}/cmd"]
    return Rights(tuple(publish), tuple(subscribe))
