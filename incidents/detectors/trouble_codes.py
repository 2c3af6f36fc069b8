"""Trouble codes that a vehicle reports: how urgent each is, one episode a code for as long as it stays.

The first letter names the system (P powertrain, C chassis, B body, U network; ISO 15031-6, SAE J2012), the lamp how
grave the vehicle itself takes it. What endangers people or destroys the engine is urgent; what a workshop may look at
next week is not.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from fleet_core import topics
from incidents.detector import Candidates, Finding, Lane, Reason
from incidents.rows import Rows
from incidents.window import Bools, Event, Window

_DAY_S: Final = 86_400.0
# A code that was told again within this time never went away: vehicles tell theirs when they are driven. Judgement.
_STAYS_S: Final = 7 * _DAY_S
_STALE_S: Final = 1 * _DAY_S

# SAE J2012: letter, four hexadecimal digits; a failure type byte may follow (ISO 14229).
_CODE: Final = re.compile(r"([PCBU])([0-9A-F]{4})(?:-?[0-9A-F]{2})?")
_LONGEST_CODE: Final = 32
_MOST_CODES: Final = 64  # of one message; ECUs hold fewer

# Ranges of J2012 and their urgency: docs/detection-science.md, B9.
_MISFIRE: Final = (0x0300, 0x0312)
_EVAPORATION: Final = (0x0440, 0x0457)
_OIL_PRESSURE: Final = (0x0520, 0x0524)
_TOO_HOT: Final = (0x0217, 0x0219)  # engine over temperature, transmission over temperature, engine overspeed
_ISOLATION: Final = (0x0AA6, 0x0AA7)  # high-voltage system isolation fault, isolation sensor

_PENDING_SCORE: Final = 0.6  # a pending code goes away by itself more often than not. Judgement.
_CONFIRMED_SCORE: Final = 0.95


@dataclass(frozen=True, slots=True)
class _Report:
    code: str
    status: str
    lamp: str | None


@dataclass(frozen=True)
class TroubleCodes:
    """See the module."""

    name: str = "trouble_codes"
    version: int = 1
    purpose: str = "trouble codes that the vehicle reports, by urgency"
    kinds: tuple[str, ...] = ("trouble_code",)
    lane: Lane = Lane.STREAM
    before_s: float = 0.0
    after_s: float = 0.0
    episode_gap_s: float = _STAYS_S
    stale_after_s: float = _STALE_S
    columns: frozenset[str] = frozenset()
    streams: frozenset[str] = frozenset({topics.DIAGNOSTICS})
    every_s: float = 0.0
    candidates: Candidates | None = None

    def wants(self, rows: Rows) -> Bools:
        """Nothing: codes come as events."""
        return rows.none

    def wants_event(self, event: Event) -> bool:
        """Whether it tells any code that is there."""
        return event.stream == topics.DIAGNOSTICS and any(True for _ in _reports(event.body))

    def examine(self, window: Window) -> list[Finding]:
        """One finding for each code of each message."""
        messages = window.of(topics.DIAGNOSTICS)
        return [_finding(report, event.occurred_us) for event in messages for report in _reports(event.body)]


def _reports(body: Mapping[str, Any]) -> Iterator[_Report]:
    """Codes that are there, each once. What cannot be read is left out: the message itself is kept."""
    told: dict[str, _Report] = {}
    for key in ("codes", "dtcs"):
        items = body.get(key)
        for item in items[:_MOST_CODES] if isinstance(items, list) else ():
            entry = item if isinstance(item, Mapping) else {"code": item}
            code, status = entry.get("code"), entry.get("status", "confirmed")
            lamp = entry.get("lamp", body.get("lamp"))
            if isinstance(code, str) and 0 < len(code.strip()) <= _LONGEST_CODE and status != "cleared":
                known = status if status in ("pending", "confirmed") else "confirmed"
                code = code.strip().upper()
                told.setdefault(code, _Report(code, known, lamp if lamp in ("off", "on", "flashing") else None))
    yield from told.values()


def _finding(report: _Report, at_us: int) -> Finding:
    level, reason = _judged(report)
    return Finding(
        kind="trouble_code",
        level=level,
        score=_PENDING_SCORE if report.status == "pending" else _CONFIRMED_SCORE,
        at_us=at_us,
        start_us=at_us,
        end_us=at_us,
        values={"code": report.code, "status": report.status, "lamp": report.lamp},
        reasons=(reason,),
        subject=report.code,
    )


def _judged(report: _Report) -> tuple[int, Reason]:  # noqa: PLR0911
    """Level and reason of one code."""
    told = {"code": report.code}
    if report.status == "pending":
        return 1, Reason("trouble_code_pending", told)
    match = _CODE.fullmatch(report.code)
    letter, number = (match[1], int(match[2], 16)) if match else ("", 0)
    if letter == "P" and _in(number, _ISOLATION):
        # Touching the vehicle may kill.
        return 3, Reason("trouble_code_isolation", told)
    if letter == "P" and _in(number, _OIL_PRESSURE):
        return 2, Reason("trouble_code_oil_pressure", told)
    if letter == "P" and _in(number, _TOO_HOT):
        return 2, Reason("trouble_code_too_hot", told)
    if letter == "P" and _in(number, _MISFIRE):
        # Unburnt fuel burns in the catalytic converter: the lamp flashes when that is happening now.
        level = 2 if report.lamp == "flashing" else 1
        return level, Reason("trouble_code_misfire", told)
    if letter in ("B", "C") and not _minor(number, report.lamp):
        return 2, Reason("trouble_code_airbag", told) if letter == "B" else Reason("trouble_code_brake", told)
    if report.lamp == "flashing":
        return 2, Reason("trouble_code_flashing", told)
    if letter == "P" and _in(number, _EVAPORATION):
        return 1, Reason("trouble_code_evaporation", told)
    return 1, Reason("trouble_code_other", told)


def _in(number: int, bounds: tuple[int, int]) -> bool:
    return bounds[0] <= number <= bounds[1]


def _minor(number: int, lamp: str | None) -> bool:
    # Codes x1xxx and x2xxx are the makers' own: seat heaters among them. They count as grave when a lamp says so.
    return number >= 0x1000 and lamp not in ("on", "flashing")


DETECTOR: Final = TroubleCodes()
