"""Settings: one frozen object, read once from environment variables with the prefix FLEET_.

Thresholds of detectors and rules are not here: they are versioned constants beside their rule, because a stored
judgement must name the rule that judged.
"""

import difflib
import ipaddress
import os
import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from functools import cache
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

PREFIX: Final = "FLEET_"


class SettingsError(ValueError):
    """A setting that is unknown, malformed or contradicts another; the text names it."""


def _setting(default: Any, doc: str, choices: tuple[str, ...] = ()) -> Any:
    return field(default=default, metadata={"doc": doc, "choices": choices})


@dataclass(frozen=True, slots=True)
class Settings:
    """Every setting of every process. The variable is the field's name in capitals with FLEET_ before it."""

    database_url: str = _setting(
        "", "PostgreSQL URL of the store, `postgresql://user:password@host:5432/fleet`. `fleet up` sets it by itself."
    )
    mqtt_url: str = _setting(
        "", "Broker URL, `mqtt://user:password@host:1883` or `mqtts://` for TLS. `fleet up` sets it by itself."
    )
    mqtt_ca_file: str = _setting("", "PEM file of the authority that signed the broker's certificate (mqtts only).")
    mqtt_cert_file: str = _setting("", "PEM file of our client certificate (mqtts only; needs FLEET_MQTT_KEY_FILE).")
    mqtt_key_file: str = _setting("", "PEM file of the key of our client certificate.")
    mqtt_device_auth: str = _setting(
        "off",
        "`on` where devices sign in with accounts of their own (`fleet device add`): ingest refuses messages of "
        "vehicles whose accounts were all revoked, and the broker of `fleet up` lets devices in and reads accounts as "
        "they change. `off` suits a broker on the loopback address that none but the platform uses.",
        choices=("off", "on"),
    )
    mqtt_session_secret: str = _setting(
        "",
        "Letters and digits that the client ids of ingest's sessions end with. A broker gives a session to whoever "
        "comes with its client id, so set it before the first start where devices have accounts of their own. Fixed "
        "for the life of an installation: another text is other sessions. `fleet up` sets it by itself.",
    )
    partitions: int = _setting(
        16, "Number of topic partitions, 1 to 256. Fixed for the life of an installation: vehicles hash into it."
    )
    unknown_vehicles: str = _setting(
        "register",
        "What happens to a vehicle never seen before: `register` it on first sight, or `quarantine` its messages in "
        "the dead letters until it is created.",
        choices=("register", "quarantine"),
    )
    relay_topics: str = _setting(
        "",
        "Extra topics, comma separated, that the relay moves into partitions beside those its codecs name.",
    )
    batch_max_messages: int = _setting(5000, "Most messages in one ingest transaction.")
    batch_linger_ms: int = _setting(20, "How long ingest waits for a batch to fill, milliseconds. Alarms never wait.")
    held_max_mb: int = _setting(
        96, "Most megabytes of unacknowledged messages an ingest worker holds before it stops reading from the broker."
    )
    message_max_kb: int = _setting(1024, "Largest payload that is decoded, kilobytes; others go to the dead letters.")
    broker_check: str = _setting(
        "refuse",
        "At start ingest probes how many messages the broker keeps for an absent session. When it drops any: `refuse` "
        "to start, `warn`, or do not look (`off`).",
        choices=("refuse", "warn", "off"),
    )
    lease_seconds: int = _setting(
        10, "A worker silent for this long loses its database session and with it its leases."
    )
    ingest_health_port: int = _setting(
        9101, "Port on which the ingest worker answers /health and /metrics on FLEET_HTTP_HOST; 0 turns it off."
    )
    http_host: str = _setting("127.0.0.1", "Address the API and the health endpoints listen on.")
    http_port: int = _setting(8080, "Port of the API and the pages.")
    http_allow_remote: str = _setting(
        "no",
        "`yes` lets the API listen on an address that other machines can reach. It speaks plain http: put a proxy that "
        "ends TLS in front, and set FLEET_HTTP_SCHEME=https, or passwords and positions cross the network readable.",
        choices=("no", "yes"),
    )
    http_scheme: str = _setting(
        "http",
        "How browsers reach the API: `https` where a proxy in front ends TLS. The cookie of a session is then sent by "
        "https only.",
        choices=("http", "https"),
    )
    http_trusted_proxies: str = _setting(
        "",
        "Addresses or networks, comma separated, of proxies in front whose X-Forwarded-For is believed. Without them "
        "failed sign-ins of everybody behind a proxy count as those of one address.",
    )
    session_idle_minutes: int = _setting(60, "A session not used for this long ends. An open live map uses it.")
    session_hours: int = _setting(12, "A session ends this long after sign-in, used or not.")
    history_purpose: str = _setting(
        "optional",
        "Whether a reader of a history of positions must say why (`purpose` or the header X-Purpose): `optional`, "
        "`required`. What is said is kept in the audit log.",
        choices=("optional", "required"),
    )
    response_policy: str = _setting(
        "", "Policy file (YAML) that says who is called for an incident and what closes it; empty: the shipped one."
    )
    webhook_hosts: str = _setting(
        "",
        "Hosts, comma separated, to which notices may be posted by plain http or inside a private network. Without "
        "being named here a web hook goes to https on a public address, or to the loopback address.",
    )
    compress_after_days: int = _setting(
        30, "Readings older than this are compressed (TimescaleDB community). Keep it above the usual lateness."
    )
    retention_days: int = _setting(400, "Readings and message log older than this are removed; 0 keeps them for ever.")
    city_pack: str = _setting("", "Folder of the city pack whose roads are drawn under the vehicles; empty draws none.")
    base_maps: str = _setting(
        "",
        "JSON file of further base maps that people may choose under the vehicles, with their datum (WGS-84, GCJ-02, "
        "BD-09); empty: only the city pack. The pages ask these hosts for pictures.",
    )
    data_dir: str = _setting("fleet-data", "Folder of `fleet up`: broker store, database, logs, city pack.")
    log_level: str = _setting("info", "Least level that is logged.", choices=("debug", "info", "warning", "error"))

    def __post_init__(self) -> None:
        _between("partitions", self.partitions, 1, 256)
        _between("batch_max_messages", self.batch_max_messages, 1, 50_000)
        _between("batch_linger_ms", self.batch_linger_ms, 0, 10_000)
        _between("held_max_mb", self.held_max_mb, 1, 100_000)
        _between("message_max_kb", self.message_max_kb, 1, 262_144)
        _between("lease_seconds", self.lease_seconds, 2, 600)
        _between("ingest_health_port", self.ingest_health_port, 0, 65_535)
        _between("http_port", self.http_port, 0, 65_535)
        _between("session_idle_minutes", self.session_idle_minutes, 1, 10_080)
        _between("session_hours", self.session_hours, 1, 720)
        _networks("http_trusted_proxies", self.http_trusted_proxies)
        _between("compress_after_days", self.compress_after_days, 1, 36_500)
        _between("retention_days", self.retention_days, 0, 36_500)
        if 0 < self.retention_days <= self.compress_after_days:
            raise SettingsError(
                f"FLEET_RETENTION_DAYS={self.retention_days} must be 0 or more than "
                f"FLEET_COMPRESS_AFTER_DAYS={self.compress_after_days}"
            )
        if self.database_url:
            _url("database_url", self.database_url, ("postgresql", "postgres"))
        if self.mqtt_url:
            _url("mqtt_url", self.mqtt_url, ("mqtt", "mqtts"))
        if self.mqtt_session_secret and not re.fullmatch(r"[A-Za-z0-9]{16,64}", self.mqtt_session_secret):
            # Not shown: it is a secret.
            raise SettingsError("FLEET_MQTT_SESSION_SECRET is not 16 to 64 letters and digits")
        if bool(self.mqtt_cert_file) != bool(self.mqtt_key_file):
            raise SettingsError("FLEET_MQTT_CERT_FILE and FLEET_MQTT_KEY_FILE must be set together")

    @classmethod
    def from_environment(cls, environ: Mapping[str, str]) -> "Settings":
        """Read settings. Raises SettingsError for an unknown FLEET_ variable or a value of the wrong kind."""
        known = {PREFIX + item.name.upper(): item for item in fields(cls)}
        values: dict[str, Any] = {}
        for variable, text in environ.items():
            if not variable.startswith(PREFIX):
                continue
            if variable not in known:
                near = difflib.get_close_matches(variable, known, n=1)
                hint = f"; did you mean {near[0]}?" if near else ""
                raise SettingsError(f"unknown setting {variable}{hint}")
            item = known[variable]
            values[item.name] = _parse(variable, text, type(item.default), item.metadata["choices"])
        return cls(**values)

    def require(self, *names: str) -> None:
        """Raise SettingsError naming the first of `names` that is empty."""
        for name in names:
            if not getattr(self, name):
                raise SettingsError(f"{PREFIX}{name.upper()} is not set")

    @property
    def data_path(self) -> Path:
        """`data_dir` as an absolute path."""
        return Path(self.data_dir).expanduser().absolute()


@cache
def from_process() -> Settings:
    """The settings of this process, read once from its environment."""
    return Settings.from_environment(os.environ)


def _parse(variable: str, text: str, kind: type, choices: tuple[str, ...]) -> Any:
    if kind is int:
        try:
            return int(text)
        except ValueError:
            raise SettingsError(f"{variable}={text!r} is not a whole number") from None
    if choices and text not in choices:
        raise SettingsError(f"{variable}={text!r} is not one of {', '.join(choices)}")
    return text


def _between(name: str, value: int, low: int, high: int) -> None:
    if not low <= value <= high:
        raise SettingsError(f"{PREFIX}{name.upper()}={value} is not between {low} and {high}")


def _url(name: str, text: str, schemes: tuple[str, ...]) -> None:
    variable = PREFIX + name.upper()
    try:
        parts = urlsplit(text)
        _ = parts.port
    except ValueError as error:
        raise SettingsError(f"{variable} is not a URL: {error}") from None
    if parts.scheme not in schemes:
        raise SettingsError(f"{variable} must begin with {' or '.join(f'{scheme}://' for scheme in schemes)}")
    if not parts.hostname:
        raise SettingsError(f"{variable} names no host")


def _networks(name: str, text: str) -> None:
    for item in filter(None, map(str.strip, text.split(","))):
        try:
            ipaddress.ip_network(item, strict=False)
        except ValueError:
            raise SettingsError(f"{PREFIX}{name.upper()}: {item!r} is no address or network") from None


def documentation() -> str:
    """The page `docs/settings.md`, made from the fields."""
    rows = [
        "# Settings",
        "",
        "Every process reads its settings once, from environment variables. A variable that begins with `FLEET_` and",
        "is not in this table is refused by name, so that a misspelt setting never goes unnoticed.",
        "",
        "This page is made by `python -m fleet_core.settings > docs/settings.md`.",
        "",
        "| variable | default | meaning |",
        "|---|---|---|",
    ]
    for item in fields(Settings):
        default = f"`{item.default}`" if item.default != "" else ""
        meaning = item.metadata["doc"].replace("|", "\\|")
        rows.append(f"| `{PREFIX}{item.name.upper()}` | {default} | {meaning} |")
    return "\n".join(rows) + "\n"


if __name__ == "__main__":
    sys.stdout.write(documentation())
