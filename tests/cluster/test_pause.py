"""traffic: Paused. Clients wait and lose nothing, whatever happens meanwhile; and no pause lasts for ever."""

from collections.abc import Callable, Iterator, Sequence

import pytest
from tests.cluster import console, operators, programs, server, servers
from tests.cluster.console import Said
from tests.cluster.pools import Namespace, pool
from tests.cluster.server import sql
from tests.localcluster.traffic import Running

POOL = "paused"
PODS, MOST = 2, 8
LOAD = ("--clients", "12", "--reconnecting", "4", "--lifetime", "5", "--think", "0.05")
OTHER = "deployment/other"
Say = Callable[[str], None]


@pytest.fixture(scope="module")
def ready(here: Namespace) -> Namespace:
    servers.start(here, "other")
    programs.prepare_at(here, "other")
    here.apply(pool(POOL, MOST, replicas=PODS, timeouts={"queryWaitSeconds": 90}))
    here.wait_ready(POOL)
    return here


@pytest.fixture
def running(ready: Namespace) -> Iterator[Running]:
    with programs.load(ready, f"{POOL}-connection", *LOAD) as load:
        yield load


def pause(here: Namespace, seconds: int) -> None:
    flow(here)  # whatever an earlier test has left
    here.patch(POOL, traffic="Paused", pauseTimeoutSeconds=seconds)
    here.wait_condition(POOL, "Paused", "True")


def flow(here: Namespace) -> None:
    here.patch(POOL, traffic="Flowing")
    here.wait_ready(POOL)


def everywhere(host: str, state: str) -> Callable[[Sequence[Said]], bool]:
    """Whether every pod's database is at that host and in that state, whatever its mode is called."""
    return lambda said: all({host, state} <= set(each.get("databases.shop", "").split()) for each in said)


def latest_row(here: Namespace, at: str) -> str:
    return sql(here, "SELECT coalesce(max(at)::text, '') FROM load", at)


def test_a_pool_moves_to_another_server_under_load_and_loses_nothing(
    ready: Namespace, running: Running, say: Say
) -> None:
    lives = ready.lives(POOL)
    pause(ready, 60)
    last = latest_row(ready, server.SERVER)
    ready.patch(POOL, backend={"host": "other"})
    listening = console.follow(ready, POOL)
    try:
        listening.wait(everywhere("other", "paused"), "the new server, paused")
    finally:
        listening.stop()
    assert latest_row(ready, OTHER) == ""
    flow(ready)
    ready.wait(lambda: latest_row(ready, OTHER), "commits on the new server")
    account, rows = programs.finish(ready, running, server.SERVER, OTHER)
    say(f"moved to another server: {account['committed']} committed, {rows}, the longest took {account['longest']} s")
    assert latest_row(ready, server.SERVER) == last, "nobody wrote to the old server after the pause"
    assert not programs.trouble(account, rows)
    assert ready.lives(POOL) == lives
    ready.patch(POOL, backend={"host": "postgres"})
    ready.wait_ready(POOL)


def test_a_pause_outlives_the_death_of_pgbouncer_and_of_the_agent_and_holds_newborn_pods(ready: Namespace) -> None:
    pause(ready, 120)
    uids = [pod["metadata"]["uid"] for pod in ready.pods(POOL)]
    if not operators.kill_process(uids[:1], "/usr/sbin/pgbouncer"):
        pytest.skip("the node is not this machine, so its processes cannot be killed")
    operators.kill_process(uids[1:], "pgbouncer_operator.agent.worker")
    ready.wait(lambda: sum(ready.lives(POOL).values()) == 1, "PgBouncer's container starts again")
    ready.kubectl("scale", "connectionpool", POOL, f"--replicas={PODS + 1}")
    ready.wait(lambda: ready.serving(POOL) == PODS + 1, "all pods serve")
    listening = console.follow(ready, POOL)
    try:
        listening.wait(everywhere("postgres", "paused"), "every pod is paused")
    finally:
        listening.stop()
    ready.kubectl("scale", "connectionpool", POOL, f"--replicas={PODS}")
    flow(ready)


def test_a_forgotten_pause_ends_by_itself_also_without_an_operator(
    ready: Namespace, running: Running, say: Say
) -> None:
    pause(ready, 20)
    with operators.absent(ready.site):
        stood = running.account()["committed"]
        ready.wait(lambda: running.account()["committed"] > stood + 100, "it flows again")
    message = ready.wait_condition(POOL, "Paused", "False", "PauseTimedOut")
    account, rows = programs.finish(ready, running)
    say(f"a pause of 20 s ended by itself: {message}; the longest transaction took {account['longest']} s")
    assert account["silence"] > 5, "it was paused"
    assert not programs.trouble(account, rows)
    flow(ready)
