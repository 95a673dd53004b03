"""The agent beside a real PgBouncer and PostgreSQL: how changes come into force, and what never does."""

import contextlib
import os
import signal
from dataclasses import replace
from pathlib import Path

from tests.process import agentdb, agentpod, rootfs
from tests.process.agentcase import PASSWORD, intent, nonsense, reasons, shown
from tests.process.agentload import Census, Load
from tests.process.agentpod import Pod, eventually, with_settings
from tests.process.marks import PROCESS
from tests.process.servers import Postgres

from pgbouncer_operator.protocol.intent import ServerTls

pytestmark = PROCESS


def test_pgbouncer_starts_on_a_proven_configuration_and_serves(pod: Pod, postgres: Postgres) -> None:
    pod.start()
    state = pod.runs(intent(postgres), seq=1)
    assert (state["phase"], state["pgbouncer"], state["cap"]) == ("running", rootfs.PGBOUNCER_VERSION, 5)
    assert state["reload"]["kind"] == "start"
    assert state["users"]["shop"]["ok"] is True
    with pod.connect("shop", "shop", PASSWORD) as client:
        assert client.execute("select current_user").fetchone() == ("shop",)


def test_a_changed_timeout_is_in_force_without_a_client_noticing(pod: Pod, postgres: Postgres) -> None:
    pod.start()
    pod.runs(intent(postgres))
    with pod.connect("shop", "shop", PASSWORD) as client:
        client.execute("select 1")
        wanted = pod.mount_intent(intent(postgres, query_wait_timeout=7))
        state = pod.runs(wanted)
        assert shown(pod, "query_wait_timeout") == "7"
        assert (state["reload"]["hash"], state["reload"]["kind"]) == (wanted.digest, "reload")
        client.execute("select 1")


def test_a_shrink_under_load_is_confirmed_when_postgresql_holds_no_more_and_no_query_fails(
    pod: Pod, postgres: Postgres
) -> None:
    pod.mount_grant(20)
    pod.start()
    pod.runs(intent(postgres), seq=2)
    with Load(pod, clients=30) as load:
        eventually("20 backends are busy", lambda: agentdb.sessions(postgres, "shop") == 20)
        seq = pod.mount_grant(5)
        state = pod.runs(intent(postgres), seq)
        held = agentdb.sessions(postgres, "shop")
        assert (state["cap"], state["open"] <= 5, held <= 5) == (5, True, True)
        done = load.done
        eventually("the smaller pool serves on", lambda: load.done > done + 50)
    assert load.failures == []


def test_a_cap_raised_again_while_a_database_still_holds_too_many_renews_nothing_of_the_others(
    pod: Pod, postgres: Postgres
) -> None:
    one = intent(postgres)
    two = pod.mount_intent(replace(one, databases=(*one.databases, replace(one.databases[0], name="log"))))
    pod.mount_grant(4)
    pod.start()
    pod.runs(two)
    with contextlib.ExitStack() as stack:
        held = [stack.enter_context(pod.connect("shop", "shop", PASSWORD)) for _ in range(2)]
        other = stack.enter_context(pod.connect("log", "shop", PASSWORD))
        for each in held:
            each.execute("begin; select 1")
        pid = other.execute("select pg_backend_pid()").fetchone()
        pod.mount_grant(2)
        eventually("renewed where too many are open", lambda: renewing(pod) == {"shop"})
        pod.runs(two, pod.mount_grant(4))
        assert other.execute("select pg_backend_pid()").fetchone() == pid
        for each in held:
            each.execute("commit")


def renewing(pod: Pod) -> set[str]:
    """The databases whose server connections are closed after their transactions."""
    with pod.console() as console:
        return {row["database"] for row in console.query("SHOW SERVERS") if row["close_needed"] == "1"}


def test_a_database_added_under_load_never_takes_the_pod_beyond_its_cap(pod: Pod, postgres: Postgres) -> None:
    one = intent(postgres)
    log = replace(one.databases[0], name="log")
    pod.mount_grant(8)
    pod.start()
    pod.runs(one, seq=2)
    with Load(pod, clients=16) as load, Census(postgres) as census:
        eventually("8 backends are busy", lambda: agentdb.sessions(postgres, "shop") == 8)
        two = pod.mount_intent(replace(one, databases=(*one.databases, log)))
        pod.runs(two)
        with Load(pod, clients=16, database="log") as other:
            eventually("both are served", lambda: other.done > 100 and load.done > 100)
            assert pod.state()["open"] <= 8
        assert pod.runs(pod.mount_intent(one))["cap"] == 8
    assert (load.failures, other.failures) == ([], [])
    assert census.most == 8


def test_a_database_taken_out_lets_its_transaction_end(pod: Pod, postgres: Postgres) -> None:
    one = intent(postgres)
    two = pod.mount_intent(replace(one, databases=(*one.databases, replace(one.databases[0], name="log"))))
    postgres.sql("create table if not exists kept (id int)")
    postgres.sql("truncate kept")
    postgres.sql("grant all on kept to shop")
    pod.start()
    pod.runs(two)
    with contextlib.closing(pod.connect("log", "shop", PASSWORD)) as client:
        client.execute("begin; insert into kept values (1)")
        pod.mount_intent(one)
        eventually("new clients are refused", lambda: not pod.logs_in("log", "shop", PASSWORD))
        client.execute("commit")
    pod.runs(one)
    assert postgres.sql("select count(*) from kept") == [(1,)]


def test_a_configuration_that_pgbouncer_refuses_is_never_installed(pod: Pod, postgres: Postgres) -> None:
    pod.start()
    running = intent(postgres)
    pod.runs(running)
    pod.mount_intent(nonsense(running))
    eventually("the refusal is told", lambda: reasons(pod) == {"CandidateRefused"})
    assert "invalid server_tls_ciphers: nonsense" in pod.state()["problems"][0]["message"]
    assert "nonsense" not in (pod.run / "pgbouncer.ini").read_text()
    assert shown(pod, "query_timeout") == "0"
    seq = pod.mount_grant(3)
    assert pod.runs(running, seq)["cap"] == 3
    good = pod.mount_intent(with_settings(running, query_timeout=9))
    assert pod.runs(good)["problems"] == []


def test_a_ca_without_a_certificate_is_refused_though_pgbouncer_would_take_it(pod: Pod, postgres: Postgres) -> None:
    pod.start()
    running = intent(postgres)
    pod.runs(running)
    agentpod.publish(pod.root / "ca", {"ca.crt": "no certificate"})
    pod.mount_intent(replace(running, server_tls=ServerTls("verify-full", "ca.crt")))
    eventually("the refusal is told", lambda: reasons(pod) == {"CandidateRefused"})
    assert "ca.crt holds no certificate" in pod.state()["problems"][0]["message"]
    assert shown(pod, "server_tls_sslmode") == "disable"


def test_a_setting_that_the_catalogue_refuses_is_named_and_the_old_configuration_serves(
    pod: Pod, postgres: Postgres
) -> None:
    pod.start()
    running = intent(postgres)
    pod.runs(running)
    pod.mount_intent(with_settings(running, no_such_setting=1))
    eventually(
        "the refusal is told",
        lambda: reasons(pod) == {"CandidateRefused"},
        on_failure=lambda: f"{pod.state()}{pod.logs()}",
    )
    assert "no_such_setting" in pod.state()["problems"][0]["message"]
    assert pod.state()["hash"] == running.digest


def test_a_killed_worker_comes_back_and_pgbouncer_is_left_alone(pod: Pod, postgres: Postgres) -> None:
    pod.start()
    pod.runs(intent(postgres), seq=1)
    with pod.connect("shop", "shop", PASSWORD) as client:
        client.execute("select 1")
        backend = client.execute("select pg_backend_pid()").fetchone()
        pod.kill_worker()
        state = pod.runs(intent(postgres), seq=1)
        assert (state["cap"], state["problems"]) == (5, [])
        assert client.execute("select pg_backend_pid()").fetchone() == backend
    assert "RELOAD" not in (pod.root / "pgbouncer.log").read_text()


def test_the_agent_ends_at_once_with_its_worker_when_told_to(pod: Pod, postgres: Postgres) -> None:
    pod.start()
    pod.runs(intent(postgres))
    assert pod.agent is not None
    worker = agentpod.children(pod.agent.pid)[0]
    pod.agent.terminate()
    assert pod.agent.wait(10) == 0
    assert not Path(f"/proc/{worker}").exists()
    assert pod.logs_in("shop", "shop", PASSWORD)


def test_an_older_ledger_is_refused_even_by_a_new_worker(pod: Pod, postgres: Postgres) -> None:
    seq = pod.mount_grant(4)
    pod.start()
    pod.runs(intent(postgres), seq)
    pod.kill_worker()
    pod.seq = 0
    pod.mount_grant(50)
    eventually("the older ledger is told", lambda: pod.state() and reasons(pod) == {"NoGrant"})
    assert pod.runs(intent(postgres), seq)["cap"] == 4


def test_a_ledger_that_changed_for_other_pods_only_is_confirmed_without_a_reload(pod: Pod, postgres: Postgres) -> None:
    set_at = pod.mount_grant(4)
    pod.start()
    pod.runs(intent(postgres), set_at)
    seq = pod.mount_grant(4, since=set_at)
    assert pod.runs(intent(postgres), seq)["cap"] == 4
    assert "RELOAD" not in (pod.root / "pgbouncer.log").read_text()


def test_a_half_delivered_change_waits_for_its_other_half(pod: Pod, postgres: Postgres) -> None:
    old, new = intent(postgres), intent(postgres, query_timeout=9)
    pod.start()
    pod.runs(old)
    pod.mount_pod(config=new.digest)
    eventually("it waits", lambda: reasons(pod) == {"HalfDelivered"})
    assert pod.state()["hash"] == old.digest
    pod.mount_intent(new)
    assert pod.runs(new)["problems"] == []


def test_without_a_grant_pgbouncer_is_not_started_until_the_static_share_is_due(pod: Pod, postgres: Postgres) -> None:
    pod.mount_grant(None, static=3)
    pod.start_agent(static_after="4")
    eventually("it waits for a grant", lambda: "NoGrant" in pod.http("/startupz")[1])
    assert (pod.http("/startupz")[0], reasons(pod)) == (503, {"NoGrant"})
    eventually("it takes the static share", lambda: pod.http("/startupz")[0] == 200)
    pod.start_pgbouncer()
    assert pod.runs(intent(postgres))["cap"] == 3


def test_a_pgbouncer_that_was_restarted_is_verified_again(pod: Pod, postgres: Postgres) -> None:
    pod.start()
    pod.runs(intent(postgres))
    pod.stop_pgbouncer()
    eventually("it is missed", lambda: reasons(pod) == {"ConsoleUnreachable"})
    wanted = pod.mount_intent(intent(postgres, query_timeout=9))
    pod.start_pgbouncer()
    state = pod.runs(wanted)
    eventually("all is well", lambda: pod.state()["problems"] == [])
    assert state["pgbouncer"] == rootfs.PGBOUNCER_VERSION
    assert shown(pod, "query_timeout") == "9"


def test_while_pgbouncer_hangs_the_agent_says_what_it_held_and_how_old_that_is(pod: Pod, postgres: Postgres) -> None:
    pod.start()
    pod.runs(intent(postgres))
    assert pod.pgbouncer is not None
    before = pod.state()
    os.kill(pod.pgbouncer.pid, signal.SIGSTOP)
    try:
        eventually("the state is old", lambda: pod.state()["age"] >= 3)
        old = pod.state()
        assert "pgbouncer_up 0.0" in pod.http("/metrics")[1].splitlines()
    finally:
        os.kill(pod.pgbouncer.pid, signal.SIGCONT)
    assert [old[key] for key in ("hash", "seq", "cap", "open")] == [
        before[key] for key in ("hash", "seq", "cap", "open")
    ]
    eventually("the state is of now", lambda: (pod.state()["age"], pod.state()["problems"]) == (0, []))
    assert "pgbouncer_up 1.0" in pod.http("/metrics")[1].splitlines()
