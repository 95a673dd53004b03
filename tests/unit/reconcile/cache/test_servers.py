"""What is copied of a server's CA: certificates and nothing else of the key that the server's owner names."""

import base64

import pytest
from cryptography.hazmat.primitives import serialization
from tests.process.test_agent_backend import authority

from pgbouncer_operator.reconcile.cache.servers import certificates

_, KEY, CERTIFICATE = authority()
OTHER = authority()[2]
PRIVATE = KEY.private_bytes(
    serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
).decode()


def block(content: bytes) -> str:
    encoded = base64.encodebytes(content).decode()
    return f"-----BEGIN CERTIFICATE-----\n{encoded}-----END CERTIFICATE-----\n"


def der(pem: str) -> bytes:
    return base64.b64decode("".join(pem.splitlines()[1:-1]))


@pytest.mark.parametrize(
    ("text", "copied"),
    [
        (CERTIFICATE, CERTIFICATE),
        (CERTIFICATE + OTHER, CERTIFICATE + OTHER),
        (f"# the CA\n{CERTIFICATE}{PRIVATE}# password: xyzzy\n{OTHER}", CERTIFICATE + OTHER),
        (PRIVATE, ""),
        ("xyzzy", ""),
        (block(b"xyzzy"), ""),
        (block(der(PRIVATE)), ""),
        (block(der(CERTIFICATE) + b"xyzzy"), ""),
        (block(der(CERTIFICATE) + der(PRIVATE)), ""),
        (CERTIFICATE.replace("-----END", "xyzzy!\n-----END"), ""),
        ("", ""),
        (f"-----BEGIN CERTIFICATE-----\n\n-----END CERTIFICATE-----\n{CERTIFICATE}", CERTIFICATE),
    ],
)
def test_only_certificates_are_copied(text: str, copied: str) -> None:
    assert certificates(text) == copied
