"""Proving who one is: name, password, code. Three short steps, so that hashing holds no connection.

1. The attempt is counted as failed, against the name and the address, and committed; one that is held up ends here.
2. The password is compared, which takes as long for a name that nobody has.
3. When all is right the count is taken back, and in the same transaction is done what it was to be proved for.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from math import ceil
from typing import Final, TypeVar

from fleet_api.access import accounts, audit, credentials, passwords, throttle, totp
from fleet_api.access.accounts import Secrets
from fleet_api.access.audit import Origin, Trail
from fleet_api.access.throttle import Limit, Standing
from fleet_api.pool import Pool
from fleet_api.problems import Problem
from fleet_core.db import Connection

# How long a standing is of use to anybody.
_FORGET: Final = timedelta(hours=24)
_CODE_NEEDED: Final = "code needed"

Done = TypeVar("Done")


@dataclass(frozen=True, slots=True)
class Proof:
    """What somebody gives to prove who they are."""

    user_id: str
    password: str
    code: str | None = None


def prove(
    pool: Pool,
    proof: Proof,
    *,
    trail: Trail,
    origin: Origin,
    now: datetime,
    then: Callable[[Connection, Secrets], Done],
) -> Done:
    """Check a proof and, in one transaction with taking the count back, do what it was for. Both end in the audit log.

    Raises Problem 401 (wrong; with the code `totp_required` when only that is missing) and 429 (held up).
    """
    subjects = _subjects(proof.user_id, origin)
    with pool.transaction() as connection:
        wait_s = _count(connection, subjects, now)
        known = accounts.secrets_of(connection, proof.user_id)
    if wait_s:
        raise _held_up(wait_s)
    is_right = passwords.matches(None if known is None else known.password_hash, proof.password)
    with pool.transaction() as connection:
        failure = _failure(connection, proof, known, is_right, now)
        if failure in (None, _CODE_NEEDED):
            _take_back(connection, subjects)
        if failure is None and known is not None:
            return then(connection, known)
        if failure != _CODE_NEEDED:
            trail.outcome = "failed"
            trail.details |= {"tried": proof.user_id, "because": failure}
            audit.write(connection, None, trail, origin, now)
    if failure == _CODE_NEEDED:
        raise Problem(401, "Also give the code of your authenticator.", "totp", code="totp_required")
    # One sentence for everything that can be wrong: it tells nobody which names there are.
    raise Problem(401, "Name, password or code is wrong.", code="wrong")


def prove_again(connection: Connection, user_id: str, password: str, origin: Origin, now: datetime) -> Problem | None:
    """Compare the password of somebody who is signed in, in the transaction of their request. Attempts count as those
    at the door: whoever stole a session cannot guess on. The caller must commit them, so what is wrong is returned."""
    subjects = _subjects(user_id, origin)
    wait_s = _count(connection, subjects, now)
    if wait_s:
        return _held_up(wait_s)
    known = accounts.secrets_of(connection, user_id)
    if known is None or not passwords.matches(known.password_hash, password):
        return Problem(403, "The password is wrong.", "password", code="wrong")
    _take_back(connection, subjects)
    return None


def _held_up(wait_s: float) -> Problem:
    seconds = ceil(wait_s)
    return Problem(429, f"Too many attempts failed: try again in {seconds} s.", retry_after_s=seconds)


def _subjects(user_id: str, origin: Origin) -> dict[str, Limit]:
    return {
        credentials.subject_of_name(user_id): throttle.OF_A_NAME,
        credentials.subject_of_address(origin.address or "unknown"): throttle.OF_AN_ADDRESS,
    }


def _failure(connection: Connection, proof: Proof, known: Secrets | None, is_right: bool, now: datetime) -> str | None:
    """What is wrong, for the audit log; None when nothing is."""
    if known is None or known.disabled_at is not None:
        return "no such user" if known is None else "disabled"
    if not is_right:
        return "password"
    current = accounts.secrets_of(connection, known.user_id)
    if current is None or current.password_hash != known.password_hash:
        return "password"  # it was changed while we compared
    if not known.totp_enabled:
        return None
    if not proof.code:
        return _CODE_NEEDED
    return None if _takes_code(connection, known, proof.code, now) else "code"


def _takes_code(connection: Connection, known: Secrets, code: str, now: datetime) -> bool:
    assert known.totp_secret is not None
    step = totp.step_of(known.totp_secret, code, now.timestamp(), known.totp_last_step)
    return step is not None and accounts.take_totp_step(connection, known.user_id, step)


def _count(connection: Connection, subjects: dict[str, Limit], now: datetime) -> float:
    """Count an attempt as failed. Returns for how many seconds it is held up instead; then it is not counted, so that
    whoever goes on trying does not keep the rightful one out for ever."""
    credentials.lock_attempts(connection)
    standings = {subject: credentials.standing_of(connection, subject) for subject in subjects}
    wait_s = max(throttle.wait_s(standing, now) for standing in standings.values())
    if wait_s:
        return wait_s
    if Standing() in standings.values():
        credentials.forget_old_standings(connection, now - _FORGET)
    for subject, standing in standings.items():
        credentials.keep_standing(connection, subject, throttle.after_failure(standing, subjects[subject], now))
    return 0.0


def _take_back(connection: Connection, subjects: dict[str, Limit]) -> None:
    credentials.lock_attempts(connection)
    for subject, limit in subjects.items():
        standing = credentials.standing_of(connection, subject)
        kept = Standing() if limit is throttle.OF_A_NAME else throttle.after_success(standing)
        credentials.keep_standing(connection, subject, kept)
