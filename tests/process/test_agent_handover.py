"""What a draining pod hands over to its successors."""

import contextlib
import signal
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from tests.process import agentdb
from tests.process.agentpod import Pod, eventually
from tests.process.draining import PASSWORD, drain, running
from tests.process.marks import PROCESS
from tests.process.servers import Postgres

pytestmark = PROCESS


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


def test_in_session_mode_a_connection_stays_free_for_those_who_still_come(postgres: Postgres) -> None:
    """Four sessions never end. Who comes meanwhile gets the free connection, one after the other."""
    with running(postgres, "session") as pod, ThreadPoolExecutor(1) as threads, contextlib.ExitStack() as stack:
        stop, served = threading.Event(), 0

        def come_and_go() -> None:
            nonlocal served
            while not stop.is_set():
                with pod.connect("shop", "shop", PASSWORD) as newcomer:
                    newcomer.execute("select 1")
                served += 1

        for _ in range(4):
            stack.enter_context(pod.connect("shop", "shop", PASSWORD)).execute("select 1")
        newcomers = threads.submit(come_and_go)
        stack.callback(stop.set)
        draining = drain(pod, delay="5")
        state = eventually("something is handed over", lambda: (s := pod.state()) and (s["keeps"] or 8) < 8 and s)
        assert state["keeps"] >= 5
        before = served
        eventually("newcomers are served", lambda: served > before + 50)
        stack.close()
        newcomers.result()
        assert draining.wait(30) == 0


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


@pytest.mark.parametrize("worker", ["stays", "ends with it"])
def test_a_pgbouncer_that_hung_and_was_drained_and_killed_has_a_successor_with_the_whole_grant(
    transactional: Pod, worker: str
) -> None:
    """kubelet runs preStop before it restarts a container that fails its liveness probe."""
    assert transactional.pgbouncer is not None
    transactional.pgbouncer.send_signal(signal.SIGSTOP)
    draining = drain(transactional)
    eventually("the agent knows", lambda: transactional.state()["phase"] == "draining")
    draining.kill()  # it ends with its container
    draining.wait()
    transactional.stop_pgbouncer()
    if worker == "ends with it":
        transactional.kill_worker()
    transactional.start_pgbouncer()
    eventually(
        "it serves",
        lambda: (s := transactional.state()) and (s["phase"], s["cap"], s["age"]) == ("running", 8, 0),
        on_failure=lambda: f"{transactional.state()}\n{transactional.logs()}",
    )
    transactional.mount_grant(6)
    eventually("it reads its mounts", lambda: transactional.state()["cap"] == 6)
