"""What the operator knows of the cluster: one store for each kind that it watches, and the lists that fill them."""

import contextlib
import json
import logging
from collections.abc import Container, Hashable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from pgbouncer_operator import naming
from pgbouncer_operator.engine.cache import Store
from pgbouncer_operator.kube import errors, resources
from pgbouncer_operator.kube.client import Kube, Selection
from pgbouncer_operator.kube.resources import Resource
from pgbouncer_operator.reconcile.cache import projections
from pgbouncer_operator.reconcile.cache.endpoint_slice_store import EndpointSliceStore
from pgbouncer_operator.reconcile.cache.keys import AnyKey, Key, ServerKey, pool_of
from pgbouncer_operator.reconcile.cache.server_store import ServerStore
from pgbouncer_operator.reconcile.cache.views import ChildView, PodView, PoolView, ServerView, SliceView
from pgbouncer_operator.reconcile.cache.workload_store import WorkloadStore
from pgbouncer_operator.reconcile.cache.workloads import AutoscalerView, Reference, WorkloadView

logger = logging.getLogger(__name__)

CHILDREN = (
    resources.CONFIG_MAPS,
    resources.SERVICES,
    resources.POD_DISRUPTION_BUDGETS,
    resources.DEPLOYMENTS,
)
# Pools come first: they decide what else is kept.
WATCHED = (resources.CONNECTION_POOLS, resources.POSTGRES_SERVERS, *CHILDREN, resources.PODS, resources.ENDPOINT_SLICES)
OURS = f"{naming.LABEL_MANAGED_BY}={naming.MANAGED_BY},{naming.LABEL_POOL}"
View = PoolView | ServerView | ChildView | PodView | SliceView | WorkloadView | AutoscalerView


def selector(resource: Resource) -> str:
    """The label selector that keeps objects of others out of lists and watches."""
    if resource is resources.ENDPOINT_SLICES:
        return naming.LABEL_SERVICE
    return "" if resource in (resources.CONNECTION_POOLS, resources.POSTGRES_SERVERS) else OURS


def project(resource: Resource, body: Mapping[str, Any]) -> View:
    """The view of an object of that kind."""
    if resource is resources.CONNECTION_POOLS:
        return projections.pool(body)
    if resource is resources.POSTGRES_SERVERS:
        return projections.server(body)
    if resource is resources.ENDPOINT_SLICES:
        return projections.endpoint_slice(body)
    return projections.pod(body) if resource is resources.PODS else projections.child(body)


def _by_pool(view: ChildView | PodView) -> Iterable[Hashable]:
    return (pool_of(view),)


def _by_what_it_names(view: PoolView) -> Iterable[Hashable]:
    keys: list[Hashable] = [("address", view.address)]
    if view.backend:
        keys.append(view.backend)
    if view.clients:
        keys.append(_clients_in(view.namespace))
    if view.server:
        keys.append(_at(view.server))
    if view.template_version:
        keys.append(_WITH_VERSION)
    return keys


_WITH_VERSION: Hashable = ("pools", "with", "template version")


def _at(server: Key) -> Hashable:
    return ("pools", "at", server)


def _clients_in(namespace: str) -> Hashable:
    return ("clients", "in", namespace)


@dataclass(frozen=True, slots=True)
class ClusterCache:
    """The stores. Not thread-safe: only the event loop of the workers uses them."""

    pools: Store[PoolView] = field(default_factory=lambda: Store(_by_what_it_names))
    """ConnectionPools."""
    pods: Store[PodView] = field(default_factory=lambda: Store(_by_pool))
    """Pods of pools."""
    children: dict[str, Store[ChildView]] = field(
        default_factory=lambda: {each.kind: Store(_by_pool) for each in CHILDREN}
    )
    """ConfigMaps, Services, PodDisruptionBudgets and Deployments of pools, by kind."""
    slices: EndpointSliceStore = field(default_factory=EndpointSliceStore)
    """EndpointSlices of the Services that pools and servers name."""
    clients: WorkloadStore = field(default_factory=WorkloadStore)
    """Client workloads that pools name, and their autoscalers."""
    servers: ServerStore = field(default_factory=ServerStore)
    """PostgresServers."""
    ended: dict[Key, set[str]] = field(default_factory=dict)
    """By pool, UIDs of pods that are known to have ended before their objects disappeared."""
    lost: dict[Key, dict[str, str]] = field(default_factory=dict)
    """By pool, names by UID of the pods that disappeared while they may still have run."""
    skipped: set[str] = field(default_factory=set)
    """Namespaces that were to be listed and could not: they do not exist, or the operator has no rights there."""

    @property
    def synced(self) -> bool:
        """Whether every kind has been listed."""
        return self.pools.synced and self.pods.synced and all(store.synced for store in self.children.values())

    def statuses(self) -> Iterable[tuple[str, str, dict[str, Any]]]:
        """Namespace, name and status of every pool, as last written."""
        views = (self.pools.get(key) for key in self.pools.keys())  # noqa: SIM118  a Store is no mapping
        return [(view.namespace, view.name, json.loads(view.status)) for view in views if view is not None]

    def members(self, server: Key) -> tuple[PoolView, ...]:
        """The pools that refer to a PostgresServer."""
        return self.pools.find(_at(server))

    def with_template_version(self) -> tuple[PoolView, ...]:
        """The pools whose user has named the least version of the pod template."""
        return self.pools.find(_WITH_VERSION)

    def put(self, view: View) -> bool:
        """Store the newest view of an object. Returns whether anything changed that matters."""
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
                return self.servers.put(view)
            case WorkloadView() | AutoscalerView():
                return self.clients.put(view)

    def remove(self, view: View) -> bool:
        """Remove an object that no longer exists. Returns whether it was stored."""
        if isinstance(view, SliceView):
            return self.slices.remove(view)
        if isinstance(view, WorkloadView | AutoscalerView):
            return self.clients.remove(view)
        if isinstance(view, ServerView):
            return self.servers.store.remove((view.namespace, view.name), view.resource_version)
        removed = self._store(view).remove((view.namespace, view.name), view.resource_version)
        if isinstance(view, PodView) and self.pods.get((view.namespace, view.name)) is None:
            self._bury(view)
        return removed

    def _bury(self, view: PodView) -> None:
        """Remember whether a removed pod had ended."""
        key = pool_of(view)
        if key is None:
            return
        if view.ended or not view.placed:
            self.ended.setdefault(key, set()).add(view.uid)
        else:
            self.lost.setdefault(key, {})[view.uid] = view.name

    def lost_of(self, key: Key, uids: Container[str] | None) -> Mapping[str, str]:
        """Names by UID of the pool's lost pods that are among `uids`. The others are of no more use and are forgotten.

        uids: None while there is no ledger that says which pods matter; then all stay if a server charges the pool.
        """
        names = self.lost.get(key, {})
        if uids is None:
            uids = names if self.servers.of_pool(key) else ()
        kept = {uid: name for uid, name in names.items() if uid in uids}
        if kept:
            self.lost[key] = kept
        else:
            self.lost.pop(key, None)
        return kept

    def ended_of(self, key: Key, uids: Container[str]) -> frozenset[str]:
        """The pool's ended pods that are among `uids` and have not come back. The others are forgotten."""
        back = {pod.uid for pod in self.pods.find(key)}
        ended = frozenset(uid for uid in self.ended.pop(key, ()) if uid in uids and uid not in back)
        if ended:
            self.ended[key] = set(ended)
        return ended

    def concerned(self, view: View) -> tuple[AnyKey, ...]:
        """The pools and servers to reconcile after a change of the object."""
        if isinstance(view, SliceView):
            return self._at_service((view.namespace, view.service))
        if isinstance(view, ServerView):
            return self._about((view.namespace, view.name), view)
        if isinstance(view, WorkloadView | AutoscalerView):
            return tuple((pool.namespace, pool.name) for pool in self.pools.find(_clients_in(view.namespace)))
        key = pool_of(view)
        return () if key is None else (key,)

    def _about(self, server: Key, view: ServerView | None) -> tuple[AnyKey, ...]:
        """A server and all with its hosts, the pools that refer to them, and the pools that name its host directly."""
        found = self.servers.holders(view.addresses) if view else ()
        servers = {server, *((each.namespace, each.name) for each in found)}
        pools = {*self.pools.find(("address", view.address))} if view and view.address else set()
        pools.update(*(self.members(each) for each in servers))
        return (*(ServerKey(*each) for each in sorted(servers)), *((pool.namespace, pool.name) for pool in pools))

    def _at_service(self, service: Key) -> tuple[Key, ...]:
        """The pools whose host is a Service, directly or through their server."""
        pools = [*self.pools.find(service)]
        for server in self.servers.store.find(service):
            pools += self.members((server.namespace, server.name))
        return tuple((pool.namespace, pool.name) for pool in pools)

    def served(self, namespaces: tuple[str, ...]) -> tuple[str, ...]:
        """Those of the namespaces that can be listed."""
        return tuple(each for each in namespaces if each not in self.skipped)

    async def returned(self, kube: Kube) -> bool:
        """Whether a namespace that was skipped can be listed now. Raises nothing: a failure is no."""
        before = set(self.skipped)
        with contextlib.suppress(errors.ApiError):
            await self._skip(kube, tuple(before))
        return self.skipped != before

    async def _skip(self, kube: Kube, namespaces: tuple[str, ...]) -> None:
        """Find the namespaces that cannot be listed: one that was deleted has taken the operator's rights along."""
        for namespace in namespaces:
            try:
                await kube.list(resources.CONNECTION_POOLS, Selection(namespace, fields="metadata.name=none"))
            except errors.Forbidden as error:
                if namespace not in self.skipped:
                    logger.warning("Skipped a namespace", extra={"namespace": namespace, "error": str(error)})
                self.skipped.add(namespace)
                continue
            if namespace in self.skipped:
                logger.info("A namespace that was skipped is served", extra={"namespace": namespace})
            self.skipped.discard(namespace)

    async def sync(self, kube: Kube, namespaces: tuple[str, ...]) -> set[AnyKey]:
        """List every kind. Returns the pools and servers of which anything has changed. Raises ApiError.

        A namespace that cannot be listed is skipped, unless that is true of all.
        """
        await self._skip(kube, namespaces)
        namespaces = self.served(namespaces) or namespaces
        touched: set[AnyKey] = set()
        for resource in WATCHED:
            if resource is resources.POSTGRES_SERVERS:
                for key in await self.servers.sync(kube, namespaces, self.skipped):
                    touched.update(self._about(key, self.servers.store.get(key)))
            elif resource is not resources.ENDPOINT_SLICES:
                touched |= await self._sync(kube, resource, namespaces)
        keys = self.pools.keys()
        pools = [pool for key in keys if (pool := self.pools.get(key)) is not None]
        services = {pool.backend for pool in pools if pool.backend}
        services |= {
            server.backend
            for pool in pools
            if pool.server and (server := self.servers.store.get(pool.server)) and server.backend
        }
        for service in await self.slices.sync(kube, namespaces, services):
            touched |= set(self._at_service(service))
        asked: dict[str, frozenset[Reference]] = {}
        for pool in pools:
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
        keys = store.keys()
        before = {key: pool_of(view) for key in keys if (view := store.get(key)) is not None}
        differing = store.replace(listed, min(listed_at), self.skipped)
        pools = (owners.get(key) or before.get(key) for key in differing)
        return {key for key in pools if key is not None}

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
