"""A certificate authority in a folder: client certificates of devices, and the broker's own.

For installations without an authority of their own. The authority's key is not encrypted: keep the folder on the
machine of whoever adds devices, never on the broker's.
"""

import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from fleet_core.device_access import files

# A device stays in its vehicle for a leasing term or two; whoever replaces it replaces the certificate.
CLIENT_VALID: Final = timedelta(days=5 * 365)
# The longest that clients of all kinds accept of a server (Apple, "Requirements for trusted certificates", HT210176).
SERVER_VALID: Final = timedelta(days=825)
_AUTHORITY_VALID: Final = timedelta(days=20 * 365)
# Clocks of brokers and of this machine need not agree to the second.
_BACKDATED: Final = timedelta(hours=1)
# X.520, ub-common-name.
_NAME_MAX: Final = 64
_PRIVATE: Final = 0o600
_PUBLIC: Final = 0o644


class CertificateError(ValueError):
    """A certificate that cannot be issued; the text says why in one sentence."""


@dataclass(frozen=True, slots=True)
class Authority:
    """What signs."""

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey


@dataclass(frozen=True, slots=True)
class IssuedCertificate:
    """A certificate and its key, in PEM."""

    certificate_pem: str
    key_pem: str


def authority(folder: Path, now: datetime) -> Authority:
    """The authority kept in `folder` (`ca.pem`, `ca.key`), made when there is none. Raises CertificateError."""
    certificate_path, key_path = folder / "ca.pem", folder / "ca.key"
    try:
        if not certificate_path.exists() and not key_path.exists():
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            made = _new_authority(now)
            files.replace(key_path, _key_pem(made.key), _PRIVATE)
            files.replace(certificate_path, _certificate_pem(made.certificate), _PUBLIC)
        certificate = x509.load_pem_x509_certificate(certificate_path.read_bytes())
        key = serialization.load_pem_private_key(key_path.read_bytes(), password=None)
    except OSError as error:
        raise CertificateError(f"{error.filename or folder}: {error.strerror}") from None
    except (ValueError, TypeError) as error:
        raise CertificateError(f"the authority in {folder} cannot be read: {error}") from None
    if not isinstance(key, ec.EllipticCurvePrivateKey) or key.public_key() != certificate.public_key():
        raise CertificateError(f"{key_path} is not the key of {certificate_path}")
    return Authority(certificate, key)


def client_ends_at(signer: Authority, now: datetime) -> datetime:
    """When a client certificate issued now ends: never after its authority. Raises CertificateError."""
    return _ends_at(signer, CLIENT_VALID, now)


def issue_client(signer: Authority, name: str, now: datetime) -> IssuedCertificate:
    """A certificate by which `name` signs in. Raises CertificateError for a name longer than a CN may be."""
    usage = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH])
    return _issue(signer, name, now, CLIENT_VALID, [usage])


def issue_server(signer: Authority, hosts: Sequence[str], now: datetime) -> IssuedCertificate:
    """A certificate of a broker that is reached as any of `hosts`, names or addresses."""
    usage = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH])
    names = x509.SubjectAlternativeName([_general_name(host) for host in hosts])
    return _issue(signer, hosts[0][:_NAME_MAX], now, SERVER_VALID, [usage, names])


def write(folder: Path, name: str, issued: IssuedCertificate) -> tuple[Path, Path]:
    """Write `name.pem` and `name.key`. Returns their paths."""
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    certificate_path, key_path = folder / f"{name}.pem", folder / f"{name}.key"
    files.replace(key_path, issued.key_pem, _PRIVATE)
    files.replace(certificate_path, issued.certificate_pem, _PUBLIC)
    return certificate_path, key_path


def _general_name(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def _new_authority(now: datetime) -> Authority:
    key = ec.generate_private_key(ec.SECP256R1())
    name = _name("Fleetward devices")
    builder = _builder(name, name, key.public_key(), now, _AUTHORITY_VALID)
    # No authority below it: a device's certificate signs nothing.
    builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
    builder = builder.add_extension(_key_usage(signs_certificates=True), critical=True)
    return Authority(builder.sign(key, hashes.SHA256()), key)


def _issue(
    signer: Authority, name: str, now: datetime, valid: timedelta, extensions: Sequence[x509.ExtensionType]
) -> IssuedCertificate:
    if len(name) > _NAME_MAX:
        raise CertificateError(f"{name!r} is longer than the {_NAME_MAX} characters that a certificate's name may have")
    key = ec.generate_private_key(ec.SECP256R1())
    builder = _builder(
        _name(name), signer.certificate.subject, key.public_key(), now, _ends_at(signer, valid, now) - now
    )
    builder = builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
    builder = builder.add_extension(_key_usage(signs_certificates=False), critical=True)
    for extension in extensions:
        builder = builder.add_extension(extension, critical=False)
    return IssuedCertificate(_certificate_pem(builder.sign(signer.key, hashes.SHA256())), _key_pem(key))


def _ends_at(signer: Authority, valid: timedelta, now: datetime) -> datetime:
    ends = min(now + valid, signer.certificate.not_valid_after_utc)
    if ends <= now:
        raise CertificateError("the authority's own certificate has ended")
    return ends


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey, now: datetime, valid: timedelta
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _BACKDATED)
        .not_valid_after(now + valid)
    )


def _name(common_name: str) -> x509.Name:
    # The CN alone: NATS compares the whole subject, `CN=...`, and Mosquitto the CN.
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def _key_usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _certificate_pem(certificate: x509.Certificate) -> str:
    return certificate.public_bytes(serialization.Encoding.PEM).decode()


def _key_pem(key: ec.EllipticCurvePrivateKey) -> str:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ).decode()
