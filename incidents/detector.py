"""What a detector is: one module in `incidents/detectors/` with an object named DETECTOR, found by scan.

A detector is a pure function of a window of one vehicle. It owns no state and asks no clock: the same readings give the
same findings, in whatever order they arrived. Everything that decides is a constant beside it, with unit and source;
changing one changes `version`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from types import ModuleType
from typing import Any, Final, Protocol, runtime_checkable

from fleet_core import plugins
from incidents.rows import Rows
from incidents.window import Bools, Event, Window

_PACKAGE: Final = "incidents.detectors"


class Lane(Enum):
    """Where a detector runs. STREAM: in the transaction that stores the reading. SWEEP: by the incidents worker."""

    STREAM = "stream"
    SWEEP = "sweep"


class Candidates(Enum):
    """Which vehicles a SWEEP detector looks at each time: those that cannot matter are not even read.

    ACTIVE    sent a reading since the last look
    MOVING    the newest reading moves
    LONG_MOVING  moves, and has moved in every 20 minutes of the last hours
    SILENT    sent nothing for a minute, and something in the last day
    HOURLY    facts of an hour became known since the last look
    """

    ACTIVE = "active"
    MOVING = "moving"
    LONG_MOVING = "long_moving"
    SILENT = "silent"
    HOURLY = "hourly"


@dataclass(frozen=True, slots=True)
class Reason:
    """One reason of a judgement: a code, worded in both languages in incidents/i18n, and the values it speaks of."""

    code: str
    values: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Finding:
    """What an examination found. Times are device times, microseconds since the epoch, UTC.

    kind        one of the detector's kinds
    level       1 attention, 2 urgent, 3 emergency
    score       0 to 1: how sure the detector is
    at_us       the instant it is about (an impact's T0); start_us <= at_us <= end_us
    values      what was measured, names with units; what the device cannot see is None
    revisit_us  examine again when this much is known, even if the vehicle stays silent
    subject     tells apart episodes of one kind that may run side by side (two trouble codes, two fences); else empty
    """

    kind: str
    level: int
    score: float
    at_us: int
    start_us: int
    end_us: int
    values: Mapping[str, Any] = field(default_factory=dict)
    reasons: tuple[Reason, ...] = ()
    revisit_us: int | None = None
    subject: str = ""


@runtime_checkable
class Detector(Protocol):
    """See the module.

    before_s, after_s  what `examine` must see before and after a reading to judge it; more makes no difference
    episode_gap_s      findings of one kind closer together than this are one episode
    stale_after_s      an episode that ended longer ago than this when it was first judged is recorded, but opens no
                       incident and tells nobody
    columns            columns of readings that `examine` reads
    streams            streams of events that it reads
    every_s            how often a SWEEP detector looks; 0 in the stream
    candidates         which vehicles it looks at; None in the stream
    """

    name: str
    version: int
    purpose: str
    kinds: tuple[str, ...]
    lane: Lane
    before_s: float
    after_s: float
    episode_gap_s: float
    stale_after_s: float
    columns: frozenset[str]
    streams: frozenset[str]
    every_s: float
    candidates: Candidates | None

    def wants(self, rows: Rows) -> Bools:
        """Mask (n,) of the readings worth an examination. Cheap, over the whole batch; never misses one that is.

        Never called for a SWEEP detector.
        """
        ...

    def wants_event(self, event: Event) -> bool:
        """Whether an event is worth an examination."""
        ...

    def examine(self, window: Window) -> list[Finding]:
        """All findings in the window, in order of time. Those near its ends may be cut off: the judge looks again."""
        ...


class ReadsNoEvents:
    """Base of detectors that look at readings alone."""

    def wants_event(self, event: Event) -> bool:
        """None."""
        return False


class Sweeps(ReadsNoEvents):
    """Base of detectors that look by the clock alone: nothing that arrives opens a gate of theirs."""

    def wants(self, rows: Rows) -> Bools:
        """None."""
        return rows.none


def of(modules: list[ModuleType]) -> dict[str, Detector]:
    """Detectors of modules by name. Raises TypeError for a module without a DETECTOR or for a name used twice."""
    found: dict[str, Detector] = {}
    for module in modules:
        detector = getattr(module, "DETECTOR", None)
        if not isinstance(detector, Detector):
            raise TypeError(f"{module.__name__} has no DETECTOR with the attributes of incidents.detector.Detector")
        if detector.name in found:
            raise TypeError(f"{module.__name__}: there is another detector named {detector.name!r}")
        found[detector.name] = detector
    return found


def detectors() -> dict[str, Detector]:
    """All shipped detectors by name."""
    return of(plugins.modules_in(_PACKAGE))


def rising(mask: Bools, rows: Rows) -> Bools:
    """Rows at which `mask` turns true: true here and not in the reading before (or that one is unknown)."""
    edge: Bools = mask & ~rows.shifted(mask)
    return edge
