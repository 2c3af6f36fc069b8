"""The topic contract."""

import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleet_core import topics
from fleet_core.topics import Topic, TopicError

vehicle_ids = st.from_regex(r"[A-Za-z0-9_-]{1,64}", fullmatch=True)


@given(vehicle_ids, st.sampled_from(topics.INBOUND_STREAMS), st.integers(1, 256))
def test_a_topic_is_read_as_it_was_made(vehicle_id: str, stream: str, partitions: int) -> None:
    parsed = topics.parse(topics.topic_of(vehicle_id, stream, partitions))
    assert parsed == Topic(zlib.crc32(vehicle_id.encode()) % partitions, vehicle_id, stream)


@given(vehicle_ids, st.text(min_size=1, max_size=30))
def test_a_relayed_topic_keeps_the_original(vehicle_id: str, original: str) -> None:
    parsed = topics.parse(topics.relayed_topic_of(vehicle_id, original, 16))
    assert (parsed.vehicle_id, parsed.stream, parsed.original) == (vehicle_id, topics.VIA, original)


def test_partitions_are_those_of_the_contract() -> None:
    # Worked out apart: CRC-32 of the nine digits "123456789" is 0xCBF43926.
    assert topics.topic_of("123456789", "telemetry", 16) == "fleet/v1/06/123456789/telemetry"
    assert topics.topic_of("123456789", "telemetry", 256) == "fleet/v1/26/123456789/telemetry"


@pytest.mark.parametrize("vehicle_id", ["", "a b", "a/b", "ü", "x" * 65, "a+", "#", "a\n", "v\x00"])
def test_ids_outside_the_alphabet_are_refused(vehicle_id: str) -> None:
    with pytest.raises(TopicError, match="A-Z, a-z, 0-9"):
        topics.check_vehicle_id(vehicle_id)


@pytest.mark.parametrize(
    ("topic", "named"),
    [
        ("", "is not fleet/v1"),
        ("fleet/v2/00/v1/telemetry", "is not fleet/v1"),
        ("fleet/v1/00/v1", "is not fleet/v1"),
        ("fleet/v1/0/v1/telemetry", "partition"),
        ("fleet/v1/0A/v1/telemetry", "partition"),
        ("fleet/v1/00/v 1/telemetry", "vehicle id"),
        ("fleet/v1/00/v1/selfie", "selfie"),
        ("fleet/v1/00/v1/command", "command"),
        ("fleet/v1/00/v1/telemetry/more", "telemetry/more"),
        ("fleet/v1/00/v1/via", "via"),
        ("fleet/v1/00/v1/via/owntracks/a/b", "via/owntracks"),
    ],
)
def test_a_wrong_topic_is_refused_by_what_is_wrong(topic: str, named: str) -> None:
    with pytest.raises(TopicError, match=named):
        topics.parse(topic)


@given(st.text(max_size=40))
def test_any_text_is_a_topic_or_refused(text: str) -> None:
    for topic in (text, f"fleet/v1/{text}", f"fleet/v1/00/{text}"):
        try:
            parsed = topics.parse(topic)
        except TopicError:
            continue
        assert topics.check_vehicle_id(parsed.vehicle_id) == parsed.vehicle_id


def test_unpartitioned_topics() -> None:
    assert topics.parse_unpartitioned("fleet/v1/v1/telemetry") == ("v1", "telemetry")
    assert topics.parse_unpartitioned("fleet/v1/v1/command/result") == ("v1", "command/result")
    for other in ("fleet/v1/07/v1/telemetry", "xfleet/v1/v1/telemetry", "fleet/v1/v1/command", "owntracks/a/b", ""):
        assert topics.parse_unpartitioned(other) is None


def matches(topic_filter: str, topic: str) -> bool:
    """MQTT's matching of a filter, for the plain cases."""
    wanted, levels = topic_filter.split("/"), topic.split("/")
    for index, level in enumerate(wanted):
        if level == "#":
            return True
        if index >= len(levels) or level not in ("+", levels[index]):
            return False
    return len(wanted) == len(levels)


@given(vehicle_ids, st.sampled_from([*topics.INBOUND_STREAMS, "via:owntracks%2Fa%2Fb"]), st.integers(1, 16))
def test_every_inbound_topic_is_stored_by_exactly_one_session(vehicle_id: str, stream: str, partitions: int) -> None:
    topic = topics.topic_of(vehicle_id, stream, partitions)
    brought = [
        (partition, kind)
        for partition in range(partitions)
        for kind, filters in (
            ("urgent", topics.urgent_filters(partition)),
            ("ordinary", topics.ordinary_filters(partition)),
        )
        for topic_filter in filters
        if matches(topic_filter, topic)
    ]
    passed_over = topic.rpartition("/")[2] in topics.PASSED_OVER
    stored = [(partition, kind) for partition, kind in brought if not (kind == "ordinary" and passed_over)]
    kind = "urgent" if stream in (*topics.URGENT_STREAMS, topics.COMMAND_RESULT) else "ordinary"
    assert stored == [(topics.partition_of(vehicle_id, partitions), kind)]
    assert not any(matches(topic_filter, topic) for topic_filter in topics.unpartitioned_filters())


def test_a_command_to_a_vehicle_is_stored_by_no_session() -> None:
    topic = topics.topic_of("v1", topics.COMMAND, 16)
    partition = topics.partition_of("v1", 16)
    assert not any(matches(topic_filter, topic) for topic_filter in topics.urgent_filters(partition))
    assert topic.rpartition("/")[2] in topics.PASSED_OVER
