"""The accounts of NATS: the text that deploy/nats/node.conf and the embedded broker include."""

import json
from collections.abc import Iterable
from typing import Final

from fleet_core.device_access.accounts import Account, Platform
from fleet_core.device_access.rights import Rights, rights_of

# What NATS delivers to a subscription of QoS 1 comes on a subject below this one, and it asks the device's permissions
# for it (https://docs.nats.io/running-a-nats-service/configuration/mqtt/mqtt_config, "Special permissions"). A device
# cannot subscribe to it by itself: NATS refuses MQTT clients every filter below $MQTT/sub/.
_DELIVERIES: Final = "$MQTT.sub.>"


def text(accounts: Iterable[Account], partitions: int, platform: Platform, by_hand: str = "") -> str:
    """The `users` of an authorization block. `by_hand`: further entries of that list, as NATS writes them."""
    lines = ["# Written by Fleetward; changes are lost. Accounts of your own belong into accounts.by-hand.", "users: ["]
    if platform.password is None:
        lines += _entry(["user: $NATS_USER", "password: $NATS_PASSWORD"])
    else:
        lines += _entry([f"user: {_quoted(platform.user)}", f"password: {_quoted(platform.password)}"])
    secret = "$NATS_PASSWORD" if platform.password is None else _quoted(platform.password)
    lines += _entry([f"user: {_quoted(_subject(platform.user))}", f"password: {secret}"])
    lines += by_hand.splitlines()
    for account in accounts:
        permissions = _permissions(rights_of(account.vehicle_id, account.kind, partitions))
        # The second entry is the first for a listener with verify_and_map, where NATS looks for the certificate's whole
        # subject. It asks for the password all the same: an entry without one would let in whoever knows the name, over
        # any listener that wants no certificate.
        for user in (account.mqtt_user, _subject(account.mqtt_user)):
            lines += _entry(
                [
                    f"user: {_quoted(user)}",
                    f"password: {_quoted(account.nats_hash)}",
                    # Not over the protocol of NATS itself, which would allow subscribing to others' deliveries.
                    'allowed_connection_types: ["MQTT"]',
                    permissions,
                ]
            )
    return "\n".join([*lines, "]", ""])


def _entry(items: list[str]) -> list[str]:
    return [f"  {{ {', '.join(items)} }}"]


def _subject(user: str) -> str:
    return f"CN={user}"


def _permissions(rights: Rights) -> str:
    publish = [subject_of(topic) for topic in rights.publish]
    subscribe = [subject_of(topic) for topic in rights.subscribe]
    return f"permissions: {{ publish: {_quoted(publish)}, subscribe: {_quoted([*subscribe, _DELIVERIES])} }}"


def subject_of(topic: str) -> str:
    """NATS subject of an MQTT topic filter. Our topics hold no dot and no empty level, which NATS writes otherwise."""
    assert "." not in topic and "//" not in topic and "#" not in topic
    return topic.replace("/", ".").replace("+", "*")


def _quoted(value: str | list[str]) -> str:
    # The strings of NATS' configuration are JSON's; in quotes a dollar begins no variable.
    return json.dumps(value)
