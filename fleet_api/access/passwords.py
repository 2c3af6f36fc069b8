"""Passwords: what is accepted, how they are kept, and secrets that we make ourselves."""

import hashlib
import hmac
import os
import secrets
import threading
from typing import Final

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from fleet_api.pool import BusyError

# NIST SP 800-63B-4: length counts, composition rules do not.
MIN_LENGTH: Final = 12
MAX_LENGTH: Final = 256
_TOO_COMMON: Final = ("password", "fleetward", "qwerty", "12345678", "letmein", "iloveyou", "welcome", "administrator")
# Argon2id with 64 MiB (RFC 9106, the second recommended choice) takes memory and a core: a few at once, so that a flood
# of sign-ins cannot take all of either.
_WAIT_S: Final = 5.0
_slots: Final = threading.BoundedSemaphore(max(2, os.cpu_count() or 2))
_hasher: Final = PasswordHasher()

TOKEN_PREFIX: Final = "flt_"
# No letters and digits that look alike.
_READABLE: Final = "abcdefghjkmnpqrstuvwxyz23456789"


def complaint(password: str, user_id: str) -> str | None:
    """What is wrong with a new password, one sentence, or None."""
    if not MIN_LENGTH <= len(password) <= MAX_LENGTH:
        return f"A password has {MIN_LENGTH} to {MAX_LENGTH} characters."
    lowered = password.lower()
    left = lowered
    for word in (*_TOO_COMMON, user_id.lower()):
        left = left.replace(word, "")
    if len(set(lowered)) < 5 or len(left) < MIN_LENGTH // 2:
        return "This password is too easy to guess: it repeats itself, or is made of a common word or your name."
    return None


def hashed(password: str) -> str:
    """Argon2id of a password, with its parameters and salt. Raises BusyError when too many are at it."""
    with _Slot():
        return _hasher.hash(password)


# What the password of somebody who does not exist is compared with, so that it takes as long.
_NOBODY: Final = _hasher.hash(secrets.token_hex(16))


def matches(kept: str | None, password: str) -> bool:
    """Whether a password is the kept one; None (there is nobody) takes as long and is false. Raises BusyError."""
    with _Slot():
        try:
            return _hasher.verify(kept or _NOBODY, password[: MAX_LENGTH + 1]) and kept is not None
        except (VerificationError, InvalidHashError):
            return False


def is_outdated(kept: str) -> bool:
    """Whether it was hashed with other parameters than today's."""
    return _hasher.check_needs_rehash(kept)


def one_time_password() -> str:
    """A password to be read from a screen once: 20 characters, 99 bits."""
    return "-".join("".join(secrets.choice(_READABLE) for _ in range(5)) for _ in range(4))


def session_token() -> str:
    """What a browser holds."""
    return secrets.token_urlsafe(32)


def api_token() -> str:
    """What a program holds."""
    return TOKEN_PREFIX + secrets.token_urlsafe(32)


def digest(token: str) -> bytes:
    """What the database keeps of a token. The token is random, so a plain hash cannot be searched."""
    return hashlib.sha256(token.encode()).digest()


def csrf_token(session: str) -> str:
    """What unsafe requests of this session send beside the cookie. It follows from the session's token, which a page of
    another site neither reads nor guesses; so every tab has the same, and nothing is kept."""
    return hmac.digest(session.encode(), b"fleetward csrf", "sha256").hex()


def same(one: str, other: str) -> bool:
    """Compare secrets in constant time."""
    return hmac.compare_digest(one.encode(), other.encode())


class _Slot:
    def __enter__(self) -> None:
        if not _slots.acquire(timeout=_WAIT_S):
            raise BusyError("too many sign-ins at once")

    def __exit__(self, *_: object) -> None:
        _slots.release()
