"""An operator of some namespaces: one that is missing is skipped and told, and served when it comes back."""

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import aiohttp
import pytest
from tests.simulated.apiserver.records import Object
from tests.simulated.operators import Cluster, cluster, pool

from pgbouncer_operator import naming
from pgbouncer_operator.kube.resources import DEPLOYMENTS
from pgbouncer_operator.reconcile.intervals import NORMAL

BOTH = ("default", "gone")


@pytest.fixture
async def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Cluster]:
    async with cluster(tmp_path, monkeypatch) as made:
        made.intervals = replace(NORMAL, absent=0.2)
        yield made


def guest() -> Object:
    body = pool("guest")
    body["metadata"]["namespace"] = "gone"
    return body


async def skipped(port: int) -> float:
    async with aiohttp.ClientSession() as session, session.get(f"http://127.0.0.1:{port}/metrics") as answer:
        lines = (await answer.text()).splitlines()
    (value,) = [each.split()[-1] for each in lines if each.startswith("pgbouncer_operator_namespaces_skipped ")]
    return float(value)


async def test_a_missing_namespace_is_skipped_and_served_when_it_comes_back(
    world: Cluster, unused_tcp_port: int
) -> None:
    world.api.forbidden.add("gone")  # its Role and RoleBinding went with it
    world.api.create(pool())
    async with world.operator(unused_tcp_port, namespaces=BOTH):
        await world.until_ready("shop")
        assert await skipped(unused_tcp_port) == 1
        await world.until(lambda: world.api.watches.count("connectionpools") == 1, "the other one is watched")
        world.respec(replicas=1)
        await world.until(lambda: len(world.agents.of("default", "shop")) == 1, "a change arrives")
        world.api.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "gone"}})
        world.api.create(guest())
        world.api.forbidden.clear()
        key = ("gone", naming.deployment("guest"))
        await world.until(lambda: world.api.storage.exists(DEPLOYMENTS.plural, key), "it is served")
        assert await skipped(unused_tcp_port) == 0


async def test_a_namespace_that_goes_while_it_is_watched_leaves_the_others_watched(world: Cluster) -> None:
    world.api.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "gone"}})
    world.api.create(pool())
    async with world.operator(namespaces=BOTH):
        await world.until_ready("shop")
        world.api.forbidden.add("gone")
        world.api.watches.end()
        await world.until(lambda: world.api.watches.count("connectionpools") == 1, "the other one is watched")
        world.respec(replicas=1)
        await world.until(lambda: len(world.agents.of("default", "shop")) == 1, "a change arrives")
