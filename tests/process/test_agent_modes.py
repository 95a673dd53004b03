"""Each pool mode through every kind of change; what a mode cannot do is stated as its limit."""

import contextlib
import re
import threading
from collections.abc import Iterator
from dataclasses import replace

import psycopg
import pytest
from tests.process import agentdb
from tests.process.agentcase import PASSWORD, intent, shown
from tests.process.agentload import Load
from tests.process.agentpod import Pod, eventually
from tests.process.marks import PROCESS
from tests.process.servers import Postgres

from pgbouncer_operator.protocol.intent import Intent

pytestmark = PROCESS
MODES = ["session", "transaction", "statement"]
CLIENTS = 6
SLEEP = "select pg_sleep(600)"
WORK = "select pg_sleep(0.02)"  # a statement is what every mode can do


def served(pod: Pod, postgres: Postgres, mode: str, **settings: int) -> Intent:
    """A pod that serves in this mode, with more connections than the load has clients."""
    wanted = pod.mount_intent(intent(postgres, **{"pool_mode": mode, **settings}))
    seq = pod.mount_grant(8)
    if pod.agent is None:
        pod.start()
    pod.runs(wanted, seq)
    eventually("the agent's own login has ended", lambda: pod.state()["backend"]["ok"])
    return wanted


@contextlib.contextmanager
def load(pod: Pod) -> Iterator[Load]:
    """Load that has begun; at the end no client may have seen a failure."""
    with Load(pod, CLIENTS, work=WORK) as found:
        eventually("the load runs", lambda: found.done > 2 * CLIENTS)
        yield found
    assert found.failures == []


def goes_on(found: Load) -> None:
    done = found.done
    eventually("the load goes on", lambda: found.done > done + 2 * CLIENTS)


def seen(pod: Pod, traffic: str) -> None:
    eventually(f"traffic is {traffic}", lambda: pod.state()["traffic"] == traffic)


@pytest.mark.parametrize("mode", MODES)
def test_a_reload_reaches_clients_of_every_mode_unnoticed(pod: Pod, postgres: Postgres, mode: str) -> None:
    served(pod, postgres, mode)
    with load(pod) as clients:
        for number in range(5):
            served(pod, postgres, mode, query_timeout=100 + number)
            assert shown(pod, "query_timeout") == str(100 + number)
            goes_on(clients)


@pytest.mark.parametrize("mode", ["transaction", "statement"])
def test_a_shrink_is_kept_to_while_clients_work(pod: Pod, postgres: Postgres, mode: str) -> None:
    wanted = served(pod, postgres, mode)
    with load(pod) as clients:
        pod.runs(wanted, pod.mount_grant(2))
        assert agentdb.sessions(postgres, "shop") <= 2
        goes_on(clients)


def test_a_session_keeps_its_connection_until_it_ends_so_a_shrink_waits_for_it(pod: Pod, postgres: Postgres) -> None:
    wanted = served(pod, postgres, "session")
    with load(pod) as clients:
        seq = pod.mount_grant(2)
        eventually("the limit is in force", lambda: limit(pod) == 2)
        goes_on(clients)
        state = pod.state()
        # Nothing is claimed: who counts on the connections given back must wait for the sessions' end.
        assert (state["cap"], state["seq"] < seq, state["open"] >= CLIENTS) == (8, True, True)
    assert pod.runs(wanted, seq)["cap"] == 2
    eventually("PostgreSQL holds no more", lambda: agentdb.sessions(postgres, "shop") <= 2)


def limit(pod: Pod) -> int:
    with pod.console() as console:
        return next(int(row["max_connections"]) for row in console.query("SHOW DATABASES") if row["name"] == "shop")


@pytest.mark.parametrize("mode", ["transaction", "statement"])
def test_a_pause_holds_everybody_and_fails_nobody(pod: Pod, postgres: Postgres, mode: str) -> None:
    served(pod, postgres, mode)
    with load(pod) as clients:
        pod.mount_pause(60)
        seen(pod, "Paused")
        assert agentdb.sessions(postgres, "shop") == 0
        pod.mount_pause(None)
        seen(pod, "Flowing")
        goes_on(clients)


def test_a_pause_waits_for_sessions_to_end_and_serves_them_meanwhile(pod: Pod, postgres: Postgres) -> None:
    served(pod, postgres, "session")
    with load(pod) as clients:
        pod.mount_pause(60)
        eventually("the database is paused", lambda: paused(pod))
        goes_on(clients)  # a session that is served is served to its end
        assert pod.state()["traffic"] == "Flowing"
    seen(pod, "Paused")
    pod.mount_pause(None)
    seen(pod, "Flowing")
    assert pod.logs_in("shop", "shop", PASSWORD)


def paused(pod: Pod) -> bool:
    with pod.console() as console:
        return any(row["paused"] == "1" for row in console.query("SHOW DATABASES"))


@pytest.mark.parametrize("mode", MODES)
def test_a_drain_returns_when_clients_of_any_mode_have_left(pod: Pod, postgres: Postgres, mode: str) -> None:
    served(pod, postgres, mode)
    with load(pod) as clients:
        draining = pod.script(
            *("drain", "--endpoint-delay", "0", "--timeout", "60", "--transaction", "5"),
            *("--run-dir", str(pod.run), "--port", str(pod.port)),
        )
        eventually("the agent knows", lambda: pod.state()["phase"] == "draining")
        goes_on(clients)
        assert draining.poll() is None
    assert draining.wait(30) == 0
    # The agent's own test of the server may have been one of them.
    told = re.compile(rf"clients that left by themselves: ({CLIENTS}|{CLIENTS + 1}),")
    eventually("it is told", lambda: told.search(pod.logs()), on_failure=pod.logs)


@pytest.mark.parametrize("mode", ["transaction", "statement"])
def test_server_connections_are_renewed_behind_clients_that_stay(pod: Pod, postgres: Postgres, mode: str) -> None:
    served(pod, postgres, mode)
    with load(pod) as clients:
        before = backends(postgres)
        renew(pod, "1")
        eventually("none of them is left", lambda: not before & backends(postgres))
        goes_on(clients)


def test_a_session_keeps_its_server_connection_through_a_renewal(pod: Pod, postgres: Postgres) -> None:
    served(pod, postgres, "session")
    with load(pod) as clients:
        held = "every session has its server connection"
        before = eventually(held, lambda: len(now := backends(postgres)) >= CLIENTS and now)
        renew(pod, "1")
        goes_on(clients)
        assert len(before & backends(postgres)) >= CLIENTS
    eventually("they end with their sessions", lambda: not before & backends(postgres))


def renew(pod: Pod, token: str) -> None:
    """As after a failover: every server connection is to be another."""
    pod.mount_pod(reconnect="0")
    eventually("the first token is noted", lambda: pod.state()["reconnected"] == "0")
    pod.mount_pod(reconnect=token)
    eventually("it is acted on", lambda: pod.state()["reconnected"] == token)


def backends(postgres: Postgres) -> set[int]:
    return {pid for (pid,) in postgres.sql("select pid from pg_stat_activity where usename = 'shop'")}


@pytest.mark.parametrize("mode", MODES)
def test_a_password_changes_under_clients_that_stay(pod: Pod, postgres: Postgres, mode: str) -> None:
    served(pod, postgres, mode)
    with load(pod) as clients:
        agentdb.role(postgres, "shop", "another")
        pod.mount_user("shop", {"username": "shop", "password": "another"})
        eventually("the old one is refused", lambda: not pod.logs_in("shop", "shop", PASSWORD))
        assert pod.logs_in("shop", "shop", "another")
        goes_on(clients)


@pytest.mark.parametrize("mode", MODES)
def test_an_agent_that_dies_is_noticed_by_no_client(pod: Pod, postgres: Postgres, mode: str) -> None:
    served(pod, postgres, mode)
    with load(pod) as clients:
        pod.kill_worker()
        served(pod, postgres, mode, query_timeout=100)
        assert shown(pod, "query_timeout") == "100"
        goes_on(clients)


@pytest.mark.parametrize("mode", MODES)
def test_a_cancel_ends_the_statement_and_nothing_else(pod: Pod, postgres: Postgres, mode: str) -> None:
    served(pod, postgres, mode)
    with load(pod) as clients, contextlib.closing(pod.connect("shop", "shop", PASSWORD)) as client:
        sleep = threading.Timer(0, lambda: eventually("it runs", lambda: sleeping(postgres)) and client.cancel_safe())
        sleep.start()
        with pytest.raises(psycopg.errors.QueryCanceled):
            client.execute(SLEEP)
        sleep.join()
        assert client.execute("select 1").fetchone() == (1,)
        goes_on(clients)


def sleeping(postgres: Postgres) -> bool:
    return bool(postgres.sql("select 1 from pg_stat_activity where query = %s and state = 'active'", SLEEP))


@pytest.mark.parametrize("mode", ["transaction", "statement"])
def test_a_database_is_removed_without_disturbing_the_others(pod: Pod, postgres: Postgres, mode: str) -> None:
    one = intent(postgres, pool_mode=mode)
    two = pod.mount_intent(replace(one, databases=(*one.databases, replace(one.databases[0], name="log"))))
    pod.mount_grant(8)
    pod.start()
    pod.runs(two)
    with load(pod) as clients:
        assert pod.logs_in("log", "shop", PASSWORD)
        pod.runs(pod.mount_intent(one))
        eventually("newcomers are refused", lambda: not pod.logs_in("log", "shop", PASSWORD))
        goes_on(clients)


@pytest.mark.parametrize("mode", MODES)
def test_a_transaction_block_is_for_sessions_and_transactions_only(pod: Pod, postgres: Postgres, mode: str) -> None:
    served(pod, postgres, mode)
    with contextlib.closing(pod.connect("shop", "shop", PASSWORD)) as client:
        if mode == "statement":
            with pytest.raises(psycopg.Error, match="transaction blocks not allowed in statement pooling mode"):
                client.execute("begin")
        else:
            client.execute("begin")
            assert client.execute("select 1").fetchone() == (1,)
            client.execute("commit")
