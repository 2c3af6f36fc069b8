"""Settings: what is wrong is refused by name, in one sentence."""

import os
import subprocess
import sys
from dataclasses import fields
from pathlib import Path

import pytest

from fleet_core import settings
from fleet_core.settings import PREFIX, Settings, SettingsError

REPOSITORY = Path(__file__).resolve().parents[1]


def test_defaults_stand_when_nothing_is_set() -> None:
    assert Settings.from_environment({"PATH": "/bin", "FLEETWARD_OTHER": "1"}) == Settings()


def test_values_are_read_by_kind() -> None:
    read = Settings.from_environment(
        {"FLEET_PARTITIONS": "64", "FLEET_MQTT_URL": "mqtts://u:p@broker:8883", "FLEET_UNKNOWN_VEHICLES": "quarantine"}
    )
    assert (read.partitions, read.mqtt_url, read.unknown_vehicles) == (64, "mqtts://u:p@broker:8883", "quarantine")


@pytest.mark.parametrize(
    ("environ", "sentence"),
    [
        ({"FLEET_PARTITION": "8"}, "unknown setting FLEET_PARTITION; did you mean FLEET_PARTITIONS?"),
        ({"FLEET_QQQQ": "8"}, "unknown setting FLEET_QQQQ"),
        ({"FLEET_PARTITIONS": "many"}, "FLEET_PARTITIONS='many' is not a whole number"),
        ({"FLEET_PARTITIONS": "1.5"}, "FLEET_PARTITIONS='1.5' is not a whole number"),
        ({"FLEET_PARTITIONS": "0"}, "FLEET_PARTITIONS=0 is not between 1 and 256"),
        ({"FLEET_HTTP_PORT": "65536"}, "FLEET_HTTP_PORT=65536 is not between 0 and 65535"),
        ({"FLEET_UNKNOWN_VEHICLES": "drop"}, "FLEET_UNKNOWN_VEHICLES='drop' is not one of register, quarantine"),
        ({"FLEET_LOG_LEVEL": "loud"}, "FLEET_LOG_LEVEL='loud' is not one of debug, info, warning, error"),
        (
            {"FLEET_MQTT_SESSION_SECRET": "short/secret"},
            "FLEET_MQTT_SESSION_SECRET is not 16 to 64 letters and digits",
        ),
        ({"FLEET_MQTT_DEVICE_AUTH": "yes"}, "FLEET_MQTT_DEVICE_AUTH='yes' is not one of off, on"),
        ({"FLEET_DATABASE_URL": "mysql://h/d"}, "FLEET_DATABASE_URL must begin with postgresql:// or postgres://"),
        ({"FLEET_MQTT_URL": "http://h"}, "FLEET_MQTT_URL must begin with mqtt:// or mqtts://"),
        ({"FLEET_MQTT_URL": "mqtt://"}, "FLEET_MQTT_URL names no host"),
        ({"FLEET_MQTT_URL": "mqtt://h:port"}, "FLEET_MQTT_URL is not a URL"),
        ({"FLEET_MQTT_CERT_FILE": "c.pem"}, "FLEET_MQTT_CERT_FILE and FLEET_MQTT_KEY_FILE must be set together"),
        ({"FLEET_SESSION_HOURS": "0"}, "FLEET_SESSION_HOURS=0 is not between 1 and 720"),
        (
            {"FLEET_HTTP_TRUSTED_PROXIES": "10.0.0.0/8, proxy"},
            "FLEET_HTTP_TRUSTED_PROXIES: 'proxy' is no address or network",
        ),
        (
            {"FLEET_RETENTION_DAYS": "30"},
            "FLEET_RETENTION_DAYS=30 must be 0 or more than FLEET_COMPRESS_AFTER_DAYS=30",
        ),
    ],
)
def test_what_is_wrong_is_named(environ: dict[str, str], sentence: str) -> None:
    with pytest.raises(SettingsError) as refused:
        Settings.from_environment(environ)
    assert str(refused.value).startswith(sentence)
    assert "\n" not in str(refused.value)


def test_a_missing_setting_is_named() -> None:
    with pytest.raises(SettingsError, match="FLEET_DATABASE_URL is not set"):
        Settings().require("database_url")


@pytest.mark.parametrize(
    ("environ", "arguments", "sentence"),
    [
        ({"FLEET_DATABSE_URL": "x"}, ["migrate"], "did you mean FLEET_DATABASE_URL?"),
        ({}, ["migrate"], "FLEET_DATABASE_URL is not set"),
        ({"FLEET_DATABASE_URL": "postgresql://u@127.0.0.1:1/d"}, ["migrate"], "the database cannot be reached"),
        ({}, ["run", "nothing"], "there is no process 'nothing'"),
    ],
)
def test_the_command_line_refuses_in_one_sentence(environ: dict[str, str], arguments: list[str], sentence: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "fleet_core.cli", *arguments],
        env={**os.environ, **environ},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode != 0
    assert sentence in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    assert done.stdout == ""


def test_every_setting_is_documented() -> None:
    assert (REPOSITORY / "docs" / "settings.md").read_text(encoding="utf-8") == settings.documentation(), (
        "run: python -m fleet_core.settings > docs/settings.md"
    )
    for item in fields(Settings):
        assert item.metadata["doc"].endswith("."), f"{PREFIX}{item.name.upper()} has no full sentence"
