"""One-time codes by time (RFC 6238: SHA-1, six digits, 30 s), as every authenticator program makes them. Pure."""

import base64
import hmac
import struct
from typing import Final
from urllib.parse import quote

STEP_S: Final = 30
DIGITS: Final = 6
SECRET_BYTES: Final = 20
# Phones are rarely more than a step off.
_STEPS_AROUND: Final = 1


def code_at(secret: str, step: int) -> str:
    """The code of a time step for a base 32 secret."""
    mac = hmac.digest(base64.b32decode(secret), struct.pack(">Q", step), "sha1")
    at = mac[-1] & 0x0F
    number = int.from_bytes(mac[at : at + 4], "big") & 0x7FFF_FFFF
    return f"{number % 10**DIGITS:0{DIGITS}d}"


def step_of(secret: str, code: str, at_s: float, last_step: int | None) -> int | None:
    """The time step whose code this is, near the instant and after the last one taken; None when there is none."""
    now = int(at_s // STEP_S)
    found = None
    for step in range(now - _STEPS_AROUND, now + _STEPS_AROUND + 1):
        if hmac.compare_digest(code_at(secret, step).encode(), code.encode()) and (
            last_step is None or step > last_step
        ):
            found = step
    return found


def secret_of(random: bytes) -> str:
    """Base 32 of random bytes."""
    return base64.b32encode(random).decode()


def uri(secret: str, user_id: str) -> str:
    """What an authenticator program reads from a QR code."""
    return f"otpauth://totp/Fleetward:{quote(user_id)}?secret={secret}&issuer=Fleetward"
