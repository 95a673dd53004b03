"""Which PostgresServer may claim the host that a pool names directly: only one that allows the pool's namespace."""

from dataclasses import replace
from typing import Any, cast

import pytest
from tests.unit.reconcile import looks
from tests.unit.reconcile.servers_made import view

from pgbouncer_operator.kube import errors
from pgbouncer_operator.kube.client import Kube
from pgbouncer_operator.kube.resources import NAMESPACES
from pgbouncer_operator.reconcile.cache import projections
from pgbouncer_operator.reconcile.cache.server_store import ServerStore

SELECTOR: dict[str, Any] = {"from": "Selector", "selector": {"matchLabels": {"db": "rds"}}}


class Namespaces:
    """The labels of the pool's namespace."""

    def __init__(self, **labels: str) -> None:
        self.labels = labels

    async def get(self, resource: object, namespace: str, name: str) -> dict[str, Any]:
        assert (resource, namespace, name) == (NAMESPACES, "", "web")
        return {"metadata": {"labels": self.labels}}


class Failing:
    """An API server that answers no read of a namespace."""

    async def get(self, resource: object, namespace: str, name: str) -> dict[str, Any]:
        raise errors.Unavailable("try later", 503)


@pytest.mark.parametrize(
    ("allowed", "labels", "claims"),
    [
        ({"from": "Same"}, {}, False),
        ({"from": "All"}, {}, True),
        (SELECTOR, {}, False),
        (SELECTOR, {"db": "rds"}, True),
    ],
)
async def test_a_server_claims_a_host_only_of_pools_that_it_allows(
    allowed: dict[str, Any], labels: dict[str, str], claims: bool
) -> None:
    servers, server = ServerStore(), view(allowedNamespaces=allowed)
    servers.store.put(server)
    pool = projections.pool(looks.pool(backend={"host": "postgres.platform.svc"}))
    await servers.know_claims(cast(Kube, Namespaces(**labels)), pool, 1.0)
    assert servers.budgeted(pool) == (server if claims else None)


async def test_a_read_of_labels_that_fails_changes_nothing_of_what_was_read_before() -> None:
    servers, server = ServerStore(), view(allowedNamespaces=SELECTOR)
    servers.store.put(server)
    pool = projections.pool(looks.pool(backend={"host": "postgres.platform.svc"}))
    with pytest.raises(errors.Unavailable):
        await servers.know_claims(cast(Kube, Failing()), pool, 1.0)
    await servers.know_claims(cast(Kube, Namespaces(db="rds")), pool, 2.0)
    await servers.know_claims(cast(Kube, Failing()), pool, 10_000.0)
    assert servers.budgeted(pool) == server


async def test_a_server_that_cannot_be_used_claims_no_host_of_another_namespace() -> None:
    servers = ServerStore()
    servers.store.put(view(connections={"max": -1}))
    pool = projections.pool(looks.pool(backend={"host": "postgres.platform.svc"}))
    await servers.know_claims(cast(Kube, Namespaces()), pool, 1.0)
    assert servers.budgeted(pool) is None


@pytest.mark.parametrize(("chosen", "claims"), [("", "rds"), ("platform/twin", "twin")])
async def test_of_servers_with_one_host_the_one_that_gives_claims_it(chosen: str, claims: str) -> None:
    old, pool = view(), projections.pool(looks.pool(backend={"host": "postgres.platform.svc"}))
    servers = ServerStore(chosen={old.address: chosen})
    servers.store.put(replace(old, name="twin", uid="twin", created="2026-01-02"))
    servers.store.put(replace(old, created="2026-01-01"))
    found = servers.budgeted(pool)
    assert found is not None
    assert found.name == claims
