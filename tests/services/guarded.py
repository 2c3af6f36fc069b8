"""Both brokers as they are with accounts of devices, over TCP and over TLS with client certificates."""

import re
import time
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol

from fleet_core.device_access import certificates, files
from fleet_core.device_access.accounts import Account, Platform, platform_of
from fleet_core.embedded import service
from fleet_core.embedded.nats import EmbeddedNats
from fleet_core.settings import Settings
from tests.services.mosquitto import SHIPPED, Mosquitto
from tests.services.mqtt_client import Certificate

DEPLOY = SHIPPED.parents[1]
PARTITIONS = 16
_RELOAD_WITHIN_S = 20.0


class Authority:
    """A certificate authority of one test, with the broker's certificate."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._now = datetime.now(UTC)
        self._signer = certificates.authority(folder, self._now)
        self.broker = certificates.write(
            folder, "broker", certificates.issue_server(self._signer, [service.LOOPBACK], self._now)
        )

    @property
    def file(self) -> Path:
        return self._folder / "ca.pem"

    def of(self, name: str) -> Certificate:
        issued = certificates.issue_client(self._signer, name, self._now)
        return Certificate(self.file, *certificates.write(self._folder / "devices", name, issued))


class Guarded(Protocol):
    """A broker that knows devices."""

    # Whether a filter that is not the client's is refused at once; Mosquitto grants it and stays silent.
    refuses_filters: bool
    # Whether a certificate of nobody is refused at once; Mosquitto lets it in and stays silent.
    refuses_unknown_certificates: bool

    @property
    def port(self) -> int: ...
    @property
    def tls_port(self) -> int: ...
    @property
    def platform(self) -> Platform: ...
    def start(self) -> None: ...
    def kill(self) -> None: ...
    def admit(self, accounts: Iterable[Account]) -> None: ...


class GuardedNats:
    """The embedded server; over TLS with the shipped deploy/nats/mqtt-tls.conf, on its one port for MQTT."""

    refuses_filters = True
    refuses_unknown_certificates = True

    def __init__(self, folder: Path, authority: Authority | None) -> None:
        self._server = _TlsNats(folder, authority) if authority else EmbeddedNats(folder, device_accounts=True)

    @property
    def port(self) -> int:
        return self._server.port

    @property
    def tls_port(self) -> int:
        return self._server.port

    @property
    def client_port(self) -> int:
        return self._server.client_port

    @property
    def platform(self) -> Platform:
        return platform_of(Settings(mqtt_url=self._server.url))

    def start(self) -> None:
        self._server.start()

    def kill(self) -> None:
        self._server.kill()

    def admit(self, accounts: Iterable[Account]) -> None:
        before = self._reloads()
        assert self._server.admit(accounts, PARTITIONS)
        _until(lambda: self._reloads() > before)

    def _reloads(self) -> int:
        return self._server.log.read_text(encoding="utf-8").count("Reloaded server configuration")


class _TlsNats(EmbeddedNats):
    def __init__(self, folder: Path, authority: Authority) -> None:
        super().__init__(folder, device_accounts=True)
        self._authority = authority

    def _configuration(self) -> str:
        shipped = (DEPLOY / "nats" / "mqtt-tls.conf").read_text(encoding="utf-8")
        certificate, key = self._authority.broker
        for variable, path in (("NATS_CERT", certificate), ("NATS_KEY", key), ("NATS_CA", self._authority.file)):
            shipped = re.sub(rf": \${variable}$", f': "{path}"', shipped, flags=re.MULTILINE)
        (self.data_dir / "mqtt-tls.conf").write_text(shipped, encoding="utf-8")
        text = super()._configuration()
        assert text.count("mqtt {\n") == 1
        return text.replace("mqtt {\n", 'mqtt {\n  include "./mqtt-tls.conf"\n')


class GuardedMosquitto:
    """The shipped configuration, with the shipped tls.conf behind it where there is an authority."""

    refuses_filters = False
    refuses_unknown_certificates = False

    def __init__(self, folder: Path, authority: Authority | None) -> None:
        self._server = _TlsMosquitto(folder, authority) if authority else _ToldMosquitto(folder)
        self.tls_port = self._server.tls_port if isinstance(self._server, _TlsMosquitto) else 0

    @property
    def port(self) -> int:
        return self._server.port

    @property
    def platform(self) -> Platform:
        return platform_of(Settings(mqtt_url=self._server.url))

    def start(self) -> None:
        self._server.data_dir.mkdir(exist_ok=True)
        files.write_mosquitto(self._server.data_dir, [], PARTITIONS, self.platform)
        self._server.start()

    def kill(self) -> None:
        self._server.kill()

    def admit(self, accounts: Iterable[Account]) -> None:
        assert files.write_mosquitto(self._server.data_dir, accounts, PARTITIONS, self.platform)
        before = self._reloads()
        self._server.reload()
        _until(lambda: self._reloads() > before)

    def _reloads(self) -> int:
        return self._server.log.read_text(encoding="utf-8").count("Reloading config")


class _ToldMosquitto(Mosquitto):
    """It says when it reads its files again, which the shipped configuration does not ask for."""

    def adapted(self, text: str) -> str:
        return "log_type information\n" + super().adapted(text)


class _TlsMosquitto(_ToldMosquitto):
    def __init__(self, folder: Path, authority: Authority) -> None:
        super().__init__(folder)
        self._authority = authority
        self.tls_port = service.free_port()

    def adapted(self, text: str) -> str:
        shipped = (SHIPPED.parent / "tls.conf").read_text(encoding="utf-8")
        certificate, key = self._authority.broker
        for line, ours in (
            ("listener 8883", f"listener {self.tls_port} {service.LOOPBACK}"),
            ("cafile .*", f"cafile {self._authority.file}"),
            ("certfile .*", f"certfile {certificate}"),
            ("keyfile .*", f"keyfile {key}"),
        ):
            shipped, count = re.subn(f"^{line}$", ours, shipped, flags=re.MULTILINE)
            assert count == 1
        return super().adapted(text) + "\n" + shipped


def _until(done: Callable[[], bool]) -> None:
    deadline = time.monotonic() + _RELOAD_WITHIN_S
    while not done():
        assert time.monotonic() < deadline, "the broker did not read its accounts again"
        time.sleep(0.02)
    # Mosquitto says so before it does it.
    time.sleep(0.1)
