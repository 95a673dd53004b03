"""Only workloads that pools ask for are kept, and nothing of those is missed."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from tests.simulated.apiserver import faults
from tests.simulated.apiserver.faults import Fault
from tests.simulated.apiserver.records import Object
from tests.simulated.kube.clusters import Pair, pair, pool
from tests.simulated.test_sizing import deployment, stateful_set

from pgbouncer_operator.kube.resources import CONNECTION_POOLS, DEPLOYMENTS, STATEFUL_SETS, Resource
from pgbouncer_operator.reconcile.cache import workload_store
from pgbouncer_operator.reconcile.cache.cluster import ClusterCache, project
from pgbouncer_operator.reconcile.cache.views import PoolView
from pgbouncer_operator.reconcile.cache.workloads import ClientReplicas

WEB: Object = {"name": "web"}
LABELLED: Object = {"selector": {"matchLabels": {"app": "web"}}}


@pytest.fixture
async def cluster(tmp_path: Path) -> AsyncIterator[Pair]:
    async with pair(tmp_path, chunk=7) as made:
        for number in range(30):
            made.api.create(deployment(f"other-{number}"))
        yield made


def view_of(cluster: Pair, *workloads: Object, name: str = "shop") -> PoolView:
    view = project(CONNECTION_POOLS, cluster.api.create(pool(name, clients={"workloads": list(workloads)})))
    assert isinstance(view, PoolView)
    return view


def news(resource: Resource, body: Object) -> workload_store.View:
    return workload_store.project(resource, body)


def clients(world: ClusterCache, view: PoolView) -> int | None:
    found: ClientReplicas | None = world.clients.replicas(view.namespace, view.clients)
    return None if found is None else found.desired


def kept(world: ClusterCache) -> int:
    return sum(len(store) for store in world.clients.stores.values())


async def test_thousands_of_workloads_of_others_cost_no_memory(cluster: Pair) -> None:
    world = ClusterCache()
    cluster.api.create(deployment(replicas=5))
    view = view_of(cluster, WEB)
    await world.sync(cluster.kube, ())
    assert (clients(world, view), kept(world)) == (5, 1)
    other = news(DEPLOYMENTS, cluster.api.get(DEPLOYMENTS, "default", "other-3"))
    assert not world.put(other)
    assert not world.remove(other)
    assert kept(world) == 1


async def test_while_no_pool_asks_nothing_is_listed_and_nothing_watched(cluster: Pair) -> None:
    world = ClusterCache()
    cluster.api.create(pool())
    await world.sync(cluster.kube, ())
    assert not [call for call in cluster.calls if call.plural in {"statefulsets", "horizontalpodautoscalers"}]
    assert world.clients.watched == ()


async def test_a_pool_that_comes_later_finds_its_clients_and_their_kinds_are_watched(cluster: Pair) -> None:
    world = ClusterCache()
    await world.sync(cluster.kube, ())
    event = news(DEPLOYMENTS, cluster.api.create(deployment(replicas=5)))
    assert not world.put(event), "nobody refers to it yet"
    view = view_of(cluster, WEB)
    world.put(view)
    assert clients(world, view) is None, "not looked at is not none"
    await world.clients.follow(cluster.kube, view.namespace, view.clients)
    assert clients(world, view) == 5
    assert [each.kind for each in world.clients.watched] == ["Deployment", "HorizontalPodAutoscaler"]
    assert world.clients.changed.is_set()
    assert world.concerned(event) == (("default", "shop"),)
    before = len(cluster.calls)
    await world.clients.follow(cluster.kube, view.namespace, view.clients)
    assert len(cluster.calls) == before, "once is enough"


async def test_news_change_the_count_and_news_of_nothing_wake_nobody(cluster: Pair) -> None:
    world = ClusterCache()
    cluster.api.create(deployment(replicas=5))
    view = view_of(cluster, WEB, {"kind": "StatefulSet", "name": "db"})
    await world.sync(cluster.kube, ())
    key = ("default", "web")
    ready = cluster.api.edit(DEPLOYMENTS, key, lambda body: body.update(status={"readyReplicas": 5}), "status")
    assert not world.put(news(DEPLOYMENTS, ready))
    assert world.put(
        news(DEPLOYMENTS, cluster.api.edit(DEPLOYMENTS, key, lambda body: body["spec"].update(replicas=9)))
    )
    assert clients(world, view) == 9
    assert world.put(news(STATEFUL_SETS, cluster.api.create(stateful_set("db", 2))))
    assert clients(world, view) == 11
    assert world.remove(news(DEPLOYMENTS, cluster.api.get(DEPLOYMENTS, *key)))
    assert clients(world, view) == 2


async def test_labels_that_change_take_a_workload_away_and_bring_it_back(cluster: Pair) -> None:
    world = ClusterCache()
    cluster.api.create(deployment(replicas=5))
    view = view_of(cluster, LABELLED)
    await world.sync(cluster.kube, ())
    for labels, expected in (({"app": "other"}, 0), ({"app": "web", "more": "of it"}, 5)):
        changed = cluster.api.edit(
            DEPLOYMENTS, ("default", "web"), lambda body, given=labels: body["metadata"].update(labels=given)
        )
        assert world.put(news(DEPLOYMENTS, changed))
        assert clients(world, view) == expected
        await world.sync(cluster.kube, ())
        assert clients(world, view) == expected


async def test_what_nobody_asks_for_any_more_is_forgotten_and_found_again(cluster: Pair) -> None:
    world = ClusterCache()
    cluster.api.create(deployment(replicas=5))
    view_of(cluster, WEB)
    await world.sync(cluster.kube, ())
    cluster.api.delete(CONNECTION_POOLS, ("default", "shop"))
    await world.sync(cluster.kube, ())
    assert (kept(world), world.clients.watched) == (0, ())
    again = view_of(cluster, WEB, name="again")
    world.put(again)
    await world.clients.follow(cluster.kube, again.namespace, again.clients)
    assert clients(world, again) == 5


async def test_a_list_finds_what_watches_missed_and_names_the_pool(cluster: Pair) -> None:
    world = ClusterCache()
    cluster.api.create(deployment(replicas=5))
    view = view_of(cluster, WEB)
    await world.sync(cluster.kube, ())
    assert ("default", "shop") not in await world.sync(cluster.kube, ())
    cluster.api.delete(DEPLOYMENTS, ("default", "web"))
    assert await world.sync(cluster.kube, ()) == {("default", "shop")}
    assert clients(world, view) == 0


async def test_a_refused_list_is_unknown_and_what_needs_it_not_goes_on(cluster: Pair) -> None:
    world = ClusterCache()
    cluster.api.create(stateful_set("db", 3))
    cluster.api.create(deployment(replicas=5))
    by_name, by_labels = view_of(cluster, WEB), view_of(cluster, LABELLED, name="labelled")
    refusals = [
        cluster.api.faults.add(Fault(faults.Answer(403), verb="list", plural=plural, times=None))
        for plural in ("statefulsets", "horizontalpodautoscalers")
    ]
    await world.sync(cluster.kube, ())
    assert (clients(world, by_name), clients(world, by_labels)) == (5, None)
    assert [each.kind for each in world.clients.watched] == ["Deployment", "ReplicaSet"]
    for refusal in refusals:
        cluster.api.faults.remove(refusal)
    await world.sync(cluster.kube, ())
    assert (clients(world, by_name), clients(world, by_labels)) == (5, 5)


async def test_an_operator_that_was_told_to_leave_workloads_alone_does(cluster: Pair) -> None:
    world = ClusterCache()
    world.clients.enabled = False
    view = view_of(cluster, WEB)
    await world.sync(cluster.kube, ())
    before = len(cluster.calls)
    await world.clients.follow(cluster.kube, view.namespace, view.clients)
    assert (clients(world, view), len(cluster.calls)) == (None, before)


async def test_what_is_being_listed_is_not_known_before_all_of_it_is(cluster: Pair) -> None:
    """A pool that comes while everything is listed must not be sized by a part of its clients."""
    world = ClusterCache()
    cluster.api.create(deployment(replicas=5))
    cluster.api.create(stateful_set("db", 3))
    first = view_of(cluster, WEB)
    await world.sync(cluster.kube, ())
    later = view_of(cluster, WEB, {"kind": "StatefulSet", "name": "db"}, name="later")
    cluster.api.faults.add(Fault(faults.Slow(0.2), verb="list", plural="statefulsets", times=1))
    following_it = asyncio.create_task(world.clients.follow(cluster.kube, later.namespace, later.clients))
    await asyncio.sleep(0)
    await world.clients.sync(cluster.kube, (), {first.namespace: frozenset(first.clients)})
    assert clients(world, later) in {None, 8}
    await following_it
    assert clients(world, later) in {None, 8}
    await world.clients.follow(cluster.kube, later.namespace, later.clients)
    assert (clients(world, first), clients(world, later)) == (5, 8)


async def test_a_refusal_in_one_namespace_does_not_empty_another(cluster: Pair) -> None:
    world = ClusterCache()
    cluster.api.create(deployment(replicas=5))
    view = view_of(cluster, WEB)
    await world.sync(cluster.kube, ("default", "bank"))
    assert clients(world, view) == 5
    refusal = cluster.api.faults.add(Fault(faults.Answer(403), verb="list", plural="deployments", times=1))
    asked = {view.namespace: frozenset(view.clients)}
    await world.clients.sync(cluster.kube, ("bank", "default"), asked)
    assert clients(world, view) == 5, "bank is not ours to see"
    cluster.api.faults.remove(refusal)
    assert [each.kind for each in world.clients.watched] == ["HorizontalPodAutoscaler"]
    await world.clients.sync(cluster.kube, ("bank", "default"), asked)
    assert [each.kind for each in world.clients.watched] == ["Deployment", "HorizontalPodAutoscaler"]
