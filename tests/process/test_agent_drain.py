"""The drain of a pod: clients leave by themselves, then transactions end, and only then PgBouncer goes."""

import contextlib
import signal
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import psycopg
import pytest
from tests.process.agentpod import Pod, eventually
from tests.process.draining import PASSWORD, alive, drain, figures, running, told
from tests.process.marks import PROCESS
from tests.process.servers import Postgres

from pgbouncer_operator.agent.drain import QUIET_SECONDS

pytestmark = PROCESS


@pytest.fixture(params=["transaction", "statement", "session"])
def pod(postgres: Postgres, request: pytest.FixtureRequest) -> Iterator[Pod]:
    """A pod that serves, in each pool mode."""
    with running(postgres, request.param) as found:
        yield found


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


def test_a_pod_is_unready_some_time_before_its_deadline_and_serves_its_clients_until_they_leave(
    transactional: Pod,
) -> None:
    """kube-proxy then sends nobody there who would be closed a moment later."""

    def ready() -> bool:
        return transactional.script("probe", str(transactional.run), str(transactional.port)).wait(30) == 0

    client = transactional.connect("shop", "shop", PASSWORD)
    draining = drain(transactional, "--probes", "60", delay="1")
    eventually("the agent knows", lambda: transactional.state()["phase"] == "draining")
    eventually("the readiness probe fails", lambda: not ready(), on_failure=transactional.logs)
    assert client.execute("select 1").fetchone() == (1,)
    assert transactional.logs_in("shop", "shop", PASSWORD), "whoever is still sent here"
    assert draining.poll() is None
    client.close()
    assert draining.wait(30) == 0


@pytest.mark.parametrize("mode", ["transaction", "session"])
def test_whoever_still_comes_has_a_connection_beside_one_that_is_held(postgres: Postgres, mode: str) -> None:
    """What a draining pod gave back it does not get again, so it waits until nobody is sent to it any more."""
    with running(postgres, mode) as pod, contextlib.closing(pod.connect("shop", "shop", PASSWORD)) as stays:
        stays.execute("begin; select 1")
        draining = drain(pod, delay="5")
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
