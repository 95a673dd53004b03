"""What the API server's answers mean, with a Kubernetes of a few lines."""

from dataclasses import replace
from typing import Any, cast

import pytest
from tests.unit.reconcile.looks import decide, healthy

from pgbouncer_operator import naming
from pgbouncer_operator.kube import errors
from pgbouncer_operator.kube.client import Kube, Object
from pgbouncer_operator.kube.events import Event, EventRecorder, Regarding
from pgbouncer_operator.kube.resources import Resource
from pgbouncer_operator.reconcile.cache.cluster import ClusterCache
from pgbouncer_operator.reconcile.observed import Observed
from pgbouncer_operator.reconcile.pool.apply import SOON, Applied, Applier

OWNER = {"uid": "pool-uid", "kind": "ConnectionPool", "name": "shop", "controller": True}


class Server:
    """Objects by kind and name; `refuse` answers a write to a kind with an error."""

    def __init__(self, *objects: Object, refuse: dict[str, errors.ApiError] | None = None) -> None:
        self.objects = {(each["kind"], each["metadata"]["name"]): each for each in objects}
        self.refuse = refuse or {}
        self.told: list[str] = []

    async def create(self, resource: Resource, body: Object) -> Object:
        key = (body["kind"], body["metadata"]["name"])
        if key in self.objects:
            raise errors.AlreadyExists("it exists", 409)
        return await self.apply(resource, body)

    async def get(self, resource: Resource, namespace: str, name: str) -> Object:
        return self.objects[resource.kind, name]

    async def apply(self, resource: Resource, body: Object, **_: Any) -> Object:
        if resource.kind in self.refuse:
            raise self.refuse[resource.kind]
        version = {"uid": "new", "resourceVersion": str(len(self.objects) + 1)}
        self.objects[body["kind"], body["metadata"]["name"]] = {**body, "metadata": {**body["metadata"], **version}}
        return self.objects[body["kind"], body["metadata"]["name"]]

    async def merge_patch(self, resource: Resource, body: Object, subresource: str = "") -> Object:
        live = self.objects[resource.kind, body["metadata"]["name"]]
        assert body["metadata"]["resourceVersion"] == live["metadata"]["resourceVersion"], subresource
        version = str(int(live["metadata"]["resourceVersion"]) + 1)
        changed = {**live, "metadata": {**live["metadata"], **body["metadata"], "resourceVersion": version}}
        self.objects[resource.kind, body["metadata"]["name"]] = changed
        return changed

    async def record(self, regarding: Regarding, event: Event) -> None:
        self.told.append(event.reason)


def new_pool() -> Observed:
    return replace(healthy(), children={}, pods=(), states={}, ledger=None)


async def run(server: Server, observed: Observed) -> Applied:
    applier = Applier(cast(Kube, server), ClusterCache(), cast(EventRecorder, server))
    return await applier.apply(observed, decide(observed))


def service(**owner: Any) -> Object:
    owners = [{**OWNER, **owner}] if owner is not None else []
    metadata = {"name": "shop", "namespace": "web", "uid": "s", "resourceVersion": "3", "ownerReferences": owners}
    return {"apiVersion": "v1", "kind": "Service", "metadata": metadata}


async def test_a_new_pool_is_written_whole() -> None:
    server = Server()
    outcome = await run(server, new_pool())
    assert {kind for kind, _ in server.objects} == {"ConfigMap", "Service", "PodDisruptionBudget", "Deployment"}
    assert not outcome.memory.refusals


async def test_somebody_elses_object_stays_as_it_is_and_is_named_with_the_remedy() -> None:
    foreign = service(uid="theirs", kind="Deployment", name="other")
    server = Server(foreign)
    outcome = await run(server, new_pool())
    refusal = outcome.memory.refusals["Service", "shop"]
    assert server.objects["Service", "shop"] is foreign
    assert refusal.reason.value == "NameConflict"
    assert refusal.message.startswith("a Service of this name exists and does not belong to this pool")
    assert ("Deployment", "shop-pgbouncer") not in server.objects, "no pods before what they need"
    assert outcome.requeue_after == SOON


@pytest.mark.parametrize("owner", [{}, {"uid": "a former pool of this name"}])
async def test_an_object_of_ours_or_of_a_former_pool_is_looked_at_again_soon(owner: dict[str, str]) -> None:
    outcome = await run(Server(service(**owner)), new_pool())
    assert not outcome.memory.refusals
    assert outcome.requeue_after == SOON


async def test_an_object_of_ours_that_lost_its_labels_has_them_back() -> None:
    server, world = Server(service()), ClusterCache()
    observed = new_pool()
    await Applier(cast(Kube, server), world, cast(EventRecorder, server)).apply(observed, decide(observed))
    labels = server.objects["Service", "shop"]["metadata"]["labels"]
    assert labels[naming.LABEL_POOL] == "shop"
    assert [each.name for each in world.children["Service"].find(("web", "shop"))] == ["shop"]


@pytest.mark.parametrize("error", [errors.Invalid("field x is wrong", 422), errors.Forbidden("quota", 403)])
async def test_a_refused_write_is_remembered_in_the_api_servers_words(error: errors.ApiError) -> None:
    outcome = await run(Server(refuse={"Service": error}), new_pool())
    refusal = outcome.memory.refusals["Service", "shop"]
    assert (refusal.reason.value, refusal.message) == ("ObjectRefused", str(error))


async def test_a_refused_status_is_not_tried_again_in_a_hurry() -> None:
    outcome = await run(Server(refuse={"ConnectionPool": errors.Invalid("no", 422)}), new_pool())
    assert outcome.requeue_after is not None
    assert outcome.requeue_after > SOON


async def test_a_failing_api_server_is_raised_for_the_queue_to_retry() -> None:
    with pytest.raises(errors.Unavailable):
        await run(Server(refuse={"Service": errors.Unavailable("timeout", 504)}), new_pool())
