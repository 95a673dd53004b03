"""Three pods of a pool, each a PgBouncer of its own: a cancel that reaches the wrong one arrives all the same.

A peer is an address with the pool's one port, and here three pods share one machine: so each pod has an address of
loopback, and what comes to it on that port is handed to the port that its PgBouncer really has.
"""

import contextlib
import socket
import threading
from collections.abc import Iterator

import psycopg
import pytest
from tests.process import agentdb, agentpod
from tests.process.agentcase import PASSWORD, intent
from tests.process.agentpod import Pod, eventually
from tests.process.gate import Gate
from tests.process.marks import PROCESS
from tests.process.servers import Postgres

from pgbouncer_operator import naming
from pgbouncer_operator.agent import candidate
from pgbouncer_operator.protocol.grants import Grant, Grants

pytestmark = PROCESS
UIDS = ("uid-a", "uid-b", "uid-c")
ADDRESSES = {uid: f"127.7.7.{number}" for number, uid in enumerate(UIDS, start=1)}
SLEEP = "select pg_sleep(60)"


@pytest.fixture
def pods(postgres: Postgres) -> Iterator[list[Pod]]:
    """Three pods that serve, each with an address; no ledger has told them of each other yet."""
    agentdb.role(postgres, "shop", PASSWORD)
    with contextlib.ExitStack() as stack:
        found = []
        for uid in UIDS:
            pod = stack.enter_context(agentpod.pod())
            pod.uid = uid
            pod.mount_intent(intent(postgres))
            pod.mount_user("shop", {"username": "shop", "password": PASSWORD})
            pod.mount_pod()
            ledger(pod, 1, {})
            pod.start()
            listener = socket.create_server((ADDRESSES[uid], naming.PGBOUNCER_PORT))
            stack.enter_context(Gate(listener, pod.port))
            found.append(pod)
        for pod in found:
            pod.runs(intent(postgres), 1)
        yield found


def ledger(pod: Pod, seq: int, peers: dict[str, str]) -> None:
    """What the operator tells every pod: its cap, which stays as it was, and who the others are."""
    grants = Grants(seq, 0, {uid: Grant(3, 1, 3) for uid in UIDS}, peers, seq)
    agentpod.publish(pod.root / "grants", {naming.GRANTS_KEY: grants.to_json()})


def peers(pod: Pod) -> dict[int, str]:
    """The peers that PgBouncer knows, by their numbers."""
    with pod.console() as console:
        return {int(row["peer_id"]): row["host"] for row in console.query("SHOW PEERS")}


def introduce(pods: list[Pod]) -> None:
    """Tell all of all, and wait until every PgBouncer knows."""
    for pod in pods:
        ledger(pod, 2, ADDRESSES)
    everybody = {candidate.peer_id(uid): address for uid, address in ADDRESSES.items()}
    for pod in pods:
        eventually("it knows its peers", lambda pod=pod: peers(pod) == everybody, on_failure=pod.logs)


def running(postgres: Postgres) -> int:
    """Statements of the clients that PostgreSQL works on now."""
    query = "select count(*) from pg_stat_activity where usename = 'shop' and state = 'active' and query = %s"
    return int(postgres.sql(query, SLEEP)[0][0])


def cancelled_across(postgres: Postgres, session: Pod, cancel: Pod, patience: float) -> bool:
    """Whether a cancel given to one pod ends the statement of a session through another, within so many seconds."""
    outcome: list[str] = []
    with Gate(socket.create_server(("127.0.0.1", 0)), session.port, cancel.port) as service:
        client = psycopg.connect(
            host="127.0.0.1", port=service.port, dbname="shop", user="shop", password=PASSWORD,
            autocommit=True, sslmode="disable", gssencmode="disable",
        )  # fmt: skip

        def work() -> None:
            try:
                client.execute(SLEEP)
            except psycopg.Error as error:
                outcome.append(type(error).__name__)

        thread = threading.Thread(target=work)
        with contextlib.closing(client):
            thread.start()
            eventually("the statement runs", lambda: running(postgres) == 1)
            with contextlib.suppress(psycopg.Error):  # a lost one may be answered by nothing but the end of its time
                # `cancel` holds the interpreter, and the gate could hand nothing on.
                client.cancel_safe(timeout=patience)
            thread.join(patience)
            arrived = not thread.is_alive()
            if not arrived:
                postgres.sql("select pg_cancel_backend(pid) from pg_stat_activity where query = %s", SLEEP)
                thread.join(10)
    assert outcome == ["QueryCanceled"]
    return arrived


def test_a_cancel_reaches_the_pod_of_its_session_through_every_other(pods: list[Pod], postgres: Postgres) -> None:
    first, second, third = pods
    lost = not cancelled_across(postgres, first, second, 5.0)
    assert lost, "without peers it is, or this test proves nothing"
    introduce(pods)
    for session, cancel in ((first, second), (second, third), (third, first), (first, first)):
        assert cancelled_across(postgres, session, cancel, 30.0), session.logs() + cancel.logs()


def test_peers_that_come_and_go_renew_no_server_connection(pods: list[Pod], postgres: Postgres) -> None:
    first = pods[0]
    with first.connect("shop", "shop", PASSWORD) as client:
        before = client.execute("select pg_backend_pid()").fetchone()
        introduce(pods)
        eventually("it is told", lambda: first.state()["seq"] == 2)
        assert first.state()["reload"]["kind"] == "reload"
        left = {uid: address for uid, address in ADDRESSES.items() if uid != "uid-c"}
        ledger(first, 3, left)
        eventually("it is told of the one that left", lambda: first.state()["seq"] == 3)
        assert client.execute("select pg_backend_pid()").fetchone() == before
