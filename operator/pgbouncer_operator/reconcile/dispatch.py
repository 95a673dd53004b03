"""Takes pools and PostgresServers from one queue, and reconciles servers when a pool's change concerns them."""

from collections.abc import Callable
from dataclasses import dataclass, field

from pgbouncer_operator.reconcile.cache.keys import AnyKey, Key, ServerKey
from pgbouncer_operator.reconcile.ownership import Ownership
from pgbouncer_operator.reconcile.pool.reconcile import Reconciler
from pgbouncer_operator.reconcile.server.reconcile import ServerReconciler


@dataclass(slots=True)
class Dispatcher:
    """Reconciles whatever key the queue brings."""

    pools: Reconciler
    """Reconciles pools."""
    servers: ServerReconciler
    """Reconciles PostgresServers."""
    ownership: Ownership
    """Knows which objects another operator serves."""
    wake: Callable[[AnyKey], None]
    """Puts a key into the queue."""
    _contributions: dict[Key, object] = field(default_factory=dict)

    async def reconcile(self, key: AnyKey) -> float | None:
        """Seconds until the next look; None when only a change of an object needs one."""
        standby = await self.ownership.stands_by(key)
        if isinstance(key, ServerKey):
            if standby is not None:
                return standby
            again, pools = await self.servers.reconcile(key)
            for pool in pools:
                self.wake(pool)
            return again
        try:
            return await self.pools.reconcile(key) if standby is None else standby
        finally:
            self._wake_servers(key)

    def _wake_servers(self, key: Key) -> None:
        """Reconcile the pool's servers if what the pool needs or holds has changed."""
        servers, contribution = self.servers.contribution(key)
        if not servers:
            self._contributions.pop(key, None)
        elif key not in self._contributions or self._contributions[key] != contribution:
            self._contributions[key] = contribution
            for server in servers:
                self.wake(server)
