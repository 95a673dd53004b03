"""Pods that are deleted by force, or lose their label: what they may hold is given to nobody else, and then it is."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from random import Random

import pytest
from tests.campaign import length
from tests.property.cluster_model import Cluster
from tests.property.test_plan import decided, happen, pool, settle

from pgbouncer_operator.pgbouncer.session import OUTLIVES
from pgbouncer_operator.sizing import ledger

RUNS, MOST = length("PGBOUNCER_TEST_PLANS", short=15, full=40), 20
MOVES = ["look"] * 6 + ["follow"] * 6 + ["control"] * 4 + ["crash", "force", "evict", "leave"]


def move(cluster: Cluster, random: Random, moves: Sequence[str] = MOVES) -> None:
    """Something happens, and little time passes."""
    chosen, now = random.choice(moves), cluster.now
    if chosen == "leave":
        cluster.leave()
    elif chosen == "relabel" and cluster.pods:
        cluster.relabel(random.randrange(8))
    else:
        happen(chosen, cluster, random)
    cluster.now = now + random.choice([0.1, 0.5, 2.0])


def turmoil(seed: int) -> Cluster:
    """A pool at rest, one pod of it deleted by force, and then anything."""
    random, cluster = Random(seed), Cluster(pool())
    cluster.pool["spec"] |= {"replicas": 3, "serverConnections": {"max": MOST}}
    settle(cluster)
    cluster.vanish(random.randrange(3))
    for _ in range(60):
        move(cluster, random)
        assert cluster.held() <= MOST, f"seed {seed}: {cluster.held()} held of {MOST}"
    return cluster


def test_pods_deleted_by_force_bring_no_pool_above_its_budget_and_in_the_end_cost_nothing() -> None:
    for seed in range(RUNS):
        cluster = turmoil(seed)
        settle(cluster)
        assert sum(pod.cap for pod in cluster.pods) == MOST, f"seed {seed}"
        assert cluster.relief() is None


def relabelled(seed: int) -> Cluster:
    """A pool at rest, one pod of it loses its label, and then anything. Nobody can have deleted the ledger."""
    random, cluster = Random(seed), Cluster(pool())
    cluster.pool["spec"] |= {"replicas": random.choice([1, 3]), "serverConnections": {"max": MOST}}
    settle(cluster)
    cluster.relabel(random.randrange(3))
    for _ in range(60):
        move(cluster, random, [*MOVES, "relabel"])
        assert cluster.held() <= MOST, f"seed {seed}: {cluster.held()} held of {MOST}"
    return cluster


def test_pods_that_lose_their_label_bring_no_pool_above_its_budget_and_keep_the_floor_in_the_end() -> None:
    kept = 0
    for seed in range(RUNS):
        cluster = relabelled(seed)
        settle(cluster)
        unlabelled = [pod.cap for pod in cluster.pods if not pod.labelled]
        assert set(unlabelled) <= {0, 1}, f"seed {seed}"  # 0: it has waited for its first grant
        assert sum(pod.cap for pod in cluster.pods) == MOST, f"seed {seed}"
        kept += len(unlabelled)
    assert kept


def test_a_successor_serves_before_the_sessions_of_the_lost_pod_are_over() -> None:
    cluster = Cluster(pool())
    settle(cluster)
    cluster.vanish(0)
    begun = cluster.now
    while not all(pod.ready for pod in cluster.pods) or len(cluster.pods) < 2:
        cluster.perform(decided(cluster.look()))
        cluster.control()
        for place in range(len(cluster.pods)):
            cluster.follow(place)
        cluster.now += 0.2
        assert cluster.now - begun < OUTLIVES, "the successor waits"
    assert (sorted(pod.cap for pod in cluster.pods), cluster.held()) == ([5, 5], MOST)


def at_once(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(ledger, "_lost", lambda *_: [])


def too_early(patch: pytest.MonkeyPatch) -> None:
    honest = ledger._lost
    patch.setattr(ledger, "_lost", lambda *now: honest(*now[:2], replace(now[2], outlives=5, lasting=frozenset())))


@pytest.mark.parametrize("plant", [at_once, too_early])
def test_these_walks_notice_a_ledger_that_drops_them(
    plant: Callable[[pytest.MonkeyPatch], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    plant(monkeypatch)
    with pytest.raises(AssertionError, match=f"held of {MOST}"):
        all(map(turmoil, range(RUNS)))
