"""EndpointSlices of the Services that pools refer to, and of no others: a cluster may have tens of thousands."""

import logging
from collections.abc import Hashable, Iterable, Set
from dataclasses import dataclass, field

from pgbouncer_operator import naming
from pgbouncer_operator.engine.cache import Store
from pgbouncer_operator.kube import errors
from pgbouncer_operator.kube.client import Kube, Selection
from pgbouncer_operator.kube.resources import ENDPOINT_SLICES
from pgbouncer_operator.reconcile.cache import endpoints, projections
from pgbouncer_operator.reconcile.cache.endpoints import Service
from pgbouncer_operator.reconcile.cache.views import SliceView

logger = logging.getLogger(__name__)


def _by_service(view: SliceView) -> Iterable[Hashable]:
    return ((view.namespace, view.service),)


@dataclass(slots=True)
class EndpointSliceStore:
    """The slices, and the Services whose slices are complete here."""

    store: Store[SliceView] = field(default_factory=lambda: Store(_by_service))
    """The slices."""
    known: set[Service] = field(default_factory=set)
    """Services whose slices are all in the store."""
    namespaces: tuple[str, ...] = ()
    """Namespaces that the operator watches; empty for all."""
    allowed: bool = True
    """False while slices must not be listed; then only failovers behind Services go unnoticed."""

    def ready(self, service: Service | None) -> tuple[str, ...] | None:
        """The ready addresses of a Service; None while they are unknown."""
        if service is None or service not in self.known:
            return None
        return endpoints.ready(each.ready for each in self.store.find(service))

    def put(self, view: SliceView, wanted: bool) -> bool:
        """Store the newest view of a slice if a pool refers to its Service. Returns whether anything changed that
        matters.
        """
        if not wanted:
            self.known.discard((view.namespace, view.service))  # later events of this Service are not stored
        return wanted and self.store.put(view)

    def remove(self, view: SliceView) -> bool:
        """Remove a slice that no longer exists. Returns whether it was stored."""
        if self.store.get((view.namespace, view.name)) is None and (view.namespace, view.service) not in self.known:
            return False
        return self.store.remove((view.namespace, view.name), view.resource_version)

    async def follow(self, kube: Kube, service: Service | None) -> None:
        """Read the slices of a Service to which no pool referred before. Raises ApiError when that fails for now."""
        if service is None or service in self.known or not self.allowed:
            return
        namespace, name = service
        if self.namespaces and namespace not in self.namespaces:
            return
        selection = Selection(namespace, f"{naming.LABEL_SERVICE}={name}", cached=True)
        try:
            listing = await kube.list(ENDPOINT_SLICES, selection)
        except (errors.Forbidden, errors.NotFound) as error:
            self._refused(error)
            return
        listed = [projections.endpoint_slice(body) for body in listing.items]
        for gone in self.store.find(service):
            if gone.name not in {each.name for each in listed} and gone.resource_version <= listing.resource_version:
                self.store.remove((gone.namespace, gone.name), listing.resource_version)
        for view in listed:
            self.store.put(view)
        self.known.add(service)

    async def sync(self, kube: Kube, namespaces: tuple[str, ...], services: Set[Service]) -> set[Service]:
        """List the slices of `services` and forget all others. Returns the Services whose slices have changed."""
        self.namespaces = namespaces
        listed: list[SliceView] = []
        listed_at: list[int] = []
        try:
            for namespace in namespaces or ("",):
                listing = await kube.list(ENDPOINT_SLICES, Selection(namespace, naming.LABEL_SERVICE))
                slices = (projections.endpoint_slice(body) for body in listing.items)
                listed += [each for each in slices if (each.namespace, each.service) in services]
                listed_at.append(listing.resource_version)
        except (errors.Forbidden, errors.NotFound) as error:
            self._refused(error)
            return set()
        self.allowed = True
        keys = {(each.namespace, each.name): each for each in listed}
        keys_before = self.store.keys()
        before = {key: each for key in keys_before if (each := self.store.get(key)) is not None}
        differing = self.store.replace(listed, min(listed_at))
        self.known = {each for each in services if not namespaces or each[0] in namespaces}
        return {(key[0], (keys.get(key) or before[key]).service) for key in differing}

    def _refused(self, error: errors.ApiError) -> None:
        """Go on without slices, and log that once."""
        if self.allowed:
            logger.warning("Failovers behind a Service will not be noticed", extra={"error": str(error)})
        self.allowed = False
        self.known.clear()
