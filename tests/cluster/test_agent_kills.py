"""The agent dies again and again, during load and changes: no client sees it, every endpoint stays, changes arrive."""

import os
import random
import signal
import threading
import time
from collections.abc import Callable, Iterator

import pytest
from tests.campaign import length
from tests.cluster import operators, programs
from tests.cluster.pools import Namespace, pool
from tests.localcluster import traffic
from tests.localcluster.problem import Problem
from tests.localcluster.waiting import let_pass

POOL = "killed"
PODS, MOST = 2, 10
KILLS = length("PGBOUNCER_TEST_AGENT_KILLS", short=6, full=100)
CONTAINERS = max(3, KILLS // 20)
LOAD = ("--clients", "24", "--reconnecting", "8", "--lifetime", "3", "--think", "0.03")
WORKER = "pgbouncer_operator.agent.worker"


@pytest.fixture(scope="module")
def ready(here: Namespace) -> Namespace:
    here.apply(pool(POOL, MOST, replicas=PODS))
    here.wait_ready(POOL)
    if not agents(here, WORKER):
        pytest.skip("the node is not this machine, so its processes cannot be killed")
    return here


def agents(here: Namespace, module: str) -> list[operators.Process]:
    """Processes of the pool's pods that run this module: the agent's worker, or the first process of its container."""
    found = operators.processes(pod["metadata"]["uid"] for pod in here.pods(POOL))
    return [each for each in found if module in each.command]


class Endpoints(threading.Thread):
    """Looks all the time how many pods the Service has."""

    def __init__(self, here: Namespace) -> None:
        super().__init__(daemon=True)
        self.here = here
        self.seen: list[int] = []
        self.over = threading.Event()

    def run(self) -> None:
        while not self.over.wait(0.1):
            try:
                self.seen.append(self.here.serving(POOL))
            except Problem:
                continue  # kubectl itself, on a busy machine


@pytest.fixture
def endpoints(ready: Namespace) -> Iterator[Endpoints]:
    watched = Endpoints(ready)
    watched.start()
    yield watched
    watched.over.set()
    watched.join()


def test_an_agent_that_dies_at_any_moment_is_seen_by_no_client_and_loses_no_change(
    ready: Namespace, endpoints: Endpoints, say: Callable[[str], None]
) -> None:
    chance, counted, began = random.Random(2), traffic.census(ready.site, ready.name), time.monotonic()
    number = killed = 0
    try:
        with programs.load(ready, f"{POOL}-connection", *LOAD) as running:
            while killed < KILLS:
                number += 1
                ready.patch(
                    POOL, timeouts={"queryWaitSeconds": 31 + number % 20}, serverConnections={"max": MOST - number % 3}
                )
                let_pass(chance.uniform(0, 1))  # the moment is the point
                killed += kill(chance.choice(agents(ready, WORKER) or [None]))  # none while both come back
            ready.wait_ready(POOL)
            account, rows = programs.finish(ready, running)
    finally:
        counted.stop()
    say(
        f"{killed} workers killed in {time.monotonic() - began:.0f} s under load and {number} changes: "
        f"{account['failed'] + account['refused']} of {account['committed']} transactions failed; "
        f"endpoints {min(endpoints.seen)} to {max(endpoints.seen)}; PostgreSQL counted at most {counted.peak} of {MOST}"
    )
    assert min(endpoints.seen) == PODS
    assert counted.peak <= MOST
    assert not programs.trouble(account, rows)
    assert restarts(ready) == 0


def test_an_agents_container_that_dies_comes_back_and_no_client_sees_it(
    ready: Namespace, endpoints: Endpoints, say: Callable[[str], None]
) -> None:
    began = time.monotonic()
    with programs.load(ready, f"{POOL}-connection", *LOAD) as running:
        for number in range(CONTAINERS):
            # Each kill hits the pod whose agent died less often: kubelet waits ever longer with the next start.
            victims = agents(ready, "agent")
            kill(victims[number % len(victims)])
            ready.patch(POOL, timeouts={"queryWaitSeconds": 61 + number})
            ready.wait(lambda number=number: restarts(ready) == number + 1, f"restart {number + 1}", 400)
            ready.wait_ready(POOL)
        account, rows = programs.finish(ready, running)
    say(
        f"{CONTAINERS} agent containers killed in {time.monotonic() - began:.0f} s: "
        f"{account['failed'] + account['refused']} of {account['committed']} transactions failed; "
        f"endpoints {min(endpoints.seen)} to {max(endpoints.seen)}"
    )
    assert min(endpoints.seen) >= 1
    assert not programs.trouble(account, rows)


def kill(victim: operators.Process | None) -> bool:
    if victim is None:
        return False
    try:
        os.kill(victim.pid, signal.SIGKILL)
    except ProcessLookupError:
        return False
    return True


def restarts(here: Namespace) -> int:
    return sum(here.lives(POOL).values())
