"""What the agent says of a PostgreSQL that does not let it in, in PostgreSQL's own words."""

import contextlib
import datetime as dt
import ipaddress
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from tests.process import agentdb, agentpod, rootfs, servers
from tests.process.agentload import Comers, Load
from tests.process.agentpod import Pod, eventually, free_port
from tests.process.marks import PROCESS
from tests.process.servers import Postgres

from pgbouncer_operator.agent import backend
from pgbouncer_operator.agent.pooled_query import DatabaseLogin
from pgbouncer_operator.protocol.intent import DatabaseIntent, Intent, ServerTls, UserIntent

pytestmark = PROCESS
PASSWORD = "s3cret-of-shop"


@pytest.fixture(scope="module")
def postgres() -> Iterator[Postgres]:
    with servers.postgres() as server:
        agentdb.role(server, "shop", PASSWORD)
        yield server


@pytest.fixture(scope="module")
def secured() -> Iterator[tuple[Postgres, str]]:
    """A server with TLS, and the CA that signed its certificate for 127.0.0.1."""
    with servers.postgres() as server:
        ca = certify(server)
        agentdb.role(server, "shop", PASSWORD)
        yield server, ca


@pytest.fixture
def pod() -> Iterator[Pod]:
    with agentpod.pod() as found:
        found.mount_grant(5)
        found.mount_user("shop", {"username": "shop", "password": PASSWORD})
        found.mount_pod()
        yield found


def intent(port: int, **changes: Any) -> Intent:
    database = {"host": "127.0.0.1", "port": port, "dbname": "postgres"} | changes
    return Intent(
        "ns/shop", {}, (DatabaseIntent("shop", **database),), (UserIntent("shop", "shop"),), ServerTls("disable")
    )


def secure(port: int, mode: str, ca: str = "", **changes: Any) -> Intent:
    plain = intent(port, **changes)
    return Intent(plain.pool, plain.settings, plain.databases, plain.users, ServerTls(mode, ca))


def verdict(pod: Pod, wanted: Intent) -> dict[str, Any]:
    """Run `wanted` and wait for what the agent says of its backend."""
    pod.mount_intent(wanted)
    if pod.agent is None:
        pod.start()
    pod.runs(wanted)
    found: dict[str, Any] = eventually("a verdict", lambda: (b := pod.state()["backend"]) and b["ok"] is not None and b)
    return found


def test_a_login_that_works_is_ok_and_the_server_is_then_left_alone(pod: Pod, postgres: Postgres) -> None:
    assert verdict(pod, intent(postgres.port)) == {"ok": True, "reason": "Ok", "message": ""}
    with pod.connect("shop", "shop", PASSWORD) as client:
        before = client.execute("select pg_backend_pid()").fetchone()
    assert agentdb.sessions(postgres, "shop") == 1
    assert before == postgres.sql("select pid from pg_stat_activity where usename = 'shop'")[0]


def test_a_host_that_does_not_resolve(pod: Pod, postgres: Postgres) -> None:
    found = verdict(pod, intent(postgres.port, host="no-such-host.invalid"))
    assert (found["ok"], found["reason"]) == (False, "HostNotResolved")
    assert found["message"].startswith("no-such-host.invalid: ")
    assert found["message"].endswith("Correct backend.host.")


def test_a_port_where_nobody_listens(pod: Pod) -> None:
    port = free_port()
    found = verdict(pod, intent(port))
    assert (found["ok"], found["reason"]) == (False, "BackendUnreachable")
    assert f"127.0.0.1:{port}: Connection refused" in found["message"]


def test_failed_logins_and_the_most_clients_are_metrics(pod: Pod) -> None:
    failed = 'pgbouncer_operator_agent_login_failures_total{reason="BackendUnreachable"}'
    assert verdict(pod, intent(free_port()))["ok"] is False
    assert metric(pod, failed) >= 1
    assert metric(pod, "pgbouncer_operator_agent_clients_max") == pod.state()["clientsMax"]


def metric(pod: Pod, series: str) -> float:
    lines = dict(line.rsplit(" ", 1) for line in pod.http("/metrics")[1].splitlines() if not line.startswith("#"))
    return float(lines.get(series, "nan"))


def test_a_wrong_password_and_then_the_right_one(pod: Pod, postgres: Postgres) -> None:
    pod.mount_user("shop", {"username": "shop", "password": "wrong-and-secret"})
    found = verdict(pod, intent(postgres.port))
    assert found == {
        "ok": False,
        "reason": "BackendRefusedLogin",
        "message": 'database shop, user shop: password authentication failed for user "shop"',
    }
    pod.mount_user("shop", {"username": "shop", "password": PASSWORD})
    eventually("the right one is found to work", lambda: pod.state()["backend"]["ok"] is True)


def test_a_database_that_does_not_exist(pod: Pod, postgres: Postgres) -> None:
    found = verdict(pod, intent(postgres.port, dbname="nothing"))
    assert (found["ok"], found["reason"]) == (False, "BackendDatabaseMissing")
    assert found["message"] == 'database shop, user shop: database "nothing" does not exist'


def test_tls_asked_of_a_server_without(pod: Pod, postgres: Postgres) -> None:
    found = verdict(pod, secure(postgres.port, "require"))
    assert (found["ok"], found["reason"]) == (False, "BackendWithoutTls")
    assert "set backend.tls.mode to disable" in found["message"]


def test_a_certificate_of_another_ca(pod: Pod, secured: tuple[Postgres, str]) -> None:
    server, _ = secured
    agentpod.publish(pod.root / "ca", {"ca.crt": authority()[2]})
    found = verdict(pod, secure(server.port, "verify-full", "ca.crt"))
    assert (found["ok"], found["reason"]) == (False, "BackendCertificateInvalid")
    assert "Correct backend.tls.ca" in found["message"]


def test_a_certificate_of_another_host(pod: Pod, secured: tuple[Postgres, str]) -> None:
    server, ca = secured
    agentpod.publish(pod.root / "ca", {"ca.crt": ca})
    found = verdict(pod, secure(server.port, "verify-full", "ca.crt", host="localhost"))
    assert (found["ok"], found["reason"]) == (False, "BackendCertificateInvalid")
    assert "localhost" in found["message"]


def test_a_verified_server_is_ok(pod: Pod, secured: tuple[Postgres, str]) -> None:
    server, ca = secured
    agentpod.publish(pod.root / "ca", {"ca.crt": ca})
    assert verdict(pod, secure(server.port, "verify-full", "ca.crt"))["reason"] == "Ok"
    with pod.connect("shop", "shop", PASSWORD) as client:
        assert client.execute("select ssl from pg_stat_ssl where pid = pg_backend_pid()").fetchone() == (True,)


def test_an_emptied_ca_changes_nothing_and_keeps_no_other_change_back(pod: Pod, secured: tuple[Postgres, str]) -> None:
    server, ca = secured
    agentpod.publish(pod.root / "ca", {"ca.crt": ca})
    wanted = secure(server.port, "verify-full", "ca.crt")
    assert verdict(pod, wanted)["reason"] == "Ok"
    agentpod.publish(pod.root / "ca", {})
    assert verdict(pod, agentpod.with_settings(wanted, query_timeout=9))["reason"] == "Ok"
    pod.kill_worker()
    assert verdict(pod, agentpod.with_settings(wanted, query_timeout=8))["reason"] == "Ok"
    assert pod.state()["problems"] == []
    with pod.connect("shop", "shop", PASSWORD) as client:
        assert client.execute("select ssl from pg_stat_ssl where pid = pg_backend_pid()").fetchone() == (True,)


def test_a_server_that_comes_back_is_found_while_clients_wait(pod: Pod) -> None:
    with servers.postgres() as server:
        agentdb.role(server, "shop", PASSWORD)
        plain = intent(server.port)
        impatient = Intent("ns/shop", {"query_wait_timeout": 2}, plain.databases, plain.users, plain.server_tls)
        assert verdict(pod, impatient)["ok"] is True
        server.stop()
        with pytest.raises(psycopg.OperationalError), pod.connect("shop", "shop", PASSWORD) as client:
            client.execute("select 1")
        eventually("the outage is told", lambda: pod.state()["backend"]["reason"] == "BackendUnreachable", 20)
        agentdb.restart(server)
        eventually("the return is told", lambda: pod.state()["backend"]["ok"] is True, 30)


def test_a_pool_at_work_is_not_taken_for_a_dead_server(pod: Pod, postgres: Postgres) -> None:
    pod.mount_grant(1)
    wanted = intent(postgres.port)
    assert verdict(pod, wanted)["ok"] is True
    test = backend.TestPlan((), (DatabaseLogin("shop", "shop", "shop", PASSWORD),), str(pod.run), pod.port)
    with pod.connect("shop", "shop", PASSWORD) as client:
        client.execute("begin; select 1")
        assert backend.run(test, lambda _: True).backend.ok is True
        found = backend.run(test, lambda _: False).backend
        assert (found.reason, found.message) == (
            "BackendUnreachable",
            "database shop, user shop: no server connection within 5 s",
        )


def test_a_server_that_takes_no_more_writes_is_told_until_one_does_even_after_a_new_worker(pod: Pod) -> None:
    with servers.postgres() as server:
        agentdb.role(server, "shop", PASSWORD)
        assert verdict(pod, intent(server.port))["ok"] is True
        server.sql("alter system set default_transaction_read_only = on")
        server.sql("select pg_reload_conf()")
        with Load(pod, clients=2):  # a pool in use is looked at now and then
            found = eventually("it is told", lambda: not (b := pod.state()["backend"])["ok"] and b, 30)
            assert found["reason"] == "BackendReadOnly"
            assert found["message"].startswith(
                "database shop, user shop: the server accepts no writes and did so before"
            )
            pod.kill_worker()
            eventually("a new worker knows it too", lambda: pod.state()["backend"]["reason"] == "BackendReadOnly")
            eventually("who comes now may not write", lambda: not writes(pod))
            server.sql("alter system reset default_transaction_read_only")
            server.sql("select pg_reload_conf()")
            eventually("a server that writes again is well", lambda: pod.state()["backend"]["ok"])
            eventually("who comes now may write", lambda: writes(pod))


def writes(pod: Pod) -> bool:
    """Whether a new client's transactions may write: PgBouncer gives it what it has kept of the server's settings."""
    with contextlib.closing(pod.connect("shop", "shop", PASSWORD)) as client:
        return client.execute("show transaction_read_only").fetchone() == ("off",)


def test_a_server_out_of_slots_is_told_though_clients_that_fail_at_once_never_wait(pod: Pod) -> None:
    with servers.postgres() as server, Comers(pod, 4) as clients:
        agentdb.role(server, "shop", PASSWORD)
        assert verdict(pod, intent(server.port))["ok"] is True
        eventually("clients are served", lambda: clients.served > 20)
        server.sql("alter role shop connection limit 0")
        server.sql("select pg_terminate_backend(pid) from pg_stat_activity where usename = 'shop'")
        found = eventually("it is told", lambda: not (b := pod.state()["backend"])["ok"] and b, 20)
        assert (found["reason"], found["message"]) == (
            "BackendIsFull",
            'database shop, user shop: too many connections for role "shop"',
        )
        server.sql("alter role shop connection limit -1")
        eventually("there is room again", lambda: pod.state()["backend"]["ok"], 20)


def test_a_pool_that_never_could_write_stands_before_a_replica_and_is_well(pod: Pod, postgres: Postgres) -> None:
    agentdb.role(postgres, "reader", PASSWORD)
    postgres.sql("alter role reader set default_transaction_read_only = on")
    pod.mount_user("shop", {"username": "reader", "password": PASSWORD})
    assert verdict(pod, intent(postgres.port))["reason"] == "Ok"


def authority() -> tuple[x509.Certificate, ec.EllipticCurvePrivateKey, str]:
    """A CA: certificate, key, and the certificate as PEM."""
    key = ec.generate_private_key(ec.SECP256R1())
    certificate = _certificate("test ca", key, None)
    return certificate, key, certificate.public_bytes(serialization.Encoding.PEM).decode()


def certify(server: Postgres) -> str:
    """Give the server TLS with a certificate for 127.0.0.1; the CA as PEM."""
    ca, ca_key, pem = authority()
    key = ec.generate_private_key(ec.SECP256R1())
    certificate = _certificate("postgres", key, (ca, ca_key))
    data = server.root / "data"
    _write(data / "server.crt", certificate.public_bytes(serialization.Encoding.PEM))
    _write(
        data / "server.key",
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()),
    )
    server.sql("alter system set ssl = on")
    server.sql("select pg_reload_conf()")
    return pem


def _write(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    path.chmod(0o600)
    os.chown(path, rootfs.UID, rootfs.UID)


def _certificate(
    name: str, key: ec.EllipticCurvePrivateKey, signer: tuple[x509.Certificate, ec.EllipticCurvePrivateKey] | None
) -> x509.Certificate:
    now = dt.datetime.now(dt.UTC)
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(signer[0].subject if signer else subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(x509.BasicConstraints(ca=signer is None, path_length=None), critical=True)
    )
    if signer:
        address = x509.IPAddress(ipaddress.ip_address("127.0.0.1"))
        builder = builder.add_extension(x509.SubjectAlternativeName([address]), critical=False)
    return builder.sign(signer[1] if signer else key, hashes.SHA256())
