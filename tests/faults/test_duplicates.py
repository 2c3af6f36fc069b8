"""Devices that send everything three times, in any order."""

import random

import pytest

from tests.faults.conftest import Rig
from tests.faults.traffic import Traffic, messages

pytestmark = pytest.mark.fault


def test_everything_three_times_and_shuffled(rig: Rig) -> None:
    rig.worker().start().wait_until_reading()
    thrice = list(messages(10_000)) * 3
    random.Random(3).shuffle(thrice)
    verdict = rig.expect_nothing_lost(Traffic(rig.broker.url, thrice).start())
    assert verdict.kept == 10_000
