"""Certificates for tests: an authority, and what it signs for a server's names."""

import base64
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from tests.cluster.pools import Object

LIFE = timedelta(days=30)
SKEW = timedelta(hours=1)
# Verifiers that are strict (Python's) want an authority to say what its key is for.
SIGNING = x509.KeyUsage(
    key_cert_sign=True,
    crl_sign=True,
    digital_signature=False,
    content_commitment=False,
    key_encipherment=False,
    data_encipherment=False,
    key_agreement=False,
    encipher_only=False,
    decipher_only=False,
)
PEM = serialization.Encoding.PEM


@dataclass(frozen=True, slots=True)
class Authority:
    """A certificate authority that signs for servers."""

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey

    @property
    def pem(self) -> str:
        """Its certificate."""
        return self.certificate.public_bytes(PEM).decode()


@dataclass(frozen=True, slots=True)
class Signed:
    """A server's certificate and key, as PEM, and the certificate's serial number."""

    certificate: str
    key: str
    serial: int


def authority(name: str) -> Authority:
    """A new authority."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    public = key.public_key()
    built = (
        _builder(subject, subject, key)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), True)
        .add_extension(SIGNING, True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(public), False)
    )
    return Authority(built.sign(key, hashes.SHA256()), key)


def sign(by: Authority, *names: str) -> Signed:
    """A new certificate for these DNS names."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, names[0])])
    alternatives = x509.SubjectAlternativeName([x509.DNSName(name) for name in names])
    made = (
        _builder(subject, by.certificate.subject, key)
        .add_extension(alternatives, False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(by.key.public_key()), False)
    )
    certificate = made.sign(by.key, hashes.SHA256())
    plain = key.private_bytes(PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    return Signed(certificate.public_bytes(PEM).decode(), plain.decode(), certificate.serial_number)


def secret(name: str, signed: Signed, ca: str) -> Object:
    """A Secret as cert-manager writes it."""
    texts = {"tls.crt": signed.certificate, "tls.key": signed.key, "ca.crt": ca}
    data = {key: base64.b64encode(text.encode()).decode() for key, text in texts.items()}
    return {"apiVersion": "v1", "kind": "Secret", "type": "kubernetes.io/tls", "metadata": {"name": name}, "data": data}


def config_map(name: str, *pems: str) -> Object:
    """A ConfigMap with certificates of authorities under ca.crt."""
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": {"ca.crt": "".join(pems)}}


def _builder(subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    return x509.CertificateBuilder(
        issuer, subject, key.public_key(), x509.random_serial_number(), now - SKEW, now + LIFE
    )
