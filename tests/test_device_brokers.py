"""What a device may and may not do, asked of both real brokers."""

import socket
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest

from fleet_core import topics
from fleet_core.device_access import passwords
from fleet_core.device_access.accounts import Account
from tests.services import mosquitto
from tests.services.guarded import PARTITIONS, Authority, Guarded, GuardedMosquitto, GuardedNats
from tests.services.mqtt_client import Certificate, Client, listen, pump

SECRETS = {"van-1": "first", "van-2": "second", "van-3": "third"}
KINDS: dict[str, Callable[[Path, Authority | None], GuardedNats | GuardedMosquitto]] = {
    "nats": GuardedNats,
    "mosquitto": GuardedMosquitto,
}
Platform = Callable[[], Client]


def account(vehicle_id: str, password: str | None = None) -> Account:
    password = SECRETS[vehicle_id] if password is None else password
    hashes = passwords.nats_hash(password), passwords.mosquitto_hash(password)
    return Account(vehicle_id, vehicle_id, "native", *hashes)


def topic(vehicle_id: str, stream: str = topics.TELEMETRY) -> str:
    return topics.topic_of(vehicle_id, stream, PARTITIONS)


ACCOUNTS = {vehicle_id: account(vehicle_id) for vehicle_id in SECRETS}


def broker_of(kind: str, folder: Path, authority: Authority | None) -> Guarded:
    if kind == "mosquitto" and mosquitto.program() is None:
        pytest.skip("mosquitto is not installed (make test installs it when run as root)")
    broker: Guarded = KINDS[kind](folder / kind, authority)
    broker.start()
    broker.admit([ACCOUNTS["van-1"], ACCOUNTS["van-2"]])
    return broker


@pytest.fixture(params=KINDS)
def guarded(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Guarded]:
    broker = broker_of(request.param, tmp_path, None)
    yield broker
    broker.kill()


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path / "ca")


@pytest.fixture(params=KINDS)
def guarded_by_tls(request: pytest.FixtureRequest, tmp_path: Path, authority: Authority) -> Iterator[Guarded]:
    broker = broker_of(request.param, tmp_path, authority)
    yield broker
    broker.kill()


def device(broker: Guarded, vehicle_id: str, password: str | None = None, client_id: str = "") -> Client:
    password = SECRETS[vehicle_id] if password is None else password
    return Client(broker.port, vehicle_id, password, client_id=client_id)


def platform(broker: Guarded) -> Client:
    client = Client(broker.port, broker.platform.user, broker.platform.password)
    assert client.subscribe("fleet/v1/#")
    return client


def test_a_device_is_heard_on_its_own_topics(guarded: Guarded) -> None:
    listener, van = platform(guarded), device(guarded, "van-1")
    own = [topic("van-1", stream) for stream in topics.INBOUND_STREAMS]
    own += [f"fleet/v1/van-1/{stream}" for stream in topics.INBOUND_STREAMS]
    for name in own:
        van.publish(name, b"mine")
    pump(lambda: len(listener.heard) >= len(own), listener)
    assert sorted(listener.heard) == sorted((name, b"mine") for name in own)


def test_a_device_hears_its_own_commands(guarded: Guarded) -> None:
    listener, van = platform(guarded), device(guarded, "van-1")
    assert van.subscribe(topic("van-1", topics.COMMAND))
    listener.publish(topic("van-2", topics.COMMAND), b"not yours")
    listener.publish(topic("van-1", topics.COMMAND), b"yours")
    pump(lambda: van.heard, van)
    listen(van)
    assert van.heard == [(topic("van-1", topics.COMMAND), b"yours")]


def test_commands_wait_for_a_device_that_is_away(guarded: Guarded) -> None:
    make = partial(Client, guarded.port, "van-1", SECRETS["van-1"], client_id="van-1-5f2c", clean=False)
    van = make()
    assert van.subscribe(topic("van-1", topics.COMMAND))
    van.close()
    platform(guarded).publish(topic("van-1", topics.COMMAND), b"waited")
    van = make()
    pump(lambda: van.heard, van)
    assert van.heard == [(topic("van-1", topics.COMMAND), b"waited")]


def test_a_device_cannot_speak_for_another(guarded: Guarded) -> None:
    listener, van = platform(guarded), device(guarded, "van-1")
    foreign = [topic("van-2", stream) for stream in topics.INBOUND_STREAMS]
    foreign += [
        f"fleet/v1/van-2/{topics.TELEMETRY}",
        # Its own vehicle, but commands come from the platform and other partitions have other readers.
        topic("van-1", topics.COMMAND),
        topics.relayed_topic_of("van-1", "owntracks/van/1", PARTITIONS),
        f"fleet/v1/{(topics.partition_of('van-1', PARTITIONS) + 1) % PARTITIONS:02x}/van-1/{topics.TELEMETRY}",
        "fleet/v1/elsewhere",
        "traccar/positions",
    ]
    for name in foreign:
        van.publish(name, b"forged")
        if van.ended:  # Mosquitto answers, and may end the connection then
            van = device(guarded, "van-1")
    device(guarded, "van-1").publish(topic("van-1"), b"mine")
    pump(lambda: (topic("van-1"), b"mine") in listener.heard, listener)
    listen(listener)
    assert listener.heard == [(topic("van-1"), b"mine")]


def test_a_device_cannot_listen_to_others(guarded: Guarded) -> None:
    listener, other = platform(guarded), device(guarded, "van-2")
    foreign = ["#", "fleet/#", "fleet/v1/+/+/command", topic("van-2", topics.COMMAND), topic("van-2"), topic("van-1")]
    foreign += ["$MQTT/sub/#", "$MQTT/msgs/#", "$JS/#", "$SYS/#"]
    vans = []
    for name in foreign:
        van = device(guarded, "van-1")
        assert van.subscribe(name) is not guarded.refuses_filters, name
        vans.append(van)
    other.publish(topic("van-2"), b"theirs")
    listener.publish(topic("van-2", topics.COMMAND), b"theirs")
    pump(lambda: len(listener.heard) == 2, listener)
    listen(*vans)
    heard = [message for van in vans for message in van.heard]
    assert heard == []


def test_nobody_else_signs_in(guarded: Guarded) -> None:
    for user, password in (
        ("van-1", "wrong"), ("van-1", ""), ("van-1", SECRETS["van-2"]), ("van-3", SECRETS["van-3"]), ("", ""),
        ("CN=van-1", ""), ("CN=van-1", "wrong"), ("CN=fleet", ""), ("fleet", ""), ("fleet", SECRETS["van-1"]),
    ):  # fmt: skip
        assert Client(guarded.port, user, password).refused, (user, password)
    assert Client(guarded.port, None, None).refused
    assert not device(guarded, "van-1").refused


def test_reading_accounts_again_keeps_others_connected(guarded: Guarded) -> None:
    listener, stays, goes = platform(guarded), device(guarded, "van-1"), device(guarded, "van-2")
    assert stays.subscribe(topic("van-1", topics.COMMAND))
    guarded.admit([ACCOUNTS["van-1"], ACCOUNTS["van-3"]])
    pump(lambda: goes.ended, goes, stays, listener)
    assert device(guarded, "van-2").refused
    added = device(guarded, "van-3")
    added.publish(topic("van-3"), b"new here")
    stays.publish(topic("van-1"), b"still here")
    listener.publish(topic("van-1", topics.COMMAND), b"do")
    pump(lambda: len(listener.heard) >= 3 and stays.heard, listener, stays)
    assert not (listener.ended or stays.ended)
    # A new password ends the connections of the old one.
    guarded.admit([account("van-1", "rotated"), ACCOUNTS["van-3"]])
    pump(lambda: stays.ended, stays, added)
    assert device(guarded, "van-1").refused
    assert not device(guarded, "van-1", "rotated").refused
    assert not added.ended


def test_nats_speaks_its_own_protocol_with_no_device(tmp_path: Path) -> None:
    """Over it a device could subscribe to the subjects on which others' messages are delivered."""
    broker = GuardedNats(tmp_path / "nats", None)
    broker.start()
    broker.admit([ACCOUNTS["van-1"]])
    try:
        for user, password, answer in (
            ("van-1", SECRETS["van-1"], b"Authorization Violation"),
            ("CN=van-1", SECRETS["van-1"], b"Authorization Violation"),
            (broker.platform.user, broker.platform.password, b"PONG"),
        ):
            with socket.create_connection(("127.0.0.1", broker.client_port), timeout=10) as connection:
                connection.recv(65_536)
                words = f'CONNECT {{"user":"{user}","pass":"{password}","verbose":false}}\r\nPING\r\n'
                connection.sendall(words.encode())
                assert answer in connection.recv(65_536)
    finally:
        broker.kill()


def over_tls(broker: Guarded, certificate: Certificate, password: str) -> Client:
    # The user name is not what counts: the certificate says who it is.
    return Client(broker.tls_port, "anybody", password, tls=certificate)


def test_a_certificate_says_who_a_device_is(guarded_by_tls: Guarded, authority: Authority) -> None:
    broker = guarded_by_tls
    secret = broker.platform.password
    assert secret is not None
    listener = over_tls(broker, authority.of(broker.platform.user), secret)
    assert listener.subscribe("fleet/v1/#")
    over_tls(broker, authority.of("van-1"), SECRETS["van-1"]).publish(topic("van-2"), b"forged")
    van = over_tls(broker, authority.of("van-1"), SECRETS["van-1"])
    van.publish(topic("van-1"), b"mine")
    pump(lambda: listener.heard, listener)
    listen(listener)
    assert listener.heard == [(topic("van-1"), b"mine")]
    spy = over_tls(broker, authority.of("van-1"), SECRETS["van-1"])
    assert spy.subscribe(topic("van-2", topics.COMMAND)) is not broker.refuses_filters
    assert van.subscribe(topic("van-1", topics.COMMAND))
    listener.publish(topic("van-2", topics.COMMAND), b"not yours")
    listener.publish(topic("van-1", topics.COMMAND), b"yours")
    pump(lambda: van.heard, van)
    listen(spy)
    assert (van.heard, spy.heard) == ([(topic("van-1", topics.COMMAND), b"yours")], [])


def test_without_a_certificate_of_the_authority_nobody_is_let_in(
    guarded_by_tls: Guarded, authority: Authority, tmp_path: Path
) -> None:
    stranger = Authority(tmp_path / "stranger").of("van-1")
    forged = Certificate(authority.file, stranger.certificate, stranger.key)
    assert over_tls(guarded_by_tls, forged, SECRETS["van-1"]).refused
    assert over_tls(guarded_by_tls, Certificate(authority.file), SECRETS["van-1"]).refused
    assert not over_tls(guarded_by_tls, authority.of("van-1"), SECRETS["van-1"]).refused


def test_a_revoked_certificate_is_worth_nothing(guarded_by_tls: Guarded, authority: Authority) -> None:
    broker = guarded_by_tls
    secret = broker.platform.password
    assert secret is not None
    listener = over_tls(broker, authority.of(broker.platform.user), secret)
    assert listener.subscribe("fleet/v1/#")
    gone, stays = (over_tls(broker, authority.of(name), SECRETS[name]) for name in ("van-1", "van-2"))
    assert not gone.refused
    broker.admit([ACCOUNTS["van-2"]])
    again = over_tls(broker, authority.of("van-1"), SECRETS["van-1"])
    assert again.refused is broker.refuses_unknown_certificates
    if broker.refuses_unknown_certificates:
        pump(lambda: gone.ended, gone, stays, listener)
    else:
        gone.publish(topic("van-1"), b"revoked")
        again.publish(topic("van-1"), b"revoked")
    stays.publish(topic("van-2"), b"mine")
    pump(lambda: listener.heard, listener)
    listen(listener)
    assert listener.heard == [(topic("van-2"), b"mine")]
