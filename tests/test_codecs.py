"""What is asked of every codec found by scan, and the samples each was given.

A sample is `codec_samples/{codec}/{name}.json`: topic, payload (text as it is, anything else as JSON), the vehicle it
names (null: none), and the native bodies it must give or the code it must be refused with.
"""

import copy
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fleet_core import topics
from fleet_core.columns import BY_NAME, ENVELOPE
from fleet_core.settings import Settings
from ingest import relay
from ingest.batch import Batch, decode
from ingest.codec import Codec, NativeBody, codec_for, foreign_codecs
from ingest.form import why_refused
from ingest.message import Message, RefusedError
from tests.ingest_bodies import PARTITIONS, RECEIVED_US

SAMPLES = Path(__file__).parent / "codec_samples"
CODECS = {codec.NAME: codec for codec in foreign_codecs()}
PATHS = sorted(SAMPLES.glob("*/*.json"))
# The streams a codec may fill: those a native device may send.
STREAMS = set(topics.INBOUND_STREAMS)


def load(path: Path) -> tuple[Codec, dict[str, Any], bytes]:
    sample = json.loads(path.read_text(encoding="utf-8"))
    payload = sample["payload"]
    return CODECS[path.parent.name], sample, payload.encode() if type(payload) is str else json.dumps(payload).encode()


def outcome(codec: Codec, topic: str, payload: bytes) -> tuple[list[NativeBody] | None, str | None]:
    try:
        return codec.decode(topic, payload), None
    except RefusedError as error:
        assert error.refusal.code
        assert error.refusal.sentence
        return None, error.refusal.code


def named_vehicle(codec: Codec, topic: str, payload: bytes) -> str | None:
    try:
        return topics.check_vehicle_id(codec.vehicle_id(topic, payload))
    except RefusedError as error:
        assert error.refusal.code
        return None


def through_ingest(topic: str, payload: bytes) -> Batch:
    """The message as the relay moves it and ingest reads it."""
    return decode([Message("p", 1, 1, relay.target_of(topic, payload, PARTITIONS), payload, RECEIVED_US)], Settings())


@pytest.mark.parametrize("path", PATHS, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_a_sample_gives_what_it_must(path: Path) -> None:
    codec, sample, payload = load(path)
    assert codec_for(sample["topic"]) is codec
    assert named_vehicle(codec, sample["topic"], payload) == sample["vehicle_id"]
    bodies, refused = outcome(codec, sample["topic"], payload)
    assert refused == sample.get("refused")
    if bodies is not None:
        assert [{"stream": body.stream, "body": body.body} for body in bodies] == sample["bodies"]


@pytest.mark.parametrize("path", PATHS, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_a_sample_is_stored_or_refused_as_it_must(path: Path) -> None:
    codec, sample, payload = load(path)
    if codec.NAME == "native":
        return  # native topics are rewritten, not carried; test_relay shows it
    batch = through_ingest(sample["topic"], payload)
    codes = [refusal.code for refusal in batch.refused.values()]
    if "refused" in sample:
        assert codes == [sample["refused"]]
        assert not len(batch.readings)
        assert not batch.events
        assert not batch.statuses
    else:
        assert codes == []
        streams = [body["stream"] for body in sample["bodies"]]
        assert len(batch.readings) == streams.count(topics.TELEMETRY)
        assert len(batch.statuses) == streams.count(topics.STATUS)
        assert batch.vehicle_ids == ({sample["vehicle_id"]} if streams else set())
        keys = [(event.stream, event.device_time_us, event.seq) for event in batch.events]
        assert len(set(keys)) == len(keys) == len(streams) - len(batch.readings) - len(batch.statuses)


@pytest.mark.parametrize("name", CODECS)
def test_every_codec_has_samples_of_both_outcomes(name: str) -> None:
    samples = [load(path)[1] for path in PATHS if path.parent.name == name]
    assert any("refused" in sample for sample in samples)
    assert any(sample.get("bodies") for sample in samples)


@pytest.mark.parametrize("name", CODECS)
def test_a_codec_claims_the_topics_of_its_own_filters_only(name: str) -> None:
    codec = CODECS[name]
    assert codec.FILTERS
    for topic_filter in codec.FILTERS:
        example = topic_filter.replace("+", "x1").replace("#", "x1/x2")
        assert codec.claims(example), example
        assert [other.NAME for other in CODECS.values() if other.claims(example)] == [name]
    for stranger in ("", "/", "fleet/v1/07/v1/telemetry", "unknown/x/y", topics.ROOT):
        assert not codec.claims(stranger)


def test_the_relay_asks_for_what_one_session_of_the_embedded_broker_may_hold() -> None:
    # NATS adds up the windows of a session's subscriptions and refuses what goes above 65,535; `#` counts twice.
    from fleet_core.embedded.nats import MAX_ACK_PENDING

    filters = relay.filters(Settings())
    assert sum(2 if name.endswith("#") else 1 for name in filters) * MAX_ACK_PENDING <= 65_535
    assert len(set(filters)) == len(filters)


# -- what must hold for any payload ----------------------------------------------------------------------------------

PAYLOADS = {
    name: [(load(path)[1]["topic"], load(path)[1]["payload"]) for path in PATHS if path.parent.name == name]
    for name in CODECS
}
scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.sampled_from(
        [0, -1, 1, 1e308, 10**30, 2**63, 10**4200, 1764000000, "", "nul\x00", "x" * 5000, "enter", "e", "!"]
    ),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(max_size=6),
    st.sampled_from(["2025-11-24T16:00:00Z", "9999-12-31T23:59:59-23:59", "0001-01-01T00:00:00+23:59", "sos,,sos, x"]),
)
anything = st.recursive(
    scalars,
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=6), inner, max_size=3)),
    max_leaves=6,
)


@st.composite
def near_misses(draw: st.DrawFn, name: str) -> tuple[str, bytes]:
    """A sample of the codec with some of its values put out, replaced or added."""
    topic, value = draw(st.sampled_from(PAYLOADS[name]))
    value = copy.deepcopy(value)
    for _ in range(draw(st.integers(0, 4))):
        place = value
        while type(place) in (dict, list) and place:
            key = draw(st.sampled_from(list(place) if type(place) is dict else range(len(place))))
            if type(place[key]) in (dict, list) and draw(st.booleans()):
                place = place[key]
                continue
            if type(place) is dict and draw(st.integers(0, 3)) == 0:
                del place[key]
            else:
                place[key] = draw(anything)
            break
    if type(value) is dict and draw(st.booleans()):
        value.update(
            draw(st.dictionaries(st.one_of(st.sampled_from([*BY_NAME, *ENVELOPE, "kind"]), st.text()), anything))
        )
    return topic, value.encode() if type(value) is str else json.dumps(value).encode()


def check(codec: Codec, topic: str, payload: bytes) -> None:
    """Read or refused, the same each time, and fit for the store."""
    kept = bytes(payload)
    bodies, refused = outcome(codec, topic, payload)
    assert (bodies, refused) == outcome(codec, topic, payload)
    vehicle_id = named_vehicle(codec, topic, payload)
    assert vehicle_id == named_vehicle(codec, topic, payload)
    assert payload == kept
    if bodies is None:
        assert refused not in {"codec_failed", None}
        return
    if bodies:
        assert vehicle_id is not None
    for body in bodies:
        assert body.stream in STREAMS
        if codec.NAME != "native" and body.stream == topics.TELEMETRY:
            # A codec drops what does not fit and keeps the position: its own bodies are never misfits.
            assert why_refused(body.body) is None
    batch = through_ingest(topic, payload)
    if codec.NAME != "native":
        assert {refusal.code for refusal in batch.refused.values()} <= {"clock_not_set", "clock_ahead", "clock_behind"}


@pytest.mark.parametrize("name", CODECS)
def test_any_bytes_are_read_or_refused(name: str) -> None:
    @settings(max_examples=150)
    @given(st.sampled_from(PAYLOADS[name]), st.binary(max_size=60))
    def any_bytes(sample: tuple[str, Any], payload: bytes) -> None:
        check(CODECS[name], sample[0], payload)

    any_bytes()


@pytest.mark.parametrize("name", CODECS)
def test_any_json_is_read_or_refused(name: str) -> None:
    @settings(max_examples=150)
    @given(st.sampled_from(PAYLOADS[name]), anything)
    def any_json(sample: tuple[str, Any], value: Any) -> None:
        check(CODECS[name], sample[0], json.dumps(value).encode())

    any_json()


@pytest.mark.parametrize("name", CODECS)
def test_what_is_nearly_right_is_read_or_refused(name: str) -> None:
    @settings(max_examples=400)
    @given(near_misses(name))
    def nearly_right(case: tuple[str, bytes]) -> None:
        check(CODECS[name], *case)

    nearly_right()


@pytest.mark.parametrize("name", CODECS)
def test_any_topic_below_a_claimed_one_names_a_vehicle_or_is_refused(name: str) -> None:
    codec = CODECS[name]

    @settings(max_examples=150)
    @given(st.sampled_from(PAYLOADS[name]), st.lists(st.text(st.characters(codec="utf-8"), max_size=90), max_size=3))
    def any_topic(sample: tuple[str, Any], levels: list[str]) -> None:
        topic = "/".join([sample[0].split("/", maxsplit=1)[0], *levels])
        payload = sample[1].encode() if type(sample[1]) is str else json.dumps(sample[1]).encode()
        assert isinstance(codec.claims(topic), bool)
        if codec.claims(topic):
            check(codec, topic, payload)

    any_topic()


# -- identity --------------------------------------------------------------------------------------------------------


def keys_of(topic: str, payload: Any) -> list[tuple[int, int]]:
    readings = through_ingest(topic, json.dumps(payload).encode()).readings
    return list(zip(readings.device_time_us.tolist(), readings.seq.tolist(), strict=True))


def test_a_position_of_owntracks_is_the_same_alone_and_in_an_array() -> None:
    one = {"_type": "location", "lat": 1.0, "lon": 2.0, "tst": 1764000000}
    two = {**one, "tst": 1764000001}
    turned = dict(reversed(one.items()))
    assert keys_of("owntracks/a/b", [two, turned]) == keys_of("owntracks/a/b", two) + keys_of("owntracks/a/b", one)
    assert keys_of("owntracks/a/b", one) != keys_of("owntracks/a/b", {**one, "vel": 5})


def test_a_position_that_traccar_sends_again_is_the_same() -> None:
    _, sample, _ = load(SAMPLES / "traccar" / "alarms.json")
    again = copy.deepcopy(sample["payload"])
    again["position"] |= {"id": 99, "serverTime": "2025-11-24T16:00:30.000+00:00", "address": "somewhere"}
    again["position"]["attributes"]["totalDistance"] = 7.0
    again["device"]["status"] = "offline"
    first, second = (through_ingest(sample["topic"], json.dumps(p).encode()) for p in (sample["payload"], again))
    assert first.readings.seq.tolist() == second.readings.seq.tolist()
    assert [event.seq for event in first.events] == [event.seq for event in second.events]
    assert len({event.seq for event in first.events}) == 3
    other = copy.deepcopy(sample["payload"])
    other["position"]["attributes"]["alarm"] = "sos"
    assert keys_of(sample["topic"], other) != keys_of(sample["topic"], sample["payload"])


# -- through the relay's topic -----------------------------------------------------------------------------------------


def test_nothing_is_stored_under_another_vehicle() -> None:
    payload = json.dumps({"_type": "location", "lat": 1.0, "lon": 2.0, "tst": 1764000000}).encode()
    forged = topics.relayed_topic_of("victim", "owntracks/a/b", PARTITIONS)
    batch = decode([Message("p", 1, 1, forged, payload, RECEIVED_US)], Settings())
    assert batch.refused[0].code == "wrong_vehicle"
    assert not len(batch.readings)


def test_what_no_codec_reads_and_what_names_no_vehicle_is_refused() -> None:
    assert through_ingest("strange/topic", b"{}").refused[0].code == "no_codec"
    assert through_ingest("traccar/positions", b'{"position":{}}').refused[0].code == "missing_field"
    assert through_ingest("owntracks//x", b"{}").refused[0].code == "wrong_topic"


def test_a_fault_of_a_codec_refuses_its_message_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_topic: str, _payload: bytes) -> list[NativeBody]:
        raise ZeroDivisionError("a fault")

    monkeypatch.setattr(CODECS["owntracks"], "decode", fail)
    batch = through_ingest("owntracks/a/b", b"{}")
    assert batch.refused[0].code == "codec_failed"
    assert "ZeroDivisionError" in batch.refused[0].sentence
