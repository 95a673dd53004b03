"""What the operator knows of PostgresServers: the objects, their CAs, and the labels of namespaces that use them.

Namespaces and CAs are read one at a time, and only when a server needs them: the operator needs no more rights.
"""

import json
import logging
from collections.abc import Container, Hashable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from pgbouncer_operator.api.connection_pool import InvalidSpec
from pgbouncer_operator.api.postgres_server import PostgresServer
from pgbouncer_operator.engine.cache import Store
from pgbouncer_operator.kube import errors
from pgbouncer_operator.kube.client import Kube, Selection
from pgbouncer_operator.kube.resources import CONFIG_MAPS, NAMESPACES, POSTGRES_SERVERS, SECRETS
from pgbouncer_operator.reconcile.cache import projections
from pgbouncer_operator.reconcile.cache.keys import Key, ServerKey
from pgbouncer_operator.reconcile.cache.servers import (
    KnownServer,
    Standing,
    allowed,
    certificate_text,
    certificates,
    inputs,
    read,
    standing,
)
from pgbouncer_operator.reconcile.cache.views import PoolView, ServerView
from pgbouncer_operator.reconcile.intervals import NORMAL, Intervals

logger = logging.getLogger(__name__)


def _by_what_it_names(view: ServerView) -> Iterable[Hashable]:
    keys: list[Hashable] = [("address", view.address), *(("pool", name) for name in view.allocations.entries)]
    keys += [("held at", each) for each in view.addresses]
    return (*keys, view.backend) if view.backend else keys


@dataclass(slots=True)
class ServerStore:
    """The servers, and what was read for them."""

    store: Store[ServerView] = field(default_factory=lambda: Store(_by_what_it_names))
    """The servers."""
    allowed: bool = True
    """False where the kind does not exist or must not be listed."""
    chosen: Mapping[str, str] = field(default_factory=dict)
    """By host and port (`endpoints.address`), the server that gives their connections, by the administrator's choice.
    """
    intervals: Intervals = NORMAL
    """How long what was read counts as known."""
    _labels: dict[str, tuple[dict[str, str] | None, float]] = field(default_factory=dict)
    """By namespace: its labels, None while unknown, and when they were read (monotonic seconds)."""
    _authorities: dict[Key, tuple[str, str | None, float]] = field(default_factory=dict)
    """By server: where the CA comes from, its PEM, None while unknown, and when it was read (monotonic seconds)."""
    _parsed: dict[Key, tuple[ServerView, PostgresServer | InvalidSpec]] = field(default_factory=dict)
    """By server: its view and what was parsed from it."""

    def server(self, view: ServerView) -> PostgresServer | InvalidSpec:
        """The parsed server, remembered while its object does not change."""
        key = (view.namespace, view.name)
        parsed = self._parsed.get(key)
        if parsed is None or inputs(parsed[0]) != inputs(view):
            parsed = self._parsed[key] = (view, read(view))
        return parsed[1]

    def put(self, view: ServerView) -> bool:
        """Store the newest view. Returns whether anything changed that matters."""
        return self.store.put(self._with_address(view))

    def of(self, pool: PoolView) -> KnownServer | None:
        """The server that a pool refers to; None if it does not exist."""
        view = self.store.get(pool.server) if pool.server else None
        if view is None or view.deleting:
            return None
        server = self.server(view)
        if isinstance(server, InvalidSpec):
            return KnownServer(view, server, None, None)
        labels = self._labels.get(pool.namespace, (None, 0.0))[0]
        authority = self.authority((view.namespace, view.name))
        return KnownServer(view, server, allowed(server, pool.namespace, labels), authority, self.standing(view))

    def standing(self, view: ServerView) -> Standing:
        """The server's place among all with its host and port."""
        rivals = [each for each in self._at(view) if each.uid != view.uid]
        return standing(view, rivals, self.chosen.get(view.address, "")) if rivals else Standing.IN_FORCE

    def statuses(self) -> Iterable[tuple[str, str, dict[str, Any]]]:
        """Namespace, name and status of every server, as last written."""
        stored = (self.store.get(key) for key in self.store.keys())  # noqa: SIM118  a Store is no mapping
        return [(view.namespace, view.name, json.loads(view.status)) for view in stored if view is not None]

    def authority(self, key: Key) -> str | None:
        """The server's CA in PEM, as last read; None while unknown."""
        authority = self._authorities.get(key)
        return authority[1] if authority else None

    def budgeted(self, pool: PoolView) -> ServerView | None:
        """The server whose host a pool names directly. Only a server that allows the pool's namespace may claim it.

        It is one that gives the host's connections: the others have nothing for the pool.
        """
        giving = [each for each in self._at(pool) if self.standing(each).gives]
        giving.sort(key=lambda each: (each.namespace != pool.namespace, each.created, each.namespace, each.name))
        return next((each for each in giving if self._claims(each, pool.namespace)), None)

    def former(self, view: ServerView) -> list[ServerView]:
        """The other servers whose pools may hold connections at its host and port, without those that give there."""
        others = (each for each in self.holders({view.address}) if each.uid != view.uid and not each.deleting)
        return [each for each in others if each.address != view.address or not self.standing(each).gives]

    def holders(self, addresses: Iterable[str]) -> list[ServerView]:
        """The servers whose pools may hold connections at one of these, by key."""
        found = (each for address in addresses for each in self.store.find(("held at", address)))
        return sorted(
            {(each.namespace, each.name): each for each in found}.values(), key=lambda each: (each.namespace, each.name)
        )

    def admits(self, server: PostgresServer, namespace: str) -> bool:
        """Whether pools of that namespace may refer to the server, as far as its labels are known."""
        return bool(allowed(server, namespace, self._labels.get(namespace, (None, 0.0))[0]))

    def exists(self, key: Key) -> bool:
        """Whether there is a server of that name that is not being deleted."""
        view = self.store.get(key)
        return view is not None and not view.deleting

    async def know_claims(self, kube: Kube, pool: PoolView, now: float) -> None:
        """Read the labels that decide whether a server may claim the host that a pool names directly."""
        for each in self._at(pool):
            server = self.server(each)
            if isinstance(server, PostgresServer):
                await self.know_namespace(kube, server, pool.namespace, now)

    def _at(self, view: PoolView | ServerView) -> list[ServerView]:
        found = self.store.find(("address", view.address)) if view.address else ()
        return [each for each in found if not each.deleting]

    def _claims(self, view: ServerView, namespace: str) -> bool:
        server = self.server(view)
        if isinstance(server, InvalidSpec):
            return view.namespace == namespace
        return self.admits(server, namespace)

    def of_pool(self, key: Key) -> set[ServerKey]:
        """The servers that have an allocation for a pool of that name."""
        return {ServerKey(each.namespace, each.name) for each in self.store.find(("pool", "/".join(key)))}

    async def know_namespace(self, kube: Kube, server: PostgresServer, namespace: str, now: float) -> None:
        """Read the namespace's labels if the server selects namespaces by them. now: monotonic seconds.

        Labels that were read before stay in force while a read fails. Raises ApiError if none were: until the first
        answer nobody can decide whether the server allows the namespace.
        """
        before = self._labels.get(namespace)
        if allowed(server, namespace, None) is not None:
            return
        admitted = before is not None and allowed(server, namespace, before[0])
        lasts = self.intervals.labels if admitted else self.intervals.refused
        if before is not None and now - before[1] < lasts:
            return
        try:
            body = await kube.get(NAMESPACES, "", namespace)
            labels = body["metadata"].get("labels") or {}
        except errors.ApiError as error:
            if before is None and not isinstance(error, errors.NotFound | errors.Forbidden):
                raise
            logger.warning("Cannot read a namespace", extra={"namespace": namespace, "error": str(error)})
            labels = before[0] if before else None
        self._labels[namespace] = (labels, now)

    async def know_authority(self, kube: Kube, server: PostgresServer, now: float) -> str | None:
        """Read the server's CA if it has one. now: monotonic seconds.

        Returns the sentence for the status when it cannot be read, None when it is known or there is none.
        """
        key = (server.metadata.namespace, server.metadata.name)
        ca = server.spec.tls.ca if server.spec.tls else None
        reference = (ca.secret_key_ref or ca.config_map_key_ref) if ca else None
        if ca is None or reference is None:
            self._authorities.pop(key, None)
            return None
        kind = "Secret" if ca.secret_key_ref else "ConfigMap"
        source = f"{kind} {reference.name}, key {reference.key}"
        before = self._authorities.get(key)
        last = before[1] if before and before[0] == source else None
        lasts = self.intervals.authority if last else self.intervals.refused
        if before is None or before[0] != source or now - before[2] >= lasts:
            last = await self._authority(kube, kind, key[0], (reference.name, reference.key)) or last
            self._authorities[key] = (source, last, now)
        return None if last else f"There is no CA certificate in PEM in {source}. Create it, or correct spec.tls.ca."

    async def _authority(self, kube: Kube, kind: str, namespace: str, named: tuple[str, str]) -> str | None:
        name, key = named
        try:
            body = await kube.get(SECRETS if kind == "Secret" else CONFIG_MAPS, namespace, name)
        except (errors.NotFound, errors.Forbidden):
            return None
        return certificates(certificate_text(body, kind, key)) or None

    async def sync(self, kube: Kube, namespaces: tuple[str, ...], unlisted: Container[str] = ()) -> set[Key]:
        """List all servers. Returns the keys of those that have changed. unlisted: as in `Store.replace`."""
        listed: list[ServerView] = []
        listed_at: list[int] = []
        try:
            for namespace in namespaces or ("",):
                listing = await kube.list(POSTGRES_SERVERS, Selection(namespace))
                listed += [projections.server(body) for body in listing.items]
                listed_at.append(listing.resource_version)
        except (errors.NotFound, errors.Forbidden) as error:
            if self.allowed:
                logger.warning("Pools cannot refer to PostgresServers", extra={"error": str(error)})
            self.allowed = False
            return set()
        self.allowed = True
        return self.store.replace(map(self._with_address, listed), min(listed_at), unlisted)

    def _with_address(self, view: ServerView) -> ServerView:
        """The view with the address of its allocations, where only the view before can say it.

        The status of an older operator names no address, and its spec has just been edited.
        """
        before = self.store.get((view.namespace, view.name))
        if view.allocations.address or before is None or before.uid != view.uid:
            return view
        return replace(view, allocations=replace(view.allocations, address=before.allocations.address))
