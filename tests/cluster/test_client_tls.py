"""TLS on both sides, verified in full: certificates and authorities change under load, and nobody notices."""

from collections.abc import Callable

import pytest
from tests.cluster import programs, servers, tls
from tests.cluster.pools import Namespace, pool
from tests.localcluster import traffic
from tests.localcluster.problem import Problem

POOL = "encrypted"
PODS, MOST = 2, 8
LOAD = ("--clients", "10", "--reconnecting", "5", "--lifetime", "3", "--think", "0.05")
Say = Callable[[str], None]
# The serial number of the certificate that the pool shows, by PostgreSQL's way into TLS.
SERIAL = """
import os, socket, ssl, struct
context = ssl.create_default_context(cafile=os.environ["PGSSLROOTCERT"])
with socket.create_connection((os.environ["PGHOST"], int(os.environ["PGPORT"])), 10) as plain:
    plain.sendall(struct.pack("!ii", 8, 80877103))
    assert plain.recv(1) == b"S"
    with context.wrap_socket(plain, server_hostname=os.environ["PGHOST"]) as secure:
        print(int(secure.getpeercert()["serialNumber"], 16))
"""
PSQL = ["psql", "$(URL)", "-XAtc", "SELECT 'all right'"]


@pytest.fixture(scope="module")
def authority() -> tls.Authority:
    return tls.authority("clients' authority")


@pytest.fixture(scope="module")
def ready(here: Namespace, authority: tls.Authority) -> Namespace:
    present(here, authority)
    here.apply(pool(POOL, MOST, replicas=PODS, clients={"tls": {"secretName": "pool-tls"}}))
    here.wait_ready(POOL)
    return here


def present(here: Namespace, by: tls.Authority, *trusted: str) -> tls.Signed:
    """A new certificate for the pool in its Secret."""
    signed = tls.sign(by, f"{POOL}.{here.name}.svc", f"{POOL}.{here.name}", POOL)
    here.apply(tls.secret("pool-tls", signed, "".join((by.pem, *trusted))))
    return signed


def verifying(here: Namespace, name: str, command: list[str]) -> str:
    """What a program prints that checks the certificate against the connection Secret's ca.crt."""
    keys = {"URL": "DATABASE_URL", "PGHOST": "PGHOST", "PGPORT": "PGPORT"}
    body = programs.pod(here, name, command, f"{POOL}-connection", keys)
    body["spec"]["containers"][0]["env"] += [{"name": "PGSSLROOTCERT", "value": f"{traffic.BINDING}/ca.crt"}]
    return programs.output(here, body).strip()


def test_a_driver_verifies_the_pool_by_what_the_connection_secret_holds(ready: Namespace) -> None:
    url = programs.values(ready, f"{POOL}-connection")["DATABASE_URL"]
    assert url.endswith("sslmode=verify-full")
    assert verifying(ready, "psql-verify", PSQL) == "all right"


def test_a_client_without_tls_is_refused(ready: Namespace) -> None:
    login = {"PGHOST": "PGHOST", "PGPORT": "PGPORT", "PGUSER": "PGUSER", "PGPASSWORD": "PGPASSWORD"}
    body = programs.pod(
        ready, "psql-plain", ["psql", "dbname=shop sslmode=disable", "-XAtc", "SELECT 1"], f"{POOL}-connection", login
    )
    with pytest.raises(Problem, match="SSL required"):
        programs.output(ready, body)


def test_a_certificate_and_its_authority_are_replaced_under_load(
    ready: Namespace, authority: tls.Authority, say: Say
) -> None:
    lives = ready.lives(POOL)
    with programs.load(ready, f"{POOL}-connection", *LOAD, verified=True) as running:
        renewed = present(ready, authority)
        ready.deliver(POOL)
        ready.wait(lambda: shows(ready, renewed), "the renewed certificate")
        account, rows = programs.finish(ready, running)
    say(f"certificate renewed under load: {account['failed'] + account['refused']} of {account['committed']} failed")
    assert not programs.trouble(account, rows)
    assert ready.lives(POOL) == lives
    second = tls.authority("clients' second authority")
    replaced = present(ready, second, authority.pem)
    ready.deliver(POOL)
    ready.wait(
        lambda: second.pem.strip() in programs.values(ready, f"{POOL}-connection")["ca.crt"], "the new authority"
    )
    ready.wait(lambda: shows(ready, replaced), "the second authority's certificate")
    assert verifying(ready, "psql-verify", PSQL) == "all right"
    assert ready.lives(POOL) == lives


def shows(here: Namespace, signed: tls.Signed) -> bool:
    """Whether three connections in a row, to whichever pod, are shown this certificate."""
    return all(verifying(here, "serial", ["python3", "-c", SERIAL]) == str(signed.serial) for _ in range(3))


def test_the_server_is_verified_in_full_by_an_authority_from_a_config_map_that_rotates(
    here: Namespace, say: Say
) -> None:
    name = "verified"
    first, second = tls.authority("servers' authority"), tls.authority("servers' second authority")
    here.apply(tls.secret("server-tls", tls.sign(first, "secure"), first.pem))
    servers.start(here, "secure", certificate="server-tls")
    here.apply(tls.config_map("server-ca", first.pem))
    backend = {
        "host": "secure",
        "tls": {"mode": "verify-full", "ca": {"configMapKeyRef": {"name": "server-ca", "key": "ca.crt"}}},
    }
    here.apply(pool(name, MOST, replicas=PODS, backend=backend))
    here.wait_ready(name)
    lives = here.lives(name)
    with programs.load(here, f"{name}-connection", *LOAD) as running:
        here.apply(tls.config_map("server-ca", first.pem, second.pem))  # first both are trusted
        here.deliver(name)
        here.patch(name, timeouts={"serverLifetimeSeconds": 5})
        here.wait_ready(name)
        account, rows = programs.finish(here, running, "deployment/secure")
    say(f"a second authority under load: {account['failed'] + account['refused']} of {account['committed']} failed")
    assert not programs.trouble(account, rows)
    here.apply(tls.secret("server-tls", tls.sign(second, "secure"), second.pem))
    here.kubectl("rollout", "restart", "deployment/secure")
    here.kubectl("rollout", "status", "deployment/secure", "--timeout=120s")
    here.wait_ready(name)
    here.apply(tls.config_map("server-ca", first.pem))  # and now the wrong one only
    here.deliver(name)
    here.wait_condition(name, "BackendReachable", "False", "BackendNotVerified", 180)
    here.apply(tls.config_map("server-ca", second.pem))
    here.deliver(name)
    here.wait_condition(name, "Ready", "True", seconds=180)
    assert here.lives(name) == lives
