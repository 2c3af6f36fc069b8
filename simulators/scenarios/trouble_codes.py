"""Trouble codes: faults that the vehicle itself reports, grave and slight, pending, confirmed, repeated and cleared."""

from typing import Any, Final

from fleet_core import topics
from simulators.errands import Span
from simulators.play import Part, Play
from simulators.scenario import CRASH_LIKE
from simulators.unit import Event

_LASTS_S: Final = 4 * 3600
# Codes by SAE J2012 (ISO 15031-6): P power train, C chassis, B body. A flashing lamp is a misfire that ruins the
# catalyst; oil pressure, brakes, airbag and high-voltage isolation concern safety; emissions and evaporation do not.
MISFIRES: Final = ("P0300", "P0301", "P0302", "P0303", "P0304")
OIL: Final = ("P0522", "P0524")
BRAKES: Final = ("C0110", "C0265", "C0040", "C0121")
AIRBAG: Final = ("B0001", "B0012", "B0020", "B0051")
HIGH_VOLTAGE: Final = ("P0AA6",)
SLIGHT: Final = ("P0440", "P0442", "P0455", "P0420")
GRAVE: Final = [2, 3]


def _two_drives(part: Part) -> list[Span]:
    part.rented()
    errands = part.errands(every_s=5.0, heartbeat_s=120.0)
    drives = []
    for _ in range(2):
        errands.park(float(part.rng.uniform(600, 1_500)))
        drives.append(errands.drive(float(part.rng.uniform(1_500, 2_400))))
    part.record(part.live(errands))
    return drives


def _say(part: Part, at_s: float, *codes: tuple[str, str, str]) -> None:
    """A diagnostics message: (code, status, lamp) each. Units send the whole list every time."""
    listed = [{"code": code, "status": status, "lamp": lamp} for code, status, lamp in codes]
    part.events.append(Event(at_s, topics.DIAGNOSTICS, {"codes": listed}))


def _repeat(part: Part, span: Span, every_s: float, *codes: tuple[str, str, str]) -> None:
    at_s = span.from_s
    while at_s < span.until_s:
        _say(part, at_s, *codes)
        at_s += every_s


def _pick(part: Part, codes: tuple[str, ...]) -> str:
    return str(part.rng.choice(list(codes)))


def _tell(part: Part, code: str, at_s: float, until_s: float, level: list[int], **facts: Any) -> None:
    part.incident("trouble_code", at_s, until_s, code=code, level=level, **facts)


def _misfire(part: Part) -> None:
    """First pending, a minute later confirmed with a flashing lamp, and said again every half minute."""
    first, second = _two_drives(part)
    code = _pick(part, MISFIRES)
    at_s = first.inner(float(part.rng.uniform(0.2, 0.5)))
    _say(part, at_s, (code, "pending", "off"))
    _repeat(part, Span(at_s + 60.0, first.until_s), 30.0, (code, "confirmed", "flashing"))
    _repeat(part, second, 300.0, (code, "confirmed", "on"))
    part.allowed("trouble_code", at_s, at_s + 60.0)
    _tell(part, code, at_s + 60.0, part.lasts_s, GRAVE, lamp="flashing")


def _sound(part: Part) -> None:
    """Asked every few minutes, it has nothing to say."""
    for drive in _two_drives(part):
        _repeat(part, drive, 240.0)


def _grave(part: Part) -> None:
    """Oil pressure, brakes, airbag or high-voltage isolation: confirmed at once, repeated at every start."""
    first, second = _two_drives(part)
    code = _pick(part, OIL + BRAKES + AIRBAG + HIGH_VOLTAGE)
    at_s = first.inner(float(part.rng.uniform(0.2, 0.8)))
    _repeat(part, Span(at_s, first.until_s), 60.0, (code, "confirmed", "on"))
    _repeat(part, second, 120.0, (code, "confirmed", "on"))
    _tell(part, code, at_s, part.lasts_s, GRAVE, lamp="on")


def _cleared_before(part: Part) -> None:
    """The workshop has cleared a code; the unit reports that it is cleared."""
    first, _ = _two_drives(part)
    _say(part, first.from_s + 20.0, (_pick(part, SLIGHT + OIL), "cleared", "off"))
    _say(part, first.from_s + 80.0)


def _slight(part: Part) -> None:
    """Evaporation or catalyst: the lamp is on, it can wait."""
    first, second = _two_drives(part)
    code = _pick(part, SLIGHT)
    at_s = first.inner(float(part.rng.uniform(0.1, 0.8)))
    _repeat(part, Span(at_s, first.until_s), 120.0, (code, "confirmed", "on"))
    _repeat(part, second, 120.0, (code, "confirmed", "on"))
    _tell(part, code, at_s, part.lasts_s, [1], lamp="on")


def _never_confirmed(part: Part) -> None:
    """Pending for one drive and gone: to be noted at most."""
    first, second = _two_drives(part)
    code = _pick(part, SLIGHT)
    _repeat(part, Span(first.inner(0.4), first.until_s), 120.0, (code, "pending", "off"))
    _repeat(part, second, 240.0)
    part.allowed("trouble_code", first.from_s, part.lasts_s)


def _two_at_once(part: Part) -> None:
    """An old slight fault, and a grave one that comes on the second drive: two cases, not one."""
    first, second = _two_drives(part)
    old, new = _pick(part, SLIGHT), _pick(part, BRAKES + OIL)
    at_s = second.inner(float(part.rng.uniform(0.2, 0.6)))
    _repeat(part, Span(first.from_s + 15.0, first.until_s), 120.0, (old, "confirmed", "on"))
    _repeat(part, Span(second.from_s + 15.0, at_s), 120.0, (old, "confirmed", "on"))
    _repeat(part, Span(at_s, second.until_s), 60.0, (old, "confirmed", "on"), (new, "confirmed", "on"))
    # The first case ends with the first drive, as far as the truth goes, so that the second stands apart from it.
    _tell(part, old, first.from_s + 15.0, first.until_s, [1], lamp="on")
    _tell(part, new, at_s, part.lasts_s, GRAVE, lamp="on")


def _repaired(part: Part) -> None:
    """A slight fault on the first drive that is cleared before the second."""
    first, second = _two_drives(part)
    code = _pick(part, SLIGHT)
    at_s = first.inner(0.3)
    _repeat(part, Span(at_s, first.until_s), 120.0, (code, "confirmed", "on"))
    _say(part, second.from_s + 20.0, (code, "cleared", "off"))
    _repeat(part, Span(second.from_s + 60.0, second.until_s), 240.0)
    _tell(part, code, at_s, second.from_s + 20.0, [1], lamp="on")


SCENARIO: Final = Play(
    name="trouble_codes",
    purpose="misfire, oil, brakes, airbag, evaporation; repeated, together, cleared; pending and empty lists are not",
    id_prefix="code",
    expects=frozenset({"trouble_code"}),
    must_not=CRASH_LIKE | {"overheating", "low_battery", "charging_fault", "tamper"},
    duration_s=_LASTS_S,
    roles=(_misfire, _sound, _grave, _cleared_before, _slight, _never_confirmed, _two_at_once, _repaired),
)
