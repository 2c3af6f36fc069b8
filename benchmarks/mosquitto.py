"""Mosquitto with the shipped lossless configuration, for measuring against it. Needs a source tree and the program."""

import os
import re
import secrets
import shutil
import subprocess
import time
from pathlib import Path
from typing import Final

from fleet_core.embedded import service, tether

_SHIPPED: Final = Path(__file__).resolve().parents[1] / "deploy" / "mosquitto"
_USER: Final = "fleet"
_READY_WITHIN_S: Final = 20.0


class UnavailableError(RuntimeError):
    """Mosquitto cannot be measured here; the text says why."""


class BenchMosquitto:
    """One broker with its store in `folder`: the part of EmbeddedNats' surface that a measurement uses."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._port = service.free_port()
        self._password = secrets.token_hex(16)
        self._process: tether.Process | None = None

    @property
    def url(self) -> str:
        """MQTT URL with credentials."""
        return f"mqtt://{_USER}:{self._password}@{service.LOOPBACK}:{self._port}"

    def start(self) -> None:
        """Start with every line of the shipped configuration but port and paths. Raises UnavailableError."""
        program = shutil.which("mosquitto", path=os.environ.get("PATH", "") + ":/usr/sbin:/usr/local/sbin")
        if program is None or not _SHIPPED.is_dir():
            raise UnavailableError("mosquitto is not installed, or this is not a source tree with deploy/mosquitto")
        (self._folder / "store").mkdir(parents=True)
        passwords = self._folder / "passwords"
        passwords.touch(mode=0o600)
        subprocess.run(["mosquitto_passwd", "-b", str(passwords), _USER, self._password], check=True)
        text = (_SHIPPED / "mosquitto.conf").read_text(encoding="utf-8")
        for line, ours in (
            ("listener 1883", f"listener {self._port} {service.LOOPBACK}"),
            ("persistence_location .*", f"persistence_location {self._folder}/store/"),
            ("password_file .*", f"password_file {passwords}"),
            ("acl_file .*", f"acl_file {_SHIPPED}/acl.conf"),
        ):
            text = re.sub(f"^{line}$", ours, text, flags=re.MULTILINE)
        # Started by root it would become the user mosquitto, who cannot read this folder.
        text += "user root\n" if os.geteuid() == 0 else ""
        configuration = self._folder / "mosquitto.conf"
        configuration.write_text(text, encoding="utf-8")
        with service.open_log(self._folder / "server.log") as log:
            self._process = tether.spawn([program, "-c", str(configuration)], output=log)
        deadline = time.monotonic() + _READY_WITHIN_S
        while service.is_port_free(self._port, service.LOOPBACK):
            if time.monotonic() > deadline or self._process.poll() is not None:
                raise UnavailableError(f"mosquitto did not start: see {self._folder}/server.log")
            time.sleep(0.1)

    def stop(self) -> None:
        """End it."""
        if self._process is not None and self._process.poll() is None:
            self._process.terminate()
            self._process.wait(20)
