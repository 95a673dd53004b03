"""Three pools on one PostgresServer, whose role PostgreSQL itself holds to the budget: never above, and nobody fails.

PGBOUNCER_TEST_BUDGET_ROUNDS=17 makes it the long run of 20 minutes or more; from 2 rounds on a second node is drained
in each.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import pytest
from tests.campaign import length
from tests.cluster import budgets, nodes, programs, server, servers, turmoil, workloads
from tests.cluster.api import api
from tests.cluster.pools import Namespace, pool
from tests.localcluster import traffic

POOLS = ("one", "two", "three")
CLIENTS = "web"
BUDGET, LESS = 60, 45
MOST = 30  # of one pool: what the third does not want, the others take
FLOOR = 1  # connection of a pod at least
COUNTED = 3  # counts a second at least; ten where the machine is not busy
ROUNDS = length("PGBOUNCER_TEST_BUDGET_ROUNDS", short=1, full=17)
# Enough clients to use all that a pool may ever hold. No more for the third, which holds 20 at most: while it follows
# few, they all queue for 2 connections, and a slow machine must still serve the last of them within 30 s.
SATURATING = {"one": "40", "two": "40", "three": "25"}
LOAD = ("--think", "0.02", "--work", "0.15", "--lifetime", "6")
LIGHT = ("--clients", "1", "--think", "0.2", "--work", "0.03", "--lifetime", "3")
FOLLOWING = {
    "serverConnections": {"sizing": {"mode": "Workloads", "perClientReplica": 1}},
    "clients": {"workloads": [{"kind": "Deployment", "name": CLIENTS}]},
}
FULL = ("too many connections", "too many clients", "remaining connection slots")


@pytest.fixture(scope="module")
def ready(here: Namespace) -> Iterator[Namespace]:
    servers.restart(here, max_connections=100)
    # The role's limit is the fence: a connection above the budget would fail, and the load would say so.
    server.sql(here, f"ALTER ROLE shop CONNECTION LIMIT {BUDGET}")
    here.apply(budgets.server(BUDGET))
    here.apply(workloads.deployment(here, CLIENTS, f"{POOLS[2]}-connection", 0, LIGHT))
    for name in POOLS[:2]:
        here.apply(budgets.member(name, MOST))
    here.apply(budgets.member(POOLS[2], MOST, **FOLLOWING))
    here.wait_ready(*POOLS)
    programs.prepare(here, f"{POOLS[2]}-connection")
    turmoil.clients(here, CLIENTS, turmoil.FEW_CLIENTS)
    here.wait(lambda: workloads.ready(here, CLIENTS) == turmoil.FEW_CLIENTS, "a few clients")
    yield here
    workloads.remove(here, CLIENTS)
    here.delete(*POOLS)


@dataclass(frozen=True, slots=True)
class Eyes:
    """What is seen of everything: PostgreSQL's counts, of those with a transaction too, the operator's promises, and
    the accounts of all clients."""

    counted: traffic.Census
    busy: traffic.Census
    watch: budgets.Watch
    web: workloads.Followed
    loads: list[traffic.Running]

    def accounts(self) -> dict[str, dict[str, Any]]:
        """Of every client until now, by its pod."""
        return {each.name: programs.settled(each) for each in self.loads} | self.web.latest


@contextmanager
def watched(here: Namespace) -> Iterator[Eyes]:
    """Load on every pool, and eyes on all of it."""
    with ExitStack() as stack:
        counted = traffic.census(here.site, here.name)
        stack.callback(counted.stop)
        busy = traffic.census(here.site, here.name, only="state <> 'idle'")
        stack.callback(busy.stop)
        watch = stack.enter_context(budgets.Watch(stack.enter_context(api(here)), POOLS))
        web = stack.enter_context(workloads.followed(here, CLIENTS))
        loads = []
        for name, clients in SATURATING.items():
            load = programs.load(here, f"{name}-connection", "--clients", clients, *LOAD, name=f"load-{name}")
            loads.append(stack.enter_context(load))
        yield Eyes(counted, busy, watch, web, loads)


@contextmanager
def another_node(here: Namespace) -> Iterator[str | None]:
    """In the long run a second node, where nothing starts yet: the loads must not be there when it is drained.

    It goes last: its pods are Ready in the API for a while after they have gone with it.
    """
    if ROUNDS == 1:
        yield None
        return
    with nodes.another(here) as node:
        nodes.only(here, nodes.FIRST)
        yield node


def test_no_turmoil_brings_the_pools_of_a_server_above_its_budget(ready: Namespace, say: Callable[[str], None]) -> None:
    began = time.monotonic()
    with another_node(ready) as node, watched(ready) as observed:
        scene = turmoil.Scene(ready, POOLS, CLIENTS, BUDGET, LESS, observed.counted, observed.web, node)
        if node is not None:
            nodes.only(ready, nodes.FIRST, node)
        for number in range(ROUNDS):
            turmoil.everything(scene, number)
        seconds = time.monotonic() - began
        by_pod, torn = observed.accounts(), list(observed.web.torn)
        full = [line for line in log(ready) if any(words in line for words in FULL)]
    counted, watch, accounts = observed.counted, observed.watch, by_pod.values()
    failed = sum(each["failed"] + each["refused"] for each in accounts)
    committed = sum(each["committed"] for each in accounts)
    say(
        f"3 pools, budget {BUDGET}, {ROUNDS} rounds in {seconds / 60:.1f} min: {failed} of "
        f"{committed} transactions failed; PostgreSQL counted at most {counted.peak} in {len(counted.counts)} counts "
        f"(peak/budget {counted.peak / BUDGET:.2f}), and refused {len(full)} logins; "
        f"mean held/busy {held_to_busy(counted, observed.busy):.2f}; "
        f"least caps of ready pods {watch.granted}, least charged beyond their floors {watch.spare}; "
        f"at most {watch.given} given and {watch.charged} charged"
    )
    assert failed == 0, {pod: (each["errors"], each["first"]) for pod, each in by_pod.items() if each["errors"]}
    assert not torn, (len(torn), [observed.web.latest.get(each) for each in torn[:2]])
    assert len(observed.web.latest) >= ROUNDS * (turmoil.MANY_CLIENTS - turmoil.FEW_CLIENTS) + turmoil.FEW_CLIENTS
    assert not full, full[:3]
    assert 0 < counted.peak <= BUDGET
    assert len(counted.counts) > COUNTED * seconds
    assert committed > 1000
    kept(watch)


def kept(watch: budgets.Watch) -> None:
    """Every pod that served had its floor, every pool what its pods need, and the budget was never given twice."""
    assert watch.looks > 10
    assert set(watch.spare) == set(watch.granted) == set(POOLS)
    assert min(watch.spare.values()) >= 0
    assert min(watch.granted.values()) >= FLOOR
    assert watch.charged <= BUDGET


def held_to_busy(counted: traffic.Census, busy: traffic.Census) -> float:
    """Connections that were open for one that had a transaction, over the whole time."""
    mean = sum(busy.counts) / max(1, len(busy.counts))
    return sum(counted.counts) / len(counted.counts) / mean if mean else 0.0


def log(here: Namespace) -> list[str]:
    """Everything that PostgreSQL has said."""
    return here.kubectl("logs", servers.pod(here, "postgres")["metadata"]["name"], "--tail=-1").splitlines()


def test_a_pool_that_names_the_servers_host_itself_is_refused(ready: Namespace) -> None:
    ready.apply(pool("sly", 5))
    ready.wait_condition("sly", "Stalled", "True", "ServerIsBudgeted")
    assert not ready.pods("sly")
    ready.delete("sly")
