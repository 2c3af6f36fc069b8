"""Accounts of devices without a broker: names, rights, hashes, the files' texts, certificates."""

import stat
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path

import bcrypt
import pytest
from cryptography import x509
from hypothesis import given
from hypothesis import strategies as st

from fleet_core import topics
from fleet_core.device_access import certificates, files, mosquitto_files, nats_file, passwords
from fleet_core.device_access.accounts import Account, Platform, next_user, platform_of
from fleet_core.device_access.issue import keeps_name
from fleet_core.device_access.queries import Valid
from fleet_core.device_access.rights import rights_of
from fleet_core.settings import Settings
from ingest.codec import codec_for
from tests.services.mosquitto import program

NOW = datetime(2026, 1, 1, tzinfo=UTC)
VEHICLE_IDS = st.from_regex(r"[A-Za-z0-9_-]{1,64}", fullmatch=True)


def account(name: str = "van-1", kind: str = "native", vehicle_id: str | None = None) -> Account:
    hashed = passwords.nats_hash("secret"), passwords.mosquitto_hash("secret")
    return Account(name, vehicle_id or name.partition(".")[0], kind, *hashed)


@given(VEHICLE_IDS, st.integers(1, 256))
def test_rights_are_the_vehicles_own_topics(vehicle_id: str, partitions: int) -> None:
    rights = rights_of(vehicle_id, "native", partitions)
    assert rights.subscribe == (topics.topic_of(vehicle_id, topics.COMMAND, partitions),)
    assert len(rights.publish) == 2 * len(topics.INBOUND_STREAMS)
    for topic in rights.publish:
        relayed = topics.parse_unpartitioned(topic)
        parsed = topics.parse(topics.topic_of(*relayed, partitions) if relayed else topic)
        assert parsed.vehicle_id == vehicle_id
        assert parsed.partition == topics.partition_of(vehicle_id, partitions)


def test_an_owntracks_device_speaks_for_its_vehicle_alone() -> None:
    publish = rights_of("van-1", "owntracks", 16).publish
    own = [topic for topic in publish if topic.startswith("owntracks/")]
    assert own == ["owntracks/van/1", "owntracks/van/1/+"]
    for topic in ("owntracks/van/1", "owntracks/van/1/event"):
        codec = codec_for(topic)
        assert codec is not None
        assert codec.vehicle_id(topic, b"{}") == "van-1"
    assert not any(topic.startswith("owntracks/") for topic in rights_of("van-1", "native", 16).publish)


def test_names_are_given_once() -> None:
    taken: set[str] = {"fleet"}
    for expected in ("van-1", "van-1.2", "van-1.3"):
        assert next_user("van-1", taken) == expected
        taken.add(expected)
    assert next_user("fleet", taken) == "fleet.2"


def test_only_a_password_of_the_same_vehicle_keeps_its_name() -> None:
    valid = Valid("van-1", "van-1", None)
    assert keeps_name(valid, "van-1", with_certificate=False)
    assert not keeps_name(valid, "van-2", with_certificate=False)
    assert not keeps_name(valid, "van-1", with_certificate=True)
    assert not keeps_name(Valid("van-1", "van-1", NOW), "van-1", with_certificate=False)


def test_the_platforms_account_is_that_of_its_url() -> None:
    assert platform_of(Settings()) == Platform("fleet", None)
    assert platform_of(Settings(mqtt_url="mqtt://in%40gest:p%2Fw@h")) == Platform("in@gest", "p/w")


def test_passwords_are_random_and_hashed_as_the_brokers_read_them() -> None:
    first, second = passwords.generate(), passwords.generate()
    assert first != second and len(first) == 32
    assert bcrypt.checkpw(first.encode(), passwords.nats_hash(first).encode())
    hashed = passwords.mosquitto_hash(first)
    assert passwords.matches_mosquitto(first, hashed)
    assert not passwords.matches_mosquitto(second, hashed)
    for text in ("", "$7$101$x", "$6$a$b", "$7$x$y$z", "$7$101$!$!"):
        assert not passwords.matches_mosquitto(first, text)


def test_mosquitto_passwd_makes_the_same_hash(tmp_path: Path) -> None:
    if program() is None:
        pytest.skip("mosquitto is not installed (make test installs it when run as root)")
    path = tmp_path / "passwords"
    path.touch(mode=0o600)
    subprocess.run(["mosquitto_passwd", "-b", str(path), "fleet", "secret"], check=True, capture_output=True)
    assert passwords.matches_mosquitto("secret", path.read_text().strip().partition(":")[2])


def test_nats_knows_no_account_without_a_password() -> None:
    for platform in (Platform(), Platform("fleet", "s$cret")):
        text = nats_file.text([account("van-1"), account("van-1.2")], 16, platform)
        entries = [line for line in text.splitlines() if line.startswith("  {")]
        assert len(entries) == 6
        for entry in entries:
            assert "password: " in entry
            assert 'password: ""' not in entry
        assert all('allowed_connection_types: ["MQTT"], permissions' in entry for entry in entries[2:])
        assert 'user: "CN=van-1.2"' in entries[5]


def test_subjects_of_nats() -> None:
    assert nats_file.subject_of("fleet/v1/07/van-1/command/result") == "fleet.v1.07.van-1.command.result"
    assert nats_file.subject_of("owntracks/van/1/+") == "owntracks.van.1.*"


def test_the_platforms_line_of_mosquitto_changes_with_its_password_alone() -> None:
    first = mosquitto_files.password_text([], Platform("fleet", "one"), "")
    assert mosquitto_files.password_text([account()], Platform("fleet", "one"), first).startswith(first)
    assert mosquitto_files.password_text([], Platform("fleet", None), first) == first
    other = mosquitto_files.password_text([], Platform("fleet", "two"), first)
    assert passwords.matches_mosquitto("two", other.strip().partition(":")[2])


def test_files_keep_what_was_added_by_hand_and_change_only_when_they_must(tmp_path: Path) -> None:
    (tmp_path / files.MOSQUITTO_PASSWORDS_BY_HAND).write_text("traccar:$7$101$x$y\n")
    (tmp_path / files.MOSQUITTO_ACL_BY_HAND).write_text("user traccar\ntopic write traccar/#\n")
    (tmp_path / files.NATS_BY_HAND).write_text('  { user: traccar, password: "x" }\n')
    platform = Platform("fleet", "secret")
    one = account()
    assert files.write_mosquitto(tmp_path, [one], 16, platform)
    assert not files.write_mosquitto(tmp_path, iter([one]), 16, platform)
    assert files.write_nats(tmp_path, [one], 16, platform)
    assert not files.write_nats(tmp_path, [one], 16, platform)
    lines = (tmp_path / files.MOSQUITTO_PASSWORDS).read_text().splitlines()
    assert [line.partition(":")[0] for line in lines] == ["fleet", "traccar", "van-1"]
    assert "user traccar\ntopic write traccar/#\n" in (tmp_path / files.MOSQUITTO_ACL).read_text()
    assert "user: traccar" in (tmp_path / files.NATS_ACCOUNTS).read_text()
    assert {path.name for path in tmp_path.iterdir()} == {
        "passwords", "acl", "accounts.conf", "passwords.by-hand", "acl.by-hand", "accounts.by-hand",
    }  # fmt: skip


def test_a_device_never_has_the_platforms_name(tmp_path: Path) -> None:
    files.write_mosquitto(tmp_path, [account("fleet")], 16, Platform("fleet", "secret"))
    files.write_nats(tmp_path, [account("fleet")], 16, Platform("fleet", "secret"))
    assert (tmp_path / files.MOSQUITTO_ACL).read_text().count("user fleet") == 1
    assert (tmp_path / files.NATS_ACCOUNTS).read_text().count('user: "fleet"') == 1


def test_replacing_keeps_the_mode_and_leaves_nothing_behind(tmp_path: Path) -> None:
    path = tmp_path / "passwords"
    assert files.replace(path, "one")
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    path.chmod(0o600)
    assert files.replace(path, "two")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert not files.replace(path, "two")
    assert list(tmp_path.iterdir()) == [path]
    with pytest.raises(FileNotFoundError):
        files.replace(tmp_path / "missing" / "passwords", "one")


def test_an_authority_issues_and_is_kept(tmp_path: Path) -> None:
    signer = certificates.authority(tmp_path / "ca", NOW)
    assert certificates.authority(tmp_path / "ca", NOW).certificate == signer.certificate
    assert stat.S_IMODE((tmp_path / "ca" / "ca.key").stat().st_mode) == 0o600
    issued = certificates.issue_client(signer, "van-1", NOW)
    certificate = x509.load_pem_x509_certificate(issued.certificate_pem.encode())
    certificate.verify_directly_issued_by(signer.certificate)
    assert certificate.subject.rfc4514_string() == "CN=van-1"
    assert certificate.not_valid_after_utc == certificates.client_ends_at(signer, NOW)
    usage = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert [item.dotted_string for item in usage] == [x509.ExtendedKeyUsageOID.CLIENT_AUTH.dotted_string]


def test_certificates_that_cannot_be_issued_say_why(tmp_path: Path) -> None:
    signer = certificates.authority(tmp_path, NOW)
    with pytest.raises(certificates.CertificateError, match="longer than the 64 characters"):
        certificates.issue_client(signer, "v" * 65, NOW)
    with pytest.raises(certificates.CertificateError, match="has ended"):
        certificates.client_ends_at(signer, NOW + timedelta(days=30 * 365))
    (tmp_path / "ca.key").write_text("nonsense")
    with pytest.raises(certificates.CertificateError, match="cannot be read"):
        certificates.authority(tmp_path, NOW)
    (tmp_path / "ca.key").unlink()
    with pytest.raises(certificates.CertificateError, match=r"ca\.key: No such file"):
        certificates.authority(tmp_path, NOW)
