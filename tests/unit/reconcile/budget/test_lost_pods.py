"""Which looks lead to tombstones, and which pods are known to have ended."""

from dataclasses import replace
from typing import Any, cast

from tests.unit.reconcile.looks import condition, decide, healthy, pod, pool, settled

from pgbouncer_operator import naming
from pgbouncer_operator.api.conditions import ConditionType
from pgbouncer_operator.kube import resources
from pgbouncer_operator.kube.client import Kube
from pgbouncer_operator.pgbouncer.session import OUTLIVES
from pgbouncer_operator.protocol.grants import Grants
from pgbouncer_operator.reconcile.cache import projections, views
from pgbouncer_operator.reconcile.cache.cluster import ClusterCache, project
from pgbouncer_operator.reconcile.memory import Memory
from pgbouncer_operator.reconcile.observed import Observed
from pgbouncer_operator.reconcile.pool.agents import Agents
from pgbouncer_operator.reconcile.pool.observe import Observer
from pgbouncer_operator.reconcile.server.limits_poller import LimitsPoller
from pgbouncer_operator.reconcile.server.reconcile import ServerReconciler
from pgbouncer_operator.reconcile.steps import Plan

POOL = ("web", "shop")


def without(observed: Observed, uid: str, **changes: Any) -> Observed:
    """The same look, but that pod's object is gone."""
    pods = tuple(each for each in observed.pods if each.uid != uid)
    states = {each: state for each, state in observed.states.items() if each != uid}
    return replace(observed, pods=pods, states=states, **changes)


def ledger(found: Plan) -> Grants:
    name = naming.grants_config_map("shop")
    return next(Grants.from_json(each.body["data"][naming.GRANTS_KEY]) for each in found.steps if each.key[1] == name)


def test_a_pod_that_was_seen_to_end_is_dropped_and_one_that_was_not_is_kept() -> None:
    assert "b" not in ledger(decide(without(healthy(), "b", ended=frozenset({"b"})))).pods
    observed = healthy()
    assert ledger(decide(without(observed, "b"))).pods["b"].gone == observed.unix


def test_there_is_another_look_when_the_tombstone_is_due_and_the_pool_does_not_rest_before() -> None:
    observed = settled(without(healthy(replicas=1), "b"))
    found = decide(observed)
    assert not found.at_rest
    assert found.requeue_after is not None
    assert found.requeue_after <= OUTLIVES + 1


def test_a_pod_of_a_lost_node_is_charged_although_it_is_said_to_have_failed() -> None:
    observed = healthy()
    lost = replace(pod("b", observed.pods[1].config), finished=True, ready=False)
    kept = ledger(decide(replace(observed, pods=(observed.pods[0], lost), states={**observed.states, "b": None}))).pods
    assert (kept["b"].high, kept["b"].gone) == (10, 0)
    ended = replace(lost, ended=True)
    assert (
        "b"
        not in ledger(
            decide(replace(observed, pods=(observed.pods[0], ended), states={**observed.states, "b": None}))
        ).pods
    )


def test_a_pool_that_lacks_pods_says_what_is_kept() -> None:
    told = condition(without(settled(healthy()), "b"), ConditionType.READY)[2]
    assert told == (
        "1 of 2 pods are ready. Server connections reserved for pods that disappeared: 10, "
        f"for up to {OUTLIVES} s, because PostgreSQL may still count their sessions."
    )


def body(uid: str, node: str = "one", **state: Any) -> dict[str, Any]:
    metadata = {"namespace": "web", "name": uid, "uid": uid, "resourceVersion": "7"}
    metadata["labels"] = {naming.LABEL_POOL: "shop"}  # type: ignore[assignment]
    containers = [{"name": "pgbouncer", "state": state}]
    phase = "Failed" if "terminated" in state else "Running"
    return {
        "metadata": metadata,
        "spec": {"nodeName": node},
        "status": {"phase": phase, "containerStatuses": containers},
    }


def test_the_last_news_of_a_pod_tell_whether_it_has_ended() -> None:
    world = ClusterCache()
    for each in (body("ended", terminated={}), body("runs", running={}), body("unplaced", node="", waiting={})):
        view = project(resources.PODS, each)
        world.put(view)
        world.remove(view)
    assert world.ended_of(POOL, {"ended", "runs", "unplaced"}) == {"ended", "unplaced"}


def test_what_the_ledger_knows_no_more_is_forgotten() -> None:
    world = ClusterCache()
    world.remove(project(resources.PODS, body("ended", terminated={})))
    assert world.ended_of(POOL, {"another"}) == frozenset()
    assert not world.ended


class Asking:
    """Asks pods that are gone by the time when they have answered."""

    def __init__(self, world: ClusterCache) -> None:
        self.world = world

    async def ask(self, pods: list[views.PodView]) -> dict[str, None]:
        for each in pods:
            self.world.remove(project(resources.PODS, body(each.uid, terminated={})))
        return {each.uid: None for each in pods}


async def test_a_pod_that_ends_in_the_first_look_at_it_gets_no_entry_that_nobody_could_explain() -> None:
    world = ClusterCache()
    world.slices.allowed = False
    world.put(projections.pool(pool()))
    world.put(project(resources.PODS, body("newborn", running={})))
    observer = Observer(
        cast(Kube, None), cast(Agents, Asking(world)), world, lambda: 1.0, lambda: "2026-01-01T00:00:00Z", False
    )
    observed = await observer.look(POOL, Memory())
    assert observed is not None
    assert ([each.uid for each in observed.pods], observed.ended) == (["newborn"], {"newborn"})
    assert all(each.key[1] != naming.grants_config_map("shop") for each in decide(observed).steps)
    await observer.look(POOL, Memory())
    assert not world.ended


def test_a_server_remembers_each_lost_pod_for_as_long_as_the_first() -> None:
    now, world = [0.0], ClusterCache()
    servers = ServerReconciler(cast(Kube, None), world, lambda: now[0], lambda: "", cast(LimitsPoller, None))
    assert not servers._remembered(POOL)
    world.lost[POOL] = 1
    assert servers._remembered(POOL)
    now[0], world.lost[POOL] = OUTLIVES - 1.0, 2
    assert servers._remembered(POOL)
    now[0] += OUTLIVES
    assert servers._remembered(POOL)
    now[0] += 0.1
    assert not servers._remembered(POOL)
    assert (world.lost, servers._lost) == ({}, {})
