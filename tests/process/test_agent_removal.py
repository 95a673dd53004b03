"""A database taken out under load: nobody new, time for those inside, and no transaction cut."""

import contextlib
from dataclasses import replace

import psycopg
import pytest
from tests.process import rootfs
from tests.process.agentcase import PASSWORD, intent
from tests.process.agentload import Load
from tests.process.agentpod import Pod, eventually
from tests.process.servers import Postgres

from pgbouncer_operator.pgbouncer.intent import Intent

pytestmark = [
    pytest.mark.process,
    pytest.mark.skipif(rootfs.missing() is not None, reason=str(rootfs.missing())),
]


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
