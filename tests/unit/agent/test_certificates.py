"""When certificates end, and that a mounted one that has ended replaces no valid one."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from tests.unit.agent.test_mounts import INTENT, mounted, volume

from pgbouncer_operator.agent import certificates, mounts
from pgbouncer_operator.agent.settings import AgentSettings
from pgbouncer_operator.protocol.intent import ClientTlsIntent
from pgbouncer_operator.protocol.reasons import ProblemReason

NOW = datetime.now(UTC).replace(microsecond=0)
KEY = ec.generate_private_key(ec.SECP256R1())
KEY_PEM = KEY.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
YESTERDAY, TOMORROW, NEXT_YEAR = (NOW + timedelta(days=days) for days in (-1, 1, 365))


def certificate(ends: datetime) -> bytes:
    """A self-signed certificate in PEM that began 30 days before its end."""
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "pool")])
    made = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(KEY.public_key())
    made = made.serial_number(x509.random_serial_number()).not_valid_before(ends - timedelta(days=30))
    return made.not_valid_after(ends).sign(KEY, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


def seconds(moment: datetime) -> int:
    return int(moment.timestamp())


def test_the_end_of_a_pair_is_that_of_its_first_certificate() -> None:
    found = certificates.of_pair(certificate(TOMORROW) + certificate(YESTERDAY))
    assert found is not None
    assert (found.begins, found.ends) == (seconds(TOMORROW - timedelta(days=30)), seconds(TOMORROW))


def test_a_bundle_of_authorities_ends_with_its_last() -> None:
    found = certificates.of_authorities(certificate(YESTERDAY) + certificate(NEXT_YEAR) + certificate(TOMORROW))
    assert found is not None
    assert found.ends == seconds(NEXT_YEAR)


@pytest.mark.parametrize(
    "text", [b"", b"no certificate", b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"]
)
def test_the_end_of_what_is_no_certificate_is_unknown(text: bytes) -> None:
    assert (certificates.of_pair(text), certificates.of_authorities(text)) == (None, None)
    assert certificates.validities(text, text) == {}


@pytest.fixture
def settings(tmp_path: Path) -> AgentSettings:
    """A pod with TLS on both sides, whose volume of the certificate is not mounted yet."""
    found = mounted(tmp_path)
    intent = replace(INTENT, client_tls=ClientTlsIntent("require"))
    volume(found.config_dir, "..2", current__json=intent.to_json().encode())
    return replace(found, tls_dir=tmp_path / "tls")


def install(settings: AgentSettings, pem: bytes) -> None:
    """A pair and a CA that PgBouncer uses now."""
    for directory, name in (("tls", "tls.crt"), ("tls", "tls.key"), ("ca", "ca.crt")):
        (settings.run_dir / directory).mkdir(parents=True, exist_ok=True)
        (settings.run_dir / directory / name).write_bytes(b"old key" if name == "tls.key" else pem)


def mount(settings: AgentSettings, generation: str, pem: bytes) -> None:
    volume(settings.tls_dir, generation, tls__crt=pem, tls__key=b"new key")
    volume(settings.ca_dir, generation, ca__crt=pem)


def test_an_expired_certificate_and_an_expired_ca_replace_no_valid_ones(settings: AgentSettings) -> None:
    good = certificate(TOMORROW)
    install(settings, good)
    mount(settings, "..5", certificate(YESTERDAY))
    found = mounts.read(settings, {})
    assert (found.certificate, found.key, found.ca) == (good, b"old key", good)
    assert found.expired == {"ca": seconds(YESTERDAY), "tls": seconds(YESTERDAY)}
    problem = certificates.problem(found.expired)
    assert problem is not None
    assert problem.reason is ProblemReason.CERTIFICATE_EXPIRED
    assert f"clients.tls.secretName names ended at {YESTERDAY:%Y-%m-%d %H:%M} UTC and is not used" in problem.message


def test_a_renewed_one_replaces_it(settings: AgentSettings) -> None:
    install(settings, certificate(TOMORROW))
    fresh = certificate(NEXT_YEAR)
    mount(settings, "..5", fresh)
    found = mounts.read(settings, {})
    assert (found.certificate, found.key, found.ca, found.expired) == (fresh, b"new key", fresh, {})
    assert certificates.problem(found.expired) is None


@pytest.mark.parametrize("installed", [b"", certificate(YESTERDAY), b"no certificate"])
def test_an_expired_one_is_used_where_there_is_no_valid_one(settings: AgentSettings, installed: bytes) -> None:
    if installed:
        install(settings, installed)
    expired = certificate(YESTERDAY - timedelta(days=1))
    mount(settings, "..5", expired)
    found = mounts.read(settings, {})
    assert (found.certificate, found.ca, found.expired) == (expired, expired, {})


def test_what_is_no_certificate_is_left_to_the_proof(settings: AgentSettings) -> None:
    install(settings, certificate(TOMORROW))
    mount(settings, "..5", b"no certificate")
    assert mounts.read(settings, {}).certificate == b"no certificate"
