"""Which instants of a window can be judged: those around which it shows all that bears on them."""

from incidents.window import Bools, Ints, S, Window


def shown_whole(window: Window, at_us: Ints, before_s: float, after_s: float) -> Bools:
    """Instants (n,) whose surroundings lie within the window.

    A judgement that looks back from an instant near the window's begin would differ from that of a longer window; left
    out here, it is the same in every window that shows it.
    """
    whole: Bools = (at_us - round(before_s * S) >= window.from_us) & (at_us + round(after_s * S) <= window.until_us)
    return whole
