"""A database taken out under load: nobody new, time for those inside, and no transaction cut."""

import contextlib
from dataclasses import replace
from typing import Any

import psycopg
import pytest
from tests.process.agentcase import PASSWORD, intent, shown
from tests.process.agentload import Load
from tests.process.agentpod import Pod, eventually, with_settings
from tests.process.marks import PROCESS
from tests.process.servers import Postgres

from pgbouncer_operator.protocol.intent import Intent

pytestmark = PROCESS


@pytest.fixture
def one(pod: Pod, postgres: Postgres) -> Intent:
    """The intent that is left; the pod runs with a second database, `log`."""
    left = replace(intent(postgres), drain_seconds=60)
    pod.mount_intent(with_log(left))
    pod.start()
    pod.runs(with_log(left))
    return left


def with_log(left: Intent) -> Intent:
    return replace(left, databases=(*left.databases, replace(left.databases[0], name="log")))


def databases(pod: Pod) -> set[str]:
    with pod.console() as console:
        return {row["name"] for row in console.query("SHOW DATABASES")} - {"pgbouncer"}


def refused(pod: Pod) -> bool:
    try:
        with pod.connect("log", "shop", PASSWORD) as client:
            client.execute("select 1")
    except psycopg.OperationalError as error:
        return "disabled" in str(error)
    return False


def test_clients_inside_go_on_and_newcomers_are_refused_until_the_last_has_left(pod: Pod, one: Intent) -> None:
    with Load(pod, clients=4, database="log") as load:
        eventually("there is load", lambda: load.done > 20)
        state = pod.runs(pod.mount_intent(one))
        assert state["lingering"] == ["log"]
        eventually("newcomers are refused", lambda: refused(pod))
        done = load.done
        eventually("those inside are served on", lambda: load.done > done + 50)
    assert load.failures == []
    eventually("it goes when the last has left", lambda: databases(pod) == {"shop"})
    assert pod.state()["lingering"] == []


def test_the_timeout_ends_it_between_two_transactions(pod: Pod, postgres: Postgres, one: Intent) -> None:
    postgres.sql("create table if not exists kept (id int)")
    postgres.sql("truncate kept")
    postgres.sql("grant all on kept to shop")
    with contextlib.closing(pod.connect("log", "shop", PASSWORD)) as busy:
        busy.execute("begin; insert into kept values (1)")
        pod.runs(pod.mount_intent(replace(one, drain_seconds=1)))
        eventually("its time is over", lambda: paused(pod))
        assert "log" in databases(pod)
        busy.execute("commit")
        eventually("it is taken out then", lambda: databases(pod) == {"shop"})
    assert postgres.sql("select count(*) from kept") == [(1,)]


def paused(pod: Pod) -> bool:
    with pod.console() as console:
        return any(row["paused"] == "1" for row in console.query("SHOW DATABASES") if row["name"] == "log")


def test_a_database_that_comes_back_is_open_again_and_nobody_was_cut(pod: Pod, one: Intent) -> None:
    with contextlib.closing(pod.connect("log", "shop", PASSWORD)) as inside:
        inside.execute("select 1")
        pod.runs(pod.mount_intent(one))
        eventually("newcomers are refused", lambda: refused(pod))
        pod.runs(pod.mount_intent(with_log(one)))
        eventually("newcomers are let in", lambda: pod.logs_in("log", "shop", PASSWORD))
        inside.execute("select 1")
        assert pod.state()["lingering"] == []


def test_the_agents_restart_forgets_nothing(pod: Pod, one: Intent) -> None:
    with contextlib.closing(pod.connect("log", "shop", PASSWORD)) as inside:
        inside.execute("select 1")
        pod.runs(pod.mount_intent(one))
        eventually("newcomers are refused", lambda: refused(pod))
        pod.kill_worker()
        pod.runs(one)
        assert pod.state()["lingering"] == ["log"]
        inside.execute("select 1")
    eventually("it goes when the last has left", lambda: databases(pod) == {"shop"})


def test_without_a_connection_to_spare_a_removed_database_goes_at_once(pod: Pod, one: Intent) -> None:
    seq = pod.mount_grant(2)
    pod.runs(with_log(one), seq)
    third = replace(one, databases=(*one.databases, replace(one.databases[0], name="new")))
    pod.runs(pod.mount_intent(third))
    assert databases(pod) == {"shop", "new"}
    eventually("nothing is said to linger", lambda: pod.state()["lingering"] == [])


def sessions(pod: Pod, number: int, stack: contextlib.ExitStack) -> list[psycopg.Connection[tuple[Any, ...]]]:
    """Clients of `log` that hold a server connection each, in session mode."""
    found = [stack.enter_context(contextlib.closing(pod.connect("log", "shop", PASSWORD))) for _ in range(number)]
    for each in found:
        each.execute("select 1")
    return found


def share(pod: Pod, database: str) -> int:
    with pod.console() as console:
        return next(int(row["max_connections"]) for row in console.query("SHOW DATABASES") if row["name"] == database)


def test_sessions_that_linger_hold_back_nothing_else_and_give_back_what_they_leave(pod: Pod, one: Intent) -> None:
    session = with_settings(one, pool_mode="session")
    seq = pod.mount_grant(6)
    pod.runs(pod.mount_intent(with_log(session)), seq)
    with contextlib.ExitStack() as stack:
        inside = sessions(pod, 3, stack)
        pod.runs(pod.mount_intent(session))
        changed = with_settings(session, query_timeout=9)
        pod.runs(pod.mount_intent(changed), pod.mount_grant(8))
        eventually("the others have all that is not in use", lambda: share(pod, "shop") == 5)
        inside.pop().close()
        eventually("what a session leaves is theirs", lambda: share(pod, "shop") == 6)
        for each in inside:
            each.execute("select 1")
    eventually("it goes when the last has left", lambda: databases(pod) == {"shop"})


def test_a_lowered_grant_is_confirmed_when_sessions_have_left_and_all_else_at_once(pod: Pod, one: Intent) -> None:
    session = with_settings(one, pool_mode="session")
    before = pod.mount_grant(6)
    pod.runs(pod.mount_intent(with_log(session)), before)
    with contextlib.ExitStack() as stack:
        inside = sessions(pod, 3, stack)
        pod.runs(pod.mount_intent(session))
        lowered = pod.mount_grant(2)
        eventually("the lowered share is in force", lambda: share(pod, "log") == 1)
        pod.mount_pod(reconnect="again")
        changed = with_settings(session, query_timeout=9)
        state = pod.runs(pod.mount_intent(changed))
        assert state["seq"] == before
        eventually("renewals are asked for", lambda: pod.state()["reconnected"] == "again")
        raised = pod.mount_grant(4)
        pod.runs(changed, raised)
        for each in inside:
            each.execute("select 1")
        assert lowered < raised
    eventually("it goes when the last has left", lambda: databases(pod) == {"shop"})


def test_a_worker_killed_in_the_middle_of_a_pause_leaves_no_bound(pod: Pod, one: Intent) -> None:
    with contextlib.closing(pod.connect("log", "shop", PASSWORD)) as inside:
        inside.execute("begin; select 1")
        pod.runs(pod.mount_intent(replace(one, drain_seconds=1)))
        eventually("its time is over", lambda: paused(pod))
        with pod.console() as console:
            console.query("SET max_user_connections = 1")  # as `bouncer.pause` does for a moment
        pod.kill_worker()
        eventually("users are bound by nothing", lambda: shown(pod, "max_user_connections") == "0")
        inside.execute("commit")
    eventually("it is taken out", lambda: databases(pod) == {"shop"})
