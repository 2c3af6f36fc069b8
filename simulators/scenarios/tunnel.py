"""Tunnels: no fix, often no network, and out again where the road leads. Nothing in it is an incident."""

import math
from typing import Final

import numpy as np

from simulators.errands import Life, Span
from simulators.play import Part, Play
from simulators.reception import Shade
from simulators.scenario import CRASH_LIKE

_LASTS_S: Final = 90 * 60
# Short underpasses to river tunnels of 3 km.
INSIDE_S: Final = (12.0, 170.0)
# At the mouth the sky goes within a second or two, however long the ramp.
MOUTH_S: Final = (0.8, 2.5)
# A tunnel is as straight as it can be: end to end nearly as far as driven.
STRAIGHT: Final = 0.9


def _tunnels(life: Life, drive: Span, lengths_s: list[float]) -> list[Span]:
    """Stretches of a drive on which it goes straight on without a halt, two minutes apart."""
    rows = np.flatnonzero(life.within(drive))
    found: list[Span] = []
    for lasts_s in lengths_s:
        n = int(lasts_s)
        begin, end = rows[:-n], rows[n:]
        along = np.cumsum(life.rolled_m)
        straight = np.hypot(life.x_m[end] - life.x_m[begin], life.y_m[end] - life.y_m[begin])
        good = straight >= STRAIGHT * np.maximum(along[end] - along[begin], 1.0)
        good &= (along[end] - along[begin]) / lasts_s > 6.0
        for span in found:
            good &= (life.t_s[end] < span.from_s - 120.0) | (life.t_s[begin] > span.until_s + 120.0)
        if good.any():
            # Of the possible places the one that is driven through fastest.
            best = int(np.argmax(np.where(good, along[end] - along[begin], -math.inf)))
            found.append(Span(float(life.t_s[begin[best]]), float(life.t_s[end[best]])))
    return sorted(found)


def _through(part: Part, *, network: bool) -> None:
    part.rented()
    errands = part.errands(greater=True)
    errands.park(float(part.rng.uniform(120, 600)))
    drive = errands.drive(float(part.rng.uniform(3_000, 4_200)), bold=True)
    life = part.live(errands)
    low, high = (math.log(seconds) for seconds in INSIDE_S)
    lengths = np.exp(part.rng.uniform(low, high, 5)).tolist()
    spans = _tunnels(life, drive, sorted(lengths, reverse=True))
    log = part.record(life, shades=[Shade(span, fade_s=float(part.rng.uniform(*MOUTH_S))) for span in spans])
    for span in spans:
        # The lamps are on and the lining echoes: the first fixes outside are tens of metres off.
        since_s = life.t_s - span.until_s
        early = (since_s > 0.0) & (since_s < 12.0)
        log.columns["lat_deg"][early] += float(part.rng.normal(0.0, 15.0)) * np.exp(-since_s[early] / 4.0) / 111_000.0
    if not network:
        part.fate.silences = [Span(span.from_s - 1.0, span.until_s + float(part.rng.uniform(2, 10))) for span in spans]


def _with_network(part: Part) -> None:
    """A modern tunnel with leaky feeders: only the satellites are gone."""
    _through(part, network=True)


def _without_network(part: Part) -> None:
    """Neither fix nor network; what was stored is sent outside."""
    _through(part, network=False)


SCENARIO: Final = Play(
    name="tunnel",
    purpose="tunnels of 12 to 170 s, with and without network: no incident",
    id_prefix="tunnel",
    expects=frozenset(),
    must_not=CRASH_LIKE
    | {"jamming", "spoofing", "implausible_position", "offline_while_moving", "tamper", "feed_frozen", "feed_jumping"},
    duration_s=_LASTS_S,
    roles=(_with_network, _without_network),
)
