"""Pictures of a score, as SVG: plain text that shows a difference in a review and needs no drawing library."""

from collections.abc import Sequence
from typing import Final
from xml.sax.saxutils import escape

import numpy as np

from benchmarks.scoring.tally import Score
from simulators import pulses as crash_pulses

_INK: Final = "#1f2933"
_PALE: Final = "#d9e2ec"
_RECALL: Final = "#1a6fb0"
_PRECISION: Final = "#c2570c"
_COLOURS: Final = ("#1a6fb0", "#c2570c", "#2f855a", "#7b3fa0", "#97266d", "#4a5568")
_FONT: Final = "font-family='DejaVu Sans, Noto Sans, sans-serif' font-size='12'"


def recall_and_precision(score: Score) -> str:
    """A pair of bars a kind."""
    rows = [one for one in score.kinds if one.truths]
    left, width, step = 170, 560, 26
    height = 56 + step * len(rows)
    parts = [_text(left, 18, "recall", _RECALL), _text(left + 70, 18, "precision", _PRECISION)]
    for share in (0.0, 0.5, 0.9, 0.95, 1.0):
        x = left + width * share
        parts.append(f"<line x1='{x:.1f}' y1='28' x2='{x:.1f}' y2='{height - 18}' stroke='{_PALE}'/>")
        if share != 0.95:
            parts.append(_text(x - 8, height - 4, f"{share:g}"))
    for number, one in enumerate(rows):
        y = 34 + number * step
        parts.append(f"<text x='{left - 8}' y='{y + 13}' text-anchor='end' fill='{_INK}'>{escape(one.kind)}</text>")
        for offset, value, colour in ((0, one.recall, _RECALL), (9, one.precision, _PRECISION)):
            if value is not None:
                parts.append(
                    f"<rect x='{left}' y='{y + offset}' width='{width * value:.1f}' height='8' fill='{colour}'/>"
                )
        parts.append(_text(left + width + 8, y + 13, f"{one.truths}"))
    parts.append(_text(left + width + 8, 18, "true"))
    return _svg(left + width + 70, height, parts)


def pulses() -> str:
    """Acceleration over time of one drawn pulse of each case of the simulators."""
    rng = np.random.default_rng(7)
    names = ("full_frontal", "oblique", "moderate_frontal", "side", "rear_end", "bump")
    drawn = [(name, crash_pulses.draw(name, rng)) for name in names]
    left, top, width, height = 60, 24, 620, 300
    longest_s = 0.22
    peak_g = max(float(np.abs(pulse.along()).max()) for _, pulse in drawn) / crash_pulses.GRAVITY_MPS2
    high = np.ceil(peak_g / 10) * 10
    parts = [
        f"<line x1='{left}' y1='{top + height}' x2='{left + width}' y2='{top + height}' stroke='{_INK}'/>",
        f"<line x1='{left}' y1='{top}' x2='{left}' y2='{top + height}' stroke='{_INK}'/>",
        _text(left + width - 40, top + height + 32, "time, ms"),
        _text(8, 14, "acceleration along the impact, g"),
    ]
    for g in range(0, int(high) + 1, 10):
        y = top + height - height * g / high
        parts.append(f"<line x1='{left}' y1='{y:.1f}' x2='{left + width}' y2='{y:.1f}' stroke='{_PALE}'/>")
        parts.append(_text(left - 26, y + 4, f"{g}"))
    for ms in range(0, int(longest_s * 1000) + 1, 50):
        parts.append(_text(left + width * ms / 1000 / longest_s - 8, top + height + 16, f"{ms}"))
    for number, (name, pulse) in enumerate(drawn):
        colour = _COLOURS[number % len(_COLOURS)]
        along_g = np.concatenate(([0.0], np.abs(pulse.along()), [0.0])) / crash_pulses.GRAVITY_MPS2
        x = left + width * np.arange(len(along_g)) / crash_pulses.FINE_HZ / longest_s
        y = top + height - height * along_g / high
        parts.append(_line(x.tolist(), y.tolist(), colour))
        parts.append(_text(left + width - 210, top + 14 + 18 * number, f"{name}, {pulse.delta_v_kmh:.0f} km/h", colour))
    return _svg(left + width + 20, top + height + 44, parts)


def _line(x: Sequence[float], y: Sequence[float], colour: str) -> str:
    points = " ".join(f"{a:.1f},{b:.1f}" for a, b in zip(x, y, strict=True))
    return f"<polyline points='{points}' fill='none' stroke='{colour}' stroke-width='1.5'/>"


def _text(x: float, y: float, text: str, colour: str = _INK) -> str:
    return f"<text x='{x:.1f}' y='{y:.1f}' fill='{colour}'>{escape(text)}</text>"


def _svg(width: float, height: float, parts: Sequence[str]) -> str:
    body = "\n".join(parts)
    return (
        f"<svg xmlns='http://www.w3.org/2000/svg' width='{width:.0f}' height='{height:.0f}' {_FONT}>\n"
        f"<rect width='100%' height='100%' fill='white'/>\n{body}\n</svg>\n"
    )
