"""The message log's format, against an independent reading of RFC 9162 and against damage."""

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleet_core import message_log
from fleet_core.message_log import LoggedMessage

messages_of = st.lists(
    st.builds(LoggedMessage, st.integers(0, 2**62), st.text(max_size=10), st.binary(max_size=20)),
    min_size=1,
    max_size=40,
)


def some(count: int) -> list[LoggedMessage]:
    return [LoggedMessage(1_764_000_000_000_000 + n, f"fleet/v1/00/v{n}/telemetry", bytes([n])) for n in range(count)]


def tree_head(leaves: list[bytes]) -> bytes:
    """MTH of RFC 9162 section 2.1.1, by its recursive definition, over leaf hashes."""
    if len(leaves) == 1:
        return leaves[0]
    split = 1
    while split * 2 < len(leaves):
        split *= 2
    return hashlib.sha256(b"\x01" + tree_head(leaves[:split]) + tree_head(leaves[split:])).digest()


@pytest.mark.parametrize("count", [1, 2, 3, 4, 5, 6, 7, 8, 9, 31, 32, 33])
def test_the_root_is_that_of_the_recursive_definition(count: int) -> None:
    messages = some(count)
    assert message_log.merkle_root(messages) == tree_head([message_log.leaf_hash(message) for message in messages])


def test_known_vectors_of_certificate_transparency() -> None:
    """The leaves and heads that certificate transparency logs are tested with, over leaves 0x00 || input."""
    inputs = ["", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f"]
    leaves = [hashlib.sha256(b"\x00" + bytes.fromhex(text)).digest() for text in inputs]
    heads = {
        1: "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
        2: "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
        3: "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
        7: "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
        8: "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
    }
    for count, head in heads.items():
        assert message_log.root_of(leaves[:count]).hex() == head
        assert tree_head(leaves[:count]).hex() == head


def test_a_leaf_is_what_the_documentation_says() -> None:
    message = LoggedMessage(1, "t", b"p")
    # MessagePack of [1, "t", b"p"] by hand: array of 3, 1, fixstr, bin 8.
    assert message_log.leaf_hash(message) == hashlib.sha256(b"\x00\x93\x01\xa1t\xc4\x01p").digest()


@given(messages_of, st.data())
def test_every_message_is_proven_in_its_row(messages: list[LoggedMessage], data: st.DataObject) -> None:
    root = message_log.merkle_root(messages)
    index = data.draw(st.integers(0, len(messages) - 1))
    proof = message_log.inclusion_proof(messages, index)
    assert len(proof) <= 6
    assert message_log.root_from_proof(messages[index], proof) == root
    other = messages[index]._replace(payload=messages[index].payload + b"x")
    assert message_log.root_from_proof(other, proof) != root


@given(messages_of, st.data())
def test_any_change_changes_the_root(messages: list[LoggedMessage], data: st.DataObject) -> None:
    root = message_log.merkle_root(messages)
    index = data.draw(st.integers(0, len(messages) - 1))
    for changed in (
        messages[index]._replace(received_us=messages[index].received_us + 1),
        messages[index]._replace(topic=messages[index].topic + "x"),
        messages[index]._replace(payload=messages[index].payload + b"x"),
    ):
        assert message_log.merkle_root([*messages[:index], changed, *messages[index + 1 :]]) != root
    assert message_log.merkle_root([*messages, messages[-1]]) != root


@given(messages_of)
def test_a_row_is_unpacked_as_it_was_packed(messages: list[LoggedMessage]) -> None:
    assert message_log.unpack(message_log.pack(messages)) == messages


def test_a_damaged_row_is_refused_by_name() -> None:
    blob = bytearray(message_log.pack(some(50)))
    blob[len(blob) // 2] ^= 0x55
    for damaged in (bytes(blob), b"", b"not zstd", bytes(blob[:-5])):
        with pytest.raises(ValueError, match="message log row cannot be read"):
            message_log.unpack(damaged)


def test_an_empty_row_is_none() -> None:
    with pytest.raises(ValueError, match="at least one message"):
        message_log.merkle_root([])


def test_a_row_binds_messages_lanes_and_the_rows_before() -> None:
    root, before = bytes(32), [b"\x01" * 32, b"\x02" * 32]
    hashes = {
        message_log.row_hash(root, 2, ["a00", "p00"], before),
        message_log.row_hash(b"\x01" * 32, 2, ["a00", "p00"], before),
        message_log.row_hash(root, 3, ["a00", "p00"], before),
        message_log.row_hash(root, 2, ["a00", "p01"], before),
        message_log.row_hash(root, 2, ["a00", "p00"], before[::-1]),
    }
    assert len(hashes) == 5
