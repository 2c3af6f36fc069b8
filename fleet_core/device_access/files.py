"""Files that a broker reads: replaced whole or not at all, and left alone when nothing changed."""

import contextlib
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from fleet_core.device_access import mosquitto_files, nats_file
from fleet_core.device_access.accounts import Account, Platform

NATS_ACCOUNTS: Final = "accounts.conf"
NATS_BY_HAND: Final = "accounts.by-hand"
MOSQUITTO_PASSWORDS: Final = "passwords"
MOSQUITTO_PASSWORDS_BY_HAND: Final = "passwords.by-hand"
MOSQUITTO_ACL: Final = "acl"
MOSQUITTO_ACL_BY_HAND: Final = "acl.by-hand"
# The broker reads them through its group.
_MODE: Final = 0o640


def write_nats(folder: Path, accounts: Iterable[Account], partitions: int, platform: Platform) -> bool:
    """Write what NATS includes. Returns whether it changed."""
    text = nats_file.text(_of_devices(accounts, platform), partitions, platform, read(folder / NATS_BY_HAND))
    return replace(folder / NATS_ACCOUNTS, text)


def write_mosquitto(folder: Path, accounts: Iterable[Account], partitions: int, platform: Platform) -> bool:
    """Write Mosquitto's two files. Returns whether one changed."""
    accounts = _of_devices(accounts, platform)
    path = folder / MOSQUITTO_PASSWORDS
    by_hand = read(folder / MOSQUITTO_PASSWORDS_BY_HAND)
    passwords = replace(path, mosquitto_files.password_text(accounts, platform, read(path), by_hand))
    by_hand = read(folder / MOSQUITTO_ACL_BY_HAND)
    rights = replace(folder / MOSQUITTO_ACL, mosquitto_files.acl_text(accounts, partitions, platform, by_hand))
    return passwords or rights


def _of_devices(accounts: Iterable[Account], platform: Platform) -> list[Account]:
    # An account that was given before the platform took its name: two entries would be one, with whose rights?
    return [account for account in accounts if account.mqtt_user != platform.user]


def read(path: Path) -> str:
    """Text of a file, empty when there is none."""
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return ""


def replace(path: Path, text: str, mode: int | None = None) -> bool:
    """Put `text` into `path` in one step, on the disk before it is seen. Returns whether it was another.

    Without `mode` a file keeps the mode it has; a new one is for its owner and group.
    """
    if path.exists() and read(path) == text:
        return False
    if mode is None:
        mode = path.stat().st_mode & 0o777 if path.exists() else _MODE
    fresh = path.with_name(f".{path.name}.{os.getpid()}")
    with contextlib.suppress(FileNotFoundError):
        fresh.unlink()
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fchmod(file.fileno(), mode)
            os.fsync(file.fileno())
        fresh.replace(path)
    except BaseException:
        fresh.unlink(missing_ok=True)
        raise
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
    return True
