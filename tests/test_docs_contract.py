"""The contract's page says what the code does."""

import ast
import re
from pathlib import Path

from fleet_core import topics
from fleet_core.columns import COLUMNS, CRS_NAMES, Kind
from ingest import form, telemetry
from ingest.codec import foreign_codecs

ROOT = Path(__file__).resolve().parents[1]
PAGE = (ROOT / "docs" / "mqtt-contract.md").read_text(encoding="utf-8")
KINDS = {Kind.NUMBER: "number", Kind.FLAG: "flag", Kind.TEXT: "text"}
# How a unit at the end of a name is written for people.
UNITS = {
    "deg": "degrees",
    "m": "metres",
    "kmh": "km/h",
    "mps2": "m/s²",
    "dps": "degrees a second",
    "km": "km",
    "pct": "percent",
    "hours": "hours",
    "c": "°C",
    "v": "volts",
    "kpa": "kPa",
}


def table(header: str) -> list[list[str]]:
    """Rows of the table under the line that begins with `header`."""
    lines = PAGE[PAGE.index(f"| {header} |") :].split("\n\n", maxsplit=1)[0].splitlines()[2:]
    rows = [line.strip("| ").split(" | ") for line in lines]
    return [[name.strip("` "), *rest] for name, *rest in rows]


def refusal_codes() -> set[str]:
    """Every reason code that ingest can give, from its syntax trees."""
    found = set()
    for path in (ROOT / "ingest").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            named = isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
            if named and node.func.id in {"Refusal", "RefusedError"} and len(node.args) == 2:
                code = node.args[0]
                if isinstance(code, ast.Constant) and isinstance(code.value, str):
                    found.add(code.value)
    return found


def test_every_column_is_described_in_order_with_its_unit() -> None:
    rows = table("column")
    assert [(name, kind) for name, kind, _ in rows] == [(column.name, KINDS[column.kind]) for column in COLUMNS]
    for (name, _, meaning), column in zip(rows, COLUMNS, strict=True):
        unit = UNITS.get(name.rsplit("_", maxsplit=1)[-1])
        if column.kind is Kind.NUMBER and unit is not None and "ours" not in meaning:
            assert unit in meaning, name
        if column.low is not None:
            assert f"{column.low:g} to {column.high:g}" in meaning, name
    crs = next(meaning for name, _, meaning in rows if name == "crs")
    assert all(f"`{name}`" in crs for name in CRS_NAMES)


def test_every_measurable_span_is_described() -> None:
    described = {
        name: tuple(float(text.replace(",", "")) for text in re.findall(r"-?\d[\d,]*", span))
        for name, span in re.findall(r"^\| `(\w+)` \| (-?[\d,]+ to -?[\d,]+) \|$", PAGE, re.MULTILINE)
    }
    assert described == {column.name: column.measurable for column in COLUMNS if column.measurable is not None}


def test_every_stream_is_described() -> None:
    described = {re.split("[:/]{", name, maxsplit=1)[0] for name, _ in table("stream")}
    assert described == {*topics.INBOUND_STREAMS, topics.COMMAND, topics.VIA}


def test_every_reason_is_described() -> None:
    assert {name for name, _ in table("reason")} == refusal_codes()


def test_numbers_on_the_page_are_those_of_the_code() -> None:
    numbers = {int(text.replace(",", "")) for text in re.findall(r"\d[\d,]*", PAGE)}
    assert {
        form.MAX_SAMPLES,
        form.MAX_EXTRA_BYTES,
        form.MAX_UNKNOWN_COLUMNS,
        telemetry.CLOCK_AHEAD_US // 60_000_000,
        telemetry.CLOCK_BEHIND_US // 86_400_000_000,
    } <= numbers


def test_every_codec_has_a_place_in_the_guide() -> None:
    guide = (ROOT / "docs" / "guide" / "devices.md").read_text(encoding="utf-8").lower()
    assert all(codec.NAME in guide for codec in foreign_codecs())
