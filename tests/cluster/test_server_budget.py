"""Three pools on one PostgresServer, whose role PostgreSQL itself holds to the budget: never above, and nobody fails.

PGBOUNCER_TEST_BUDGET_ROUNDS=20 makes it the long run: each round scales pods, moves the budget, kills an agent and an
operator.
"""

import json
import os
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest
from tests.cluster import operators, programs, server, servers
from tests.cluster.pools import Namespace, pool
from tests.localcluster import traffic

from pgbouncer_operator import naming

SERVER, POOLS = "budgeted", ("one", "two", "three")
BUDGET, LESS = 60, 45
ROUNDS = int(os.environ.get("PGBOUNCER_TEST_BUDGET_ROUNDS", "1"))
LOAD = ("--clients", "16", "--think", "0.01", "--work", "0.02", "--lifetime", "3")
DRAIN = {"timeoutSeconds": 30, "transactionSeconds": 10}
WORKER = "pgbouncer_operator.agent.worker"


def member(name: str, **limits: Any) -> dict[str, Any]:
    return pool(name, backend={"serverRef": {"name": SERVER}}, serverConnections=limits, drain=DRAIN)


def shared(here: Namespace) -> dict[str, Any]:
    found: dict[str, Any] = here.get(naming.SERVER_KIND, SERVER).get("status", {})
    return found


def allocations(here: Namespace) -> dict[str, int]:
    return {each["pool"].partition("/")[2]: each["connections"] for each in shared(here).get("allocations", ())}


def resting(here: Namespace, budget: int) -> bool:
    """Whether all of the budget is given, and nothing of it is on its way."""
    entries = shared(here).get("allocations", ())
    given = sum(each["connections"] for each in entries)
    return given == budget and all(each["high"] == each["connections"] for each in entries)


def rebudget(here: Namespace, budget: int) -> None:
    patch = json.dumps({"spec": {"connections": {"max": budget}}})
    here.kubectl("patch", naming.SERVER_KIND, SERVER, "--type=merge", "--patch", patch)


@pytest.fixture(scope="module")
def ready(here: Namespace) -> Iterator[Namespace]:
    servers.restart(here, max_connections=100)
    # The role's limit is the fence: a connection above the budget would fail, and the load would say so.
    server.sql(here, f"ALTER ROLE shop CONNECTION LIMIT {BUDGET}")
    spec = {"host": "postgres", "connections": {"max": BUDGET}}
    body = {"apiVersion": naming.API_VERSION, "kind": naming.SERVER_KIND, "metadata": {"name": SERVER}, "spec": spec}
    here.apply(json.dumps(body))
    for name in POOLS:
        here.apply(member(name, max=BUDGET // len(POOLS)))
    here.wait_ready(*POOLS)
    yield here
    here.delete(*POOLS)


def test_no_turmoil_brings_the_pools_of_a_server_above_its_budget(ready: Namespace, say: Callable[[str], None]) -> None:
    counted = traffic.census(ready.site, ready.name)
    try:
        with ExitStack() as stack:
            loads = [
                stack.enter_context(programs.load(ready, f"{name}-connection", *LOAD, name=f"load-{name}"))
                for name in POOLS
            ]
            for _ in range(ROUNDS):
                turmoil(ready)
            accounts = [programs.settled(each) for each in loads]
    finally:
        counted.stop()
    failed = sum(each["failed"] + each["refused"] for each in accounts)
    committed = sum(each["committed"] for each in accounts)
    say(
        f"3 pools, budget {BUDGET}, {ROUNDS} rounds of scaling, other budgets and kills: {failed} of {committed} "
        f"transactions failed; PostgreSQL counted at most {counted.peak} in {len(counted.counts)} counts"
    )
    assert failed == 0, [each["errors"] for each in accounts]
    assert len(counted.counts) > 100
    assert 0 < counted.peak <= BUDGET
    assert committed > 1000


def turmoil(here: Namespace) -> None:
    """More and fewer pods, a smaller and a greater budget, a dead agent and a dead operator, and rest after each."""
    for replicas in (4, 2):
        here.kubectl("scale", "connectionpool", POOLS[0], f"--replicas={replicas}")
        here.wait(lambda replicas=replicas: len(here.pods(POOLS[0])) == replicas, f"{replicas} pods")
        here.wait_ready(*POOLS)
    rebudget(here, LESS)
    here.wait(lambda: resting(here, LESS), f"{LESS} shared out, and no more held")
    assert operators.kill_process([pod["metadata"]["uid"] for pod in here.pods(POOLS[1])], WORKER)
    rebudget(here, BUDGET)
    leader = operators.wait_leader(here.site)
    operators.kill(here.site, leader)
    operators.forget_lease(here.site)
    operators.wait_leader(here.site)
    here.wait(lambda: resting(here, BUDGET), f"{BUDGET} shared out")
    here.wait_ready(*POOLS)


def test_connections_are_handed_over_promptly(ready: Namespace, say: Callable[[str], None]) -> None:
    seconds = []
    for giver, taker in ((0, 1), (1, 0)) * max(1, ROUNDS):
        ready.patch(POOLS[giver], serverConnections={"max": 10})
        ready.patch(POOLS[taker], serverConnections={"max": 30})
        begun = time.monotonic()

        def handed(giver: int = giver, taker: int = taker) -> bool:
            given = allocations(ready)
            return (given[POOLS[giver]], given[POOLS[taker]]) == (10, 30)

        ready.wait(handed, "20 connections go from one pool to another")
        seconds.append(time.monotonic() - begun)
        ready.wait_ready(*POOLS)
    median, most = programs.median(seconds), programs.percentile(seconds, 0.95)
    say(f"20 connections from pool to pool, until the server's status says so: p50 {median:.1f} s, p95 {most:.1f} s")
    assert len(seconds) == 2 * max(1, ROUNDS)


def test_a_pool_that_names_the_servers_host_itself_is_refused(ready: Namespace) -> None:
    ready.apply(pool("sly", 5))
    ready.wait_condition("sly", "Stalled", "True", "ServerIsBudgeted")
    assert not ready.pods("sly")
    ready.delete("sly")
