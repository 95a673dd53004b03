"""Server connections go to the databases of a pod that need them, and come back when others need them."""

import contextlib
from collections.abc import Iterator
from dataclasses import replace

from tests.process import agentdb, agentpod
from tests.process.agentcase import PASSWORD, intent
from tests.process.agentload import Census, Load
from tests.process.agentpod import Pod, eventually
from tests.process.marks import PROCESS
from tests.process.servers import Postgres

from pgbouncer_operator.protocol.intent import Intent

pytestmark = PROCESS
GRANT = 16
NAMES = ("a", "b", "c", "d")
WORK = "begin; select pg_sleep(0.3); commit"


def four(postgres: Postgres, most: int | None = None) -> Intent:
    """Four databases. most: the maximum of each; a quarter of the grant fixes the shares."""
    one = intent(postgres)
    return replace(one, databases=tuple(replace(one.databases[0], name=name, max=most) for name in NAMES))


@contextlib.contextmanager
def serving(wanted: Intent, postgres: Postgres) -> Iterator[Pod]:
    agentdb.role(postgres, "shop", PASSWORD)
    with agentpod.pod() as pod:
        pod.mount_intent(wanted)
        pod.mount_grant(GRANT)
        pod.mount_user("shop", {"username": "shop", "password": PASSWORD})
        pod.mount_pod()
        pod.start()
        pod.runs(wanted)
        yield pod


def limits(pod: Pod) -> dict[str, int]:
    """The shares as the running PgBouncer shows them."""
    with pod.console() as console:
        rows = console.query("SHOW DATABASES")
    return {row["name"]: int(row["max_connections"]) for row in rows if row["name"] in NAMES}


def busy(pod: Pod, name: str) -> int:
    """Server connections of a database that clients hold now."""
    with pod.console() as console:
        return sum(int(row["sv_active"]) for row in console.query("SHOW POOLS") if row["database"] == name)


def served(pod: Pod, *loads: Load) -> None:
    """Wait until each of them has done some more."""
    before = [each.done for each in loads]
    eventually(
        "everybody is served",
        lambda: all(each.done > count + 10 for each, count in zip(loads, before, strict=True)),
        seconds=60,
        on_failure=lambda: f"{limits(pod)} {[each.done for each in loads]} after {before}\n{pod.logs()}",
    )


def test_one_busy_database_gets_what_idle_ones_do_not_need_and_each_gets_its_part_back(postgres: Postgres) -> None:
    with serving(four(postgres), postgres) as pod, Census(postgres) as census:
        with Load(pod, 12, "c", WORK) as first:
            eventually("all twelve clients are served at once", lambda: busy(pod, "c") == 12, 60)
            first.longest = 0.0
            served(pod, first)
            print(f"12 clients of one database, longest in seconds: {first.longest:.1f} of {WORK}")
            assert limits(pod)["c"] >= 12
            with Load(pod, 8, "d", WORK) as second, Load(pod, 8, "a", WORK) as third, Load(pod, 8, "b", WORK) as last:
                eventually("each has its part", lambda: set(limits(pod).values()) == {4}, 60, lambda: str(limits(pod)))
                served(pod, first, second, third, last)
        assert [each.failures for each in (first, second, third, last)] == [[], [], [], []]
    print("all four busy, longest in seconds:", [round(each.longest, 1) for each in (first, second, third, last)])
    assert census.most <= GRANT


def test_a_database_gets_no_more_than_its_own_maximum_although_others_are_idle(postgres: Postgres) -> None:
    """So a maximum of a quarter for each fixes the shares."""
    with serving(four(postgres, most=4), postgres) as pod:
        with Load(pod, 12, "c", WORK) as load:
            for _ in range(3):
                served(pod, load)
                assert busy(pod, "c") <= 4
        print(f"12 clients of one database, fixed shares, longest in seconds: {load.longest:.1f} of {WORK}")
        assert set(limits(pod).values()) == {4}
        assert load.failures == []


def test_a_database_gets_back_what_long_transactions_of_another_release_one_by_one(postgres: Postgres) -> None:
    with serving(four(postgres), postgres) as pod, contextlib.ExitStack() as stack:
        clients = [stack.enter_context(pod.connect("c", "shop", PASSWORD)) for _ in range(13)]
        with Load(pod, 20, "c", "select pg_sleep(0.1)"):
            eventually("it has what the others do not need", lambda: limits(pod)["c"] == 13, 60)
        for client in clients:
            client.execute("begin; select 1")
        with Load(pod, 8, "a", WORK) as waiting:
            eventually("no more transactions than its part begin", lambda: limits(pod)["c"] == 7, 60)
            assert limits(pod)["a"] == 1
            clients[0].execute("commit")
            eventually("one is given back, one is given", lambda: limits(pod)["a"] == 2, 60)
            for client in clients[1:]:
                client.execute("commit")
            eventually("the rest follows", lambda: limits(pod)["a"] == 7, 60)
            served(pod, waiting)
        assert waiting.failures == []
