"""The decisions of access, without a database: limits on failures, codes, passwords, denials, addresses."""

import time
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleet_api.access import passwords, throttle, totp
from fleet_api.access.credentials import subject_of_address, subject_of_name
from fleet_api.access.origin import chosen_request_id, client_address
from fleet_api.access.principal import Declaration, Denial, Principal, denial
from fleet_api.access.roles import Role, Scope
from fleet_api.access.throttle import OF_A_NAME, OF_AN_ADDRESS, Limit, Standing, after_failure, after_success, wait_s

NOW = datetime(2026, 3, 1, 8, tzinfo=UTC)
# RFC 6238, appendix B: the SHA-1 rows, of which six digits are the last six.
RFC_SECRET = totp.secret_of(b"12345678901234567890")
RFC_CODES = {59: "287082", 1111111109: "081804", 1111111111: "050471", 1234567890: "005924", 2000000000: "279037"}


def principal(**more: object) -> Principal:
    values: dict[str, object] = {
        "user_id": "wang", "display_name": "Wang", "roles": frozenset({Role.DISPATCHER}), "depots": None,
        "must_change_password": False, "expires_at": NOW,
    }  # fmt: skip
    return Principal(**(values | more))  # type: ignore[arg-type]


@pytest.mark.parametrize(("at_s", "code"), RFC_CODES.items())
def test_codes_are_those_of_the_standard(at_s: int, code: str) -> None:
    assert totp.code_at(RFC_SECRET, at_s // totp.STEP_S) == code
    assert totp.step_of(RFC_SECRET, code, at_s, None) == at_s // totp.STEP_S
    assert totp.step_of(RFC_SECRET, code, at_s + totp.STEP_S, None) is not None, "a clock may be a step off"
    assert totp.step_of(RFC_SECRET, code, at_s + 3 * totp.STEP_S, None) is None
    assert totp.step_of(RFC_SECRET, code, at_s, at_s // totp.STEP_S) is None, "a code works once"


def test_waits_grow_to_a_bound_and_are_forgotten() -> None:
    standing, now, waits = Standing(), NOW, []
    for _ in range(20):
        standing = after_failure(standing, OF_A_NAME, now)
        waits.append(wait_s(standing, now))
        now += timedelta(seconds=waits[-1])
        assert wait_s(standing, now) == 0
    assert waits[:4] == [0, 0, 0, 0]
    assert waits[4:10] == [15, 30, 60, 120, 240, 480]
    assert set(waits[11:]) == {900}
    assert after_failure(standing, OF_A_NAME, now + timedelta(hours=25)).failures == 1


@given(st.lists(st.booleans(), max_size=200))
def test_an_account_of_ones_own_does_not_wash_an_address_clean(attempts: list[bool]) -> None:
    """Each attempt is counted first; one that was right takes back itself and nothing else."""
    standing = Standing()
    for right in attempts:
        standing = after_failure(standing, OF_AN_ADDRESS, NOW)
        if right:
            standing = after_success(standing)
    assert standing.failures == attempts.count(False)


def test_a_limit_of_any_length_is_computed() -> None:
    assert wait_s(after_failure(Standing(10_000, NOW), Limit(1, timedelta(1), timedelta(2), timedelta(3)), NOW), NOW)


@pytest.mark.parametrize(
    "password",
    ["short", "x" * 257, "aaaaaaaaaaaaaaaa", "password1234", "Fleetward-2026", "wangwangwang1", "121212121212"],
)
def test_passwords_that_are_easy_to_guess_are_refused(password: str) -> None:
    assert passwords.complaint(password, "wang")


@pytest.mark.parametrize(
    "password",
    ["correct horse battery", "三个中文词语组成的一句话啊", passwords.one_time_password()],
    ids=["english", "chinese", "generated"],
)
def test_long_phrases_of_any_kind_are_accepted(password: str) -> None:
    assert passwords.complaint(password, "wang") is None


def test_passwords_are_kept_as_argon2id_and_nobody_matches_nothing() -> None:
    kept = passwords.hashed("correct horse battery")
    assert kept.startswith("$argon2id$v=19$m=65536,t=3,p=4$")
    assert passwords.matches(kept, "correct horse battery")
    assert not passwords.matches(kept, "correct horse batterz")
    assert not passwords.matches(None, "correct horse battery")
    assert not passwords.matches("none", "none")
    assert not passwords.is_outdated(kept)
    assert passwords.is_outdated(kept.replace("t=3", "t=2"))


def test_a_name_nobody_has_takes_as_long() -> None:
    kept = passwords.hashed("correct horse battery")

    def fastest(held: str | None) -> float:
        spans = []
        for _ in range(5):
            began = time.perf_counter()
            passwords.matches(held, "something else")
            spans.append(time.perf_counter() - began)
        return min(spans)

    assert 0.5 < fastest(None) / fastest(kept) < 2


@pytest.mark.parametrize(
    ("who", "declared", "expected"),
    [
        (principal(), Declaration(frozenset({Role.DISPATCHER}), Scope.READ), None),
        (principal(), Declaration(frozenset({Role.ADMIN}), Scope.READ), Denial.ROLE),
        (principal(roles=frozenset({Role.CLAIMS, Role.ADMIN})), Declaration(frozenset({Role.ADMIN}), None), None),
        (principal(scopes=frozenset({Scope.READ})), Declaration(frozenset(Role), Scope.READ), None),
        (principal(scopes=frozenset({Scope.READ})), Declaration(frozenset(Role), Scope.FLEET), Denial.SCOPE),
        (principal(scopes=frozenset(Scope)), Declaration(frozenset(Role), None), Denial.SCOPE),
        (principal(depots=frozenset({"n"})), Declaration(frozenset(Role), None, whole_fleet=True), Denial.DEPOTS),
        (principal(must_change_password=True), Declaration(frozenset(Role), None), Denial.PASSWORD),
        (principal(must_change_password=True), Declaration(frozenset(Role), None, False, True), None),
    ],
)
def test_who_may(who: Principal, declared: Declaration, expected: Denial | None) -> None:
    assert denial(who, declared) is expected


def test_what_is_in_no_depot_is_for_those_who_have_all() -> None:
    assert principal().has_depot(None) and principal().has_depot("north")
    some = principal(depots=frozenset({"north"}))
    assert some.has_depot("north") and not some.has_depot("south") and not some.has_depot(None)


@pytest.mark.parametrize(
    ("peer", "forwarded", "trusted", "expected"),
    [
        ("203.0.113.9", "", "", "203.0.113.9"),
        ("203.0.113.9", "10.0.0.1", "", "203.0.113.9"),
        ("10.0.0.2", "198.51.100.7", "10.0.0.0/8", "198.51.100.7"),
        # What the client wrote itself stands in front of what the proxy added.
        ("10.0.0.2", "1.1.1.1, 198.51.100.7", "10.0.0.0/8", "198.51.100.7"),
        ("10.0.0.2", "198.51.100.7, 10.0.0.3", "10.0.0.0/8, ::1", "198.51.100.7"),
        ("10.0.0.2", "nonsense", "10.0.0.0/8", "nonsense"),
        (None, "", "", "unknown"),
    ],
)
def test_the_address_is_the_first_that_is_no_proxy_of_ours(
    peer: str | None, forwarded: str, trusted: str, expected: str
) -> None:
    assert client_address(peer, forwarded, trusted) == expected


def test_names_and_addresses_are_counted_as_what_they_are() -> None:
    assert subject_of_name("Wang") == subject_of_name("wang") and "wang" not in subject_of_name("wang")
    assert subject_of_address("2001:db8::1") == subject_of_address("2001:db8::ffff")
    assert subject_of_address("2001:db8::1") != subject_of_address("2001:db8:0:1::1")
    assert subject_of_address("::ffff:192.0.2.1") == subject_of_address("192.0.2.1")


def test_an_id_of_a_request_is_a_plain_one() -> None:
    assert chosen_request_id("abc-1") == "abc-1"
    assert chosen_request_id("a b\n") != "a b\n"
    assert chosen_request_id(None) != chosen_request_id(None)


def test_limits_are_sane() -> None:
    for limit in (throttle.OF_A_NAME, throttle.OF_AN_ADDRESS):
        assert limit.first < limit.longest < limit.forget
