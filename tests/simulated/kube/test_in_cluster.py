"""The pod's own credentials: version 36.0 of the client sent no authorization header in a cluster."""

import datetime as dt
import ipaddress
import ssl
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from tests.simulated.apiserver.server import ApiServer

from pgbouncer_operator.kube import errors
from pgbouncer_operator.kube.client import Kube, RequestOptions
from pgbouncer_operator.kube.resources import NAMESPACES


def certificate(directory: Path) -> ssl.SSLContext:
    """A self-signed certificate of 127.0.0.1: `ca.crt` in `directory`, and a server's context with its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "simulated")])
    start = dt.datetime.now(dt.UTC) - dt.timedelta(hours=1)
    usage = x509.KeyUsage(True, False, False, False, False, True, True, False, False)
    signed = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(start)
        .not_valid_after(start + dt.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(usage, critical=True)
        .sign(key, hashes.SHA256())
    )
    (directory / "ca.crt").write_bytes(signed.public_bytes(serialization.Encoding.PEM))
    encryption = serialization.NoEncryption()
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, encryption)
    (directory / "key").write_bytes(pem)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(directory / "ca.crt", directory / "key")
    return context


class Later(dt.datetime):
    """Two minutes from now: the token counts as old."""

    @classmethod
    def now(cls, tz: dt.tzinfo | None = None) -> "Later":
        return super().now(tz) + dt.timedelta(minutes=2)


def environ(api: ApiServer) -> dict[str, str]:
    address = urlsplit(api.url)
    return {"KUBERNETES_SERVICE_HOST": str(address.hostname), "KUBERNETES_SERVICE_PORT": str(address.port)}


async def test_the_service_account_is_used_and_a_renewed_token_is_picked_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with ApiServer(token="first", tls=certificate(tmp_path)) as api:
        (tmp_path / "token").write_text("first")
        kube = Kube.in_cluster(RequestOptions(), tmp_path, environ(api))
        assert (await kube.get(NAMESPACES, "", "default"))["metadata"]["name"] == "default"

        api.token = "second"
        (tmp_path / "token").write_text("second")
        with pytest.raises(errors.Unauthorized):
            await kube.get(NAMESPACES, "", "default")

        monkeypatch.setattr("kubernetes.aio.config.incluster_config.datetime.datetime", Later)
        assert (await kube.get(NAMESPACES, "", "default"))["metadata"]["name"] == "default"
        await kube.close()


async def test_a_renewed_ca_of_the_api_server_is_picked_up(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("first")
    async with ApiServer(token="first", tls=certificate(tmp_path)) as api:
        address = environ(api)
        renewals: list[str] = []
        kube = Kube.in_cluster(RequestOptions(renewed=lambda: renewals.append("renewed")), tmp_path, address)
        await kube.get(NAMESPACES, "", "default")
    second = ApiServer(token="first", tls=certificate(tmp_path))
    second.port = int(address["KUBERNETES_SERVICE_PORT"])
    async with second:
        assert (await kube.get(NAMESPACES, "", "default"))["metadata"]["name"] == "default"
        assert renewals == ["renewed"]
    await kube.close()


async def test_missing_credentials_are_unavailable_not_a_crash(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with ApiServer(token="first", tls=certificate(tmp_path)) as api:
        (tmp_path / "token").write_text("first")
        kube = Kube.in_cluster(RequestOptions(random=lambda: 0.0), tmp_path, environ(api))
        (tmp_path / "token").write_text("")

        monkeypatch.setattr("kubernetes.aio.config.incluster_config.datetime.datetime", Later)
        with pytest.raises(errors.Unavailable, match="credentials"):
            await kube.get(NAMESPACES, "", "default")
        await kube.close()
