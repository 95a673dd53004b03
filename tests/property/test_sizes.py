"""Sizes that follow clients: pods hold no more than some size that was allowed, and come to rest at the last."""

from random import Random

import pytest
from tests.campaign import length
from tests.property.cluster_model import Cluster
from tests.property.test_plan import condition, decided, happen, pool, settle

from pgbouncer_operator.reconcile.budget.size import pool_size
from pgbouncer_operator.reconcile.cache.workloads import ClientReplicas

RUNS = length("PGBOUNCER_TEST_PLANS", short=15, full=40)
MOST, EACH = 20, 2
MOVES = (
    ["look"] * 5
    + ["follow"] * 5
    + ["control"] * 4
    + ["crash", "silent", "evict", "force", "scale", "unknown"]
    + ["resize"] * 3
)


def following() -> Cluster:
    body = pool()
    body["spec"]["serverConnections"] = {"max": MOST, "sizing": {"mode": "Workloads", "perClientReplica": EACH}}
    body["spec"]["clients"] = {"workloads": [{"name": "web"}]}
    return Cluster(body, clients=clients(4))


def clients(replicas: int) -> ClientReplicas:
    return ClientReplicas(replicas, replicas, replicas, 1)


def size(cluster: Cluster) -> int:
    """What the pool is to hold now."""
    return pool_size(cluster.look()).size


def rest(cluster: Cluster) -> None:
    """Everybody does their part, and what is told waits for nothing any more."""
    settle(cluster)
    cluster.now += 100.0
    cluster.perform(decided(cluster.look()))


def move(cluster: Cluster, random: Random) -> None:
    match random.choice(MOVES):
        case "resize":
            cluster.clients = clients(random.choice([0, 1, 3, 4, 5, 8, 10, 40]))
        case "unknown":
            cluster.clients = None
        case "scale":
            cluster.pool["spec"]["replicas"] = random.choice([1, 2, 3, 4])
            cluster.pool["metadata"]["generation"] += 1
        case other:
            happen(other, cluster, random)


@pytest.mark.parametrize("part", range(2))
def test_whatever_clients_do_no_more_is_held_than_was_ever_allowed(part: int) -> None:
    for seed in range(part * RUNS, (part + 1) * RUNS):
        random, cluster = Random(seed), following()
        rest(cluster)
        allowed = [size(cluster)]
        for _ in range(random.randint(5, 60)):
            move(cluster, random)
            allowed.append(size(cluster))
            assert cluster.held() <= max(allowed), f"seed {seed}: {cluster.held()} held of {max(allowed)}"
        cluster.clients = clients(random.choice([1, 4, 7, 30]))
        rest(cluster)
        pods = cluster.pool["spec"].get("replicas", 2)
        assert size(cluster) == max(pods + 1, min(MOST, EACH * cluster.clients.desired)), f"seed {seed}"
        assert cluster.held() <= size(cluster), f"seed {seed}: {cluster.held()} held of {size(cluster)}"
        assert condition(cluster, "Ready")["status"] == "True", f"seed {seed}: {cluster.pool['status']}"
        assert decided(cluster.look()).steps == (), f"seed {seed}: it does not rest"


def test_what_is_not_known_any_more_changes_no_pod() -> None:
    cluster = following()
    rest(cluster)
    held, told = cluster.held(), size(cluster)
    cluster.clients = None
    rest(cluster)
    assert (cluster.held(), size(cluster)) == (held, told)
