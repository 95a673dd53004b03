"""The drain of a pod: clients leave by themselves, then transactions end, and only then PgBouncer goes."""

import contextlib
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import psycopg
import pytest
from tests.process import agentdb, agentpod, rootfs, servers
from tests.process.agentpod import Pod, eventually
from tests.process.servers import Postgres

from pgbouncer_operator.agent.drain import QUIET_SECONDS
from pgbouncer_operator.protocol.intent import DatabaseIntent, Intent, ServerTls, UserIntent

pytestmark = [
    pytest.mark.process,
    pytest.mark.skipif(rootfs.missing() is not None, reason=str(rootfs.missing())),
]
PASSWORD = "s3cret-of-shop"


@pytest.fixture(scope="module")
def postgres() -> Iterator[Postgres]:
    with servers.postgres() as server:
        agentdb.role(server, "shop", PASSWORD)
        yield server


@pytest.fixture(params=["transaction", "statement", "session"])
def pod(postgres: Postgres, request: pytest.FixtureRequest) -> Iterator[Pod]:
    """A pod that serves, in each pool mode."""
    with running(postgres, request.param) as found:
        yield found


@pytest.fixture
def transactional(postgres: Postgres) -> Iterator[Pod]:
    with running(postgres, "transaction") as found:
        yield found


@contextlib.contextmanager
def running(postgres: Postgres, mode: str, most: int | None = None) -> Iterator[Pod]:
    """most: the database's own maximum."""
    with agentpod.pod() as found:
        wanted = found.mount_intent(
            Intent(
                "ns/shop",
                {"pool_mode": mode},
                (DatabaseIntent("shop", "127.0.0.1", postgres.port, "postgres", max=most),),
                (UserIntent("shop", "shop"),),
                ServerTls("disable"),
            )
        )
        found.mount_grant(8)
        found.mount_user("shop", {"username": "shop", "password": PASSWORD})
        found.mount_pod()
        found.start()
        found.runs(wanted)
        eventually("the agent's own login has ended", lambda: found.state()["backend"]["ok"])
        yield found


def drain(pod: Pod, delay: str = "0", timeout: str = "60", transaction: str = "10") -> subprocess.Popen[bytes]:
    return pod.script(
        "drain",
        *("--endpoint-delay", delay, "--timeout", timeout, "--transaction", transaction),
        *("--run-dir", str(pod.run), "--port", str(pod.port)),
    )


def alive(pod: Pod) -> bool:
    return pod.pgbouncer is not None and pod.pgbouncer.poll() is None


def test_clients_work_on_until_they_leave_and_then_the_drain_returns(pod: Pod) -> None:
    first, second = (pod.connect("shop", "shop", PASSWORD) for _ in range(2))
    draining = drain(pod)
    eventually("the agent knows", lambda: pod.state()["phase"] == "draining")
    for _ in range(3):
        assert first.execute("select 1").fetchone() == (1,)
        assert second.execute("select 1").fetchone() == (1,)
    first.close()
    assert second.execute("select 1").fetchone() == (1,)
    assert draining.poll() is None
    second.close()
    assert draining.wait(30) == 0
    assert alive(pod)


def test_the_listener_stays_open_for_whoever_still_comes(transactional: Pod) -> None:
    client = transactional.connect("shop", "shop", PASSWORD)
    draining = drain(transactional)
    eventually("the agent knows", lambda: transactional.state()["phase"] == "draining")
    assert transactional.logs_in("shop", "shop", PASSWORD)
    client.close()
    assert draining.wait(30) == 0


def test_as_long_as_clients_are_sent_here_there_is_somebody_to_take_them(transactional: Pod) -> None:
    """One at a time, so that nobody is there at most looks, for longer than the endpoint was reckoned to stay."""
    draining = drain(transactional, delay="2")
    came = time.monotonic()
    until, pause = came + 6, 0.0  # the longest in which nobody came: this machine may stand still
    while time.monotonic() < until:
        assert transactional.logs_in("shop", "shop", PASSWORD)
        pause, came = max(pause, time.monotonic() - came), time.monotonic()
        assert draining.poll() is None or pause >= 2
    assert draining.wait(30) == 0


@pytest.mark.parametrize("mode", ["transaction", "session"])
def test_whoever_still_comes_has_a_connection_beside_one_that_is_held(postgres: Postgres, mode: str) -> None:
    """What a draining pod gave back it does not get again, so it waits until nobody is sent to it any more."""
    with running(postgres, mode) as pod, contextlib.closing(pod.connect("shop", "shop", PASSWORD)) as stays:
        stays.execute("begin; select 1")
        draining = drain(pod, delay="5", timeout="10")
        came = time.monotonic()
        until, pause = came + 5, 0.0  # the longest in which nobody came: this machine may stand still
        while time.monotonic() < until:
            assert pod.logs_in("shop", "shop", PASSWORD) or pause >= QUIET_SECONDS
            pause, came = max(pause, time.monotonic() - came), time.monotonic()
        assert pod.state()["phase"] == "draining"
        eventually("the rest is given back", lambda: pod.state()["cap"] == 1)
        stays.execute("commit")
        stays.close()
        assert draining.wait(30) == 0


def told(pod: Pod) -> str:
    """The line of the agent's log about the drain, without its seconds."""

    def line() -> str:
        return next((each for each in pod.logs().splitlines() if each.startswith("drained in ")), "")

    return str(eventually("the result is in the log", line)).partition(" s; ")[2]


def figures(pod: Pod) -> dict[str, float]:
    """The agent's metrics of the drain by outcome."""
    found = {}
    for line in pod.http("/metrics")[1].splitlines():
        if line.startswith('pgbouncer_operator_agent_drain_clients{outcome="'):
            name, value = line.split('"')[1], line.rpartition(" ")[2]
            found[name] = float(value)
    return found


def test_a_session_that_never_ends_is_cut_at_the_deadline_and_counted(postgres: Postgres) -> None:
    with running(postgres, "session") as pod, contextlib.closing(pod.connect("shop", "shop", PASSWORD)) as client:
        client.execute("select 1")  # in session mode an idle client holds its connection
        assert drain(pod, timeout="0.2", transaction="0.5").wait(30) == 1
        assert told(pod) == "clients that left by themselves: 0, closed at a transaction boundary: 0, cut: 1"
        assert figures(pod) == {"left": 0.0, "closed": 0.0, "cut": 1.0}


@pytest.mark.parametrize("mode", ["transaction", "statement"])
def test_idle_clients_are_closed_between_transactions_and_counted(postgres: Postgres, mode: str) -> None:
    with running(postgres, mode) as pod:
        first, second, third = (pod.connect("shop", "shop", PASSWORD) for _ in range(3))
        for client in (first, second, third):
            client.execute("select 1")
        draining = drain(pod, timeout="3")
        eventually("the agent knows", lambda: pod.state()["phase"] == "draining")
        first.close()
        assert draining.wait(30) == 0
        assert told(pod) == "clients that left by themselves: 1, closed at a transaction boundary: 2, cut: 0"
        assert figures(pod) == {"left": 1.0, "closed": 2.0, "cut": 0.0}
        second.close()
        third.close()


def test_a_drain_without_the_agent_lets_paused_clients_go_and_returns(transactional: Pod) -> None:
    assert transactional.agent is not None
    transactional.agent.terminate()
    transactional.agent.wait(10)
    with transactional.console() as console:
        console.query('PAUSE "shop"')
    draining = drain(transactional)
    with transactional.connect("shop", "shop", PASSWORD) as client:
        assert client.execute("select 1").fetchone() == (1,)
    assert draining.wait(30) == 0
    transactional.start_agent()
    assert told(transactional).endswith("closed at a transaction boundary: 0, cut: 0")


def test_a_pod_without_clients_is_drained_once_the_endpoint_is_out(transactional: Pod) -> None:
    began = time.monotonic()
    assert drain(transactional, delay="1").wait(30) == 0
    assert time.monotonic() - began >= 1.0
    assert alive(transactional)


def test_at_the_timeout_a_running_transaction_is_committed_before_pgbouncer_goes(
    transactional: Pod, postgres: Postgres
) -> None:
    postgres.sql("create table if not exists kept (id int)")
    postgres.sql("truncate kept")
    postgres.sql("grant all on kept to shop")
    busy, idle = (transactional.connect("shop", "shop", PASSWORD) for _ in range(2))
    idle.execute("select 1")
    busy.execute("begin; insert into kept values (1)")
    draining = drain(transactional, timeout="0.5")
    eventually("the shutdown has begun", lambda: "SHUTDOWN" in transactional.logs())
    busy.execute("insert into kept values (2)")
    busy.execute("commit")
    assert draining.wait(30) == 0
    eventually("PgBouncer has gone", lambda: not alive(transactional))
    assert transactional.pgbouncer is not None
    assert transactional.pgbouncer.returncode == 0
    assert postgres.sql("select count(*) from kept") == [(2,)]
    with pytest.raises(psycopg.OperationalError):
        idle.execute("select 1")
    busy.close()
    idle.close()


def test_a_transaction_longer_than_its_time_is_left_to_the_signal(transactional: Pod) -> None:
    busy = transactional.connect("shop", "shop", PASSWORD)
    busy.execute("begin; select 1")
    assert drain(transactional, timeout="0.2", transaction="0.5").wait(30) == 1
    assert alive(transactional)
    assert busy.execute("select 1").fetchone() == (1,)
    busy.close()


def test_a_pgbouncer_that_is_gone_needs_no_drain(transactional: Pod) -> None:
    transactional.stop_pgbouncer()
    assert drain(transactional).wait(30) == 0


def test_a_paused_database_flows_again_so_that_its_clients_can_leave(transactional: Pod) -> None:
    with transactional.console() as console:
        console.query('PAUSE "shop"')
    draining = drain(transactional)
    with transactional.connect("shop", "shop", PASSWORD) as client:
        assert client.execute("select 1").fetchone() == (1,)
    assert draining.wait(30) == 0


def test_a_draining_pod_gives_its_connections_back_as_clients_leave(transactional: Pod, postgres: Postgres) -> None:
    clients = [transactional.connect("shop", "shop", PASSWORD) for _ in range(6)]
    for client in clients:
        client.execute("begin; select 1")
    assert agentdb.sessions(postgres, "shop") == 6
    for client in clients:
        client.execute("commit")
    for client in clients:
        client.execute("begin; select 1")
    draining = drain(transactional)
    eventually("two are handed over, beside six transactions", lambda: transactional.state()["keeps"] == 6)
    for client in clients:
        client.execute("commit")
    eventually("half is handed over", lambda: transactional.state()["keeps"] == 4)
    for client in clients[:4]:
        client.close()
    state = eventually("no more than two are needed", lambda: (s := transactional.state()) and s["cap"] == 2 and s)
    assert (state["phase"], state["open"] <= 2) == ("draining", True)
    eventually("PostgreSQL holds no more", lambda: agentdb.sessions(postgres, "shop") <= 2)
    for client in clients[4:]:
        assert client.execute("select 1").fetchone() == (1,)
        client.close()
    assert draining.wait(30) == 0


def test_a_leaving_pod_hands_over_half_at_once_under_clients_that_never_leave(
    transactional: Pod, postgres: Postgres
) -> None:
    """They use every connection, one transaction after the other; none fails, and a new worker keeps to the half."""
    stop = threading.Event()

    def work() -> int:
        done = 0
        with transactional.connect("shop", "shop", PASSWORD) as client:
            while not stop.is_set():
                client.execute("begin; select pg_sleep(0.01); commit")
                done += 1
        return done

    with ThreadPoolExecutor(12) as threads:
        clients = [threads.submit(work) for _ in range(12)]
        try:
            eventually("all connections are in use", lambda: agentdb.sessions(postgres, "shop") == 8)
            draining = drain(transactional, delay="5")
            state = eventually("half is handed over", lambda: (s := transactional.state()) and s["keeps"] == 4 and s)
            assert (state["phase"], state["cap"]) == ("draining", 4)
            assert agentdb.sessions(postgres, "shop") <= 4
            transactional.kill_worker()
            eventually("a new worker confirms it again", lambda: transactional.state()["keeps"] == 4)
            assert agentdb.sessions(postgres, "shop") <= 4
        finally:
            stop.set()
        assert all(each.result() > 0 for each in clients)
    assert draining.wait(30) == 0


@pytest.mark.parametrize("mode", ["transaction", "statement"])
def test_when_the_grace_period_ends_early_a_running_transaction_is_committed_all_the_same(
    postgres: Postgres, mode: str
) -> None:
    """kubelet's SIGTERM closes the port; without more, idle clients would keep PgBouncer until SIGKILL."""
    with running(postgres, mode) as pod:
        idle, busy = (pod.connect("shop", "shop", PASSWORD) for _ in range(2))
        idle.execute("select 1")
        with ThreadPoolExecutor(1) as threads:
            draining = drain(pod, delay="5", timeout="60")
            eventually("the agent knows", lambda: pod.state()["phase"] == "draining")
            transaction = threads.submit(lambda: busy.execute("select pg_sleep(1), 7").fetchone())
            eventually("it runs", lambda: pod.state()["busy"] == 1)
            assert pod.pgbouncer is not None
            pod.pgbouncer.send_signal(signal.SIGTERM)
            assert draining.wait(30) == 0
            result = transaction.result()
        assert result is not None
        assert result[1] == 7
        eventually("PgBouncer has gone", lambda: not alive(pod))
        assert told(pod).endswith("closed at a transaction boundary: 2, cut: 0")
        idle.close()
        busy.close()


def test_a_draining_pod_gives_back_what_its_database_could_never_use(postgres: Postgres) -> None:
    with running(postgres, "transaction", most=3) as pod, contextlib.ExitStack() as stack:
        for _ in range(5):
            stack.enter_context(pod.connect("shop", "shop", PASSWORD))
        assert pod.state()["cap"] == 8
        draining = drain(pod)
        eventually("half of the three that it can hold", lambda: pod.state()["keeps"] == 1)
        stack.close()
        assert draining.wait(30) == 0


def test_a_pgbouncer_that_was_restarted_in_a_drain_serves_and_gets_its_grant_by_a_new_ledger(
    transactional: Pod,
) -> None:
    with transactional.connect("shop", "shop", PASSWORD) as client:
        client.execute("select 1")
        draining = drain(transactional)
        eventually("the cap is lowered", lambda: transactional.state()["cap"] == 1)
        transactional.stop_pgbouncer()
    assert draining.wait(30) == 0
    transactional.start_pgbouncer()
    eventually("the pod serves again", lambda: transactional.state()["phase"] == "running")
    assert transactional.state()["cap"] == 1, "the pod may have been deleted, and others may have the rest"
    transactional.mount_grant(8)
    state = eventually(
        "a new ledger gives it all back",
        lambda: (s := transactional.state()) and s["phase"] == "running" and s["cap"] == 8 and s,
    )
    assert state["problems"] == []
    assert transactional.logs_in("shop", "shop", PASSWORD)
