"""Two PostgresServers with one host: one of them gives."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from tests.simulated.apiserver.records import Object
from tests.simulated.operators import Cluster, cluster
from tests.simulated.server_pools import PORT, held, member, never_above, server

from pgbouncer_operator.kube.resources import CONNECTION_POOLS, POSTGRES_SERVERS


@pytest.fixture
async def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Cluster]:
    async with cluster(tmp_path, monkeypatch) as made:
        made.api.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "platform"}})
        yield made


async def test_of_two_servers_with_one_host_only_the_older_gives_until_it_is_gone(world: Cluster) -> None:
    world.api.create(server(20))
    world.api.create(member("one", 20))
    async with never_above(world, 20), world.operator(PORT + 16):
        await world.until(lambda: held(world) == 20, "all in use")
        twin = server(20)
        twin["metadata"]["name"] = "twin"
        world.api.create(twin)
        guest = member("guest", 10)
        guest["spec"]["backend"]["serverRef"]["name"] = "twin"
        world.api.create(guest)
        await world.until(lambda: world.condition("guest", "Stalled").get("reason") == "HostTaken", "the pool is told")
        await world.until(lambda: "An older PostgresServer" in str(peek(world, "twin")), "the server is told")
        assert held(world) == 20
    async with world.operator(PORT + 17):
        world.api.delete(CONNECTION_POOLS, ("default", "one"))
        world.api.delete(POSTGRES_SERVERS, ("platform", "rds"))
        await world.until_ready("guest")
        assert held(world) <= 20


def peek(world: Cluster, name: str) -> Object:
    found: Object = world.api.storage.peek(POSTGRES_SERVERS, "platform", name)
    return found
