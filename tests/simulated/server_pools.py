"""A PostgresServer and its pools, as tests make and read them."""

import contextlib
from collections.abc import AsyncIterator
from typing import Any

from tests.simulated.apiserver.records import Object
from tests.simulated.operators import Cluster, highest, pool

from pgbouncer_operator import naming
from pgbouncer_operator.kube.resources import POSTGRES_SERVERS

SERVER = "platform/rds"


def server(budget: int = 60, **spec: Any) -> Object:
    body = {"host": "postgres", "connections": {"max": budget}, "allowedNamespaces": {"from": "All"}}
    metadata = {"namespace": "platform", "name": "rds"}
    return {"apiVersion": naming.API_VERSION, "kind": naming.SERVER_KIND, "metadata": metadata, "spec": body | spec}


def member(name: str, most: int | None = None, **spec: Any) -> Object:
    limits = {} if most is None else {"max": most}
    reference = {"serverRef": {"name": "rds", "namespace": "platform"}}
    return pool(name, backend=reference, serverConnections=limits, **spec)


def status(world: Cluster) -> Object:
    found: Object = world.api.storage.peek(POSTGRES_SERVERS, "platform", "rds").get("status") or {}
    return found


def allocated(world: Cluster) -> dict[str, int]:
    return {each["pool"].partition("/")[2]: each["connections"] for each in status(world).get("allocations") or ()}


def moving(world: Cluster) -> bool:
    return any(each["high"] > each["connections"] for each in status(world).get("allocations") or ())


def respec(world: Cluster, resource: Any, namespace: str, name: str, **spec: Any) -> None:
    world.api.edit(resource, (namespace, name), lambda body: body["spec"].update(spec))


def held(world: Cluster) -> int:
    """What all pods may open at this moment, those that drain included."""
    return sum(agent.cap for agent in world.agents.by_uid.values() if world.api.storage.exists("pods", agent.key))


@contextlib.asynccontextmanager
async def never_above(world: Cluster, budget: int) -> AsyncIterator[None]:
    """While this lasts, neither pods nor allocations may be above the budget."""

    def most() -> int:
        charged = sum(max(each["connections"], each["high"]) for each in status(world).get("allocations") or ())
        return max(held(world), charged)

    async with highest(most) as peak:
        yield
    assert 0 < peak[0] <= budget
