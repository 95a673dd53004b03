"""Bursts of pools: made by a plain client, made by the operator, changed on every pool."""

import asyncio
import contextlib
import math
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import Any

from tests.localcluster.execution import run

from pgbouncer_operator import naming, offline
from pgbouncer_operator.kube import errors, resources
from pgbouncer_operator.kube.client import Kube, Object, Selection
from pgbouncer_operator.kube.resources import Resource
from pgbouncer_operator.reconcile.specification import read
from pgbouncer_operator.resources.deployment import Platform
from pgbouncer_operator.resources.desired import desired

CONCURRENCY = 16
# Pools in one namespace: Kubernetes' controllers compare each change of a pod with every PodDisruptionBudget and
# Service of its namespace, so that 1,000 pools in one are a measure of them.
TOGETHER = 100
PATIENCE = 900.0
Shows = Callable[[Object], bool]
Places = tuple[str, ...]  # namespaces
LOGIN = {
    "apiVersion": "v1",
    "kind": "Secret",
    "metadata": {"name": "login"},
    "stringData": {"username": "u", "password": "p"},
}


@contextlib.asynccontextmanager
async def namespaces(kube: Kube, env: Mapping[str, str], *names: str) -> AsyncIterator[Places]:
    """Namespaces with the users' Secret in each, gone with all their objects afterwards."""
    run(["kubectl", "delete", "namespace", *names, "--ignore-not-found", "--wait=true"], environment=env)
    for name in names:
        run(["kubectl", "create", "namespace", name], environment=env)
        body = {**LOGIN, "metadata": {"name": "login", "namespace": name}}
        await kube.create(resources.SECRETS, body)
    try:
        yield names
    finally:
        run(["kubectl", "delete", "namespace", *names, "--wait=true", "--timeout=600s"], environment=env)


def places(prefix: str, size: int) -> Places:
    """The namespaces that so many pools are to lie in."""
    return tuple(f"{prefix}-{size}-{each}" for each in range(math.ceil(size / TOGETHER)))


def pool(place: str, number: int) -> dict[str, Any]:
    """A pool of two pods that no node takes."""
    return {
        "apiVersion": naming.API_VERSION,
        "kind": naming.KIND,
        "metadata": {"name": f"pool-{number}", "namespace": place},
        "spec": {
            "backend": {"host": "postgres.invalid"},
            "databases": [{"name": "app"}],
            "users": [{"name": "app", "secretRef": {"name": "login"}}],
            "serverConnections": {"max": 25},
            "replicas": 2,
            "pod": {"nodeSelector": {"bench": "nowhere"}},
        },
    }


async def plain(kube: Kube, places: Places, size: int) -> None:
    """A plain client writes the pools and all their objects."""

    async def write(number: int) -> None:
        body = pool(_place(places, number), number)
        made = await kube.create(resources.CONNECTION_POOLS, body)
        parsed = read({**body, "metadata": {**made["metadata"]}})
        wanted = desired(parsed, Platform("bench.invalid/pool:none", "IfNotPresent", 5))
        for each in offline.objects(parsed, wanted):
            await kube.create(resources.of(each["apiVersion"], each["kind"]), each)

    await spread(write, size)


async def operated(kube: Kube, places: Places, size: int) -> None:
    """Write the pools only; until the operator has written all the rest, has told the status and woken the pods."""

    async def write(number: int) -> None:
        await kube.create(resources.CONNECTION_POOLS, pool(_place(places, number), number))

    await spread(write, size)
    for place, pools in _pools(places, size).items():
        await everywhere(kube, resources.CONNECTION_POOLS, pools, place, told)
    await _quiet(kube, places, size)


async def change(kube: Kube, places: Places, size: int) -> float:
    """Seconds from the first to the last pool's new parameter in its ConfigMap."""

    async def patch(number: int) -> None:
        body = {
            "apiVersion": naming.API_VERSION,
            "kind": naming.KIND,
            "metadata": {"name": f"pool-{number}", "namespace": _place(places, number)},
            "spec": {"timeouts": {"queryWaitSeconds": 17}},
        }
        await kube.merge_patch(resources.CONNECTION_POOLS, body)

    began = time.monotonic()
    await spread(patch, size)
    for place, pools in _pools(places, size).items():
        await everywhere(kube, resources.CONFIG_MAPS, [naming.config_map(each) for each in pools], place, _changed)
    ended = time.monotonic()
    await _quiet(kube, places, size)
    return ended - began


def _place(places: Places, number: int) -> str:
    return places[number % len(places)]


def _pools(places: Places, size: int) -> dict[str, list[str]]:
    """The names of the pools of each namespace."""
    return {place: [f"pool-{each}" for each in range(size) if _place(places, each) == place] for place in places}


async def spread(write: Callable[[int], Awaitable[None]], size: int) -> None:
    """Call it with every number below `size`, some at a time."""
    numbers = iter(range(size))

    async def work() -> None:
        for number in numbers:
            await write(number)

    await asyncio.gather(*(work() for _ in range(CONCURRENCY)))


async def everywhere(kube: Kube, resource: Resource, names: list[str], place: str, shows: Shows) -> None:
    """Wait until every object shows it. A list costs the API server as much as a pool, so mostly one is asked."""
    deadline = time.monotonic() + PATIENCE
    lacking = names
    while lacking:
        if await _shown(kube, resource, place, lacking[-1], shows):
            found = await kube.list(resource, Selection(place, cached=True))
            showing = {each["metadata"]["name"] for each in found.items if shows(each)}
            lacking = [name for name in names if name not in showing]
        if time.monotonic() > deadline:
            raise TimeoutError("the objects did not appear in time")
        await asyncio.sleep(0.1)


async def _shown(kube: Kube, resource: Resource, place: str, name: str, shows: Shows) -> bool:
    try:
        return shows(await kube.get(resource, place, name))
    except errors.NotFound:
        return False


def _changed(config_map: Object) -> bool:
    return '"query_wait_timeout": 17' in config_map["data"].get(naming.INTENT_KEY, "")


def told(pool: Object) -> bool:
    """Whether its status was told by the operator: conditions alone may be the definition's default."""
    return "observedGeneration" in pool.get("status", {})


async def _quiet(kube: Kube, places: Places, size: int) -> None:
    """Wait until every pod has been told, so that all that a step causes is counted with it."""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        listed = (await kube.list(resources.PODS, Selection(cached=True))).items
        pods = [each["metadata"] for each in listed if each["metadata"]["namespace"] in places]
        poked = sum(naming.ANNOTATION_POKE in (each.get("annotations") or {}) for each in pods)
        await asyncio.sleep(2)  # what comes after the last poke is counted too
        if len(pods) >= 2 * size and poked == len(pods):
            return
    raise TimeoutError("the pods were not told in time")
