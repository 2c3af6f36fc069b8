"""Drills: a scenario run through the live system, with vehicles that exist for nothing else.

A vehicle whose id begins with `drill-` is one of a drill. So whatever concerns it is known as a drill everywhere, for
ever, without anybody having to start or end anything: its detections, incidents and notifications say so.
"""

from fleet_core import topics


def is_drill(vehicle_id: str) -> bool:
    """Whether a vehicle is there for a drill."""
    return vehicle_id.startswith(topics.DRILL_PREFIX)
