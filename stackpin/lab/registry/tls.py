"""A certificate authority of the lab's own, and certificates signed by it."""

import datetime
import ipaddress
import os
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

__all__ = ["Authority", "Pair", "write_private"]

DAYS = 365


@dataclass(frozen=True)
class Pair:
    """A certificate and its key, both PEM."""

    certificate: bytes
    key: bytes


@dataclass(frozen=True)
class Authority:
    """The authority whose files are `ca.pem` and `ca.key` (0600) in `home`."""

    home: Path

    @property
    def certificate(self) -> Path:
        """What hosts are told to trust."""
        return self.home / "ca.pem"

    @property
    def key(self) -> Path:
        """Signs; never leaves this machine."""
        return self.home / "ca.key"

    def make(self) -> None:
        """Make the authority; one that is there is kept."""
        if self.certificate.exists():
            return
        self.home.mkdir(parents=True, exist_ok=True, mode=0o700)
        pair = authority("stackpin lab")
        write_private(self.key, pair.key)
        # Last, because it says that the authority is complete.
        draft = self.certificate.with_suffix(".new")
        draft.write_bytes(pair.certificate)
        draft.replace(self.certificate)

    def sign(self, address: str, name: str) -> Pair:
        """Give a server certificate for an IPv4 address and a host name."""
        pair = Pair(self.certificate.read_bytes(), self.key.read_bytes())
        return signed(pair, address, name)


def authority(name: str) -> Pair:
    """Make a self-signed authority called `name`."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = _name(name)
    identity = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
    builder = (
        _builder(subject, subject, key.public_key())
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(signs=True), critical=True)
        .add_extension(identity, critical=False)
    )
    return _pair(builder.sign(key, hashes.SHA256()), key)


def signed(by: Pair, address: str, name: str) -> Pair:
    """Make a server certificate for an IPv4 address and a host name, signed by `by`."""
    issuer = x509.load_pem_x509_certificate(by.certificate)
    issuer_key = serialization.load_pem_private_key(by.key, None)
    if not isinstance(issuer_key, ec.EllipticCurvePrivateKey):
        raise TypeError("the lab's authority has a key that is not of its own making")
    key = ec.generate_private_key(ec.SECP256R1())
    names: list[x509.GeneralName] = [
        x509.IPAddress(ipaddress.ip_address(address)),
        x509.DNSName(name),
    ]
    identity = issuer.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    builder = (
        _builder(_name(name), issuer.subject, key.public_key())
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(signs=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([x509.OID_SERVER_AUTH]), critical=False)
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(identity),
            critical=False,
        )
    )
    return _pair(builder.sign(issuer_key, hashes.SHA256()), key)


def write_private(path: Path, data: bytes) -> None:
    """Write a file that only root may read, from its first byte on."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(data)


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey
) -> x509.CertificateBuilder:
    now = datetime.datetime.now(datetime.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        # A host's clock may be behind this machine's.
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=DAYS))
    )


def _usage(*, signs: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs,
        key_cert_sign=signs,
        crl_sign=signs,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _pair(certificate: x509.Certificate, key: ec.EllipticCurvePrivateKey) -> Pair:
    return Pair(
        certificate.public_bytes(serialization.Encoding.PEM),
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        ),
    )
