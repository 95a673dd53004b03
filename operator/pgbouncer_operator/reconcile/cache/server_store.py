"""What we know of PostgresServers: the objects, the labels of namespaces that want to use them, and their CAs.

Namespaces and CAs are read one at a time and only when a server asks for them: the operator needs no more rights.
"""

import json
import logging
from collections.abc import Hashable, Iterable
from dataclasses import dataclass, field
from typing import Any

from pgbouncer_operator.api.connection_pool import InvalidSpec
from pgbouncer_operator.api.postgres_server import PostgresServer
from pgbouncer_operator.engine.cache import Store
from pgbouncer_operator.kube import errors
from pgbouncer_operator.kube.client import Kube, Selection
from pgbouncer_operator.kube.resources import CONFIG_MAPS, NAMESPACES, POSTGRES_SERVERS, SECRETS
from pgbouncer_operator.reconcile.cache import views
from pgbouncer_operator.reconcile.cache.keys import Key, ServerKey
from pgbouncer_operator.reconcile.cache.servers import Found, _inputs, allowed, certificate_text, read
from pgbouncer_operator.reconcile.cache.views import PoolView, ServerView

logger = logging.getLogger(__name__)

LABELS_LAST = 600.0  # seconds that labels of an allowed namespace count as known
REFUSED_LAST = 4.0  # the same where they keep a pool out: what was mended is noticed soon
AUTHORITY_LASTS = 60.0  # seconds that a CA counts as known: nobody tells us of a renewal


def _by_what_it_names(view: ServerView) -> Iterable[Hashable]:
    found: list[Hashable] = [("address", view.address), *(("pool", name) for name in view.allocations.entries)]
    return (*found, view.backend) if view.backend else found


@dataclass(slots=True)
class ServerStore:
    """The store, and what was read beside it. allowed: False where the kind is not there or may not be listed."""

    store: Store[ServerView] = field(default_factory=lambda: Store(_by_what_it_names))
    allowed: bool = True
    _labels: dict[str, tuple[dict[str, str] | None, float]] = field(default_factory=dict)
    _authorities: dict[Key, tuple[str, str | None, float]] = field(default_factory=dict)
    _parsed: dict[Key, tuple[ServerView, PostgresServer | InvalidSpec]] = field(default_factory=dict)

    def server(self, view: ServerView) -> PostgresServer | InvalidSpec:
        """The parsed server, remembered while its object stays."""
        key = (view.namespace, view.name)
        known = self._parsed.get(key)
        if known is None or _inputs(known[0]) != _inputs(view):
            known = self._parsed[key] = (view, read(view))
        return known[1]

    def found(self, pool: PoolView) -> Found | None:
        """What there is of the server that a pool refers to, None if nothing."""
        view = self.store.get(pool.server) if pool.server else None
        if view is None or view.deleting:
            return None
        server = self.server(view)
        if isinstance(server, InvalidSpec):
            return Found(view, server, None, None)
        known = self._authorities.get((view.namespace, view.name))
        labels = self._labels.get(pool.namespace, (None, 0.0))[0]
        return Found(view, server, allowed(server, pool.namespace, labels), known[1] if known else None)

    def statuses(self) -> Iterable[tuple[str, str, dict[str, Any]]]:
        """Every server's namespace, name and status, as last written."""
        known = (self.store.get(key) for key in self.store.keys())  # noqa: SIM118  a Store is no mapping
        return [(view.namespace, view.name, json.loads(view.status)) for view in known if view is not None]

    def authority(self, key: Key) -> str | None:
        """The server's CA as last read."""
        known = self._authorities.get(key)
        return known[1] if known else None

    def budgeted(self, pool: PoolView) -> ServerView | None:
        """The server whose host a pool names directly."""
        if not pool.address:
            return None
        return next((each for each in self.store.find(("address", pool.address)) if not each.deleting), None)

    def of_pool(self, key: Key) -> set[ServerKey]:
        """Servers that share something out to a pool of that name."""
        return {ServerKey(each.namespace, each.name) for each in self.store.find(("pool", "/".join(key)))}

    async def know_namespace(self, kube: Kube, server: PostgresServer, namespace: str, now: float) -> None:
        """Have the namespace's labels, where the server chooses by them."""
        known = self._labels.get(namespace)
        if allowed(server, namespace, None) is not None:
            return
        lasts = LABELS_LAST if known and allowed(server, namespace, known[0]) else REFUSED_LAST
        if known and now - known[1] < lasts:
            return
        try:
            body = await kube.get(NAMESPACES, "", namespace)
            labels = body["metadata"].get("labels") or {}
        except (errors.NotFound, errors.Forbidden) as error:
            logger.warning("Cannot read a namespace", extra={"namespace": namespace, "error": str(error)})
            labels = known[0] if known else None
        self._labels[namespace] = (labels, now)

    async def know_authority(self, kube: Kube, server: PostgresServer, now: float) -> str | None:
        """Have the server's CA. The sentence to tell when it cannot be had, None when it can or there is none."""
        key = (server.metadata.namespace, server.metadata.name)
        ca = server.spec.tls.ca if server.spec.tls else None
        reference = (ca.secret_key_ref or ca.config_map_key_ref) if ca else None
        if ca is None or reference is None:
            self._authorities.pop(key, None)
            return None
        kind = "Secret" if ca.secret_key_ref else "ConfigMap"
        source = f"{kind} {reference.name}, key {reference.key}"
        known = self._authorities.get(key)
        if known is None or known[0] != source or now - known[2] >= (AUTHORITY_LASTS if known[1] else REFUSED_LAST):
            text = await self._authority(kube, kind, key[0], (reference.name, reference.key))
            known = (source, text or (known[1] if known and known[0] == source else None), now)
            self._authorities[key] = known
        return None if known[1] else f"There is no CA in {source}. Create it, or correct spec.tls.ca."

    async def _authority(self, kube: Kube, kind: str, namespace: str, named: tuple[str, str]) -> str | None:
        name, key = named
        try:
            body = await kube.get(SECRETS if kind == "Secret" else CONFIG_MAPS, namespace, name)
        except (errors.NotFound, errors.Forbidden):
            return None
        return certificate_text(body, kind, key) or None

    async def sync(self, kube: Kube, namespaces: tuple[str, ...]) -> set[Key]:
        """List all servers; the keys of those that differ from what was known."""
        listed: list[ServerView] = []
        listed_at: list[int] = []
        try:
            for namespace in namespaces or ("",):
                listing = await kube.list(POSTGRES_SERVERS, Selection(namespace))
                listed += [views.server(body) for body in listing.items]
                listed_at.append(listing.resource_version)
        except (errors.NotFound, errors.Forbidden) as error:
            if self.allowed:
                logger.warning("Pools cannot refer to PostgresServers", extra={"error": str(error)})
            self.allowed = False
            return set()
        self.allowed = True
        return self.store.replace(listed, min(listed_at))
