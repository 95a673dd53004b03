"""Only slices of Services that pools refer to are kept, and nothing of those is missed."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from tests.simulated.apiserver import faults
from tests.simulated.apiserver.faults import Fault
from tests.simulated.apiserver.records import Object
from tests.simulated.kube.clusters import Pair, pair, pool

from pgbouncer_operator import naming
from pgbouncer_operator.kube.resources import CONNECTION_POOLS, ENDPOINT_SLICES
from pgbouncer_operator.reconcile.cache.cluster import ClusterCache, project
from pgbouncer_operator.reconcile.cache.views import PoolView

POSTGRES = ("default", "postgres")


@pytest.fixture
async def cluster(tmp_path: Path) -> AsyncIterator[Pair]:
    async with pair(tmp_path, chunk=7) as made:
        for number in range(30):
            made.api.create(slice_of(f"other-{number}", "10.9.0.1"))
        yield made


def slice_of(service: str, address: str, namespace: str = "default") -> Object:
    metadata = {"namespace": namespace, "name": f"{service}-x", "labels": {naming.LABEL_SERVICE: service}}
    body: Object = {"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "metadata": metadata}
    return body | {"addressType": "IPv4", "endpoints": [{"addresses": [address]}], "ports": []}


def view_of(cluster: Pair, name: str = "shop", host: str = "postgres") -> PoolView:
    view = project(CONNECTION_POOLS, cluster.api.create(pool(name, backend={"host": host})))
    assert isinstance(view, PoolView)
    return view


async def test_thousands_of_services_of_others_cost_no_memory(cluster: Pair) -> None:
    world = ClusterCache()
    cluster.api.create(slice_of("postgres", "10.1.0.1"))
    view_of(cluster)
    await world.sync(cluster.kube, ())
    assert world.slices.ready(POSTGRES) == ("10.1.0.1",)
    other = project(ENDPOINT_SLICES, cluster.api.get(ENDPOINT_SLICES, "default", "other-3-x"))
    assert not world.put(other)
    assert not world.remove(other)
    assert world.concerned(other) == ()
    assert len(world.slices.store) == 1


async def test_a_pool_that_comes_later_finds_what_its_service_leads_to(cluster: Pair) -> None:
    world = ClusterCache()
    await world.sync(cluster.kube, ())
    news = project(ENDPOINT_SLICES, cluster.api.create(slice_of("postgres", "10.1.0.1")))
    assert not world.put(news), "nobody refers to it yet"
    world.put(view_of(cluster))
    assert world.slices.ready(POSTGRES) is None, "not looked at is not empty"
    await world.slices.follow(cluster.kube, POSTGRES)
    assert world.slices.ready(POSTGRES) == ("10.1.0.1",)
    assert world.concerned(news) == (("default", "shop"),)


async def test_what_changed_while_no_pool_referred_to_a_service_is_not_missed(cluster: Pair) -> None:
    world = ClusterCache()
    cluster.api.create(slice_of("postgres", "10.1.0.1"))
    view = view_of(cluster)
    await world.sync(cluster.kube, ())
    world.remove(view)
    cluster.api.delete(ENDPOINT_SLICES, ("default", "postgres-x"))
    other = slice_of("postgres", "10.1.0.2")
    other["metadata"]["name"] = "postgres-y"
    assert not world.put(project(ENDPOINT_SLICES, cluster.api.create(other)))
    world.put(view_of(cluster, "again"))
    await world.slices.follow(cluster.kube, POSTGRES)
    assert world.slices.ready(POSTGRES) == ("10.1.0.2",)


async def test_a_service_in_a_namespace_that_is_not_ours_is_unknown_and_never_asked_for(cluster: Pair) -> None:
    world = ClusterCache()
    view = view_of(cluster, host="postgres.bank.svc")
    await world.sync(cluster.kube, ("default",))
    before = len(cluster.calls)
    await world.slices.follow(cluster.kube, view.backend)
    assert (world.slices.ready(view.backend), len(cluster.calls)) == (None, before)


async def test_a_host_outside_the_cluster_costs_no_request(cluster: Pair) -> None:
    world = ClusterCache()
    view = view_of(cluster, host="pg.eu.example.com")
    await world.sync(cluster.kube, ())
    before = len(cluster.calls)
    await world.slices.follow(cluster.kube, view.backend)
    assert (world.slices.ready(view.backend), len(cluster.calls)) == (None, before)


async def test_a_right_that_is_taken_away_or_given_again_is_noticed_at_the_next_list(cluster: Pair) -> None:
    world = ClusterCache()
    cluster.api.create(slice_of("postgres", "10.1.0.1"))
    view_of(cluster)
    refusal = cluster.api.faults.add(Fault(faults.Answer(403), verb="list", plural="endpointslices", times=None))
    await world.sync(cluster.kube, ())
    assert (world.slices.allowed, world.slices.ready(POSTGRES)) == (False, None)
    cluster.api.faults.remove(refusal)
    touched = await world.sync(cluster.kube, ())
    assert (world.slices.allowed, world.slices.ready(POSTGRES)) == (True, ("10.1.0.1",))
    assert touched == {("default", "shop")}
