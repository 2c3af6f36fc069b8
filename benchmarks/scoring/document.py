"""A score as text, as Markdown between two markers of docs/detection.md, and as pictures."""

from collections.abc import Iterable
from pathlib import Path
from typing import Final

from benchmarks.scoring import pictures
from benchmarks.scoring.tally import Score
from incidents import detector
from incidents.detector import Lane

_BEGIN: Final = "<!-- score begins: written by fleet score --write docs -->"
_END: Final = "<!-- score ends -->"
_DETECTORS: Final = ("<!-- detectors begin: written by fleet score --write docs -->", "<!-- detectors end -->")


def as_text(score: Score) -> str:
    """For a terminal."""
    return "\n".join(_lines(score, markdown=False))


def write(score: Score, docs: Path) -> None:
    """Put the table into `docs/detection.md` and the pictures into `docs/images`."""
    page = docs / "detection.md"
    text = page.read_text(encoding="utf-8")
    text = _between(text, _BEGIN, _END, "\n".join(_lines(score, markdown=True)))
    page.write_text(_between(text, *_DETECTORS, detectors_table()), encoding="utf-8")
    images = docs / "images"
    (images / "detection-recall-precision.svg").write_text(pictures.recall_and_precision(score), encoding="utf-8")
    (images / "crash-pulses.svg").write_text(pictures.pulses(), encoding="utf-8")


def detectors_table() -> str:
    """Every detector of this release, as Markdown."""
    rows = [
        [one.name, str(one.version), ", ".join(one.kinds), "sweep" if one.lane is Lane.SWEEP else "stream", one.purpose]
        for one in detector.detectors().values()
    ]
    return "\n".join(_table(["detector", "version", "kinds", "runs in the", "finds"], rows, markdown=True))


def _between(text: str, begin: str, end: str, told: str) -> str:
    before, rest = text.split(begin, maxsplit=1)
    return f"{before}{begin}\n\n{told}\n\n{end}{rest.split(end, maxsplit=1)[1]}"


def _lines(score: Score, *, markdown: bool) -> Iterable[str]:
    yield (
        f"{score.runs} runs, {score.seeds} seeds a scenario, {score.vehicles:,} vehicles, "
        f"{score.vehicle_hours:,.0f} vehicle-hours, {score.messages:,} messages ({score.refused} refused)."
    )
    yield ""
    yield from _table(
        ["kind", "true", "found", "recall", "false", "precision", "level right", "split"],
        [
            [one.kind, f"{one.truths}", f"{one.found}", _share(one.recall), f"{one.false}", _share(one.precision),
             _share(one.level_share), f"{one.split}"]
            for one in score.kinds
        ],
        markdown,
    )  # fmt: skip
    yield ""
    yield from _table(
        ["impacts of true level", "true", "found", "recall", "level right"],
        [
            [str(one.level), f"{one.truths}", f"{one.found}", _share(_ratio(one.found, one.truths)),
             _share(_ratio(one.level_right, one.found))]
            for one in score.impacts
        ],
        markdown,
    )  # fmt: skip
    yield ""
    ordinary = score.ordinary
    yield (
        f"Ordinary driving: {ordinary.vehicle_hours:,.0f} vehicle-hours, {ordinary.moving_hours:,.0f} of them moving, "
        f"{ordinary.kilometres:,} km."
    )
    yield ""
    yield from _table(
        ["false alarms of level", "number", "per 1,000 vehicle-hours", "95 % bound"],
        [
            [str(level), f"{ordinary.false[level]}", f"{ordinary.per_1000_h[level]:.3g}",
             f"{ordinary.bound_per_1000_h[level]:.3g}"]
            for level in (1, 2, 3)
        ],
        markdown,
    )  # fmt: skip
    if score.delays_s:
        yield ""
        yield from _table(
            ["time to alarm, seconds", "number", "p50", "p99", "worst"],
            [
                [
                    kind,
                    f"{spread['count']:.0f}",
                    f"{spread['p50']:.1f}",
                    f"{spread['p99']:.1f}",
                    f"{spread['worst']:.1f}",
                ]
                for kind, spread in score.delays_s.items()
            ],
            markdown,
        )
    yield ""
    if score.must_not:
        yield "Found where a scenario forbids it:"
        for name, counts in score.must_not.items():
            yield f"- {name}: " + ", ".join(f"{kind} {count}" for kind, count in counts.items())
    else:
        yield "Nothing was found that a scenario forbids."
    troubles = [one for one in score.kinds if one.false_in or one.missed_in]
    if troubles:
        yield ""
        yield "Where it was wrong:"
        for one in troubles:
            wrong = [f"missed {count} in {name}" for name, count in sorted(one.missed_in.items())]
            wrong += [f"false {count} in {name}" for name, count in sorted(one.false_in.items())]
            yield f"- {one.kind}: {', '.join(wrong)}"


def _ratio(part: int, whole: int) -> float | None:
    return part / whole if whole else None


def _share(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def _table(head: list[str], rows: list[list[str]], markdown: bool) -> Iterable[str]:
    if markdown:
        yield "| " + " | ".join(head) + " |"
        yield "|" + "---|" * len(head)
        for row in rows:
            yield "| " + " | ".join(row) + " |"
        return
    widths = [max(len(row[column]) for row in [head, *rows]) for column in range(len(head))]
    for row in [head, *rows]:
        cells = [
            cell.ljust(width) if not at else cell.rjust(width)
            for at, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        yield "  ".join(cells).rstrip()
