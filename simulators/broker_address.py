"""Which broker to talk to: the option, the environment, or the installation that `fleet up` runs."""

import json
import subprocess
import sys
from pathlib import Path

from fleet_core.cli import Refusal
from fleet_core.settings import Settings, SettingsError
from simulators.publisher import Tls


def find(option: str | None, data_dir: Path | None, settings: Settings) -> tuple[str, Tls]:
    """URL and TLS files of the broker. Raises Refusal when none is known."""
    tls = Tls(settings.mqtt_ca_file, settings.mqtt_cert_file, settings.mqtt_key_file)
    if option:
        # The settings' own check, so that a wrong URL is refused with the same words everywhere.
        try:
            return Settings(mqtt_url=option).mqtt_url, tls
        except SettingsError as error:
            raise Refusal(str(error).replace("FLEET_MQTT_URL", "--mqtt-url")) from None
    if settings.mqtt_url and data_dir is None:
        return settings.mqtt_url, tls
    return _of_running(data_dir or settings.data_path), tls


def _of_running(data_dir: Path) -> str:
    # Asked through its own command, because what runs where is the business of `fleet up` alone.
    asked = subprocess.run(
        [sys.executable, "-m", "fleet_core.cli", "status", "--data", str(data_dir), "--json"],
        capture_output=True, text=True, timeout=30, check=False,
    )  # fmt: skip
    try:
        url = json.loads(asked.stdout)["mqtt_url"]
    except (ValueError, KeyError, TypeError):
        url = None
    if not isinstance(url, str) or not url:
        raise Refusal(
            f"no broker is known: start `fleet up`, set FLEET_MQTT_URL or give --mqtt-url (nothing runs in {data_dir})"
        )
    return url
