"""Names of accounts, and the account as the brokers' files need it."""

from collections.abc import Collection
from dataclasses import dataclass
from itertools import count
from urllib.parse import unquote, urlsplit

from fleet_core.settings import Settings

# User of the platform itself where its URL names none.
PLATFORM_USER = "fleet"


@dataclass(frozen=True, slots=True)
class Account:
    """A device that may sign in."""

    mqtt_user: str
    vehicle_id: str
    kind: str
    nats_hash: str
    mosquitto_hash: str


@dataclass(frozen=True, slots=True)
class Platform:
    """The account of the platform itself. `password` is None where only the broker knows it."""

    user: str = PLATFORM_USER
    password: str | None = None


def platform_of(settings: Settings) -> Platform:
    """The platform's account, as FLEET_MQTT_URL has it."""
    url = urlsplit(settings.mqtt_url)
    if not url.username:
        return Platform()
    return Platform(unquote(url.username), unquote(url.password) if url.password else None)


def next_user(vehicle_id: str, taken: Collection[str]) -> str:
    """The vehicle's id, or with `.2`, `.3` behind it when that is taken. Names once given count as taken for ever."""
    if vehicle_id not in taken:
        return vehicle_id
    return next(name for number in count(2) if (name := f"{vehicle_id}.{number}") not in taken)
