"""What the operator knows of the cluster: one store for each kind it watches, and the lists that fill them."""

import json
from collections.abc import Container, Hashable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from pgbouncer_operator import naming
from pgbouncer_operator.engine.cache import Store
from pgbouncer_operator.kube import resources
from pgbouncer_operator.kube.client import Kube, Selection
from pgbouncer_operator.kube.resources import Resource
from pgbouncer_operator.reconcile.cache import views
from pgbouncer_operator.reconcile.cache.endpoint_slice_store import EndpointSliceStore
from pgbouncer_operator.reconcile.cache.keys import AnyKey, Key, ServerKey, pool_of
from pgbouncer_operator.reconcile.cache.server_store import ServerStore
from pgbouncer_operator.reconcile.cache.views import ChildView, PodView, PoolView, ServerView, SliceView
from pgbouncer_operator.reconcile.cache.workload_store import WorkloadStore
from pgbouncer_operator.reconcile.cache.workloads import AutoscalerView, Reference, WorkloadView

CHILDREN = (
    resources.CONFIG_MAPS,
    resources.SERVICES,
    resources.POD_DISRUPTION_BUDGETS,
    resources.DEPLOYMENTS,
)
# Pools first: what else is kept depends on them.
WATCHED = (resources.CONNECTION_POOLS, resources.POSTGRES_SERVERS, *CHILDREN, resources.PODS, resources.ENDPOINT_SLICES)
OURS = f"{naming.LABEL_MANAGED_BY}={naming.MANAGED_BY},{naming.LABEL_POOL}"
View = PoolView | ServerView | ChildView | PodView | SliceView | WorkloadView | AutoscalerView


def selector(resource: Resource) -> str:
    """The label selector that makes the API server send only what is ours."""
    if resource is resources.ENDPOINT_SLICES:
        return naming.LABEL_SERVICE
    return "" if resource in (resources.CONNECTION_POOLS, resources.POSTGRES_SERVERS) else OURS


def project(resource: Resource, body: Mapping[str, Any]) -> View:
    """The projection of an object of that kind."""
    if resource is resources.CONNECTION_POOLS:
        return views.pool(body)
    if resource is resources.POSTGRES_SERVERS:
        return views.server(body)
    if resource is resources.ENDPOINT_SLICES:
        return views.endpoint_slice(body)
    return views.pod(body) if resource is resources.PODS else views.child(body)


def _by_pool(view: ChildView | PodView) -> Iterable[Hashable]:
    return (pool_of(view),)


def _by_what_it_names(view: PoolView) -> Iterable[Hashable]:
    found: list[Hashable] = [("address", view.address)]
    if view.backend:
        found.append(view.backend)
    if view.clients:
        found.append(_clients_in(view.namespace))
    if view.server:
        found.append(_at(view.server))
    return found


def _at(server: Key) -> Hashable:
    return ("pools", "at", server)


def _clients_in(namespace: str) -> Hashable:
    return ("clients", "in", namespace)


@dataclass(frozen=True, slots=True)
class ClusterCache:
    """The stores. Not thread-safe: they belong to the loop of the workers.

    ended: by pool, uids of pods that are known to have ended before their objects went. lost: how many went without a
    sign of their end, by pool with a share of a server; it is the server's look that forgets them.
    """

    pools: Store[PoolView] = field(default_factory=lambda: Store(_by_what_it_names))
    pods: Store[PodView] = field(default_factory=lambda: Store(_by_pool))
    children: dict[str, Store[ChildView]] = field(
        default_factory=lambda: {each.kind: Store(_by_pool) for each in CHILDREN}
    )
    slices: EndpointSliceStore = field(default_factory=EndpointSliceStore)
    clients: WorkloadStore = field(default_factory=WorkloadStore)
    servers: ServerStore = field(default_factory=ServerStore)
    ended: dict[Key, set[str]] = field(default_factory=dict)
    lost: dict[Key, int] = field(default_factory=dict)

    @property
    def synced(self) -> bool:
        """Whether every kind has been listed."""
        return self.pools.synced and self.pods.synced and all(store.synced for store in self.children.values())

    def statuses(self) -> Iterable[tuple[str, str, dict[str, Any]]]:
        """Every pool's namespace, name and status, as last written."""
        known = (self.pools.get(key) for key in self.pools.keys())  # noqa: SIM118  a Store is no mapping
        return [(view.namespace, view.name, json.loads(view.status)) for view in known if view is not None]

    def members(self, server: Key) -> tuple[PoolView, ...]:
        """The pools that refer to a PostgresServer."""
        return self.pools.find(_at(server))

    def put(self, view: View) -> bool:
        """Take news of an object; say whether it matters."""
        match view:
            case PoolView():
                return self.pools.put(view)
            case PodView():
                return self.pods.put(view)
            case ChildView():
                return self.children[view.kind].put(view)
            case SliceView():
                return self.slices.put(view, wanted=bool(self._at_service((view.namespace, view.service))))
            case ServerView():
                return self.servers.store.put(view)
            case WorkloadView() | AutoscalerView():
                return self.clients.put(view)

    def remove(self, view: View) -> bool:
        """Take the news that an object is gone; say whether it was known."""
        if isinstance(view, SliceView):
            return self.slices.remove(view)
        if isinstance(view, WorkloadView | AutoscalerView):
            return self.clients.remove(view)
        if isinstance(view, ServerView):
            return self.servers.store.remove((view.namespace, view.name), view.uid, view.resource_version)
        if isinstance(view, PodView):
            self._bury(view)
        return self._store(view).remove((view.namespace, view.name), view.uid, view.resource_version)

    def _bury(self, view: PodView) -> None:
        key = pool_of(view)
        if key is None:
            return
        if view.ended or not view.placed:
            self.ended.setdefault(key, set()).add(view.uid)
        elif self.servers.of_pool(key):
            self.lost[key] = self.lost.get(key, 0) + 1

    def ended_of(self, key: Key, uids: Container[str]) -> frozenset[str]:
        """Those of the pool's ended pods that are among `uids`; the others are of no more use and forgotten."""
        found = frozenset(uid for uid in self.ended.pop(key, ()) if uid in uids)
        if found:
            self.ended[key] = set(found)
        return found

    def concerned(self, view: View) -> tuple[AnyKey, ...]:
        """The pools and servers that an object is about."""
        if isinstance(view, SliceView):
            return self._at_service((view.namespace, view.service))
        if isinstance(view, ServerView):
            return self._about((view.namespace, view.name), view.address)
        if isinstance(view, WorkloadView | AutoscalerView):
            return tuple((pool.namespace, pool.name) for pool in self.pools.find(_clients_in(view.namespace)))
        key = pool_of(view)
        return () if key is None else (key,)

    def _about(self, server: Key, address: str) -> tuple[AnyKey, ...]:
        """A server, the pools that refer to it and those that go round it."""
        pools = {*self.members(server), *self.pools.find(("address", address))} if address else self.members(server)
        return (ServerKey(*server), *((pool.namespace, pool.name) for pool in pools))

    def _at_service(self, service: Key) -> tuple[Key, ...]:
        """The pools whose host is a Service, themselves or by their server."""
        pools = [*self.pools.find(service)]
        for server in self.servers.store.find(service):
            pools += self.members((server.namespace, server.name))
        return tuple((pool.namespace, pool.name) for pool in pools)

    async def sync(self, kube: Kube, namespaces: tuple[str, ...]) -> set[AnyKey]:
        """List every kind and give the pools and servers to which anything differs from what was known."""
        touched: set[AnyKey] = set()
        for resource in WATCHED:
            if resource is resources.POSTGRES_SERVERS:
                for key in await self.servers.sync(kube, namespaces):
                    server = self.servers.store.get(key)
                    touched.update(self._about(key, server.address if server else ""))
            elif resource is not resources.ENDPOINT_SLICES:
                touched |= await self._sync(kube, resource, namespaces)
        known_keys = self.pools.keys()
        known_pools = [pool for key in known_keys if (pool := self.pools.get(key)) is not None]
        services = {pool.backend for pool in known_pools if pool.backend}
        services |= {
            server.backend
            for pool in known_pools
            if pool.server and (server := self.servers.store.get(pool.server)) and server.backend
        }
        for service in await self.slices.sync(kube, namespaces, services):
            touched |= set(self._at_service(service))
        asked: dict[str, frozenset[Reference]] = {}
        for pool in known_pools:
            if pool.clients:
                asked[pool.namespace] = asked.get(pool.namespace, frozenset()) | frozenset(pool.clients)
        for namespace in await self.clients.sync(kube, namespaces, asked):
            touched |= {(pool.namespace, pool.name) for pool in self.pools.find(_clients_in(namespace))}
        return touched

    async def _sync(self, kube: Kube, resource: Resource, namespaces: tuple[str, ...]) -> set[Key]:
        listed: list[PoolView | ChildView | PodView] = []
        listed_at: list[int] = []
        for namespace in namespaces or ("",):
            listing = await kube.list(resource, Selection(namespace, labels=selector(resource)))
            listed += [project(resource, body) for body in listing.items]  # type: ignore[misc]
            listed_at.append(listing.resource_version)
        store = self._store_of(resource)
        owners = {(view.namespace, view.name): pool_of(view) for view in listed}
        known_keys = store.keys()
        before = {key: pool_of(known) for key in known_keys if (known := store.get(key)) is not None}
        differing = store.replace(listed, min(listed_at))
        found = (owners.get(key) or before.get(key) for key in differing)
        return {key for key in found if key is not None}

    def _store(self, view: PoolView | ChildView | PodView) -> Store[PoolView] | Store[PodView] | Store[ChildView]:
        match view:
            case PoolView():
                return self.pools
            case PodView():
                return self.pods
            case ChildView():
                return self.children[view.kind]

    def _store_of(self, resource: Resource) -> Store[PoolView | ChildView | PodView]:
        if resource is resources.CONNECTION_POOLS:
            return self.pools  # type: ignore[return-value]
        return self.pods if resource is resources.PODS else self.children[resource.kind]  # type: ignore[return-value]
