"""Passwords of devices: random, shown once, kept only as the hashes that the brokers read.

A password holds 192 random bits, which nobody can guess from either hash, so both hashes are made at the least cost the
brokers accept: they are compared again at every connection, and a fleet that comes back after an outage would keep a
broker busy for minutes at the cost that passwords of people need (bcrypt at 11, the default of `nats server passwd`,
takes about 0.1 s a connection).
"""

import base64
import hashlib
import hmac
import os
import secrets
from typing import Final

import bcrypt

# The least that bcrypt has (https://pkg.go.dev/golang.org/x/crypto/bcrypt, MinCost), which NATS compares with.
_BCRYPT_COST: Final = 4
# As mosquitto_passwd of 2.0 writes it: $7$iterations$salt$hash, PBKDF2-HMAC-SHA512 of 64 bytes, salt of 12
# (https://github.com/eclipse-mosquitto/mosquitto/blob/v2.0.22/common/password_mosq.h).
_PBKDF2_ITERATIONS: Final = 101
_PBKDF2_SALT_BYTES: Final = 12
_RANDOM_BYTES: Final = 24


def generate() -> str:
    """A new password: 32 characters that need no quoting in URLs and shells."""
    return secrets.token_urlsafe(_RANDOM_BYTES)


def nats_hash(password: str) -> str:
    """bcrypt, which NATS knows by its `$2b$`."""
    return bcrypt.hashpw(password.encode(), bcrypt.gensalt(_BCRYPT_COST)).decode()


def mosquitto_hash(password: str) -> str:
    """PBKDF2-SHA512 as Mosquitto 2.0 reads it."""
    return _pbkdf2(password, os.urandom(_PBKDF2_SALT_BYTES), _PBKDF2_ITERATIONS)


def matches_mosquitto(password: str, text: str) -> bool:
    """Whether `text` is a Mosquitto hash of `password`."""
    try:
        _, scheme, iterations, salt, _ = text.split("$")
        return scheme == "7" and hmac.compare_digest(_pbkdf2(password, base64.b64decode(salt), int(iterations)), text)
    except ValueError:
        return False


def _pbkdf2(password: str, salt: bytes, iterations: int) -> str:
    digest = hashlib.pbkdf2_hmac("sha512", password.encode(), salt, iterations)
    return f"$7${iterations}${base64.b64encode(salt).decode()}${base64.b64encode(digest).decode()}"
