"""Client workloads that pools name, and no others: a cluster may have tens of thousands.

A kind is listed and watched only once a pool names it. A kind that must not be listed is unknown.
"""

import asyncio
import logging
from collections.abc import Hashable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from pgbouncer_operator.engine.cache import Store
from pgbouncer_operator.kube import errors
from pgbouncer_operator.kube.client import Kube, Listing, Selection
from pgbouncer_operator.kube.resources import (
    DEPLOYMENTS,
    HORIZONTAL_POD_AUTOSCALERS,
    REPLICA_SETS,
    STATEFUL_SETS,
    Resource,
)
from pgbouncer_operator.reconcile.cache import workloads
from pgbouncer_operator.reconcile.cache.workloads import AutoscalerView, ClientReplicas, Reference, WorkloadView

logger = logging.getLogger(__name__)

WORKLOADS = (DEPLOYMENTS, STATEFUL_SETS, REPLICA_SETS)
FOLLOWED = (*WORKLOADS, HORIZONTAL_POD_AUTOSCALERS)
View = WorkloadView | AutoscalerView
Asked = Mapping[str, frozenset[Reference]]  # by namespace


def project(resource: Resource, body: Mapping[str, Any]) -> View:
    """The view of an object that a watch brings."""
    return workloads.project(resource.kind, body)


def _by_namespace(view: View) -> Iterable[Hashable]:
    return (view.namespace,)


@dataclass(slots=True)
class WorkloadStore:
    """The stores, one for each kind, and the references of pools that fill them."""

    enabled: bool = True
    """False when the operator's settings switch client workloads off."""
    stores: dict[str, Store[View]] = field(
        default_factory=lambda: {each.kind: Store(_by_namespace) for each in FOLLOWED}
    )
    """The objects by kind."""
    asked: dict[str, frozenset[Reference]] = field(default_factory=dict)
    """References of pools by namespace."""
    known: dict[str, frozenset[Reference]] = field(default_factory=dict)
    """Those of them whose objects are all in the stores."""
    refused: set[tuple[str, str]] = field(default_factory=set)
    """(namespace, kind) that must not be listed; namespace "" is all namespaces."""
    changed: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when the kinds to watch may have changed."""

    @property
    def watched(self) -> tuple[Resource, ...]:
        """The kinds to watch now: those that pools name, and autoscalers. Nothing while no pool names any."""
        refused = {kind for _, kind in self.refused}  # one refused watch would end all others
        return tuple(each for each in _kinds(self.known) if each.kind not in refused)

    def replicas(self, namespace: str, asked: tuple[Reference, ...]) -> ClientReplicas | None:
        """The replicas of a pool's clients; None while they are unknown, and when it names none."""
        if not asked or not self._knows(namespace, asked):
            return None
        kinds = {kind for each in asked for kind in each.kinds}
        if any((where, kind) in self.refused for where in ("", namespace) for kind in kinds):
            return None
        views = [view for each in WORKLOADS for view in self.stores[each.kind].find(namespace)]
        scalers = self.stores[HORIZONTAL_POD_AUTOSCALERS.kind].find(namespace)
        return workloads.count(
            asked,
            (each for each in views if isinstance(each, WorkloadView)),
            (each for each in scalers if isinstance(each, AutoscalerView)),
        )

    def put(self, view: View) -> bool:
        """Store the newest view of an object that a pool names. Returns whether anything changed that matters."""
        return self._is_wanted(view) and self._store(view).put(view)

    def remove(self, view: View) -> bool:
        """Remove an object that no longer exists. Returns whether it was stored."""
        if view.namespace not in self.asked:
            return False
        return self._store(view).remove((view.namespace, view.name), view.resource_version)

    async def follow(self, kube: Kube, namespace: str, asked: tuple[Reference, ...]) -> None:
        """Read the workloads that a pool names. Raises ApiError when that fails for now."""
        if not self.enabled or not asked or self._knows(namespace, asked):
            return
        wanted = self.asked.get(namespace, frozenset()) | frozenset(asked)
        self.asked[namespace] = wanted  # events are stored from now on, so that the list misses none
        for resource in _kinds({namespace: wanted}):
            listing = await self._list(kube, resource, Selection(namespace, cached=True))
            if listing is not None:
                self._take(resource, listing, namespace)
                self._allowed(resource, (namespace,))
        if wanted <= self.asked.get(namespace, frozenset()):  # otherwise `sync` has listed for other pools meanwhile
            self.known[namespace] = self.known.get(namespace, frozenset()) | wanted
            self.changed.set()

    async def sync(self, kube: Kube, namespaces: tuple[str, ...], asked: Asked) -> set[str]:
        """List what pools name and forget the rest. Returns the namespaces in which anything has changed."""
        if not self.enabled or not (asked or self.known):
            return set()
        self.asked = dict(asked)
        touched: set[str] = set()
        for resource in _kinds(asked):
            listings = [await self._list(kube, resource, Selection(each)) for each in namespaces or ("",)]
            complete = [each for each in listings if each is not None]
            views = [view for listing in complete for view in self._wanted(resource, listing)]
            store = self.stores[resource.kind]
            if len(complete) == len(listings):
                differing = store.replace(views, min(each.resource_version for each in complete))
                touched |= {namespace for namespace, _ in differing}
                self._allowed(resource, namespaces or ("",))
            else:
                touched |= {each.namespace for each in views if store.put(each)}
        # `follow` may have added references during the lists: those are known only if they were known before.
        before, nothing = self.known, frozenset[Reference]()
        self.known = {
            namespace: asked.get(namespace, nothing) | (before.get(namespace, nothing) & wanted)
            for namespace, wanted in self.asked.items()
        }
        self._forget()
        self.changed.set()
        return touched

    def _forget(self) -> None:
        kinds = {each.kind for each in _kinds(self.asked)}
        for kind, store in self.stores.items():
            for key in store.keys():  # noqa: SIM118  a Store is no mapping
                if kind not in kinds or key[0] not in self.asked:
                    store.forget(key)

    async def _list(self, kube: Kube, resource: Resource, selection: Selection) -> Listing | None:
        try:
            listing = await kube.list(resource, selection)
        except (errors.Forbidden, errors.NotFound) as error:
            if (selection.namespace, resource.kind) not in self.refused:
                logger.warning("Client workloads cannot be followed", extra={"error": str(error)})
            self.refused.add((selection.namespace, resource.kind))
            return None
        return listing

    def _allowed(self, resource: Resource, namespaces: tuple[str, ...]) -> None:
        """A kind that was listed is no longer refused. A list of all namespaces counts for each."""
        everywhere = "" in namespaces
        self.refused = {
            (namespace, kind)
            for namespace, kind in self.refused
            if kind != resource.kind or not (everywhere or namespace in {"", *namespaces})
        }

    def _take(self, resource: Resource, listing: Listing, namespace: str) -> None:
        store = self.stores[resource.kind]
        listed = {each["metadata"]["name"] for each in listing.items}
        for gone in store.find(namespace):
            if gone.name not in listed and gone.resource_version <= listing.resource_version:
                store.remove((namespace, gone.name), listing.resource_version)
        for view in self._wanted(resource, listing):
            store.put(view)

    def _wanted(self, resource: Resource, listing: Listing) -> list[View]:
        return [view for body in listing.items if self._is_wanted(view := workloads.project(resource.kind, body))]

    def _is_wanted(self, view: View) -> bool:
        """Whether a pool names it. An object that is stored stays: its labels are compared when it is counted."""
        asked = self.asked.get(view.namespace, frozenset())
        if isinstance(view, AutoscalerView):
            return bool(asked)
        return any(each.means(view) for each in asked) or (
            bool(asked) and self.stores[view.kind].get((view.namespace, view.name)) is not None
        )

    def _knows(self, namespace: str, asked: tuple[Reference, ...]) -> bool:
        return frozenset(asked) <= self.known.get(namespace, frozenset())

    def _store(self, view: View) -> Store[View]:
        return self.stores[HORIZONTAL_POD_AUTOSCALERS.kind if isinstance(view, AutoscalerView) else view.kind]


def _kinds(asked: Asked) -> tuple[Resource, ...]:
    """The kinds that the references name, and autoscalers. Nothing without references."""
    kinds = {kind for group in asked.values() for each in group for kind in each.kinds}
    named = tuple(each for each in WORKLOADS if each.kind in kinds)
    return (*named, HORIZONTAL_POD_AUTOSCALERS) if named else ()
