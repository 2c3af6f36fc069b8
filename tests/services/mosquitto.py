"""Mosquitto from the machine, with the shipped configuration moved to a port and folder of its own."""

import os
import re
import shutil
import signal
import subprocess
from pathlib import Path

import paho.mqtt.client as paho

from fleet_core.embedded import service, tether

REPOSITORY = Path(__file__).resolve().parents[2]
SHIPPED = REPOSITORY / "deploy" / "mosquitto" / "mosquitto.conf"
USER = "fleet"


def program() -> str | None:
    """Path of the server; Debian keeps it where ordinary users do not look."""
    return shutil.which("mosquitto", path=os.environ.get("PATH", "") + ":/usr/sbin:/usr/local/sbin")


class Mosquitto:
    """One broker with its store in `data_dir`: same surface as EmbeddedNats."""

    def __init__(self, data_dir: Path, port: int | None = None) -> None:
        self.data_dir = data_dir.absolute()
        self.port = port or service.free_port()
        self._process: tether.Process | None = None

    @property
    def url(self) -> str:
        return f"mqtt://{USER}:{service.secret(self.data_dir / 'password')}@{service.LOOPBACK}:{self.port}"

    @property
    def pid(self) -> int | None:
        return self._process.pid if self._process is not None and self._process.poll() is None else None

    @property
    def log(self) -> Path:
        return self.data_dir / "server.log"

    def start(self) -> None:
        if self.pid is not None:
            return
        store = self.data_dir / "store"
        store.mkdir(parents=True, exist_ok=True)
        self._write_passwords()
        if not (self.data_dir / "acl").exists():
            shutil.copy(SHIPPED.parent / "acl.conf", self.data_dir / "acl")
        configuration = self.data_dir / "mosquitto.conf"
        configuration.write_text(self.adapted(SHIPPED.read_text(encoding="utf-8")), encoding="utf-8")
        found = program()
        assert found is not None
        with service.open_log(self.log) as log:
            self._process = tether.spawn([found, "-c", str(configuration)], output=log)
        service.wait_until(self._answers, self._process, 20.0, "mosquitto")

    def adapted(self, text: str) -> str:
        """The shipped text with other paths and port; every other line is as shipped."""

        def put(pattern: str, replacement: str) -> None:
            nonlocal text
            text, count = re.subn(pattern, replacement, text, flags=re.MULTILINE)
            assert count == 1, f"{pattern} is in the shipped configuration {count} times"

        put(r"^listener 1883$", f"listener {self.port} {service.LOOPBACK}")
        put(r"^persistence_location .*$", f"persistence_location {self.data_dir}/store/")
        put(r"^password_file .*$", f"password_file {self.data_dir}/passwords")
        put(r"^acl_file .*$", f"acl_file {self.data_dir}/acl")
        # Started by root it would become the user mosquitto, who cannot read the test's folder.
        return text + ("user root\n" if os.geteuid() == 0 else "")

    def stop(self) -> None:
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        self._end(signal.SIGKILL)

    def reload(self) -> None:
        """Let it read accounts and rights again."""
        assert self._process is not None
        self._process.send_signal(signal.SIGHUP)

    def add_user(self, name: str, password: str) -> None:
        """Add a device's account; read by Mosquitto at its next start."""
        path = self.data_dir / "passwords"
        path.touch(mode=0o600)
        subprocess.run(["mosquitto_passwd", "-b", str(path), name, password], check=True, capture_output=True)

    def _write_passwords(self) -> None:
        if not (self.data_dir / "passwords").exists():
            self.add_user(USER, service.secret(self.data_dir / "password"))

    def _answers(self) -> bool:
        return accepts(self.url)

    def _end(self, number: signal.Signals) -> None:
        if self._process is None or self._process.poll() is not None:
            return
        self._process.send_signal(number)
        self._process.wait(20)


def accepts(url: str) -> bool:
    """Whether a broker accepts the credentials of `url` now."""
    from urllib.parse import urlsplit

    parts = urlsplit(url)
    assert parts.hostname and parts.port
    client = paho.Client(paho.CallbackAPIVersion.VERSION2)
    client.username_pw_set(parts.username, parts.password)
    try:
        client.connect(parts.hostname, parts.port)
    except OSError:
        return False
    for _ in range(50):
        client.loop(0.1)
        if client.is_connected():
            client.disconnect()
            return True
    return False
