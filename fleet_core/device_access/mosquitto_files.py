"""The accounts of Mosquitto: the texts of its password_file and its acl_file."""

from collections.abc import Iterable

from fleet_core.device_access import passwords
from fleet_core.device_access.accounts import Account, Platform
from fleet_core.device_access.rights import rights_of


def password_text(accounts: Iterable[Account], platform: Platform, before: str, by_hand: str = "") -> str:
    """Lines `user:hash`. `before` is the file's text so far: the platform's line stays when its password still matches,
    or when we do not know the password, so that a file that need not change does not change."""
    kept = next((line for line in before.splitlines() if line.startswith(f"{platform.user}:")), None)
    lines = []
    if platform.password is None:
        lines += [kept] if kept is not None else []
    elif kept is not None and passwords.matches_mosquitto(platform.password, kept.partition(":")[2]):
        lines.append(kept)
    else:
        lines.append(f"{platform.user}:{passwords.mosquitto_hash(platform.password)}")
    lines += by_hand.splitlines()
    lines += [f"{account.mqtt_user}:{account.mosquitto_hash}" for account in accounts]
    return "".join(f"{line}\n" for line in lines)


def acl_text(accounts: Iterable[Account], partitions: int, platform: Platform, by_hand: str = "") -> str:
    """Rights of each user; what is not written is refused.

    Mosquitto asks the file when it delivers, not when a client subscribes: a foreign filter is granted and stays
    silent. A denied message of QoS 1 is answered and dropped, as MQTT 3.1.1 has no answer that refuses; with
    `max_queued_messages 0`, which is shipped, 2.0.11 ends the connection after its answer.
    """
    lines = [
        "# Written by Fleetward; changes are lost. Rights of your own accounts belong into acl.by-hand.",
        f"user {platform.user}",
        "topic readwrite #",
        # `#` does not match topics that begin with a dollar.
        "topic read $SYS/#",
        "",
        *by_hand.splitlines(),
    ]
    for account in accounts:
        rights = rights_of(account.vehicle_id, account.kind, partitions)
        lines += ["", f"user {account.mqtt_user}"]
        lines += [f"topic write {topic}" for topic in rights.publish]
        lines += [f"topic read {topic}" for topic in rights.subscribe]
    return "\n".join([*lines, ""])
