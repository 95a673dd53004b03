"""A node is drained while no operator runs: its pods move, clients notice nothing, and the way back is a short one."""

import json
from collections.abc import Callable, Iterator

import pytest
from tests.cluster import nodes, operators, programs
from tests.cluster.pools import Namespace, Object, pool
from tests.localcluster import traffic
from tests.localcluster.waiting import until

POOL, ALONE = "drained", "alone"
PODS, MOVED, MOST = 3, 2, 12
STATIC = MOST // (PODS + 1)
DRAIN = {"timeoutSeconds": 10, "transactionSeconds": 10}
LOAD = ("--clients", "12", "--reconnecting", "4", "--lifetime", "4", "--think", "0.05")
FIRST = nodes.FIRST


@pytest.fixture(scope="module")
def node(here: Namespace) -> Iterator[str]:
    """A second node. What ran before it was there, PostgreSQL and the operator, is on the first."""
    with nodes.another(here) as name:
        yield name


@pytest.fixture
def counted(here: Namespace) -> Iterator[traffic.Census]:
    found = traffic.census(here.site, here.name)
    yield found
    found.stop()


def on(here: Namespace, node: str, name: str) -> set[str]:
    """The uids of the pool's pods on that node that are not terminating."""
    return {pod["metadata"]["uid"] for pod in here.pods(name) if pod["spec"].get("nodeName") == node}


def remaining(here: Namespace, node: str) -> list[Object]:
    """This namespace's pods on that node, terminating ones too."""
    return [pod for pod in here.all("pods") if pod["spec"].get("nodeName") == node]


def cap(here: Namespace, pod: Object) -> int:
    """The server connections that the pod may hold, as its agent says."""
    return int(json.loads(here.state(pod))["cap"])


def test_a_drained_nodes_pods_move_without_an_operator_and_no_transaction_fails(
    here: Namespace, node: str, counted: traffic.Census, say: Callable[[str], None]
) -> None:
    nodes.only(here, FIRST)
    here.apply(pool(POOL, MOST, replicas=1, drain=DRAIN))
    here.wait_ready(POOL)
    with programs.load(here, f"{POOL}-connection", *LOAD) as running:
        nodes.only(here, node)
        here.patch(POOL, replicas=PODS)
        here.wait_ready(POOL)
        nodes.only(here, FIRST, node)
        before = {pod["metadata"]["uid"] for pod in here.pods(POOL)}
        moved = on(here, node, POOL)
        assert (len(before), len(moved)) == (PODS, MOVED)
        serving: list[int] = []
        with operators.absent(here.site):
            nodes.ended(nodes.drain(here, node), lambda: serving.append(here.serving(POOL)))
            here.wait(lambda: here.serving(POOL) == PODS, "pods in the place of those evicted")
            newborn = {pod["metadata"]["uid"]: pod for pod in here.pods(POOL)}
            shares = sorted(cap(here, pod) for uid, pod in newborn.items() if uid not in before)
            left, staying = remaining(here, node), set(newborn) & before
            during, moment = counted.peak, len(counted.counts)
            until(lambda: "" if len(counted.counts) > moment + 20 else "more counts", 60)
        here.wait_ready(POOL)
        account, rows = programs.finish(here, running)
    settled = max(counted.counts[moment:])
    say(
        f"{MOVED} of {PODS} pods evicted by a drain without an operator: at least {min(serving)} serving, newborn ones "
        f"began with {shares} of {MOST}; {account['failed'] + account['refused']} of {account['committed']} "
        f"transactions failed; PostgreSQL counted at most {during}, and {settled} later"
    )
    assert left == []
    assert staying == before - moved
    assert shares == [STATIC] * MOVED
    assert min(serving) >= PODS - 1
    # Draining pods may hold what they had beside the shares of their successors. Later the budget holds again.
    assert during <= MOST + STATIC * MOVED
    assert settled <= MOST
    assert not programs.trouble(account, rows)
    here.delete(POOL)


def test_the_only_pod_of_a_pool_does_not_block_a_drain(here: Namespace, node: str) -> None:
    nodes.only(here, node)
    here.apply(pool(ALONE, MOST, replicas=1, drain=DRAIN))
    here.wait_ready(ALONE)
    (only_pod,) = on(here, node, ALONE)
    nodes.only(here, FIRST, node)

    with operators.absent(here.site):
        nodes.ended(nodes.drain(here, node))
        here.wait(lambda: here.serving(ALONE) == 1, "a pod in the place of the only one")

    assert remaining(here, node) == []
    assert on(here, FIRST, ALONE) != set()
    assert only_pod not in on(here, FIRST, ALONE)
    here.wait_ready(ALONE)
    here.delete(ALONE)
