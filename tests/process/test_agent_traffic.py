"""A pause of traffic: nothing fails, nothing is left behind, and it ends by itself."""

import os
import socket
from dataclasses import replace

from tests.campaign import length
from tests.process import agentdb, servers
from tests.process.agentcase import PASSWORD, intent, reasons, shown
from tests.process.agentload import Comers, Load
from tests.process.agentpod import Pod, eventually
from tests.process.gate import Gate
from tests.process.marks import PROCESS
from tests.process.servers import Postgres

pytestmark = PROCESS
POKES = 1000  # as fast as they can be written, so that some come while the one before is read
RENEWALS = length("PGBOUNCER_TEST_RENEWALS", short=10, full=20)
PAUSES = length("PGBOUNCER_TEST_PAUSES", short=6, full=10)
ADD = "insert into paid values (1)"


def flows(pod: Pod, traffic: str) -> dict[str, object]:
    found: dict[str, object] = eventually(
        f"traffic is {traffic}",
        lambda: (s := pod.state()) and s["traffic"] == traffic and s,
        on_failure=lambda: f"{pod.state()}\n{pod.logs()}",
    )
    return found


def paused(pod: Pod) -> set[str]:
    with pod.console() as console:
        return {row["name"] for row in console.query("SHOW DATABASES") if row["paused"] == "1"}


def table(server: Postgres) -> None:
    server.sql("drop table if exists paid")
    server.sql("create table paid (id int)")
    server.sql("grant all on paid to shop")


def rows(server: Postgres) -> int:
    return int(server.sql("select count(*) from paid")[0][0])


def serving(pod: Pod, postgres: Postgres) -> None:
    pod.start()
    pod.runs(intent(postgres))
    eventually("the backend is tested", lambda: pod.state()["backend"]["ok"])


def test_a_pool_moves_to_another_server_under_load_and_no_row_is_lost(pod: Pod, postgres: Postgres) -> None:
    table(postgres)
    serving(pod, postgres)
    with servers.postgres() as other:
        agentdb.role(other, "shop", PASSWORD)
        table(other)
        with Load(pod, clients=8, work=ADD) as load:
            eventually("the old server is written", lambda: load.done > 50)
            pod.mount_pause(60)
            flows(pod, "Paused")
            eventually("no session is left", lambda: agentdb.sessions(postgres, "shop") == 0)
            left_behind = rows(postgres)
            moved = pod.mount_intent(intent(other))
            state = pod.runs(moved)
            assert (state["traffic"], state["backend"]["ok"], state["problems"]) == ("Paused", None, [])
            assert (rows(postgres), rows(other)) == (left_behind, 0)
            pod.mount_pause(None)
            done = load.done
            eventually("the new server is written", lambda: load.done > done + 50)
        assert load.failures == []
        assert rows(postgres) == left_behind
        assert rows(postgres) + rows(other) == load.done
        eventually("the new server is found to be well", lambda: pod.state()["backend"]["ok"])


def test_pauses_one_after_the_other_cost_nobody_anything_not_even_clients_that_come_and_go(
    pod: Pod, postgres: Postgres
) -> None:
    serving(pod, postgres)
    with Comers(pod, 6) as comers:
        for _ in range(PAUSES):
            pod.mount_pause(60)
            flows(pod, "Paused")
            pod.mount_pause(None)
            flows(pod, "Flowing")
            eventually("clients go on", lambda least=comers.served + 10: comers.served > least)
            assert pod.state()["backend"]["ok"] is True
    assert comers.failures == []


def test_a_pause_ends_by_itself_and_says_so_until_it_is_taken_back(pod: Pod, postgres: Postgres) -> None:
    serving(pod, postgres)
    with Load(pod, clients=2) as load:
        pod.mount_pause(3)
        flows(pod, "Paused")
        eventually("it has ended", lambda: pod.state()["traffic"] == "Flowing")
        assert reasons(pod) == {"PauseTimedOut"}
        done = load.done
        eventually("clients go on", lambda: load.done > done + 10)
        pod.mount_pause(None)
        eventually("all is well", lambda: reasons(pod) == set())
    assert load.failures == []


def test_one_long_transaction_does_not_keep_other_databases_from_resting(pod: Pod, postgres: Postgres) -> None:
    one = intent(postgres)
    two = replace(one, databases=(*one.databases, replace(one.databases[0], name="log")))
    pod.mount_intent(two)
    pod.start()
    pod.runs(two)
    with pod.connect("log", "shop", PASSWORD) as client:
        client.execute("begin; select 1")
        pod.mount_pause(60)
        eventually("both are paused", lambda: paused(pod) == {"log", "shop"})
        assert pod.state()["traffic"] == "Flowing"  # one of them still works
        client.execute("select 1")
        client.execute("commit")
        flows(pod, "Paused")
        pod.mount_pause(None)
        assert client.execute("select 1").fetchone() == (1,)


def test_a_pause_outlives_the_worker_and_pgbouncer_and_reaches_new_databases(pod: Pod, postgres: Postgres) -> None:
    serving(pod, postgres)
    pod.mount_pause(120)
    flows(pod, "Paused")
    pod.kill_worker()
    flows(pod, "Paused")
    pod.stop_pgbouncer()
    eventually("it is missed", lambda: "ConsoleUnreachable" in reasons(pod))
    pod.start_pgbouncer()
    flows(pod, "Paused")
    one = intent(postgres)
    two = replace(one, databases=(*one.databases, replace(one.databases[0], name="log")))
    seq = pod.mount_grant(2)
    state = pod.runs(pod.mount_intent(two), seq)
    assert state["cap"] == 2
    eventually("the new database rests too", lambda: paused(pod) == {"log", "shop"})
    assert pod.script("probe", str(pod.run), str(pod.port)).wait(30) == 0
    pod.mount_pause(None)
    flows(pod, "Flowing")
    eventually("all flow", lambda: paused(pod) == set())
    assert pod.logs_in("log", "shop", PASSWORD)


def test_a_pause_that_ends_while_no_worker_runs_is_ended_by_the_next(pod: Pod, postgres: Postgres) -> None:
    serving(pod, postgres)
    pod.mount_pause(60)
    flows(pod, "Paused")
    assert pod.agent is not None
    pod.agent.terminate()
    pod.agent.wait(10)
    pod.mount_pause(None)
    pod.start_agent()
    eventually("all flow", lambda: pod.state() and paused(pod) == set())
    assert pod.logs_in("shop", "shop", PASSWORD)


def test_what_somebody_else_paused_by_hand_stays_paused(pod: Pod, postgres: Postgres) -> None:
    serving(pod, postgres)
    with pod.console() as console:
        console.query('PAUSE "shop"')
    pod.mount_user("shop", {"username": "shop", "password": PASSWORD, "note": "a new generation"})
    pod.runs(pod.mount_intent(intent(postgres, query_timeout=9)))
    assert paused(pod) == {"shop"}


def test_a_new_token_renews_every_connection_and_the_first_one_seen_does_not(pod: Pod, postgres: Postgres) -> None:
    pod.mount_pod(reconnect="a")
    serving(pod, postgres)
    assert pod.state()["reconnected"] == "a"
    with pod.connect("shop", "shop", PASSWORD) as client:
        pid = client.execute("select pg_backend_pid()").fetchone()
        pod.kill_worker()
        eventually("it settles", lambda: (s := pod.state()) and s["reconnected"] == "a" and s["backend"]["ok"])
        assert client.execute("select pg_backend_pid()").fetchone() == pid
        pod.mount_pod(reconnect="b")
        eventually("it is acted on", lambda: pod.state()["reconnected"] == "b")
        assert client.execute("select pg_backend_pid()").fetchone() != pid


def test_a_token_that_stays_renews_nothing_however_often_the_pod_is_told_something_else(
    pod: Pod, postgres: Postgres
) -> None:
    pod.mount_pod(reconnect="a")
    serving(pod, postgres)
    with pod.connect("shop", "shop", PASSWORD) as client:
        pid = client.execute("select pg_backend_pid()").fetchone()
        for number in range(POKES):
            pod.mount_pod(reconnect="a", poke=str(number))
        pod.mount_pod(reconnect="a", config=pod.mount_intent(intent(postgres, query_timeout=9)).digest)
        eventually("it follows", lambda: shown(pod, "query_timeout") == "9")
        assert client.execute("select pg_backend_pid()").fetchone() == pid


def test_connections_are_renewed_under_load_without_a_failure(pod: Pod, postgres: Postgres) -> None:
    serving(pod, postgres)
    with Load(pod, clients=8) as load:
        for number in range(RENEWALS):
            pod.mount_pod(reconnect=str(number))
            eventually("it is acted on", lambda token=str(number): pod.state()["reconnected"] == token)
            done = load.done
            eventually("clients go on", lambda least=done: load.done > least + 20)
    assert load.failures == []


def test_what_connects_before_the_node_has_followed_a_service_is_renewed_again(pod: Pod, postgres: Postgres) -> None:
    """The notice comes first. The address leads to the other server only after the agent has acted on it."""

    def server() -> object:
        found = client.execute("select inet_server_port()").fetchone()
        return found and found[0]

    with servers.postgres() as other, Gate(socket.create_server(("127.0.0.1", 0)), postgres.port) as gate:
        agentdb.role(other, "shop", PASSWORD)
        one = intent(postgres)
        behind = replace(one, databases=(replace(one.databases[0], port=gate.port),))
        pod.mount_intent(behind)
        pod.mount_pod(reconnect="a")
        pod.start()
        pod.runs(behind)
        with pod.connect("shop", "shop", PASSWORD) as client:
            pod.mount_pod(reconnect="b")
            eventually("it is acted on", lambda: pod.state()["reconnected"] == "b")
            assert server() == postgres.port
            gate.lead_to(other.port)
            eventually("it reaches the other server", lambda: server() == other.port)


def test_a_draining_pod_does_not_pause(pod: Pod, postgres: Postgres) -> None:
    serving(pod, postgres)
    client = pod.connect("shop", "shop", PASSWORD)
    draining = pod.script(
        "drain", "--endpoint-delay", "0", "--timeout", "60", "--run-dir", str(pod.run), "--port", str(pod.port)
    )
    eventually("the agent knows", lambda: pod.state()["phase"] == "draining")
    pod.mount_pause(60)
    for _ in range(20):
        client.execute("select 1")
    assert paused(pod) == set()
    client.close()
    assert draining.wait(30) == 0


def test_a_volume_that_cannot_be_read_lifts_no_pause(pod: Pod, postgres: Postgres) -> None:
    """A link that points to itself is an error of every read, and no absence."""
    serving(pod, postgres)
    pod.mount_pause(60)
    flows(pod, "Paused")
    link = pod.root / "config" / "..data"
    mounted = os.readlink(link)
    (pod.root / "config" / "loop").symlink_to("loop")
    link.unlink()
    link.symlink_to("loop")
    eventually("it is told", lambda: "MountUnreadable" in reasons(pod))
    assert paused(pod) == {"shop"}
    link.unlink()
    link.symlink_to(mounted)
    eventually("it is read again", lambda: reasons(pod) == set())
    assert paused(pod) == {"shop"}
    pod.mount_pause(None)
    flows(pod, "Flowing")
