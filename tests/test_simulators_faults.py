"""Network faults: what comes out is what went in, doubled where doubled, spoiled where spoiled, and nothing else."""

from collections import Counter

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fleet_core import publications, topics
from fleet_core.publications import Message
from fleet_core.settings import Settings
from ingest import batch
from ingest.message import Message as Received
from simulators import faults
from simulators.faults import Faults

START_MS = 1_764_000_000_000
PARTITIONS = 16
TOPIC = topics.topic_of("v1", topics.TELEMETRY, PARTITIONS)


def _stream(count: int, format_name: str = "json") -> list[Message]:
    encode = publications.encoder(format_name)
    return [
        Message(
            TOPIC,
            encode({"boot": 1, "seq": n, "t_ms": [START_MS + n], "lat_deg": [31.0], "lon_deg": [121.0], "rpm": [n]}),
            "v1",
            due_ms=START_MS + n * 100,
            boot=1,
            seq=n,
            count=1,
        )
        for n in range(count)
    ]


share = st.floats(0, 1)


@settings(deadline=None, max_examples=60)
@given(
    drop_resend=share, duplicate=share, reorder=share, delay_s=st.floats(0, 20), seed=st.integers(0, 1000),
    count=st.integers(0, 120),
)  # fmt: skip
def test_nothing_is_lost_and_only_doubled_ones_are_doubled(
    drop_resend: float, duplicate: float, reorder: float, delay_s: float, seed: int, count: int
) -> None:
    spoiling = Faults(drop_resend=drop_resend, duplicate=duplicate, reorder=reorder, delay_s=delay_s)
    before = _stream(count)
    after = list(faults.apply(before, spoiling, seed))
    times = Counter(message.payload for message in after)
    assert set(times) == {message.payload for message in before}
    assert set(times.values()) <= {1, 2}
    if duplicate == 0:
        assert set(times.values()) <= {1}
    assert [message.due_ms for message in after] == sorted(message.due_ms for message in after)
    earliest = {message.payload: message.due_ms for message in before}
    assert all(message.due_ms >= earliest[message.payload] for message in after)


def test_shares_are_met_and_the_seed_decides() -> None:
    spoiling = Faults(duplicate=0.3, reorder=0.2, corrupt=0.1)
    after = list(faults.apply(_stream(4000), spoiling, seed=1))
    assert after == list(faults.apply(_stream(4000), spoiling, seed=1))
    assert after != list(faults.apply(_stream(4000), spoiling, seed=2))
    assert len(after) == pytest.approx(5200, rel=0.05)
    assert len({message.seq for message in after if message.corrupted}) == pytest.approx(400, rel=0.25)
    order = [message.seq for message in after]
    assert order != sorted(order)


def test_without_faults_the_stream_is_untouched() -> None:
    before = _stream(50)
    assert list(faults.apply(before, Faults(), seed=1)) == before


def test_a_certain_resend_is_late_and_single() -> None:
    after = list(faults.apply(_stream(200), Faults(drop_resend=1.0), seed=1))
    assert sorted(message.seq for message in after) == list(range(200))
    assert all(message.due_ms - (START_MS + message.seq * 100) >= faults.RESEND_MS[0] for message in after)


@pytest.mark.parametrize("format_name", publications.FORMATS)
def test_corrupted_messages_are_unreadable_and_the_others_are_not(format_name: str) -> None:
    after = list(faults.apply(_stream(3000, format_name), Faults(corrupt=0.5), seed=3))
    received = [Received("s", 1, n, item.topic, item.payload, START_MS * 1000) for n, item in enumerate(after)]
    decoded = batch.decode(received, Settings(partitions=PARTITIONS))
    assert set(decoded.refused) == {n for n, message in enumerate(after) if message.corrupted}
    assert {message.corrupted for message in after} == {"", "truncated", "first byte", "tail"}


def test_status_passes_unharmed() -> None:
    status = [Message(f"fleet/v1/00/v{n}/status", b"{}", f"v{n}", due_ms=n, retain=True) for n in range(100)]
    spoiling = Faults(drop_resend=1, duplicate=1, delay_s=9, reorder=1, corrupt=1)
    assert list(faults.apply(status, spoiling, seed=1)) == status


def test_clock_offsets_stay_within_their_bound_and_differ() -> None:
    offsets = Faults(clock_skew_s=2.5).clock_offsets_ms(1000, seed=1)
    assert np.abs(offsets).max() <= 2500
    assert len(set(offsets.tolist())) > 500
    assert set(Faults().clock_offsets_ms(10, seed=1).tolist()) == {0}


@pytest.mark.parametrize("name", ["drop_resend", "duplicate", "reorder", "corrupt"])
def test_a_share_beyond_one_is_refused_by_its_option(name: str) -> None:
    with pytest.raises(ValueError, match=f"--{name.replace('_', '-')} 1.5"):
        Faults(**{name: 1.5})


def test_the_stream_of_the_test_is_readable() -> None:
    assert msgspec.json.decode(_stream(1)[0].payload)["seq"] == 0
