"""TLS towards clients: required, rotated while clients work, and never broken by a bad certificate."""

import socket
import ssl
import struct
import subprocess
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import psycopg
import pytest
from tests.process import agentpod
from tests.process.agentcase import PASSWORD, intent, reasons, shown
from tests.process.agentpod import Pod, eventually, with_settings
from tests.process.marks import PROCESS
from tests.process.servers import Postgres
from tests.unit.agent.test_certificates import KEY_PEM, YESTERDAY, certificate

from pgbouncer_operator.protocol.intent import ClientTlsIntent, Intent

pytestmark = PROCESS


@pytest.fixture
def secured(pod: Pod, postgres: Postgres, tmp_path: Path) -> Intent:
    """The pool's intent with a certificate mounted."""
    agentpod.publish(pod.root / "tls", pair(tmp_path, "first"))
    return pod.mount_intent(replace(intent(postgres), client_tls=ClientTlsIntent("require")))


def pair(directory: Path, name: str) -> dict[str, bytes]:
    """A new self-signed certificate and its key, as a kubernetes.io/tls Secret holds them."""
    certificate, key = directory / f"{name}.crt", directory / f"{name}.key"
    kind = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"]
    files = ["-subj", f"/CN={name}", "-keyout", str(key), "-out", str(certificate)]
    subprocess.run(["openssl", "req", "-x509", *kind, *files], check=True, capture_output=True)
    return {"tls.crt": certificate.read_bytes(), "tls.key": key.read_bytes()}


def served(pod: Pod) -> str:
    """The certificate that PgBouncer shows now, in PEM."""
    with socket.create_connection(("127.0.0.1", pod.port), 5) as connection:
        connection.sendall(struct.pack("!ii", 8, 80877103))
        assert connection.recv(1) == b"S"
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        with context.wrap_socket(connection) as wrapped:
            shown_now = wrapped.getpeercert(binary_form=True)
    assert shown_now is not None
    return ssl.DER_cert_to_PEM_cert(shown_now)


def login(pod: Pod) -> dict[str, Any]:
    return {"host": "127.0.0.1", "port": pod.port, "dbname": "shop", "user": "shop", "password": PASSWORD}


def test_clients_without_tls_are_refused_and_probes_are_not(pod: Pod, secured: Intent) -> None:
    pod.start()
    pod.runs(secured)
    with pytest.raises(psycopg.OperationalError, match="SSL required"):
        psycopg.connect(**login(pod), sslmode="disable")
    with psycopg.connect(**login(pod), sslmode="require") as client:
        assert client.execute("select 1").fetchone() == (1,)
    assert pod.script("probe", str(pod.run), str(pod.port)).wait(10) == 0
    eventually("the backend is well", lambda: pod.state()["backend"]["ok"])


def test_prefer_lets_both_kinds_in(pod: Pod, secured: Intent) -> None:
    wanted = pod.mount_intent(replace(secured, client_tls=ClientTlsIntent("prefer")))
    pod.start()
    pod.runs(wanted)
    for mode in ("disable", "require"):
        with psycopg.connect(**login(pod), sslmode=mode) as client:
            assert client.execute("select 1").fetchone() == (1,)


def test_a_rotated_certificate_is_shown_to_new_clients_and_old_ones_go_on(
    pod: Pod, secured: Intent, tmp_path: Path
) -> None:
    pod.start()
    pod.runs(secured)
    with psycopg.connect(**login(pod), sslmode="require") as old:
        old.execute("select 1")
        fresh = pair(tmp_path, "second")
        agentpod.publish(pod.root / "tls", fresh)
        eventually("the new certificate is shown", lambda: served(pod) == fresh["tls.crt"].decode())
        old.execute("select 1")


def test_a_broken_pair_is_refused_with_openssls_words_and_the_old_one_serves_on(
    pod: Pod, secured: Intent, tmp_path: Path
) -> None:
    pod.start()
    pod.runs(secured)
    before = served(pod)
    mixed = pair(tmp_path, "second") | {"tls.key": pair(tmp_path, "third")["tls.key"]}
    agentpod.publish(pod.root / "tls", mixed)
    eventually("the refusal is told", lambda: reasons(pod) == {"CandidateRefused"})
    assert "clients.tls.secretName cannot be used: KEY_VALUES_MISMATCH" in pod.state()["problems"][0]["message"]
    assert served(pod) == before
    good = pair(tmp_path, "fourth")
    agentpod.publish(pod.root / "tls", good)
    eventually("the mended one is shown", lambda: served(pod) == good["tls.crt"].decode())


def test_an_expired_pair_replaces_no_valid_one_and_is_told(pod: Pod, secured: Intent, tmp_path: Path) -> None:
    pod.start()
    pod.runs(secured)
    before = served(pod)
    assert pod.state()["validities"]["tls"]["ends"] > time.time()
    agentpod.publish(pod.root / "tls", {"tls.crt": certificate(YESTERDAY), "tls.key": KEY_PEM})
    eventually("it is told", lambda: reasons(pod) == {"CertificateExpired"})
    assert served(pod) == before
    pod.kill_worker()
    eventually("it is told again", lambda: pod.state() and reasons(pod) == {"CertificateExpired"})
    assert served(pod) == before
    fresh = pair(tmp_path, "third")
    agentpod.publish(pod.root / "tls", fresh)
    eventually("the renewed one is shown", lambda: served(pod) == fresh["tls.crt"].decode())
    assert reasons(pod) == set()


def test_an_emptied_secret_changes_nothing_and_keeps_no_other_change_back(pod: Pod, secured: Intent) -> None:
    pod.start()
    pod.runs(secured)
    before = served(pod)
    agentpod.publish(pod.root / "tls", {})
    pod.runs(pod.mount_intent(with_settings(secured, query_timeout=9)))
    assert shown(pod, "query_timeout") == "9"
    pod.kill_worker()
    pod.runs(pod.mount_intent(with_settings(secured, query_timeout=8)))
    assert served(pod) == before
    assert reasons(pod) == set()


def test_a_secret_that_was_never_there_is_waited_for(pod: Pod, secured: Intent) -> None:
    agentpod.publish(pod.root / "tls", {})
    pod.start_agent()
    eventually("it is told", lambda: reasons(pod) == {"HalfDelivered"} if pod.state() else False)
    assert pod.http("/startupz")[0] == 503


def test_tls_taken_away_is_off(pod: Pod, postgres: Postgres, secured: Intent) -> None:
    pod.start()
    pod.runs(secured)
    pod.runs(pod.mount_intent(intent(postgres)))
    assert shown(pod, "client_tls_sslmode") == "disable"
    with psycopg.connect(**login(pod), sslmode="disable") as client:
        client.execute("select 1")
