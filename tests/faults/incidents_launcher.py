"""Starts the incidents worker with one call spoiled: `python -m tests.faults.incidents_launcher FAULT:N run incidents`.

The faults are here and not in the worker, so that what is tested is what ships.
"""

import sys
from collections.abc import Callable
from typing import Any

from fleet_core import cli
from incidents.response import notify, outbox, rounds
from tests.faults.launcher import die


class _Nth:
    def __init__(self, number: int) -> None:
        self._left = number

    def __call__(self) -> None:
        self._left -= 1
        if self._left == 0:
            die()


def before_step_commit(strike: Callable[[], None]) -> None:
    """A step is carried out and not committed."""
    real = rounds.work_on

    def work_on(*arguments: Any) -> bool:
        worked = real(*arguments)
        strike()
        return worked

    rounds.work_on = work_on


def after_step_commit(strike: Callable[[], None]) -> None:
    """A step is committed; the worker knows nothing of it any more. Struck at the look for the next one."""
    real = rounds.waiting

    def waiting(*arguments: Any) -> list[int]:
        strike()
        return real(*arguments)

    rounds.waiting = waiting


def after_claim(strike: Callable[[], None]) -> None:
    """A notice is claimed and not sent."""
    real = notify.Sender.start

    def start(self: notify.Sender, claimed: outbox.Claimed) -> None:
        strike()
        real(self, claimed)

    notify.Sender.start = start  # type: ignore[method-assign]


def before_settle(strike: Callable[[], None]) -> None:
    """A notice is sent, and that is not written down."""
    real = outbox.settle

    def settle(*arguments: Any) -> None:
        strike()
        real(*arguments)

    outbox.settle = settle


FAULTS = {made.__name__: made for made in (before_step_commit, after_step_commit, after_claim, before_settle)}


def main() -> None:
    """Spoil, then run the command."""
    name, _, number = sys.argv.pop(1).partition(":")
    FAULTS[name](_Nth(int(number)))
    cli.main()


if __name__ == "__main__":
    main()
