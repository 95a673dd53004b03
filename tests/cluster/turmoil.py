"""What happens to the pools of a server in a bad hour: clients come and go, pods move, and everything dies once."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from tests.cluster import budgets, nodes, operators, workloads
from tests.cluster.pools import Namespace
from tests.localcluster import traffic
from tests.localcluster.waiting import let_pass, until

WORKER = "pgbouncer_operator.agent.worker"
FEW_CLIENTS, MANY_CLIENTS = 2, 20
FEW_PODS, MANY_PODS = 2, 4
SILENT = 8.0  # seconds in which a pod cannot be reached
LONG = 240.0  # seconds: 20 pods start, or a pool's pods go one after the other, on a busy machine


@dataclass(frozen=True, slots=True)
class Scene:
    """pools: the first is scaled, the second rolled, the third follows the workload and falls silent.

    web: the workload's pods. node: a second one to drain, or none.
    """

    here: Namespace
    pools: tuple[str, str, str]
    workload: str
    budget: int
    less: int
    counted: traffic.Census
    web: workloads.Followed
    node: str | None = None


def everything(scene: Scene, number: int) -> None:
    """One round of all of it, with rest between."""
    here, (first, second, third) = scene.here, scene.pools
    clients(here, scene.workload, MANY_CLIENTS)
    pods(here, first, MANY_PODS)
    here.patch(second, drain={"timeoutSeconds": 20 + number % 2})  # its pods are replaced one after the other
    lead_ends(here)
    settled(here, *scene.pools)
    at_work(scene)
    here.wait(lambda: budgets.resting(here, scene.budget), f"{scene.budget} shared out for many clients")
    if scene.node is not None:
        drained(scene, scene.node)
        settled(here, *scene.pools)
        at_work(scene)
    with silent(here, third):
        # The third has to give back what the others want; what its silent pod may still hold, nobody must take.
        clients(here, scene.workload, FEW_CLIENTS)
        let_pass(SILENT)
    here.wait(lambda: budgets.resting(here, scene.budget), f"{scene.budget} shared out for few clients")
    budgets.rebudget(here, scene.less)
    lowered(scene)
    assert operators.kill_process(uids(here, second), WORKER)
    budgets.rebudget(here, scene.budget)
    lead_ends(here)
    here.wait(lambda: budgets.resting(here, scene.budget), f"{scene.budget} shared out")
    pods(here, first, FEW_PODS)
    settled(here, *scene.pools)
    here.wait(lambda: budgets.resting(here, scene.budget), f"{scene.budget} shared out for few pods")


def clients(here: Namespace, workload: str, replicas: int) -> None:
    """More or fewer client pods; nobody waits for them."""
    here.kubectl("scale", "deployment", workload, f"--replicas={replicas}")


def at_work(scene: Scene) -> None:
    """Until all of the many clients are."""
    scene.here.wait(lambda: scene.web.at_work(scene.here, scene.workload, MANY_CLIENTS), "all clients", LONG)


def pods(here: Namespace, pool: str, replicas: int) -> None:
    """More or fewer pods of a pool, until so many are there."""
    here.kubectl("scale", "connectionpool", pool, f"--replicas={replicas}")
    here.wait(lambda: len(here.pods(pool)) == replicas, f"{replicas} pods of {pool}", LONG)


def settled(here: Namespace, *pools: str) -> None:
    """Until every pool is Ready for the spec as it is now."""
    for pool in pools:
        here.wait_condition(pool, "Ready", "True", seconds=LONG)


def lead_ends(here: Namespace) -> None:
    """SIGKILL the operator that leads; until another does."""
    operators.kill(here.site, operators.wait_leader(here.site))
    operators.forget_lease(here.site)
    operators.wait_leader(here.site)


def drained(scene: Scene, node: str) -> None:
    """Drain the second node, where some of the pools' pods are, and let pods start there again."""
    there = [pod for pool in scene.pools for pod in scene.here.pods(pool) if pod["spec"].get("nodeName") == node]
    assert there, "no pod of a pool is on the node"
    nodes.ended(nodes.drain(scene.here, node))
    nodes.only(scene.here, nodes.FIRST, node)


@contextmanager
def silent(here: Namespace, pool: str) -> Iterator[None]:
    """One pod of the pool cannot be reached meanwhile: its agent answers nobody and reads nothing; clients go on."""
    victim = uids(here, pool)[:1]
    assert operators.signal_process(victim, WORKER, signal.SIGSTOP)
    try:
        yield
    finally:
        operators.signal_process(victim, WORKER, signal.SIGCONT)


def lowered(scene: Scene) -> None:
    """Until the smaller budget is shared out; from then on PostgreSQL counts no more than that."""
    scene.here.wait(lambda: budgets.resting(scene.here, scene.less), f"{scene.less} shared out, and no more held")
    there = len(scene.counted.counts)
    until(lambda: "" if len(scene.counted.counts) > there + 20 else "more counts", 60)
    assert max(scene.counted.counts[there:]) <= scene.less


def uids(here: Namespace, pool: str) -> list[str]:
    """Of the pool's pods that are not terminating."""
    return sorted(pod["metadata"]["uid"] for pod in here.pods(pool))
