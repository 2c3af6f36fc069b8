"""How long failed sign-ins hold up the next one. Pure; the rows are in sign_in_rows.py.

An attempt is counted as failed before the password is looked at, and taken back when it was right: attempts side by
side cannot outrun the count.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final


@dataclass(frozen=True, slots=True)
class Limit:
    """`free` failures cost nothing; from then on each doubles the wait, up to `longest`. Forgotten after `forget`."""

    free: int
    first: timedelta
    longest: timedelta
    forget: timedelta


# Five tries at a name are typing mistakes. At most a quarter of an hour, so that an attacker cannot lock somebody out
# for a day: 96 guesses a day against 99 bits, or against twelve characters somebody chose.
OF_A_NAME: Final = Limit(5, timedelta(seconds=15), timedelta(minutes=15), timedelta(hours=24))
# Many people may share an address.
OF_AN_ADDRESS: Final = Limit(20, timedelta(seconds=15), timedelta(minutes=15), timedelta(hours=2))


@dataclass(frozen=True, slots=True)
class Standing:
    """What is known of a name or an address."""

    failures: int = 0
    last_at: datetime | None = None
    blocked_until: datetime | None = None


def wait_s(standing: Standing, now: datetime) -> float:
    """Seconds until the next attempt is looked at; 0 when it is now."""
    if standing.blocked_until is None:
        return 0.0
    return max(0.0, (standing.blocked_until - now).total_seconds())


def after_failure(standing: Standing, limit: Limit, now: datetime) -> Standing:
    """The standing with one more failure."""
    old = standing.last_at is not None and now - standing.last_at > limit.forget
    failures = 1 if old else standing.failures + 1
    if failures < limit.free:
        return Standing(failures, now, None)
    # Bounded before doubling: nobody needs two to the power of a thousand.
    doublings = min(failures - limit.free, 16)
    return Standing(failures, now, now + min(limit.longest, limit.first * 2**doublings))


def after_success(standing: Standing) -> Standing:
    """The standing of an address when an attempt was right: that attempt is taken back, earlier failures are not, or
    whoever has an account could guess at others' for ever."""
    return Standing(max(0, standing.failures - 1), standing.last_at, None)
