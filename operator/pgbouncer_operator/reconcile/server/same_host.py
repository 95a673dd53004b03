"""What pools hold at a host under other PostgresServers than the one that gives its connections now.

A server that takes a host over may give only what the former one has got back.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from pgbouncer_operator import naming
from pgbouncer_operator.api.postgres_server import PostgresServer
from pgbouncer_operator.protocol.intent import Intent, IntentError
from pgbouncer_operator.reconcile.cache import endpoints
from pgbouncer_operator.reconcile.cache.cluster import ClusterCache
from pgbouncer_operator.reconcile.cache.keys import key_of, name_of
from pgbouncer_operator.reconcile.cache.views import PoolView, ServerView
from pgbouncer_operator.reconcile.server.allocate import PoolHolding
from pgbouncer_operator.sizing.allocation import Allocations, Entry


@dataclass(frozen=True, slots=True)
class SameHost:
    """Reads it from the statuses of servers that exist, and from the ledgers of pools whose server is gone."""

    world: ClusterCache
    """The stores."""
    holding: Callable[[PoolView], PoolHolding]
    """What a pool's ledger says."""
    floor: Callable[[PoolView, PostgresServer], int]
    """The fewest server connections that a pool's pods need, which a server that gives no more leaves to it."""
    allocations: Callable[[ServerView], Iterable[Allocations]]
    """The allocations of a server that may be in force: the last ones, and those that are being written."""

    def strays(self, view: ServerView) -> list[PoolView]:
        """The pools whose PostgresServer is gone while their configuration names this server's host and port."""
        pools = (self.world.pools.get(key) for key in self.world.pools.keys())  # noqa: SIM118  a Store is no mapping
        return [each for each in pools if each and self._without_server(each, view) and self._at(each, view)]

    def namespaces(self, view: ServerView, strays: Iterable[PoolView]) -> set[str]:
        """The namespaces whose labels decide what `charged` believes."""
        gone = [each for each in self.world.servers.former(view) if _bounded(each, view)]
        names = {key_of(name)[0] for each in gone for name in each.allocations.entries}
        return names | {each.namespace for each in strays}

    def charged(self, view: ServerView, server: PostgresServer, strays: Iterable[PoolView]) -> dict[str, Entry]:
        """By pool, as `namespace/name`, what it may hold there that this server has not given it.

        A ledger is written in the pool's namespace, and a server of another namespace may have named this host without
        any right to it. They are believed only of pools that this server allows, and up to what such a pool may be
        given, and they lower no pool: their `connections` are 0.
        """
        name, found = name_of(view), dict[str, Entry]()
        for former in self.world.servers.former(view):
            for each in self._of(former, view.address):
                believed = self._believed(server, each) if _bounded(former, view) else each
                _add(found, believed)
        for pool in strays:
            budget, most = server.spec.connections.budget or 0, self.holding(pool).most
            _add(found, self._believed(server, Entry(name_of(pool), pool.uid, 0, budget if most is None else most, 0)))
        return {pool: each for pool, each in found.items() if each.charge and not self._came(pool, each, view, name)}

    def _believed(self, server: PostgresServer, entry: Entry) -> Entry:
        namespace, budget = key_of(entry.pool)[0], server.spec.connections.budget or 0
        share = server.spec.share_of(namespace).max
        most = budget if share is None else min(share, budget)
        high = min(entry.charge, most) if self.world.servers.admits(server, namespace) else 0
        return Entry(entry.pool, entry.uid, 0, high, 0)

    def _of(self, former: ServerView, address: str) -> Iterator[Entry]:
        server = self.world.servers.server(former)
        highest: dict[str, tuple[int, Entry]] = {}
        for shared in self.allocations(former):
            there = (shared.address or former.address) == address
            for name, each in shared.entries.items():
                most = each.charge if there else dict(each.former).get(address, 0)
                if name not in highest or most > highest[name][0]:
                    highest[name] = most, each
        for name, (most, each) in highest.items():
            pool = self.world.pools.get(key_of(name))
            stays = each.connections
            if former.address != address or pool is None or pool.server != (former.namespace, former.name):
                stays = 0
            elif isinstance(server, PostgresServer):
                stays = min(stays, self.floor(pool, server))
            yield Entry(name, each.uid, min(stays, most), most, 0)

    def _came(self, name: str, entry: Entry, view: ServerView, server: str) -> bool:
        """Whether the pool has come to this server: its ledger here counts all of its pods."""
        pool, own = self.world.pools.get(key_of(name)), view.allocations.entries.get(name)
        if pool is None or own is None or own.uid != pool.uid or entry.uid != pool.uid:
            return False
        return self.holding(pool).server == server

    def _without_server(self, pool: PoolView, view: ServerView) -> bool:
        if not pool.server:
            return False
        former = pool.server if pool.server != (view.namespace, view.name) else key_of(self.holding(pool).server)
        gone = former != ("", "") and former != (view.namespace, view.name) and not self.world.servers.exists(former)
        return gone and bool(self.world.pods.find((pool.namespace, pool.name)))

    def _at(self, pool: PoolView, view: ServerView) -> bool:
        child = self.world.children["ConfigMap"].get((pool.namespace, naming.config_map(pool.name)))
        try:
            databases = Intent.from_json(child.data.get(naming.INTENT_KEY, "") if child else "").databases
        except IntentError:
            return False
        return any(endpoints.address(each.host, each.port, pool.namespace) == view.address for each in databases)


def _bounded(former: ServerView, view: ServerView) -> bool:
    """Whether what that server has given is believed only up to what this one may give: it may have named any host."""
    return former.namespace != view.namespace and former.address != view.address


def _add(found: dict[str, Entry], entry: Entry) -> None:
    before = found.get(entry.pool)
    if before is not None:
        connections, high = before.connections + entry.connections, before.charge + entry.charge
        entry = Entry(entry.pool, entry.uid, connections, high, 0)
    found[entry.pool] = entry
