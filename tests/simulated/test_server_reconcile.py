"""Single looks at a server: what comes of them when the API server fails, and what is remembered."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from tests.process.test_agent_backend import authority
from tests.simulated.apiserver import faults
from tests.simulated.apiserver.faults import Fault
from tests.simulated.apiserver.records import Object
from tests.simulated.kube.clusters import Pair, pair
from tests.simulated.test_postgres_server import member, server

from pgbouncer_operator.kube import errors
from pgbouncer_operator.kube.resources import CONNECTION_POOLS, POSTGRES_SERVERS
from pgbouncer_operator.reconcile.cache.cluster import ClusterCache
from pgbouncer_operator.reconcile.cache.keys import ServerKey
from pgbouncer_operator.reconcile.server.limits_poller import LimitsPoller
from pgbouncer_operator.reconcile.server.reconcile import ServerReconciler
from pgbouncer_operator.sizing.limits import ServerLimits

KEY = ServerKey("platform", "rds")
SHOP = ("default", "shop")


async def _nobody(*_: object) -> ServerLimits:
    raise AssertionError("no server has a login")


@dataclass
class Looking:
    """A cluster with one server and the pool `shop`, and what looks at the server."""

    cluster: Pair
    world: ClusterCache
    reconciler: ServerReconciler
    now: float = 0.0

    async def look(self) -> tuple[float | None, set[tuple[str, str]]]:
        return await self.reconciler.reconcile(KEY)


@pytest.fixture
async def looking(tmp_path: Path) -> AsyncIterator[Looking]:
    async with pair(tmp_path) as made:
        made.api.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "platform"}})
        made.api.create(server(20))
        made.api.create(member("shop"))
        world = ClusterCache()
        await world.sync(made.kube, ())
        readings = LimitsPoller(made.kube, lambda: 0.0, lambda _: None, _nobody)
        reconciler = ServerReconciler(made.kube, world, lambda: found.now, lambda: "2026-01-01T00:00:00Z", readings)
        found = Looking(made, world, reconciler)
        yield found


def status(looking: Looking) -> Object:
    found: Object = looking.cluster.api.get(POSTGRES_SERVERS, *KEY.plain).get("status") or {}
    return found


async def test_after_a_conflict_the_server_is_read_and_looked_at_again(looking: Looking) -> None:
    def edit(body: Any) -> None:
        body["spec"]["connections"]["max"] = 10

    looking.cluster.api.edit(POSTGRES_SERVERS, KEY.plain, edit)
    again, pools = await looking.look()
    assert again is not None
    assert pools == {SHOP}, "what they make of the server may be another"
    await looking.look()
    assert status(looking)["budget"] == 10


async def test_a_write_that_is_refused_as_it_is_counts_as_a_failure(looking: Looking) -> None:
    looking.cluster.api.faults.add(Fault(faults.Answer(409), "patch", "postgresservers", times=None))
    with pytest.raises(errors.Conflict, match="platform/rds"):
        await looking.look()


async def test_a_server_that_is_gone_at_the_write_is_left_alone(looking: Looking) -> None:
    looking.cluster.api.delete(POSTGRES_SERVERS, KEY.plain)
    looking.cluster.api.faults.add(Fault(faults.Answer(409), "patch", "postgresservers"))
    assert await looking.look() == (None, set())


async def test_a_pool_that_rests_is_read_once_for_many_looks_and_forgotten_when_it_goes(
    looking: Looking,
) -> None:
    await looking.look()
    await looking.look()
    before = looking.reconciler._demands[SHOP]
    for _ in range(3):
        await looking.look()
        looking.reconciler.contribution(SHOP)
    assert looking.reconciler._demands[SHOP] is before
    looking.cluster.api.delete(CONNECTION_POOLS, SHOP)
    await looking.world.sync(looking.cluster.kube, ())
    looking.reconciler.contribution(SHOP)
    assert not looking.reconciler._demands
    assert not looking.reconciler._supplies


async def test_news_of_a_ca_reach_the_pools_although_the_first_write_failed(looking: Looking) -> None:
    api = looking.cluster.api
    metadata = {"namespace": "platform", "name": "rds-ca"}
    api.create({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": {"ca.pem": authority()[2]}})

    def edit(body: Any) -> None:
        body["spec"]["tls"] = {"ca": {"configMapKeyRef": {"name": "rds-ca", "key": "ca.pem"}}}

    await looking.look()
    api.edit(POSTGRES_SERVERS, KEY.plain, edit)
    await looking.world.sync(looking.cluster.kube, ())
    refusal = api.faults.add(Fault(faults.Answer(503), "patch", "postgresservers", times=None))
    with pytest.raises(errors.ApiError):
        await looking.look()
    api.faults.remove(refusal)
    assert SHOP in (await looking.look())[1]
    assert SHOP not in (await looking.look())[1], "once is enough"
