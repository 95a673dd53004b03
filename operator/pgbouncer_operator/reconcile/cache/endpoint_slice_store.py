"""EndpointSlices of the Services that pools refer to, and of no others: a cluster may have tens of thousands."""

import logging
from collections.abc import Hashable, Iterable, Set
from dataclasses import dataclass, field

from pgbouncer_operator import naming
from pgbouncer_operator.engine.cache import Store
from pgbouncer_operator.kube import errors
from pgbouncer_operator.kube.client import Kube, Selection
from pgbouncer_operator.kube.resources import ENDPOINT_SLICES
from pgbouncer_operator.reconcile.cache import endpoints, views
from pgbouncer_operator.reconcile.cache.endpoints import Service
from pgbouncer_operator.reconcile.cache.views import SliceView

logger = logging.getLogger(__name__)


def _by_service(view: SliceView) -> Iterable[Hashable]:
    return ((view.namespace, view.service),)


@dataclass(slots=True)
class EndpointSliceStore:
    """The store, and which Services are in it. allowed: False when we may not list them; everything else goes on."""

    store: Store[SliceView] = field(default_factory=lambda: Store(_by_service))
    known: set[Service] = field(default_factory=set)
    namespaces: tuple[str, ...] = ()
    allowed: bool = True

    def ready(self, service: Service | None) -> tuple[str, ...] | None:
        """The addresses that a Service leads to now; None while they are not known."""
        if service is None or service not in self.known:
            return None
        return endpoints.ready(each.ready for each in self.store.find(service))

    def put(self, view: SliceView, wanted: bool) -> bool:
        """Take news of a slice when some pool refers to its Service; say whether they matter."""
        if not wanted:
            self.known.discard((view.namespace, view.service))  # from now on news of it are missed
        return wanted and self.store.put(view)

    def remove(self, view: SliceView) -> bool:
        """Take the news that a slice is gone; say whether it was known."""
        if self.store.get((view.namespace, view.name)) is None and (view.namespace, view.service) not in self.known:
            return False
        return self.store.remove((view.namespace, view.name), view.uid, view.resource_version)

    async def follow(self, kube: Kube, service: Service | None) -> None:
        """Have a Service in the store that no pool referred to before. ApiError when that cannot be known now."""
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
        listed = [views.endpoint_slice(body) for body in listing.items]
        for gone in self.store.find(service):
            if gone.name not in {each.name for each in listed} and gone.resource_version <= listing.resource_version:
                self.store.remove((gone.namespace, gone.name), gone.uid, listing.resource_version)
        for view in listed:
            self.store.put(view)
        self.known.add(service)

    async def sync(self, kube: Kube, namespaces: tuple[str, ...], services: Set[Service]) -> set[Service]:
        """List what `services` need and forget the rest; the Services whose slices differ from what was known."""
        self.namespaces = namespaces
        listed: list[SliceView] = []
        listed_at: list[int] = []
        try:
            for namespace in namespaces or ("",):
                listing = await kube.list(ENDPOINT_SLICES, Selection(namespace, naming.LABEL_SERVICE))
                found = (views.endpoint_slice(body) for body in listing.items)
                listed += [each for each in found if (each.namespace, each.service) in services]
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
        """Nobody tells us of failovers: everything else goes on, and the log says it once."""
        if self.allowed:
            logger.warning("Failovers behind a Service will not be noticed", extra={"error": str(error)})
        self.allowed = False
        self.known.clear()
