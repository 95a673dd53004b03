"""Which CA a connection Secret hands on, and what is said when a certificate is not there."""

import base64
from typing import Any

import pytest
from tests.process.test_agent_backend import authority
from tests.unit.reconcile.looks import pool

from pgbouncer_operator.api.access import Endpoint
from pgbouncer_operator.api.connection_pool import ConnectionPool
from pgbouncer_operator.reconcile.pool.certificates import Bodies, authorities, missing, named
from pgbouncer_operator.reconcile.specification import read

IN_A_SECRET = {"secretKeyRef": {"name": "pg", "key": "ca.crt"}}
IN_A_CONFIG_MAP = {"configMapKeyRef": {"name": "rds", "key": "ca.pem"}}
OURS, THEIRS = (authority()[2] for _ in range(2))
FULL = {"tls.crt": "CERT", "tls.key": "KEY", "ca.crt": OURS}


def given(ca: dict[str, Any] | None = None, tls: bool = False) -> ConnectionPool:
    backend = {"host": "postgres", **({"tls": {"ca": ca}} if ca else {})}
    return read(pool(backend=backend, clients={"tls": {"secretName": "cert"}} if tls else {}))


def secret(name: str, **data: str) -> Bodies:
    encoded = {key.replace("_", "."): base64.b64encode(value.encode()).decode() for key, value in data.items()}
    return {("Secret", name): {"kind": "Secret", "data": encoded}}


def config_map(**content: Any) -> Bodies:
    return {("ConfigMap", "rds"): {"kind": "ConfigMap", **content}}


def test_a_pool_without_certificates_names_no_object() -> None:
    assert named(given()) == set()
    assert named(given({"system": True})) == set()


def test_each_object_is_named_with_its_kind() -> None:
    assert named(given(IN_A_SECRET, tls=True)) == {("Secret", "pg"), ("Secret", "cert")}
    assert named(given(IN_A_CONFIG_MAP)) == {("ConfigMap", "rds")}


def test_each_endpoint_gets_the_ca_that_its_clients_verify_with() -> None:
    bodies = {**secret("pg", ca_crt=THEIRS), **secret("cert", **FULL)}
    assert authorities(given(IN_A_SECRET, tls=True), bodies) == {Endpoint.POOL: OURS, Endpoint.BACKEND: THEIRS}


@pytest.mark.parametrize(
    "content",
    [{"data": {"ca.pem": THEIRS}}, {"binaryData": {"ca.pem": base64.b64encode(THEIRS.encode()).decode()}}],
    ids=["text", "bytes"],
)
def test_a_config_map_gives_its_ca_as_text_or_as_bytes(content: dict[str, Any]) -> None:
    assert authorities(given(IN_A_CONFIG_MAP), config_map(**content)) == {Endpoint.BACKEND: THEIRS}


def test_of_a_key_that_holds_more_than_certificates_only_those_are_handed_on() -> None:
    """Whoever may write pools may name any key of any Secret of the namespace, as that of a password."""
    bodies = secret("pg", ca_crt=f"# the CA\n{THEIRS}password: xyzzy\n")
    assert authorities(given(IN_A_SECRET), bodies) == {Endpoint.BACKEND: THEIRS}
    assert authorities(given(IN_A_SECRET), secret("pg", ca_crt="xyzzy")) == {}


@pytest.mark.parametrize(
    "bodies",
    [
        {},
        {("Secret", "cert"): None},
        secret("cert", tls_crt="CERT", tls_key="KEY"),
        secret("cert", tls_crt="CERT", tls_key="KEY", ca_crt=""),
        {("Secret", "cert"): {"data": {"ca.crt": base64.b64encode(b"\xff\xfe").decode()}}},
        {("Secret", "cert"): {}},
        secret("cert", tls_crt="CERT", tls_key="KEY", ca_crt="xyzzy"),
    ],
    ids=["not read", "no Secret", "no key", "an empty key", "no text", "no data", "no certificate"],
)
def test_a_ca_that_cannot_be_read_is_left_out(bodies: Bodies) -> None:
    assert authorities(given(tls=True), bodies) == {}


@pytest.mark.parametrize(
    ("asked", "bodies", "reason", "message"),
    [
        (given(IN_A_SECRET), {}, "CaNotFound",
         "Secret pg does not exist. Create it, or correct backend.tls.ca.secretKeyRef."),
        (given(IN_A_SECRET), secret("pg", tls_crt="x"), "CaNotFound",
         "Secret pg has no key ca.crt; found: tls.crt. Create it, or correct backend.tls.ca.secretKeyRef."),
        (given(IN_A_CONFIG_MAP), {("ConfigMap", "rds"): {"data": None}}, "CaNotFound",
         "ConfigMap rds has no key ca.pem; found: nothing. Create it, or correct backend.tls.ca.configMapKeyRef."),
        (given(tls=True), {}, "TlsSecretNotFound",
         "Secret cert does not exist. Create it, or correct clients.tls.secretName."),
        (given(tls=True), secret("cert", tls_crt="CERT"), "TlsSecretNotFound",
         "Secret cert has no key tls.key; found: tls.crt. Create it, or correct clients.tls.secretName."),
    ],
)  # fmt: skip
def test_what_is_missing_is_told_with_the_field_to_correct(
    asked: ConnectionPool, bodies: Bodies, reason: str, message: str
) -> None:
    found = missing(asked, bodies)
    assert found is not None
    assert (found.reason.value, found.message) == (reason, message)


def test_nothing_is_missing_when_every_key_is_there() -> None:
    bodies = {**config_map(data={"ca.pem": THEIRS}), **secret("cert", tls_crt="CERT", tls_key="KEY")}
    assert missing(given(IN_A_CONFIG_MAP, tls=True), bodies) is None
