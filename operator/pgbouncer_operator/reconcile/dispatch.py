"""Two kinds of keys in one queue: pools and PostgresServers. News of the one wake the other."""

from collections.abc import Callable
from dataclasses import dataclass, field

from pgbouncer_operator.reconcile.cache.keys import AnyKey, Key, ServerKey
from pgbouncer_operator.reconcile.pool.reconcile import Reconciler
from pgbouncer_operator.reconcile.server.reconcile import ServerReconciler


@dataclass(slots=True)
class Dispatcher:
    """Takes pools and servers from one queue. wake: brings a key into it."""

    pools: Reconciler
    servers: ServerReconciler
    wake: Callable[[AnyKey], None]
    _contributions: dict[Key, object] = field(default_factory=dict)

    async def reconcile(self, key: AnyKey) -> float | None:
        """Seconds until the next look, None when there is nothing to look at."""
        if isinstance(key, ServerKey):
            again, pools = await self.servers.reconcile(key)
            for pool in pools:
                self.wake(pool)
            return again
        try:
            return await self.pools.reconcile(key)
        finally:
            self._tell(key)

    def _tell(self, key: Key) -> None:
        """Wake the pool's server when it asks for more or less, or holds another number, than it did."""
        servers, contribution = self.servers.contribution(key)
        if not servers:
            self._contributions.pop(key, None)
        elif key not in self._contributions or self._contributions[key] != contribution:
            self._contributions[key] = contribution
            for server in servers:
                self.wake(server)
